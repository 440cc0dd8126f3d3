//! A host name as everything here compares it, and the `Host` of a request.

use std::borrow::Cow;
use std::fmt;

use psl::{List, Psl};
use url::Host;

use super::plain_url;
use super::query::cut;

/// A normalised host: lower-case A-labels, or an IP address as the URL Standard writes it (`[::1]`).
///
/// Two hosts are the same exactly when their `Domain`s are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain {
    text: Box<str>,
    is_ip: bool,
}

/// Why a text is no [`Domain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDomain {
    /// The host ends in a dot: `shop.example.` is another cookie jar than `shop.example`.
    TrailingDot,
    /// The WHATWG host parser refuses it, or it could not stand in the domain name system.
    Malformed,
}

impl Domain {
    /// Reads a host without scheme and port: `www.shop.example`, `bücher.example`, `192.0.2.1` or `[2001:db8::1]`.
    ///
    /// Non-ASCII names become A-labels as browsers make them (WHATWG URL, "host parsing").
    ///
    /// # Errors
    /// [`BadDomain`] if no browser would go to that host, or it ends in a dot.
    pub fn parse(text: &str) -> Result<Self, BadDomain> {
        if is_plain(text) { Ok(Self { text: text.into(), is_ip: false }) } else { Self::normalised(text) }
    }

    /// Reads any host, by the parser.
    fn normalised(text: &str) -> Result<Self, BadDomain> {
        // The URL Standard decodes `%2e` in hosts; whoever writes one in a configuration did not mean it.
        if text.contains('%') {
            return Err(BadDomain::Malformed);
        }
        let host = Host::parse(text).map_err(|_| BadDomain::Malformed)?;
        let is_ip = !matches!(host, Host::Domain(_));
        // The URL Standard reads `8080` as the address 0.0.31.144 and `“shop” as a name; nobody means that either.
        let written = text;
        let text = host.to_string();
        if (is_ip && !text.eq_ignore_ascii_case(written)) || written.contains(['“', '”', '‘', '’']) {
            return Err(BadDomain::Malformed);
        }
        if text.ends_with('.') {
            return Err(BadDomain::TrailingDot);
        }
        if !is_ip && !is_host_name(&text) {
            return Err(BadDomain::Malformed);
        }
        Ok(Self { text: text.into(), is_ip })
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this is an IP address, which has no parent and no registrable domain.
    #[must_use]
    pub fn is_ip(&self) -> bool {
        self.is_ip
    }

    /// The registrable domain by the public suffix list (private section included, as browsers use it for cookies):
    /// `yoursite.com` for `www.yoursite.com`; `None` for an IP address and for a public suffix itself.
    #[must_use]
    pub fn registrable(&self) -> Option<&str> {
        if self.is_ip {
            return None;
        }
        registrable(&self.text)
    }

    /// Whether it is a public suffix such as `com`, `co.uk` or `github.io`, under which strangers have their names.
    #[must_use]
    pub fn is_public_suffix(&self) -> bool {
        !self.is_ip && public_suffix(&self.text) == Some(&*self.text)
    }

    /// Whether names directly under it are public suffixes, as under `compute.amazonaws.com` (the list says `*.`).
    #[must_use]
    pub fn holds_public_suffixes(&self) -> bool {
        let below = format!("x.{}", self.text);
        !self.is_ip && public_suffix(&below) == Some(below.as_str())
    }

    /// The names above it, nearest first; none for an IP address.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        parents(&self.text).filter(|_| !self.is_ip)
    }

    /// Whether it equals `parent` or lies below it, at a label boundary.
    #[must_use]
    pub fn is_within(&self, parent: &Domain) -> bool {
        self == parent || self.parents().any(|above| above == &*parent.text)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a host is written as its [`Domain`] is.
pub(super) fn is_normal(host: &str) -> bool {
    is_plain(host) || Domain::normalised(host).is_ok_and(|domain| *domain.text == *host)
}

/// Whether a text is proven to be a name that the parser gives back as it is. Nearly all hosts are.
fn is_plain(text: &str) -> bool {
    text.len() <= MAX_NAME && plain_url::is_plain_host(text)
}

/// Whether there may be public suffixes somewhere below a host, as `s3.amazonaws.com` is below `amazonaws.com`.
///
/// Nobody who searches the list for a name looks at more of its labels than the list can tell apart: it is asked for a
/// name below the host, and then whether it has looked that far.
pub(super) fn may_hold_public_suffixes(host: &str) -> bool {
    let mut looked_below = false;
    let below = std::iter::once_with(|| {
        looked_below = true;
        &b"x"[..]
    });
    suffix_length(&mut host.as_bytes().rsplit(|byte| *byte == b'.').chain(below));
    looked_below
}

/// The registrable domain of a host as it stands in a URL or a `Host`, where it has one.
pub(super) fn registrable(host: &str) -> Option<&str> {
    let above = host.strip_suffix(public_suffix(host)?)?.strip_suffix('.')?;
    let label = above.rsplit('.').next().filter(|label| !label.is_empty())?;
    host.get(above.len() - label.len()..)
}

/// The public suffix that a host ends in.
fn public_suffix(host: &str) -> Option<&str> {
    let length = suffix_length(&mut host.as_bytes().rsplit(|byte| *byte == b'.'));
    host.get(host.len().checked_sub(length)?..).filter(|suffix| !suffix.is_empty())
}

/// How long the public suffix of a name is, whose labels come from behind. The list is code, and large: this is the one
/// place where it is built in.
#[inline(never)]
fn suffix_length(labels: &mut dyn Iterator<Item = &[u8]>) -> usize {
    List.find(labels).len
}

/// The names above a host, nearest first: `b.c` and `c` for `a.b.c`.
pub(super) fn parents(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(cut(host, b'.').1, |name| cut(name, b'.').1)
}

/// Whether it is made of labels that are not empty, of letters, digits, `-` and `_`, and short enough (RFC 1035,
/// 2.3.4): what can stand in the domain name system, while the URL Standard would take `a!b..c` too.
pub(super) fn is_host_name(host: &str) -> bool {
    let is_label_byte = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if host.len() > MAX_NAME {
        return false;
    }
    let mut before = b'.';
    for byte in host.bytes() {
        if !(is_label_byte(byte) || (byte == b'.' && before != b'.')) {
            return false;
        }
        before = byte;
    }
    before != b'.'
}

/// The value of a `Host` field or of an absolute-form target's authority, split and lower-cased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// The host in lower case; an IPv6 address in brackets and in its canonical form.
    pub host: Cow<'a, str>,
    /// The port, if one is written.
    pub port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// Reads `uri-host [ ":" port ]` (RFC 9110, 7.2); `None` if the text is not of that form.
    ///
    /// A host that ends in a dot is well-formed here and simply matches nothing.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        // As nearly every one is written: a name in lower case, without a port.
        if plain_url::is_lower_case_name(text) && (1..=MAX_HOST).contains(&text.len()) {
            return Some(Self { host: Cow::Borrowed(text), port: None });
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            (Cow::Owned(Host::<&str>::Ipv6(address.parse().ok()?).to_string()), port)
        } else {
            let end = cut(text, b':').0.len();
            let (host, port) = text.split_at_checked(end)?;
            if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(is_reg_name) {
                return None;
            }
            (lower_case(host), port)
        };
        let port = match port.strip_prefix(':') {
            None if !port.is_empty() => return None,
            // An empty port is allowed and means the default one (RFC 3986, 3.2.3).
            None | Some("") => None,
            // `u16::parse` would also take a plus sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        Some(Self { host, port })
    }
}

fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The most bytes of a name in the domain name system. Without a bound a name of 15,000 labels would be looked up
/// 15,000 times below the `*.` entries.
const MAX_NAME: usize = 253;

/// The most bytes of a `Host` without its port: a name, and a trailing dot or two.
const MAX_HOST: usize = 255;

/// The bytes of `reg-name` (RFC 3986, 3.2.2), percent signs included.
fn is_reg_name(byte: u8) -> bool {
    let is_other = matches!(
        byte,
        b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    );
    is_other || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_name_is_what_the_parser_makes_of_it(text in "([a-z0-9x_-]{0,5}|xn--[a-z0-9]{0,4}|0x[0-9a-f]{0,2}|[0-9]{1,3}|[A-Za-zé-]{1,3})(\\.([a-z0-9x-]{0,70}|xn--[a-z]{0,2}|[0-9x]{1,4})){0,5}") {
            if is_plain(&text) {
                assert_eq!(Domain::parse(&text), Domain::normalised(&text));
            }
        }
    }

    #[test]
    fn most_names_need_no_parser() {
        for (text, expected) in [
            ("www.yoursite.com", true),
            ("3rd-party.example", true),
            ("localhost", true),
            ("a--b.example", true),
            ("shop_1.example", false),
            ("a-.example", false),
            ("WWW.yoursite.com", false),
            ("xn--bcher-kva.example", false),
            ("shop.0x7f", false),
            ("127.0.0.1", false),
            ("", false),
            ("a..b", false),
            ("a.", false),
        ] {
            assert_eq!(is_plain(text), expected, "{text}");
        }
    }

    #[test]
    fn a_domain_is_what_a_browser_would_connect_to() {
        for (text, expected) in [
            ("WWW.YourSite.com", "www.yoursite.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("shop_1.example", "shop_1.example"),
        ] {
            assert_eq!(Domain::parse(text).unwrap().as_str(), expected, "{text}");
        }
    }

    #[test]
    fn a_normal_host_is_written_as_its_domain() {
        let long = format!("{}example", "a.".repeat(123));
        for (host, expected) in [
            ("www.yoursite.com", true),
            ("xn--bcher-kva.example", true),
            ("shop_1.example", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            (long.as_str(), true),
            (&format!("a{long}"), false),
            ("WWW.yoursite.com", false),
            ("b\u{fc}cher.example", false),
            ("a..b", false),
            ("a.example.", false),
            ("0x7f.1", false),
            ("xn--a", false),
            ("a%2eb", false),
            ("", false),
        ] {
            assert_eq!(is_normal(host), expected, "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_domain() {
        for text in [
            "",
            "*",
            "0x7f.1",
            "8080",
            "1.5",
            "“shop.example”",
            "a b",
            "a/b",
            "user@host",
            "a..b",
            ".a",
            "%65vil.example",
            "host:80",
            "::1",
        ] {
            assert_eq!(Domain::parse(text), Err(BadDomain::Malformed), "{text}");
        }
        for text in ["shop.example.", "shop。example。"] {
            assert_eq!(Domain::parse(text), Err(BadDomain::TrailingDot), "{text}");
        }
    }

    #[test]
    fn the_registrable_domain_comes_from_the_public_suffix_list() {
        for (text, expected) in [
            ("yoursite.3rd-party-checkout.com", Some("3rd-party-checkout.com")),
            ("shop.co.uk", Some("shop.co.uk")),
            ("me.github.io", Some("me.github.io")),
            ("github.io", None),
            ("localhost", None),
            ("192.0.2.1", None),
        ] {
            assert_eq!(Domain::parse(text).unwrap().registrable(), expected, "{text}");
        }
        assert!(Domain::parse("co.uk").unwrap().is_public_suffix());
        assert!(Domain::parse("compute.amazonaws.com").unwrap().holds_public_suffixes());
        assert!(!Domain::parse("shop.example").unwrap().holds_public_suffixes());
        for (host, expected) in [
            ("amazonaws.com", true),
            ("s3.amazonaws.com", false),
            ("shop.example", false),
            ("yoursite.com", false),
            ("3rd-party-checkout.com", false),
        ] {
            assert_eq!(may_hold_public_suffixes(host), expected, "{host}");
        }
    }

    #[test]
    fn within_means_at_a_label_boundary() {
        let parent = Domain::parse("ok.example").unwrap();
        for (host, expected) in
            [("ok.example", true), ("a.b.ok.example", true), ("notok.example", false), ("example", false)]
        {
            assert_eq!(Domain::parse(host).unwrap().is_within(&parent), expected, "{host}");
        }
    }

    #[test]
    fn a_host_field_is_split_and_lower_cased() {
        for (text, host, port) in [
            ("www.yoursite.com", "www.yoursite.com", None),
            ("WWW.yoursite.COM:0443", "www.yoursite.com", Some(443)),
            ("www.yoursite.com:", "www.yoursite.com", None),
            ("[0:0::1]:80", "[::1]", Some(80)),
            ("trailing.", "trailing.", None),
        ] {
            let parsed = HostPort::parse(text).unwrap();
            assert_eq!((&*parsed.host, parsed.port), (host, port), "{text}");
        }
    }

    #[test]
    fn a_malformed_host_field_is_none() {
        for text in ["", ":80", "a b", "a@b", "a/b", "a:b", "a:1:2", "a:70000", "a:+1", "[::1", "[::1]x", "[a]", "a#b"]
        {
            assert_eq!(HostPort::parse(text), None, "{text}");
        }
        assert_eq!(HostPort::parse(&"a.".repeat(200)), None);
        assert_eq!(HostPort::parse("bücher.example"), None);
    }
}
