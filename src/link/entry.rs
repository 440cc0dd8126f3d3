//! One destination of the configuration: which URLs it stands for.

use std::fmt;

use url::Url;

use super::domain::{BadDomain, Domain, registrable};
use super::suspect::is_plain_path;
use super::target::Target;

/// One destination of a pair: `host`, `*.host`, `host:port`, `https://host/path` or `http://host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    scheme: Scheme,
    domain: Domain,
    wildcard: bool,
    port: u16,
    /// Without its trailing slash; empty for every path.
    path: Box<str>,
}

/// An [`Entry`] as the rules keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    pub(super) scheme: Scheme,
    pub(super) host: &'a str,
    pub(super) wildcard: bool,
    pub(super) port: u16,
    pub(super) path: &'a str,
    /// The registrable domain of the host; kept where there is a landing, and for `*.host`.
    pub(super) site: Option<&'a str>,
}

/// The two schemes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`, on port 80 by default.
    Http,
    /// `https`, on port 443 by default.
    Https,
}

/// Why a text is no [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEntry {
    /// A scheme other than http and https.
    Scheme,
    /// `user@host`.
    UserInfo,
    /// `*` alone or anywhere but in front as `*.`.
    Wildcard,
    /// `*.` over a public suffix such as `co.uk`, whose names belong to strangers.
    PublicSuffix,
    /// A trailing dot.
    TrailingDot,
    /// No host that a browser would connect to.
    Host,
    /// Port 0, or none between 1 and 65535.
    Port,
    /// A query or a fragment.
    Query,
    /// A path with a dot segment, an empty segment, `\`, `%2f`, `%5c` or `;`.
    Path,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that names none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Entry {
    /// Reads an entry as it stands in the configuration; without a scheme it is https.
    ///
    /// # Errors
    /// [`BadEntry`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BadEntry> {
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Https, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some(_) => return Err(BadEntry::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(BadEntry::Query);
        }
        let (authority, path) = rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(BadEntry::UserInfo);
        }
        let (wildcard, authority) =
            authority.strip_prefix("*.").map_or((false, authority), |authority| (true, authority));
        if authority.contains('*') {
            return Err(BadEntry::Wildcard);
        }
        let (domain, port) = parse_authority(authority)?;
        if wildcard && domain.is_ip() {
            return Err(BadEntry::Wildcard);
        }
        if wildcard && (domain.is_public_suffix() || domain.holds_public_suffixes()) {
            return Err(BadEntry::PublicSuffix);
        }
        let path = parse_path(path)?;
        Ok(Self { scheme, domain, wildcard, port: port.unwrap_or(scheme.default_port()), path })
    }

    /// The host, for `*.host` the part behind the `*.`.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether it is `*.host`: every name below the host, and not the host itself.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The scheme of every URL that it admits.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The port, unless it is the scheme's own.
    #[must_use]
    pub fn explicit_port(&self) -> Option<u16> {
        (self.port != self.scheme.default_port()).then_some(self.port)
    }

    /// The port, also where it is the scheme's own.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The path that every URL has which it admits, or has one below; empty for every path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `scheme://host[:port]`, in front of which a path makes a URL; `None` for `*.host`, which is no single host.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        (!self.wildcard).then(|| self.as_ref().origin_with(self.domain.as_str()))
    }

    /// The names whose `*.` reaches all hosts of this entry, nearest first: those above it that have the same owner.
    pub fn names_above(&self) -> impl Iterator<Item = &str> {
        let shortest = self.domain.registrable().map_or(usize::MAX, str::len);
        self.domain.parents().take_while(move |name| name.len() >= shortest)
    }

    fn as_ref(&self) -> EntryRef<'_> {
        let Self { scheme, domain, wildcard, port, path } = self;
        EntryRef { scheme: *scheme, host: domain.as_str(), wildcard: *wildcard, port: *port, path, site: None }
    }
}

impl<'a> EntryRef<'a> {
    /// The scheme of every URL that it admits.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The registrable domain of the host, if it has one and a landing asks for it.
    #[must_use]
    pub fn site(&self) -> Option<&'a str> {
        self.site
    }

    /// `scheme://host[:port]` with this entry's scheme and port and the given host.
    pub(super) fn origin_with(&self, host: &str) -> String {
        let origin = [self.scheme.as_str(), "://", host].concat();
        if self.port == self.scheme.default_port() { origin } else { format!("{origin}:{}", self.port) }
    }

    /// Whether a host below this `*.` entry belongs to the same owner: no public suffix stands between the two, as in
    /// `bucket.s3.amazonaws.com` below `*.amazonaws.com`.
    pub(super) fn owns(&self, host: &str) -> bool {
        registrable(host) == self.site
    }

    /// Why this entry does not admit a URL of its own host.
    pub(super) fn judge(&self, target: &Target) -> Result<(), NotAllowed> {
        if target.scheme() != self.scheme {
            return Err(NotAllowed::Scheme);
        }
        if target.port() != self.port {
            return Err(NotAllowed::Port);
        }
        if self.path.is_empty() {
            return Ok(());
        }
        match target.path().strip_prefix(self.path) {
            Some(rest) if (rest.is_empty() || rest.starts_with('/')) && is_plain_path(target.path()) => Ok(()),
            _ => Err(NotAllowed::Path),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Display for EntryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.wildcard { format!("*.{}", self.host) } else { self.host.to_owned() };
        write!(f, "{}{}", self.origin_with(&host), self.path)
    }
}

fn parse_authority(authority: &str) -> Result<(Domain, Option<u16>), BadEntry> {
    // Not `HostPort`: a configuration may say `bücher.example`, a `Host` field may not.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            // `u16::parse` would also take a plus sign.
            let port = Some(port).filter(|port| !port.starts_with('+')).and_then(|port| port.parse().ok());
            (host, Some(port.filter(|port| *port != 0).ok_or(BadEntry::Port)?))
        }
        _ => (authority, None),
    };
    let domain = Domain::parse(host).map_err(|bad| match bad {
        BadDomain::TrailingDot => BadEntry::TrailingDot,
        BadDomain::Malformed => BadEntry::Host,
    })?;
    Ok((domain, port))
}

/// The path as the URL Standard serialises it, so that it compares with that of a parsed URL.
fn parse_path(path: &str) -> Result<Box<str>, BadEntry> {
    if path.is_empty() {
        return Ok(Box::default());
    }
    if !is_plain_path(path) {
        return Err(BadEntry::Path);
    }
    let url = Url::parse(&format!("https://host{path}")).map_err(|_| BadEntry::Path)?;
    Ok(url.path().trim_end_matches('/').into())
}

/// Why the allow-list does not admit a URL; the later, the nearer it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotAllowed {
    /// No entry names the host.
    Host,
    /// The host is listed with another scheme.
    Scheme,
    /// The host is listed with another port.
    Port,
    /// The host is listed with a path that this URL is not under, or that it could be read out of.
    Path,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "no destination of this origin names its host",
            Self::Scheme => "its host is listed, but with another scheme",
            Self::Port => "its host is listed, but with another port",
            Self::Path => "its host is listed, but not with this path",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_shown_as_the_url_it_stands_for() {
        for (text, expected) in [
            ("shop.example", "https://shop.example"),
            ("*.Shop.Example", "https://*.shop.example"),
            ("shop.example:8443", "https://shop.example:8443"),
            ("https://shop.example:443/a/b/", "https://shop.example/a/b"),
            ("HTTP://shop.example", "http://shop.example"),
            ("shop.example/cart", "https://shop.example/cart"),
            ("bücher.example", "https://xn--bcher-kva.example"),
            ("[::1]:8080", "https://[::1]:8080"),
            ("127.0.0.1", "https://127.0.0.1"),
        ] {
            assert_eq!(Entry::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_wildcard_reaches_names_of_one_owner() {
        for (text, expected) in [
            ("a.b.shop.example", &["b.shop.example", "shop.example"][..]),
            ("*.b.shop.example", &["shop.example"]),
            ("shop.example", &[]),
            ("pay.bucket.s3.amazonaws.com", &["bucket.s3.amazonaws.com"]),
            ("bucket.s3.amazonaws.com", &[]),
            ("s3.amazonaws.com", &[]),
            ("127.0.0.1", &[]),
        ] {
            let entry = Entry::parse(text).unwrap();
            let above: Vec<&str> = entry.names_above().collect();
            assert_eq!(above, expected, "{text}");
            for name in above {
                let wildcard = Entry::parse(&format!("*.{name}")).unwrap();
                let kept = EntryRef { site: wildcard.domain().registrable(), ..wildcard.as_ref() };
                assert!(kept.owns(entry.domain().as_str()), "{text}");
            }
        }
    }

    #[test]
    fn a_bad_entry_says_what_is_wrong() {
        for (text, expected) in [
            ("ftp://shop.example", BadEntry::Scheme),
            ("user@shop.example", BadEntry::UserInfo),
            ("*", BadEntry::Wildcard),
            ("a.*.example", BadEntry::Wildcard),
            ("*shop.example", BadEntry::Wildcard),
            ("*.127.0.0.1", BadEntry::Wildcard),
            ("*.co.uk", BadEntry::PublicSuffix),
            ("*.example", BadEntry::PublicSuffix),
            ("*.compute.amazonaws.com", BadEntry::PublicSuffix),
            ("shop.example.", BadEntry::TrailingDot),
            ("", BadEntry::Host),
            ("https:///path", BadEntry::Host),
            ("shop.example:0", BadEntry::Port),
            ("shop.example:99999", BadEntry::Port),
            ("shop.example:", BadEntry::Port),
            ("shop.example:+80", BadEntry::Port),
            ("shop.example?a=1", BadEntry::Query),
            ("shop.example/#x", BadEntry::Query),
            ("shop.example/a/../b", BadEntry::Path),
            ("shop.example/a//b", BadEntry::Path),
            ("shop.example/a;b", BadEntry::Path),
        ] {
            assert_eq!(Entry::parse(text), Err(expected), "{text}");
        }
    }
}
