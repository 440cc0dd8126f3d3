//! What a decision costs by the clock, and in allocations.
//!
//! `cargo bench --bench decide_time`; `decide.rs` counts the same cases in instructions.

mod cases;

use cases::{Case, Kind};
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Each case over ten hosts.
#[divan::bench(args = [
    Kind::Link, Kind::To, Kind::ToWithoutIdentity, Kind::ToWildcard, Kind::ToParsed, Kind::Landing, Kind::Refused,
    Kind::LongTo, Kind::HostileTo, Kind::ManyCookies, Kind::ManyLabels,
])]
fn ten_hosts(bencher: Bencher<'_, '_>, kind: Kind) {
    decide(bencher, kind, 10);
}

/// What may depend on the number of hosts.
#[divan::bench(args = [Kind::Link, Kind::To, Kind::ToWildcard, Kind::Landing])]
fn thousand_hosts(bencher: Bencher<'_, '_>, kind: Kind) {
    decide(bencher, kind, 1_000);
}

/// The same.
#[divan::bench(args = [Kind::Link, Kind::To, Kind::ToWildcard, Kind::Landing])]
fn hundred_thousand_hosts(bencher: Bencher<'_, '_>, kind: Kind) {
    decide(bencher, kind, 100_000);
}

fn decide(bencher: Bencher<'_, '_>, kind: Kind, hosts: usize) {
    let case = Case::new(kind, hosts);
    bencher.bench_local(|| case.decide(|decision| drop(decision)));
}
