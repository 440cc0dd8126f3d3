//! `crosslink serve`: the service.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{ConfigFile, EXIT_FAILED, Failure, Loaded, cannot_listen, runtime};
use crate::http::handler::Handler;
use crate::http::request_log::RequestLog;
use crate::http::server;
use crate::replay::UsedTokens;
use crate::settings::{Limits, LogFormat};
use crate::sink::Sink;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Listen here, instead of where the file says; repeat it for several addresses
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Loaded { path, config, .. } = arguments.config.load()?;
    let [events, requests] = [spawn_sink(io::stderr())?, spawn_sink(io::stdout())?];
    log_events(config.log.format, &events);
    tracing::info!(file = %path.display(), pairs = config.linker.pairs().len(), "configuration read");
    for warning in &config.warnings {
        tracing::warn!(line = warning.at.line, column = warning.at.column, "{}", warning.problem);
    }
    let addresses = if arguments.listen.is_empty() { &config.listen } else { &arguments.listen };
    let runtime = runtime()?;
    let inside = runtime.enter();
    let handler = Handler::new(
        Arc::new(config.linker),
        Arc::new(UsedTokens::new(config.replay)),
        RequestLog::new(requests.clone(), config.log),
    );
    drop(inside);
    let served = runtime.block_on(serve(addresses, handler, config.limits));
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

async fn serve(addresses: &[SocketAddr], handler: Handler, limits: Limits) -> Result<usize, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|error| cannot_listen(*address, &error))?;
        let address = listener.local_addr().map_err(|error| cannot_listen(*address, &error))?;
        tracing::info!(%address, "listening");
        listeners.push(listener);
    }
    let stop = stop_on_signals()?;
    Ok(server::run(listeners, handler, limits, stop).await)
}

/// A token that SIGTERM or Ctrl-C cancels; a second one of them ends the program at once.
pub(super) fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let no_signals = |error| Failure::new(format!("cannot wait for signals: {error}"), "look at the system's limits");
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
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
            tracing::info!("stopping: requests under way are answered");
            token.cancel();
        }
    });
    Ok(stop)
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
