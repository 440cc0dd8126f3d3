//! What a reviewer would otherwise have to look for at each change: the invariants of ARCHITECTURE.md.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use crosslink::link::{Arrived, Decision, Decoration, Destination, Forget, HandOff, Land, Step, Undecorated, Visit};
use crosslink::outbox::{DeadLetter, Record};

use crate::support::repository;

/// The Rust files under a folder, with their text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&repository(folder), &mut files);
    let root = repository("");
    let sources: Vec<_> = files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file.strip_prefix(&root).unwrap().display().to_string(), text)
        })
        .collect();
    assert!(!sources.is_empty());
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The part of a file before its unit tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[track_caller]
fn none_has(folder: &str, words: &[&str], but: &[&str], why: &str) {
    for (file, text) in sources(folder) {
        for word in words {
            let found = code(&text).contains(word) && !but.contains(&file.as_str());
            assert!(!found, "{file} has `{word}`: {why}");
        }
    }
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let words =
        ["std::io", "std::fs", "std::net", "std::env", "SystemTime", "Instant", "tokio", "hyper", "tracing", "async "];
    none_has("src/link", &words, &[], "`link` is pure and synchronous; what it needs to know is an argument");
}

#[test]
fn imports_point_inwards() {
    none_has(
        "src/link",
        &["crate::config", "crate::http", "crate::cli", "crate::sink"],
        &[],
        "`link` knows nothing else",
    );
    none_has("src/config", &["crate::http", "crate::cli", "crate::sink"], &[], "`config` knows only `link`");
    let above = ["crate::config", "crate::cli", "crate::reload", "crate::admin", "crate::explain"];
    none_has("src/http", &above, &[], "`http` takes what it needs from `cli::serve`");
    let beside = ["crate::config", "crate::http", "crate::cli", "crate::rules", "crate::admin"];
    none_has("src/outbox", &beside, &[], "`outbox` knows only what it is given: settings, sites and counters");
}

#[test]
fn only_the_response_knows_status_codes() {
    let but = ["src/http/response.rs", "src/admin/mod.rs", "src/admin/api.rs"];
    none_has(
        "src",
        &["StatusCode", "SET_COOKIE", "ALLOW", "X_CONTENT_TYPE"],
        &but,
        "an answer to visitors is written in `http/response.rs` alone, one to operators in `admin/`",
    );
}

#[test]
fn only_the_allow_list_makes_a_destination() {
    none_has(
        "src",
        &["Destination {"],
        &["src/link/allow_list.rs"],
        "a `Destination` is the proof that `admit` was asked",
    );
}

#[test]
fn only_the_configuration_knows_yaml() {
    for folder in ["src/link", "src/http", "src/cli"] {
        none_has(folder, &["serde_yaml"], &[], "YAML is read under `config/` alone");
    }
}

#[test]
fn only_the_commands_print() {
    let words = ["println!", "print!", "io::stdout", "io::stderr", "std::env"];
    // A key may stand in the environment.
    let but = ["src/config/trust.rs"];
    for folder in ["src/link", "src/http", "src/config", "src/outbox"] {
        none_has(folder, &words, &but, "printing and the environment belong to `cli`");
    }
}

#[test]
fn whatever_logs_in_a_test_is_searched() {
    let but = [
        "support",
        "machine",
        "outbox_site",
        "proxy",
        "redis",
        "webdriver",
        "interop",
        "prometheus",
        "scale_out",
        "sign_on",
        "tidy",
    ]
    .map(|name| format!("tests/it/{name}.rs"));
    none_has(
        "tests/it",
        &["Program::spawn(", "Sink::spawn(", ".spawn()"],
        &but.each_ref().map(String::as_str),
        "`Service` and `Memory` keep what is logged; another program's logs belong into a `log_file`",
    );
}

#[test]
fn an_identity_is_revealed_only_to_its_owner() {
    let but =
        ["src/link/identity.rs", "src/explain.rs", "src/cli/demo/sites.rs", "src/link/token.rs", "src/outbox/event.rs"];
    none_has(
        "src",
        &["reveal()"],
        &but,
        "an identity reaches no log; `explain` and `demo` show it to who asked, the outbox to KISSmetrics",
    );
}

#[test]
fn what_holds_an_identity_a_cookie_or_a_url_has_no_debug() {
    /// For a type with `Debug` there are two, so the compiler can't tell which `_` stands for, and refuses this file.
    trait Unshown<Which> {}
    impl<T> Unshown<()> for T {}
    impl<T: Debug> Unshown<((), ())> for T {}
    fn is_unshown<T: Unshown<Which>, Which>() {}

    is_unshown::<Visit<'_>, _>();
    is_unshown::<Step<'_>, _>();
    is_unshown::<Decision<'_>, _>();
    is_unshown::<HandOff<'_>, _>();
    is_unshown::<Land<'_>, _>();
    is_unshown::<Forget, _>();
    is_unshown::<Destination, _>();
    is_unshown::<Decoration<'_>, _>();
    is_unshown::<Undecorated<'_>, _>();
    is_unshown::<Arrived<'_>, _>();
    is_unshown::<Record, _>();
    is_unshown::<DeadLetter, _>();
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for (file, text) in sources("src") {
        assert!(text.starts_with("//! "), "{file} must open with `//!` and what it is for");
        let lines = code(&text).lines().count();
        assert!(lines <= 400, "{file} has {lines} lines before its tests; is it still one thing?");
        for name in ["util", "helper", "common", "types", "misc"] {
            assert!(!file.contains(name), "{file}: a name that says nothing");
        }
    }
}

#[test]
fn functions_fit_on_a_screen() {
    for (file, text) in sources("src") {
        let mut started = None;
        for (number, line) in code(&text).lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let opens = ["fn ", "pub fn ", "pub(super) fn ", "async fn ", "pub async fn ", "pub(super) async fn "];
            if opens.iter().any(|open| line.trim_start().starts_with(open)) {
                started = Some((number, indent));
            }
            if let Some((start, depth)) = started
                && line.trim_end() == format!("{}}}", " ".repeat(depth))
            {
                let length = number - start + 1;
                assert!(length <= 60, "{file}:{}: a function of {length} lines", start + 1);
                started = None;
            }
        }
    }
}

#[test]
fn comments_are_as_wide_as_code() {
    for folder in ["src", "tests", "benches", "fuzz"] {
        for (file, text) in sources(folder) {
            // A row of a table can't be broken.
            let comments = text.lines().enumerate().filter(|(_, line)| {
                let line = line.trim_start();
                line.starts_with("//") && !line.trim_start_matches(['/', '!', ' ']).starts_with('|')
            });
            for (number, line) in comments {
                assert!(line.chars().count() <= 120, "{file}:{}: a comment that is too wide", number + 1);
            }
        }
    }
}

#[test]
fn no_test_is_asleep() {
    let words = [concat!("#[ign", "ore")];
    none_has("tests", &words, &[], "a test runs, says what it `needs`, or is a program of its own for `tests/run`");
}

#[test]
fn nothing_is_left_for_later() {
    for folder in ["src", "tests"] {
        let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("unimpl", "emented!(")];
        none_has(folder, &words, &[], "finish it, or write down what is missing where users read it");
    }
}
