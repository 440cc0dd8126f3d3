//! `crosslink demo`: a shop, two checkouts, and crosslink between them, in one process on this machine.

mod page;
mod sites;

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::serve::{ADMIN_LIMITS, spawn_sink, stop_on_signals};
use super::{Failure, cannot_listen, keygen, print, runtime};
use crate::admin::{Admin, Audience};
use crate::config::{self, Config};
use crate::http::handler::Handler;
use crate::http::request_log::RequestLog;
use crate::http::server::{self, Listener, Terms};
use crate::link::{Key, Keys};
use crate::metrics::Metrics;
use crate::replay::UsedTokens;
use crate::rules::Rules;
use crate::settings::{Log, LogFormat, LoggedRequests};
use crate::sink::Sink;
use sites::{CHECKOUT, SEALED, SHOP, Sites};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Listen here [default: 127.0.0.1:8080 or, if that is taken, a free port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(address) = arguments.listen.filter(|address| !address.ip().is_loopback()) {
        return Err(Failure::usage(
            format!("the demo does not listen on {address}: it is for this machine alone"),
            "choose a loopback address, such as 127.0.0.1:8080",
        ));
    }
    let sink = spawn_sink(io::stdout())?;
    let served = runtime()?.block_on(serve(arguments.listen, &sink));
    // Whether a line of a demo's log was dropped is of no interest.
    let _ = sink.close(Duration::from_secs(1));
    served
}

/// Serves the sites, and beside them the operator's port, until a signal.
async fn serve(wanted: Option<SocketAddr>, sink: &Sink) -> Result<(), Failure> {
    let (address, visitors) = listen(wanted).await?;
    let (status, operators) = listen(Some(SocketAddr::new(address.ip(), 0))).await?;
    let text = configuration(address.port());
    let Config { linker, trusted_proxies, fixed, .. } = configured(&text)?;
    let stop = stop_on_signals()?;
    print(&welcome(address.port(), status, &text))?;
    let log = RequestLog::new(sink.clone(), Log { format: LogFormat::Text, requests: LoggedRequests::All });
    let rules = Rules::new(linker, trusted_proxies, PathBuf::from("demo")).live();
    let metrics = Arc::new(Metrics::new(1));
    metrics.reloaded(true);
    let used = Arc::new(UsedTokens::new(fixed.replay));
    let crosslink = Handler::new(Arc::clone(&rules), used, log, Arc::clone(&metrics));
    let admin = Admin::new(rules, metrics, sink.clone(), stop.clone(), Audience::of(status));
    tokio::join!(
        server::run(vec![operators], admin, Terms::new(ADMIN_LIMITS, stop.clone())),
        server::run(vec![visitors], Sites::new(crosslink, address.port(), status), Terms::new(fixed.limits, stop)),
    );
    Ok(())
}

/// Listens there; on the usual port or, if that is taken, a free one, if nobody says where.
async fn listen(wanted: Option<SocketAddr>) -> Result<(SocketAddr, Listener), Failure> {
    let address = wanted.unwrap_or(DEFAULT_ADDRESS);
    let mut bound = TcpListener::bind(address).await;
    if wanted.is_none() && bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
        bound = TcpListener::bind(SocketAddr::new(address.ip(), 0)).await;
    }
    let listening = bound.and_then(|socket| Ok((socket.local_addr()?, Listener { socket, tls: None })));
    listening.map_err(|error| cannot_listen(address, "--listen ADDR", &error))
}

fn configuration(port: u16) -> String {
    format!(
        "\
pairs:
  - name: plain
    origin: {SHOP}:{port}
    destination: http://{CHECKOUT}:{port}
    links:
      checkout: /cart
    hand_off: plain
    landing:
      accept: plain
  - name: sealed
    origin: {SHOP}:{port}
    destination: http://{SEALED}:{port}
    links:
      sealed: /cart
    hand_off: sealed
    landing: {{}}
"
    )
}

/// Checks the configuration, with a key that is nowhere but in memory.
fn configured(text: &str) -> Result<Config, Failure> {
    let keys = Key::parse("demo", &keygen::generate()?).into_iter().collect();
    config::parse_with_keys(text, Keys::new(keys)).map_err(|faults| {
        Failure::new(config::render_faults("demo", text, &faults), "this is a mistake in crosslink itself")
    })
}

fn welcome(port: u16, status: SocketAddr, configuration: &str) -> String {
    let mut text = format!(
        "\
A shop, two checkouts, and crosslink between them. Open this in a browser:

  http://{SHOP}:{port}/

The operator's status page is at http://{status}/

Three names, so three cookie jars. All that crosslink was told, besides a key that was made just now and is in no file:

"
    );
    for line in configuration.lines() {
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("\nHand-offs and landings show up below. Ctrl-C ends the demo.\n\n");
    text
}

const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
