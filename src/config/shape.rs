//! Faults of shape: the text is no YAML, or not of the keys and types that a configuration has.

use serde_yaml::Error;

use super::fault::{ConfigFault, Place, number};

/// Says in the configuration's own words what the YAML library found.
pub(super) fn fault(error: &Error, text: &str) -> ConfigFault {
    let mut at = error.location().map_or(Place { line: 1, column: 1, length: 1 }, Place::from);
    let (problem, hint) = explain(error.without_snippet(), text, at);
    // What is missing at the end is missing in the last line that there is.
    let lines = text.lines().count().max(1);
    if at.line as usize > lines {
        let column = text.lines().last().unwrap_or_default().chars().count() + 1;
        at = Place { line: number(lines), column: number(column), length: 1 };
    }
    ConfigFault { at, problem, hint }
}

fn explain(error: &Error, text: &str, at: Place) -> (String, String) {
    match error {
        _ if begins_with_star(text, at) => (
            "an unquoted `*` begins an alias in YAML, not a host".to_owned(),
            "put the value in quotes: \"*.yourshop.example\"".to_owned(),
        ),
        Error::Eof { .. } => ("the file is empty".to_owned(), SMALLEST.to_owned()),
        Error::MultipleDocuments { .. } => (
            "a second YAML document begins here".to_owned(),
            "keep everything in one document, without `---` lines".to_owned(),
        ),
        Error::DuplicateMappingKey { key, .. } => {
            (format!("the key `{}` stands here twice", key.as_deref().unwrap_or("?")), "keep one of them".to_owned())
        }
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`"), format!("the keys here are: {}", expected.join(", ")))
        }
        Error::SerdeMissingField { field, .. } => missing(field, text, at),
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            (format!("expected {expected}, found {unexpected}"), INDENTED.to_owned())
        }
        Error::NullIntoString { .. } => {
            ("a value is missing here".to_owned(), "write one, or leave the key out for its default".to_owned())
        }
        Error::Unexpected { expected, .. } => {
            let (expected, hint) = expected_in_words(expected);
            (expected.to_owned(), hint.to_owned())
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => too_much(),
        other => {
            let problem = without_place(&other.to_string());
            if problem.starts_with("budget breached") || problem.starts_with("alias replay limit") {
                return too_much();
            }
            let hint = if problem.contains("tab") { "indent with spaces; YAML takes no tabs here" } else { INDENTED };
            (problem, hint.to_owned())
        }
    }
}

fn too_much() -> (String, String) {
    (
        "the file is too large here: it is nested too deeply, or holds over a million values, or 250,000 behind aliases"
            .to_owned(),
        "write values out instead of `&` and `*`; a file this large is better split among several crosslinks".to_owned(),
    )
}

/// A key that is missing is perhaps there, but indented so that it belongs to something else.
fn missing(field: &str, text: &str, at: Place) -> (String, String) {
    let is_key = |line: &str| {
        let key = line.trim_start().trim_start_matches("- ").trim_start();
        key.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    // The key of the next item is that item's own, unless it is all that stands behind a `-` of its own.
    let is_next = |line: &str| {
        let depth = line.len() - line.trim_start().len();
        line.trim_start().starts_with("- ") && depth + 3 <= at.column as usize && !is_key(line)
    };
    let below = text.lines().enumerate().skip(at.line as usize);
    let below = below.take_while(|(_, line)| !line.trim().is_empty() && !is_next(line));
    match below.take(NEAR).find(|(_, line)| is_key(line)) {
        Some((number, _)) => (
            format!("the key `{field}` is missing here; the one in line {} does not belong to this", number + 1),
            format!("indent `{field}` exactly as the other keys of its item, without a `-` of its own"),
        ),
        None => (format!("the key `{field}` is missing here"), format!("add `{field}:`; {}", whole(field))),
    }
}

/// What the item looks like that a key is missing in. No two items need a key of the same name.
fn whole(field: &str) -> &'static str {
    match field {
        "listen" | "certificate" | "key" => {
            "an item of `tls` has `listen: 0.0.0.0:443`, `certificate: FILE` and `key: FILE`"
        }
        "id" => "an item of `keys` has an `id`, such as `2026-11`, and either `file: PATH` or `env: NAME`",
        "name" | "contains" => "a cookie for consent is `{ name: COOKIE, contains: TEXT }`",
        _ => SMALLEST,
    }
}

fn begins_with_star(text: &str, at: Place) -> bool {
    let line = text.lines().nth(at.line as usize - 1).unwrap_or_default();
    line.chars().nth(at.column as usize - 1) == Some('*')
        && line.chars().nth(at.column as usize).is_none_or(|next| !next.is_alphanumeric())
}

fn expected_in_words(expected: &str) -> (&str, &'static str) {
    match expected {
        "sequence start" => ("expected a list here", "write `[a, b]`, or put `- ` before each item"),
        "mapping start" => (
            "expected keys with values here",
            "write them below it, each indented, as `key: value` with a blank between",
        ),
        "string scalar" => ("expected one value here", "write one value; one that begins with `[` or `{` needs quotes"),
        other => (other, INDENTED),
    }
}

/// The library's sentence without ` at line 3, column 4`, which is said already.
fn without_place(sentence: &str) -> String {
    sentence.split_once(" at line ").map_or(sentence, |(sentence, _)| sentence).to_owned()
}

const INDENTED: &str = "check the indentation, the quotes and the blank behind each colon around here";
/// How many lines below an item a key of it is looked for.
const NEAR: usize = 5;
const SMALLEST: &str = "the smallest file is `pairs:` with one `- origin: HOST` and its `destination: HOST`";
