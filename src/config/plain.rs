//! The plainest pairs of a long list, read without the YAML library, which takes a second for 100,000 of them.
//!
//! What is written as
//!
//! ```yaml
//!   - origin: www.yoursite.com
//!     destination: checkout.yourshop.example
//!     landing: {}
//!   - { origin: www.yoursite.com, destination: checkout.yourshop.example, landing: {} }
//! ```
//!
//! again and again, in one form or the other, with or without `landing`, is cut out of the text, the library reads what
//! is left, and then it is put back. Why that gives what the library makes of the whole text:
//!
//! * A value is one word that begins with a letter and holds a dot or a hyphen: no number, no truth and not nothing.
//! * An item ends where the next line begins another one at the same depth, and only then it is cut.
//! * The first of the items that follow each other stays in the text. The library must find it among the pairs, in that
//!   place, as it is read here. So these lines are no part of a text, of a comment or of something else, and what
//!   follows at the same depth belongs to the same list.
//! * In a list of such items none changes how the next one is read. Only an anchor above the list would, by what its
//!   aliases stand for: where there may be one, nothing is cut.
//! * Lines stay where they are, and have the same numbers here and there: where anything but `\n` may end one, nothing
//!   is cut.
//! * What is cut counts among the values that a text may hold.
//! * Where the library finds a fault in what is left, it reads the whole text: what it says about that counts.

use super::fault::Place;
use super::raw::{RawConfig, RawLanding, RawPair};
use super::text::{Given, OneOrMany, Placed};

/// Reads a configuration with the help of `library`, which can read all of them; `None` if it must. The library is told
/// how many values were taken out of its text.
pub(super) fn read(text: &str, library: impl FnOnce(&str, usize) -> Option<RawConfig>) -> Option<RawConfig> {
    let (left, runs) = cut(text)?;
    let mut config = library(&left, runs.iter().map(|run| run.values).sum())?;
    config.pairs.value = put_back(config.pairs.value, runs)?;
    Some(config)
}

/// One plain item, and what is behind it.
#[derive(Clone, Copy)]
struct Item<'t> {
    at: Place,
    origin: Placed<&'t str>,
    destination: Placed<&'t str>,
    landing: Option<Place>,
    behind: Unread<'t>,
}

/// What is not read yet, and where that begins. What was read before it in its line is ASCII.
#[derive(Clone, Copy)]
struct Unread<'t> {
    text: &'t str,
    line: u32,
    column: usize,
}

/// Items that follow each other: the first, which is left in the text, and how many with how many values are cut.
struct Run<'t> {
    first: Item<'t>,
    more: usize,
    values: usize,
}

/// The text without all but the first of the plain items that follow each other; `None` if there is nothing to cut.
fn cut(text: &str) -> Option<(String, Vec<Run<'_>>)> {
    if may_have_anchor(text) || OTHER_LINE_ENDS.iter().any(|end| text.contains(*end)) {
        return None;
    }
    let (mut left, mut runs) = (String::new(), Vec::new());
    let (mut uncopied, mut unread) = (text, Unread { text, line: 1, column: 1 });
    while !unread.text.is_empty() {
        let Some(first) = item(unread) else {
            unread = unread.behind_line();
            continue;
        };
        let (mut more, mut values, mut last) = (0, 0, first);
        for sibling in first.siblings() {
            (more, values, last) = (more + 1, values + sibling.values(), sibling);
        }
        if more > 0 {
            left.push_str(before(uncopied, first.behind.text));
            left.extend(std::iter::repeat_n('\n', (last.behind.line - first.behind.line) as usize));
            uncopied = last.behind.text;
            runs.push(Run { first, more, values });
        }
        unread = last.behind;
    }
    left.push_str(uncopied);
    (!runs.is_empty()).then_some((left, runs))
}

/// The pairs that were read, with those behind them that were cut; `None` if the first of a run is none of them.
fn put_back(read: Vec<Placed<RawPair>>, runs: Vec<Run<'_>>) -> Option<Vec<Placed<RawPair>>> {
    let mut pairs = Vec::with_capacity(read.len() + runs.iter().map(|run| run.more).sum::<usize>());
    let mut runs = runs.into_iter().peekable();
    for pair in read {
        let run = runs.next_if(|run| run.first.at.line == pair.at.line);
        if run.as_ref().is_some_and(|run| run.first.pair() != pair) {
            return None;
        }
        pairs.push(pair);
        pairs.extend(run.iter().flat_map(|run| run.first.siblings()).map(|item| item.pair()));
    }
    runs.next().is_none().then_some(pairs)
}

impl<'t> Item<'t> {
    /// The plain items that follow at the same depth.
    fn siblings(self) -> impl Iterator<Item = Item<'t>> {
        let next = |last: &Item<'t>| item(last.behind).filter(|next| next.at.column == last.at.column);
        std::iter::successors(Some(self), next).skip(1)
    }

    /// How many values it is to the library: the whole, each key and what stands behind it.
    fn values(&self) -> usize {
        5 + if self.landing.is_some() { 2 } else { 0 }
    }

    /// The item as the library reads it.
    fn pair(&self) -> Placed<RawPair> {
        let text = |text: Placed<&str>| Placed { value: OneOrMany::One(text.value.to_owned()), at: text.at };
        let landing = |at| Box::new(Placed { value: Some(RawLanding::default()), at });
        let pair = RawPair {
            name: Given(None),
            origin: text(self.origin),
            destination: text(self.destination),
            links: Given(None),
            parameter: Given(None),
            identity: Given(None),
            mint: Given(None),
            hand_off: Given(None),
            bind_user_agent: Given(None),
            consent: Given(None),
            post: Given(None),
            kissmetrics: Given(None),
            landing: Given(self.landing.map(landing)),
        };
        Placed { value: pair, at: self.at }
    }
}

/// The plain item that begins here, if another item at the same depth follows it.
fn item<'t>(unread: Unread<'t>) -> Option<Item<'t>> {
    let indent = unread.text.get(..unread.text.bytes().position(|byte| byte != b' ')?)?;
    let dash = unread.past(indent)?.past("- ")?;
    let brace = dash.past("{ ");
    // The library takes a brace for the whole value, and what stands in two lines for one without a length.
    let at = dash.place(usize::from(brace.is_some()));
    let next_key = |unread: Unread<'t>| match brace {
        Some(_) => unread.past(", "),
        None => unread.past("\n")?.past(indent)?.past("  "),
    };
    let (origin, unread) = brace.unwrap_or(dash).past("origin: ")?.word()?;
    let (destination, unread) = next_key(unread)?.past("destination: ")?.word()?;
    let landing = next_key(unread).and_then(|unread| unread.past("landing: "));
    let landing = landing.and_then(|unread| Some((unread.place(1), unread.past("{}")?)));
    let (landing, unread) = landing.map_or((None, unread), |(at, unread)| (Some(at), unread));
    let behind = if brace.is_some() { unread.past(" }")? } else { unread }.past("\n")?;
    let is_over = behind.past(indent)?.past("- ").is_some();
    is_over.then_some(Item { at, origin, destination, landing, behind })
}

impl<'t> Unread<'t> {
    /// What is behind a text, if it begins with that.
    fn past(self, text: &str) -> Option<Self> {
        let behind = self.text.strip_prefix(text)?;
        Some(match text {
            "\n" => Self { text: behind, line: self.line + 1, column: 1 },
            _ => Self { text: behind, column: self.column + text.len(), ..self },
        })
    }

    /// What is behind the line.
    fn behind_line(self) -> Self {
        let behind = self.text.split_once('\n').map_or("", |(_, behind)| behind);
        Self { text: behind, line: self.line + 1, column: 1 }
    }

    /// The place of so many characters.
    fn place(self, length: usize) -> Place {
        let [column, length] = [self.column, length].map(super::fault::number);
        Place { line: self.line, column, length }
    }

    /// The plain word that it begins with, and what is behind that.
    fn word(self) -> Option<(Placed<&'t str>, Self)> {
        let is_joint = |byte| matches!(byte, b'.' | b'-');
        let is_word_byte = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9') || is_joint(byte);
        let word = self.text.get(..self.text.bytes().position(|byte| !is_word_byte(byte))?)?;
        let is_plain = word.starts_with(|first: char| first.is_ascii_lowercase()) && word.bytes().any(is_joint);
        is_plain.then_some((Placed { value: word, at: self.place(word.len()) }, self.past(word)?))
    }
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

/// What ends a line in YAML of one version or another, besides `\n`.
const OTHER_LINE_ENDS: [char; 4] = ['\r', '\u{85}', '\u{2028}', '\u{2029}'];

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use proptest::sample::Index;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;
    use crate::config::{MOST_VALUES, by_library, shape};

    /// How many pairs were cut, once both ways to read a text of so many values were found to agree, be it about
    /// faults.
    fn compared(text: &str, most_values: usize) -> usize {
        let by_library = by_library(text, most_values).map_err(|error| vec![shape::fault(&error, text)]);
        let is_sound = by_library.is_ok();
        assert_eq!(shape(text, most_values), by_library, "{text}");
        let runs = cut(text).map(|(_, runs)| runs).unwrap_or_default();
        if is_sound { runs.iter().map(|run| run.more).sum() } else { 0 }
    }

    fn items(count: usize) -> String {
        let item = |n| format!("  - origin: www.shop{n}.example\n    destination: pay-{n}.example\n");
        (0..count).map(item).collect::<Vec<_>>().concat()
    }

    /// The same in braces.
    fn braced(items: &str) -> String {
        items.replace("- origin", "- { origin").replace("\n    destination", ", destination").replace("e\n", "e }\n")
    }

    #[test]
    fn only_what_stands_between_plain_items_is_cut() {
        let [ten, two] = [10, 2].map(items);
        let braces = braced(&ten);
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
            (format!("pairs:\n{ten}    name: a b\n  - {{origin: a.example, destination: b.example}}\n{ten}"), 16),
            (format!("pairs:\n{ten}  - origin: a\n    destination: 1.5\n{ten}"), 17),
            (format!("pairs:\n{braces}"), 8),
            (format!("pairs:\n{ten}{braces}{ten}"), 28),
            (format!("pairs:\n{}{ten}", braces.replace(" }", ", landing: {} }")), 18),
            (format!("pairs:\n{}{ten}", braces.replace(" }", ", landing: { } }")), 8),
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
            (format!("pairs: [\n{braces}]\n"), 0),
            (format!("pairs: [\n{}]\n", braces.replace("- ", "").replace("}\n", "},\n")), 0),
            (format!("pairs: &pairs\n{ten}"), 0),
            (format!("&all pairs:\n{ten}"), 0),
            // Faulty: then the library is asked about the whole text.
            (format!("pairs:\n{ten}lisen: 127.0.0.1:80\n"), 0),
            (format!("pairs:\n{ten}---\n{ten}"), 0),
            (ten.clone(), 0),
        ] {
            assert_eq!(compared(&text, MOST_VALUES), expected, "{text}");
        }
    }

    /// A list of pairs is begun, items are put together, and what comes of it is changed here and there.
    #[test]
    fn both_ways_to_read_a_text_agree() {
        let piece = |pieces: &'static [&'static str]| prop::sample::select(pieces);
        let items = prop_oneof![4 => piece(PLAIN), 1 => piece(SOUND), 1 => piece(&["\n", "@# More\n", "# More\n"])];
        let items = prop_oneof![80 => items, 1 => piece(FAULTY)];
        let head = prop_oneof![4 => Just("pairs:\n"), 2 => piece(HEADS)];
        let tail = prop_oneof![2 => Just(""), 1 => piece(TAILS)];
        let change = (any::<Index>(), prop::option::of(prop::sample::select(ODD.chars().collect::<Vec<_>>())));
        let changes = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(change, 1..3)];
        let most_values = prop_oneof![3 => Just(MOST_VALUES), 1 => 0..200_usize];
        let texts = (head, prop::collection::vec(items, 0..24), tail, 0..4_usize, changes, most_values);

        let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let cut = Cell::new(0);
        let compare = |(head, items, tail, depth, changes, most_values): (_, Vec<&str>, _, _, Vec<(Index, _)>, _)| {
            let text = format!("{head}{}{tail}", items.concat()).replace('@', &" ".repeat(depth));
            let mut text: Vec<char> = text.chars().collect();
            for (at, change) in changes {
                let at = at.index(text.len() + 1);
                match change {
                    Some(odd) => text.insert(at, odd),
                    None => drop(text.splice(at..text.len().min(at + 1), [])),
                }
            }
            let text: String = text.into_iter().collect();
            cut.set(cut.get() + usize::from(compared(&text, most_values) > 0));
            compared(&text.replace('\n', "\r\n"), most_values);
            Ok(())
        };
        runner.run(&texts, compare).unwrap();
        assert!(cut.get() > 400, "only {} texts were read in both ways", cut.get());
    }

    #[test]
    fn no_more_values_are_read_plainly_than_by_the_library() {
        let items = items(10).replace("7.example\n  - ", "7.example\n    landing: {}\n  - ");
        // The whole, `pairs` and the list; ten items of five values, and one landing.
        let values = 3 + 10 * 5 + 2;
        for items in [braced(&items).replace(" }\n    landing: {}", ", landing: {} }"), items] {
            let text = format!("pairs:\n{items}");
            assert_eq!([values - 1, values].map(|most| compared(&text, most)), [0, 8], "{text}");
            assert!(shape(&text, values - 1).is_err());
        }
    }

    /// Items that may be cut; `@` is how deep they stand.
    const PLAIN: &[&str] = &[
        "@- origin: a.example\n@  destination: b.example\n",
        "@- origin: c.example\n@  destination: d-e.example\n",
        "@- origin: www.shop.example\n@  destination: pay.example\n@  landing: {}\n",
        "@- origin: e-5\n@  destination: nan.\n",
        "@- origin: null.\n@  destination: true-\n",
        "@- { origin: a.example, destination: b.example }\n",
        "@- { origin: www.shop.example, destination: pay.example, landing: {} }\n",
        "@- { origin: off-, destination: no.5 }\n",
    ];

    /// Items that must not be.
    const SOUND: &[&str] = &[
        "@- {origin: a.example, destination: b.example}\n",
        "@-  { origin: a.example, destination: b.example }\n",
        "@- { destination: b.example, origin: a.example }\n",
        "@- { origin: a.example, destination: b.example, }\n",
        "@- { origin: a.example, destination: b.example } # Why\n",
        "@- { origin: a.example, destination: b.example, landing: { } }\n",
        "@- { origin: a.example, destination: b.example, landing: }\n",
        "@- { origin: a.example, destination: b.example, name: a b }\n",
        "@- { origin: a.example, destination: [b.example, c.example] }\n",
        "@- { origin: \"a.example\", destination: 'b.example' }\n",
        "@- { origin: no, destination: b.example:80 }\n",
        "@- { origin: a.example,destination: b.example }\n",
        "@- { origin: a.example,\n@    destination: b.example }\n",
        "@- { origin: a.example, destination: b.example\n@  }\n",
        "@- { origin: a.example, destination: b.example,\n@  landing: {} }\n",
        "@- origin: \"a.example\"\n@  destination: 'b.example'\n",
        "@- origin: \"a\\u002eexample\"\n@  destination: \"b.\\\n@    example\"\n",
        "@- origin: a.example # Why\n@  destination: b.example\n",
        "@- origin: a.example\n@  destination: b.example#c\n",
        "@- origin: a.example \n@  destination: b.example\t\n",
        "@- origin:  a.example\n@  destination:\tb.example\n",
        "@-   origin: a.example\n@    destination: b.example\n",
        "@-\n@  origin: a.example\n@  destination: b.example\n",
        "@- destination: b.example\n@  origin: a.example\n",
        "@- origin : a.example\n@  destination: b.example\n",
        "@- origin: a.example\n\n@  # Why\n@  destination: b.example\n",
        "@- origin: a.example\n@  destination: b.example\n@    c.example\n",
        "@- origin:\n@  - a.example\n@  - b.example\n@  destination: [c.example]\n",
        "@- origin: no\n@  destination: ~\n",
        "@- origin: no\n@  destination: b.example\n",
        "@- origin: a.example\n@  destination: null\n",
        "@- origin: 1.5\n@  destination: 0x1f\n",
        "@- origin: -.inf\n@  destination: 2026-11-22\n",
        "@- origin: bücher.example\n@  destination: B.example\n",
        "@- origin: a.example:80\n@  destination: '*.b.example'\n",
        "@- origin: !!str a.example\n@  destination: b.example\n",
        "@- origin: &x a.example\n@  destination: *x\n",
        "@- &y\n@  origin: a.example\n@  destination: b.example\n",
        "@- origin: a.example\n@  destination: b.example\n@  name: Q&A\n",
        "@- origin: a.example\n@  destination: b.example\n@  landing: { }\n",
        "@- origin: a.example\n@  destination: b.example\n@  landing: {} # Why\n",
        "@- origin: a.example\n@  destination: b.example\n@  links: { a: /b }\n",
        "@- name: |\n@    - origin: a.example\n@      destination: b.example\n@    - origin: a.example\n@      destination: b.example\n@    - x\n@  origin: a.example\n@  destination: b.example\n",
        "@- origin: a.example\n@  destination: b.example\n@  name: \"\n@    - origin: a.example\n@      destination: b.example\n@    - origin: a.example\n@      destination: b.example\n@    - x\"\n",
    ];

    /// Pieces that make a text faulty, nearly everywhere.
    const FAULTY: &[&str] = &[
        "@- origin: a.example\n@  origin: b.example\n@  destination: c.example\n",
        "@- origin: a.example\n@  destination: b.example:\n",
        "@- origin: a.example\n@  destination: b.example\n@  lisen: 1\n",
        "@- origin: a.example\n@  destination: *z\n",
        "@- origin: a.example\n",
        "@ - origin: a.example\n@   destination: b.example\n",
        "@  destination: b.example\n",
        "@  more\n",
        "@- { origin: a.example, destination: b.example\n",
        "@- { origin: a.example, destination: b.example }}\n",
        "@- { origin: a.example, destination: b.example } more\n",
        "@- { origin: a.example, destination: b.example }\n@  landing: {}\n",
        "@- { origin: a.example, destination: b.example }\n@    more\n",
        "@- { origin: a.example, origin: b.example, destination: c.example }\n",
        "@- { origin: a.example, destination: *z }\n",
        "@- { origin: a.example }\n",
        "@- { origin: a.example, destination: b.example, lisen: 1 }\n",
        "@- - { origin: a.example, destination: b.example }\n",
        "@\t- x\n",
        "@- - origin: a.example\n@    destination: b.example\n",
        "pairs:\n",
        "]\n",
        "\"\n",
        "---\n",
        "...\n",
    ];

    const HEADS: &[&str] = &[
        "",
        "\u{feff}pairs:\n",
        "# Who\u{2028}may\u{85}go where\npairs:\n",
        "# Who may go where\r\rpairs:\n@- origin: a.example # Why\n@  destination: b.example\n",
        "pairs: # Who may go where\n",
        "\"pairs\":\n",
        "? pairs\n:\n",
        "pairs: !!seq\n",
        "pairs: &z\n",
        "%YAML 1.2\n---\npairs:\n",
        "listen: [127.0.0.1:80, \"[::1]:80\"]\npairs:\n",
        "defaults: { landing: {} }\npairs:\n",
        "<<: { listen: 127.0.0.1:80 }\npairs:\n",
        "pairs: [\n",
        "pairs: |\n",
        "defaults:\n@landing:\n",
        "pairs: []\ndefaults:\n",
    ];

    const TAILS: &[&str] = &[
        "listen: 127.0.0.1:80\n",
        "...\n",
        "# The end",
        "@",
        "@# The end\n",
        "lisen: 1\n",
        "]\n",
        "---\n",
        "pairs: []\n",
    ];

    /// Characters that mean something in YAML, or might.
    const ODD: &str = "\"'#\t\r\n&*:-{}[],|>%@`!? ~.\\\0é0a\u{85}\u{2028}\u{feff}";
}
