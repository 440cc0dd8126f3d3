//! An identity of crosslink's own, for a visitor who has none.

use super::cookie::{Attributes, CookieName, IdentityCookie, SameSite};
use super::domain::{Domain, registrable};
use super::identity::Identity;
use super::pair::{MAX_AGE, Pair};
use super::person::seems_a_person;
use super::trace::{Step, Trace};
use super::visit::Visit;

/// What a visitor of an origin gets who has no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mint {
    /// The cookie that keeps his own.
    pub cookie: CookieName,
    /// Whether it has the `Secure` attribute.
    pub secure: bool,
    attributes: Attributes,
}

impl Mint {
    /// Keeps it in this cookie, with the `Secure` attribute or without.
    #[must_use]
    pub fn new(cookie: CookieName, secure: bool) -> Self {
        Self { cookie, secure, attributes: Attributes::new(MAX_AGE, SameSite::Lax) }
    }

    /// The cookie as it is set on an origin's host: for all of its site, so that `www.yoursite.com` and `yoursite.com`
    /// know one visitor by one identity.
    #[must_use]
    pub fn cookie_on<'a>(&'a self, host: &'a str) -> IdentityCookie<'a> {
        IdentityCookie {
            name: &self.cookie,
            domain: registrable(host).filter(|_| !is_ip(host)),
            secure: self.secure,
            attributes: &self.attributes,
        }
    }
}

/// The identity that a pair makes up for a visitor who has none, if it does so, and he seems to be a person.
pub(super) fn mint(visit: &Visit<'_>, pair: &Pair<'_>, trace: &mut impl Trace) -> Option<Identity<'static>> {
    let cookie = pair.mint.as_ref()?.cookie.as_str();
    if !seems_a_person(visit) {
        trace.step(Step::NotMinted(cookie));
        return None;
    }
    let identity = Identity::from_random(visit.random?);
    trace.step(Step::Minted(cookie, &identity));
    Some(identity)
}

fn is_ip(host: &str) -> bool {
    Domain::parse(host).is_ok_and(|domain| domain.is_ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_one_for_all_of_a_site() {
        let mint = Mint::new(CookieName::new("visitor"), true);
        let identity = Identity::from_random([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xff]);
        let value = "000102030405060708090a0b0c0d0eff";
        for (host, domain) in [
            ("www.yoursite.com", " Domain=yoursite.com;"),
            ("yoursite.com", " Domain=yoursite.com;"),
            ("shop.yoursite.co.uk", " Domain=yoursite.co.uk;"),
            ("localhost", ""),
            ("127.0.0.1", ""),
            ("[::1]", ""),
        ] {
            let expected = format!("visitor={value}; SameSite=Lax; Secure; Path=/;{domain} Max-Age=34560000");
            assert_eq!(mint.cookie_on(host).write(&identity), expected, "{host}");
        }
    }
}
