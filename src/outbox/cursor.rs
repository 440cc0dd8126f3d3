//! How a journal is read: on from where somebody stands, over all segments, and past what is damaged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::event::Record;
use super::frame::{Frames, HEADER, LONGEST};
use super::segments::Place;
use super::store::{JOURNAL, Store};
use crate::metrics::Fate;

/// How far somebody has read.
#[derive(Default)]
pub(super) struct Cursor {
    next: Option<(Place, u64)>,
    file: Option<(u64, File)>,
    /// The latest segment in which a part was passed over.
    damaged: Option<u64>,
    /// Whether somebody else reads these parts too, and says what is damaged there.
    is_second: bool,
}

impl Cursor {
    /// The same place, for another reader.
    pub(super) fn mark(&self) -> Self {
        Self { next: self.next, file: None, damaged: self.damaged, is_second: true }
    }

    /// The place of the next record; `None` before the first.
    pub(super) fn place(&self) -> Option<Place> {
        self.next.map(|(place, _)| place)
    }

    /// Reads on, up to `most` bytes or one record. What was delivered is left out; nothing comes where the journal
    /// ends.
    pub(super) fn read(&mut self, store: &Store, most: usize) -> io::Result<Vec<Kept>> {
        while let Some((place, from, to)) = self.part(store) {
            let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(usize::MAX).min(most.max(LONGEST + 8))];
            self.file(store, place.segment)?.read_exact_at(&mut bytes, from)?;
            // Behind damage records have other numbers than those that were noted.
            let is_shifted = self.damaged == Some(place.segment);
            let (kept, whole, next) = kept(store, &bytes, place, is_shifted);
            if whole == 0 {
                self.pass_over(store, place, from, to)?;
                continue;
            }
            self.next = Some((next, from + whole as u64));
            if !kept.is_empty() {
                return Ok(kept);
            }
        }
        Ok(Vec::new())
    }

    /// Goes on behind what is damaged. What was there still counts as waiting, so that the segment stays until the next
    /// start, which mends it and keeps a copy.
    fn pass_over(&mut self, store: &Store, place: Place, from: u64, to: u64) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(usize::MAX)];
        self.file(store, place.segment)?.read_exact_at(&mut bytes, from)?;
        let torn = Frames::of(&bytes).pass_over().len();
        if !self.is_second {
            store.counts.count(Fate::Torn, 1);
            let file = store.path(place.segment, JOURNAL);
            let file = file.display();
            tracing::error!(%file, from, bytes = torn, "a part of the journal is damaged, and passed over: the next start mends it");
        }
        self.next = Some((Place { number: place.number + 1, ..place }, from + torn as u64));
        self.damaged = Some(place.segment);
        Ok(())
    }

    /// From where to where to read next; `None` at the end of the journal.
    fn part(&self, store: &Store) -> Option<(Place, u64, u64)> {
        let segments = store.lock();
        let (place, offset) = self.next.unwrap_or((Place { segment: 0, number: 0 }, 0));
        // Of the segment where the cursor stands the rest, of one behind it all.
        segments.from(place.segment).find_map(|(number, segment)| {
            let begin = (Place { segment: number, number: 0 }, HEADER.len() as u64);
            let (place, from) = if number == place.segment { (place, offset) } else { begin };
            (from < segment.bytes).then_some((place, from, segment.bytes))
        })
    }

    fn file(&mut self, store: &Store, number: u64) -> io::Result<&File> {
        let file = match self.file.take() {
            Some((known, file)) if known == number => file,
            _ => File::open(store.path(number, JOURNAL))?,
        };
        Ok(&self.file.insert((number, file)).1)
    }
}

/// A record that was read, and how many bytes it takes.
pub(super) struct Kept {
    pub place: Place,
    pub record: Record,
    pub bytes: usize,
}

/// The whole records among some bytes, how many bytes those are, and the place behind them.
fn kept(store: &Store, bytes: &[u8], mut place: Place, is_shifted: bool) -> (Vec<Kept>, usize, Place) {
    let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
    let mut frames = Frames::of(bytes);
    let segments = store.lock();
    let notes = segments.get(place.segment).map(|segment| &segment.notes);
    for frame in frames.by_ref() {
        if notes.is_some_and(|notes| is_shifted || !notes.has(place.number)) {
            match serde_json::from_slice(frame) {
                Ok(record) => kept.push(Kept { place, record, bytes: frame.len() }),
                Err(_) => unreadable.push(place),
            }
        }
        place.number += 1;
    }
    drop(segments);
    for place in unreadable {
        // Its checksum was right, so another version has written it.
        store.counts.count(Fate::Torn, 1);
        store.done(place);
    }
    (kept, frames.whole, place)
}
