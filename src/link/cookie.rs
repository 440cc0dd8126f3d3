//! The identity cookie: found among a browser's cookies on the origin, written on the destination.

use std::fmt;
use std::time::Duration;

use cookie::time::OffsetDateTime;
use cookie::{Cookie, CookieBuilder, SameSite as CookieSameSite};
use memchr::memchr;
use memchr::memmem::Finder;

use super::domain::Domain;
use super::identity::Identity;

/// The name of a cookie, ready to be searched for: it costs as much to make ready as to find.
#[derive(Clone)]
pub struct CookieName {
    text: Box<str>,
    finder: Finder<'static>,
}

impl CookieName {
    /// Takes a name, which the configuration has checked.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { text: name.into(), finder: Finder::new(name).into_owned() }
    }

    /// The name as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for CookieName {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CookieName {}

impl fmt::Debug for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Finds a cookie in all `Cookie` fields of a request, read as one and as bytes (RFC 6265, 4.2.1, leniently): split on
/// `;`, trimmed of blanks, the name up to the first `=`, exact and case-sensitive.
///
/// Of several cookies of that name the first one with a value counts. `Some(b"")` says that all of them are empty.
/// Bytes around it that are no UTF-8, or no cookie at all, neither hide nor break it.
#[must_use]
pub fn read<'a>(fields: &[&'a [u8]], name: &CookieName) -> Option<&'a [u8]> {
    // A browser's cookies are many and long: the name is searched for, and only where it stands are cookies told apart.
    let mut found = None;
    for field in fields {
        let mut from = 0;
        while let Some(at) = field.get(from..).and_then(|rest| name.finder.find(rest)) {
            match value_at(field, from + at, name.text.len()) {
                Some(value) if !value.is_empty() => return Some(value),
                empty => found = empty.or(found),
            }
            from += at + name.text.len();
        }
    }
    found
}

/// The value of the cookie whose name stands there, if it is a name that stands there.
fn value_at(field: &[u8], at: usize, name: usize) -> Option<&[u8]> {
    let (before, rest) = field.split_at_checked(at)?;
    let before = before.trim_ascii_end();
    if !before.is_empty() && !before.ends_with(b";") {
        return None;
    }
    let value = rest.get(name..)?.trim_ascii_start().strip_prefix(b"=")?;
    let end = memchr(b';', value).unwrap_or(value.len());
    value.get(..end).map(<[u8]>::trim_ascii)
}

/// A cookie that keeps an identity: its name and attributes, ready for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityCookie<'a> {
    /// The cookie's name.
    pub name: &'a CookieName,
    /// The `Domain` attribute; `None` makes a host-only cookie.
    pub domain: Option<&'a str>,
    /// The `Secure` attribute.
    pub secure: bool,
    /// All others.
    pub attributes: &'a Attributes,
}

/// The attributes that a pair's cookies have whatever their host. The library writes them once, and not for each
/// visitor again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    same_site: SameSite,
    /// What stands before the domain and behind it: without `Secure`, and with it.
    written: [(Box<str>, Box<str>); 2],
}

/// The `SameSite` attribute of a landing's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Sent on navigations from other sites too.
    Lax,
    /// Sent inside frames on other sites; adds `Secure` and `Partitioned`, without which browsers refuse it there.
    None,
}

/// Where a landing's cookie is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CookieDomain {
    /// The registrable domain, where the KISSmetrics script keeps its own cookie.
    Site,
    /// Only the host that set it.
    Host,
    /// One domain, which is the host or a parent of it.
    Given(Domain),
}

impl CookieDomain {
    /// The `Domain` attribute on the hosts of one destination entry, whose registrable domain is `site`; `None` for a
    /// host-only cookie, which is also what an IP address or a host without a registrable domain gets.
    #[must_use]
    pub fn attribute<'a>(&'a self, site: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::Site => site,
            Self::Host => None,
            Self::Given(domain) => Some(domain.as_str()),
        }
    }
}

impl Attributes {
    /// Takes `Max-Age`, in whole seconds, and `SameSite`.
    #[must_use]
    pub fn new(max_age: Duration, same_site: SameSite) -> Self {
        let seconds = cookie::time::Duration::seconds(i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX));
        let written = [false, true].map(|secure| {
            let cookie = cookie("", same_site, secure).domain("").max_age(seconds).to_string();
            let (before, behind) = cookie.split_once(DOMAIN).unwrap_or_default();
            (before.trim_start_matches('=').into(), behind.into())
        });
        Self { same_site, written }
    }

    /// The `SameSite` attribute.
    #[must_use]
    pub fn same_site(&self) -> SameSite {
        self.same_site
    }
}

impl IdentityCookie<'_> {
    /// The value of a `Set-Cookie` field. It is never `HttpOnly`: the page's script must read it.
    #[must_use]
    pub fn write(&self, identity: &Identity<'_>) -> String {
        let [insecure, secure] = &self.attributes.written;
        let (before, behind) = if self.secure { secure } else { insecure };
        let (domain_key, domain) = self.domain.map_or_else(Default::default, |domain| (DOMAIN, domain));
        let parts = || {
            let value = identity.escaped();
            [self.name.as_str(), "="].into_iter().chain(value).chain([before, domain_key, domain, behind])
        };
        // Measured first, then written: such a text becomes a field of the answer without another copy.
        let mut text = String::with_capacity(parts().map(str::len).sum());
        text.extend(parts());
        text
    }

    /// The value of a `Set-Cookie` field that ends this cookie, whatever it holds: one with the same name, domain and
    /// path takes its place, and its time is over. `Expires` says so to those that don't know `Max-Age`.
    #[must_use]
    pub fn end(&self) -> String {
        let ended = cookie(self.name.as_str(), self.attributes.same_site, self.secure)
            .max_age(cookie::time::Duration::ZERO)
            .expires(OffsetDateTime::UNIX_EPOCH);
        match self.domain {
            Some(domain) => ended.domain(domain).to_string(),
            None => ended.to_string(),
        }
    }
}

/// A cookie without a value, with what all have: one for all paths, and never hidden from scripts.
fn cookie(name: &str, same_site: SameSite, secure: bool) -> CookieBuilder<'_> {
    Cookie::build((name, "")).path("/").secure(secure).partitioned(same_site == SameSite::None).same_site(
        match same_site {
            SameSite::Lax => CookieSameSite::Lax,
            SameSite::None => CookieSameSite::None,
        },
    )
}

/// How the attribute begins.
const DOMAIN: &str = "; Domain=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_cookie_is_found_among_any_neighbours() {
        for (fields, expected) in [
            (vec![b"km_ni=bob".as_slice()], Some(b"bob".as_slice())),
            (vec![b"a=1; km_ni=bob; b=2"], Some(b"bob")),
            (vec![b"a=1;km_ni=bob"], Some(b"bob")),
            (vec![b"a=1;\t km_ni = bob \t;b"], Some(b"bob")),
            (vec![b"a=1", b"km_ni=bob"], Some(b"bob")),
            (vec![b"x=\xff\xfe; ; =; ;;km_ni=bob"], Some(b"bob")),
            (vec![b"km_ni=; km_ni=bob; km_ni=eve"], Some(b"bob")),
            (vec![b"km_ni=a=b"], Some(b"a=b")),
            (vec![b"km_ni="], Some(b"")),
            (vec![b"km_ni"], None),
            (vec![b"KM_NI=bob; xkm_ni=bob; km_nix=bob"], None),
            (vec![b"a=\"; km_ni=bob\""], Some(b"bob\"")),
            (vec![b"a=km_ni=eve; km_ni=bob"], Some(b"bob")),
            (vec![b"km_nikm_ni=eve;km_ni km_ni=eve;km_ni\t=\tbob"], Some(b"bob")),
            (vec![b"km_ni=;", b"km_ni=bob"], Some(b"bob")),
            (vec![b"km_ni", b"=bob"], None),
            (vec![], None),
        ] {
            assert_eq!(read(&fields, &CookieName::new("km_ni")), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_cookie_is_written_for_scripts_to_read() {
        let bob = Identity::from_cookie(b"bob%40bob.com").unwrap();
        let name = CookieName::new("km_ni");
        let [lax, none] = [SameSite::Lax, SameSite::None]
            .map(|same_site| Attributes::new(Duration::from_secs(34_560_000), same_site));
        let mut cookie =
            IdentityCookie { name: &name, domain: Some("yourshop.example"), secure: true, attributes: &lax };
        assert_eq!(
            cookie.write(&bob),
            "km_ni=bob%40bob.com; SameSite=Lax; Secure; Path=/; Domain=yourshop.example; Max-Age=34560000"
        );
        cookie.secure = false;
        cookie.domain = None;
        assert_eq!(cookie.write(&bob), "km_ni=bob%40bob.com; SameSite=Lax; Path=/; Max-Age=34560000");
        cookie.attributes = &none;
        assert!(cookie.write(&bob).contains("; SameSite=None; Partitioned; Secure;"));
        let ends = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(cookie.end(), format!("km_ni=; SameSite=None; Partitioned; Secure; Path=/; {ends}"));
        cookie.domain = Some("yourshop.example");
        cookie.attributes = &lax;
        assert_eq!(cookie.end(), format!("km_ni=; SameSite=Lax; Path=/; Domain=yourshop.example; {ends}"));
    }
}
