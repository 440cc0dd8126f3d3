//! The text of a query as pairs, without rewriting what nobody asked about.
//!
//! `application/x-www-form-urlencoded` libraries decode and encode again, which changes `%2B`, `;` and empty values on
//! the way. Here a query stays text: pairs are found between `&`, judged by their decoded names, kept or dropped whole.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

/// The pairs of a query between its `&`s, empty ones included.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&')
}

/// Whether the pair's name, percent-decoded, is `name`: `%6bmi=x` is named `kmi`.
pub(super) fn is_named(pair: &str, name: &str) -> bool {
    is_one_of(pair, &[name])
}

/// Whether the pair's name, percent-decoded, is one of these.
pub(super) fn is_one_of(pair: &str, names: &[&str]) -> bool {
    let bytes = pair.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
    let raw = bytes.get(..end).unwrap_or_default();
    if raw.contains(&b'%') {
        return names.iter().any(|name| percent_decode(raw).eq(name.bytes()));
    }
    names.iter().any(|name| raw == name.as_bytes())
}

/// The raw value of a pair: what stands behind its first `=`, or nothing.
pub(super) fn value(pair: &str) -> &str {
    pair.split_once('=').map_or("", |(_, value)| value)
}

/// Escapes whatever can't stand in a header as it is, and nothing else: spaces, control characters and all that is not
/// ASCII.
pub(super) fn to_visible_ascii(text: &str) -> Cow<'_, str> {
    const INVISIBLE: &AsciiSet = &CONTROLS.add(b' ');
    utf8_percent_encode(text, INVISIBLE).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_after_decoding_and_exactly() {
        for (pair, expected) in [
            ("kmi=x", true),
            ("kmi", true),
            ("kmi=", true),
            ("%6bmi=x", true),
            ("%6B%6D%69", true),
            ("KMI=x", false),
            ("kmi%3Dx", false),
            ("kmix=1", false),
            ("%zzkmi=1", false),
            ("=kmi", false),
            ("", false),
        ] {
            assert_eq!(is_named(pair, "kmi"), expected, "{pair}");
        }
    }
}
