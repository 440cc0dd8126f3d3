//! What the README shows was really printed, and its configurations work.

use std::process::Command;

use crosslink::config;

use crate::sealed::OLD;
use crate::support::{App, crosslink, needs, repository};

/// The fenced blocks of one language.
pub fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    let opening = format!("```{language}\n");
    let blocks: Vec<_> =
        readme.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    assert!(!blocks.is_empty(), "the README has no {language} block");
    blocks
}

/// Compares what was printed with what the README shows; `…` at the end of it stands for more of the same.
#[track_caller]
fn assert_shown(shown: &str, printed: &str) {
    match shown.strip_suffix('…') {
        Some(beginning) => assert!(printed.starts_with(beginning), "the README shows\n{shown}\nprinted is\n{printed}"),
        None => assert_eq!(shown, printed),
    }
}

#[test]
fn its_commands_print_what_it_shows() {
    let mut tried = 0;
    for block in blocks("console") {
        let (command, shown) = block.split_once('\n').unwrap();
        let Some(arguments) = command.strip_prefix("$ crosslink ") else { continue };
        let arguments = arguments.split(' ').map(|word| word.trim_matches('\''));
        let output = crosslink().current_dir(repository("")).env("COLUMNS", "100").args(arguments).output().unwrap();
        // In the order in which a terminal shows them: a result comes last. A fault ends with an empty line, which would look
        // odd before the end of a block.
        let printed = [output.stderr, output.stdout].concat();
        assert_shown(shown.trim_end(), String::from_utf8(printed).unwrap().trim_end());
        tried += 1;
    }
    assert!(tried >= 6, "only {tried} commands");
}

#[test]
fn its_requests_get_what_it_shows() {
    if !needs(&["curl"]) {
        return;
    }
    let app = App::with(&std::fs::read_to_string(repository("config/crosslink.yaml")).unwrap());
    let without_date = |head: &str| -> String {
        head.replace('\r', "").lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n")
    };
    let mut tried = 0;
    for block in blocks("console") {
        let (command, shown) = block.split_once('\n').unwrap();
        let Some(curl) = command.strip_prefix("$ ").filter(|command| command.starts_with("curl ")) else { continue };
        let curl = curl.replace("127.0.0.1:8080", &app.address.to_string());
        let output = Command::new("sh").args(["-c", &curl]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(without_date(shown.trim_end()), without_date(printed.trim_end()), "{command}");
        tried += 1;
    }
    assert!(tried >= 3, "only {tried} requests");
}

#[test]
fn its_configurations_are_right() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&key, OLD.1).unwrap();
    for text in blocks("yaml") {
        let text = text.replace("/run/secrets/crosslink.key", &key.path().display().to_string());
        let mut faults = config::parse(&text).err().unwrap_or_default();
        // The certificates that it names are the reader's.
        faults.retain(|fault| !fault.problem.contains("No such file"));
        assert!(faults.is_empty(), "{}", config::render_faults("README.md", &text, &faults));
    }
}
