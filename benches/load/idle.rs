//! What connections cost that wait for a next request.

use std::thread;
use std::time::Duration;

use crate::client::Connection;
use crate::drive::{Load, Wire};
use crate::ground::Ground;
use crate::measure::await_quiet;
use crate::process::refuse_when_told;
use crate::readings;
use crate::scenario::Section;
use crate::servers::{Server, present};
use crate::table::{Table, mebibytes, number};
use crate::{Effort, Outcome, ground};

/// Opens many connections to each server, asks once on each, and looks at its memory when they have been silent for a
/// while.
pub fn section(ground: &Ground, effort: Effort, only: &[String]) -> Outcome<Section> {
    let wanted = if effort.is_quick { 500 } else { 10_000 };
    // This process and the server need some descriptors for other things.
    let count = wanted.min(ground.descriptors.saturating_sub(200));
    let mut table = Table::new(&["server", "idle connections", "still open", "memory, MiB", "bytes per connection"]);
    let mut troubles = Vec::new();
    for server in present(Server::all(), ground, only) {
        await_quiet(effort.wait)?;
        match crowd(&server, ground, count) {
            Ok(idle) => table.push(vec![
                server.label.clone(),
                number(Some(f64::from(count)), 0),
                number(Some(f64::from(idle.open)), 0),
                mebibytes(Some(idle.after)),
                number(Some((idle.after - idle.before) / f64::from(count)), 0),
            ]),
            Err(error) => troubles.push(format!("{}: {error}", server.label)),
        }
        refuse_when_told()?;
    }
    Ok(Section { text: TEXT.to_owned(), tables: vec![table], notes: troubles, ..Section::default() })
}

struct Idle {
    before: f64,
    after: f64,
    open: u32,
}

fn crowd(server: &Server, ground: &Ground, count: u32) -> Outcome<Idle> {
    let running = server.start(ground, Wire::KeepAlive, None)?;
    if ground::has("wrk") {
        let load = Load { wire: Wire::KeepAlive, connections: 64, secs: 1 };
        load.drive(server, &running, &ground.fresh_folder()?)?;
    }
    // Until the connections of the warm-up are gone.
    thread::sleep(Duration::from_millis(500));
    let before = readings::memory(&running.process.tree());
    let mut connections = Vec::new();
    let heads: Vec<_> = server.requests.iter().map(crate::traffic::Request::head).collect();
    for (_, head) in (0..count).zip(heads.iter().cycle()) {
        let mut connection = Connection::open(running.port)?;
        connection.send(head)?;
        connection.receive()?;
        connections.push(connection);
    }
    thread::sleep(SILENCE);
    let after = readings::memory(&running.process.tree());
    let open = connections.iter().filter(|connection| connection.is_open()).count();
    Ok(Idle { before, after, open: u32::try_from(open)? })
}

const SILENCE: Duration = Duration::from_secs(5);
const TEXT: &str = "\
Keep-alive connections that have asked once and then been silent for five seconds. Memory is all that the server holds then
(its resident set); what it held before, after a second of load over 64 connections, is taken off for the bytes per
connection. What the kernel holds for a connection is not in it.";
