//! A mistake in the configuration, its place in the file, and how both are shown.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_yaml::Location;

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
    pub line: u32,
    /// The column of the first character.
    pub column: u32,
    /// The number of characters; 0 for a place between two.
    pub length: u32,
}

impl Place {
    /// The place of the character that begins at a byte of the text.
    pub(super) fn of_byte(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self { line: number(before.matches('\n').count() + 1), column: number(column), length: 1 }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            line: number(location.line()).max(1),
            column: number(location.column()).max(1),
            length: number(location.span().len()),
        }
    }
}

/// A number of lines or characters; 32 bits are enough for the largest file.
pub(super) fn number(count: impl TryInto<u32>) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
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
        let (problem, mut hint) = (problem.into(), hint.into());
        if problem.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']) {
            hint += "; curly quotation marks belong to the value here, straight ones do not";
        }
        self.faults.push(ConfigFault { at: at.into(), problem, hint });
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

impl ConfigFault {
    /// What is wrong, fit for a terminal and for a log: what was found in the file may be a secret, or hold control
    /// characters.
    #[must_use]
    pub fn shown_problem(&self) -> String {
        harmless(&without_secrets(&self.problem))
    }

    /// What to do about it, as fit as that.
    #[must_use]
    pub fn shown_hint(&self) -> String {
        harmless(&hidden(&self.hint, key_spans(&self.hint)))
    }
}

fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Of warnings in the order of the file, the first of those that say the same, and how many more there are: very many
/// pairs may be warned of one thing.
#[must_use]
pub fn alike<'w>(warnings: impl IntoIterator<Item = &'w ConfigFault>) -> Vec<(&'w ConfigFault, usize)> {
    let mut numbers = HashMap::new();
    let mut first: Vec<(&ConfigFault, usize)> = Vec::new();
    for warning in warnings {
        let number = *numbers.entry((&warning.problem, &warning.hint)).or_insert(first.len());
        match first.get_mut(number) {
            Some((_, more)) => *more += 1,
            None => first.push((warning, 0)),
        }
    }
    first
}

/// Shows faults of one file, each as `FILE:LINE:COLUMN: problem`, the line with a caret, and what to do.
#[must_use]
pub fn render_faults(file: &str, text: &str, faults: &[ConfigFault]) -> String {
    render(file, text, "", faults.iter().map(|fault| (fault, 0)))
}

/// Shows warnings in the same form, as `FILE:LINE:COLUMN: warning: problem`, and those that are alike once.
#[must_use]
pub fn render_warnings(file: &str, text: &str, warnings: &[ConfigFault]) -> String {
    render(file, text, "warning: ", alike(warnings).into_iter())
}

fn render<'f>(file: &str, text: &str, kind: &str, faults: impl Iterator<Item = (&'f ConfigFault, usize)>) -> String {
    let renderer = Renderer::plain().decor_style(DecorStyle::Ascii);
    let lines: Vec<&str> = text.lines().collect();
    let mut shown = String::new();
    for (fault, more) in faults {
        let at = &fault.at;
        let line = lines.get(at.line as usize - 1).copied().unwrap_or_default();
        let line = without_secrets(line);
        let (line, span) = around(&without_value(&line, fault, is_below_secrets(&lines, at.line as usize - 1)), at);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more like it)") };
        let title = format!("{file}:{}:{}: {kind}{}{more}", at.line, at.column, fault.shown_problem());
        let snippet = Snippet::source(line).line_start(at.line as usize).annotation(AnnotationKind::Primary.span(span));
        let hint = Level::HELP.message(fault.shown_hint());
        let report = Level::ERROR.no_name().primary_title(title).element(snippet).element(hint);
        // Writing to a text does not fail.
        let _ = writeln!(shown, "{}\n", renderer.render(&[report]));
    }
    shown
}

/// The part of a line around a place, and where the place is in it, in bytes.
fn around(line: &str, at: &Place) -> (String, Range<usize>) {
    let (column, length) = (at.column as usize - 1, at.length as usize);
    let first = column.saturating_sub(WINDOW);
    let length = length.clamp(1, WINDOW);
    let part: String = line.chars().skip(first).take(2 * WINDOW + length).collect();
    let byte_at = |character: usize| part.char_indices().nth(character).map_or(part.len(), |(byte, _)| byte);
    let start = byte_at(column - first);
    let end = byte_at(column - first + length).max(start);
    (part, start..end)
}

/// The same with each word hidden where a secret stands, or perhaps stands: in place of its file, behind an unknown
/// key, which may be misspelt, and below a key of secrets in another line.
fn without_value(line: &str, fault: &ConfigFault, below_secrets: bool) -> String {
    let ConfigFault { at, problem, .. } = fault;
    let (column, length) = (at.column as usize - 1, at.length as usize);
    let from = if HIDING.iter().any(|words| problem.contains(words)) {
        Some(column)
    } else if problem.starts_with(UNKNOWN_KEY) {
        // Without a colon it is a second value, cut off at a comma, and has none behind it.
        let mut behind = line.chars().skip(column + length).skip_while(|c| matches!(c, ' ' | '\t' | '"' | '\''));
        (behind.next() == Some(':')).then_some(column + length)
    } else {
        None
    };
    let is_hidden = |at| from.is_some_and(|from| at >= from);
    let is_word = |c: char| !c.is_whitespace() && !"{}[]:,\"'".contains(c);
    let line: String =
        line.chars().enumerate().map(|(at, c)| if is_hidden(at) && is_word(c) { '*' } else { c }).collect();
    if !below_secrets {
        return line;
    }
    let is_place = |span: &Range<usize>| {
        let (before, word) = (line.get(..span.start).unwrap_or_default(), line.get(span.clone()).unwrap_or_default());
        let behind =
            |key: &str| before.trim_end_matches([' ', '"', '\'']).strip_suffix(':').is_some_and(|to| to.ends_with(key));
        let is_file = is_path(word) || !behind("file");
        word == "-" || PLACES.contains(&word) || is_file && PLACES.iter().any(|key| behind(key))
    };
    hidden(&line, words(&line, is_word).filter(|span| !is_place(span)))
}

/// Whether a line stands below one of the keys at the top of the file that hold secrets.
fn is_below_secrets(lines: &[&str], line: usize) -> bool {
    let is_top = |line: &&&str| line.starts_with(|first: char| !first.is_whitespace() && !"-#]}".contains(first));
    let top = lines.get(..=line).unwrap_or_default().iter().rev().find(is_top);
    let top = top.filter(|top| lines.get(line).is_some_and(|own| own != *top));
    top.is_some_and(|top| SECRETS.iter().any(|key| top.trim_start_matches(['"', '\'']).starts_with(key)))
}

/// A text with everything hidden that looks like a key or a password, each character by a star: a fault may end up in a
/// log. What is no secret may be hidden too; line and column still say where it is.
fn without_secrets(text: &str) -> String {
    hidden(text, key_spans(text).chain(password_spans(text)).chain(instead_of_places(text)).chain(endpoint_spans(text)))
}

fn hidden(text: &str, spans: impl Iterator<Item = Range<usize>>) -> String {
    let spans = spans.collect::<Vec<_>>();
    let is_hidden = |byte: &usize| spans.iter().any(|span| span.contains(byte));
    text.char_indices().map(|(byte, c)| if is_hidden(&byte) { '*' } else { c }).collect()
}

/// What stands behind `k4.local.`, and any word as long as a key.
fn key_spans(text: &str) -> impl Iterator<Item = Range<usize>> {
    words(text, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_').filter(move |span| {
        let before = text.get(..span.start).unwrap_or_default();
        span.len() >= SHORTEST_KEY || before.to_ascii_lowercase().ends_with(KEY_BEGINS)
    })
}

/// What stands between `:` and `@` of an address, behind `pass=`, in the line of a password, and in a key of its own
/// file.
fn password_spans(text: &str) -> impl Iterator<Item = Range<usize>> {
    let urls = text.match_indices("://").filter_map(|(at, scheme)| {
        let start = at + scheme.len();
        let user = text.get(start..)?.split(['/', '?', '#']).next()?;
        let colon = user.get(..user.rfind('@')?)?.find(':')?;
        Some(start + colon + 1..start + user.rfind('@')?)
    });
    // An address of a store is also written wrongly: without its scheme, with blanks or slashes in the password.
    let stores = text.match_indices("replay:").chain(text.match_indices("stream:")).filter_map(|(at, key)| {
        let value = text.get(at + key.len()..)?.trim_start_matches([' ', '"', '\'']);
        let start = text.len() - value.len();
        let before = value.rsplit_once('@')?.0;
        let scheme = before.find("://").map_or(0, |scheme| scheme + "://".len());
        Some(start + scheme..start + before.len())
    });
    let queries = text.match_indices("pass").filter_map(|(at, _)| {
        let start = at + text.get(at..)?.find('=')? + 1;
        text.get(at..start)?.chars().all(|c| c.is_ascii_alphabetic() || c == '=').then_some(start..text.len())
    });
    let named = password_key(text).into_iter().flat_map(move |at| {
        words(text, |c| !c.is_whitespace() && !"{}[]:,\"'`".contains(c)).filter(move |span| {
            let word = text.get(span.clone()).unwrap_or_default();
            span.start > at && !word.contains('/') && !["file", "env"].contains(&word)
        })
    });
    let pem = text.find("-----BEGIN").map(|start| start..text.len());
    urls.chain(pem).chain(stores).chain(queries).chain(named)
}

/// Where a key begins behind which a password may stand: the right one anywhere, one that is named alike where a colon
/// follows.
fn password_key(text: &str) -> Option<usize> {
    let alike = |(at, _): (usize, &str)| {
        let behind = text.get(at..)?.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-".contains(c));
        let is_key = behind.trim_start_matches(['"', '\'', ' ']).starts_with(':');
        // The colon may be what is missing.
        let is_first = text.get(..at)?.trim().is_empty() && behind.starts_with(' ');
        (is_key || is_first).then_some(at)
    };
    let named_alike = ["passw", "secret"].into_iter().flat_map(|name| text.match_indices(name).filter_map(alike));
    named_alike.chain(text.find("replay_password")).min()
}

/// What stands where the place of a secret should, and is no path: perhaps the secret. The next key in the same braces
/// ends it, unless a secret may stand there in its turn.
fn instead_of_places(text: &str) -> impl Iterator<Item = Range<usize>> {
    let (mut is_place, mut is_near) = (false, false);
    words(text, |c| !c.is_whitespace() && !"{}[]:,\"'`".contains(c)).filter(move |span| {
        let word = text.get(span.clone()).unwrap_or_default();
        let [before, behind] = [text.get(..span.start), text.get(span.end..)].map(Option::unwrap_or_default);
        if !word.is_empty() && behind.trim_start_matches(['"', '\'', ' ']).starts_with(':') {
            let is_next = before.trim_end_matches(['"', '\'', ' ']).ends_with([',', '{']);
            is_near |= PLACES_OF_SECRETS.contains(&word);
            let is_secret = PLACES_OF_SECRETS.contains(&word) || is_near && CALLED_SECRET.contains(&word);
            is_place = is_secret || is_place && !is_next;
        }
        is_place && !PLACES_OF_SECRETS.contains(&word) && !is_path(word)
    })
}

/// Whether a text is meant as the path of a file.
pub(super) fn is_path(text: &str) -> bool {
    ["/", ".", "~"].iter().any(|begin| text.starts_with(begin))
}

/// What an endpoint has besides its place: a user, and what stands behind the host.
fn endpoint_spans(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("endpoint").flat_map(move |(at, key)| {
        let value = text.get(at + key.len()..).unwrap_or_default().trim_start_matches([':', ' ', '"', '\'']);
        let host = value.find("://").map_or(0, |scheme| scheme + "://".len());
        let start = text.len() - value.len() + host;
        let rest = value.get(host..).unwrap_or_default();
        let address = rest.split(['"', '\'', '}']).next().unwrap_or_default();
        let user = address.rfind('@').map(|user| start..start + user);
        let more = address.find(['/', '?', '#']).map(|more| start + more + 1..start + address.len());
        user.into_iter().chain(more)
    })
}

/// The runs of characters that belong together, in bytes.
fn words(text: &str, belongs: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let start_of = |part: &str| part.as_ptr().addr() - text.as_ptr().addr();
    text.split(move |c| !belongs(c)).map(move |word| start_of(word)..start_of(word) + word.len())
}

/// How the problem begins of a key that nobody knows.
pub(super) const UNKNOWN_KEY: &str = "unknown key";

/// Keys at the top of the file below which secrets are named, and perhaps written.
const SECRETS: [&str; 3] = ["keys", "replay", "api"];

/// What is said of a secret there.
const PLACES: [&str; 5] = ["id", "file", "env", "token_file", "token_env"];

/// Keys behind which it is said where a secret is.
pub(super) const PLACES_OF_SECRETS: [&str; 6] =
    ["api", "kissmetrics", "key_file", "key_env", "token_file", "token_env"];

/// And what a secret is called by who writes it there.
const CALLED_SECRET: [&str; 4] = ["key", "token", "secret", "password"];

/// And that of a secret which stands in the file itself.
pub(super) const SECRET_ITSELF: &str = "only where a secret is, not the secret itself,";

/// What is said of what may be one.
pub(super) const PERHAPS_ITSELF: &str = ", or this is the secret itself";

/// How the problem begins of an address that holds more than it should.
pub(super) const MORE_THAN_A_PLACE: &str = "there is more than a place here:";

/// With these words in a problem, what stands at its place is hidden.
const HIDING: [&str; 3] = [SECRET_ITSELF, PERHAPS_ITSELF, MORE_THAN_A_PLACE];

/// How a key in PASERK form begins.
const KEY_BEGINS: &str = "k4.local.";
/// What follows it has 43 characters; no word of a configuration needs 40.
const SHORTEST_KEY: usize = 40;

/// How many characters of a long line are shown on either side of a mistake.
const WINDOW: usize = 200;
