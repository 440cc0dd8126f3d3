//! The operator's port: is it alive, is it ready, what was counted, and a page for people.

mod answered;
mod api;
mod order;
mod page;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::http::content::Content;
use crate::http::server::{self, Answer, Answered};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::rules::LiveRules;
use crate::settings::Secret;
use crate::sink::Sink;
use api::Api;
use page::Asked;

/// Answers the operator.
#[derive(Debug)]
pub struct Admin {
    rules: LiveRules,
    metrics: Arc<Metrics>,
    log: Sink,
    draining: CancellationToken,
    audience: Audience,
    started: Instant,
    api: Option<Api>,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Programs and people on this machine. A page of some other site can lead a browser here under a name of its own
    /// ("DNS rebinding") and read what comes; so requests for a name are refused, unless it is `localhost`.
    ThisMachine,
    /// Whoever reaches the port, under whatever name: the operator has opened it.
    Anyone,
}

impl Audience {
    /// The audience of an address that is listened on.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        if address.ip().is_loopback() { Self::ThisMachine } else { Self::Anyone }
    }

    /// A request without a `Host` is of no browser.
    fn has(self, head: &Parts) -> bool {
        self == Self::Anyone || head.headers.get_all(HOST).iter().all(|host| is_this_machine(host.as_bytes()))
    }
}

impl Admin {
    /// Tells about these rules and counters, and what the request log has lost; ready until `draining` is cancelled.
    #[must_use]
    pub fn new(
        rules: LiveRules,
        metrics: Arc<Metrics>,
        log: Sink,
        draining: CancellationToken,
        audience: Audience,
    ) -> Self {
        Self { rules, metrics, log, draining, audience, started: Instant::now(), api: None }
    }

    /// The same that also takes what programs tell an outbox who show this token.
    #[must_use]
    pub fn taking(self, token: Secret, outbox: Outbox) -> Self {
        Self { api: Some(Api::new(token, outbox)), ..self }
    }

    /// Written elsewhere: with ten thousand pairs it takes a while, and no visitor waits behind it.
    async fn counted(&self) -> String {
        let (metrics, dropped) = (Arc::clone(&self.metrics), self.log.dropped());
        let written = spawn_blocking(move || metrics.encode(dropped));
        written.await.unwrap_or_default()
    }

    fn page(&self, query: &str) -> String {
        page::render(&self.rules.load(), &self.metrics, self.started.elapsed(), &Asked::parse(query))
    }

    async fn told(&self, head: Parts) -> Response<Content> {
        if !self.audience.has(&head) {
            return answer(StatusCode::MISDIRECTED_REQUEST, TEXT, "unknown_host\n".to_owned());
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method_not_allowed\n".to_owned());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match head.uri.path() {
            "/livez" => answer(StatusCode::OK, TEXT, "alive\n".to_owned()),
            "/readyz" if self.draining.is_cancelled() => {
                answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n".to_owned())
            }
            "/readyz" => answer(StatusCode::OK, TEXT, "ready\n".to_owned()),
            "/metrics" => answer(StatusCode::OK, OPEN_METRICS, self.counted().await),
            "/" => answer(StatusCode::OK, HTML, self.page(head.uri.query().unwrap_or_default())),
            _ => answer(StatusCode::NOT_FOUND, TEXT, "not_found\n".to_owned()),
        }
    }
}

impl Answer for Admin {
    fn answer(&self, head: Parts, _peer: IpAddr) -> Answered<'_> {
        server::later(self.told(head))
    }

    fn answer_with_body(&self, head: Parts, body: Incoming, peer: IpAddr) -> Answered<'_> {
        if !Api::has(head.uri.path()) || !self.audience.has(&head) {
            return self.answer(head, peer);
        }
        match &self.api {
            Some(api) => server::later(async move { api.answer(head, body, &self.rules.load_full().linker).await }),
            None => server::now(api::not_in_force()),
        }
    }
}

/// Whether a `Host` is an IP address or a name that always means this machine (RFC 6761, 6.3).
fn is_this_machine(host: &[u8]) -> bool {
    let Some(host) = Authority::try_from(host).ok().filter(|host| !host.as_str().contains('@')) else { return false };
    let name = host.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

fn answer(status: StatusCode, content: &'static str, body: String) -> Response<Content> {
    let mut response = Response::new(Content::from(body));
    *response.status_mut() = status;
    let fields = [
        (CONTENT_TYPE, content),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ];
    response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
