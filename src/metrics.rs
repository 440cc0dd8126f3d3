//! What is counted, for Prometheus and for the status page.
//!
//! Labels come from closed sets and from the configuration, never from a request.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::link::{Class, Decision, DomainPair, Identify, NotCarried, Outcome, Refusal, Role};

type Labels = Vec<(&'static str, String)>;

/// All counters of the process; they live as long as it does, over every reload.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    hand_offs: Family<Labels, Counter>,
    landings: Family<Labels, Counter>,
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

/// The counters of one pair, made when it is used for the first time: most of very many pairs may never be.
#[derive(Debug, Default)]
pub struct PairCounts(OnceLock<Handles>);

#[derive(Debug)]
struct Handles {
    hand_offs: Vec<Counter>,
    landings: Vec<Counter>,
}

impl Metrics {
    /// All of them, at nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("crosslink");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Which crosslink this is", Info::new(version));
        let hand_offs = Family::<Labels, Counter>::default();
        registry.register("handoffs", "Redirects from an origin, by the identity that went along", hand_offs.clone());
        let landings = Family::<Labels, Counter>::default();
        registry.register("landings", "Arrivals on a destination, by what became of the identity", landings.clone());
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
        let counter = match decision {
            Decision::HandOff(hand_off) => {
                let of_pair = counts.get(hand_off.pair.number).map(|counts| self.handles(counts, hand_off.pair));
                of_pair.and_then(|handles| handles.hand_offs.get(identity_number(hand_off.carried)))
            }
            Decision::Land(land) | Decision::Identify(Identify::Landed(land)) => {
                let of_pair = counts.get(land.pair.number).map(|counts| self.handles(counts, land.pair));
                of_pair.and_then(|handles| handles.landings.get(land.outcome as usize))
            }
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
    pub fn hand_offs(&self, pair: &DomainPair) -> Vec<(&'static str, u64)> {
        identities().map(|word| (word, count_of(&self.hand_offs, pair, "identity", word))).collect()
    }

    /// How often identities landed by a pair, by the words of the label `outcome`, under this and earlier configurations.
    #[must_use]
    pub fn landings(&self, pair: &DomainPair) -> Vec<(&'static str, u64)> {
        let words = Outcome::ALL.iter().map(|outcome| outcome.as_str());
        words.map(|word| (word, count_of(&self.landings, pair, "outcome", word))).collect()
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

    fn handles<'c>(&self, counts: &'c PairCounts, pair: &DomainPair) -> &'c Handles {
        counts.0.get_or_init(|| {
            let of = |family: &Family<Labels, Counter>, label, word: &str| {
                family.get_or_create_owned(&labels(pair, label, word))
            };
            let outcomes = Outcome::ALL.iter().filter(|_| pair.landing.is_some());
            Handles {
                hand_offs: identities().map(|word| of(&self.hand_offs, "identity", word)).collect(),
                landings: outcomes.map(|outcome| of(&self.landings, "outcome", outcome.as_str())).collect(),
            }
        })
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The words of the label `identity`: the classes, then why there is none.
fn identities() -> impl Iterator<Item = &'static str> {
    [Class::Named.as_str(), Class::Anonymous.as_str()].into_iter().chain(NotCarried::ALL.iter().map(|why| why.as_str()))
}

/// The place among [`identities`].
fn identity_number(carried: Result<Class, NotCarried>) -> usize {
    match carried {
        Ok(Class::Named) => 0,
        Ok(Class::Anonymous) => 1,
        Err(why) => 2 + why as usize,
    }
}

fn labels(pair: &DomainPair, label: &'static str, word: &str) -> Labels {
    vec![("pair", pair.name.clone()), (label, word.to_owned())]
}

/// What was counted so far, which is nothing for a pair that was never used.
fn count_of(family: &Family<Labels, Counter>, pair: &DomainPair, label: &'static str, word: &str) -> u64 {
    family.get(&labels(pair, label, word)).map_or(0, |counter| counter.get())
}

/// The code of a head that was refused unread.
const UNREADABLE: &str = "unreadable";

/// Seconds: from a decision's few microseconds to the 20 ms that a shared store may take, and what would be wrong.
const BUCKETS: [f64; 10] = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 5e-4, 2.5e-3, 1e-2, 2.5e-2, 1e-1];
