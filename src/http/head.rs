//! What the head of a request says.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Version;
use hyper::header::{COOKIE, HOST, HeaderValue};
use hyper::http::request::Parts;

use crate::link::{Method, Visit, is_opt_out, is_prefetch};

/// Borrows from a request's head the facts that a decision rests on.
pub fn with_visit<T>(head: &Parts, look: impl FnOnce(&Visit<'_>) -> T) -> T {
    let cookies: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let fields = |name| head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    // Of a field that stands there twice the more careful reading counts: a prefetch, an opt-out, no navigation.
    let first_if = |name, counts: fn(&[u8]) -> bool| fields(name).find(|value| counts(value)).or(fields(name).next());
    let original_methods = fields("x-original-method").chain(fields("x-forwarded-method"));
    let once = |name| fields(name).next().map(|value| if fields(name).count() == 1 { value } else { b"" });
    look(&Visit {
        method: method(head.method.as_str().as_bytes()),
        host: host(head),
        authority: head.uri.authority().map(hyper::http::uri::Authority::as_str),
        path: head.uri.path(),
        query: head.uri.query(),
        cookies: &cookies,
        purpose: first_if("sec-purpose", is_prefetch),
        now: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        gpc: first_if("sec-gpc", is_opt_out),
        fetch_mode: once("sec-fetch-mode"),
        fetch_dest: once("sec-fetch-dest"),
        user_agent: fields("user-agent").next(),
        original_target: once("x-original-uri").or_else(|| once("x-forwarded-uri")),
        original_method: original_methods.map(method).max(),
    })
}

fn method(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    }
}

/// The host that a request names, if it names one: in HTTP/2 that may be `:authority` alone (RFC 9113, 8.3.1).
pub(super) fn host(head: &Parts) -> Option<&[u8]> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.as_bytes()),
        (None, _) if head.version == Version::HTTP_2 => head.uri.authority().map(|host| host.as_str().as_bytes()),
        _ => None,
    }
}
