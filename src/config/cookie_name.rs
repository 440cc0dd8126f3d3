//! Names of cookies and of headers, wherever the configuration has one.

use super::fault::Faults;
use super::text::Text;
use crate::link::CookieName;

/// A cookie's name, which is a token.
pub(super) fn check(text: &Text, faults: &mut Faults) -> CookieName {
    if !is_token(&text.value) {
        faults.add(
            text,
            format!("`{}` is no name for a cookie", text.value),
            "write letters, digits, `_`, `-` or `.`, such as `km_ni`",
        );
    }
    CookieName::new(&text.value)
}

/// Browsers drop a cookie whose name promises what its attributes don't keep (RFC 6265bis, 4.1.3).
pub(super) fn check_prefix(text: &Text, is_secure: bool, is_host_only: bool, hint: &str, faults: &mut Faults) {
    let begins = |prefix: &str| text.value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if begins("__Host-") && !(is_secure && is_host_only) {
        faults.add(text, "browsers take a `__Host-` cookie only over https and without a domain", hint);
    } else if begins("__Secure-") && !is_secure {
        faults.add(text, "browsers take a `__Secure-` cookie only over https", "choose another name");
    }
}

/// Whether a text is a token (RFC 9110, 5.6.2), of a length that somebody may have meant.
pub(super) fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_token_byte)
}
