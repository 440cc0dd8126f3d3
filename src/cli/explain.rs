//! `crosslink explain`: what would happen to this link, and why?

use std::net::IpAddr;

use hyper::Method;

use super::{ConfigFile, Failure, print};
use crate::explain::{Question, Unaskable, explain};
use crate::rules::is_among;

// Without `Debug`: it holds the cookies of a visitor.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The link's whole address, or that of a page on the destination
    #[arg(value_name = "URL")]
    url: String,
    /// The visitor's cookies, as the browser sends them
    #[arg(long, value_name = "'km_ni=...'")]
    cookie: Vec<String>,
    /// Another header of the request; `Host` replaces the URL's
    #[arg(long, value_name = "'Name: value'")]
    header: Vec<String>,
    /// The address that the request comes from: whether it is one of `trusted_proxies` counts
    #[arg(long, value_name = "ADDR")]
    peer: Option<IpAddr>,
    /// The method of the request
    #[arg(long, default_value = "GET")]
    method: Method,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { url, cookie, header, peer, method, config } = arguments;
    let loaded = config.load()?;
    let trusted = peer.is_some_and(|peer| is_among(peer, &loaded.config.trusted_proxies));
    let question = Question { method, url, cookies: cookie, headers: header, trusted };
    let explained = explain(&loaded.config.linker, question)
        .map_err(|Unaskable { problem, hint }| Failure::usage(problem, hint))?;
    print(&explained.text)?;
    if explained.refused { Err(Failure::shown()) } else { Ok(()) }
}
