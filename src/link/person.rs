//! Whether a person seems to ask, or a program for ends of its own.

use std::sync::LazyLock;

use super::visit::{Field, Visit};

/// Whether it is a browser that asks, and one that does not say in the words of old that it only fetches ahead. Nobody
/// is made known or told of otherwise; what is answered is the same to all.
pub(super) fn seems_a_person(visit: &Visit<'_>) -> bool {
    let fetches_ahead = || AHEAD.iter().any(|name| !matches!(visit.fields.find(name), Field::Absent));
    is_browser(visit.user_agent.unwrap_or_default()) && !fetches_ahead()
}

/// Whether a `User-Agent` is that of a browser, as far as it says. All browsers begin with the same word; what fetches
/// pages for other ends says what it is, by one of a few words or by the address of a page about it, or that it is as
/// good as a browser, which none has said of itself since Internet Explorer.
fn is_browser(user_agent: &[u8]) -> bool {
    let begins = [&b"Mozilla/"[..], b"Opera/"].iter().any(|start| user_agent.starts_with(start));
    begins && !says_other_end(user_agent)
}

/// Whether one of [`OTHER_ENDS`] stands there. All are looked for in one go, since each visitor of whom something is
/// told waits for it: of each byte a table knows in which words it is the first letter, and in which the second.
fn says_other_end(user_agent: &[u8]) -> bool {
    let stands = |word: &str, at: usize| {
        let part = user_agent.get(at..at + word.len());
        part.is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    let is_telephone = |bot: usize| bot.checked_sub(2).is_some_and(|at| stands(TELEPHONE, at));
    let (table, mut begun) = (&*LETTERS, 0);
    for (at, byte) in user_agent.iter().enumerate() {
        let [first, second] = table.get(usize::from(*byte)).copied().unwrap_or_default();
        let goes_on = begun & second != 0;
        begun = first;
        if goes_on && OTHER_ENDS.iter().any(|word| stands(word, at - 1)) && !is_telephone(at - 1) {
            return true;
        }
    }
    false
}

/// What only others than browsers call themselves.
const OTHER_ENDS: [&str; 11] =
    ["bot", "compatible", "crawl", "headless", "http", "lighthouse", "monitor", "preview", "scan", "slurp", "spider"];

/// For each byte, a bit for each word whose first letter it is, and for each whose second letter it is.
static LETTERS: LazyLock<[[u16; 2]; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        [0, 1].map(|at| {
            let is_there = |word: &str| {
                word.as_bytes().get(at).is_some_and(|letter| {
                    [letter, &letter.to_ascii_uppercase()].map(|l| usize::from(*l)).contains(&byte)
                })
            };
            OTHER_ENDS.iter().rev().fold(0, |bits, word| bits << 1 | u16::from(is_there(word)))
        })
    })
});

/// A maker of telephones.
const TELEPHONE: &str = "cubot";

/// By these browsers announced it before there was `Sec-Purpose`: `Purpose: prefetch`, `X-Moz: prefetch` and
/// `X-Purpose: preview`.
const AHEAD: [&str; 3] = ["purpose", "x-moz", "x-purpose"];

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
            ("Mozilla/5.0 (compatible; Pingdom.com_check)", false),
            ("facebookexternalhit/1.1", false),
            ("WhatsApp/2.23.20.0", false),
            ("curl/8.17.0", false),
            ("python-requests/2.32", false),
            ("", false),
        ] {
            assert_eq!(is_browser(user_agent.as_bytes()), expected, "{user_agent}");
        }
    }
}
