//! A mistake in the configuration, its place in the file, and how both are shown.

use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_yaml::{Location, Spanned};

/// One mistake of whoever wrote the file, or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where it is.
    pub at: Place,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

/// A place in the file; line and column count from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column of the first character.
    pub column: usize,
    /// The number of characters; 0 for a place between two.
    pub length: usize,
}

impl Place {
    /// The place of the character that begins at a byte of the text.
    pub(super) fn of_byte(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self { line: before.matches('\n').count() + 1, column, length: 1 }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Self {
            line: number(location.line()).max(1),
            column: number(location.column()).max(1),
            length: number(location.span().len()),
        }
    }
}

impl<T> From<&Spanned<T>> for Place {
    fn from(value: &Spanned<T>) -> Self {
        value.referenced.into()
    }
}

/// Collects what the sections find, so that one run shows all of it.
#[derive(Debug, Default)]
pub(super) struct Faults {
    faults: Vec<ConfigFault>,
    warnings: Vec<ConfigFault>,
}

impl Faults {
    /// Notes a mistake that stops the program.
    pub(super) fn add(&mut self, at: impl Into<Place>, problem: impl Into<String>, hint: impl Into<String>) {
        self.faults.push(ConfigFault { at: at.into(), problem: problem.into(), hint: hint.into() });
    }

    /// Notes mistakes that were collected elsewhere.
    pub(super) fn extend(&mut self, found: Vec<ConfigFault>) {
        self.faults.extend(found);
    }

    /// Notes what works, but was perhaps not meant so.
    pub(super) fn warn(&mut self, at: impl Into<Place>, problem: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(ConfigFault { at: at.into(), problem: problem.into(), hint: hint.into() });
    }

    /// The warnings, or all faults if there is one; each in the order of the file and said once.
    pub(super) fn finish(mut self) -> Result<Vec<ConfigFault>, Vec<ConfigFault>> {
        let sorted = |mut list: Vec<ConfigFault>| {
            list.sort_by(|a, b| (a.at, &a.problem).cmp(&(b.at, &b.problem)));
            list.dedup();
            list
        };
        self.faults = sorted(self.faults);
        if self.faults.is_empty() { Ok(sorted(self.warnings)) } else { Err(self.faults) }
    }
}

/// Shows faults of one file, each as `FILE:LINE:COLUMN: problem`, the line with a caret, and what to do.
#[must_use]
pub fn render_faults(file: &str, text: &str, faults: &[ConfigFault]) -> String {
    render(file, text, "", faults)
}

/// Shows warnings in the same form, as `FILE:LINE:COLUMN: warning: problem`.
#[must_use]
pub fn render_warnings(file: &str, text: &str, warnings: &[ConfigFault]) -> String {
    render(file, text, "warning: ", warnings)
}

fn render(file: &str, text: &str, kind: &str, faults: &[ConfigFault]) -> String {
    let renderer = Renderer::plain().decor_style(DecorStyle::Ascii);
    let lines: Vec<&str> = text.lines().collect();
    let mut shown = String::new();
    for ConfigFault { at, problem, hint } in faults {
        let line = lines.get(at.line - 1).copied().unwrap_or_default();
        let (line, span) = around(line, at);
        // What was found in the file may hold control characters; a message must stay one line, and harmless.
        let problem: String =
            without_secrets(problem).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let title = format!("{file}:{}:{}: {kind}{problem}", at.line, at.column);
        let snippet = Snippet::source(line).line_start(at.line).annotation(AnnotationKind::Primary.span(span));
        let report = Level::ERROR.no_name().primary_title(title).element(snippet).element(Level::HELP.message(hint));
        // Writing to a text does not fail.
        let _ = writeln!(shown, "{}\n", renderer.render(&[report]));
    }
    shown
}

/// The part of a line around a place, and where the place is in it, in bytes.
fn around(line: &str, at: &Place) -> (String, Range<usize>) {
    let first = (at.column - 1).saturating_sub(WINDOW);
    let length = at.length.clamp(1, WINDOW);
    let line = without_secrets(line);
    let part: String = line.chars().skip(first).take(2 * WINDOW + length).collect();
    let byte_at = |character: usize| part.char_indices().nth(character).map_or(part.len(), |(byte, _)| byte);
    let start = byte_at(at.column - 1 - first);
    let end = byte_at(at.column - 1 - first + length).max(start);
    (part, start..end)
}

/// A text with every key and password that somebody wrote into it hidden, each character by a star: a fault may end up
/// in a log.
fn without_secrets(text: &str) -> String {
    without_passwords(&without_keys(text))
}

fn without_keys(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once(KEY_BEGINS) {
        let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(behind.len());
        let (key, after) = behind.split_at_checked(end).unwrap_or((behind, ""));
        shown.push_str(before);
        shown.push_str(KEY_BEGINS);
        shown.extend(key.chars().map(|_| '*'));
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// Hides what stands between `:` and `@` in the authority of a URL, or behind `pass=` in its query.
fn without_passwords(line: &str) -> String {
    let mut parts = line.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let end = part.find(|c: char| c.is_whitespace() || "\"'`".contains(c)).unwrap_or(part.len());
        let url = part.get(..end).unwrap_or_default();
        let at = url.rfind('@').unwrap_or(0);
        let colon = part.get(..at).and_then(|user| user.find(':')).map_or(at, |colon| colon + 1);
        // Redis clients take a password from there too.
        let pass = url.find("pass=").map_or(end, |pass| pass + "pass=".len());
        let hidden = |(byte, c)| if (colon..at).contains(&byte) || (pass..end).contains(&byte) { '*' } else { c };
        shown.extend(part.char_indices().map(hidden));
    }
    shown
}

/// How a key in PASERK form begins.
const KEY_BEGINS: &str = "k4.local.";

/// How many characters of a long line are shown on either side of a mistake.
const WINDOW: usize = 200;
