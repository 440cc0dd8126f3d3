//! What can be measured, and the tables of what is timed.

use std::fmt;

use clap::ValueEnum;

use crate::crosslink::{Job, Setup};
use crate::drive::{Load, Wire};
use crate::ground::{Ground, has};
use crate::measure::{Sample, sample};
use crate::rounds::Rounds;
use crate::servers::{Server, present};
use crate::table::{Table, mebibytes, number};
use crate::{Effort, Outcome, counts, growth, idle, traffic};

/// One of the things that are measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Scenario {
    /// 64 keep-alive connections.
    KeepAlive,
    /// Instructions, allocations and system calls of one request.
    Counts,
    /// Memory of 10,000 idle connections.
    Idle,
    /// 64 connections at a time, each for one request.
    OneRequest,
    /// 1,000 keep-alive connections.
    Crowd,
    /// 64 keep-alive connections over TLS.
    Tls,
    /// 64 connections of HTTP/2 over TLS.
    Http2,
    /// crosslink's other jobs: links, sealed hand-offs, landings.
    #[value(alias = "sealed", alias = "landing")]
    Jobs,
    /// Up to 100,000 hosts and pairs, and reloads of them.
    Growth,
}

impl Scenario {
    /// All of them, in the order of the report.
    pub fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// What the report calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::KeepAlive => "Keep-alive",
            Self::Counts => "What one request takes",
            Self::Idle => "Idle connections",
            Self::OneRequest => "One request a connection",
            Self::Crowd => "A thousand connections",
            Self::Tls => "TLS",
            Self::Http2 => "HTTP/2 over TLS",
            Self::Jobs => "Links, sealed hand-offs and landings",
            Self::Growth => "Growth",
        }
    }

    /// Measures it.
    pub fn run(self, ground: &Ground, effort: Effort, only: &[String]) -> Outcome<Section> {
        let load = |wire, connections| Load { wire, connections, secs: effort.secs };
        let all = || present(Server::all(), ground, only);
        let both = || present(vec![Server::crosslink(), Server::nginx()], ground, only);
        let section = match self {
            Self::KeepAlive => timed(&all(), ground, load(Wire::KeepAlive, 64), effort, KEEP_ALIVE),
            Self::Counts => counts::section(ground, effort, only),
            Self::Idle => idle::section(ground, effort, only),
            Self::OneRequest => timed(&all(), ground, load(Wire::OneRequest, 64), effort, ONE_REQUEST),
            Self::Crowd => timed(&all(), ground, load(Wire::KeepAlive, 1000), effort, CROWD),
            Self::Tls => timed(&both(), ground, load(Wire::Tls, 64), effort, TLS),
            Self::Http2 => timed(&both(), ground, load(Wire::Http2, 64), effort, HTTP2),
            Self::Jobs => jobs(ground, load(Wire::KeepAlive, 64), effort),
            Self::Growth => growth::section(ground, load(Wire::KeepAlive, 64), effort),
        };
        Ok(Section { title: self.title(), ..section? })
    }
}

/// A part of the report.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// What was done, and what the columns mean.
    pub text: String,
    /// What was found.
    pub tables: Vec<Table>,
    /// What is missing, or went wrong.
    pub notes: Vec<String>,
}

impl fmt::Display for Section {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "## {}\n\n{}", self.title, self.text)?;
        for table in &self.tables {
            write!(out, "\n{table}")?;
        }
        if !self.notes.is_empty() {
            writeln!(out, "\nLeft out, or troubled:\n")?;
        }
        for note in &self.notes {
            writeln!(out, "* {note}")?;
        }
        Ok(())
    }
}

/// Measures servers in rounds, and compares all with the yardstick, and crosslink with each.
fn timed(servers: &[Server], ground: &Ground, load: Load, effort: Effort, text: &str) -> Outcome<Section> {
    if let Some(section) = impossible(ground, load) {
        return Ok(section);
    }
    let rounds = measured(servers, ground, load, effort)?;
    let place = |key: &str| servers.iter().position(|server| server.key == key);
    let (base, unit) = match place("bare-hyper") {
        Some(number) => (Some(number), "bare hyper = 1"),
        None => (place("nginx"), "nginx = 1"),
    };
    let mut table = Table::new(&[
        "server",
        "does the job",
        "requests/s",
        unit,
        "CPU µs",
        unit,
        "user µs",
        "kernel µs",
        "p50 µs",
        "p99 µs",
        unit,
        "memory MiB",
        "first answer ms",
    ]);
    for (row, server) in servers.iter().enumerate().filter(|(row, _)| rounds.has(*row)) {
        table.push(vec![
            server.label.clone(),
            server.does.to_owned(),
            number(rounds.median(row, rate), 0),
            number(rounds.ratio(row, base, rate), 2),
            number(rounds.median(row, cpu), 2),
            number(rounds.ratio(row, base, cpu), 2),
            number(rounds.median(row, |found| found.cpu.user), 2),
            number(rounds.median(row, |found| found.cpu.system), 2),
            number(rounds.median(row, |found| found.p50), 0),
            number(rounds.median(row, p99), 0),
            number(rounds.ratio(row, base, p99), 2),
            mebibytes(rounds.median(row, memory)),
            number(rounds.median(row, |found| found.first_answer), 1),
        ]);
    }
    let mut tables = vec![table.without_empty_columns()];
    if let Some(own) = place("crosslink") {
        let mut beside = Table::new(&["crosslink beside", "throughput", "CPU", "p99", "memory"]);
        let others = servers
            .iter()
            .enumerate()
            .filter(|(row, server)| !server.key.starts_with("crosslink") && rounds.has(own) && rounds.has(*row));
        for (row, server) in others {
            let ratio = |value: fn(&Sample) -> f64| number(rounds.ratio(own, Some(row), value), 2);
            beside.push(vec![server.label.clone(), ratio(rate), ratio(cpu), ratio(p99), ratio(memory)]);
        }
        if !beside.is_empty() {
            tables.push(beside.without_empty_columns());
        }
    }
    Ok(Section { text: text.to_owned(), tables, notes: rounds.troubles, ..Section::default() })
}

/// crosslink's jobs beside each other, and what each costs more than a plain hand-off.
fn jobs(ground: &Ground, load: Load, effort: Effort) -> Outcome<Section> {
    if let Some(section) = impossible(ground, load) {
        return Ok(section);
    }
    let hosts = traffic::hosts(10);
    let with = |label: &str, job, requests| Server::crosslink_with(label, Setup { job, ..Setup::usual() }, requests);
    let servers = [
        with("hand-off by `to`", Job::Plain, traffic::hand_offs(&hosts)),
        with("hand-off by a link", Job::Plain, traffic::links()),
        with("sealed hand-off", Job::Sealed, traffic::hand_offs(&hosts)),
        with("landing", Job::Landing, traffic::landings(&hosts)),
    ];
    let rounds = measured(&servers, ground, load, effort)?;
    let mut table =
        Table::new(&["job", "requests/s", "plain = 1", "CPU µs", "plain = 1", "µs more", "p50 µs", "p99 µs"]);
    let plain = Some(0);
    for (row, server) in servers.iter().enumerate() {
        table.push(vec![
            server.label.clone(),
            number(rounds.median(row, rate), 0),
            number(rounds.ratio(row, plain, rate), 2),
            number(rounds.median(row, cpu), 2),
            number(rounds.ratio(row, plain, cpu), 2),
            number(rounds.difference(row, plain, cpu), 2),
            number(rounds.median(row, |found| found.p50), 0),
            number(rounds.median(row, p99), 0),
        ]);
    }
    Ok(Section { text: JOBS.to_owned(), tables: vec![table], notes: rounds.troubles, ..Section::default() })
}

/// Rounds over servers.
pub fn measured(servers: &[Server], ground: &Ground, load: Load, effort: Effort) -> Outcome<Rounds<Sample>> {
    Rounds::run(servers.len(), effort.rounds, |number| {
        let server = servers.get(number).ok_or("there is no such server")?;
        sample(server, ground, load, effort)
    })
}

/// Why this can't be measured here, in place of its tables.
pub fn impossible(ground: &Ground, load: Load) -> Option<Section> {
    let program = load.wire.program();
    let why = if !has(program) {
        format!("not measured, because `{program}` is not installed")
    } else if load.wire.speaks_tls() && ground.certificate.is_none() {
        "not measured, because `openssl` is not installed".to_owned()
    } else {
        return None;
    };
    Some(Section { notes: vec![why], ..Section::default() })
}

/// Answers a second.
pub fn rate(found: &Sample) -> f64 {
    found.rate
}

/// Microseconds of processor for each answer.
pub fn cpu(found: &Sample) -> f64 {
    found.cpu.all()
}

/// Microseconds that all but one of a hundred took at most.
pub fn p99(found: &Sample) -> f64 {
    found.p99
}

/// Bytes held after the load.
pub fn memory(found: &Sample) -> f64 {
    found.memory
}

const KEEP_ALIVE: &str = "\
64 connections, on each of which the next request follows as soon as the answer is there. The second table divides
crosslink by each other server: above 1 is better for throughput, below 1 for all else.";

const ONE_REQUEST: &str = "\
64 connections at a time, each closed after its one answer. Most of it is the kernel's work of opening and closing.";

const CROWD: &str =
    "1,000 keep-alive connections. Latency is mostly waiting for one's turn, so it follows the throughput.";

const TLS: &str = "64 keep-alive connections over TLS, with what wrk and the server choose. The ratios are to nginx.";

const HTTP2: &str = "\
64 connections of HTTP/2 over TLS, one request at a time on each, driven by h2load, which tells no percentiles. The CPU
holds the handshakes. The ratios are to nginx.";

const JOBS: &str = "\
What crosslink does beside the hand-off by `to`, over 64 keep-alive connections. `µs more` is the CPU that a request costs
more than a plain hand-off. A sealed landing is missing: each token lands once, so that it can't be asked again and again.";
