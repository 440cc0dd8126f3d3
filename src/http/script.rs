//! The script for an origin's pages, and the names by which browsers know what they have.

use hyper::header::{ACCEPT_ENCODING, HeaderMap, IF_NONE_MATCH};

/// The script, as a browser takes it: what it is compressed with, and its bytes.
pub(super) fn accepted(headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    COMPRESSED
        .iter()
        .find(|(coding, _)| accepts(headers, coding))
        .map_or((None, SCRIPT), |(coding, bytes)| (Some(*coding), *bytes))
}

/// Whether an answer may be compressed with this (RFC 9110, 12.5.3).
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let fields = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        // `q=0` says that it is not wanted, with up to three zeros behind a point.
        let weight = weight.trim().to_ascii_lowercase();
        let unwanted = weight.strip_prefix("q=0").is_some_and(|rest| rest.bytes().all(|byte| b".0".contains(&byte)));
        name.trim().eq_ignore_ascii_case(coding) && !unwanted
    })
}

/// The `ETag` of a content by its digest; each compressed form has its own (RFC 9110, 8.8.3.3).
pub(super) fn etag(digest: u64) -> String {
    format!("\"{digest:016x}\"")
}

/// Whether a browser says that it has the content of this digest (RFC 9110, 13.1.2).
pub(super) fn is_known(headers: &HeaderMap, digest: u64) -> bool {
    if !headers.contains_key(IF_NONE_MATCH) {
        return false;
    }
    let fields = headers.get_all(IF_NONE_MATCH).iter().filter_map(|field| field.to_str().ok());
    let etag = etag(digest);
    let mut known = fields.flat_map(|field| field.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    known.any(|tag| tag == "*" || tag == etag)
}

/// The same bytes for every configuration, so that a page can name their hash.
pub(super) const SCRIPT: &[u8] = include_bytes!("link.js");

/// The better one first.
const COMPRESSED: [(&str, &[u8]); 2] = [
    ("br", include_bytes!(concat!(env!("OUT_DIR"), "/link.js.br"))),
    ("gzip", include_bytes!(concat!(env!("OUT_DIR"), "/link.js.gz"))),
];

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_browser_gets_the_form_that_it_takes() {
        for (accept, expected) in [
            (None, None),
            (Some(""), None),
            (Some("gzip, deflate, br"), Some("br")),
            (Some("gzip;q=1.0, br;q=0"), Some("gzip")),
            (Some("GZIP"), Some("gzip")),
            (Some("br;Q=0.000, gzip;q=0.0"), None),
            (Some("br;q=0.1"), Some("br")),
            (Some("zstd"), None),
        ] {
            let accept = accept.map(|accept| (ACCEPT_ENCODING, HeaderValue::from_static(accept)));
            assert_eq!(accepted(&accept.into_iter().collect()).0, expected);
        }
    }

    #[test]
    fn the_script_is_small() {
        for (coding, bytes) in COMPRESSED {
            assert!(bytes.len() < 1500, "{coding}: {}", bytes.len());
        }
    }

    #[test]
    fn what_is_known_is_told_by_its_etag() {
        let tag = etag(1);
        for (known, expected) in [
            (tag.clone(), true),
            (format!("W/{tag}"), true),
            (format!("\"x\", {tag}"), true),
            ("*".to_owned(), true),
            (etag(2), false),
        ] {
            let headers = [(IF_NONE_MATCH, known.parse().unwrap())].into_iter().collect();
            assert_eq!(is_known(&headers, 1), expected, "{known}");
        }
        assert!(!is_known(&HeaderMap::new(), 1));
    }
}
