//! What each core counts for itself, whatever the pair: refusals, headers that did not count, and how long answers
//! took.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use super::count::Count;
use crate::link::{Refusal, Role, Unheard};

/// All cores.
#[derive(Debug)]
pub(super) struct ByCore(Box<[Core]>);

/// Aligned to what processors share, so that no core waits for another one's count.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Core {
    /// By `Refusal as usize`, and behind them the heads that nobody could read.
    refusals: [Count; Refusal::ALL.len() + 1],
    /// By `Unheard as usize`.
    unheard: [Count; Unheard::ALL.len()],
    /// By `Role as usize`.
    durations: [Durations; Role::ALL.len()],
}

#[derive(Debug, Default)]
struct Durations {
    /// By the first bound that is not exceeded, and behind them those that exceed all.
    buckets: [Count; BOUNDS.len() + 1],
    nanoseconds: Count,
}

/// All cores' refusals as they are collected.
#[derive(Debug)]
pub(super) struct Refusals(pub Arc<ByCore>);

/// All cores' headers that named a visitor and did not count, as they are collected.
#[derive(Debug)]
pub(super) struct UnheardHeaders(pub Arc<ByCore>);

/// All cores' durations as they are collected.
#[derive(Debug)]
pub(super) struct RequestDurations(pub Arc<ByCore>);

impl ByCore {
    pub(super) fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| Core::default()).collect())
    }

    /// Counts an answer, and why nothing was served if so.
    pub(super) fn count(&self, core: usize, role: Role, refusal: Option<Refusal>, took: Duration) {
        let Some(core) = self.0.get(core) else { return };
        if let Some(counter) = refusal.and_then(|refusal| core.refusals.get(refusal as usize)) {
            counter.add(1);
        }
        if let Some(durations) = core.durations.get(role as usize) {
            let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            let bucket = BOUNDS.iter().position(|(bound, _)| nanoseconds <= *bound).unwrap_or(BOUNDS.len());
            if let Some(counter) = durations.buckets.get(bucket) {
                counter.add(1);
            }
            durations.nanoseconds.add(nanoseconds);
        }
    }

    /// Counts a header that named a visitor and did not count.
    pub(super) fn count_unheard(&self, core: usize, why: Unheard) {
        if let Some(counter) = self.0.get(core).and_then(|core| core.unheard.get(why as usize)) {
            counter.add(1);
        }
    }

    /// Counts a head that nobody could read.
    pub(super) fn count_unreadable(&self, core: usize) {
        if let Some(counter) = self.0.get(core).and_then(|core| core.refusals.last()) {
            counter.add(1);
        }
    }

    /// How often requests were refused, by code.
    pub(super) fn refusals(&self) -> Vec<(&'static str, u64)> {
        let codes = Refusal::ALL.iter().map(|refusal| refusal.code()).chain([UNREADABLE]);
        codes.enumerate().map(|(number, code)| (code, self.sum(|core| core.refusals.get(number)))).collect()
    }

    fn sum(&self, counter: impl Fn(&Core) -> Option<&Count>) -> u64 {
        self.0.iter().filter_map(counter).map(Count::get).sum()
    }
}

impl Collector for Refusals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Requests that were not served, by code.";
        let mut family = encoder.encode_descriptor("refusals", help, None, MetricType::Counter)?;
        for (code, count) in self.0.refusals() {
            ConstCounter::new(count).encode(family.encode_family(&[("code", code)])?)?;
        }
        Ok(())
    }
}

impl Collector for UnheardHeaders {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Headers that named a visitor and did not count, by the reason.";
        let mut family = encoder.encode_descriptor("unheard_headers", help, None, MetricType::Counter)?;
        for why in Unheard::ALL {
            let count = self.0.sum(|core| core.unheard.get(*why as usize));
            ConstCounter::new(count).encode(family.encode_family(&[("reason", why.as_str())])?)?;
        }
        Ok(())
    }
}

impl Collector for RequestDurations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (name, help) = ("request_duration", "From a request's head to its answer.");
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for role in Role::ALL {
            let bounds = BOUNDS.iter().map(|(_, seconds)| *seconds).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds
                .enumerate()
                .map(|(number, bound)| {
                    (bound, self.0.sum(|core| core.durations.get(*role as usize)?.buckets.get(number)))
                })
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let nanoseconds = self.0.sum(|core| Some(&core.durations.get(*role as usize)?.nanoseconds));
            let sum = Duration::from_nanos(nanoseconds).as_secs_f64();
            let labels = [("role", role.as_str())];
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// The code of a head that was refused unread.
const UNREADABLE: &str = "unreadable";

/// In nanoseconds and in seconds: from a decision's few microseconds to the 20 ms that a shared store may take, and
/// what would be wrong.
const BOUNDS: [(u64, f64); 10] = [
    (5_000, 5e-6),
    (10_000, 1e-5),
    (25_000, 2.5e-5),
    (50_000, 5e-5),
    (100_000, 1e-4),
    (500_000, 5e-4),
    (2_500_000, 2.5e-3),
    (10_000_000, 1e-2),
    (25_000_000, 2.5e-2),
    (100_000_000, 1e-1),
];
