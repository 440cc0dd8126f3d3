//! What may stand in no log, and how it is looked for. Also a part of the program that searches the logs of a whole
//! run, `tests/logs.rs`.

use std::fs;
use std::path::Path;

use percent_encoding::percent_decode;

/// The files of a folder: name and text.
pub fn read(folder: &Path) -> Vec<(String, String)> {
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

/// What may stand in no log: the identities of the tests, and whatever surrounds an identity. Those of a letter or two,
/// such as `x`, can't be told from other text, but they go the same ways as the others.
pub const SECRETS: &[&str] = &[
    // Identities that name somebody.
    "bob",
    "eve",
    "alice",
    "carol",
    "mallory",
    "zzz",
    "anna",
    "person+",
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
    "visitor=",
    "analytics",
    // Tokens and keys, the latter also as the bytes that they stand for.
    "v4.local.",
    "k4.local.",
    "AAAAAAAA",
    "pqrstuvw",
    "70717273",
    "112, 113, 114",
    "0123456789abcdef",
    "fedcba9876543210",
    "0f1e2d3c4b5a6978",
];

/// How a word is called that [`is_random`]: a part of a token or a key, or an anonymous identity that no test names.
pub const RANDOM: &str = "a random word";

/// What Redis says of itself at its start, and of a test's tiny memory, and how crosslink describes a key to whoever
/// wrote down something else.
const SAYINGS: &[&str] =
    &["oO0OoO0OoO0Oo", "Are you sure this is what you really want?", "one line that begins with `k4.local.`"];
