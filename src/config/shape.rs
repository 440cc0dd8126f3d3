//! Faults of shape: the text is no YAML, or not of the keys and types that a configuration has.

use serde_yaml::Error;

use super::fault::{ConfigFault, Place};

/// Says in the configuration's own words what the YAML library found.
pub(super) fn fault(error: &Error, text: &str) -> ConfigFault {
    let mut at = error.location().map_or(Place { line: 1, column: 1, length: 1 }, Place::from);
    let (problem, hint) = explain(error.without_snippet(), text, at);
    // What is missing at the end is missing in the last line that there is.
    let lines = text.lines().count().max(1);
    if at.line > lines {
        at = Place { line: lines, column: text.lines().last().unwrap_or_default().chars().count() + 1, length: 1 };
    }
    ConfigFault { at, problem, hint }
}

fn explain(error: &Error, text: &str, at: Place) -> (String, String) {
    let indented = "check the indentation and the quotes around here";
    let (problem, hint) = match error {
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
        Error::SerdeMissingField { field, .. } => {
            (format!("the key `{field}` is missing here"), format!("add `{field}:`; {SMALLEST}"))
        }
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            (format!("expected {expected}, found {unexpected}"), "a host that looks like a number needs quotes".into())
        }
        Error::NullIntoString { .. } => {
            ("a value is missing here".to_owned(), "write one, or leave the key out for its default".to_owned())
        }
        Error::Unexpected { expected, .. } => (expected_in_words(expected), indented.to_owned()),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            "the file grows without bound through aliases or nesting".to_owned(),
            "write the values out instead of `&` and `*`".to_owned(),
        ),
        other => (without_place(&other.to_string()), indented.to_owned()),
    };
    (problem, hint)
}

fn begins_with_star(text: &str, at: Place) -> bool {
    let line = text.lines().nth(at.line - 1).unwrap_or_default();
    line.chars().nth(at.column - 1) == Some('*')
        && line.chars().nth(at.column).is_none_or(|next| !next.is_alphanumeric())
}

fn expected_in_words(expected: &str) -> String {
    match expected {
        "sequence start" => "expected a list, whose items begin with `- `".to_owned(),
        "mapping start" => "expected keys with values, `key: value`".to_owned(),
        "string scalar" => "expected one value here".to_owned(),
        other => format!("expected {other}"),
    }
}

/// The library's sentence without ` at line 3, column 4`, which is said already.
fn without_place(sentence: &str) -> String {
    sentence.rsplit_once(" at line ").map_or(sentence, |(sentence, _)| sentence).to_owned()
}

const SMALLEST: &str = "the smallest file is `pairs:` with one `- origin: HOST` and its `destination: HOST`";
