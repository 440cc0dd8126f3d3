//! What many hosts and many pairs cost, and what it costs to read them again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::crosslink::Setup;
use crate::drive::{Load, Wire};
use crate::ground::Ground;
use crate::measure::await_quiet;
use crate::process::{refuse_when_told, send};
use crate::rounds::median;
use crate::scenario::{Section, cpu, impossible, measured, memory, rate};
use crate::servers::{Running, Server};
use crate::table::{Table, mebibytes, number};
use crate::{Effort, Outcome, traffic};

/// Both tables: how it serves, and how it reloads.
pub fn section(ground: &Ground, load: Load, effort: Effort) -> Outcome<Section> {
    if let Some(section) = impossible(ground, load) {
        return Ok(section);
    }
    let [hosts, pairs] = sizes(effort);
    let first_of_pairs = hosts.len();
    let servers: Vec<Server> = hosts.into_iter().chain(pairs).collect();
    let rounds = measured(&servers, ground, load, effort)?;
    let mut serving = Table::new(&[
        "crosslink with",
        "requests/s",
        "10 = 1",
        "CPU µs",
        "10 = 1",
        "memory MiB",
        "MiB more",
        "first answer ms",
    ]);
    for (row, server) in servers.iter().enumerate().filter(|(row, _)| rounds.has(*row)) {
        let smallest = Some(if row < first_of_pairs { 0 } else { first_of_pairs });
        serving.push(vec![
            server.label.clone(),
            number(rounds.median(row, rate), 0),
            number(rounds.ratio(row, smallest, rate), 3),
            number(rounds.median(row, cpu), 2),
            number(rounds.ratio(row, smallest, cpu), 3),
            mebibytes(rounds.median(row, memory)),
            mebibytes(rounds.difference(row, smallest, memory)),
            number(rounds.median(row, |found| found.first_answer), 1),
        ]);
    }
    let mut notes = rounds.troubles;
    let mut reloading = Table::new(&[
        "crosslink with",
        "a reload takes ms",
        "requests/s while reloading",
        "otherwise = 1",
        "p99 µs",
        "otherwise",
    ]);
    for server in &servers {
        match reloads(server, ground, load, effort) {
            Ok(found) => {
                eprintln!("{}: reloaded", server.label);
                reloading.push(vec![
                    server.label.clone(),
                    number(found.lasts, 1),
                    number(found.rate, 0),
                    number(found.ratio, 3),
                    number(found.p99, 0),
                    number(found.p99_otherwise, 0),
                ]);
            }
            Err(error) => notes.push(error.to_string()),
        }
        refuse_when_told()?;
    }
    notes.sort();
    notes.dedup();
    Ok(Section { text: TEXT.to_owned(), tables: vec![serving, reloading], notes, ..Section::default() })
}

/// One pair with more and more hosts, and more and more pairs. Of each the smallest first: the others are compared with
/// it.
fn sizes(effort: Effort) -> [Vec<Server>; 2] {
    let most = if effort.is_quick { 2_000 } else { 100_000 };
    let one_pair = |count| {
        let hosts = traffic::hosts(count);
        let requests = traffic::hand_offs(&hosts);
        let label = format!("{} hosts", named(count));
        Server::crosslink_with(label, Setup { hosts, ..Setup::usual() }, requests)
    };
    let pairs = |count| {
        let hosts = traffic::hosts(count);
        let requests = traffic::hand_offs_of_pairs(&hosts);
        let label = format!("{} pairs", named(count));
        Server::crosslink_with(label, Setup { hosts, is_pair_each: true, ..Setup::usual() }, requests)
    };
    [[10, 1_000, most].map(one_pair).into(), [10, most].map(pairs).into()]
}

fn named(count: usize) -> String {
    number(u32::try_from(count).ok().map(f64::from), 0)
}

struct Reloads {
    lasts: Option<f64>,
    rate: Option<f64>,
    ratio: Option<f64>,
    p99: Option<f64>,
    p99_otherwise: Option<f64>,
}

/// Reloads a few times in peace, and then under load, every half second, turn about with load alone.
fn reloads(server: &Server, ground: &Ground, load: Load, effort: Effort) -> Outcome<Reloads> {
    await_quiet(effort.wait)?;
    let running = server.start(ground, Wire::KeepAlive, None)?;
    let folder = ground.fresh_folder()?;
    let lasting = (0..5).map(|_| reload(&running)).collect::<Outcome<Vec<_>>>()?;
    load.drive(server, &running, &folder)?;
    let (mut alone, mut meanwhile) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        await_quiet(effort.wait)?;
        alone.push(load.drive(server, &running, &folder)?);
        let is_over = AtomicBool::new(false);
        let driven = thread::scope(|scope| {
            let reloading = scope.spawn(|| -> Outcome<()> {
                while !is_over.load(Ordering::Relaxed) {
                    reload(&running)?;
                    thread::sleep(EVERY);
                }
                Ok(())
            });
            let driven = load.drive(server, &running, &folder);
            is_over.store(true, Ordering::Relaxed);
            reloading.join().map_err(|_| "the thread that reloads has failed")??;
            driven
        });
        meanwhile.push(driven?);
    }
    let ratios = meanwhile.iter().zip(&alone).map(|(this, other)| this.rate / other.rate);
    Ok(Reloads {
        lasts: median(lasting.into_iter()),
        rate: median(meanwhile.iter().map(|driven| driven.rate)),
        ratio: median(ratios),
        p99: median(meanwhile.iter().map(|driven| driven.p99)),
        p99_otherwise: median(alone.iter().map(|driven| driven.p99)),
    })
}

/// Has the file read again, and gives the milliseconds until what it says is in force.
fn reload(running: &Running) -> Outcome<f64> {
    let count = || fs::read_to_string(&running.log).map(|log| log.matches("in force").count());
    let (before, began) = (count()?, Instant::now());
    send(running.process.id(), "HUP");
    while count()? == before {
        refuse_when_told()?;
        if began.elapsed() > PATIENCE {
            return Err("a reload does not come to an end".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

const EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

const TEXT: &str = "\
One pair with more and more hosts, and as many pairs with a host each; requests go to up to 1,024 of them, and each is
compared with ten of its kind. `first answer` holds the reading of the file. In the second table the file is read again
half a second after the last time, while the load goes on. The server has one core for both, so the time of reading is
missing from the throughput; with a core to spare it is not.";
