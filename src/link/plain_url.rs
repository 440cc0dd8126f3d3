//! The proof, in one pass, that a URL reads as itself: that the WHATWG parser prints this text again, byte for byte.
//!
//! Nearly every URL that a visitor follows is written the way the parser would write it. For such a text parsing has
//! nothing to do but to find the parts, and that costs a tenth of what the parser costs. Where anything at all is left
//! to do, to repair or to judge, there is no proof, and the parser reads the text ([`super::target`]).
//!
//! Why a proven text reads as itself (URL Standard, "URL parsing", state by state):
//!
//! * **Before everything.** The parser trims controls and spaces and drops tabs and line ends. No class below has a
//!   byte outside `!` to `~`, so there are none.
//! * **Scheme.** The text begins with `https://` or `http://` in lower case: both are special, so exactly two slashes
//!   and an authority follow. The host is not empty, so no third slash is skipped.
//! * **User.** An authority holds one only with an `@`, which is in no label and no port.
//! * **Host.** It is of labels of `a-z`, `0-9` and `-`, each begins and ends with a letter or a digit. There is nothing
//!   to percent-decode. Domain to ASCII maps none of these bytes, checks neither hyphens nor lengths here, and looks
//!   into no label that does not begin with `xn--`; a host with one that does is proven only if the parser has printed
//!   it once, as it has each host of the configuration: it prints again what it has printed. The host is an IPv4
//!   address only if its last label is a number, which begins with a digit; the last label begins with a letter. It is
//!   an IPv6 address only with a `[`. An empty label, and so a dot at the end, is not proven.
//! * **Port.** None; or a number from 1 to 65535 without a zero in front, which prints as it stands, and not the
//!   scheme's own, which would go.
//! * **Path.** It is there and begins with `/`; an empty one would become `/`, and is proven with that. Its bytes are
//!   outside the path percent-encode set, and are no `\`, which would become `/`. A segment goes only if it is `.`,
//!   `..` or either with `%2e` for a dot; no proven segment begins with `.` or with `%2e`. A `%` stays a `%` whatever
//!   follows.
//! * **Query and fragment.** Their bytes are outside the special-query and the fragment percent-encode set. The query
//!   ends at the first `#`, which is in no class but the fragment's.
//!
//! The classes are no larger than these reasons need; `^` and `|`, about which versions of the Standard differ, are in
//! no path. `tests/it/properties.rs` and the fuzz target `target` hold the proof against the parser.

use super::entry::Scheme;
use super::target::Parts;

/// The parts of a text that is proven to read as itself.
pub(super) fn prove(text: &str, is_known: Known<'_>) -> Option<Parts> {
    let at = |rest: &[u8]| text.len() - rest.len();
    let (scheme, rest) = behind_scheme(text)?;
    let rest = behind_host(rest, is_known)?;
    let host_end = at(rest);
    let (port, rest) = behind_port(rest, scheme)?;
    let path = at(rest);
    let query = at(behind_path(rest)?);
    prove_behind_path(text, Parts { scheme, host_end, port, path, query, fragment: query })
}

/// Where the slash belongs that the parser adds to a URL without a path: the one thing that people leave out and the
/// parser does not. Nothing if there is a path, or no proof as far as here.
pub(super) fn missing_path(text: &str, is_known: Known<'_>) -> Option<usize> {
    let (scheme, rest) = behind_scheme(text)?;
    let (_, rest) = behind_port(behind_host(rest, is_known)?, scheme)?;
    matches!(rest, [] | [b'?' | b'#', ..]).then_some(text.len() - rest.len())
}

/// The parts of a text that is proven to read as itself up to the end of its path, by what is known of these.
pub(super) fn prove_behind_path(text: &str, parts: Parts) -> Option<Parts> {
    let rest = text.as_bytes().get(parts.query..)?;
    let rest = if rest.first() == Some(&b'?') { behind(rest, QUERY) } else { rest };
    let fragment = text.len() - rest.len();
    let rest = if rest.first() == Some(&b'#') { behind(rest, FRAGMENT) } else { rest };
    rest.is_empty().then_some(Parts { fragment, ..parts })
}

/// Whether the parser would print a host as it stands.
pub(super) fn is_plain_host(text: &str) -> bool {
    behind_host(text.as_bytes(), &|_| false).is_some_and(<[u8]>::is_empty)
}

/// Whether a text can stand in a query of a URL as it is.
pub(super) fn is_plain_query(text: &str) -> bool {
    behind(text.as_bytes(), QUERY).is_empty()
}

/// Whether a text without dot segments can stand in the path of a URL as it is.
pub(super) fn is_plain_path(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'/' || is(byte, SEGMENT))
}

/// Whether a text is of labels and dots alone: nothing in it is for anybody to put into lower case.
pub(super) fn is_lower_case_name(text: &str) -> bool {
    behind(text.as_bytes(), HOST).is_empty()
}

/// Whether a host with an `xn--` label was printed by the parser.
pub(super) type Known<'a> = &'a dyn Fn(&str) -> bool;

/// The scheme, and what follows it.
fn behind_scheme(text: &str) -> Option<(Scheme, &[u8])> {
    let (scheme, rest) = match text.strip_prefix("https://") {
        Some(rest) => (Scheme::Https, rest),
        None => (Scheme::Http, text.strip_prefix("http://")?),
    };
    Some((scheme, rest.as_bytes()))
}

/// What follows the host, which begins here.
fn behind_host<'a>(rest: &'a [u8], is_known: Known<'_>) -> Option<&'a [u8]> {
    let (host, behind) = rest.split_at_checked(rest.len() - behind(rest, HOST).len())?;
    let (mut first, mut is_encoded) = (b'-', false);
    for label in host.split(|byte| *byte == b'.') {
        first = *label.first()?;
        if first == b'-' || label.ends_with(b"-") {
            return None;
        }
        is_encoded |= label.starts_with(b"xn--");
    }
    let is_plain = !is_encoded || str::from_utf8(host).is_ok_and(is_known);
    // That of the last label.
    (is_plain && !first.is_ascii_digit()).then_some(behind)
}

/// The port in force, and what follows it; the path must.
fn behind_port(rest: &[u8], scheme: Scheme) -> Option<(u16, &[u8])> {
    let Some(digits) = rest.strip_prefix(b":") else { return Some((scheme.default_port(), rest)) };
    let mut port: u16 = 0;
    let mut rest = digits;
    while let [digit @ b'0'..=b'9', next @ ..] = rest {
        port = port.checked_mul(10)?.checked_add(u16::from(digit - b'0'))?;
        rest = next;
    }
    (!digits.starts_with(b"0") && port != 0 && port != scheme.default_port()).then_some((port, rest))
}

/// What follows the path, which begins here with a slash.
fn behind_path(mut rest: &[u8]) -> Option<&[u8]> {
    rest = rest.strip_prefix(b"/")?;
    loop {
        if let [b'.', ..] | [b'%', b'2', b'e' | b'E', ..] = rest {
            return None;
        }
        rest = behind(rest, SEGMENT);
        match rest.strip_prefix(b"/") {
            Some(next) => rest = next,
            None => return Some(rest),
        }
    }
}

/// What follows the bytes of a class that stand here, be they none.
fn behind(rest: &[u8], class: u8) -> &[u8] {
    // Eight at a time cost less than half of what each by itself does.
    let (eights, _) = rest.as_chunks::<8>();
    let whole = eights.iter().take_while(|bytes| bytes.iter().fold(class, |common, byte| common & classes(*byte)) != 0);
    let mut rest = rest.get(8 * whole.count()..).unwrap_or_default();
    while let [byte, next @ ..] = rest
        && is(*byte, class)
    {
        rest = next;
    }
    rest
}

fn is(byte: u8, class: u8) -> bool {
    classes(byte) & class != 0
}

fn classes(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

/// A letter in lower case, a digit, `-` or `.`.
const HOST: u8 = 1;
/// Visible and outside the path percent-encode set; no `/`, `\`, `^` or `|`.
const SEGMENT: u8 = 2;
/// Visible and outside the special-query percent-encode set; no `#`.
const QUERY: u8 = 4;
/// Visible and outside the fragment percent-encode set.
const FRAGMENT: u8 = 8;

/// The classes of each byte.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        let mut class = 0;
        if matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.') {
            class |= HOST;
        }
        if !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'?' | b'`' | b'{' | b'}' | b'/' | b'\\' | b'^' | b'|') {
            class |= SEGMENT;
        }
        if !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\'') {
            class |= QUERY;
        }
        if !matches!(byte, b'"' | b'<' | b'>' | b'`') {
            class |= FRAGMENT;
        }
        #[expect(clippy::indexing_slicing, reason = "there are 256 places, and it is done when this is compiled")]
        {
            classes[byte as usize] = class;
        }
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    #[test]
    fn an_ordinary_url_is_proven() {
        for text in [
            "https://ok.example/",
            "http://ok.example/",
            "https://yoursite.3rd-party-checkout.com/cart/item?sku=1&q=a%20b#pay",
            "https://a.b-c.d2.example:8443/a//b/",
            "http://ok.example:443/?",
            "https://ok.example/#",
            "https://ok.example/a;b=c,d/(e)!$&'*+:@~_/%/%zz?a[]={b}|^`\\?/",
            "https://ok.example/a.b/c%2eD#/../?#\\{|}^'",
            "https://localhost:65535/",
            "https://a--b.r3---sn.example/",
        ] {
            assert!(prove(text, &|_| false).is_some(), "{text}");
        }
    }

    #[test]
    fn whatever_the_parser_might_change_is_not_proven() {
        for text in [
            "",
            "https://",
            "https:///",
            "HTTPS://ok.example/",
            "ftp://ok.example/",
            "https://ok.example",
            "https://ok.example?x",
            "https://ok.example#x",
            "https://OK.example/",
            "https://ok.example./",
            "https://.ok.example/",
            "https://a..example/",
            "https://-a.example/",
            "https://a-.example/",
            "https://a_b.example/",
            "https://xn--bcher-kva.example/",
            "https://a.xn--p1ai/",
            "https://b\u{fc}cher.example/",
            "https://127.0.0.1/",
            "https://ok.1/",
            "https://ok.0x7f/",
            "https://1/",
            "https://[::1]/",
            "https://user@ok.example/",
            "https://ok%2eexample/",
            "https://ok.example:/",
            "https://ok.example:443/",
            "http://ok.example:80/",
            "https://ok.example:0/",
            "https://ok.example:08443/",
            "https://ok.example:65536/",
            "https://ok.example:99999999999999999999/",
            "https://ok.example:8443",
            "https://ok.example:x/",
            "https://ok.example/.",
            "https://ok.example/a/../b",
            "https://ok.example/.well-known",
            "https://ok.example/a/%2E%2e/b",
            "https://ok.example/a/%2e",
            "https://ok.example/a\\b",
            "https://ok.example/a b",
            "https://ok.example/a\tb",
            "https://ok.example/a\"b",
            "https://ok.example/a{b}",
            "https://ok.example/a^b|c",
            "https://ok.example/\u{e9}",
            "https://ok.example/?\u{e9}",
            "https://ok.example/#\u{e9}",
            "https://ok.example/?a'b",
            "https://ok.example/?a<b",
            "https://ok.example/#a`b",
            "https://ok.example/\u{7f}",
            " https://ok.example/",
            "https://ok.example/ ",
        ] {
            assert!(prove(text, &|_| false).is_none(), "{text}");
        }
    }

    #[test]
    fn a_url_without_a_path_is_proven_with_its_slash() {
        for (text, expected) in [
            ("https://ok.example", Some(18)),
            ("https://ok.example:8443", Some(23)),
            ("https://ok.example?a=/", Some(18)),
            ("http://ok.example#/", Some(17)),
            ("https://ok.example/", None),
            ("https://ok.example\\", None),
            ("https://ok.example:443", None),
            ("https://ok.example:x", None),
            ("https://ok.example.", None),
            ("https://user@ok.example", None),
            ("https://", None),
            ("https:ok.example", None),
        ] {
            assert_eq!(missing_path(text, &|_| false), expected, "{text}");
            if let Some(at) = expected {
                let (before, behind) = text.split_at(at);
                let with_slash = format!("{before}/{behind}");
                assert_eq!(Url::parse(text).unwrap().as_str(), with_slash);
                assert!(prove(&with_slash, &|_| false).is_some(), "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_parser_prints_a_host_again_that_it_has_printed(
            host in "([a-z0-9\u{e4}\u{f6}\u{df}\u{3b1}\u{3c2}\u{5d0}\u{627}\u{4e00}\u{200d}-]{1,9}\\.|xn--[a-z0-9-]{1,12}\\.){0,2}([a-z\u{e9}\u{43f}\u{4e2d}]{1,5}|xn--p1ai)",
        ) {
            let Ok(printed) = Url::parse(&format!("https://{host}/cart?a#b")) else { return Ok(()) };
            if let Some(parts) = prove(printed.as_str(), &|_| true) {
                let again = Url::parse(printed.as_str()).unwrap();
                prop_assert_eq!(&again, &printed);
                prop_assert_eq!(again.host_str(), printed.as_str().get(8..parts.host_end));
            }
        }
    }
}
