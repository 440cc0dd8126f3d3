//! What the head of a request says.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Version;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::link::{Method, Visit, is_opt_out, is_prefetch};

/// Borrows from the head of a request that came now the facts that a decision rests on.
pub fn with_visit<T>(head: &Parts, now: SystemTime, look: impl FnOnce(&Visit<'_>) -> T) -> T {
    let fields = Fields::of(head);
    let cookies = match fields.more_cookies.as_slice() {
        [] => fields.cookies.as_slice(),
        all => all,
    };
    look(&Visit {
        method: method(head.method.as_str().as_bytes()),
        host: fields.host.or_else(|| authority_of_http2(head).map(str::as_bytes)),
        authority: head.uri.authority().map(Authority::as_str),
        path: head.uri.path(),
        query: head.uri.query(),
        cookies,
        purpose: fields.purpose,
        now: now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        gpc: fields.gpc,
        fetch_mode: fields.fetch_mode,
        fetch_dest: fields.fetch_dest,
        user_agent: fields.user_agent,
        original_target: fields.original_uri.or(fields.forwarded_uri),
        original_method: fields.original_method,
    })
}

/// What a decision needs of the fields, found in one look at them.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    /// The one `Cookie` that most requests have.
    cookies: Option<&'a [u8]>,
    /// All of them, where there are several.
    more_cookies: Vec<&'a [u8]>,
    purpose: Option<&'a [u8]>,
    gpc: Option<&'a [u8]>,
    fetch_mode: Option<&'a [u8]>,
    fetch_dest: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    original_uri: Option<&'a [u8]>,
    forwarded_uri: Option<&'a [u8]>,
    original_method: Option<Method>,
}

impl<'a> Fields<'a> {
    fn of(head: &'a Parts) -> Self {
        let mut fields = Self::default();
        for (name, value) in &head.headers {
            let value = value.as_bytes();
            match name.as_str() {
                "host" => once(&mut fields.host, value),
                "cookie" => fields.add_cookie(value),
                "sec-purpose" => careful(&mut fields.purpose, value, is_prefetch),
                "sec-gpc" => careful(&mut fields.gpc, value, is_opt_out),
                "sec-fetch-mode" => once(&mut fields.fetch_mode, value),
                "sec-fetch-dest" => once(&mut fields.fetch_dest, value),
                "user-agent" => fields.user_agent = fields.user_agent.or(Some(value)),
                "x-original-uri" => once(&mut fields.original_uri, value),
                "x-forwarded-uri" => once(&mut fields.forwarded_uri, value),
                "x-original-method" | "x-forwarded-method" => {
                    fields.original_method = fields.original_method.max(Some(method(value)));
                }
                _ => {}
            }
        }
        fields
    }

    fn add_cookie(&mut self, value: &'a [u8]) {
        match self.cookies {
            None => self.cookies = Some(value),
            Some(first) => {
                if self.more_cookies.is_empty() {
                    self.more_cookies.push(first);
                }
                self.more_cookies.push(value);
            }
        }
    }
}

/// Of a field that stands there twice the more careful reading counts: a prefetch, an opt-out.
fn careful<'a>(known: &mut Option<&'a [u8]>, value: &'a [u8], counts: fn(&[u8]) -> bool) {
    if known.is_none_or(|known| !counts(known) && counts(value)) {
        *known = Some(value);
    }
}

/// A field that stands there twice says nothing.
fn once<'a>(known: &mut Option<&'a [u8]>, value: &'a [u8]) {
    *known = Some(if known.is_none() { value } else { b"" });
}

fn method(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"POST" => Method::Post,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    }
}

/// The host that a request names, if it names one, and in visible ASCII.
pub(super) fn host(head: &Parts) -> Option<&str> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) => authority_of_http2(head),
        _ => None,
    }
}

/// Which in HTTP/2 may stand there without a `Host` (RFC 9113, 8.3.1).
fn authority_of_http2(head: &Parts) -> Option<&str> {
    head.uri.authority().filter(|_| head.version == Version::HTTP_2).map(Authority::as_str)
}
