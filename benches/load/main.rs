//! How fast crosslink is beside other servers that do its job, or none: one command that starts them all, drives them
//! in turn and prints tables.
//!
//! `cargo bench --bench load -- --help`. Only ratios of one run mean anything: every round measures each server once,
//! in an order of its own, so what else happens on the machine meets all of them alike.

mod bare_hyper;
mod client;
mod counts;
mod crosslink;
mod drive;
mod ground;
mod growth;
mod host;
mod idle;
mod measure;
mod peers;
mod process;
mod readings;
mod report;
mod rounds;
mod scenario;
mod servers;
mod table;
mod traffic;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use scenario::Scenario;

/// What may fail here is shown to whoever started the command, in one line.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measures crosslink beside bare hyper, nginx, nginx with Lua, HAProxy and Go, as far as they are installed.
///
/// The server has core 0, the load generator core 1. Keep the machine quiet: each measurement waits for that, and is
/// done again if it was disturbed. The whole, with 15 rounds, takes about an hour.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    /// How often each server is measured; medians are shown
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Seconds of one measurement
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    secs: Option<u32>,
    /// Seconds to wait, at most, for a quiet machine before each measurement
    #[arg(long, value_name = "N")]
    wait: Option<u32>,
    /// The crosslink that is measured, beside the one that cargo has just built
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Only these servers, by their names, where several are compared
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these scenarios
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Small numbers of everything, to see that it works: 2 rounds of 1 s
    #[arg(long)]
    quick: bool,
    /// Write the report to this file as well; the prose between its markers stays
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// `cargo bench` says this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Role {
    /// The yardstick: hyper on one thread, one constant answer
    BareHyper {
        /// Where it listens, on 127.0.0.1
        #[arg(long)]
        port: u16,
    },
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often each server is measured.
    pub rounds: u32,
    /// Seconds of one measurement.
    pub secs: u32,
    /// Seconds to wait for a quiet machine.
    pub wait: u32,
    /// Whether this only shows that everything works.
    pub is_quick: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.role {
        Some(Role::BareHyper { port }) => bare_hyper::run(port),
        // `cargo test --all-targets` starts benchmarks too, but an hour of load is no test.
        None if !options.bench => {
            println!("nothing is measured: start it with `cargo bench --bench load`");
            Ok(())
        }
        None => run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    let quick = options.quick;
    let effort = Effort {
        rounds: options.rounds.unwrap_or(if quick { 2 } else { 15 }),
        secs: options.secs.unwrap_or(if quick { 1 } else { 3 }),
        wait: options.wait.unwrap_or(if quick { 1 } else { 15 }),
        is_quick: quick,
    };
    servers::known(&options.only)?;
    process::pin_all(process::Core::Client)?;
    process::end_all_when_told()?;
    let ground = ground::Ground::prepare(options.program.as_deref())?;
    for absent in ground::absent() {
        eprintln!("left out: {absent}");
    }
    let chosen = if options.scenario.is_empty() { Scenario::all() } else { options.scenario.clone() };
    let mut sections = Vec::new();
    for scenario in chosen {
        eprintln!("== {}", scenario.title());
        let section = scenario.run(&ground, effort, &options.only)?;
        println!("{section}");
        sections.push(section);
    }
    if let Some(file) = &options.report {
        report::write(file, &sections, &ground, effort)?;
    }
    Ok(())
}
