//! How a line of the request log looks.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::settings::LogFormat;

/// What a line says. Its texts come from closed sets, from the configuration, or hold nothing that JSON must escape.
pub(super) struct Line<'a> {
    pub time: SystemTime,
    pub role: &'static str,
    /// The name of the pair, the one text that may hold anything.
    pub pair: Option<&'a str>,
    pub outcome: &'static str,
    pub status: u16,
    pub method: &'static str,
    pub host: Option<&'a str>,
    pub path: &'a str,
    pub identity: Option<&'static str>,
    pub micros: u64,
    pub id: Id<'a>,
    /// Why a header that names the visitor did not count.
    pub header: Option<&'static str>,
    pub traceparent: Option<&'a str>,
}

/// A request's id.
#[derive(Clone, Copy)]
pub(super) enum Id<'a> {
    /// As a trusted proxy told it.
    Told(&'a str),
    /// A random start for each log, in hexadecimal digits, then a count.
    Own(&'a str, u64),
}

impl Line<'_> {
    /// Appends the line and its end.
    pub(super) fn write(&self, format: LogFormat, out: &mut Vec<u8>) {
        match format {
            LogFormat::Json => self.write_json(out),
            // Writing to memory does not fail.
            LogFormat::Text => drop(write!(out, "{self}")),
        }
        out.push(b'\n');
    }

    /// By hand, since a line costs a library's serializer as much as the whole decision. What is written between the
    /// values has a length that the compiler knows, and so becomes a few moves.
    fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(ROOM);
        out.extend_from_slice(b"{\"time\":\"");
        write_time(self.time, out);
        text(out, b"\",\"role\":\"", self.role);
        out.extend_from_slice(b"\",\"pair\":");
        pair(out, self.pair);
        text(out, b",\"outcome\":\"", self.outcome);
        number(out, b"\",\"status\":", self.status);
        text(out, b",\"method\":\"", self.method);
        text_or_null(out, b"\",\"host\":", self.host);
        text(out, b",\"path\":\"", self.path);
        text_or_null(out, b"\",\"identity\":", self.identity);
        number(out, b",\"micros\":", self.micros);
        out.extend_from_slice(b",\"id\":\"");
        self.id.write(out);
        if let Some(why) = self.header {
            text(out, b"\",\"header\":\"", why);
        }
        if let Some(parent) = self.traceparent {
            text(out, b"\",\"traceparent\":\"", parent);
        }
        out.extend_from_slice(b"\"}");
    }
}

/// The date and the time of day, which is the same for all lines of a second, and the microseconds.
fn write_time(time: SystemTime, out: &mut Vec<u8>) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() || text.is_empty() {
            *second = since.as_secs();
            *text = humantime::format_rfc3339_seconds(time).to_string();
            // The microseconds come in between.
            text.truncate(text.len() - 1);
        }
        out.extend_from_slice(text.as_bytes());
    });
    let mut digits = *b".000000Z";
    let mut rest = since.subsec_micros();
    for digit in digits.iter_mut().skip(1).take(6).rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

fn text<const N: usize>(out: &mut Vec<u8>, key: &[u8; N], value: &str) {
    out.extend_from_slice(key);
    out.extend_from_slice(value.as_bytes());
}

fn text_or_null<const N: usize>(out: &mut Vec<u8>, key: &[u8; N], value: Option<&str>) {
    out.extend_from_slice(key);
    match value {
        Some(value) => {
            text(out, b"\"", value);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// The name of a pair, which holds whatever the operator wrote; most hold nothing that JSON escapes.
fn pair(out: &mut Vec<u8>, name: Option<&str>) {
    // All of it, without a look at the outcome in between, so that many bytes can be looked at at a time.
    let is_escaped = |byte| byte < b' ' || matches!(byte, b'"' | b'\\');
    if name.is_none_or(|name| !name.bytes().fold(false, |any, byte| any | is_escaped(byte))) {
        return text_or_null(out, b"", name);
    }
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, &name);
}

fn number<const N: usize>(out: &mut Vec<u8>, key: &[u8; N], value: impl itoa::Integer) {
    out.extend_from_slice(key);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

impl Id<'_> {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Told(id) => out.extend_from_slice(id.as_bytes()),
            Self::Own(start, count) => {
                out.extend_from_slice(start.as_bytes());
                number(out, b"-", count);
            }
        }
    }
}

impl Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(id) => f.write_str(id),
            Self::Own(start, count) => write!(f, "{start}-{count}"),
        }
    }
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {}{} {} pair={:?} identity={} {}us id={}",
            humantime::format_rfc3339_micros(self.time),
            self.status,
            self.outcome,
            self.method,
            self.host.unwrap_or("-"),
            self.path,
            self.role,
            self.pair.unwrap_or("-"),
            self.identity.unwrap_or("-"),
            self.micros,
            self.id,
        )?;
        if let Some(why) = self.header {
            write!(f, " header={why}")?;
        }
        self.traceparent.map_or(Ok(()), |parent| write!(f, " traceparent={parent}"))
    }
}

thread_local! {
    /// The second of the last line, and how it is written.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// What most lines need.
const ROOM: usize = 320;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LINE: Line<'_> = Line {
        time: UNIX_EPOCH,
        role: "origin",
        pair: Some("a \"pair\"\\\n\u{e9}"),
        outcome: "handed_off",
        status: 302,
        method: "GET",
        host: Some("www.yoursite.com"),
        path: "/go/x",
        identity: Some("named"),
        micros: 7,
        id: Id::Own("0b1d10b0", 12),
        header: None,
        traceparent: None,
    };

    fn written(line: &Line<'_>, format: LogFormat) -> String {
        let mut out = Vec::new();
        line.write(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_json_whatever_the_pair_is_called() {
        let line = Line { time: UNIX_EPOCH + Duration::from_micros(1_795_000_000_000_042), ..LINE };
        assert_eq!(
            written(&line, LogFormat::Json),
            concat!(
                r#"{"time":"2026-11-18T11:06:40.000042Z","role":"origin","pair":"a \"pair\"\\\né","outcome":"handed_off","#,
                r#""status":302,"method":"GET","host":"www.yoursite.com","path":"/go/x","identity":"named","micros":7,"#,
                r#""id":"0b1d10b0-12"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn what_is_not_known_is_null_and_what_was_not_told_is_missing() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let told = Line { id: Id::Told("a-1"), header: Some("untrusted"), traceparent: Some(parent), ..LINE };
        let line = Line { pair: None, host: None, identity: None, ..told };
        let json: serde_json::Value = serde_json::from_str(&written(&line, LogFormat::Json)).unwrap();
        assert_eq!([&json["pair"], &json["host"], &json["identity"]], [&serde_json::Value::Null; 3]);
        assert_eq!([&json["id"], &json["header"], &json["traceparent"]], ["a-1", "untrusted", parent]);
        let text = written(&line, LogFormat::Text);
        assert!(
            text.ends_with(&format!(
                "-/go/x origin pair=\"-\" identity=- 7us id=a-1 header=untrusted traceparent={parent}\n"
            )),
            "{text}"
        );
    }
}
