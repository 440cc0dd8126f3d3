//! The plainest pairs of a long list, read without the YAML library, which takes a second for 100,000 of them.
//!
//! What is written as
//!
//! ```yaml
//!   - origin: www.yoursite.com
//!     destination: checkout.yourshop.example
//!     landing: {}
//! ```
//!
//! again and again, with or without its last line, is cut out of the text, the library reads what is left, and then it is put back. Why that gives what
//! the library makes of the whole text:
//!
//! * A value is one word that begins with a letter and holds a dot or a hyphen: no number, no truth and not nothing.
//! * An item ends where the next line begins another one at the same depth, and only then it is cut.
//! * The first of the items that follow each other stays in the text. The library must find it among the pairs, in that
//!   place, as it is read here. So these lines are no part of a text, of a comment or of something else, and what follows
//!   at the same depth belongs to the same list.
//! * In a list of such items none changes how the next one is read. Only an anchor above the list would, by what its
//!   aliases stand for: where there may be one, nothing is cut.
//! * Lines stay where they are. And where the library finds a fault in what is left, it reads the whole text: what it
//!   says about that counts.

use super::fault::Place;
use super::raw::{RawConfig, RawLanding, RawPair};
use super::text::{OneOrMany, Placed};

/// Reads a configuration with the help of `library`, which can read all of them; `None` if it must.
pub(super) fn read(text: &str, library: impl FnOnce(&str) -> Option<RawConfig>) -> Option<RawConfig> {
    let (left, runs) = cut(text)?;
    let mut config = library(&left)?;
    config.pairs.value = put_back(config.pairs.value, runs)?;
    Some(config)
}

/// One plain item, and the text behind it.
#[derive(Clone, Copy)]
struct Item<'t> {
    line: u32,
    depth: usize,
    origin: &'t str,
    destination: &'t str,
    lands: bool,
    behind: &'t str,
}

/// Items that follow each other: the first, which is left in the text, and how many are cut.
struct Run<'t> {
    first: Item<'t>,
    more: usize,
}

/// The text without all but the first of the plain items that follow each other; `None` if there is nothing to cut.
fn cut(text: &str) -> Option<(String, Vec<Run<'_>>)> {
    if may_have_anchor(text) {
        return None;
    }
    let (mut left, mut runs) = (String::new(), Vec::new());
    // What is not copied yet, and what is not read yet.
    let (mut uncopied, mut unread, mut line) = (text, text, 1);
    while !unread.is_empty() {
        let Some(first) = item(unread, line) else {
            unread = unread.split_once('\n').map_or("", |(_, behind)| behind);
            line += 1;
            continue;
        };
        let (more, last) = first.siblings().fold((0, first), |(more, _), sibling| (more + 1, sibling));
        if more > 0 {
            left.push_str(before(uncopied, first.behind));
            left.extend(std::iter::repeat_n('\n', (last.end() - first.end()) as usize));
            uncopied = last.behind;
            runs.push(Run { first, more });
        }
        unread = last.behind;
        line = last.end();
    }
    left.push_str(uncopied);
    (!runs.is_empty()).then_some((left, runs))
}

/// The pairs that were read, with those behind them that were cut; `None` if the first of a run is none of them.
fn put_back(read: Vec<Placed<RawPair>>, runs: Vec<Run<'_>>) -> Option<Vec<Placed<RawPair>>> {
    let mut pairs = Vec::with_capacity(read.len() + runs.iter().map(|run| run.more).sum::<usize>());
    let mut runs = runs.into_iter().peekable();
    for pair in read {
        let at = pair.at;
        let run = runs.next_if(|run| run.first.line == at.line);
        if run.as_ref().is_some_and(|run| run.first.pair() != pair.value) {
            return None;
        }
        pairs.push(pair);
        let siblings = run.iter().flat_map(|run| run.first.siblings());
        pairs.extend(siblings.map(|item| Placed { value: item.pair(), at: Place { line: item.line, ..at } }));
    }
    runs.next().is_none().then_some(pairs)
}

impl<'t> Item<'t> {
    /// The plain items that follow at the same depth.
    fn siblings(self) -> impl Iterator<Item = Item<'t>> {
        let next = |last: &Item<'t>| {
            let next = item(last.behind, last.end())?;
            (next.depth == last.depth).then_some(next)
        };
        std::iter::successors(Some(self), next).skip(1)
    }

    /// The line behind it.
    fn end(&self) -> u32 {
        self.line + 2 + u32::from(self.lands)
    }

    /// The item as the library reads it.
    fn pair(&self) -> RawPair {
        let at = |line, key: &str, length| {
            let [column, length] = [self.depth + key.len() + 1, length].map(super::fault::number);
            Place { line, column, length }
        };
        let text = |text: &str, line, key: &str| Placed {
            value: OneOrMany::One(text.to_owned()),
            at: at(line, key, text.len()),
        };
        let landing = || Placed { value: Some(RawLanding::default()), at: at(self.line + 2, LANDING, 1) };
        RawPair {
            name: None,
            origin: text(self.origin, self.line, ORIGIN),
            destination: text(self.destination, self.line + 1, DESTINATION),
            links: None,
            parameter: None,
            identity: None,
            hand_off: None,
            bind_user_agent: None,
            consent: None,
            landing: self.lands.then(|| Box::new(landing())),
        }
    }
}

/// The plain item that the text begins with, if another item at the same depth follows it.
fn item(text: &str, line: u32) -> Option<Item<'_>> {
    let depth = text.bytes().position(|byte| byte != b' ')?;
    let (indent, text) = text.split_at_checked(depth)?;
    let (origin, text) = word(text.strip_prefix(ORIGIN)?)?;
    let (destination, behind) = word(text.strip_prefix(indent)?.strip_prefix(DESTINATION)?)?;
    let landing = behind.strip_prefix(indent)?.strip_prefix(LANDING).and_then(|value| value.strip_prefix("{}\n"));
    let (lands, behind) = (landing.is_some(), landing.unwrap_or(behind));
    let is_over = behind.strip_prefix(indent)?.starts_with("- ");
    is_over.then_some(Item { line, depth, origin, destination, lands, behind })
}

/// The word that fills the line, and what is behind the line.
fn word(text: &str) -> Option<(&str, &str)> {
    let is_word_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    let end = text.bytes().position(|byte| !is_word_byte(byte))?;
    let (word, behind) = text.split_at_checked(end)?;
    let is_plain = word.starts_with(|first: char| first.is_ascii_lowercase()) && word.contains(['.', '-']);
    is_plain.then_some((word, behind.strip_prefix('\n')?))
}

/// Whether a `&` may begin an anchor: it would stand at the beginning, behind a blank or behind a bracket.
fn may_have_anchor(text: &str) -> bool {
    text.match_indices('&').any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|before| before.is_whitespace() || "[{,:-?\u{feff}".contains(before))
    })
}

/// The part of a text that stands before what it ends with.
fn before<'t>(text: &'t str, end: &str) -> &'t str {
    text.get(..text.len() - end.len()).unwrap_or_default()
}

const ORIGIN: &str = "- origin: ";
const DESTINATION: &str = "  destination: ";
const LANDING: &str = "  landing: ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::by_library;

    /// How many pairs were cut, once both ways to read a text were found to agree.
    fn compared(text: &str) -> usize {
        let runs = cut(text).map(|(_, runs)| runs).unwrap_or_default();
        let plainly = read(text, |left| by_library(left).ok());
        let is_read = plainly.is_some();
        if let Some(plainly) = plainly {
            assert_eq!(plainly, by_library(text).expect("what is read plainly is no fault"), "{text}");
        }
        if is_read { runs.iter().map(|run| run.more).sum() } else { 0 }
    }

    fn items(count: usize) -> String {
        let item = |n| format!("  - origin: www.shop{n}.example\n    destination: pay-{n}.example\n");
        (0..count).map(item).collect::<Vec<_>>().concat()
    }

    #[test]
    fn only_what_stands_between_plain_items_is_cut() {
        let [ten, two] = [10, 2].map(items);
        for (text, expected) in [
            (format!("pairs:\n{ten}"), 8),
            (format!("\u{feff}# Pairs\npairs:\n{ten}listen: 127.0.0.1:80\n"), 8),
            (format!("pairs:\n{two}  # more\n{ten}"), 8),
            (format!("pairs:\n{ten}    landing: {{}}\n{ten}"), 18),
            (
                format!(
                    "pairs:\n{}",
                    ten.replace("  - ", "    landing: {}\n  - ").replacen("    landing: {}\n", "", 1)
                ),
                8,
            ),
            (format!("pairs:\n{ten}    landing: {{ }}\n{ten}"), 16),
            (format!("pairs:\n{ten}    landing:\n{ten}"), 16),
            (format!("pairs:\n{ten}    name: a b\n  - {{ origin: a.example, destination: b.example }}\n{ten}"), 16),
            (format!("pairs:\n{ten}  - origin: a\n    destination: 1.5\n{ten}"), 17),
            (format!("pairs:\n{two}"), 0),
            (format!("pairs:\r\n{}", ten.replace('\n', "\r\n")), 0),
            // None of these lists is `pairs`, or no list at all.
            (
                format!(
                    "pairs:\n  - origin: a.b\n    destination: c.d\n    name: |\n{}",
                    ten.replace("  -", "      -")
                ),
                0,
            ),
            (
                format!(
                    "pairs:\n  - origin: a.b\n    destination: c.d\n    name: \"\n{}  \"\n",
                    ten.replace("  ", "       ")
                ),
                0,
            ),
            (format!("defaults:\n  landing:\n{ten}pairs: []\n"), 0),
            (format!("pairs: [\n{ten}]\n"), 0),
            (format!("pairs: &pairs\n{ten}"), 0),
            (format!("&all pairs:\n{ten}"), 0),
            // Faulty: then the library is asked about the whole text.
            (format!("pairs:\n{ten}lisen: 127.0.0.1:80\n"), 0),
            (format!("pairs:\n{ten}---\n{ten}"), 0),
            (ten.clone(), 0),
        ] {
            assert_eq!(compared(&text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_to_read_a_text_agree(lines in prop::collection::vec(0..LINES.len(), 0..24), depth in 0_usize..4) {
            let text: String = lines.iter().map(|line| LINES[*line].replace('~', &" ".repeat(depth))).collect();
            compared(&format!("pairs:\n{text}"));
            compared(&text);
        }
    }

    /// Lines that come before, between and behind plain items; `~` is how deep these stand.
    const LINES: &[&str] = &[
        "~- origin: a.example\n~  destination: b.example\n",
        "~- origin: a.example\n~  destination: b.example\n",
        "~- origin: a.example\n~  destination: b.example\n",
        "~- origin: c.example\n~  destination: d-e.example\n",
        "~- origin: null\n~  destination: b.example\n",
        "~- origin: 1.5\n~  destination: b.example\n",
        "~- origin: a.example\n",
        "~  destination: b.example\n",
        "~  destination: &anchor b.example\n",
        "~  landing: {}\n",
        "~- origin: a.example\n~  destination: b.example\n~  landing: {}\n",
        "~  name: |\n",
        "~  name: >-\n",
        "~  name: \"a\n",
        "~  more\n",
        "~    more.example\n",
        "~ - origin: a.example\n~   destination: b.example\n",
        "~# comment\n",
        "\n",
        "pairs:\n",
        "pairs: [\n",
        "]\n",
        "\"\n",
        "---\n",
        "...\n",
        "links:\n",
        "~  links:\n",
        "~  links: { a: /b }\n",
        "? pairs\n: \n",
    ];
}
