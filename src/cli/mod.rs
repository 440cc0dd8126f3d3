//! The commands: what they take, what they print, and how they exit.

mod check;
mod demo;
mod explain;
mod generate;
mod keygen;
mod outbox;
mod serve;
mod sockets;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, Faulty, LoadError, Seen};

/// Carries a visitor's analytics identity from one domain to another, on the server.
///
/// Links on your site go through crosslink (`/go/checkout`). It reads the visitor's identity cookie and redirects to a
/// destination on your allow-list with the identity in the URL. On the destination it sets the matching cookie and
/// cleans the URL.
#[derive(Parser)]
#[command(name = "crosslink", version, after_help = format!("Start here:\n{EXAMPLES}\n\nExit codes: {EXIT_CODES}"))]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service until SIGTERM or Ctrl-C; a second one ends it at once
    Serve(serve::Arguments),
    /// Check a configuration: all wrong values and warnings, or the first key that is wrong
    Check(check::Arguments),
    /// Explain what the service would do with a link, step by step, without running it
    Explain(explain::Arguments),
    /// Look at the events that KISSmetrics refused; send them again, or drop them
    Outbox(outbox::Arguments),
    /// Make a new key for sealed hand-offs, on stdout, fit to be redirected into a file
    Keygen,
    /// Click through a shop, its checkouts and crosslink on this machine; needs no file
    Demo(demo::Arguments),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print completions for a shell
    Completions(generate::CompletionsArguments),
    /// Print a manual page
    Man(generate::ManArguments),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file [default: config/crosslink.yaml, else /etc/crosslink/crosslink.yaml]
    #[arg(long, value_name = "FILE", env = "CROSSLINK_CONFIG")]
    config: Option<PathBuf>,
}

/// Why a command failed: what to print on stderr, and the exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    exit: u8,
}

/// Runs the command that the arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Outbox(arguments) => outbox::run(&arguments),
        Command::Keygen => keygen::run(),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Schema => generate::schema(),
        Command::Completions(arguments) => generate::completions(&arguments),
        Command::Man(arguments) => generate::man(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, exit }) => {
            // Nobody is left to be told if stderr is closed.
            let _ = io::stderr().write_all(message.as_bytes());
            ExitCode::from(exit)
        }
    }
}

impl Failure {
    /// Something failed while the program ran: one line, and what to do.
    fn new(what: impl Display, hint: &str) -> Self {
        Self { message: format!("crosslink: {what}\n  hint: {hint}\n"), exit: EXIT_FAILED }
    }

    fn usage(what: impl Display, hint: &str) -> Self {
        Self { exit: EXIT_USAGE, ..Self::new(what, hint) }
    }

    /// The output is what failed, and has been shown: a refusal that `explain` explained.
    fn shown() -> Self {
        Self { message: String::new(), exit: EXIT_FAILED }
    }
}

/// A configuration and the file that it came from.
struct Loaded {
    path: PathBuf,
    text: String,
    config: Config,
    seen: Seen,
}

/// A configuration that is none.
struct FaultyFile {
    path: PathBuf,
    faulty: Faulty,
}

impl FaultyFile {
    /// A picture of each fault, for people.
    fn shown(&self) -> Failure {
        let (file, Faulty { text, faults, .. }) = (self.path.display().to_string(), &self.faulty);
        let shown = config::render_faults(&file, text, faults);
        Failure { message: format!("{shown}{file}: {}\n", count(faults.len(), "fault")), exit: EXIT_CONFIG }
    }
}

impl ConfigFile {
    fn load(&self) -> Result<Loaded, Failure> {
        self.read()?.map_err(|faulty| faulty.shown())
    }

    /// The configuration, or what is wrong with it.
    fn read(&self) -> Result<Result<Loaded, FaultyFile>, Failure> {
        let path = self.path()?;
        let (loaded, seen) = config::load(&path);
        match loaded {
            Ok((text, config)) => Ok(Ok(Loaded { path, text, config, seen })),
            Err(LoadError::Unreadable(error)) => Err(Failure {
                exit: EXIT_CONFIG,
                ..Failure::new(
                    format!("cannot read {}: {error}", path.display()),
                    "name another file with --config FILE",
                )
            }),
            Err(LoadError::Faulty(faulty)) => Ok(Err(FaultyFile { path, faulty })),
        }
    }

    fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        let found = DEFAULT_FILES.iter().map(Path::new).find(|path| path.exists());
        found.map(Path::to_owned).ok_or_else(|| Failure {
            exit: EXIT_CONFIG,
            ..Failure::new(
                format!("there is no configuration: neither {}", DEFAULT_FILES.join(" nor ")),
                "name a file with --config FILE, or try `crosslink demo`, which needs none",
            )
        })
    }
}

/// Prints a result. A reader that went away, as `head` does, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write the result: {error}"), "look at where the output goes"))
        }
        _ => Ok(()),
    }
}

/// `1 pair`, `2 pairs`.
fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// An event loop for the thread that runs it.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(format!("cannot start: {error}"), "the system gives no threads or descriptors; look at its limits")
    })
}

/// `option` is what chooses another address.
fn cannot_listen(address: SocketAddr, option: &str, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => &format!("another program listens there; choose another port with {option}"),
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => &format!("choose an address of this machine with {option}"),
    };
    Failure::new(format!("cannot listen on {address}: {error}"), hint)
}

const DEFAULT_FILES: [&str; 2] = ["config/crosslink.yaml", "/etc/crosslink/crosslink.yaml"];

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
/// `EX_CONFIG` of sysexits.h: a supervisor need not try again before somebody mends the file.
const EXIT_CONFIG: u8 = 78;

const EXAMPLES: &str = "  crosslink demo                          click through a hand-off in your browser
  crosslink check --config my.yaml        is this file right?
  crosslink explain https://www.yoursite.com/go/checkout --cookie 'km_ni=bob%40bob.com'
                                          what would happen to this link?
  crosslink serve --config my.yaml        run it";

const EXIT_CODES: &str = "0 done, 1 failed (explain: refused), 2 wrong usage, 78 wrong or missing configuration.";
