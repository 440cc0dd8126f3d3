//! What is counted, for Prometheus and for the status page.
//!
//! Labels come from closed sets and from the configuration, never from a request.

mod by_pair;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::link::{Class, Decision, HandOff, Identify, Land, NotCarried, Outcome, Pair, Refusal, Role};
use by_pair::{ByPair, Counters, Pairs};

type Labels = Vec<(&'static str, String)>;

/// All counters of the process; they live as long as it does, over every reload.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    hand_offs: Arc<ByPair>,
    landings: Arc<ByPair>,
    /// By `Refusal as usize`, and so on below.
    refusals: Vec<Counter>,
    unreadable: Counter,
    durations: Vec<Histogram>,
    /// Connections that are open.
    pub connections: Gauge,
    /// The most that are served at a time.
    pub connections_limit: Gauge,
    log_dropped: Counter,
    reload_successful: Gauge,
    reload_timestamp: Gauge<f64, AtomicU64>,
}

/// The counters of one pair, looked up when it is used for the first time: most of very many pairs may never be.
#[derive(Debug, Default)]
pub struct PairCounts {
    hand_offs: OnceLock<Counters>,
    landings: OnceLock<Counters>,
}

impl Metrics {
    /// All of them, at nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("crosslink");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Which crosslink this is", Info::new(version));
        let [hand_offs, landings] = [hand_offs(), landings()].map(Arc::new);
        for by_pair in [&hand_offs, &landings] {
            registry.register_collector(Box::new(Arc::clone(by_pair)));
        }
        let refusals = Family::<Labels, Counter>::default();
        registry.register("refusals", "Requests that were not served, by code", refusals.clone());
        let durations = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let help = "From a request's head to its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        let connections = Gauge::default();
        registry.register("connections", "Connections that are open", connections.clone());
        let connections_limit = Gauge::default();
        let help = "Connections that are served at a time; newcomers wait";
        registry.register("connections_limit", help, connections_limit.clone());
        let log_dropped = Counter::default();
        let help = "Lines of the request log that were lost, because nothing took them";
        registry.register("log_dropped_lines", help, log_dropped.clone());
        let reload_successful = Gauge::default();
        let help = "Whether the configuration was fine when it was last read";
        registry.register("config_last_reload_successful", help, reload_successful.clone());
        let reload_timestamp = Gauge::default();
        let help = "When the configuration in force was read";
        let name = "config_last_reload_success_timestamp";
        registry.register_with_unit(name, help, Unit::Seconds, reload_timestamp.clone());
        let of_code = |code: &str| refusals.get_or_create_owned(&vec![("code", code.to_owned())]);
        let of_role = |role: &Role| durations.get_or_create_owned(&vec![("role", role.as_str().to_owned())]);
        Self {
            refusals: Refusal::ALL.iter().map(|refusal| of_code(refusal.code())).collect(),
            unreadable: of_code(UNREADABLE),
            durations: Role::ALL.iter().map(of_role).collect(),
            registry,
            hand_offs,
            landings,
            connections,
            connections_limit,
            log_dropped,
            reload_successful,
            reload_timestamp,
        }
    }

    /// Counts one answer.
    pub fn count(&self, decision: &Decision<'_>, counts: &[PairCounts], took: Duration) {
        let of_pair = |pair: &Pair<'_>| counts.get(pair.number);
        let counter = match decision {
            Decision::HandOff(HandOff { pair, carried, .. }) => of_pair(pair).and_then(|counts| {
                let counters = counts.hand_offs.get_or_init(|| self.hand_offs.counters(pair.name));
                counters.get(identity_number(*carried))
            }),
            Decision::Land(Land { pair, outcome, .. })
            | Decision::Identify(Identify::Landed(Land { pair, outcome, .. })) => of_pair(pair).and_then(|counts| {
                let counters = counts.landings.get_or_init(|| self.landings.counters(pair.name));
                counters.get(*outcome as usize)
            }),
            Decision::HonoursGpc | Decision::Identify(Identify::Nothing) => None,
            Decision::Refuse(refusal, _) | Decision::Identify(Identify::Refused(refusal, _)) => {
                self.refusals.get(*refusal as usize)
            }
        };
        if let Some(counter) = counter {
            counter.inc();
        }
        if let Some(durations) = self.durations.get(decision.role() as usize) {
            durations.observe(took.as_secs_f64());
        }
    }

    /// Counts a head that nobody could read.
    pub fn count_unreadable(&self) {
        self.unreadable.inc();
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
        self.hand_offs.counted(pair.name)
    }

    /// How often identities landed by a pair, by the words of the label `outcome`, under this and earlier configurations.
    #[must_use]
    pub fn landings(&self, pair: &Pair<'_>) -> Vec<(&'static str, u64)> {
        self.landings.counted(pair.name)
    }

    /// How often requests were refused, by code.
    #[must_use]
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        let codes = Refusal::ALL.iter().map(|refusal| refusal.code());
        let counted = codes.zip(self.refusals.iter().map(Counter::get));
        counted.chain([(UNREADABLE, self.unreadable.get())]).collect()
    }

    /// Everything, in the text format of `OpenMetrics`. `log_dropped` is how many lines the request log has lost so far.
    ///
    /// # Errors
    ///
    /// None: writing to a text does not fail.
    pub fn encode(&self, log_dropped: u64) -> Result<String, fmt::Error> {
        self.log_dropped.inner().store(log_dropped, Ordering::Relaxed);
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn hand_offs() -> ByPair {
    let classes = [Class::Named.as_str(), Class::Anonymous.as_str()].into_iter();
    ByPair {
        name: "handoffs",
        help: "Redirects from an origin, by the identity that went along.",
        label: "identity",
        words: classes.chain(NotCarried::ALL.iter().map(|why| why.as_str())).collect(),
        pairs: Pairs::default(),
    }
}

fn landings() -> ByPair {
    ByPair {
        name: "landings",
        help: "Arrivals on a destination, by what became of the identity.",
        label: "outcome",
        words: Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect(),
        pairs: Pairs::default(),
    }
}

/// The place among the words of [`hand_offs`].
fn identity_number(carried: Result<Class, NotCarried>) -> usize {
    match carried {
        Ok(Class::Named) => 0,
        Ok(Class::Anonymous) => 1,
        Err(why) => 2 + why as usize,
    }
}

/// The code of a head that was refused unread.
const UNREADABLE: &str = "unreadable";

/// Seconds: from a decision's few microseconds to the 20 ms that a shared store may take, and what would be wrong.
const BUCKETS: [f64; 10] = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 5e-4, 2.5e-3, 1e-2, 2.5e-2, 1e-1];
