//! One request: its head becomes a visit, the visit a decision, the decision an answer and a line in the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request::Parts;

use super::head::with_visit;
use super::request_log::RequestLog;
use super::response;
use super::server::Answer;
use crate::link::{Decision, Identify, Land};
use crate::metrics::Metrics;
use crate::replay::UsedTokens;
use crate::rules::LiveRules;

/// Answers requests by the rules that are in force when they come.
#[derive(Clone, Debug)]
pub struct Handler {
    rules: LiveRules,
    used: Arc<UsedTokens>,
    log: RequestLog,
    metrics: Arc<Metrics>,
}

impl Handler {
    /// Answers by these rules, remembers used tokens there, writes to this log and counts here.
    #[must_use]
    pub fn new(rules: LiveRules, used: Arc<UsedTokens>, log: RequestLog, metrics: Arc<Metrics>) -> Self {
        Self { rules, used, log, metrics }
    }

    /// A landing keeps its cookie only if its token was not used before.
    async fn proven<'l>(&self, decision: Decision<'l>, now: u64) -> Decision<'l> {
        match decision {
            Decision::Land(land) => Decision::Land(self.proven_land(land, now).await),
            Decision::Identify(Identify::Landed(land)) => {
                Decision::Identify(Identify::Landed(self.proven_land(land, now).await))
            }
            other => other,
        }
    }

    async fn proven_land<'l>(&self, land: Land<'l>, now: u64) -> Land<'l> {
        let Some(token) = land.first_use else { return land };
        match self.used.admit(token, now).await {
            Ok(()) => land,
            Err(why) => land.not_first(why),
        }
    }
}

impl Answer for Handler {
    async fn answer(&self, head: Parts, peer: IpAddr) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let rules = self.rules.load_full();
        let (decision, now) = with_visit(&head, |visit| (rules.linker.decide(visit), visit.now));
        let decision = self.proven(decision, now).await;
        let response = response::of(&decision);
        let took = started.elapsed();
        self.metrics.count(&decision, &rules.counts, took);
        self.log.write(&decision, &head, rules.trusts(peer), response.status().as_u16(), took);
        response
    }

    fn unreadable(&self, too_large: bool) {
        self.metrics.count_unreadable();
        self.log.write_unreadable(too_large);
    }

    fn handshake_failed(&self) {
        self.metrics.tls_handshake_failures.inc();
    }

    fn opened(&self) {
        self.metrics.connections.inc();
    }

    fn closed(&self) {
        self.metrics.connections.dec();
    }
}
