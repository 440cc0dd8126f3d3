//! Names of cookies, wherever the configuration has one.

use super::fault::Faults;
use super::text::Text;
use crate::link::CookieName;

/// The name, which is a token of RFC 9110, 5.6.2.
pub(super) fn check(text: &Text, faults: &mut Faults) -> CookieName {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.value.is_empty() || text.value.len() > 128 || !text.value.bytes().all(is_token_byte) {
        faults.add(
            text,
            format!("`{}` is no name for a cookie", text.value),
            "write letters, digits, `_`, `-` or `.`, such as `km_ni`",
        );
    }
    CookieName::new(&text.value)
}
