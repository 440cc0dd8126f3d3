//! Events on their way to the store: a thread adds whatever has come meanwhile at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::complaint::Complaint;
use super::super::event::Record;
use super::super::frame::Frames;
use super::super::queue::{Group, Queue};
use super::super::sites::shared_name;
use super::super::{Refused, is_full, takes};
use super::PARTS;
use super::server::Server;
use crate::metrics::{Fate, Hindrance, OutboxCounts};
use crate::settings::{LiveSites, OutboxSettings, Sites, StreamPlace, WhenFull};

/// The thread that adds to the stream.
pub(in super::super) struct Writer {
    queue: Arc<Queue>,
    server: Server,
    settings: OutboxSettings,
    counts: Arc<OutboxCounts>,
    sites: LiveSites,
    /// What gave way.
    dropped: Complaint,
}

/// Events as they are kept, each with its part.
type Parted = Vec<(u32, Vec<u8>)>;

/// What is added at once: groups with their events, each with its part.
#[derive(Default)]
struct Batch {
    groups: Vec<(Group, Parted)>,
    events: usize,
}

impl Writer {
    pub(in super::super) fn new(
        place: StreamPlace,
        queue: Arc<Queue>,
        settings: &OutboxSettings,
        counts: Arc<OutboxCounts>,
        sites: LiveSites,
    ) -> Self {
        let (server, settings) = (Server::of(place, "take events"), settings.clone());
        Self { queue, server, settings, counts, sites, dropped: Complaint::default() }
    }

    /// Adds until the queue is closed and empty.
    pub(in super::super) fn run(mut self) {
        loop {
            let [is_full, is_refused] = [Hindrance::Full, Hindrance::Unwritable].map(|h| self.counts.is_hindered_by(h));
            let (taken, is_last) = self.queue.take(if is_full || is_refused { SOON } else { IDLE });
            if taken.is_empty() && is_refused {
                self.try_store();
            }
            let mut batch = Batch::default();
            taken.each(|group, records| {
                let fits = records.len() as u64 <= self.settings.max_bytes;
                match parted(records, &self.sites.load()).filter(|_| fits) {
                    Some(records) => {
                        batch.events += records.len();
                        batch.groups.push((group, records));
                    }
                    None => group.refuse(Refused::TooLarge, &self.counts),
                }
                if batch.events >= MOST_AT_ONCE {
                    self.commit(std::mem::take(&mut batch));
                }
            });
            self.commit(batch);
            takes(&self.counts, self.counts.bytes(), self.settings.max_bytes);
            if let Some((events, _)) = self.dropped.due(Instant::now()) {
                tracing::warn!(events, "the outbox is full: its oldest events gave way to new ones");
            }
            if is_last {
                return;
            }
        }
    }

    /// Adds a batch and tells those who wait.
    fn commit(&mut self, Batch { groups, .. }: Batch) {
        if groups.is_empty() {
            return;
        }
        let gives_way = self.settings.when_full == WhenFull::DropOldest;
        let added: std::io::Result<Vec<u64>> = self.server.run(include_str!("add.lua"), |arguments| {
            arguments.arg(self.settings.max_bytes).arg(u8::from(gives_way));
            for (_, records) in &groups {
                arguments.arg(records.len());
                for (part, record) in records {
                    arguments.arg(part).arg(record);
                }
            }
        });
        self.writes(added.is_ok());
        let added = added.ok();
        let (dropped, added) = added.as_deref().and_then(<[u64]>::split_first).unzip();
        let dropped = dropped.copied().unwrap_or(0);
        self.counts.count(Fate::Dropped, dropped);
        self.dropped.add(dropped, String::new());
        for (index, (group, records)) in groups.into_iter().enumerate() {
            match added.map(|added| added.get(index)) {
                Some(Some(1)) => {
                    self.counts.count(Fate::Accepted, records.len() as u64);
                    group.tell(Ok(()));
                }
                Some(_) => {
                    is_full(&self.counts);
                    group.refuse(Refused::Full, &self.counts);
                }
                None => group.refuse(Refused::NoRoom, &self.counts),
            }
        }
    }

    /// Whether the store takes something again, which nobody may want to tell it now.
    fn try_store(&mut self) {
        let mut question = redis::cmd("SET");
        question.arg(self.server.key("room")).arg(1).arg("PX").arg(1);
        let is_taken = self.server.ask::<()>(&question).is_ok();
        self.writes(is_taken);
    }

    /// Notes whether the store takes events. It has said itself why it does not.
    fn writes(&self, is_so: bool) {
        if !self.counts.hinders(Hindrance::Unwritable, !is_so) {
            return;
        }
        if is_so {
            tracing::info!("the store takes something again: events are accepted");
        } else {
            tracing::error!("the store takes nothing: no events are accepted");
        }
    }
}

/// The events of a group, each with its part, under the name of their site that all crosslinks know; `None` if no
/// request can tell one.
fn parted(records: &[u8], sites: &Sites) -> Option<Parted> {
    let kept = Frames::of(records).map(|record| {
        let mut record: Record = serde_json::from_slice(record).ok()?;
        if let Some(site) = sites.get(record.site.as_str()) {
            record.site = shared_name(&record.site, site);
        }
        Some((crc32fast::hash(record.person.as_bytes()) % PARTS, record.kept()?))
    });
    kept.collect()
}

const MOST_AT_ONCE: usize = 1000;
/// Between two questions whether there is room again.
const SOON: Duration = Duration::from_secs(1);
/// There is nothing to do meanwhile.
const IDLE: Duration = Duration::from_secs(60);
