//! What stands at a place of the file and behind which key, found in the text where the YAML library does not say it.

use super::fault::Place;

/// A place of the file, as whoever wrote it sees it. What can't be told from the line and those above it is left out.
pub(super) struct Spot<'t> {
    /// The key that the value is for.
    pub key: Option<&'t str>,
    /// Whether it is one item of the list behind that key.
    pub is_item: bool,
    pub found: Found,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    List,
    Keys,
    Text,
}

impl<'t> Spot<'t> {
    pub(super) fn of(text: &'t str, at: Place) -> Self {
        let (before, value) = split(text, at);
        let found = Found::of(value);
        if value.starts_with(':') {
            // The library's place for nothing is the colon in front of it.
            return Self { key: last_word(before), is_item: false, found };
        }
        let before = before.trim_end();
        let (key, is_item) = match before.strip_suffix(':') {
            Some(before) => (last_word(before), false),
            None if is_indent(before) => (key_above(text, at, before, found), before.contains('-')),
            None => (key_of_bracket(before), true),
        };
        Self { key, is_item, found }
    }
}

impl Found {
    fn of(value: &str) -> Self {
        let word = value.split([' ', ',']).next().unwrap_or_default();
        match value.chars().next() {
            None | Some(':' | '#' | '~') => Self::Nothing,
            Some('[') => Self::List,
            Some('{') => Self::Keys,
            Some(_) if word == "-" => Self::List,
            Some(_) if word.ends_with(':') => Self::Keys,
            Some(_) => Self::Text,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::List => "a list",
            Self::Keys => "keys with values",
            Self::Text => "a text",
        }
    }
}

/// The key that begins at a place without a blank behind its colon: YAML takes `listen:80` for one word.
pub(super) fn glued_key(text: &str, at: Place) -> Option<&str> {
    let (before, value) = split(text, at);
    let (key, behind) = value.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    (is_key && is_indent(before) && behind.starts_with(|c: char| !c.is_whitespace())).then_some(key)
}

/// The first tab in the indentation of a line, from the line of a place on: what begins above it may end there.
pub(super) fn tab_in_indentation(text: &str, at: Place) -> Option<Place> {
    (1..).zip(text.lines()).skip(at.line as usize - 1).find_map(|(line, said)| {
        let column = said.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t')?;
        Some(Place { line, column: super::fault::number(column + 1), length: 1 })
    })
}

/// The line of a place: what stands before the place, and what from there on.
fn split(text: &str, at: Place) -> (&str, &str) {
    let line = text.lines().nth(at.line as usize - 1).unwrap_or_default();
    let byte = line.char_indices().nth(at.column as usize - 1).map_or(line.len(), |(byte, _)| byte);
    line.split_at_checked(byte).unwrap_or((line, ""))
}

/// The key of the lines above that an indented value belongs to. The items of a list may be as deep as its key.
fn key_above<'t>(text: &'t str, at: Place, before: &str, found: Found) -> Option<&'t str> {
    let dash = before.find('-').or((found == Found::List).then_some(at.column as usize - 1));
    let depth = dash.map_or(at.column as usize - 1, |dash| dash + 1);
    let above: Vec<&str> = text.lines().take(at.line as usize - 1).collect();
    let is_said = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let parent = above.iter().rev().filter(is_said).find(|line| indent(line) < depth)?;
    // A text of several lines begins behind `|` or `>`.
    let parent = parent.split(" #").next()?.trim_end_matches(['|', '>', '-', '+', ' ']);
    last_word(parent.strip_suffix(':')?)
}

/// The key of the bracket that is open at the end of a text.
fn key_of_bracket(before: &str) -> Option<&str> {
    let (before, inside) = before.rsplit_once('[')?;
    if inside.contains(']') { None } else { last_word(before.trim_end().strip_suffix(':')?) }
}

fn last_word(text: &str) -> Option<&str> {
    let text = text.trim_end_matches(['"', '\'']);
    text.rsplit(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).next().filter(|word| !word.is_empty())
}

fn is_indent(text: &str) -> bool {
    text.chars().all(|c| c == ' ' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of the `@`, which marks it and is taken out.
    fn marked(text: &str) -> (String, Place) {
        let (before, behind) = text.split_once('@').unwrap();
        let text = format!("{before}{behind}");
        let at = Place::of_byte(&text, before.len());
        (text, at)
    }

    #[test]
    fn a_place_is_told_by_its_key_and_by_what_stands_there() {
        for (text, key, is_item, found) in [
            ("limits@:\npairs: []", Some("limits"), false, Found::Nothing),
            ("limits@: # none\npairs: []", Some("limits"), false, Found::Nothing),
            ("limits: @[a, b]", Some("limits"), false, Found::List),
            ("limits:\n  @- connections: 5", Some("limits"), false, Found::List),
            ("limits:\n@- connections: 5", Some("limits"), false, Found::List),
            ("version: 1\nlimits: # few\n\n  # more\n  @connections", Some("limits"), false, Found::Text),
            ("keys: @{ id: a }", Some("keys"), false, Found::Keys),
            ("keys:\n  @id: a", Some("keys"), false, Found::Keys),
            ("keys: [@a, b]", Some("keys"), true, Found::Text),
            ("keys: [{ id: a }, @b]", Some("keys"), true, Found::Text),
            ("keys:\n  - @a", Some("keys"), true, Found::Text),
            ("keys:\n- @a", Some("keys"), true, Found::Text),
            ("keys:\n  - id: a\n    file: @[b]", Some("file"), false, Found::List),
            ("keys: [{ id: a, file: @[b] }]", Some("file"), false, Found::List),
            ("pairs:\n  - origin: a\n    landing:\n      @true", Some("landing"), false, Found::Text),
            ("pairs:\n  -@", Some("pairs"), true, Found::Nothing),
            ("pairs:\n  - origin: a\n    \"links\": @[]", Some("links"), false, Found::List),
            ("@hello", None, false, Found::Text),
            ("{ a, @b }", None, true, Found::Text),
        ] {
            let (text, at) = marked(text);
            let spot = Spot::of(&text, at);
            assert_eq!((spot.key, spot.is_item, spot.found), (key, is_item, found), "{text}");
        }
    }

    #[test]
    fn a_key_without_a_blank_behind_its_colon_is_found() {
        for (text, key) in [
            ("@listen:127.0.0.1:8080", Some("listen")),
            ("limits:\n  @head_timeout:10s", Some("head_timeout")),
            ("pairs:\n  - @origin:a.example", Some("origin")),
            ("@listen: 127.0.0.1:8080", None),
            ("listen: @localhost:8080", None),
            ("listen: [@localhost:8080]", None),
            ("  - @a.example:8080", None),
            ("@hello", None),
        ] {
            let (text, at) = marked(text);
            assert_eq!(glued_key(&text, at), key, "{text}");
        }
    }
}
