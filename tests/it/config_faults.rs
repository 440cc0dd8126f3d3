//! Every mistake that a configuration can have, beside what is said about it.
//!
//! `tests/data/config/NAME.yaml` is the file, `NAME.txt` what `crosslink check` prints on stderr. After a change,
//! `UPDATE=1 cargo test config_faults` writes the `.txt` files anew, to be read before they are committed.

use std::fmt::Write;
use std::fs;

use crate::support::{crosslink, repository};

#[test]
fn each_faulty_file_gets_its_message() {
    let folder = repository("tests/data/config");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".yaml")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() >= 40, "{} files", names.len());
    let mut wrong = Vec::new();
    for name in names {
        let file = format!("{name}.yaml");
        let output = crosslink().current_dir(&folder).args(["check", "--config", &file]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        assert!(!said.contains("c2VjcmV0"), "{file} shows a key");
        let right = output.status.code() == Some(78)
            && output.stdout.is_empty()
            && fs::read_to_string(&expected).is_ok_and(|expected| expected == said);
        if !right {
            wrong.push(format!("{file}: {}\n{said}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_that_grows_through_aliases_is_refused() {
    let mut text = "pairs:\n  - origin: a.example\n    destination: &hosts [b.example".to_owned();
    for host in 0..1000 {
        write!(text, ", h{host}.example").unwrap();
    }
    text.push_str("]\n");
    for origin in 0..5000 {
        writeln!(text, "  - {{ origin: o{origin}.example, destination: *hosts }}").unwrap();
    }
    let faults = crosslink::config::parse(&text).unwrap_err();
    assert!(faults[0].problem.contains("too large"), "{faults:?}");
}

/// `hunter2` stands in each where only its place should.
#[test]
fn a_secret_in_place_of_its_file_is_not_shown() {
    let pair = |kissmetrics: &str| {
        format!(
            "outbox: {{ directory: . }}\npairs:\n  - origin: a.example\n    destination: ok.example\n    kissmetrics: {kissmetrics}\n"
        )
    };
    let api = |api: &str| format!("api: {api}\npairs: [{{ origin: a.example, destination: ok.example }}]\n");
    let mut texts: Vec<String> = [
        "hunter2-shop",
        "[hunter2]",
        "{ hunter2 }",
        "[hunter2, { a: b }]",
        "\"hunter2\" # mine",
        "my: hunter2",
        "{ hunter2: 1 }",
        "|\n  hunter2",
        "{ token_file: hunter2: x }",
        "{ token_file: hunter2 }",
        "{ token_env: hunter2 }",
        "{ token_file: [hunter2] }",
        "{ token_file: a,hunter2 }",
        "{ token_file: a/hunter2, token_env: hunter2 }",
        "\n  hunter2",
        "\n  - hunter2",
        "\n  \"hunter2",
        "\n  tokenfile: hunter2",
        "\n  token_file:\n    hunter2",
        "\n  token_file:\n    - hunter2",
    ]
    .map(api)
    .into();
    texts.extend(
        [
            "hunter2",
            "[hunter2]",
            "\n      hunter2",
            "\n    - hunter2",
            "|\n      hunter2",
            "\n      endpoint: hunter2@trk.example",
            "\n      endpoint: https://trk.example/hunter2",
            "\n      endpoint: 'https://a b#hunter2'",
            "\n      endpoint:\n        - https://hunter2@trk.example",
            "\n      endpoint:\n        hunter2@trk.example",
            "{ key_file: hunter2, events: { left: \"\" } }",
            "{ \"key_file\":\"hunter2\",\"separate\":\"x\"}",
            "{ key_env: hunter2 }",
            "{ key_file: { a: hunter2 } }",
            "\n      key_env: hunter2",
            "\n      key_file:\n        hunter2",
            "\n      key_env:\n        hunter2",
            "\n      key_file:\n        - hunter2",
            "{ key_env: HOME, endpoint: 'https://trk.example#hunter2' }",
            "{ key_env: HOME, endpoint: 'https://hunter2@trk.example' }",
            "{ key_env: HOME, endpoint: 'https://trk.example/?_k=hunter2', separate: x }",
            "\n      key_env: HOME\n      endpoint:\n        https://hunter2@trk.example",
            "{ key: hunter2 }",
            "{ endpoint: 'https://trk.example', key: hunter2 }",
        ]
        .map(pair),
    );
    texts.extend(
        [
            "pairs:\n  - origin: a.example\n\tkissmetrics: { key: hunter2 }\n",
            "replay_password:\n\tfile: hunter2\n",
            "replay_password:\n  file: hunter2\n  file: hunter2\n",
            "outbox:\n  directory: .\n  password hunter2\n",
        ]
        .map(str::to_owned),
    );
    for text in texts {
        let faults = crosslink::config::parse(&text).unwrap_err();
        let shown = crosslink::config::render_faults("f.yaml", &text, &faults);
        assert!(!shown.contains("hunter2"), "{text}\n{shown}");
        let logged = faults.iter().any(|fault| fault.shown_problem().contains("hunter2"));
        assert!(!logged && !faults.iter().any(|fault| fault.shown_hint().contains("hunter2")), "{text}\n{faults:?}");
    }
}
