//! One request: its head becomes a visit, the visit a decision, the decision an answer and a line in the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::http::request::Parts;

use super::head::with_visit;
use super::request_log::RequestLog;
use super::response;
use super::server::{self, Answer, Answered};
use crate::link::{Decision, NotFirst};
use crate::metrics::Metrics;
use crate::replay::UsedTokens;
use crate::rules::{LiveRules, Rules};

/// Answers requests by the rules that are in force when they come.
#[derive(Clone, Debug)]
pub struct Handler {
    rules: LiveRules,
    used: Arc<UsedTokens>,
    log: RequestLog,
    metrics: Arc<Metrics>,
    core: usize,
}

impl Handler {
    /// Answers by these rules, remembers used tokens there, writes to this log and counts here, on the first core.
    #[must_use]
    pub fn new(rules: LiveRules, used: Arc<UsedTokens>, log: RequestLog, metrics: Arc<Metrics>) -> Self {
        Self { rules, used, log, metrics, core: 0 }
    }

    /// The same for the event loop of another core, with a log and counters that it shares with no other.
    #[must_use]
    pub fn on_core(&self, core: usize) -> Self {
        Self { core, log: self.log.another(), ..self.clone() }
    }

    /// Decides on a request whose token a store must be asked about.
    async fn answer_when_proven(&self, head: Parts, peer: IpAddr, came: Came) -> Response<Full<Bytes>> {
        let rules = self.rules.load_full();
        let (decision, now) = decide(&rules, &head, came);
        let proven = match decision.first_use() {
            Some(token) => self.used.admit(token, now).await,
            None => Ok(()),
        };
        self.conclude(decision, proven, &rules, head, peer, came)
    }

    /// The answer, once it is known whether a token is on its first use; counted and logged.
    fn conclude(
        &self,
        decision: Decision<'_>,
        proven: Result<(), NotFirst>,
        rules: &Rules,
        head: Parts,
        peer: IpAddr,
        came: Came,
    ) -> Response<Full<Bytes>> {
        let decision = match proven {
            Ok(()) => decision,
            Err(why) => decision.not_first(why),
        };
        let took = came.by_timer.elapsed();
        self.metrics.count(self.core, &decision, &rules.counts, took);
        let status = response::status(&decision, &head.headers).as_u16();
        self.log.write(&decision, &head, rules.trusts(peer), status, came.by_clock, took);
        response::of(decision, head.headers)
    }
}

/// When a request came.
#[derive(Clone, Copy)]
struct Came {
    by_clock: SystemTime,
    /// For how long its answer took: a clock may be set back.
    by_timer: Instant,
}

fn decide<'l>(rules: &'l Rules, head: &Parts, came: Came) -> (Decision<'l>, u64) {
    with_visit(head, came.by_clock, |visit| (rules.linker.decide(visit), visit.now))
}

impl Answer for Handler {
    fn answer(&self, head: Parts, peer: IpAddr) -> Answered<'_> {
        let came = Came { by_clock: SystemTime::now(), by_timer: Instant::now() };
        let rules = self.rules.load();
        let (decision, now) = decide(&rules, &head, came);
        let proven = match decision.first_use() {
            Some(token) => self.used.admit_at_once(token, now),
            None => Some(Ok(())),
        };
        match proven {
            Some(proven) => server::now(self.conclude(decision, proven, &rules, head, peer, came)),
            // While the store is waited for there may be other rules: what was decided by these is forgotten.
            None => server::later(self.answer_when_proven(head, peer, came)),
        }
    }

    fn unreadable(&self, too_large: bool) {
        self.metrics.count_unreadable(self.core);
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
