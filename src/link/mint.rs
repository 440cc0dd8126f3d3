//! An identity of crosslink's own, for a visitor who has none.

use super::cookie::{CookieName, IdentityCookie, SameSite};
use super::domain::{Domain, registrable};
use super::identity::Identity;
use super::pair::{MAX_AGE, Pair};
use super::trace::{Step, Trace};
use super::visit::Visit;

/// What a visitor of an origin gets who has no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mint {
    /// The cookie that keeps his own.
    pub cookie: CookieName,
    /// Whether it has the `Secure` attribute.
    pub secure: bool,
}

impl Mint {
    /// The cookie as it is set on an origin's host: for all of its site, so that `www.yoursite.com` and `yoursite.com`
    /// know one visitor by one identity.
    #[must_use]
    pub fn cookie_on<'a>(&'a self, host: &'a str) -> IdentityCookie<'a> {
        IdentityCookie {
            name: &self.cookie,
            domain: registrable(host).filter(|_| !is_ip(host)),
            max_age: MAX_AGE,
            same_site: SameSite::Lax,
            secure: self.secure,
        }
    }
}

/// The identity that a pair makes up for a visitor who has none, if it does so, and he seems to be a person.
pub(super) fn mint(visit: &Visit<'_>, pair: &Pair<'_>, trace: &mut impl Trace) -> Option<Identity<'static>> {
    let cookie = pair.mint.as_ref()?.cookie.as_str();
    if !is_browser(visit.user_agent.unwrap_or_default()) {
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

/// Whether a `User-Agent` is that of a browser, as far as it says. All browsers begin with the same word; what fetches
/// pages for other ends says what it is, by one of a few words or by the address of a page about it.
fn is_browser(user_agent: &[u8]) -> bool {
    let count = |word: &str| {
        let word = word.as_bytes();
        user_agent.windows(word.len()).filter(|part| part.eq_ignore_ascii_case(word)).count()
    };
    let begins = [&b"Mozilla/"[..], b"Opera/"].iter().any(|start| user_agent.starts_with(start));
    // Cubot makes telephones.
    begins && count("bot") == count("cubot") && OTHER_ENDS.iter().all(|word| count(word) == 0)
}

/// What only others than browsers call themselves, besides `bot`.
const OTHER_ENDS: [&str; 9] =
    ["crawl", "spider", "slurp", "preview", "scan", "monitor", "headless", "lighthouse", "http"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_told_from_what_fetches_pages() {
        for (user_agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", true),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
                true,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
                true,
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; CUBOT P80) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
                true,
            ),
            ("Opera/9.80 (Android; Opera Mini/36.2/119.132; U; id) Presto/2.12.423 Version/12.16", true),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", false),
            ("Mozilla/5.0 (compatible; SomethingElse/1.0; +https://something.example/)", false),
            ("Mozilla/5.0 (compatible; bingbot/2.0) Chrome/142.0.0.0 Safari/537.36", false),
            ("Mozilla/5.0 (Linux; Android 13; CUBOT P80; AdsBot-Google-Mobile) Chrome/142.0.0.0", false),
            ("Mozilla/5.0 (compatible; Yahoo! Slurp)", false),
            ("Mozilla/5.0 (compatible; Baiduspider/2.0)", false),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36",
                false,
            ),
            ("Mozilla/5.0 Chrome/142.0.0.0 Safari/537.36 Chrome-Lighthouse", false),
            ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", false),
            ("facebookexternalhit/1.1", false),
            ("WhatsApp/2.23.20.0", false),
            ("curl/8.17.0", false),
            ("python-requests/2.32", false),
            ("", false),
        ] {
            assert_eq!(is_browser(user_agent.as_bytes()), expected, "{user_agent}");
        }
    }

    #[test]
    fn the_cookie_is_one_for_all_of_a_site() {
        let mint = Mint { cookie: CookieName::new("visitor"), secure: true };
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
