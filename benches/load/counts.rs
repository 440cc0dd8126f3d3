//! What is counted rather than timed: instructions, allocations and system calls of one request.
//!
//! A server runs under an instrument twice, for few requests and for many. The difference belongs to the requests
//! between, so that its start and end don't count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::drive::Wire;
use crate::ground::Ground;
use crate::scenario::Section;
use crate::servers::{Instrument, Server, present};
use crate::table::{Table, number};
use crate::{Effort, Outcome, client, ground};

/// Counts for all servers that instruments can run.
pub fn section(ground: &Ground, effort: Effort, only: &[String]) -> Outcome<Section> {
    let servers = present(Server::all(), ground, only);
    let rounds = if effort.is_quick { (2, 12) } else { (20, 220) };
    let mut troubles = Vec::new();
    let mut counted = Vec::new();
    for server in &servers {
        let mut of = |tool: Tool| match tool.per_request(server, ground, rounds) {
            Ok(counts) => counts,
            Err(error) => {
                troubles.push(format!("{} of {}: {error}", tool.counts(), server.label));
                None
            }
        };
        counted.push((of(Tool::Callgrind), of(Tool::Dhat), of(Tool::Strace)));
        crate::process::refuse_when_told()?;
        eprintln!("{}: counted", server.label);
    }
    let one = |counts: &Option<Counts>| counts.as_ref().map(|counts| counts.values().sum::<f64>());
    let yardstick = servers.iter().position(|server| server.key == "bare-hyper");
    let yardstick = yardstick.and_then(|number| one(&counted.get(number)?.0));
    let mut table = Table::new(&[
        "server",
        "user instructions",
        "bare hyper = 1",
        "heap allocations",
        "reads",
        "writes",
        "system calls",
        "of which others",
    ]);
    for (server, (instructions, blocks, calls)) in servers.iter().zip(&counted) {
        let count = one(instructions);
        let (reads, writes) = (sum(calls.as_ref(), &READS), sum(calls.as_ref(), &WRITES));
        table.push(vec![
            server.label.clone(),
            number(count, 0),
            number(count.zip(yardstick).map(|(count, yardstick)| count / yardstick), 2),
            // Of an allocator that is not the system's DHAT sees nothing, which is not none.
            number(one(blocks).filter(|blocks| *blocks > 0.0), 2),
            number(reads, 2),
            number(writes, 2),
            number(one(calls), 2),
            others(calls.as_ref()),
        ]);
    }
    Ok(Section {
        text: TEXT.to_owned(),
        tables: vec![table.without_empty_columns()],
        notes: troubles,
        ..Section::default()
    })
}

type Counts = BTreeMap<String, f64>;

#[derive(Clone, Copy, Debug)]
enum Tool {
    Callgrind,
    Dhat,
    Strace,
}

impl Tool {
    fn counts(self) -> &'static str {
        match self {
            Self::Callgrind => "instructions",
            Self::Dhat => "allocations",
            Self::Strace => "system calls",
        }
    }

    /// What one request takes; nothing where this can't be told.
    fn per_request(self, server: &Server, ground: &Ground, (few, many): (u32, u32)) -> Outcome<Option<Counts>> {
        let is_possible = match self {
            Self::Callgrind => ground::has("valgrind") && server.bears_valgrind(),
            Self::Dhat => ground::has("valgrind") && server.is_rust(),
            Self::Strace => ground::has("strace"),
        };
        if !is_possible {
            return Ok(None);
        }
        let before = self.total(server, ground, few)?;
        let mut counts = self.total(server, ground, many)?;
        let requests = f64::from((many - few) * client::CONNECTIONS);
        for (name, count) in &mut counts {
            *count = (*count - before.get(name).copied().unwrap_or(0.0)) / requests;
        }
        Ok(Some(counts))
    }

    /// What a whole life with that many rounds takes.
    fn total(self, server: &Server, ground: &Ground, rounds: u32) -> Outcome<Counts> {
        let file = ground.fresh_folder()?.join("counted");
        let mut running = server.start(ground, Wire::KeepAlive, Some(&self.instrument(&file)))?;
        client::drive(running.port, &server.requests, rounds)?;
        running.process.stop();
        let text = fs::read_to_string(&file).map_err(|error| format!("nothing was counted: {error}"))?;
        let counts = match self {
            Self::Callgrind => callgrind(&text),
            Self::Dhat => dhat(&text),
            Self::Strace => Some(strace(&text)),
        };
        counts.filter(|counts| !counts.is_empty()).ok_or_else(|| "nothing was counted".into())
    }

    fn instrument(self, file: &Path) -> Instrument {
        let file = file.display();
        let command = match self {
            Self::Callgrind => format!("valgrind --quiet --tool=callgrind --callgrind-out-file={file}"),
            Self::Dhat => format!("valgrind --tool=dhat --dhat-out-file=/dev/null --log-file={file}"),
            Self::Strace => format!("strace --quiet=all --follow-forks --summary-only --output={file}"),
        };
        let command = command.split(' ').map(str::to_owned).collect();
        Instrument { command, is_tracer: matches!(self, Self::Strace) }
    }
}

/// The sum at the end of callgrind's file.
fn callgrind(text: &str) -> Option<Counts> {
    let sums = text.lines().filter_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
    let most = sums.filter_map(|sum| sum.trim().parse::<f64>().ok()).max_by(f64::total_cmp)?;
    Some(Counts::from([("instructions".to_owned(), most)]))
}

/// The line `==7== Total:     12,345 bytes in 678 blocks`.
fn dhat(text: &str) -> Option<Counts> {
    let line = text.lines().find_map(|line| line.split_once("Total:"))?.1;
    let (_, blocks) = line.split_once(" in ")?;
    let blocks = blocks.split_whitespace().next()?.replace(',', "");
    Some(Counts::from([("blocks".to_owned(), blocks.parse().ok()?)]))
}

/// The lines of strace's table: share, seconds, microseconds a call, calls, maybe errors, name.
fn strace(text: &str) -> Counts {
    let call = |line: &str| -> Option<(String, f64)> {
        let words: Vec<_> = line.split_whitespace().collect();
        let (calls, name) = (words.get(3)?.parse().ok()?, words.get(4..)?.last()?);
        (*name != "total").then(|| ((*name).to_owned(), calls))
    };
    text.lines().filter_map(call).collect()
}

fn sum(calls: Option<&Counts>, names: &[&str]) -> Option<f64> {
    Some(names.iter().filter_map(|name| calls?.get(*name)).sum::<f64>()).filter(|_| calls.is_some())
}

/// Calls that neither read nor write, if there is one for every hundred requests.
fn others(calls: Option<&Counts>) -> String {
    let Some(calls) = calls else { return crate::table::NONE.to_owned() };
    let is_other = |name: &str, count: f64| count >= 0.01 && !READS.contains(&name) && !WRITES.contains(&name);
    let named = calls.iter().filter(|(name, count)| is_other(name, **count));
    let named: Vec<_> = named.map(|(name, count)| format!("{name} {count:.2}")).collect();
    if named.is_empty() { crate::table::NONE.to_owned() } else { named.join(", ") }
}

const READS: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];
const WRITES: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];

const TEXT: &str = "\
Counted and not timed, so this repeats to about a hundredth wherever it is done. A server runs under an instrument once for
few requests and once for many, over 64 keep-alive connections; shown is the difference, divided by the requests between.
Instructions are those of the program and its libraries, not of the kernel (callgrind). Allocations are blocks asked of the
system's allocator (DHAT), which is done for programs in Rust only; crosslink has another one, of which DHAT sees nothing.
System calls (strace) are counted in all threads, those that write the log among them; a read that finds nothing counts too.
valgrind can't run Go.";
