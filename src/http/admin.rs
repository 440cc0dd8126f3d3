//! The operator's port: is it alive, is it ready, what was counted, and a page for people.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use super::server::Answer;
use super::status_page::{self, Asked};
use crate::metrics::Metrics;
use crate::rules::LiveRules;
use crate::sink::Sink;

/// Answers the operator.
#[derive(Debug)]
pub struct Admin {
    rules: LiveRules,
    metrics: Arc<Metrics>,
    log: Sink,
    draining: CancellationToken,
    started: Instant,
}

impl Admin {
    /// Tells about these rules and counters, and what the request log has lost; ready until `draining` is cancelled.
    #[must_use]
    pub fn new(rules: LiveRules, metrics: Arc<Metrics>, log: Sink, draining: CancellationToken) -> Self {
        Self { rules, metrics, log, draining, started: Instant::now() }
    }

    fn page(&self, query: &str) -> String {
        status_page::render(&self.rules.load(), &self.metrics, self.started.elapsed(), &Asked::parse(query))
    }
}

impl Answer for Admin {
    async fn answer(&self, head: Parts, _peer: IpAddr) -> Response<Full<Bytes>> {
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
            "/metrics" => {
                answer(StatusCode::OK, OPEN_METRICS, self.metrics.encode(self.log.dropped()).unwrap_or_default())
            }
            "/" => answer(StatusCode::OK, HTML, self.page(head.uri.query().unwrap_or_default())),
            _ => answer(StatusCode::NOT_FOUND, TEXT, "not_found\n".to_owned()),
        }
    }
}

fn answer(status: StatusCode, content: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let fields = [
        (CONTENT_TYPE, content),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
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
