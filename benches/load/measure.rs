//! One measurement: start a server, warm it up, drive it, and read what that took.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::drive::{Driven, Load};
use crate::ground::Ground;
use crate::process::refuse_when_told;
use crate::readings::{self, Cpu};
use crate::servers::{Running, Server};
use crate::{Effort, Outcome};

/// What one measurement has found.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Answers a second.
    pub rate: f64,
    /// Microseconds of the server's processor for each answer, in the program and in the kernel.
    pub cpu: Cpu,
    /// Microseconds that half of the answers took at most; no number where nobody says.
    pub p50: f64,
    /// Microseconds that all but one of a hundred took at most.
    pub p99: f64,
    /// Bytes that the server holds after the load.
    pub memory: f64,
    /// Milliseconds from the start to the first answer; no number over TLS.
    pub first_answer: f64,
    /// How much of a core others used meanwhile.
    others: f64,
}

/// Measures a server once, or twice if the first time was disturbed; then the quieter one counts.
pub fn sample(server: &Server, ground: &Ground, load: Load, effort: Effort) -> Outcome<Sample> {
    let first = once(server, ground, load, effort)?;
    if first.others < DISTURBED || effort.is_quick {
        return Ok(first);
    }
    let second = once(server, ground, load, effort)?;
    Ok(if second.others < first.others { second } else { first })
}

fn once(server: &Server, ground: &Ground, load: Load, effort: Effort) -> Outcome<Sample> {
    await_quiet(effort.wait)?;
    let running = server.start(ground, load.wire, None)?;
    let folder = ground.fresh_folder()?;
    Load { secs: WARM_UP, ..load }.drive(server, &running, &folder)?;
    let (driven, used, others) = observed(server, &running, load, &folder)?;
    let per_answer = |secs: f64| secs / driven.answers.max(1.0) * 1e6;
    Ok(Sample {
        rate: driven.rate,
        cpu: Cpu { user: per_answer(used.user), system: per_answer(used.system) },
        p50: driven.p50,
        p99: driven.p99,
        memory: readings::memory(&running.process.tree()),
        first_answer: running.first_answer,
        others,
    })
}

/// Drives a server, and gives what that took of its processor, and what part of a core others used meanwhile.
fn observed(server: &Server, running: &Running, load: Load, folder: &Path) -> Outcome<(Driven, Cpu, f64)> {
    let members = running.process.tree();
    let (cpu, own, busy) = (readings::cpu(&members), readings::own_cpu(), readings::busy());
    let began = Instant::now();
    let driven = load.drive(server, running, folder)?;
    let used = readings::cpu(&members) - cpu;
    let ours = used.all() + readings::own_cpu() - own;
    let others = (readings::busy() - busy - ours) / began.elapsed().as_secs_f64();
    Ok((driven, used, others))
}

/// Waits until nobody else uses much of the machine, but no longer than that.
pub fn await_quiet(secs: u32) -> Outcome<()> {
    let until = Instant::now() + Duration::from_secs(secs.into());
    loop {
        refuse_when_told()?;
        let (busy, own, began) = (readings::busy(), readings::own_cpu(), Instant::now());
        thread::sleep(LOOK);
        let others = readings::busy() - busy - (readings::own_cpu() - own);
        if others / began.elapsed().as_secs_f64() < QUIET || Instant::now() > until {
            return Ok(());
        }
    }
}

/// Seconds until caches are warm and buffers have grown.
const WARM_UP: u32 = 1;
const LOOK: Duration = Duration::from_millis(400);
/// Parts of a core that others may use before a measurement begins.
const QUIET: f64 = 0.2;
/// And while it runs.
const DISTURBED: f64 = 0.25;
