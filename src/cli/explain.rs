//! `crosslink explain`: what would happen to this link, and why?

use hyper::Method;

use super::{ConfigFile, Failure, print};
use crate::explain::{Question, Unaskable, explain};

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
    /// The method of the request
    #[arg(long, default_value = "GET")]
    method: Method,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { url, cookie, header, method, config } = arguments;
    let question = Question { method, url, cookies: cookie, headers: header };
    let loaded = config.load()?;
    let explained = explain(&loaded.config.linker, question)
        .map_err(|Unaskable { problem, hint }| Failure::usage(problem, hint))?;
    print(&explained.text)?;
    if explained.refused { Err(Failure::shown()) } else { Ok(()) }
}
