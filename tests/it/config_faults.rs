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
