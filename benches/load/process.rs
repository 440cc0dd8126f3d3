//! The processes of a run: each on its core, and each ended with all that it started.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;
use crate::readings::{self, Member};

/// Servers have a core for themselves, and so has whoever drives them.
#[derive(Clone, Copy, Debug)]
pub enum Core {
    /// Where the server runs.
    Server,
    /// Where everything else of this run is.
    Client,
}

impl Core {
    fn number(self) -> &'static str {
        match self {
            Self::Server => "0",
            Self::Client => "1",
        }
    }
}

/// A process that is ended when this is dropped, and whatever it started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// An instrument that follows another process, to which a signal must go then.
    is_tracer: bool,
}

impl Process {
    /// Starts it on a core, and says when. An `is_tracer` runs the program itself as a child.
    pub fn start(command: &mut Command, core: Core, is_tracer: bool) -> Outcome<(Self, Instant)> {
        refuse_when_told()?;
        command.stdin(Stdio::null()).process_group(0);
        // A child runs where the thread is that starts it. So nothing stands between the start and the program, which
        // would be counted as its own.
        let started = thread::scope(|scope| {
            let starting = scope.spawn(|| -> Outcome<_> {
                pin(&thread_number()?, core, false)?;
                let began = Instant::now();
                let name = command.get_program().display().to_string();
                Ok((command.spawn().map_err(|error| format!("{name}: {error}"))?, began))
            });
            starting.join().map_err(|_| "the thread that starts a process has failed")
        });
        let (child, began) = started??;
        let process = Self { child, is_tracer };
        live().push(process.id());
        Ok((process, began))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// It and all below it.
    pub fn tree(&self) -> Vec<Member> {
        readings::tree(self.id())
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to stop, and sees to it. Instruments write what they have counted then, which takes its time.
    pub fn stop(&mut self) {
        let members = self.tree();
        if self.ended().is_none() {
            let asked = members.get(usize::from(self.is_tracer)).map_or(self.id(), |member| member.id);
            send(asked, "TERM");
            let until = Instant::now() + PATIENCE;
            while self.ended().is_none() && Instant::now() < until {
                thread::sleep(Duration::from_millis(2));
            }
            // Both fail if it has ended, which is what is wanted.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for left in members.iter().filter(|member| member.is_alive()) {
            send(left.id, "KILL");
        }
        live().retain(|id| *id != self.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal. Whether it arrives shows in what the process does.
pub fn send(id: u32, signal: &str) {
    let _ = Command::new("kill").arg(format!("-{signal}")).arg(id.to_string()).stderr(Stdio::null()).status();
}

/// Keeps this whole process, and what it starts from now on, on a core.
pub fn pin_all(core: Core) -> Outcome<()> {
    pin(&std::process::id().to_string(), core, true)
}

/// Fails once somebody has asked this run to end.
pub fn refuse_when_told() -> Outcome<()> {
    if IS_TOLD.load(Ordering::Relaxed) { Err("stopped".into()) } else { Ok(()) }
}

/// On Ctrl-C and SIGTERM, ends the servers. What waits for them then fails, up to `main`, and tidies up on its way.
pub fn end_all_when_told() -> Outcome<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupted, mut terminated) = {
        let _guard = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        });
        IS_TOLD.store(true, Ordering::Relaxed);
        for id in live().iter() {
            send(*id, "KILL");
        }
    });
    Ok(())
}

fn live() -> MutexGuard<'static, Vec<u32>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn thread_number() -> Outcome<String> {
    let link = fs::read_link("/proc/thread-self")?;
    let number = link.file_name().ok_or("/proc/thread-self names no thread")?;
    Ok(number.to_string_lossy().into_owned())
}

fn pin(id: &str, core: Core, with_all_threads: bool) -> Outcome<()> {
    let mut command = Command::new("taskset");
    if with_all_threads {
        command.arg("--all-tasks");
    }
    let said = command.args(["--cpu-list", "--pid", core.number(), id]).output();
    let said = said.map_err(|error| format!("taskset, which gives each process its core: {error}"))?;
    if said.status.success() {
        return Ok(());
    }
    Err(format!("two cores are needed: {}", String::from_utf8_lossy(&said.stderr).trim()).into())
}

static LIVE: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static IS_TOLD: AtomicBool = AtomicBool::new(false);
/// What a server under an instrument may need to write it all down.
const PATIENCE: Duration = Duration::from_secs(30);
