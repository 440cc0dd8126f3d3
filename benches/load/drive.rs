//! wrk and h2load: they ask as fast as they get answers, and say how fast that was.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::ground::said;
use crate::servers::{Running, Server};
use crate::traffic;

/// How requests travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wire {
    /// Many over each connection.
    KeepAlive,
    /// Each over a connection of its own.
    OneRequest,
    /// Many over each connection, in TLS.
    Tls,
    /// HTTP/2 in TLS, one at a time over each connection.
    Http2,
}

impl Wire {
    /// Whether it is encrypted.
    pub fn speaks_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Http2)
    }

    /// The program that drives it.
    pub fn program(self) -> &'static str {
        if self == Self::Http2 { "h2load" } else { "wrk" }
    }
}

/// How a server is driven.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How requests travel.
    pub wire: Wire,
    /// Over how many connections.
    pub connections: u32,
    /// For how many seconds.
    pub secs: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Driven {
    /// Answers in all.
    pub answers: f64,
    /// Answers a second.
    pub rate: f64,
    /// Microseconds that half of them took at most; no number from h2load, which does not say.
    pub p50: f64,
    /// Microseconds that all but one of a hundred took at most.
    pub p99: f64,
}

impl Load {
    /// Drives the server, and fails where not each answer is a redirect, or there is none.
    pub fn drive(&self, server: &Server, running: &Running, folder: &Path) -> Outcome<Driven> {
        let driven = if self.wire == Wire::Http2 {
            self.h2load(server, running.port, folder)
        } else {
            self.wrk(server, running.port, folder)
        };
        let driven = driven.and_then(|driven| if driven.answers > 0.0 { Ok(driven) } else { Err(SILENT.into()) });
        driven.map_err(|error| format!("{}: {error}", server.label).into())
    }

    fn wrk(&self, server: &Server, port: u16, folder: &Path) -> Outcome<Driven> {
        let script = folder.join("requests.lua");
        fs::write(&script, traffic::script(&server.requests, self.wire == Wire::OneRequest))?;
        let scheme = if self.wire.speaks_tls() { "https" } else { "http" };
        let mut command = self.bounded("wrk");
        command.args(["--threads=1", "--latency", "--timeout=10s"]);
        command.arg(format!("--connections={}", self.connections)).arg(format!("--duration={}s", self.secs));
        command.arg("--script").arg(script).arg(format!("{scheme}://127.0.0.1:{port}"));
        let text = String::from_utf8(said(&mut command)?.stdout)?;
        let word = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
        for trouble in ["Socket errors:", "Non-2xx or 3xx responses:"] {
            if let Some(what) = word(trouble) {
                return Err(format!("wrk met {trouble} {what}").into());
            }
        }
        let total = text.lines().find_map(|line| line.trim().split_once(" requests in ")).map(|(count, _)| count);
        Ok(Driven {
            answers: number(total)?,
            rate: number(word("Requests/sec:"))?,
            p50: word("50%").and_then(microseconds).unwrap_or(f64::NAN),
            p99: word("99%").and_then(microseconds).unwrap_or(f64::NAN),
        })
    }

    /// h2load by time does not always end, so it gets a number of requests: as many as a short run says that it can do.
    fn h2load(&self, server: &Server, port: u16, folder: &Path) -> Outcome<Driven> {
        let list = folder.join("urls");
        let urls = server.requests.iter().map(|request| format!("https://{}{}\n", request.host, request.target));
        fs::write(&list, urls.collect::<String>())?;
        let short = self.h2load_requests(f64::from(self.connections * 20), port, &list)?;
        let long = self.h2load_requests((short.rate * f64::from(self.secs)).max(short.answers), port, &list)?;
        Ok(Driven { answers: short.answers + long.answers, ..long })
    }

    fn h2load_requests(&self, count: f64, port: u16, list: &Path) -> Outcome<Driven> {
        let mut command = self.bounded("h2load");
        command.args(["--threads=1", "--max-concurrent-streams=1"]);
        command.arg(format!("--clients={}", self.connections)).arg(format!("--requests={count:.0}"));
        command.args(traffic::fields().map(|field| format!("--header={field}")));
        command.arg(format!("--connect-to=127.0.0.1:{port}")).arg("--input-file").arg(list);
        let text = String::from_utf8(said(&mut command)?.stdout)?;
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        let of = |line: Option<&str>, unit: &str| {
            number(line.and_then(|line| line.split(", ").find_map(|item| item.trim().strip_suffix(unit))))
        };
        let requests = line("requests: ");
        let answers = of(requests, " succeeded")?;
        if of(requests, " failed")? > 0.0 || of(line("status codes: "), " 3xx")? < answers {
            return Err(format!("h2load met requests: {}", requests.unwrap_or_default()).into());
        }
        Ok(Driven { answers, rate: of(line("finished in "), " req/s")?, p50: f64::NAN, p99: f64::NAN })
    }

    /// A load generator that is ended if it does not end.
    fn bounded(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.arg((self.secs * 5 + 30).to_string()).arg(program);
        command
    }
}

fn number(text: Option<&str>) -> Outcome<f64> {
    Ok(text.ok_or("the load generator says less than it should")?.trim().parse()?)
}

/// `1.23ms` and the like.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

const SILENT: &str = "not one answer came in all that time";
