//! Faults of shape: the text is no YAML, or not of the keys and types that a configuration has.

use serde_yaml::Error;

use super::fault::{
    ConfigFault, MORE_THAN_A_PLACE, PERHAPS_ITSELF, PLACES_OF_SECRETS, Place, SECRET_ITSELF, UNKNOWN_KEY, number,
};
use super::spot::{Found, Spot, glued_key, tab_in_indentation};

/// Says in the configuration's own words what the YAML library found.
pub(super) fn fault(error: &Error, text: &str) -> ConfigFault {
    let mut at = error.location().map_or(Place { line: 1, column: 1, length: 1 }, Place::from);
    let error = error.without_snippet();
    let (mut problem, mut hint) = explain(error, text, at);
    // The library tells of it where the value above began, or as something else.
    if let Some(tab) = tab_in_indentation(text, at).filter(|tab| problem.contains("tab") || tab.line == at.line) {
        (at, problem, hint) = (tab, "a tab stands in the indentation here".to_owned(), SPACES.to_owned());
    }
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
            if Spot::of(text, at).key == Some("origin") {
                "list each host: visitors start at whole names, and `*.` is for destinations".to_owned()
            } else {
                "put the value in quotes: \"*.yourshop.example\"".to_owned()
            },
        ),
        Error::Eof { .. } => ("the file is empty".to_owned(), SMALLEST.to_owned()),
        Error::MultipleDocuments { .. } => (
            "a second YAML document begins here".to_owned(),
            "keep everything in one document, without `---` lines".to_owned(),
        ),
        Error::DuplicateMappingKey { key, .. } => {
            (format!("the key `{}` stands here twice", key.as_deref().unwrap_or("?")), "keep one of them".to_owned())
        }
        Error::SerdeUnknownField { field, expected, .. } => unknown(field, expected),
        Error::SerdeMissingField { field, .. } => missing(field, text, at),
        Error::SerdeInvalidType { expected, .. } => misplaced(expected, text, at),
        Error::NullIntoString { .. } => misplaced("one value", text, at),
        Error::Unexpected { expected, .. } => match *expected {
            "sequence start" => misplaced("a list", text, at),
            "mapping start" => misplaced("keys with values", text, at),
            "string scalar" => misplaced("one value", text, at),
            other => (other.to_owned(), INDENTED.to_owned()),
        },
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => too_much(),
        other => {
            let problem = without_place(&other.to_string());
            if problem.starts_with("budget breached") || problem.starts_with("alias replay limit") {
                return too_much();
            }
            match glued_key(text, at) {
                Some(key) => glued(key),
                None if follows_comma(text, at) => (
                    "nothing stands between two commas here".to_owned(),
                    "take one of them away, or write what is missing".to_owned(),
                ),
                None if problem.contains("quoted scalar") => (
                    "a quotation mark that was opened above is not closed".to_owned(),
                    "close it where the value ends, in its own line".to_owned(),
                ),
                None => (problem, INDENTED.to_owned()),
            }
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
        "cookie" => "an identity of crosslink's own stands in a cookie of its own: `mint: { cookie: visitor }`",
        "name" | "contains" => "a cookie for consent is `{ name: COOKIE, contains: TEXT }`",
        _ => SMALLEST,
    }
}

fn begins_with_star(text: &str, at: Place) -> bool {
    let line = text.lines().nth(at.line as usize - 1).unwrap_or_default();
    line.chars().nth(at.column as usize - 1) == Some('*')
        && line.chars().nth(at.column as usize).is_none_or(|next| !next.is_alphanumeric())
}

/// Whether a comma follows a comma.
fn follows_comma(text: &str, at: Place) -> bool {
    let line = text.lines().nth(at.line as usize - 1).unwrap_or_default();
    let column = at.column as usize - 1;
    let before: String = line.chars().take(column).collect();
    line.chars().nth(column) == Some(',') && before.trim_end().ends_with(',')
}

/// Something else stands where a list, keys or one value should.
fn misplaced(wanted: &str, text: &str, at: Place) -> (String, String) {
    if let Some(key) = glued_key(text, at) {
        return glued(key);
    }
    let Spot { key, is_item, found } = Spot::of(text, at);
    let Some(key) = key else {
        return (format!("here should stand {wanted}, not {}", found.as_str()), SMALLEST.to_owned());
    };
    // The key comes last: behind the name of a password everything is hidden.
    let problem = match (found, is_item) {
        (Found::Nothing, true) => format!("an item is empty in the list `{key}`"),
        (Found::Nothing, false) => format!("nothing stands behind `{key}:`"),
        // What stands there is perhaps the secret itself.
        (Found::Text, _) if ["keys", "replay_password", "password"].contains(&key) => itself(key),
        (_, _) if PLACES_OF_SECRETS.contains(&key) => itself(key),
        (_, _) if key == "endpoint" => format!("{MORE_THAN_A_PLACE} {}", found.as_str()),
        (_, true) => format!("{wanted}, not {}, must stand in the list `{key}`", found.as_str()),
        (_, false) => format!("{wanted}, not {}, must stand behind `{key}:`", found.as_str()),
    };
    let hint = match (example(key), found) {
        (Some(example), Found::Nothing) if !["pairs", "origin", "destination"].contains(&key) => {
            format!("write something like `{key}: {example}`, or leave the key out")
        }
        (Some(example), _) => format!("write something like `{key}: {example}`"),
        (None, Found::Nothing) => "write its value behind the colon and a blank, or leave the key out".to_owned(),
        (None, _) => "write one value; one that begins with `[` or `{` needs quotes".to_owned(),
    };
    (problem, hint)
}

fn itself(key: &str) -> String {
    format!("{SECRET_ITSELF} may stand behind `{key}:`")
}

/// How a value looks that can be a list or has keys of its own.
fn example(key: &str) -> Option<&'static str> {
    Some(match key {
        "pairs" => "[{ origin: HOST, destination: HOST }]",
        "origin" => "www.yoursite.com",
        "destination" => "checkout.yourshop.example",
        "keys" => "[{ id: 2026-11, file: PATH }]",
        "tls" => "[{ listen: 0.0.0.0:443, certificate: PATH, key: PATH }]",
        "replay_password" | "password" => "{ file: PATH }",
        "limits" => "{ connections: 4096, head_timeout: 10s }",
        "log" => "{ format: text }",
        "defaults" => "{ landing: { max_age: 400d } }",
        "landing" => "{}",
        "links" => "{ checkout: /cart }",
        "identity" => "{ cookies: [km_ni, km_ai] }",
        "outbox" => "{ directory: PATH }",
        "api" => "{ token_file: PATH }",
        "kissmetrics" => "{ key_file: PATH }",
        "key_file" | "token_file" => "PATH",
        "key_env" | "token_env" => "NAME",
        "events" => "{ left: Left for checkout, arrived: Arrived at checkout }",
        "mint" => "{ cookie: visitor }",
        "cookies" => "[km_ni, km_ai]",
        "consent" => "{ gpc: ignore }",
        "require_cookie" => "{ name: COOKIE, contains: TEXT }",
        _ => return None,
    })
}

fn glued(key: &str) -> (String, String) {
    (format!("a blank is missing behind `{key}:`"), format!("write `{key}: ` with a blank, and then its value"))
}

/// A host among the keys is the second of two behind one key, which `{ }` cuts apart at the comma.
fn unknown(field: &str, expected: &[&str]) -> (String, String) {
    let distance = |key: &str| strsim::osa_distance(key, field);
    let near = expected.iter().min_by_key(|key| distance(key));
    // Of a short key two letters are most of it.
    let near = near.filter(|key| distance(key) <= if key.len() > 5 { 2 } else { 1 });
    let hint = if field.contains('.') {
        "several hosts behind one key are a list in brackets: `[a.example, b.example]`".to_owned()
    } else if field == "kissmetrics" {
        "each item of `pairs` has its own `kissmetrics`".to_owned()
    } else {
        let meant = near.map(|key| format!("did you mean `{key}`? ")).unwrap_or_default();
        format!("{meant}the keys here are: {}", expected.join(", "))
    };
    // Where the file of a secret is named it is perhaps the secret.
    let named = match near {
        _ if !expected.iter().any(|key| key.ends_with("env")) => format!(" `{field}`"),
        Some(_) => String::new(),
        None => PERHAPS_ITSELF.to_owned(),
    };
    (format!("{UNKNOWN_KEY}{named}"), hint)
}

/// The library's sentence without ` at line 3, column 4`, which is said already.
fn without_place(sentence: &str) -> String {
    sentence.split_once(" at line ").map_or(sentence, |(sentence, _)| sentence).to_owned()
}

const INDENTED: &str = "check the indentation, the quotes and the blank behind each colon around here";
const SPACES: &str = "indent with spaces; YAML takes no tabs here";
/// How many lines below an item a key of it is looked for.
const NEAR: usize = 5;
const SMALLEST: &str = "the smallest file is `pairs:` with one `- origin: HOST` and its `destination: HOST`";
