//! One request: its head becomes a visit, the visit a decision, the decision an answer and a line in the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::Response;
use hyper::http::request::Parts;

use super::content::Content;
use super::head::Asked;
use super::request_log::RequestLog;
use super::response;
use super::server::{self, Answer, Answered};
use super::teller::Teller;
use crate::link::{Decision, Visit};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
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
    /// Who is told of visits, if somebody is.
    teller: Option<Arc<Teller>>,
}

impl Handler {
    /// Answers by these rules, remembers used tokens there, writes to this log and counts here, on the first core.
    #[must_use]
    pub fn new(rules: LiveRules, used: Arc<UsedTokens>, log: RequestLog, metrics: Arc<Metrics>) -> Self {
        Self { rules, used, log, metrics, core: 0, teller: None }
    }

    /// The same that puts what visits leave to tell into an outbox.
    #[must_use]
    pub fn telling(self, outbox: Outbox) -> Self {
        Self { teller: Some(Arc::new(Teller::new(outbox))), ..self }
    }

    /// The same for the event loop of another core, with a log and counters that it shares with no other.
    #[must_use]
    pub fn on_core(&self, core: usize) -> Self {
        Self { core, log: self.log.another(), ..self.clone() }
    }

    /// Decides on a request whose token a store must be asked about.
    async fn answer_when_proven(&self, head: Parts, peer: IpAddr, came: Came) -> Response<Content> {
        let rules = self.rules.load_full();
        let asked = Asked::of(&head);
        let visit = visit(&rules, &asked, peer, came);
        let mut decision = rules.linker.decide(&visit);
        if let Some(token) = decision.first_use()
            && let Err(why) = self.used.admit(token, visit.now).await
        {
            decision = decision.not_first(why);
        }
        self.note(&decision, &rules, &asked, visit.trusted, came);
        response::of(decision, &head.method, head.headers)
    }

    /// Counts and logs a decision, and leaves what is to be told of it to the outbox.
    fn note(&self, decision: &Decision<'_>, rules: &Rules, asked: &Asked<'_>, trusted: bool, came: Came) {
        if let (Some(teller), Some(tell)) = (&self.teller, decision.tell()) {
            let at = came.by_clock.duration_since(UNIX_EPOCH).unwrap_or_default();
            teller.tell(tell, at.as_secs());
        }
        let took = came.by_timer.elapsed();
        self.metrics.count(self.core, decision, &rules.counts, took);
        let status = response::status(decision, &asked.head.headers).as_u16();
        self.log.write(decision, asked, trusted, status, came.by_clock, took);
    }
}

/// What these rules need to know of a request.
fn visit<'a>(rules: &Rules, asked: &'a Asked<'_>, peer: IpAddr, came: Came) -> Visit<'a> {
    let random = rules.linker.mints().then(random).flatten();
    Visit { trusted: rules.trusts(peer), random, ..asked.visit(came.by_clock) }
}

/// Bits that nobody can guess; without them nothing is made of them.
fn random() -> Option<[u8; 16]> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).ok().map(|()| bits)
}

/// When a request came.
#[derive(Clone, Copy)]
struct Came {
    by_clock: SystemTime,
    /// For how long its answer took: a clock may be set back.
    by_timer: Instant,
}

impl Answer for Handler {
    fn answer(&self, head: Parts, peer: IpAddr) -> Answered<'_> {
        let came = Came { by_clock: SystemTime::now(), by_timer: Instant::now() };
        let rules = self.rules.load();
        let asked = Asked::of(&head);
        let visit = visit(&rules, &asked, peer, came);
        let mut decision = rules.linker.decide(&visit);
        if let Some(token) = decision.first_use() {
            match self.used.admit_at_once(token, visit.now) {
                Some(Ok(())) => {}
                Some(Err(why)) => decision = decision.not_first(why),
                // While the store is waited for there may be other rules: what was decided by these is forgotten.
                None => return server::later(self.answer_when_proven(head, peer, came)),
            }
        }
        self.note(&decision, &rules, &asked, visit.trusted, came);
        server::now(response::of(decision, &head.method, head.headers))
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
