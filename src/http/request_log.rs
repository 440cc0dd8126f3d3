//! One line a request, which never holds an identity, a query, a Location or a cookie.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::Method;
use percent_encoding::percent_decode_str;

use super::head::Asked;
use super::log_line::{Id, Line};
use crate::link::{Class, Decision, HostPort, Identify, Land, NotCarried, Role, Unheard};
use crate::settings::{Log, LoggedRequests};
use crate::sink::Sink;

/// Where lines go, how they look and which requests get one.
#[derive(Clone, Debug)]
pub struct RequestLog {
    sink: Sink,
    log: Log,
    ids: Arc<Ids>,
}

/// Request ids: a random start for each log, then a count.
#[derive(Debug)]
struct Ids {
    start: String,
    next: AtomicU64,
}

impl RequestLog {
    /// A log that writes to `sink`.
    #[must_use]
    pub fn new(sink: Sink, log: Log) -> Self {
        // The keys of a `RandomState` are random; the hash of nothing under them is a random number.
        let random = RandomState::new().build_hasher().finish();
        let start = format!("{:08x}", random & u64::from(u32::MAX));
        Self { sink, log, ids: Arc::new(Ids { start, next: AtomicU64::new(1) }) }
    }

    /// The same log, with a buffer and ids of its own, for another event loop.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(self.sink.another(), self.log)
    }

    /// Writes the line of one request into the buffer of the log. A trusted proxy's words about the request go into it.
    pub fn write(
        &self,
        decision: &Decision<'_>,
        asked: &Asked<'_>,
        trusted: bool,
        status: u16,
        came: SystemTime,
        took: Duration,
    ) {
        let wanted = match self.log.requests {
            LoggedRequests::All => true,
            LoggedRequests::Refused => decision.refusal().is_some(),
            LoggedRequests::Off => false,
        };
        if !wanted {
            return;
        }
        let (pair, outcome, identity) = words(decision);
        let line = Line {
            time: came,
            role: decision.role().as_str(),
            pair,
            outcome,
            status,
            method: match asked.head.method {
                Method::GET => "GET",
                Method::HEAD => "HEAD",
                Method::POST => "POST",
                _ => "other",
            },
            host: asked.host.and_then(|host| match decision.role() {
                // Somebody's who may have written anything.
                Role::None => loggable_host(host),
                // One of the configuration's.
                Role::Origin | Role::Destination => Some(host),
            }),
            path: loggable_path(asked.head.uri.path()),
            identity,
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            id: asked.request_id.filter(|id| trusted && is_request_id(id)).map_or_else(|| self.ids.next(), Id::Told),
            header: decision.unheard().map(Unheard::as_str),
            traceparent: asked.traceparent.filter(|parent| trusted && is_traceparent(parent)),
        };
        self.push(&line);
    }

    /// Writes the line of a request whose head could not be read: nothing is known of it.
    pub fn write_unreadable(&self, too_large: bool) {
        if self.log.requests == LoggedRequests::Off {
            return;
        }
        self.push(&Line {
            time: SystemTime::now(),
            role: Role::None.as_str(),
            pair: None,
            outcome: "unreadable",
            // A target over 64 KiB gets 414, which hyper does not tell apart here.
            status: if too_large { 431 } else { 400 },
            method: "other",
            host: None,
            path: "",
            identity: None,
            micros: 0,
            id: self.ids.next(),
            header: None,
            traceparent: None,
        });
    }

    fn push(&self, line: &Line<'_>) {
        self.sink.push(|lines| line.write(self.log.format, lines));
    }
}

impl Ids {
    fn next(&self) -> Id<'_> {
        Id::Own(&self.start, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The pair of a decision, what it was, and which identity went along or why none.
fn words<'d>(decision: &'d Decision<'_>) -> (Option<&'d str>, &'static str, Option<&'static str>) {
    match decision {
        Decision::HandOff(hand_off) => (
            Some(hand_off.pair.name),
            "handed_off",
            Some(hand_off.carried.map_or_else(NotCarried::as_str, Class::as_str)),
        ),
        Decision::Land(Land { pair, outcome, class, .. })
        | Decision::Identify(Identify::Landed(Land { pair, outcome, class, .. })) => {
            (Some(pair.name), outcome.as_str(), class.map(Class::as_str))
        }
        Decision::Forget(_) => (None, "forgotten", None),
        Decision::HonoursGpc => (None, "honours_gpc", None),
        Decision::Script => (None, "script", None),
        Decision::Pairs(_) => (None, "pairs", None),
        Decision::Identify(Identify::Nothing) => (None, "no_identity", None),
        Decision::Refuse(refusal, _) | Decision::Identify(Identify::Refused(refusal, _)) => {
            (None, refusal.code(), None)
        }
    }
}

/// The host as it was asked for, if it looks like one: an operator must see which host is not configured, and nobody
/// may write anything else into the log with it.
fn loggable_host(host: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let plain = host.len() <= 255 && host.bytes().all(is_plain) && HostPort::parse(host).is_some();
    Some(host).filter(|host| plain && !is_telling(host))
}

/// The path up to the first thing that a path seldom has and a query always: a link that somebody escaped once too
/// often, such as `/cart%3Fkmi=…`, carries an identity in its path. A segment that holds an address or a token goes as
/// a whole.
fn loggable_path(path: &str) -> &str {
    // As nearly every one is: nothing in it ends a path or tells anything.
    if path.len() <= MAX_PATH && path.bytes().all(is_harmless) {
        return path;
    }
    let mut end = 0_usize;
    for segment in path.split_inclusive('/') {
        if is_telling(segment) {
            end = end.saturating_sub(1);
            break;
        }
        let plain = plain_part(segment);
        end += plain;
        if plain < segment.len() {
            break;
        }
    }
    path.get(..end.min(MAX_PATH)).unwrap_or_default()
}

/// How many bytes of a segment are plain.
fn plain_part(segment: &str) -> usize {
    let ends = |(at, character): (usize, char)| {
        let is_plain = match character {
            '%' => segment.get(at + 1..at + 3).is_some_and(is_plain_escape),
            '/' | '-' | '.' | '_' | '~' => true,
            other => other.is_ascii_alphanumeric(),
        };
        (!is_plain).then_some(at)
    };
    segment.char_indices().find_map(ends).unwrap_or(segment.len())
}

/// Whether a segment holds an `@`, an ordinary one or a wide one, or a token, or was escaped so often that nobody
/// should look for more.
fn is_telling(segment: &str) -> bool {
    // An `@` has to be there, a `%`, or the dots of a token.
    if segment.bytes().all(is_harmless) {
        return false;
    }
    let mut text = Cow::Borrowed(segment);
    for _ in 0..MOST_ESCAPED {
        if text.contains(['@', '\u{ff20}', '\u{fe6b}']) || text.contains("v4.local.") {
            return true;
        }
        let plainer = percent_decode_str(&text).decode_utf8_lossy();
        if plainer == text {
            return false;
        }
        text = Cow::Owned(plainer.into_owned());
    }
    true
}

/// Whether a byte can neither end a path nor belong to an `@`, an escape or a token.
fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'~')
}

/// Whether the two digits of an escape stand for a blank, a letter, a digit, `-`, `.`, `_`, `~` or a byte of UTF-8.
fn is_plain_escape(digits: &str) -> bool {
    u8::from_str_radix(digits, 16)
        .is_ok_and(|byte| byte >= 0x80 || byte.is_ascii_alphanumeric() || b" -._~".contains(&byte))
}

/// An id as proxies make them: nothing that could break a line, or pass for anything else.
fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Version, trace, parent and flags in lower-case hexadecimal; version `ff` and zeros alone are invalid (Trace Context,
/// "traceparent Header").
fn is_traceparent(value: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let is_nothing = |part: &str| part.len() > 2 && part.bytes().all(|byte| byte == b'0');
    let has_its_form = value.split('-').map(str::len).eq([2, 32, 16, 2]) && value.split('-').all(is_hex);
    has_its_form && !value.starts_with("ff-") && !value.split('-').any(is_nothing)
}

/// A link that was escaped three times is no accident.
const MOST_ESCAPED: usize = 4;

/// Longer paths are cut: what they are is clear by then.
const MAX_PATH: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_logged_as_far_as_it_is_a_path() {
        for (path, expected) in [
            ("/go/checkout", "/go/checkout"),
            ("/go/help/a%20b/c.html", "/go/help/a%20b/c.html"),
            ("/go/checkout%3Fkmi=bob%40bob.com", "/go"),
            ("/go/checkout%3Fkmi=bob", "/go/checkout"),
            ("/go/checkout%3fkmi", "/go/checkout"),
            ("/go/checkout&kmi=bob", "/go/checkout"),
            ("/go/bob@bob.com", "/go"),
            ("/go/x/bob.smith%40bob.com", "/go/x"),
            ("/go/bob%2540bob", "/go"),
            ("/go/bob.smith%2Bnews%40bob.com/x", "/go"),
            ("/go/bob+news@bob.com", "/go"),
            ("/go/bob%EF%BC%A0bob.com", "/go"),
            ("/go/c/v4.local.abc", "/go/c"),
            ("/@", ""),
            ("/go/x,kmi:bob", "/go/x"),
            ("/go/x%23kmi", "/go/x"),
            ("/go/x%u003Fkmi", "/go/x"),
            ("/go/caf%C3%A9", "/go/caf%C3%A9"),
            ("/go/x%", "/go/x"),
            ("/go/é", "/go/"),
            ("/a\"b", "/a"),
        ] {
            assert_eq!(loggable_path(path), expected, "{path}");
        }
        assert_eq!(loggable_path(&"/a".repeat(1000)).len(), MAX_PATH);
    }

    #[test]
    fn a_traceparent_has_the_form_of_the_standard() {
        for (value, expected) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", false),
            ("", false),
        ] {
            assert_eq!(is_traceparent(value), expected, "{value}");
        }
    }

    #[test]
    fn a_host_is_logged_if_it_is_one() {
        for (host, expected) in [
            ("www.yoursite.com:8443", Some("www.yoursite.com:8443")),
            ("[::1]:80", Some("[::1]:80")),
            ("bob%40bob.com", None),
            ("bob@bob.com", None),
            ("", None),
        ] {
            assert_eq!(loggable_host(host), expected, "{host}");
        }
    }
}
