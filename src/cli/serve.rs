//! `crosslink serve`: the service.

use std::io::{self, IsTerminal};
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ConfigFile, EXIT_CONFIG, EXIT_FAILED, Failure, FaultyFile, Loaded, runtime, sockets};
use crate::admin::{Admin, Audience};
use crate::config::{Config, Seen};
use crate::http::handler::Handler;
use crate::http::request_log::RequestLog;
use crate::http::server::{self, Listener, Terms};
use crate::http::tls::LiveTls;
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Running};
use crate::reload::{Reloader, Warned, log_faults};
use crate::replay::UsedTokens;
use crate::rules::Rules;
use crate::settings::{Fixed, Limits, LiveSites, LogFormat};
use crate::sink::Sink;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Listen here, instead of where the file says; repeat it for several addresses
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// The operator's port, instead of where the file says; `off` for none
    #[arg(long, value_name = "ADDR", value_parser = parse_admin)]
    admin: Option<AdminAddress>,
}

/// An address, or `None` for `off`.
type AdminAddress = Option<SocketAddr>;

fn parse_admin(text: &str) -> Result<AdminAddress, AddrParseError> {
    if text.eq_ignore_ascii_case("off") { Ok(None) } else { text.parse().map(Some) }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Loaded { path, text, mut config, seen } = match arguments.config.read()? {
        Ok(loaded) => loaded,
        Err(faulty) => return Err(refuse(&faulty)?),
    };
    let [events, requests] = [spawn_sink(io::stderr())?, spawn_sink(io::stdout())?];
    log_events(config.fixed.log.format, &events);
    tracing::info!(file = %path.display(), pairs = config.linker.pairs().len(), "configuration read");
    let mut warned = Warned::default();
    // Taken out: there may be one for each of very many pairs, and `config` stays.
    warned.log(&path, &text, &std::mem::take(&mut config.warnings));
    // With very many pairs it is half as large as the rules, and this function returns when the program ends.
    drop(text);
    let in_file = config.fixed.clone();
    if !arguments.listen.is_empty() {
        config.fixed.listen.plain.clone_from(&arguments.listen);
    }
    if let Some(admin) = arguments.admin {
        config.fixed.listen.admin = admin;
    }
    let runtime = runtime()?;
    let event_loops = thread::available_parallelism().map_or(1, usize::from);
    let event_loops: Vec<_> = (0..event_loops).map(|_| super::runtime().map(Arc::new)).collect::<Result<_, _>>()?;
    let read = Read { path, config, in_file, seen, warned };
    let served = runtime.block_on(serve(read, &requests, &event_loops));
    // All requests are answered; what is left is at most a configuration on a disk that does not answer.
    runtime.shutdown_background();
    match &served {
        Ok(cut) => tracing::info!(cut, "stopped"),
        // Not left to the caller: if stderr blocks, only the log's thread may wait for it.
        Err(failure) => events.push(|lines| lines.extend_from_slice(failure.message.as_bytes())),
    }
    let dropped = requests.close(LAST_LINES);
    if dropped > 0 {
        tracing::warn!(dropped, "lines of the request log were lost, because nothing took them");
    }
    // Lines about the program itself are few; whether one was dropped changes nothing any more.
    let _ = events.close(LAST_LINES);
    served.map(|_| ()).map_err(|_| Failure::shown())
}

/// Shows faults as `check` does to whoever looks on, or where the log is for people; to programs as events with fields.
fn refuse(file: &FaultyFile) -> Result<Failure, Failure> {
    let FaultyFile { path, faulty } = file;
    if faulty.log_format == LogFormat::Text || io::stderr().is_terminal() {
        return Ok(file.shown());
    }
    let events = spawn_sink(io::stderr())?;
    log_events(LogFormat::Json, &events);
    log_faults(path, &faulty.faults);
    tracing::error!(file = %path.display(), faults = faulty.faults.len(), "the configuration is faulty");
    // Nobody is left to be told if these lines are not taken.
    let _ = events.close(LAST_LINES);
    Ok(Failure { message: String::new(), exit: EXIT_CONFIG })
}

/// What was read at the start.
struct Read {
    path: PathBuf,
    config: Config,
    /// What the file says about what can't change, the arguments left aside.
    in_file: Fixed,
    seen: Seen,
    warned: Warned,
}

/// Serves until a signal: the visitors on one event loop for each core, everything else on the one that this runs on.
async fn serve(
    Read { path, config, in_file, seen, warned }: Read,
    requests: &Sink,
    event_loops: &[Arc<Runtime>],
) -> Result<usize, Failure> {
    // First of all: a signal that nobody waits for ends the program.
    let hang_up = signal(SignalKind::hangup()).map_err(|error| no_signals(&error))?;
    let draining = stop_on_signals()?;
    let Config { fixed, certificates, trusted_proxies, linker, sites, .. } = config;
    let mut metrics = Metrics::new(event_loops.len());
    let sites = Arc::new(ArcSwap::from_pointee(sites));
    let stop = CancellationToken::new();
    let outbox = start_outbox(&fixed, &sites, &mut metrics, &stop)?;
    let metrics = Arc::new(metrics);
    metrics.reloaded(true);
    metrics.connections_limit.set(i64::try_from(fixed.limits.connections).unwrap_or(i64::MAX));
    let rules = Rules::new(linker, trusted_proxies, path.clone()).live();
    let tls: Vec<LiveTls> = certificates.into_iter().map(|config| Arc::new(ArcSwap::new(config))).collect();
    let log = RequestLog::new(requests.clone(), fixed.log);
    let used = Arc::new(UsedTokens::new(fixed.replay));
    let mut handler = Handler::new(Arc::clone(&rules), used, log, Arc::clone(&metrics));
    if let Some((outbox, _)) = &outbox {
        handler = handler.telling(outbox.clone());
    }

    let over = CancellationToken::new();
    let operators = TaskTracker::new();
    let admin_socket = fixed.listen.admin.map(|address| Ok((address, sockets::bind_admin(address)?))).transpose()?;
    let listeners = sockets::bind(&fixed.listen, &tls, event_loops)?;
    // Nobody is told that the program is ready before it listens.
    if let Some((address, socket)) = admin_socket {
        let audience = Audience::of(address);
        let mut admin =
            Admin::new(Arc::clone(&rules), Arc::clone(&metrics), requests.clone(), draining.clone(), audience);
        if let (Some(token), Some((outbox, _))) = (&fixed.api, &outbox) {
            admin = admin.taking(token.clone(), outbox.clone());
        }
        operators.spawn(server::run(vec![socket], admin, Terms::new(ADMIN_LIMITS, over.clone())));
    }
    let reloader = Reloader { path, fixed: in_file, rules, tls, sites, metrics, warned: Mutex::new(warned) };
    operators.spawn(reloader.run(hang_up, seen, over.clone()));
    tell_systemd(NotifyState::Ready);

    operators.spawn(drain_later(draining, fixed.limits.drain_delay, stop.clone()));
    let cut = serve_visitors(event_loops, listeners, &handler, &Terms::new(fixed.limits, stop)).await;
    // After the last visitor, and while the operator can still look on.
    if let Some((_, running)) = outbox {
        running.finish().await;
    }
    over.cancel();
    operators.close();
    operators.wait().await;
    cut
}

/// Starts the outbox, if the configuration has one.
fn start_outbox(
    fixed: &Fixed,
    sites: &LiveSites,
    metrics: &mut Metrics,
    stop: &CancellationToken,
) -> Result<Option<(Outbox, Running)>, Failure> {
    let Some(settings) = &fixed.outbox else { return Ok(None) };
    let started = Outbox::start(settings, Arc::clone(sites), metrics.add_outbox(), stop.clone(), fixed.limits.drain);
    started.map(Some).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::ResourceBusy => "give each crosslink a directory of its own",
            io::ErrorKind::PermissionDenied => "give it, and all that is in it, to the user under whom crosslink runs",
            io::ErrorKind::StorageFull => "make room on its disk",
            _ => "look at its disk, and at what the system says of it",
        };
        Failure::new(format!("the outbox in {} can't be used: {error}", settings.place), hint)
    })
}

/// Runs each event loop on a thread of its own, with its own listeners, log and counters. A connection stays where it
/// was accepted. Gives the number of connections that had to be cut.
async fn serve_visitors(
    event_loops: &[Arc<Runtime>],
    listeners: Vec<Vec<Listener>>,
    handler: &Handler,
    terms: &Terms,
) -> Result<usize, Failure> {
    let mut threads = JoinSet::new();
    for (core, (event_loop, listeners)) in event_loops.iter().zip(listeners).enumerate() {
        let served = server::run(listeners, handler.on_core(core), terms.clone());
        let event_loop = Arc::clone(event_loop);
        threads.spawn_blocking(move || event_loop.block_on(served));
    }
    let mut cut = 0;
    while let Some(ended) = threads.join_next().await {
        cut += ended.map_err(|error| Failure::new(format!("an event loop ended: {error}"), "start it again"))?;
    }
    Ok(cut)
}

/// Lets whoever watches `/readyz` send visitors elsewhere before they are not taken any more.
async fn drain_later(draining: CancellationToken, delay: Duration, stop: CancellationToken) {
    draining.cancelled().await;
    tell_systemd(NotifyState::Stopping);
    if !delay.is_zero() {
        tracing::info!(?delay, "not ready from now on; everybody is served as before until the delay is over");
        sleep(delay).await;
    }
    tracing::info!("stopping: requests under way are answered");
    stop.cancel();
}

/// Tells systemd, if it started the program and waits for that (`Type=notify`).
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// A token that SIGTERM or Ctrl-C cancels; a second one of them ends the program at once.
pub(super) fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| no_signals(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| no_signals(&error))?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(i32::from(EXIT_FAILED));
            }
            tracing::info!("told to stop");
            token.cancel();
        }
    });
    Ok(stop)
}

fn no_signals(error: &io::Error) -> Failure {
    Failure::new(format!("cannot wait for signals: {error}"), "look at the system's limits")
}

pub(super) fn spawn_sink(output: impl io::Write + Send + 'static) -> Result<Sink, Failure> {
    Sink::spawn(output)
        .map_err(|error| Failure::new(format!("cannot start the log's thread: {error}"), "look at the system's limits"))
}

/// The program's own events, on stderr.
fn log_events(format: LogFormat, sink: &Sink) {
    let sink = sink.clone();
    let events = tracing_subscriber::fmt().with_target(false).with_writer(move || sink.clone());
    match format {
        LogFormat::Json => events.json().flatten_event(true).init(),
        LogFormat::Text => events.with_ansi(false).init(),
    }
}

/// How long a blocked output is waited for at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Few ask on the operator's port, and none of them in a hurry.
pub(super) const ADMIN_LIMITS: Limits = Limits {
    // Each may hold an answer of some megabytes that nobody reads. Half of them can be the server API's.
    connections: 128,
    // Whoever connects and says nothing soon leaves his place to others.
    head_timeout: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(5),
    head_bytes: 32 * 1024,
    drain: Duration::from_secs(1),
    drain_delay: Duration::ZERO,
};
