//! `crosslink demo`: a shop, a checkout, and crosslink between them, in one process on this machine.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpListener;

use super::serve::{spawn_sink, stop_on_signals};
use super::{Failure, cannot_listen, print, runtime};
use crate::config;
use crate::http::content::Content;
use crate::http::handler::Handler;
use crate::http::head::Asked;
use crate::http::request_log::RequestLog;
use crate::http::server::{self, Answer, Answered, Listener, Terms};
use crate::link::{CookieName, HostPort, Identity, Visit, read_cookie};
use crate::replay::UsedTokens;
use crate::rules::Rules;
use crate::settings::{Log, LogFormat, LoggedRequests};

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
    let served = runtime()?.block_on(async {
        let listener = bind(arguments.listen).await?;
        let address = listener.local_addr().map_err(|error| cannot_listen(DEFAULT_ADDRESS, "--listen ADDR", &error))?;
        let text = configuration(address.port());
        let config = config::parse(&text).map_err(|faults| {
            Failure::new(config::render_faults("demo", &text, &faults), "this is a mistake in crosslink itself")
        })?;
        let stop = stop_on_signals()?;
        print(&welcome(address.port(), &text))?;
        let log = RequestLog::new(sink.clone(), Log { format: LogFormat::Text, requests: LoggedRequests::All });
        let rules = Rules::new(config.linker, config.trusted_proxies, PathBuf::from("demo")).live();
        let used = Arc::new(UsedTokens::new(config.fixed.replay));
        let demo = Demo {
            crosslink: Handler::new(rules, used, log, Arc::default()),
            port: address.port(),
            last_seen: Mutex::default(),
        };
        server::run(vec![Listener { socket: listener, tls: None }], demo, Terms::new(config.fixed.limits, stop)).await;
        Ok(())
    });
    // Whether a line of a demo's log was dropped is of no interest.
    let _ = sink.close(Duration::from_secs(1));
    served
}

async fn bind(wanted: Option<SocketAddr>) -> Result<TcpListener, Failure> {
    let address = wanted.unwrap_or(DEFAULT_ADDRESS);
    match TcpListener::bind(address).await {
        Err(error) if wanted.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
            let any = SocketAddr::new(DEFAULT_ADDRESS.ip(), 0);
            TcpListener::bind(any).await.map_err(|error| cannot_listen(any, "--listen ADDR", &error))
        }
        bound => bound.map_err(|error| cannot_listen(address, "--listen ADDR", &error)),
    }
}

fn configuration(port: u16) -> String {
    format!(
        "\
pairs:
  - origin: {SHOP}:{port}
    destination: http://{CHECKOUT}:{port}
    links:
      checkout: /cart
    landing: {{}}
"
    )
}

fn welcome(port: u16, configuration: &str) -> String {
    let mut text = format!(
        "\
A shop, a checkout, and crosslink between them. Open this in a browser:

  http://{SHOP}:{port}/

Two names, so two cookie jars. All that crosslink was told:

"
    );
    for line in configuration.lines() {
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("\nHand-offs and landings show up below. Ctrl-C ends the demo.\n\n");
    text
}

/// Two sites, with crosslink in front of both.
struct Demo {
    crosslink: Handler,
    port: u16,
    /// Who was in the shop last, so that the checkout can say whether it got the same.
    last_seen: Mutex<Option<Identity<'static>>>,
}

impl Answer for Demo {
    fn answer(&self, head: Parts, peer: IpAddr) -> Answered<'_> {
        match self.page(&Asked::of(&head).visit(SystemTime::now())) {
            Some(page) => server::now(page),
            None => self.crosslink.answer(head, peer),
        }
    }

    fn unreadable(&self, too_large: bool) {
        self.crosslink.unreadable(too_large);
    }
}

impl Demo {
    /// The page of one of the two sites. On the checkout it answers only where crosslink has nothing to do.
    fn page(&self, visit: &Visit<'_>) -> Option<Response<Content>> {
        let host = HostPort::parse(visit.host?)?;
        if host.host == SHOP {
            self.remember(visit);
            return (visit.path == "/").then(|| self.shop());
        }
        let lands = visit.query.is_some_and(|query| crate::link::Parameter::default().is_in(query));
        (host.host == CHECKOUT && visit.path == "/cart" && !lands).then(|| self.checkout(visit))
    }

    fn shop(&self) -> Response<Content> {
        let checkout = format!("http://{CHECKOUT}:{}", self.port);
        let escaped = utf8_percent_encode(&checkout, ESCAPED).to_string();
        page(SHOP_PAGE, &[("checkout", &checkout), ("checkout_escaped", &escaped)])
    }

    fn checkout(&self, visit: &Visit<'_>) -> Response<Content> {
        let identity = identity(visit);
        let value = identity.as_ref().map_or("none", |identity| identity.reveal());
        let last_seen = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (verdict, verdict_text) = match &identity {
            None => ("none", "The checkout knows nobody: no identity came along."),
            same if *same == *last_seen => ("match", "The same person as in the shop."),
            Some(_) => ("differs", "Not who was in the shop last. A name that the checkout knows stays (keep_named)."),
        };
        let url = format!("http://{CHECKOUT}:{}{}", self.port, path_and_query(visit));
        page(
            CHECKOUT_PAGE,
            &[
                ("identity", &escape(value)),
                ("class", identity.as_ref().map_or("none", |identity| identity.class().as_str())),
                ("verdict", verdict),
                ("verdict_text", verdict_text),
                ("cookies", &cookie_rows(visit)),
                ("url", &escape(&url)),
                ("shop", &format!("http://{SHOP}:{}", self.port)),
            ],
        )
    }

    fn remember(&self, visit: &Visit<'_>) {
        if let Some(identity) = identity(visit) {
            *self.last_seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity.into_owned());
        }
    }
}

/// What the KISSmetrics script would say: `km_ni`, else `km_ai`.
fn identity<'a>(visit: &Visit<'a>) -> Option<Identity<'a>> {
    let usable =
        |name| read_cookie(visit.cookies, &CookieName::new(name)).and_then(|value| Identity::from_cookie(value).ok());
    usable("km_ni").or_else(|| usable("km_ai"))
}

fn path_and_query(visit: &Visit<'_>) -> String {
    visit.query.map_or_else(|| visit.path.to_owned(), |query| format!("{}?{query}", visit.path))
}

fn cookie_rows(visit: &Visit<'_>) -> String {
    let mut rows = String::new();
    for cookie in visit.cookies.iter().flat_map(|field| field.split(|byte| *byte == b';')) {
        let cookie = String::from_utf8_lossy(cookie);
        let (name, value) = cookie.trim().split_once('=').unwrap_or((cookie.trim(), ""));
        // Writing to a text does not fail.
        let _ =
            writeln!(rows, "<tr><td><code>{}</code></td><td><code>{}</code></td></tr>", escape(name), escape(value));
    }
    rows
}

/// Fills each `{{name}}` of a template once, so that a value which looks like one stays a value.
fn page(template: &str, values: &[(&str, &str)]) -> Response<Content> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        text.push_str(before);
        text.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    text.push_str(rest);
    let mut response = Response::new(Content::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Text for HTML, in elements and attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

const SHOP: &str = "www.yoursite.localhost";
const CHECKOUT: &str = "checkout.localhost";
const SHOP_PAGE: &str = include_str!("demo/shop.html");
const CHECKOUT_PAGE: &str = include_str!("demo/checkout.html");
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// As `encodeURIComponent` would, for a host and a port.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');
