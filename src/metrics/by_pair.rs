//! Counters that each pair has for itself.
//!
//! A request counts on the core that serves it; the sums are made when somebody asks for them. A family of the library
//! would be locked for as long as it is written out, and whoever uses a pair for the first time would wait for that;
//! with ten thousand pairs a visitor would feel it. Here the lock is held only to take note of who is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::FIRST_OUTCOME;
use super::count::Count;
use crate::link::Outcome;

/// What is counted for one pair, for each core in a place of its own.
#[derive(Debug)]
pub(super) struct Counters(Box<[OnCore]>);

/// Aligned to what processors share, so that no core waits for another one's count.
#[derive(Debug, Default)]
#[repr(align(64))]
struct OnCore([Count; PLACES]);

/// The counters of all pairs, by their names, under which they outlive every reload.
#[derive(Debug)]
pub(super) struct ByPair {
    cores: usize,
    pairs: Mutex<BTreeMap<String, Arc<Counters>>>,
}

/// One kind of event, counted by a word that says more.
#[derive(Debug)]
pub(super) struct Family {
    pub name: &'static str,
    pub help: &'static str,
    /// What the word tells.
    pub label: &'static str,
    pub words: Vec<&'static str>,
    /// Where the counters of the words begin.
    pub first: usize,
}

/// A family as it is collected.
#[derive(Debug)]
pub(super) struct Collected {
    pub family: Family,
    pub by_pair: Arc<ByPair>,
}

impl Counters {
    fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| OnCore::default()).collect())
    }

    /// Counts one event on a core.
    pub(super) fn count(&self, core: usize, place: usize) {
        if let Some(counter) = self.0.get(core).and_then(|on_core| on_core.0.get(place)) {
            counter.add(1);
        }
    }

    fn sum(&self, place: usize) -> u64 {
        self.0.iter().filter_map(|on_core| on_core.0.get(place)).map(Count::get).sum()
    }
}

impl ByPair {
    pub(super) fn new(cores: usize) -> Self {
        Self { cores, pairs: Mutex::default() }
    }

    /// The counters of a pair, made if it has none.
    pub(super) fn counters(&self, pair: &str) -> Arc<Counters> {
        Arc::clone(self.lock().entry(pair.to_owned()).or_insert_with(|| Arc::new(Counters::new(self.cores))))
    }

    /// How often what happened, by its word; nothing if nothing of the family ever did.
    pub(super) fn counted(&self, family: &Family, pair: &str) -> Vec<(&'static str, u64)> {
        let counters = self.lock().get(pair).map(Arc::clone);
        counters.map(|counters| family.counted(&counters)).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Counters>>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Family {
    fn counted(&self, counters: &Counters) -> Vec<(&'static str, u64)> {
        let counts: Vec<_> =
            self.words.iter().enumerate().map(|(number, word)| (*word, counters.sum(self.first + number))).collect();
        if counts.iter().all(|(_, count)| *count == 0) { Vec::new() } else { counts }
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Self { family, by_pair } = self;
        let pairs = by_pair.lock().clone();
        let mut encoder = encoder.encode_descriptor(family.name, family.help, None, MetricType::Counter)?;
        for (pair, counters) in &pairs {
            for (word, count) in family.counted(counters) {
                let labels = [("pair", pair.as_str()), (family.label, word)];
                ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Places for all the words of all families.
const PLACES: usize = FIRST_OUTCOME + Outcome::ALL.len();

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_pair_is_counted_under_its_name_on_whatever_core() {
        let by_pair = Arc::new(ByPair::new(2));
        let family = || Family { name: "visits", help: "Visits.", label: "of", words: vec!["a", "b"], first: 1 };
        assert_eq!(by_pair.counted(&family(), "one \"1\""), []);
        for core in [0, 1] {
            by_pair.counters("one \"1\"").count(core, 2);
        }
        by_pair.counters("two").count(0, 0);
        assert_eq!(by_pair.counted(&family(), "one \"1\""), [("a", 0), ("b", 2)]);
        assert_eq!(by_pair.counted(&family(), "two"), []);
        let mut registry = Registry::with_prefix("test");
        registry.register_collector(Box::new(Collected { family: family(), by_pair }));
        let mut written = String::new();
        text::encode(&mut written, &registry).unwrap();
        let series = r#"test_visits_total{pair="one \"1\"",of="a"} 0
test_visits_total{pair="one \"1\"",of="b"} 2
"#;
        assert_eq!(written, format!("# HELP test_visits Visits.\n# TYPE test_visits counter\n{series}# EOF\n"));
    }
}
