//! `crosslink outbox`: the events that KISSmetrics refused.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::{self, ErrorKind, IsTerminal};
use std::time::{Duration, Instant, UNIX_EPOCH};

use clap::Subcommand;

use super::{ConfigFile, Failure, count, print, runtime};
use crate::config::Config;
use crate::metrics::Attempt;
use crate::outbox::{DeadLetter, DeadLetters, Kind, LetterId, Letters, Resent, resend, site_of};
use crate::settings::{OutboxPlace, OutboxSettings};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, without any identity
    List(Configured),
    /// Show them as a whole, with their identities, which belong to your visitors
    Show(Chosen),
    /// Send them again; those that are refused again stay
    Retry(Again),
    /// Take them away for good
    Drop(Chosen),
}

#[derive(Debug, clap::Args)]
struct Configured {
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct Chosen {
    /// Which, by the ids that `list` shows
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<LetterId>,
    /// All of them; `drop` also takes those that can't be read
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct Again {
    #[command(flatten)]
    chosen: Chosen,
    /// Send those whose site no pair has any more to this one, named as `list` does
    #[arg(long, value_name = "SITE")]
    to_site: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.action {
        Action::List(Configured { config }) => list(&DeadBox::of(config)?),
        Action::Show(chosen) => show(chosen),
        Action::Retry(again) => retry(again),
        Action::Drop(chosen) => {
            let dead = DeadBox::of(&chosen.config)?;
            let letters = dead.chosen(chosen)?;
            let ids = letters.iter().map(|letter| letter.id).collect();
            let unreadable = dead.letters.remove(&ids, chosen.all).map_err(|error| dead.failed(&error))?;
            let mut shown = format!("{} dropped\n", count(letters.len(), "event"));
            if unreadable > 0 {
                // Writing to a text does not fail.
                let _ = writeln!(shown, "{} dropped that could not be read", count(unreadable, "event"));
            }
            print(&shown)
        }
    }
}

/// The dead letters of a configuration.
struct DeadBox {
    config: Config,
    settings: OutboxSettings,
    letters: DeadLetters,
}

impl DeadBox {
    fn of(file: &ConfigFile) -> Result<Self, Failure> {
        let config = file.load()?.config;
        let Some(settings) = config.fixed.outbox.clone() else {
            return Err(Failure::new(
                "this configuration has no outbox",
                "name the file of the service with --config FILE",
            ));
        };
        let letters = DeadLetters::of(&settings);
        Ok(Self { config, settings, letters })
    }

    fn read(&self) -> Result<Letters, Failure> {
        self.letters.read().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let hint = match &self.settings.place {
            OutboxPlace::Directory(_) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                "nothing was taken away: make room on its disk; only `drop --all` needs none"
            }
            OutboxPlace::Directory(_) => "run it as the user under whom crosslink runs",
            OutboxPlace::Stream(_) => "look at the store, and at `outbox.password`",
        };
        Failure::new(format!("the outbox in {} can't be used: {error}", self.settings.place), hint)
    }

    /// Those that the arguments name.
    fn chosen(&self, chosen: &Chosen) -> Result<Vec<DeadLetter>, Failure> {
        let mut letters = self.read()?.all;
        if let Some(id) = chosen.ids.iter().find(|id| !letters.iter().any(|letter| letter.id.names(**id))) {
            return Err(Failure::new(
                format!("there is no event {id}"),
                "`crosslink outbox list` shows those that there are",
            ));
        }
        letters.retain(|letter| chosen.all || chosen.ids.iter().any(|id| id.names(letter.id)));
        Ok(letters)
    }
}

fn list(dead: &DeadBox) -> Result<(), Failure> {
    let Letters { all: letters, unreadable } = dead.read()?;
    let mut shown = String::new();
    if !letters.is_empty() {
        // Writing to a text does not fail.
        let _ = writeln!(shown, "{:<9}{:<22}{:<8}WHY, AND SITE", "ID", "REFUSED", "KIND");
    }
    for DeadLetter { id, record, why, since } in &letters {
        let site = printable(&record.site);
        let _ = writeln!(shown, "{id:<9}{:<22}{:<8}{}, {site}", time(*since), record.kind(), printable(why));
    }
    let _ = writeln!(shown, "{}", count(letters.len(), "event"));
    print(&shown)?;
    if unreadable == 0 {
        return Ok(());
    }
    let hint =
        "what is damaged the next start of the service mends; what another version has written goes with `drop --all`";
    Err(Failure::new(format!("parts of what was set aside can't be read: {unreadable}"), hint))
}

fn show(chosen: &Chosen) -> Result<(), Failure> {
    let mut shown = String::new();
    for DeadLetter { id, record, why, since } in DeadBox::of(&chosen.config)?.chosen(chosen)? {
        // Writing to a text does not fail.
        let _ = writeln!(shown, "{id}: refused {}, {}", time(since), printable(&why));
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(shown, "  {name}: {}", printable(value));
        };
        line("site", &record.site);
        line("time", &time(record.at));
        line("person", &record.person);
        match &record.what {
            Kind::Alias(other) => line("alias", other),
            Kind::Record(name, _) => line("record", name),
            Kind::Set(_) => {}
        }
        for (name, value) in record.properties() {
            line(&format!("property {}", printable(name)), value);
        }
    }
    print(&shown)
}

fn retry(Again { chosen, to_site }: &Again) -> Result<(), Failure> {
    let dead = DeadBox::of(&chosen.config)?;
    let (sites, mut letters) = (&dead.config.sites, dead.chosen(chosen)?);
    if let Some(site) = to_site {
        if !sites.contains_key(site.as_str()) {
            let mut known: Vec<_> = sites.keys().map(|name| format!("`{name}`")).collect();
            known.sort();
            let problem = format!("no pair has the site `{site}`; there are: {}", known.join(", "));
            return Err(Failure::new(problem, "take one of them, as a whole"));
        }
        let homeless = letters.iter_mut().filter(|letter| site_of(&letter.record.site, sites).is_none());
        homeless.for_each(|letter| letter.record.site.clone_from(site));
    }
    let mut progress = Progress::of(letters.len());
    let (mut delivered, mut kept) = (BTreeSet::new(), Vec::new());
    let mut tell = |resent: Resent| {
        progress.step();
        if resent.attempt != Attempt::Ok {
            return kept.push(resent);
        }
        delivered.insert(resent.id);
        // So that whoever breaks it off does not begin anew. What fails here is tried again at the end.
        if delivered.len() % REMOVED_AT_ONCE == 0 {
            let _ = dead.letters.remove(&delivered, false);
        }
    };
    let sent = runtime()?.block_on(resend(&dead.settings, dead.config.sites.clone(), letters, &mut tell));
    progress.end();
    sent.map_err(|error| Failure::new(format!("nothing can be sent: {error}"), "look at `outbox.ca_file`"))?;
    let mut shown = format!("{} delivered\n", count(delivered.len(), "event"));
    if let Err(error) = dead.letters.remove(&delivered, false) {
        print(&shown)?;
        return Err(dead.failed(&error));
    }
    let left = progress.all - delivered.len();
    // Writing to a text does not fail.
    match kept.last() {
        Some(last) if kept.len() + delivered.len() < progress.all => {
            let _ = writeln!(shown, "given up after ten without an answer: {}", printable(&last.why));
        }
        _ => {
            for Resent { id, why, .. } in kept.iter().take(MOST_SHOWN) {
                let _ = writeln!(shown, "{id} stays: {}", printable(why));
            }
        }
    }
    if left > 0 {
        let _ = writeln!(shown, "{} left", count(left, "event"));
    }
    print(&shown)?;
    if left > 0 { Err(Failure::shown()) } else { Ok(()) }
}

/// How far a longer work has come, on stderr: for people as a line that changes, else now and then as a new one.
struct Progress {
    all: usize,
    done: usize,
    told: Instant,
    is_terminal: bool,
}

impl Progress {
    fn of(all: usize) -> Self {
        Self { all, done: 0, told: Instant::now(), is_terminal: io::stderr().is_terminal() }
    }

    fn step(&mut self) {
        self.done += 1;
        let pause = if self.is_terminal { Duration::from_millis(100) } else { Duration::from_secs(10) };
        if self.told.elapsed() < pause {
            return;
        }
        self.told = Instant::now();
        let (begin, end) = if self.is_terminal { ("\r", "") } else { ("", "\n") };
        write_progress(&format!("{begin}{} of {} sent{end}", self.done, self.all));
    }

    fn end(&self) {
        if self.is_terminal {
            write_progress("\r\x1b[K");
        }
    }
}

fn write_progress(text: &str) {
    // Nobody is left to be told if stderr is closed.
    let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
}

fn time(seconds: u64) -> String {
    // The last second that has four digits for its year.
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))).to_string()
}

/// What came from elsewhere, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

const REMOVED_AT_ONCE: usize = 1000;
const MOST_SHOWN: usize = 20;
