//! The text of a query as pairs, without rewriting what nobody asked about.
//!
//! `application/x-www-form-urlencoded` libraries decode and encode again, which changes `%2B`, `;` and empty values on
//! the way. Here a query stays text: pairs are found between `&`, judged by their decoded names, kept or dropped whole.

use memchr::memchr;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

/// The pairs of a query between its `&`s, empty ones included.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        let (pair, behind) = cut(rest?, b'&');
        rest = behind;
        Some(pair)
    })
}

/// What stands before the first of an ASCII mark, and what stands behind it; `None` without one. `split_once` does the
/// same at five times the cost.
pub(super) fn cut(text: &str, mark: u8) -> (&str, Option<&str>) {
    match memchr(mark, text.as_bytes()) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

/// Whether the pair's name, percent-decoded, is `name`: `%6bmi=x` is named `kmi`.
pub(super) fn is_named(pair: &str, name: &str) -> bool {
    is_one_of(pair, &[name])
}

/// Whether the pair's name, percent-decoded, is one of these.
pub(super) fn is_one_of(pair: &str, names: &[&str]) -> bool {
    // A name is short, so it costs less to look at each byte than to ask for a search.
    let raw = pair.as_bytes();
    let end = raw.iter().position(|byte| matches!(byte, b'=' | b'%')).unwrap_or(raw.len());
    if raw.get(end) == Some(&b'%') {
        let raw = cut(pair, b'=').0.as_bytes();
        return names.iter().any(|name| percent_decode(raw).eq(name.bytes()));
    }
    names.iter().any(|name| name.len() == end && pair.starts_with(name))
}

/// The raw value of a pair: what stands behind its first `=`, or nothing.
pub(super) fn value(pair: &str) -> &str {
    cut(pair, b'=').1.unwrap_or_default()
}

/// Escapes whatever can't stand in a header as it is, and nothing else: spaces, control characters and all that is not
/// ASCII.
pub(super) fn to_visible_ascii(text: &str) -> impl Iterator<Item = &str> {
    const INVISIBLE: &AsciiSet = &CONTROLS.add(b' ');
    // Nearly every text has nothing to escape, and then is one piece at once.
    let (plain, rest) = if text.bytes().all(|byte| byte.is_ascii_graphic()) { (Some(text), "") } else { (None, text) };
    plain.into_iter().chain(utf8_percent_encode(rest, INVISIBLE))
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
