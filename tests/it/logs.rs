//! No log of a whole test run holds an identity, a token, a key, a cookie or a query.
//!
//! Where `CROSSLINK_TEST_LOGS` names a folder, everything that a crosslink or a proxy of the tests logs is kept in it
//! ([`crate::support::log_file`]). `tests/run` lets all other tests fill one, and then has it searched.

use std::fs;
use std::path::Path;

use percent_encoding::percent_decode;

use crate::sealed::OLD;

/// What may stand in no log: the identities of the tests, and whatever surrounds an identity. Those of a letter or two,
/// such as `x`, can't be told from other text, but they go the same ways as the others.
const SECRETS: &[&str] = &[
    // Identities that name somebody.
    "bob",
    "eve",
    "alice",
    "carol",
    "mallory",
    "zzz",
    "zo\u{eb}",
    // Anonymous ones, in pieces: a log of a path ends at `+` and `=`.
    "TTEi",
    "Dx9uNZ",
    "WYzrFM8hVkBqQY",
    // Any query, and the parameters that carry an identity.
    "?",
    "kmi=",
    "km_i=",
    "kmt=",
    // Cookies, and what those for consent hold.
    "Cookie:",
    "Set-Cookie",
    "set-cookie",
    "km_ni=",
    "km_ai=",
    "consent=",
    "analytics",
    // Tokens and keys, the latter also as the bytes that they stand for.
    "v4.local.",
    "k4.local.",
    "AAAAAAAA",
    "pqrstuvw",
    "70717273",
    "112, 113, 114",
];

/// How a word is called that [`is_random`]: a part of a token or a key, or an anonymous identity that no test names.
const RANDOM: &str = "a random word";

/// What Redis says of itself at its start, and of a test's tiny memory, and how crosslink describes a key to whoever wrote
/// down something else.
const SAYINGS: &[&str] =
    &["oO0OoO0OoO0Oo", "Are you sure this is what you really want?", "one line that begins with `k4.local.`"];

/// What is kept at the least, which is about half of what there is: a source, its files and the lines in them.
const LEAST: &[(&str, usize, usize)] = &[
    ("app ", 70, 2500),
    ("stdout ", 6, 200),
    ("stderr ", 4, 15),
    ("nginx access.log ", 10, 280),
    ("redis ", 4, 20),
    ("caddy access.log ", 10, 280),
    ("haproxy ", 1, 4),
    ("haproxy access.log ", 6, 120),
    ("envoy access.log ", 10, 280),
    ("prometheus ", 1, 5),
];

#[test]
#[ignore = "it searches what the other tests have logged: `tests/run` starts it after them"]
fn no_log_of_the_whole_run_holds_a_secret() {
    let folder = std::env::var_os("CROSSLINK_TEST_LOGS").expect("CROSSLINK_TEST_LOGS, the folder of the logs");
    let logs = read(folder.as_ref());
    for (source, least_files, least_lines) in LEAST {
        let counts = logs.iter().filter(|(name, _)| name.starts_with(source)).map(|(_, log)| log.lines().count());
        let counts: Vec<_> = counts.filter(|lines| *lines > 0).collect();
        let (files, lines) = (counts.len(), counts.iter().sum::<usize>());
        assert!(files >= *least_files && lines >= *least_lines, "{source}has only {lines} lines in {files} files");
    }
    let found = search(&logs);
    assert!(found.is_empty(), "{} secrets in the logs: {found:#?}", found.len());
    let lines: usize = logs.iter().map(|(_, log)| log.lines().count()).sum();
    println!("{} files with {lines} lines hold none of {} secrets, and nothing random.", logs.len(), SECRETS.len());
}

#[test]
fn a_secret_is_found_wherever_it_is_planted() {
    let whole = [
        ("bob@bob.com", "bob"),
        ("zo\u{eb}\u{1f600}", "zo\u{eb}"),
        ("fTTEi+Dx9uNZ/WYzrFM8hVkBqQY=", "Dx9uNZ"),
        ("q2JhZ7Wd0Pj5/XbvEr1LmTn8sYc=", RANDOM),
        (OLD.1, RANDOM),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut planted = Vec::new();
    for (text, secret) in SECRETS.iter().map(|secret| (*secret, *secret)).chain(whole) {
        let large = |text: &str| escape(text, |byte| format!("%{byte:02X}"));
        let small = |text: &str| escape(text, |byte| format!("%{byte:02x}"));
        for text in [text.to_owned(), large(text), small(text), large(&large(text)), small(&small(text))] {
            let name = planted.len().to_string();
            fs::write(folder.path().join(&name), format!("{HARMLESS}\nGET /go/{text} 302\n")).unwrap();
            planted.push((format!("{name}:2"), secret));
        }
    }
    let found = search(&read(folder.path()));
    let missed: Vec<_> = planted.iter().filter(|secret| !found.contains(secret)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(found.iter().all(|(place, _)| place.ends_with(":2")), "a harmless line is taken for a secret: {found:#?}");
}

/// The files of a folder: name and text.
fn read(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let name = |file: &Path| file.file_name().unwrap().to_string_lossy().into_owned();
    files.map(|file| (name(&file), String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned())).collect()
}

/// Where a secret stands in the logs, by file and line, and which one.
pub fn search(logs: &[(String, String)]) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for (name, log) in logs {
        for (number, line) in log.lines().enumerate() {
            let line = SAYINGS.iter().fold(unescape(line), |line, words| line.replace(words, ""));
            let random = line.split(|c: char| !c.is_ascii_alphanumeric()).any(is_random).then_some(RANDOM);
            let secrets = SECRETS.iter().copied().filter(|secret| holds(&line, secret)).chain(random);
            found.extend(secrets.map(|secret| (format!("{name}:{}", number + 1), secret)));
        }
    }
    found
}

/// Undoes all escapes, however often something was escaped.
fn unescape(text: &str) -> String {
    let once = percent_decode(text.as_bytes()).decode_utf8_lossy();
    if once == text { once.into_owned() } else { unescape(&once) }
}

/// Whether a secret is there and no part of a longer word: `eve` is not in `level`.
fn holds(line: &str, secret: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase();
    let joined = |before: &str, after: &str| before.ends_with(is_letter) && after.starts_with(is_letter);
    let between: Vec<&str> = line.split(secret).collect();
    between.windows(2).any(|around| !joined(around[0], secret) && !joined(secret, around[1]))
}

/// Whether a word mixes capitals, small letters and digits, as no other word in a log does.
fn is_random(word: &str) -> bool {
    let mixes: [fn(&u8) -> bool; 3] = [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit];
    word.len() >= 12 && mixes.iter().all(|is_in| word.as_bytes().iter().any(is_in))
}

fn escape(text: &str, byte: fn(u8) -> String) -> String {
    let plain = |letter: u8| letter.is_ascii_alphanumeric().then(|| char::from(letter).to_string());
    text.bytes().map(|letter| plain(letter).unwrap_or_else(|| byte(letter))).collect()
}

/// A line with what comes close to a secret.
const HARMLESS: &str =
    r#"{"level":"INFO","message":"never","path":"/go/kmi/a%20b","identity":"no_consent","id":"c2914510-7"}"#;
