//! A new configuration without a restart: all of it, or the old one stays.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, LoadError};
use crate::http::tls::LiveTls;
use crate::metrics::Metrics;
use crate::rules::{LiveRules, Rules};
use crate::settings::Fixed;

/// What is in force, and how to replace it.
#[derive(Clone, Debug)]
pub struct Reloader {
    /// The file.
    pub path: PathBuf,
    /// What a new file can't change.
    pub fixed: Fixed,
    /// What it changes.
    pub rules: LiveRules,
    /// The certificates, in the order of `fixed.listen.tls`.
    pub tls: Vec<LiveTls>,
    /// Where it is noted how it went.
    pub metrics: Arc<Metrics>,
}

impl Reloader {
    /// Reads the file on each signal, and with `fixed.watch` when it or a file that it names has changed, until `stop`.
    pub async fn run(self, mut signal: Signal, files: Vec<PathBuf>, stop: CancellationToken) {
        let reloader = Arc::new(self);
        let mut watch = Watch::new(&reloader.path, files);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = signal.recv() => true,
                _ = ticks.tick(), if reloader.fixed.watch => false,
            };
            let reloader = Arc::clone(&reloader);
            // Reading and checking may take a while; requests go on meanwhile.
            let looked = spawn_blocking(move || {
                if is_asked || watch.has_changed() {
                    watch.loaded(reloader.reload());
                }
                watch
            });
            match looked.await {
                Ok(after) => watch = after,
                // The old rules stay; there is nothing more to watch with.
                Err(error) => return tracing::error!(%error, "the configuration is not watched any more"),
            }
        }
    }

    /// Reads the file once. Gives the other files that it names, if it is in force now.
    fn reload(&self) -> Option<Vec<PathBuf>> {
        let loaded = config::load(&self.path);
        self.metrics.reloaded(loaded.is_ok());
        match loaded {
            Ok((_, config)) => Some(self.replace(config)),
            Err(LoadError::Unreadable(error)) => {
                tracing::error!(%error, "the configuration can't be read; the old one stays");
                None
            }
            Err(LoadError::Faulty(text, faults)) => {
                let shown = config::render_faults(&self.path.display().to_string(), &text, &faults);
                tracing::error!(faults = faults.len(), "the configuration is faulty; the old one stays\n{shown}");
                None
            }
        }
    }

    fn replace(&self, config: Config) -> Vec<PathBuf> {
        let Config { fixed, certificates, trusted_proxies, files, linker, warnings } = config;
        let pairs = linker.pairs().len();
        self.rules.store(Arc::new(Rules::new(linker, trusted_proxies, self.path.clone())));
        for (address, new) in fixed.listen.tls.iter().zip(certificates) {
            let known = self.fixed.listen.tls.iter().position(|known| known == address);
            if let Some(live) = known.and_then(|number| self.tls.get(number)) {
                live.store(new);
            }
        }
        tracing::info!(pairs, "configuration read again, and in force");
        for warning in warnings {
            tracing::warn!(line = warning.at.line, column = warning.at.column, "{}", warning.problem);
        }
        let waiting = self.fixed.differences(&fixed);
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting.join(", "), "what these keys say now takes a restart");
        }
        files
    }
}

/// Looks whether files have changed. It compares what they say, so that it sees through links that are swapped, as
/// Kubernetes does it, and is not fooled by a file that was only touched.
struct Watch {
    path: PathBuf,
    files: Vec<PathBuf>,
    /// What the files said when they were loaded.
    loaded: u64,
    /// What they said at the last look.
    seen: u64,
}

impl Watch {
    fn new(path: &Path, files: Vec<PathBuf>) -> Self {
        let mut watch = Self { path: path.to_owned(), files, loaded: 0, seen: 0 };
        watch.loaded = watch.look();
        watch.seen = watch.loaded;
        watch
    }

    /// Whether there is something new that has not changed since the last look: then it is written to its end.
    fn has_changed(&mut self) -> bool {
        let now = self.look();
        let before = std::mem::replace(&mut self.seen, now);
        now != self.loaded && now == before
    }

    /// A faulty file is not loaded again until it changes.
    fn loaded(&mut self, files: Option<Vec<PathBuf>>) {
        if let Some(files) = files {
            self.files = files;
        }
        self.loaded = self.look();
        self.seen = self.loaded;
    }

    fn look(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for file in std::iter::once(&self.path).chain(&self.files) {
            std::fs::read(file).ok().hash(&mut hasher);
        }
        hasher.finish()
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
