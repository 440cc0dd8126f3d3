//! What the program makes for packages and editors: the schema of its configuration, completions, manual pages.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::readme;
use crate::support::{crosslink, needs, repository};

const SCHEMA: &str = "config/crosslink.schema.json";
const COMMANDS: &[&str] = &["serve", "check", "explain", "outbox", "keygen", "demo", "schema", "completions", "man"];

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = crosslink().args(arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a foreign validator has against each file; `None` if there is none.
fn complaints(files: &[PathBuf]) -> Option<BTreeMap<PathBuf, Vec<String>>> {
    let python = repository("target/interop/bin/python");
    if !needs(&[python.to_str().unwrap()]) {
        return None;
    }
    let mut command = Command::new(python);
    let output =
        command.arg(repository("tests/interop/schema.py")).arg(repository(SCHEMA)).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Every configuration under a folder.
fn configurations(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            configurations(&path, files);
        } else if path.file_name().is_some_and(|name| name == "crosslink.yaml") {
            files.push(path);
        }
    }
}

#[test]
fn the_schema_is_that_of_the_types() {
    let committed = fs::read_to_string(repository(SCHEMA)).unwrap();
    assert!(committed == printed(&["schema"]), "write it anew: crosslink schema > {SCHEMA}");
}

#[test]
fn every_configuration_that_is_shown_fits_the_schema() {
    let shown = tempfile::tempdir().unwrap();
    let mut files = vec![repository("config/minimal.yaml"), repository("tests/data/warnings_sealed.yaml")];
    for folder in ["config", "deploy"] {
        configurations(&repository(folder), &mut files);
    }
    for (number, (_, text)) in readme::configurations().iter().enumerate() {
        let file = shown.path().join(format!("{number}.yaml"));
        fs::write(&file, text).unwrap();
        files.push(file);
    }
    assert!(files.len() >= 5, "{files:?}");
    let Some(complaints) = complaints(&files) else { return };
    assert_eq!(complaints.len(), files.len());
    assert!(complaints.values().all(Vec::is_empty), "{complaints:#?}");
}

#[test]
fn the_schema_finds_what_an_editor_can_find() {
    let names = "unknown_key outbox_without_place key_inline missing_destination empty_pairs no_pairs wrong_type list_for_text \
                 cookies_as_text landing_empty landing_true landing_words listen limits log number_as_origin parameter \
                 replay_addresses route_root trust_words version missing_value";
    let files: Vec<_> =
        names.split_whitespace().map(|name| repository("tests/data/config").join(format!("{name}.yaml"))).collect();
    let Some(complaints) = complaints(&files) else { return };
    let missed: Vec<_> = files.iter().filter(|file| complaints[*file].is_empty()).collect();
    assert!(missed.is_empty(), "{missed:?}");
    let unknown = &complaints[&repository("tests/data/config/unknown_key.yaml")];
    assert!(unknown[0].contains("'landings' was unexpected"), "{unknown:?}");
}

#[test]
fn manual_pages_are_in_order() {
    assert_snapshot!("man", printed(&["man"]));
    assert_snapshot!("man_serve", printed(&["man", "serve"]));
    if !needs(&["man", "mandoc"]) {
        return;
    }
    for arguments in COMMANDS.iter().map(|command| vec!["man", command]).chain([vec!["man"]]) {
        let mut page = tempfile::NamedTempFile::new().unwrap();
        page.write_all(printed(&arguments).as_bytes()).unwrap();
        let mut man = Command::new("man");
        let shown =
            man.args(["--warnings", "--local-file"]).arg(page.path()).env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(shown.status.success() && shown.stderr.is_empty(), "{arguments:?}: {shown:?}");
        assert!(!shown.stdout.is_empty());
        // Below errors it dislikes a page without a date and the lines of the library that writes these.
        let lint = Command::new("mandoc").args(["-Tlint", "-Werror"]).arg(page.path()).output().unwrap();
        assert!(lint.status.success() && lint.stdout.is_empty(), "{arguments:?}: {lint:?}");
    }
}

#[test]
fn a_page_about_nothing_is_wrong_usage() {
    let output = crosslink().args(["man", "help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn bash_completes_commands_and_options() {
    if !needs(&["bash"]) {
        return;
    }
    let complete = |words: &str| {
        let script = format!(
            "eval \"$1\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             _crosslink crosslink \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let completions = printed(&["completions", "bash"]);
        let output = Command::new("bash").args(["-c", &script, "bash", &completions]).stdin(Stdio::null()).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("crosslink s"), "serve schema");
    assert_eq!(complete("crosslink serve --a"), "--admin");
    assert_eq!(complete("crosslink explain --me"), "--method");
    assert_eq!(complete("crosslink completions z"), "zsh");
}

#[test]
fn every_shell_knows_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not complete {command}");
        }
    }
}
