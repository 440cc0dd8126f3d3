//! The URL that a visitor wants to go to, before anybody asks whether it is allowed.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

/// Why `to`, or a path behind a link, is no URL that a visitor is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTarget {
    /// Empty, or over 4,096 bytes.
    Length,
    /// The bytes are not UTF-8.
    NotUtf8,
    /// A control character or a space, which parsers drop or trim in different ways.
    ControlOrSpace,
    /// `\` before the query, which browsers read as `/`.
    Backslash,
    /// It does not begin with `http://` or `https://` and a host.
    Scheme,
    /// `user@` before the host.
    UserInfo,
    /// The WHATWG parser fails on it.
    Unparsable,
    /// The host ends in a dot.
    TrailingDot,
    /// A path behind a link with a dot segment, an empty segment, `\`, `%2f`, `%5c` or `;`.
    Path,
    /// Over 8,192 bytes once it is written out.
    LongLocation,
    /// What was written out does not read back as the same allowed URL.
    Ambiguous,
}

/// Reads the value of `to`: percent-decoded once (`+` stays a plus) and parsed as a browser would.
///
/// Nearly every open redirect validated one reading of a URL and sent another, so what only attackers write is refused
/// before the parser, which repairs much, gets to see it.
///
/// # Errors
/// [`BadTarget`] says why.
pub(super) fn parse(raw: &str) -> Result<Url, BadTarget> {
    let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| BadTarget::NotUtf8)?;
    parse_decoded(&decoded)
}

/// Reads an absolute URL that is not escaped, such as that of a link in the configuration.
///
/// # Errors
/// [`BadTarget`] as for `to`.
pub fn parse_decoded(text: &str) -> Result<Url, BadTarget> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return Err(BadTarget::Length);
    }
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(BadTarget::ControlOrSpace);
    }
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    if before_query.contains('\\') {
        return Err(BadTarget::Backslash);
    }
    let (scheme, rest) = before_query.split_once("://").ok_or(BadTarget::Scheme)?;
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    if !is_web || rest.starts_with('/') {
        return Err(BadTarget::Scheme);
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(BadTarget::UserInfo);
    }
    // Looked for twice: the parser drops the dot behind an IP address, and makes one of `。`.
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    if (if port.ends_with(']') { authority } else { host }).ends_with('.') {
        return Err(BadTarget::TrailingDot);
    }
    let url = Url::parse(text).map_err(|_| BadTarget::Unparsable)?;
    if url.host_str().is_none_or(|host| host.ends_with('.')) {
        return Err(BadTarget::TrailingDot);
    }
    Ok(url)
}

/// Adds a path behind a link's own, with one `/` between them.
///
/// # Errors
/// [`BadTarget::Path`] for whatever two programs may read in two ways.
pub(super) fn add_path(url: &mut Url, more: &str) -> Result<(), BadTarget> {
    if !is_plain_path(more) || more.starts_with('/') {
        return Err(BadTarget::Path);
    }
    url.set_path(&format!("{}/{more}", url.path().trim_end_matches('/')));
    Ok(())
}

/// Adds a query behind the URL's own; nothing, or an empty one, changes nothing.
pub(super) fn add_query(url: &mut Url, more: Option<&str>) {
    let Some(more) = more.filter(|more| !more.is_empty()) else { return };
    let query = url.query().map_or_else(|| more.to_owned(), |own| format!("{own}&{more}"));
    url.set_query(Some(&query));
}

/// Whether a path is free of all that two programs may read in two ways: a dot segment, an empty segment (one slash at
/// the end is none), `\`, an escaped slash or backslash, and `;`.
pub(super) fn is_plain_path(path: &str) -> bool {
    let segments = path.strip_prefix('/').unwrap_or(path);
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    (segments.is_empty() && !path.starts_with("//"))
        || (!path.contains(['\\', ';']) && segments.split('/').all(is_plain_segment))
}

fn is_plain_segment(segment: &str) -> bool {
    if segment.is_empty() {
        return false;
    }
    if !segment.contains(['.', '%']) {
        return true;
    }
    let lower = segment.to_ascii_lowercase();
    let dots = lower.replace("%2e", ".");
    !lower.contains("%2f") && !lower.contains("%5c") && dots != "." && dots != ".."
}

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "it is empty or over 4096 bytes",
            Self::NotUtf8 => "it is not UTF-8",
            Self::ControlOrSpace => "it has a control character or a space",
            Self::Backslash => "it has a backslash before its query",
            Self::Scheme => "it does not begin with https:// or http:// and a host",
            Self::UserInfo => "it has a user name before its host",
            Self::Unparsable => "no browser can read it as a URL",
            Self::TrailingDot => "its host ends in a dot",
            Self::Path => "the path behind the link has a dot segment, an empty segment, a backslash, %2f, %5c or `;`",
            Self::LongLocation => "it is over 8192 bytes",
            Self::Ambiguous => "written out it does not read back as the same allowed URL",
        })
    }
}

/// The most bytes of `to` after decoding.
const MAX_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_attackers_write_is_refused() {
        for (raw, expected) in [
            ("", BadTarget::Length),
            ("//evil.example", BadTarget::Scheme),
            ("/path", BadTarget::Scheme),
            ("https:evil.example", BadTarget::Scheme),
            ("https:/evil.example", BadTarget::Scheme),
            ("https:////evil.example", BadTarget::Scheme),
            ("javascript:alert(1)", BadTarget::Scheme),
            ("javascript://ok.example/%250aalert(1)", BadTarget::Scheme),
            ("blob:https://ok.example", BadTarget::Scheme),
            ("https:\\\\evil.example", BadTarget::Backslash),
            ("https://evil.example\\@ok.example", BadTarget::Backslash),
            ("https://ok.example%5c@evil.example", BadTarget::Backslash),
            ("https://ok.example@evil.example", BadTarget::UserInfo),
            ("https://@ok.example", BadTarget::UserInfo),
            ("https://a%40b@ok.example", BadTarget::UserInfo),
            ("%01https://ok.example", BadTarget::ControlOrSpace),
            ("https://ok.example/%0d%0aSet-Cookie:x", BadTarget::ControlOrSpace),
            ("https://ok.example/%20x", BadTarget::ControlOrSpace),
            ("https://ok.example/%7f", BadTarget::ControlOrSpace),
            ("%C2%A0https://ok.example", BadTarget::Scheme),
            ("%EF%BB%BFhttps://ok.example", BadTarget::Scheme),
            ("https://ok.example/%ff", BadTarget::NotUtf8),
            ("https://ok.example.", BadTarget::TrailingDot),
            ("https://ok.example.:443/", BadTarget::TrailingDot),
            ("https://127.0.0.1./", BadTarget::TrailingDot),
            ("https://ok.example%E3%80%82", BadTarget::TrailingDot),
            ("https://?x", BadTarget::Unparsable),
            ("https://ok.example:99999/", BadTarget::Unparsable),
            ("https://[::1", BadTarget::Unparsable),
        ] {
            assert_eq!(parse(raw), Err(expected), "{raw}");
        }
        let long = format!("https://ok.example/{}", "a".repeat(MAX_BYTES));
        assert_eq!(parse(&long), Err(BadTarget::Length));
    }

    #[test]
    fn an_honest_url_is_decoded_once() {
        for (raw, expected) in [
            ("https%3A%2F%2Fok.example%2Fa%3Fb%3D%252B", "https://ok.example/a?b=%2B"),
            ("https://ok.example/a+b", "https://ok.example/a+b"),
            ("HTTPS://OK.example", "https://ok.example/"),
            ("https://ok.example/?a=\\b", "https://ok.example/?a=\\b"),
            ("https://ok.example/?q=user@host", "https://ok.example/?q=user@host"),
        ] {
            assert_eq!(parse(raw).unwrap().as_str(), expected, "{raw}");
        }
    }

    #[test]
    fn a_path_is_added_with_one_slash() {
        for (base, more, expected) in [
            ("https://ok.example/cart", "a/b", "https://ok.example/cart/a/b"),
            ("https://ok.example/cart/", "a/", "https://ok.example/cart/a/"),
            ("https://ok.example/?x=1", "a%20b", "https://ok.example/a%20b?x=1"),
            ("https://ok.example/#f", "é", "https://ok.example/%C3%A9#f"),
        ] {
            let mut url = Url::parse(base).unwrap();
            add_path(&mut url, more).unwrap();
            assert_eq!(url.as_str(), expected, "{more}");
        }
        for more in ["..", "a/../b", "%2e%2E", ".%2e/x", "a//b", "/a", "a%2fb", "a%5Cb", "a\\b", "a;b", "."] {
            let mut url = Url::parse("https://ok.example/cart").unwrap();
            assert_eq!(add_path(&mut url, more), Err(BadTarget::Path), "{more}");
        }
    }

    #[test]
    fn a_query_is_added_behind_the_own_one() {
        for (base, more, expected) in [
            ("https://ok.example/", Some("a=%2B&b"), "https://ok.example/?a=%2B&b"),
            ("https://ok.example/?x=1#f", Some("a"), "https://ok.example/?x=1&a#f"),
            ("https://ok.example/?", Some("a"), "https://ok.example/?&a"),
            ("https://ok.example/?x", Some(""), "https://ok.example/?x"),
            ("https://ok.example/", None, "https://ok.example/"),
            ("https://ok.example/", Some("q=é"), "https://ok.example/?q=%C3%A9"),
        ] {
            let mut url = Url::parse(base).unwrap();
            add_query(&mut url, more);
            assert_eq!(url.as_str(), expected, "{more:?}");
        }
    }
}
