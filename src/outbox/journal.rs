//! Events on their way to the disk: a thread writes out what has come into the queue meanwhile in one go. All who
//! wait share one write, and with `durability: each` one `fdatasync`; where nobody waits, there is one a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::complaint::Complaint;
use super::frame::HEADER;
use super::queue::{Group, Queue};
use super::store::{Store, Writer};
use super::{Refused, is_full, takes};
use crate::metrics::{Fate, Hindrance, OutboxCounts};
use crate::settings::{Durability, OutboxSettings, WhenFull};

/// The journal's thread.
pub(super) struct Journal {
    pub queue: Arc<Queue>,
    pub store: Arc<Store>,
    pub settings: OutboxSettings,
    pub counts: Arc<OutboxCounts>,
    /// Told when there is more to deliver.
    pub grown: Arc<Notify>,
    pub state: Open,
}

/// What the thread has begun.
#[derive(Default)]
pub(super) struct Open {
    segment: Option<Writer>,
    /// Since when there is something that a power cut would take, for which nobody waits.
    unsynced: Option<Instant>,
    /// After a failure: when the disk is tried again.
    again: Option<Instant>,
    /// What gave way.
    dropped: Complaint,
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    records: u32,
    groups: Vec<Group>,
    /// Whether somebody waits to hear that it is safe.
    is_awaited: bool,
}

impl Journal {
    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let is_full = self.counts.is_hindered_by(Hindrance::Full);
            let has_soon = self.state.unsynced.is_some() || self.state.again.is_some() || is_full;
            let patience = if has_soon { SOON } else { IDLE };
            let (taken, is_last) = self.queue.take(patience);
            let is_idle = taken.is_empty();
            let mut batch = Batch::default();
            taken.each(|group, records| {
                self.add(group, records, &mut batch);
                if batch.bytes.len() as u64 >= self.longest().min(LARGEST_BATCH) {
                    self.commit(std::mem::take(&mut batch));
                }
            });
            self.commit(batch);
            if is_last {
                return self.seal();
            }
            if self.state.unsynced.is_some_and(|since| since.elapsed() >= SOON) {
                self.sync();
            }
            if is_idle && self.state.again.is_some() && self.store.has_room() {
                self.goes_on();
            }
            takes(&self.counts, self.store.bytes(), self.settings.max_bytes);
            if let Some((events, _)) = self.state.dropped.due(Instant::now()) {
                tracing::warn!(events, "the outbox is full: its oldest events gave way to new ones");
            }
            // What was delivered does not stay on the disk.
            if is_idle && self.state.segment.as_ref().is_some_and(|segment| self.store.is_done(segment)) {
                self.seal();
            }
        }
    }

    /// Adds a group to a batch, or refuses it.
    fn add(&mut self, group: Group, records: &[u8], batch: &mut Batch) {
        // Nothing gives way to what never has room.
        if (records.len() + HEADER.len()) as u64 > self.settings.max_bytes {
            return group.refuse(Refused::TooLarge, &self.counts);
        }
        let most = self.settings.max_bytes.saturating_sub(self.store.bytes());
        if (batch.bytes.len() + records.len()) as u64 > most {
            self.commit(std::mem::take(batch));
        }
        if !self.has_room(batch.bytes.len() + records.len()) {
            is_full(&self.counts);
            return group.refuse(Refused::Full, &self.counts);
        }
        batch.bytes.extend_from_slice(records);
        batch.records += u32::try_from(group.len()).unwrap_or(u32::MAX);
        batch.is_awaited |= group.is_awaited();
        batch.groups.push(group);
    }

    /// Whether so many bytes more may be written; makes room where older events give way.
    fn has_room(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        while self.store.bytes() + bytes > self.settings.max_bytes {
            // A long list may stand in one segment: with all of it delivered, nobody has to wait for a quiet moment.
            if self.state.segment.as_ref().is_some_and(|segment| self.store.is_done(segment)) {
                self.seal();
                continue;
            }
            if self.settings.when_full == WhenFull::RefuseNew {
                return false;
            }
            let lost = self.store.drop_oldest().or_else(|| {
                self.seal();
                self.store.drop_oldest()
            });
            match lost {
                Some(lost) => {
                    self.counts.count(Fate::Dropped, u64::from(lost));
                    self.state.dropped.add(u64::from(lost), String::new());
                }
                None => return false,
            }
        }
        true
    }

    /// Writes a batch and tells those who wait.
    fn commit(&mut self, batch: Batch) {
        if batch.groups.is_empty() {
            return;
        }
        let written = self.write(&batch);
        if !written {
            for group in batch.groups {
                group.refuse(Refused::NoRoom, &self.counts);
            }
            return;
        }
        self.counts.count(Fate::Accepted, u64::from(batch.records));
        self.grown.notify_one();
        for group in batch.groups {
            group.tell(Ok(()));
        }
    }

    /// Puts records on the disk, all of them or none; whether that was possible.
    fn write(&mut self, batch: &Batch) -> bool {
        if self.state.again.is_some_and(|again| Instant::now() < again) {
            return false;
        }
        match self.try_write(batch) {
            Ok(()) => {
                self.goes_on();
                true
            }
            Err(error) => {
                if self.state.again.is_none() {
                    let directory = &self.settings.place;
                    tracing::error!(%directory, %error, "the journal can't be written: no events are accepted");
                }
                self.state.again = Some(Instant::now() + SOON);
                self.counts.hinders(Hindrance::Unwritable, true);
                false
            }
        }
    }

    /// The disk takes something again, if it did not.
    fn goes_on(&mut self) {
        if self.state.again.take().is_some() {
            self.counts.hinders(Hindrance::Unwritable, false);
            tracing::info!("the journal can be written again: events are accepted");
        }
    }

    fn try_write(&mut self, batch: &Batch) -> std::io::Result<()> {
        if self.state.segment.as_ref().is_some_and(|segment| segment.bytes() >= self.longest()) {
            self.seal();
        }
        let segment = match &mut self.state.segment {
            Some(segment) => segment,
            none => none.insert(self.store.begin()?),
        };
        let is_synced = batch.is_awaited && self.settings.durability == Durability::Each;
        let mut written = segment.append(&batch.bytes);
        if written.is_ok() && is_synced {
            // What a failed `fsync` leaves on the disk nobody knows, and another one would not tell.
            written = segment.sync().inspect_err(|_| segment.take_back(batch.bytes.len()));
        }
        if written.is_err() {
            // A segment that grows no more goes as soon as it is delivered, and may be what fills the disk.
            self.seal();
            return written;
        }
        self.store.grew(segment, batch.records);
        if is_synced {
            self.state.unsynced = None;
        } else {
            self.state.unsynced.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// From which length on a segment is long enough.
    fn longest(&self) -> u64 {
        (self.settings.max_bytes / SEGMENTS).min(LONGEST_SEGMENT)
    }

    /// The next record begins another segment.
    fn seal(&mut self) {
        self.sync();
        if let Some(segment) = self.state.segment.take() {
            self.store.seal(&segment);
        }
    }

    /// What was written for nobody who waits, or with `durability: batch`, is safe from a power cut after this.
    fn sync(&mut self) {
        if self.state.unsynced.take().is_none() {
            return;
        }
        if let Some(Err(error)) = self.state.segment.as_ref().map(Writer::sync) {
            tracing::error!(%error, "a power cut now would take events: the disk did not confirm that it has them");
        }
    }
}

/// At most this and one group more are written at once.
const LARGEST_BATCH: u64 = 1024 * 1024;
/// Into how many segments a full journal is divided, so that not all of it is lost when the oldest goes.
const SEGMENTS: u64 = 16;
const LONGEST_SEGMENT: u64 = 8 * 1024 * 1024;
/// How much time a power cut takes of what nobody waits for; and between two attempts to write to a full disk.
const SOON: Duration = Duration::from_secs(1);
/// After this, what was delivered is taken from the disk.
const IDLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::oneshot;

    use super::super::event::{Kind, Record};
    use super::*;
    use crate::link::Identity;
    use crate::metrics::Metrics;
    use crate::settings::OutboxPlace;

    /// A journal in a folder, and where what comes is put.
    fn journal(folder: &Path, durability: Durability, max_bytes: u64) -> Journal {
        let counts = Metrics::new(1).add_outbox();
        let settings = OutboxSettings {
            place: OutboxPlace::Directory(folder.to_owned()),
            durability,
            max_bytes,
            when_full: WhenFull::DropOldest,
            timeout: SOON,
            parallel: 1,
            authorities: None,
        };
        let store = Arc::new(Store::open(folder, Arc::clone(&counts)).unwrap());
        Journal { queue: Arc::default(), store, settings, counts, grown: Arc::default(), state: Open::default() }
    }

    /// Puts so many events into its queue, and writes them.
    fn write(journal: &mut Journal, events: usize, told: Option<oneshot::Sender<Result<(), Refused>>>) {
        let bob = Identity::from_cookie(b"bob").unwrap();
        journal.queue.push(&mut vec![Record::new("s", &bob, Kind::alias(&bob), 0); events], told).unwrap();
        let (taken, _) = journal.queue.take(Duration::ZERO);
        let mut batch = Batch::default();
        taken.each(|group, records| journal.add(group, records, &mut batch));
        journal.commit(batch);
    }

    #[test]
    fn the_disk_is_waited_for_only_where_somebody_waits() {
        for (durability, waits, is_left) in [
            (Durability::Each, true, false),
            (Durability::Each, false, true),
            (Durability::Batch, true, true),
            (Durability::Batch, false, true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut journal = journal(folder.path(), durability, 1 << 20);
            let (told, mut heard) = oneshot::channel();
            write(&mut journal, 1, waits.then_some(told));
            assert_eq!(heard.try_recv(), if waits { Ok(Ok(())) } else { Err(oneshot::error::TryRecvError::Closed) });
            assert_eq!(journal.state.unsynced.is_some(), is_left, "{durability:?}, {waits}");
        }
    }

    #[test]
    fn nothing_gives_way_to_what_never_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = journal(folder.path(), Durability::Batch, 1 << 20);
        write(&mut journal, 1, None);
        let record = journal.store.bytes() - HEADER.len() as u64;
        for (free, expected) in [(0, Err(Refused::TooLarge)), (HEADER.len() as u64, Ok(()))] {
            journal.settings.max_bytes = 4 * record + free;
            let (told, mut heard) = oneshot::channel();
            write(&mut journal, 4, Some(told));
            assert_eq!(heard.try_recv(), Ok(expected));
            let (waiting, ..) = journal.counts.state();
            assert_eq!(waiting, if expected.is_ok() { 4 } else { 1 });
        }
    }
}
