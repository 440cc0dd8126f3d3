//! A new configuration without a restart: all of it, or the old one stays.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, ConfigFault, Faulty, LoadError, Place, Seen};
use crate::http::tls::LiveTls;
use crate::metrics::Metrics;
use crate::rules::{LiveRules, Rules};
use crate::settings::{Fixed, LiveSites, LogFormat};

/// What is in force, and how to replace it.
#[derive(Debug)]
pub struct Reloader {
    /// The file.
    pub path: PathBuf,
    /// What a new file can't change.
    pub fixed: Fixed,
    /// What it changes.
    pub rules: LiveRules,
    /// The certificates, in the order of `fixed.listen.tls`.
    pub tls: Vec<LiveTls>,
    /// Where KISSmetrics is, and the keys.
    pub sites: LiveSites,
    /// Where it is noted how it went.
    pub metrics: Arc<Metrics>,
    /// What was warned of.
    pub warned: Mutex<Warned>,
}

impl Reloader {
    /// Reads the file on each signal, and with `fixed.watch` when it or a file that it names has changed, until `stop`.
    /// `seen` is what the files said when they were first read.
    ///
    /// One reading ends before the next begins. Signals that come meanwhile ask for one more, however many they are, so
    /// what the last of them meant is read.
    pub async fn run(self, mut signal: Signal, seen: Seen, stop: CancellationToken) {
        let reloader = Arc::new(self);
        let mut watch = Watch::new(seen);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = signal.recv() => true,
                _ = ticks.tick(), if reloader.fixed.watch => false,
            };
            // Reading and checking may take a while; requests go on meanwhile.
            let known = watch.clone();
            let looking = spawn_blocking({
                let reloader = Arc::clone(&reloader);
                move || reloader.look(is_asked, watch)
            });
            let looked = tokio::select! {
                // A file on a disk that does not answer keeps nobody from stopping.
                () = stop.cancelled() => return,
                looked = looking => looked,
            };
            watch = looked.unwrap_or_else(|error| {
                reloader.metrics.reloaded(false);
                tracing::error!(%error, "the configuration could not be checked; the old one stays");
                Watch::new(known.loaded.again())
            });
        }
    }

    fn look(&self, is_asked: bool, mut watch: Watch) -> Watch {
        if is_asked || watch.has_changed() { Watch::new(self.reload()) } else { watch }
    }

    /// Reads the file once, and tells what it said.
    fn reload(&self) -> Seen {
        let (loaded, seen) = if self.path.metadata().is_ok_and(|file| !file.is_file()) {
            // Whoever opens a pipe waits for its other end, which may never come.
            (Err(LoadError::Unreadable(io::Error::other("it is no plain file"))), config::look(&self.path))
        } else {
            config::load(&self.path)
        };
        let is_in_force = match loaded {
            Ok((text, config)) => {
                self.replace(&text, config);
                true
            }
            Err(LoadError::Unreadable(error)) => {
                self.cannot_read(&error);
                false
            }
            Err(LoadError::Faulty(faulty)) => {
                self.refuse(&faulty);
                false
            }
        };
        // At the end: whoever sees it sees the new rules too.
        self.metrics.reloaded(is_in_force);
        seen
    }

    fn cannot_read(&self, error: &io::Error) {
        tracing::error!(file = %self.path.display(), %error, "the configuration can't be read; the old one stays");
    }

    /// For people with a picture of each fault, for programs with fields.
    fn refuse(&self, Faulty { text, faults, .. }: &Faulty) {
        let file = self.path.display();
        let shown = match self.fixed.log.format {
            LogFormat::Json => {
                log_faults(&self.path, faults);
                String::new()
            }
            LogFormat::Text => format!("\n{}", config::render_faults(&file.to_string(), text, faults)),
        };
        tracing::error!(%file, faults = faults.len(), "the configuration is faulty; the old one stays{shown}");
    }

    fn replace(&self, text: &str, config: Config) {
        let Config { fixed, certificates, trusted_proxies, linker, sites, warnings } = config;
        let (pairs, are_told) = (linker.pairs().len(), !sites.is_empty());
        // Before the rules, so that there is no pair without its site.
        self.sites.store(Arc::new(sites));
        self.rules.store(Arc::new(Rules::new(linker, trusted_proxies, self.path.clone())));
        // With other addresses, an entry that moves would leave its old one before it is at the new one.
        if fixed.listen.tls == self.fixed.listen.tls {
            for (live, new) in self.tls.iter().zip(certificates) {
                live.store(new);
            }
        }
        let file = self.path.display();
        tracing::info!(%file, pairs, "configuration read again, and in force");
        self.warned.lock().unwrap_or_else(PoisonError::into_inner).log(&self.path, text, &warnings);
        let waiting = self.fixed.differences(&fixed);
        if !waiting.is_empty() {
            tracing::warn!(%file, keys = waiting.join(", "), "what these keys say now takes a restart");
        }
        if are_told && self.fixed.outbox.is_none() {
            tracing::warn!(%file, "KISSmetrics is told nothing until a restart: there was no `outbox` at the start");
        }
    }
}

/// Logs each fault of a file as an event with fields.
pub fn log_faults(file: &Path, faults: &[ConfigFault]) {
    for fault in faults {
        let (Place { line, column, .. }, problem, hint) = (fault.at, fault.shown_problem(), fault.shown_hint());
        tracing::error!(file = %file.display(), line, column, problem, hint, "a fault in the configuration");
    }
}

/// What the log has said about the configuration in force, so that a reload does not say it again.
#[derive(Debug, Default)]
pub struct Warned(HashMap<Told, usize>);

/// What a warning is known by, wherever it moves: its words, its line, and the lines that this one belongs under.
type Told = (String, String);

impl Warned {
    /// Logs the warnings of a configuration that takes the place of the last one, without those that were there before.
    /// Of those that are alike to the last word none can be told to be new: if there are more now, all are logged. What
    /// says the same of several places is one event, at the first of them, with the number of the others.
    pub fn log(&mut self, file: &Path, text: &str, warnings: &[ConfigFault]) {
        let told = told(text, warnings);
        let mut now = HashMap::new();
        for told in &told {
            *now.entry(told.clone()).or_default() += 1;
        }
        let new = warnings.iter().zip(&told).filter(|(_, told)| now.get(*told) > self.0.get(*told));
        for (warning, more) in config::alike(new.map(|(warning, _)| warning)) {
            let (Place { line, column, .. }, hint) = (warning.at, warning.shown_hint());
            let more = (more > 0).then_some(more);
            tracing::warn!(file = %file.display(), line, column, hint, more, "{}", warning.shown_problem());
        }
        self.0 = now;
    }
}

/// What each of some warnings is known by; they come in the order of the file.
fn told(text: &str, warnings: &[ConfigFault]) -> Vec<Told> {
    let mut told = Vec::new();
    // The line at hand, and above it the lines that it is indented under.
    let mut lines: Vec<(usize, &str)> = Vec::new();
    let mut left = warnings.iter().peekable();
    let is_said = |line: &str| !line.trim().is_empty() && !line.trim().starts_with('#');
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| is_said(line)) {
        let indent = line.len() - line.trim_start().len();
        while lines.pop_if(|(above, _)| *above >= indent).is_some() {}
        lines.push((indent, line.trim()));
        while let Some(warning) = left.next_if(|warning| warning.at.line <= number) {
            let lines: Vec<&str> = lines.iter().map(|(_, line)| *line).collect();
            told.push((warning.problem.clone(), lines.join("\n")));
        }
    }
    told.extend(left.map(|warning| (warning.problem.clone(), String::new())));
    told
}

/// Tells when files say something else than when they were loaded, and have said it for two looks: then whoever writes
/// them has probably come to the end. What was faulty is not loaded again until it changes.
#[derive(Clone)]
struct Watch {
    loaded: Seen,
    last: Seen,
}

impl Watch {
    fn new(loaded: Seen) -> Self {
        Self { last: loaded.clone(), loaded }
    }

    fn has_changed(&mut self) -> bool {
        let now = self.loaded.again();
        let is_steady = now == self.last;
        self.last = now;
        is_steady && self.last != self.loaded
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const PAIRS: &str = "pairs: [{ origin: www.yoursite.com, destination: ok.example }]\n";

    fn watch(file: &Path) -> Watch {
        Watch::new(config::load(file).1)
    }

    /// What three looks in a row say.
    fn looks(watch: &mut Watch) -> [bool; 3] {
        std::array::from_fn(|_| watch.has_changed())
    }

    #[test]
    fn a_change_is_seen_once_it_has_stayed_for_two_looks() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crosslink.yaml");
        fs::write(&file, PAIRS).unwrap();
        let mut watch = watch(&file);
        assert_eq!(looks(&mut watch), [false; 3]);
        // Half of a file that somebody still writes; it would be a right one.
        fs::write(&file, format!("{PAIRS}#")).unwrap();
        assert!(!watch.has_changed());
        fs::write(&file, format!("{PAIRS}# more")).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        // Until it is loaded, it remains a change.
        assert!(watch.has_changed());
    }

    #[test]
    fn what_changes_while_it_is_read_at_the_start_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crosslink.yaml");
        fs::write(&file, PAIRS).unwrap();
        let (loaded, seen) = config::load(&file);
        assert!(loaded.is_ok());
        fs::write(&file, format!("{PAIRS}# more")).unwrap();
        assert_eq!(looks(&mut Watch::new(seen)), [false, true, true]);
    }

    #[test]
    fn a_file_that_says_the_same_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crosslink.yaml");
        fs::write(&file, PAIRS).unwrap();
        let mut watch = watch(&file);
        fs::File::options().append(true).open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(looks(&mut watch), [false; 3]);
        let other = folder.path().join("other");
        fs::write(&other, PAIRS).unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(looks(&mut watch), [false; 3]);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (dated, text) in [("..2026_11_01", PAIRS.to_owned()), ("..2026_11_02", format!("{PAIRS}# more"))] {
            fs::create_dir(path(dated)).unwrap();
            fs::write(path(dated).join("crosslink.yaml"), text).unwrap();
        }
        symlink("..2026_11_01", path("..data")).unwrap();
        symlink("..data/crosslink.yaml", path("crosslink.yaml")).unwrap();
        let mut watch = watch(&path("crosslink.yaml"));
        symlink("..2026_11_02", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert_eq!(looks(&mut watch), [false, true, true]);
    }

    #[test]
    fn a_file_that_vanishes_or_is_named_before_it_is_there_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key = path("key");
        fs::write(path("crosslink.yaml"), format!("keys: [{{ id: a, file: {} }}]\n{PAIRS}", key.display())).unwrap();
        let (loaded, seen) = config::load(&path("crosslink.yaml"));
        assert!(loaded.is_err(), "there is no key yet");
        fs::write(&key, "k4.local.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8\n").unwrap();
        assert_eq!(looks(&mut Watch::new(seen)), [false, true, true]);
        let (loaded, seen) = config::load(&path("crosslink.yaml"));
        assert!(loaded.is_ok());
        fs::remove_file(path("crosslink.yaml")).unwrap();
        assert_eq!(looks(&mut Watch::new(seen)), [false, true, true]);
    }
}
