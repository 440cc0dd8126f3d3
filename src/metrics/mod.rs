//! What is counted, for Prometheus and for the status page.
//!
//! Labels come from closed sets and from the configuration, never from a request.

mod by_core;
mod by_pair;
mod count;
mod outbox;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::link::{Class, Decision, HandOff, Identify, Land, NotCarried, Outcome, Pair};
use by_core::{ByCore, Refusals, RequestDurations, UnheardHeaders};
use by_pair::{ByPair, Collected, Counters, Family};

pub use outbox::{Attempt, Fate, Hindrance, OutboxCounts};

/// All counters of the process; they live as long as it does, over every reload.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    by_core: Arc<ByCore>,
    by_pair: Arc<ByPair>,
    /// Connections that are open.
    pub connections: Gauge,
    /// The most that are served at a time.
    pub connections_limit: Gauge,
    /// TLS handshakes that began and failed, or took too long.
    pub tls_handshake_failures: Counter,
    minted: Counter,
    forgotten: Counter,
    log_dropped: Counter,
    reload_successful: Gauge,
    reload_timestamp: Gauge<f64, AtomicU64>,
    outbox: Option<Arc<OutboxCounts>>,
}

/// The counters of one pair, looked up when it is used for the first time: most of very many pairs may never be.
#[derive(Debug, Default)]
pub struct PairCounts(OnceLock<Arc<Counters>>);

impl Metrics {
    /// All of them, at nothing, for so many event loops that count each for itself.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let mut registry = Registry::with_prefix("crosslink");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Which crosslink this is", Info::new(version));
        let by_pair = Arc::new(ByPair::new(cores));
        for family in [hand_offs(), landings()] {
            registry.register_collector(Box::new(Collected { family, by_pair: Arc::clone(&by_pair) }));
        }
        let by_core = Arc::new(ByCore::new(cores));
        registry.register_collector(Box::new(Refusals(Arc::clone(&by_core))));
        registry.register_collector(Box::new(UnheardHeaders(Arc::clone(&by_core))));
        registry.register_collector(Box::new(RequestDurations(Arc::clone(&by_core))));
        let metrics = Self {
            by_core,
            by_pair,
            connections: Gauge::default(),
            connections_limit: Gauge::default(),
            tls_handshake_failures: Counter::default(),
            minted: Counter::default(),
            forgotten: Counter::default(),
            log_dropped: Counter::default(),
            reload_successful: Gauge::default(),
            reload_timestamp: Gauge::default(),
            outbox: None,
            registry,
        };
        metrics.registered()
    }

    /// Registers what is one number for the whole program.
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("connections", "Connections that are open", self.connections.clone());
        let help = "Connections that are served at a time; newcomers wait";
        registry.register("connections_limit", help, self.connections_limit.clone());
        let help = "TLS handshakes that began and failed, or took too long";
        registry.register("tls_handshake_failures", help, self.tls_handshake_failures.clone());
        let help = "Visitors without an identity who got one of crosslink's own";
        registry.register("minted_identities", help, self.minted.clone());
        let help = "Requests that ended the identity cookies of a visitor";
        registry.register("forgotten", help, self.forgotten.clone());
        let help = "Lines of the request log that were lost, because nothing took them";
        registry.register("log_dropped_lines", help, self.log_dropped.clone());
        let help = "Whether the configuration was fine when it was last read";
        registry.register("config_last_reload_successful", help, self.reload_successful.clone());
        let (name, help) = ("config_last_reload_success_timestamp", "When the configuration in force was read");
        registry.register_with_unit(name, help, Unit::Seconds, self.reload_timestamp.clone());
        self
    }

    /// Counts for an outbox too, from now on.
    pub fn add_outbox(&mut self) -> Arc<OutboxCounts> {
        let counts = Arc::new(OutboxCounts::registered(&mut self.registry));
        self.outbox = Some(Arc::clone(&counts));
        counts
    }

    /// The counters of the outbox, if there is one.
    #[must_use]
    pub fn outbox(&self) -> Option<&OutboxCounts> {
        self.outbox.as_deref()
    }

    /// Counts one answer on a core.
    pub fn count(&self, core: usize, decision: &Decision<'_>, counts: &[PairCounts], took: Duration) {
        let of_pair = match decision {
            Decision::HandOff(HandOff { pair, carried, .. }) => Some((pair, identity_place(*carried))),
            Decision::Land(Land { pair, outcome, .. })
            | Decision::Identify(Identify::Landed(Land { pair, outcome, .. })) => {
                Some((pair, FIRST_OUTCOME + *outcome as usize))
            }
            _ => None,
        };
        if let Some((pair, place)) = of_pair
            && let Some(PairCounts(counters)) = counts.get(pair.number)
        {
            counters.get_or_init(|| self.by_pair.counters(pair.name)).count(core, place);
        }
        match decision {
            Decision::HandOff(HandOff { set_cookie: Some(_), .. }) => self.minted.inc(),
            Decision::Forget(_) => self.forgotten.inc(),
            _ => 0,
        };
        if let Some(why) = decision.unheard() {
            self.by_core.count_unheard(core, why);
        }
        self.by_core.count(core, decision.role(), decision.refusal(), took);
    }

    /// Counts a head that nobody could read.
    pub fn count_unreadable(&self, core: usize) {
        self.by_core.count_unreadable(core);
    }

    /// Notes that the configuration was read, and whether it is in force now.
    pub fn reloaded(&self, successful: bool) {
        self.reload_successful.set(i64::from(successful));
        if successful {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.reload_timestamp.set(now.as_secs_f64());
        }
    }

    /// Whether the configuration was fine when it was last read.
    #[must_use]
    pub fn last_reload_successful(&self) -> bool {
        self.reload_successful.get() == 1
    }

    /// How often a pair handed off, by the words of the label `identity`, under this and earlier configurations.
    #[must_use]
    pub fn hand_offs(&self, pair: &Pair<'_>) -> Vec<(&'static str, u64)> {
        self.by_pair.counted(&hand_offs(), pair.name)
    }

    /// How often identities landed by a pair, by the words of the label `outcome`, under this and earlier
    /// configurations.
    #[must_use]
    pub fn landings(&self, pair: &Pair<'_>) -> Vec<(&'static str, u64)> {
        self.by_pair.counted(&landings(), pair.name)
    }

    /// How often requests were refused, by code.
    #[must_use]
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.by_core.refusals()
    }

    /// Everything, in the text format of `OpenMetrics`. `log_dropped` is how many lines the request log has lost so
    /// far.
    #[must_use]
    pub fn encode(&self, log_dropped: u64) -> String {
        self.log_dropped.inner().store(log_dropped, Ordering::Relaxed);
        if let Some(outbox) = &self.outbox {
            outbox.refresh();
        }
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// For one event loop.
impl Default for Metrics {
    fn default() -> Self {
        Self::new(1)
    }
}

fn hand_offs() -> Family {
    let classes = [Class::Named.as_str(), Class::Anonymous.as_str()].into_iter();
    Family {
        name: "handoffs",
        help: "Redirects from an origin, by the identity that went along.",
        label: "identity",
        words: classes.chain(NotCarried::ALL.iter().map(|why| why.as_str())).collect(),
        first: 0,
    }
}

fn landings() -> Family {
    Family {
        name: "landings",
        help: "Arrivals on a destination, by what became of the identity.",
        label: "outcome",
        words: Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect(),
        first: FIRST_OUTCOME,
    }
}

/// The place among the words of [`hand_offs`].
fn identity_place(carried: Result<Class, NotCarried>) -> usize {
    match carried {
        Ok(Class::Named) => 0,
        Ok(Class::Anonymous) => 1,
        Err(why) => FIRST_NOT_CARRIED + why as usize,
    }
}

/// Behind the places of the two classes.
const FIRST_NOT_CARRIED: usize = 2;
/// Behind the places of [`hand_offs`]; the last ones of all are those of [`landings`].
const FIRST_OUTCOME: usize = FIRST_NOT_CARRIED + NotCarried::ALL.len();
