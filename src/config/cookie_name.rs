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

/// Whether a text is a token (RFC 9110, 5.6.2), of a length that somebody may have meant.
pub(super) fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_token_byte)
}
