//! `crosslink check`: is this file right?

use std::fmt::{Display, Write};

use super::{ConfigFile, Failure, Loaded, count, print};
use crate::config::render_warnings;
use crate::link::{CookieName, Linker};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Loaded { path, text, config, .. } = arguments.config.load()?;
    let file = path.display().to_string();
    eprint_warnings(&render_warnings(&file, &text, &config.warnings));
    let (pairs, links) = (config.linker.pairs().len(), config.linker.links());
    let mut shown = format!("{file}: ok, {}, {}\n", count(pairs, "pair"), count(links, "link"));
    show_cookie_domains(&config.linker, &mut shown);
    print(&shown)
}

/// Warnings go to stderr, so that the result stays one line to look for.
fn eprint_warnings(shown: &str) {
    // Nobody is left to be warned if stderr is closed.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), shown.as_bytes());
}

/// Says where each cookie that is set will be valid, since that depends on the public suffix list.
fn show_cookie_domains(linker: &Linker, shown: &mut String) {
    let mut show = |host: &dyn Display, cookie: &CookieName, domain: Option<&str>| {
        let scope = match domain {
            Some(domain) => format!("valid on {domain} and every host below it"),
            None => "valid on that host alone".to_owned(),
        };
        // Writing to a text does not fail.
        let _ = writeln!(shown, "  {host}: sets the cookie {cookie}, {scope}");
    };
    let mut last = None;
    for minted in linker.minted_cookies() {
        // An origin may have several pairs with the same one.
        if last.replace(minted) != Some(minted) {
            show(&minted.0, minted.1.name, minted.1.domain);
        }
    }
    for (pair, entry) in linker.destinations() {
        if let Some(landing) = &pair.landing {
            show(&entry, &landing.cookie, landing.domain.attribute(entry.site()));
        }
    }
}
