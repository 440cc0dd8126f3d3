//! One request: its head becomes a visit, the visit a decision, the decision an answer and a line in the log.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{COOKIE, HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method as HttpMethod, Response};

use super::request_log::RequestLog;
use super::response;
use super::server::Answer;
use crate::link::{Decision, Linker, Method, Visit, is_opt_out, is_prefetch};
use crate::replay::UsedTokens;

/// Answers requests by the rules of one [`Linker`].
#[derive(Clone, Debug)]
pub struct Handler {
    linker: Arc<Linker>,
    used: Arc<UsedTokens>,
    log: RequestLog,
}

impl Handler {
    /// Answers by these rules, remembers used tokens there, and writes to this log.
    #[must_use]
    pub fn new(linker: Arc<Linker>, used: Arc<UsedTokens>, log: RequestLog) -> Self {
        Self { linker, used, log }
    }

    /// A landing keeps its cookie only if its token was not used before.
    async fn proven<'l>(&self, decision: Decision<'l>, now: u64) -> Decision<'l> {
        let Decision::Land(land) = decision else { return decision };
        let Some(token) = land.first_use else { return Decision::Land(land) };
        match self.used.admit(token, now).await {
            Ok(()) => Decision::Land(land),
            Err(why) => Decision::Land(land.not_first(why)),
        }
    }
}

impl Answer for Handler {
    async fn answer(&self, head: Parts) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let (decision, now) = with_visit(&head, |visit| (self.linker.decide(visit), visit.now));
        let decision = self.proven(decision, now).await;
        let response = response::of(&decision);
        self.log.write(&decision, &head, response.status().as_u16(), started.elapsed());
        response
    }

    fn unreadable(&self, too_large: bool) {
        self.log.write_unreadable(too_large);
    }
}

/// Borrows from a request's head the facts that a decision rests on.
pub fn with_visit<T>(head: &Parts, look: impl FnOnce(&Visit<'_>) -> T) -> T {
    let cookies: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let fields = |name| head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    // Of a field that stands there twice the more careful reading counts: a prefetch, an opt-out, no navigation.
    let first_if = |name, counts: fn(&[u8]) -> bool| fields(name).find(|value| counts(value)).or(fields(name).next());
    let once = |name| fields(name).next().map(|value| if fields(name).count() == 1 { value } else { b"" });
    let mut hosts = head.headers.get_all(HOST).iter();
    look(&Visit {
        method: match head.method {
            HttpMethod::GET => Method::Get,
            HttpMethod::HEAD => Method::Head,
            _ => Method::Other,
        },
        host: hosts.next().filter(|_| hosts.next().is_none()).map(HeaderValue::as_bytes),
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
    })
}
