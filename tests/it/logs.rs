//! The search of the logs finds what it is for. `tests/logs.rs` does it over the logs of a whole run.

use std::fs;

use crate::sealed::OLD;
use crate::secrets::{RANDOM, SECRETS, read, search};

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

fn escape(text: &str, byte: fn(u8) -> String) -> String {
    let plain = |letter: u8| letter.is_ascii_alphanumeric().then(|| char::from(letter).to_string());
    text.bytes().map(|letter| plain(letter).unwrap_or_else(|| byte(letter))).collect()
}

/// A line with what comes close to a secret.
const HARMLESS: &str =
    r#"{"level":"INFO","message":"never","path":"/go/kmi/a%20b","identity":"no_consent","id":"c2914510-7"}"#;
