//! What a decision costs in instructions, which repeat from run to run whatever else the machine does.
//!
//! `cargo bench --bench decide`; it needs valgrind, and `cargo install gungraun-runner` of the version in Cargo.lock.
//! `decide_time.rs` has the same cases by the clock and by allocations.

#![expect(missing_docs, reason = "the harness makes modules without docs")]

mod cases;

use cases::{Case, Kind};
use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};

// Decides, and drops the answer: what a request costs in the core.
#[library_benchmark(setup = Case::new)]
#[bench::link_10(Kind::Link, 10)]
#[bench::link_1_000(Kind::Link, 1_000)]
#[bench::link_100_000(Kind::Link, 100_000)]
#[bench::to_10(Kind::To, 10)]
#[bench::to_1_000(Kind::To, 1_000)]
#[bench::to_100_000(Kind::To, 100_000)]
#[bench::to_without_identity(Kind::ToWithoutIdentity, 10)]
#[bench::to_wildcard(Kind::ToWildcard, 10)]
#[bench::to_wildcard_100_000(Kind::ToWildcard, 100_000)]
#[bench::to_parsed(Kind::ToParsed, 10)]
#[bench::landing_10(Kind::Landing, 10)]
#[bench::landing_100_000(Kind::Landing, 100_000)]
#[bench::refused(Kind::Refused, 10)]
#[bench::long_to(Kind::LongTo, 10)]
#[bench::hostile_to(Kind::HostileTo, 10)]
#[bench::many_cookies(Kind::ManyCookies, 10)]
#[bench::many_labels(Kind::ManyLabels, 10)]
fn decide(case: Case) -> Case {
    case.decide(|decision| drop(decision));
    case
}

library_benchmark_group!(name = core, benchmarks = decide);
main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = core
);
