//! What the head of a request says.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Version;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::link::{Field, Fields, Method, Visit, is_opt_out, is_prefetch};

/// What the program needs of a request's head, found in one look at its fields.
pub struct Asked<'a> {
    pub(super) head: &'a Parts,
    /// The host that the request names; of two, nothing.
    pub(super) host: Option<&'a str>,
    pub(super) request_id: Option<&'a str>,
    pub(super) traceparent: Option<&'a str>,
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

impl<'a> Asked<'a> {
    /// Looks at a head.
    #[must_use]
    pub fn of(head: &'a Parts) -> Self {
        let mut asked = Self::nothing_of(head);
        for (name, field) in &head.headers {
            let value = field.as_bytes();
            // Whatever is not visible ASCII names nothing.
            let text = || field.to_str().unwrap_or_default();
            match name.as_str() {
                "host" => once(&mut asked.host, text()),
                "cookie" => asked.add_cookie(value),
                "sec-purpose" => careful(&mut asked.purpose, value, is_prefetch),
                "sec-gpc" => careful(&mut asked.gpc, value, is_opt_out),
                "sec-fetch-mode" => once(&mut asked.fetch_mode, value),
                "sec-fetch-dest" => once(&mut asked.fetch_dest, value),
                "user-agent" => asked.user_agent = asked.user_agent.or(Some(value)),
                "x-request-id" => once(&mut asked.request_id, text()),
                "traceparent" => once(&mut asked.traceparent, text()),
                "x-original-uri" => once(&mut asked.original_uri, value),
                "x-forwarded-uri" => once(&mut asked.forwarded_uri, value),
                "x-original-method" | "x-forwarded-method" => {
                    asked.original_method = asked.original_method.max(Some(method(value)));
                }
                _ => {}
            }
        }
        // Which in HTTP/2 may stand there without a `Host` (RFC 9113, 8.3.1).
        if asked.host.is_none() && head.version == Version::HTTP_2 {
            asked.host = head.uri.authority().map(Authority::as_str);
        }
        asked
    }

    fn nothing_of(head: &'a Parts) -> Self {
        Self {
            head,
            host: None,
            request_id: None,
            traceparent: None,
            cookies: None,
            more_cookies: Vec::new(),
            purpose: None,
            gpc: None,
            fetch_mode: None,
            fetch_dest: None,
            user_agent: None,
            original_uri: None,
            forwarded_uri: None,
            original_method: None,
        }
    }

    /// The facts that a decision rests on, of a request that came now, and from nobody who is trusted.
    #[must_use]
    pub fn visit(&self, now: SystemTime) -> Visit<'_> {
        let Parts { method: name, uri, .. } = self.head;
        Visit {
            method: method(name.as_str().as_bytes()),
            host: self.host,
            authority: uri.authority().map(Authority::as_str),
            path: uri.path(),
            query: uri.query(),
            cookies: if self.more_cookies.is_empty() { self.cookies.as_slice() } else { &self.more_cookies },
            purpose: self.purpose,
            now: now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            gpc: self.gpc,
            fetch_mode: self.fetch_mode,
            fetch_dest: self.fetch_dest,
            user_agent: self.user_agent,
            original_target: self.original_uri.or(self.forwarded_uri),
            original_method: self.original_method,
            trusted: false,
            random: None,
            fields: self,
        }
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

impl Fields for Asked<'_> {
    fn find(&self, name: &str) -> Field<'_> {
        // They are few, and to make ready what they are found by costs more than to look at each.
        let mut found = self.head.headers.iter().filter(|(known, _)| known.as_str() == name);
        match (found.next(), found.next()) {
            (None, _) => Field::Absent,
            (Some((_, value)), None) => Field::Once(value.as_bytes()),
            (Some(_), Some(_)) => Field::Repeated,
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
fn once<T: Default>(known: &mut Option<T>, value: T) {
    *known = Some(if known.is_none() { value } else { T::default() });
}

fn method(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"POST" => Method::Post,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    }
}
