//! What the README and the handbook in `docs/` show was really printed, their configurations work, and their links lead
//! somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crosslink::config;
use serde_json::Value;

use crate::sealed::OLD;
use crate::support::{App, crosslink, needs, repository};

/// A page in Markdown.
struct Page {
    /// Where it is in the repository.
    path: String,
    /// The lines outside of blocks.
    prose: Vec<String>,
    /// The fenced blocks, in their order.
    blocks: Vec<Block>,
}

struct Block {
    language: String,
    text: String,
}

impl Page {
    fn read(path: &str) -> Self {
        let text = fs::read_to_string(repository(path)).unwrap();
        let mut page = Self { path: path.to_owned(), prose: Vec::new(), blocks: Vec::new() };
        let mut is_block = false;
        for line in text.lines() {
            match (line.trim_start().strip_prefix("```"), is_block) {
                (Some(language), false) => {
                    page.blocks.push(Block { language: language.to_owned(), text: String::new() });
                }
                (None, false) => page.prose.push(line.to_owned()),
                (None, true) => page.blocks.last_mut().unwrap().text.extend([line, "\n"]),
                (Some(_), true) => {}
            }
            is_block ^= line.trim_start().starts_with("```");
        }
        assert!(!is_block, "{path} has a block without an end");
        page
    }

    fn headings(&self) -> impl Iterator<Item = &str> {
        self.prose.iter().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim())
    }

    /// What a link may name behind `#`.
    fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for heading in self.headings() {
            assert!(anchors.insert(anchor(heading)), "{} has two headings {heading}", self.path);
        }
        anchors
    }

    /// Where its links lead.
    fn links(&self) -> Vec<String> {
        let prose = self.prose.join("\n");
        prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
    }
}

/// A heading as hosts of repositories write it into a link: lower case, without marks, blanks as hyphens.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The README and the handbook.
fn pages() -> Vec<Page> {
    let mut handbook: Vec<_> = fs::read_dir(repository("docs"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    handbook.sort();
    assert!(handbook.len() > 20, "{handbook:?}");
    ["README.md".to_owned()].iter().chain(&handbook).map(|path| Page::read(path)).collect()
}

/// The configurations that are shown, each with its page.
pub fn configurations() -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for page in pages() {
        let texts = page.blocks.iter().filter(|block| block.language == "yaml").map(|block| block.text.clone());
        shown.extend(texts.map(|text| (page.path.clone(), text)));
    }
    assert!(shown.len() > 10, "only {} configurations", shown.len());
    shown
}

/// The one block of a language on a page.
pub fn block(path: &str, language: &str) -> String {
    let blocks = Page::read(path).blocks.into_iter().filter(|block| block.language == language);
    let [block] = <[Block; 1]>::try_from(blocks.collect::<Vec<_>>()).ok().expect("one block");
    block.text
}

/// Compares what was printed with what a page shows; `…` at the end of it stands for more of the same.
#[track_caller]
fn assert_shown(page: &Page, shown: &str, printed: &str) {
    let path = &page.path;
    match shown.strip_suffix('…') {
        Some(beginning) => assert!(printed.starts_with(beginning), "{path} shows\n{shown}\nprinted is\n{printed}"),
        None => assert_eq!(shown, printed, "{path}"),
    }
}

/// What a command line prints, where `crosslink` is the program of this test run. A `--config` of a name that is no
/// file stands for the configuration that the page shows before it.
fn printed(line: &str, shown_before: Option<&str>) -> String {
    let program = crosslink().get_program().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let mut line = line.to_owned();
    let named = line.split("--config ").nth(1).map(|rest| rest.split(' ').next().unwrap().to_owned());
    if let Some(name) = named.filter(|name| !repository(name).exists()) {
        let file = folder.path().join(&name);
        let key = folder.path().join("key");
        fs::write(&key, "the-readers-key").unwrap();
        // What is on the reader's machine.
        let [key, folder] = [&key, folder.path()].map(|path| path.to_str().unwrap().to_owned());
        let text = shown_before.expect("a configuration before it").replace("/run/secrets/kissmetrics", &key);
        fs::write(&file, text.replace("/var/lib/crosslink", &folder)).unwrap();
        line = line.replace(&name, file.to_str().unwrap());
    }
    let path = std::env::join_paths(
        [Path::new(&program).parent().unwrap().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(repository("")).env("PATH", path.unwrap());
    let output = shell.env("COLUMNS", "100").env_remove("CROSSLINK_CONFIG").output().unwrap();
    // In the order in which a terminal shows them: a result comes last. A fault ends with an empty line, which would
    // look odd before the end of a block.
    String::from_utf8([output.stderr, output.stdout].concat()).unwrap()
}

#[test]
fn commands_print_what_is_shown() {
    let mut tried = 0;
    for page in pages() {
        let mut configuration = None;
        for block in &page.blocks {
            match block.language.as_str() {
                "yaml" => configuration = Some(block.text.as_str()),
                "console" => {
                    let (line, shown) = block.text.split_once('\n').unwrap();
                    let Some(line) = line.strip_prefix("$ ").filter(|line| line.starts_with("crosslink ")) else {
                        continue;
                    };
                    assert_shown(&page, shown.trim_end(), printed(line, configuration).trim_end());
                    tried += 1;
                }
                _ => {}
            }
        }
    }
    assert!(tried >= 18, "only {tried} commands");
}

#[test]
fn requests_get_what_is_shown() {
    if !needs(&["curl"]) {
        return;
    }
    let app = App::with(&fs::read_to_string(repository("config/crosslink.yaml")).unwrap());
    let without_date = |head: &str| -> String {
        head.replace('\r', "").lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n")
    };
    let mut tried = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language == "console") {
            let (command, shown) = block.text.split_once('\n').unwrap();
            let Some(curl) = command.strip_prefix("$ ").filter(|command| command.starts_with("curl ")) else {
                continue;
            };
            let curl = curl.replace("127.0.0.1:8080", &app.address.to_string());
            let output = Command::new("sh").args(["-c", &curl]).output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(without_date(shown.trim_end()), without_date(printed.trim_end()), "{}: {command}", page.path);
            tried += 1;
        }
    }
    assert!(tried >= 3, "only {tried} requests");
}

#[test]
fn configurations_are_right() {
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(&key, OLD.1).unwrap();
    for (path, text) in configurations() {
        let text = text.replace("/etc/crosslink/secrets/2026-11.key", &key.path().display().to_string());
        let mut faults = config::parse(&text).err().unwrap_or_default();
        // The certificates that it names are the reader's.
        faults.retain(|fault| !fault.problem.contains("No such file"));
        assert!(faults.is_empty(), "{}", config::render_faults(&path, &text, &faults));
    }
}

#[test]
fn links_lead_somewhere() {
    let others = ["ARCHITECTURE.md", "CHANGELOG.md"].map(Page::read);
    for page in pages().iter().chain(&others) {
        let folder = Path::new(&page.path).parent().unwrap();
        for link in page.links().iter().filter(|link| !link.contains("://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let file = if file.is_empty() { page.path.clone() } else { folder.join(file).display().to_string() };
            assert!(repository(&file).exists(), "{} links to {link}, which is not there", page.path);
            if let Some(anchor) = anchor {
                let there = Page::read(&file).anchors().contains(anchor);
                assert!(there, "{} links to {link}, and there is no such heading", page.path);
            }
        }
    }
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let contents = Page::read("docs/README.md").links();
    for page in pages().iter().filter(|page| page.path.starts_with("docs/")) {
        let name = page.path.trim_start_matches("docs/");
        // The results of the benchmarks are written by a program, and stand in the README.
        let listed = ["README.md", "benchmarks.md"].contains(&name) || contents.iter().any(|link| link == name);
        assert!(listed, "docs/README.md does not lead to {name}");
    }
}

#[test]
fn every_key_is_in_the_reference() {
    fn keys(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(members) => {
                if let Some(Value::Object(properties)) = members.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                members.values().for_each(|member| keys(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }
    let schema = fs::read_to_string(repository("config/crosslink.schema.json")).unwrap();
    let mut found = BTreeSet::new();
    keys(&serde_json::from_str(&schema).unwrap(), &mut found);
    assert!(found.len() > 40, "{found:?}");
    let reference = fs::read_to_string(repository("docs/reference.md")).unwrap();
    for key in found {
        let told = ["`", ".", "[]."].iter().any(|before| reference.contains(&format!("{before}{key}`")))
            || reference.contains(&format!("`{key}."));
        assert!(told, "docs/reference.md does not tell of `{key}`");
    }
}

#[test]
fn pages_that_other_files_name_are_there() {
    let mut files = Vec::new();
    for folder in ["src", "config", "deploy"] {
        collect(&repository(folder), &mut files);
    }
    let mut named = 0;
    for text in files.iter().filter_map(|file| fs::read_to_string(file).ok()) {
        for named_here in text.split("docs/").skip(1) {
            let Some((name, behind)) = named_here.split_once(".md") else { continue };
            if !name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-') {
                continue;
            }
            let page = Page::read(&format!("docs/{name}.md"));
            if let Some(heading) = behind.strip_prefix(", \"").and_then(|rest| rest.split('"').next()) {
                assert!(page.headings().any(|there| there == heading), "{} has no heading {heading}", page.path);
            }
            named += 1;
        }
    }
    assert!(named >= 5, "only {named} names");
    let shown = fs::read_to_string(repository("src/config/landing.rs")).unwrap();
    assert!(shown.contains(r#"read \"Privacy\" in the README"#));
    assert!(Page::read("README.md").headings().any(|heading| heading == "Privacy"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
