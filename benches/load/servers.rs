//! Who is measured, and how each of them is started.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::crosslink::{OF_CARGO, Places, Setup};
use crate::drive::Wire;
use crate::ground::{self, Ground};
use crate::peers::{self, Blanks};
use crate::process::{Core, Process, refuse_when_told};
use crate::traffic::{self, Request};
use crate::{Outcome, client};

/// A server with what it is asked.
#[derive(Clone, Debug)]
pub struct Server {
    /// What `--only` calls it.
    pub key: &'static str,
    /// What tables call it.
    pub label: String,
    /// How much of the job it does.
    pub does: &'static str,
    /// What it is asked.
    pub requests: Vec<Request>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Crosslink(Setup),
    OfCargo,
    BareHyper,
    NginxReturn,
    NginxLua,
    Haproxy,
    Go,
}

impl Server {
    /// crosslink as it comes: it logs and counts.
    pub fn crosslink() -> Self {
        Self::crosslink_with("crosslink", Setup::usual(), traffic::hand_offs(&traffic::hosts(10)))
    }

    /// crosslink with a configuration and requests of its own.
    pub fn crosslink_with(label: impl Into<String>, setup: Setup, requests: Vec<Request>) -> Self {
        Self { key: "crosslink", label: label.into(), does: "all", requests, kind: Kind::Crosslink(setup) }
    }

    /// crosslink without a line for each request.
    pub fn crosslink_without_log() -> Self {
        let setup = Setup { logs: false, ..Setup::usual() };
        let label = "crosslink, `requests: off`";
        Self { key: "crosslink-off", ..Self::crosslink_with(label, setup, traffic::hand_offs(&traffic::hosts(10))) }
    }

    /// crosslink as cargo alone builds it.
    fn of_cargo() -> Self {
        let label = "crosslink, built by cargo alone".to_owned();
        Self { key: "crosslink-cargo", label, kind: Kind::OfCargo, ..Self::crosslink() }
    }

    /// The yardstick.
    pub fn bare_hyper() -> Self {
        Self::peer("bare-hyper", "bare hyper", "nothing: one answer for all", Kind::BareHyper)
    }

    /// nginx with one answer for all.
    pub fn nginx() -> Self {
        Self::peer("nginx", "nginx `return 302`", "nothing: one answer for all", Kind::NginxReturn)
    }

    /// All of them, whether they are installed or not.
    pub fn all() -> Vec<Self> {
        let nearly = "nearly: no URL as browsers read it";
        vec![
            Self::crosslink(),
            Self::crosslink_without_log(),
            Self::of_cargo(),
            Self::bare_hyper(),
            Self::nginx(),
            Self::peer("nginx-lua", "nginx with Lua", nearly, Kind::NginxLua),
            Self::peer("haproxy", "HAProxy", nearly, Kind::Haproxy),
            Self::peer("go", "Go, net/http", nearly, Kind::Go),
        ]
    }

    fn peer(key: &'static str, label: &str, does: &'static str, kind: Kind) -> Self {
        Self { key, label: label.to_owned(), does, requests: traffic::hand_offs(&traffic::hosts(10)), kind }
    }

    /// Whether what it takes is installed.
    pub fn is_installed(&self, ground: &Ground) -> bool {
        match self.kind {
            Kind::Crosslink(_) | Kind::BareHyper => true,
            Kind::OfCargo => ground.is_special(),
            Kind::NginxReturn => ground::has("nginx"),
            Kind::NginxLua => ground::has("nginx") && peers::has_lua(),
            Kind::Haproxy => ground::has("haproxy"),
            Kind::Go => ground.go.is_some(),
        }
    }

    /// Whether valgrind can run it. It does not know how Go switches its stacks.
    pub fn bears_valgrind(&self) -> bool {
        !matches!(self.kind, Kind::Go)
    }

    /// Whether its heap is asked for block by block, so that blocks tell something.
    pub fn is_rust(&self) -> bool {
        matches!(self.kind, Kind::Crosslink(_) | Kind::OfCargo | Kind::BareHyper)
    }

    /// Starts it and waits for its first answer.
    pub fn start(&self, ground: &Ground, wire: Wire, under: Option<&Instrument>) -> Outcome<Running> {
        let folder = ground.fresh_folder()?;
        let (port, admin) = (ground::free_port()?, ground::free_port()?);
        let speaks_tls = wire.speaks_tls();
        let blanks = Blanks { folder: &folder, port, speaks_tls };
        let crosslink = |program: &Path, setup: &Setup| -> Outcome<Command> {
            let certificate = ground.certificate.as_ref().filter(|_| speaks_tls);
            let tls = certificate.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
            let file = folder.join("crosslink.yaml");
            fs::write(&file, setup.file(&Places { port, admin, tls, seal: &ground.seal }))?;
            let mut command = Command::new(program);
            command.arg("serve").arg("--config").arg(file);
            Ok(command)
        };
        let program = match &self.kind {
            Kind::Crosslink(setup) => crosslink(&ground.program, setup)?,
            Kind::OfCargo => crosslink(Path::new(OF_CARGO), &Setup::usual())?,
            Kind::BareHyper => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("bare-hyper").arg("--port").arg(port.to_string());
                command
            }
            Kind::NginxReturn => peers::nginx_return(ground, blanks)?,
            Kind::NginxLua => peers::nginx_lua(ground, blanks)?,
            Kind::Haproxy => peers::haproxy(ground, blanks)?,
            Kind::Go => peers::go(ground, blanks)?,
        };
        let mut command = match under {
            None => program,
            Some(instrument) => instrument.before(&program),
        };
        let log = folder.join("log");
        command.stdout(Stdio::null()).stderr(File::create(&log)?);
        let is_tracer = under.is_some_and(|instrument| instrument.is_tracer);
        let (process, began) = Process::start(&mut command, Core::Server, is_tracer)?;
        let mut running = Running { process, port, log, folder, first_answer: f64::NAN };
        running.await_answer(self, wire, began)?;
        Ok(running)
    }
}

/// A program that another one runs under, and that counts what it does.
#[derive(Clone, Debug)]
pub struct Instrument {
    /// The instrument and its arguments.
    pub command: Vec<String>,
    /// Whether the program is a child of it, rather than the same process.
    pub is_tracer: bool,
}

impl Instrument {
    fn before(&self, program: &Command) -> Command {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().map_or("env", String::as_str));
        command.args(words).arg(program.get_program()).args(program.get_args());
        command
    }
}

/// A server that answers. It is ended, and its folder removed, when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub port: u16,
    /// What it says on stderr.
    pub log: PathBuf,
    /// Milliseconds from its start to its first answer; no number over TLS, where nobody asks for one.
    pub first_answer: f64,
    folder: PathBuf,
}

impl Running {
    fn await_answer(&mut self, server: &Server, wire: Wire, began: Instant) -> Outcome<()> {
        let first = server.requests.first().ok_or("a server without requests")?;
        // Over TLS this client can't ask, only see that somebody listens.
        while !client::is_there(self.port) {
            refuse_when_told()?;
            if self.process.ended().is_some() || began.elapsed() > PATIENCE {
                return Err(format!("{} does not start: {}", server.label, self.last_word()).into());
            }
            thread::sleep(PAUSE);
        }
        if !wire.speaks_tls() {
            client::ask(self.port, first).map_err(|error| format!("{}: {error}", server.label))?;
            self.first_answer = began.elapsed().as_secs_f64() * 1e3;
        }
        Ok(())
    }

    /// The line on stderr that says what is wrong: the first one, but where notices stand before it.
    fn last_word(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("[NOTICE]"));
        // Where the files of this start are means nothing to anybody later.
        lines.next().unwrap_or("it says nothing").replace(&format!("{}/", self.folder.display()), "")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.stop();
        // A hundred thousand hosts a hundred times would fill a disk; what can't be removed goes with the run's folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Fails if one of the names is nobody's.
pub fn known(names: &[String]) -> Outcome<()> {
    let keys: Vec<_> = Server::all().iter().map(|server| server.key).collect();
    match names.iter().find(|name| !keys.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(format!("there is no server `{name}`; there are {}", keys.join(", ")).into()),
    }
}

/// Those that are wanted and installed.
pub fn present(servers: Vec<Server>, ground: &Ground, only: &[String]) -> Vec<Server> {
    let is_wanted = |server: &Server| only.is_empty() || only.iter().any(|name| name == server.key);
    servers.into_iter().filter(|server| is_wanted(server) && server.is_installed(ground)).collect()
}

/// A hundred thousand pairs, or an instrument, take a while.
const PATIENCE: Duration = Duration::from_secs(60);
/// Short beside what any of them takes to start.
const PAUSE: Duration = Duration::from_micros(200);
