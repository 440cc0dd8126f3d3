//! The page on which an operator sees how it goes.

use std::time::Duration;

use hyper::Method;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use url::form_urlencoded;

use crate::explain::{Explained, Question, Unaskable, explain};
use crate::link::Pair;
use crate::metrics::{Hindrance, Metrics, OutboxCounts};
use crate::rules::Rules;

/// The link that somebody wants explained.
#[derive(Debug, Default)]
pub(super) struct Asked {
    url: String,
    cookie: String,
    header: String,
    peer: String,
}

impl Asked {
    /// Reads what the page's own form sends.
    pub(super) fn parse(query: &str) -> Self {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "url" => asked.url = value.into_owned(),
                "cookie" => asked.cookie = value.into_owned(),
                "header" => asked.header = value.into_owned(),
                "peer" => asked.peer = value.into_owned(),
                _ => {}
            }
        }
        asked
    }
}

pub(super) fn render(rules: &Rules, metrics: &Metrics, uptime: Duration, asked: &Asked) -> String {
    let uptime = Duration::from_secs(uptime.as_secs());
    let pairs = rules.linker.pairs().len();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "crosslink" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "crosslink " (env!("CARGO_PKG_VERSION")) }
                    (facts(rules, metrics, uptime))
                    h2 { "Pairs" }
                    @if pairs > MOST_PAIRS {
                        p { "These are the first " (MOST_PAIRS) "; the other " (pairs - MOST_PAIRS) " are left out here, but not from " a href="/metrics" { "/metrics" } "." }
                    }
                    @for pair in rules.linker.pairs().take(MOST_PAIRS) { (pair_section(&pair, metrics)) }
                    h2 { "Refusals" }
                    (refusals(metrics))
                    h2 id="explain" { "Explain this link" }
                    (explain_form(rules, asked))
                }
            }
        }
    };
    page.into_string()
}

fn facts(rules: &Rules, metrics: &Metrics, uptime: Duration) -> Markup {
    html! {
        dl {
            dt { "Up for" }
            dd { (humantime::format_duration(uptime)) }
            dt { "Configuration" }
            dd { code { (rules.path.display()) } ", in force since " time { (humantime::format_rfc3339_seconds(rules.read_at)) } }
            @if let Some(outbox) = metrics.outbox() {
                dt { "Outbox" }
                dd { (outbox_state(outbox)) }
            }
        }
        @if !metrics.last_reload_successful() {
            p.wrong role="status" { "The configuration was faulty or gone when it was last read: the log says why." }
        }
    }
}

/// How events get on.
fn outbox_state(outbox: &OutboxCounts) -> Markup {
    let (waiting, oldest, dead) = outbox.state();
    html! {
        (waiting) " events wait"
        @if waiting > 0 { ", the oldest for " (humantime::format_duration(Duration::from_secs(oldest))) }
        @if dead > 0 { "; " (dead) " were refused, and set aside" }
        @if outbox.open_circuits.get() > 0 { "; KISSmetrics takes no events" }
        @if outbox.is_hindered_by(Hindrance::Away) { "; its store is away, or fails" }
        @else if outbox.is_hindered_by(Hindrance::Unwritable) { "; its disk or store takes nothing" }
        @if outbox.is_hindered_by(Hindrance::Full) { "; the outbox is full" }
    }
}

fn pair_section(pair: &Pair<'_>, metrics: &Metrics) -> Markup {
    let hand_offs = metrics.hand_offs(pair);
    let landings = metrics.landings(pair);
    let sum = |counted: &[(&str, u64)], words: &[&str]| -> u64 {
        counted.iter().filter(|(word, _)| words.contains(word)).map(|(_, count)| count).sum()
    };
    let left = sum(&hand_offs, &["named", "anonymous"]);
    let arrived = sum(&landings, &["set", "same", "replaced", "kept"]);
    html! {
        section {
            h3 { (pair.name) }
            (bars("Hand-offs, by the identity that went along", &hand_offs))
            @if pair.landing.is_some() {
                (bars("Landings, by what became of the identity", &landings))
                @if left > 0 { (share(arrived, left)) }
            }
        }
    }
}

/// How many of those who left with an identity arrived with it. More than all may seem to: these counters need not have
/// seen every hand-off, and saw some arrive twice.
fn share(arrived: u64, left: u64) -> Markup {
    let percent = arrived.min(left).saturating_mul(100) / left;
    html! {
        table {
            caption { "Of " (left) " identities that left here, " (arrived) " arrived" }
            tr { th scope="row" { "share" } td.number { (percent) "\u{a0}%" } td { (bar(arrived.min(left), left)) } }
        }
        @if arrived > left {
            p { "More arrived than left: another instance counted the other hand-offs, or this one before it was started anew, or a plain link was opened again." }
        }
    }
}

fn refusals(metrics: &Metrics) -> Markup {
    bars("Requests that were not served, by code", &metrics.refusals())
}

fn bars(caption: &str, counted: &[(&str, u64)]) -> Markup {
    let most = counted.iter().map(|(_, count)| *count).max().unwrap_or(0);
    html! {
        @if most == 0 { p { (caption) ": none yet" } }
        @else {
            table {
                caption { (caption) }
                @for (word, count) in counted.iter().filter(|(_, count)| *count > 0) {
                    tr { th scope="row" { code { (word) } } td.number { (count) } td { (bar(*count, most)) } }
                }
            }
        }
    }
}

/// A plain bar; the number stands beside it, so it is of no use to who can't see it.
fn bar(part: u64, whole: u64) -> Markup {
    // What is there is seen, however little it is.
    let percent = (part.saturating_mul(100) / whole.max(1)).max(u64::from(part > 0));
    html! {
        svg height="10" aria-hidden="true" {
            rect.track width="100%" height="10" {}
            rect.part width={ (percent) "%" } height="10" {}
        }
    }
}

fn explain_form(rules: &Rules, asked: &Asked) -> Markup {
    html! {
        form action="/#explain" {
            label for="url" { "The link's whole address, or that of a page on the destination" }
            input id="url" name="url" value=(asked.url) autocomplete="off" required;
            label for="cookie" { "The visitor's cookies, such as " code { "km_ni=bob%40bob.com" } }
            input id="cookie" name="cookie" value=(asked.cookie) autocomplete="off";
            label for="header" { "Another header, such as " code { "Sec-GPC: 1" } }
            input id="header" name="header" value=(asked.header) autocomplete="off";
            label for="peer" { "The address of the proxy that passes it on, such as " code { "127.0.0.1" } }
            input id="peer" name="peer" value=(asked.peer) autocomplete="off";
            button { "Explain" }
        }
        @if !asked.url.is_empty() { pre { (explanation(rules, asked)) } }
    }
}

fn explanation(rules: &Rules, asked: &Asked) -> String {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let cookies: Vec<String> = given(&asked.cookie).into_iter().collect();
    let headers: Vec<String> = given(&asked.header).into_iter().collect();
    let trusted = asked.peer.parse().is_ok_and(|peer| rules.trusts(peer));
    let question = Question { method: &Method::GET, url: &asked.url, cookies: &cookies, headers: &headers, trusted };
    match explain(&rules.linker, question) {
        Ok(Explained { text, .. }) => text,
        Err(Unaskable { problem, hint }) => format!("{problem}\n{hint}"),
    }
}

/// A page for people: whoever has more pairs asks Prometheus.
const MOST_PAIRS: usize = 100;

const STYLE: &str = "
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0; background: Canvas; color: CanvasText; }
main { max-width: 44rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { margin: 1rem 0; }
h2 { margin: 2.5rem 0 1rem; border-bottom: 1px solid #8888; }
h3 { margin: 2rem 0 .5rem; }
p { margin: .5rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dd { margin: 0; }
table { width: 100%; table-layout: fixed; border-collapse: collapse; margin: .75rem 0; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { padding: 0; }
th { width: 9rem; text-align: left; font-weight: normal; }
.number { width: 5.5rem; text-align: right; padding-right: 1rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; }
.track { fill: #8884; } .part { fill: #2a78d6; }
label { display: block; margin-top: .75rem; }
input { width: 100%; box-sizing: border-box; font: inherit; padding: .25rem; }
button { margin-top: 1rem; font: inherit; padding: .25rem 1rem; }
pre { overflow-x: auto; padding: 1rem; background: #8882; white-space: pre-wrap; }
.wrong { border-left: .25rem solid #c22; padding-left: .75rem; }
";
