//! Counters that each pair has for itself.
//!
//! A family of the library would be locked for as long as it is written out, and whoever uses a pair for the first time would
//! wait for that; with ten thousand pairs a visitor would feel it. Here the lock is held only to take note of who is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;

/// One kind of event, counted by pair and by a word that says more.
#[derive(Debug)]
pub(super) struct ByPair {
    pub name: &'static str,
    pub help: &'static str,
    /// What the word tells.
    pub label: &'static str,
    pub words: Vec<&'static str>,
    /// By the pairs' names, under which they outlive every reload.
    pub pairs: Pairs,
}

pub(super) type Pairs = Mutex<BTreeMap<String, Counters>>;

/// A counter for each word.
pub(super) type Counters = Arc<[Counter]>;

impl ByPair {
    /// The counters of a pair, made if it has none.
    pub(super) fn counters(&self, pair: &str) -> Counters {
        let make = || self.words.iter().map(|_| Counter::default()).collect();
        Arc::clone(self.lock().entry(pair.to_owned()).or_insert_with(make))
    }

    /// How often what happened, by its word; nothing if the pair has no counters.
    pub(super) fn counted(&self, pair: &str) -> Vec<(&'static str, u64)> {
        let counters = self.lock().get(pair).map(Arc::clone);
        let counts = counters.iter().flat_map(|counters| counters.iter()).map(Counter::get);
        self.words.iter().copied().zip(counts).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Counters>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for ByPair {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let pairs = self.lock().clone();
        let mut family = encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        for (pair, counters) in &pairs {
            for (word, counter) in self.words.iter().zip(counters.iter()) {
                counter.encode(family.encode_family(&[("pair", pair.as_str()), (self.label, word)])?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_pair_is_counted_under_its_name_whoever_holds_its_counters() {
        let pairs = Pairs::default();
        let events = Arc::new(ByPair { name: "visits", help: "Visits.", label: "of", words: vec!["a", "b"], pairs });
        assert_eq!(events.counted("one \"1\""), []);
        for counters in [events.counters("one \"1\""), events.counters("one \"1\"")] {
            counters[1].inc();
        }
        assert_eq!(events.counted("one \"1\""), [("a", 0), ("b", 2)]);
        let mut registry = Registry::with_prefix("test");
        registry.register_collector(Box::new(Arc::clone(&events)));
        let mut written = String::new();
        text::encode(&mut written, &registry).unwrap();
        let series = r#"test_visits_total{pair="one \"1\"",of="a"} 0
test_visits_total{pair="one \"1\"",of="b"} 2
"#;
        assert_eq!(written, format!("# HELP test_visits Visits.\n# TYPE test_visits counter\n{series}# EOF\n"));
    }
}
