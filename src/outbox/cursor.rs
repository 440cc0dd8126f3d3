//! How a journal is read: on from where somebody stands, over all segments, and past what is damaged.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

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
    /// How often in a row the file could not be read.
    failed: u32,
    /// Whether somebody else reads these parts too, and says what is damaged there.
    is_second: bool,
}

impl Cursor {
    /// The same place, for another reader.
    pub(super) fn mark(&self) -> Self {
        Self { next: self.next, damaged: self.damaged, is_second: true, ..Self::default() }
    }

    /// The place of the next record; `None` before the first.
    pub(super) fn place(&self) -> Option<Place> {
        self.next.map(|(place, _)| place)
    }

    /// Reads on, up to `most` bytes or one record. What was delivered is left out; nothing comes where the journal
    /// ends.
    ///
    /// # Errors
    /// A file can't be opened, or has not been read often enough to give it up.
    pub(super) fn read(&mut self, store: &Store, most: usize) -> io::Result<Vec<Kept>> {
        while let Some((place, from, to)) = self.part(store) {
            let bytes = self.bytes(store, place.segment, from, (to - from).min(most.max(LONGEST + 8) as u64))?;
            let (kept, whole, next) = self.kept(store, &bytes, place);
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

    /// Goes on behind what is damaged, or gone. What was there still counts as waiting, so that the segment stays until
    /// the next start, which mends it and keeps a copy.
    fn pass_over(&mut self, store: &Store, place: Place, from: u64, to: u64) -> io::Result<()> {
        let bytes = self.bytes(store, place.segment, from, to - from)?;
        if store.lock().get(place.segment).is_none_or(|segment| segment.bytes < to) {
            // It gave way to newer ones meanwhile.
            return Ok(());
        }
        let torn = Frames::of(&bytes).pass_over().len();
        // With nothing whole behind it all that should be there is damaged, also what the file does not have any more.
        let torn = if torn == bytes.len() { to - from } else { torn as u64 };
        if !self.is_second {
            store.counts.count(Fate::Torn, 1);
            let file = store.path(place.segment, JOURNAL);
            let file = file.display();
            tracing::error!(%file, from, bytes = torn, "a part of the journal is damaged, and passed over: the next start mends it");
        }
        self.next = Some((Place { number: place.number + 1, ..place }, from + torn));
        self.damaged = Some(place.segment);
        self.failed = 0;
        Ok(())
    }

    /// The whole records among some bytes, how many bytes those are, and the place behind them. One whose checksum is
    /// right and that can't be read is another version's: it is left out, and waits for that.
    fn kept(&self, store: &Store, bytes: &[u8], mut place: Place) -> (Vec<Kept>, usize, Place) {
        // Behind damage records have other numbers than those that were noted.
        let is_shifted = self.damaged == Some(place.segment);
        let (mut kept, mut strange) = (Vec::new(), 0);
        let mut frames = Frames::of(bytes);
        let segments = store.lock();
        let notes = segments.get(place.segment).map(|segment| &segment.notes);
        for frame in frames.by_ref() {
            if notes.is_some_and(|notes| is_shifted || !notes.has(place.number)) {
                match serde_json::from_slice(frame) {
                    Ok(record) => kept.push(Kept { place, record, bytes: frame.len() }),
                    Err(_) => strange += 1,
                }
            }
            place.number += 1;
        }
        drop(segments);
        if strange > 0 && !self.is_second {
            store.counts.count(Fate::Torn, strange);
            let file = store.path(place.segment, JOURNAL);
            tracing::error!(file = %file.display(), events = strange, "events here are of another version, and wait for it");
        }
        (kept, frames.whole, place)
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

    /// What stands in a segment's file from somewhere on, up to so many bytes: fewer where the file was cut, and none
    /// where it is gone. What can't be read is tried some times, since the others wait for it.
    fn bytes(&mut self, store: &Store, number: u64, from: u64, most: u64) -> io::Result<Vec<u8>> {
        let path = store.path(number, JOURNAL);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut file = match self.file.take() {
            Some((known, file)) if known == number => file,
            _ => match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                opened => opened.map_err(named)?,
            },
        };
        let mut bytes = Vec::with_capacity(usize::try_from(most).unwrap_or(0));
        match file.seek(SeekFrom::Start(from)).and_then(|_| (&file).take(most).read_to_end(&mut bytes)) {
            Ok(_) => self.failed = 0,
            Err(error) if self.failed + 1 < TRIES => {
                self.failed += 1;
                return Err(named(error));
            }
            // What came before the failure counts.
            Err(_) => {}
        }
        self.file = Some((number, file));
        Ok(bytes)
    }
}

/// A record that was read, and how many bytes it takes.
pub(super) struct Kept {
    pub place: Place,
    pub record: Record,
    pub bytes: usize,
}

/// After so many failures in a row a file is read no more.
const TRIES: u32 = 3;

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::path::Path;

    use super::super::event::Kind;
    use super::super::frame;
    use super::*;
    use crate::metrics::Metrics;

    /// A journal, and what is counted of it.
    struct Reading {
        store: Store,
        metrics: Metrics,
        folder: tempfile::TempDir,
    }

    impl Reading {
        /// Three segments of ten records each.
        fn of_three() -> Self {
            let (folder, mut metrics) = (tempfile::tempdir().unwrap(), Metrics::new(1));
            let store = Store::open(folder.path(), metrics.add_outbox()).unwrap();
            let reading = Self { store, metrics, folder };
            for first in [0, 10, 20] {
                reading.add((first..first + 10).map(record));
            }
            reading
        }

        /// Adds a segment.
        fn add(&self, records: impl Iterator<Item = Vec<u8>>) {
            let (mut writer, mut bytes, mut count) = (self.store.begin().unwrap(), Vec::new(), 0);
            for record in records {
                frame::append(&record, &mut bytes);
                count += 1;
            }
            writer.append(&bytes).unwrap();
            self.store.grew(&writer, count);
            self.store.seal(&writer);
        }

        /// Whom the other records are about, and what failed on the way.
        fn rest(&self, cursor: &mut Cursor) -> (Vec<u32>, Vec<String>) {
            let (mut persons, mut failures) = (Vec::new(), Vec::new());
            loop {
                match cursor.read(&self.store, 200) {
                    Ok(kept) if kept.is_empty() => return (persons, failures),
                    Ok(kept) => persons.extend(kept.iter().map(|kept| kept.record.person.parse::<u32>().unwrap())),
                    Err(error) => failures.push(error.to_string()),
                }
            }
        }

        fn torn(&self) -> u64 {
            let text = self.metrics.encode(0);
            let line = text.lines().find(|line| line.contains("outbox_events_total{outcome=\"torn\"}")).unwrap();
            line.split(' ').next_back().unwrap().parse().unwrap()
        }
    }

    fn record(person: u32) -> Vec<u8> {
        let what = Kind::Alias("x".to_owned());
        let record = Record { site: "s".to_owned(), person: person.to_string(), what, at: 0, accepted: 0 };
        serde_json::to_vec(&record).unwrap()
    }

    #[test]
    fn a_segment_that_is_cut_gone_or_not_readable_holds_up_nothing_behind_it() {
        let cut = |path: &Path| {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        };
        let gone = |path: &Path| fs::remove_file(path).unwrap();
        let unreadable = |path: &Path| fs::remove_file(path).and_then(|()| fs::create_dir(path)).unwrap();
        for (damage, left, expected) in [(&cut as &dyn Fn(&Path), 4, 0), (&gone, 0, 0), (&unreadable, 0, 2)] {
            let reading = Reading::of_three();
            damage(&reading.store.path(2, JOURNAL));
            let mut cursor = Cursor::default();
            let mut second = cursor.mark();
            for cursor in [&mut cursor, &mut second] {
                let (persons, failures) = reading.rest(cursor);
                assert_eq!(persons, (0..10 + left).chain(20..30).collect::<Vec<_>>());
                assert_eq!(failures.len(), expected, "{failures:?}");
                assert!(failures.iter().all(|failure| failure.contains("00000002.journal")), "{failures:?}");
            }
            assert_eq!((reading.torn(), reading.store.lock().total().left), (1, 30));
        }
    }

    #[test]
    fn what_gives_way_while_it_is_read_is_not_damaged() {
        let reading = Reading::of_three();
        let mut cursor = Cursor::default();
        while cursor.place().is_none_or(|place| place.number < 10) {
            cursor.read(&reading.store, 200).unwrap();
        }
        let (place, from, to) = cursor.part(&reading.store).unwrap();
        assert_eq!(place.segment, 2);
        assert_eq!([(); 2].map(|()| reading.store.drop_oldest()), [Some(10), Some(10)]);
        cursor.pass_over(&reading.store, place, from, to).unwrap();
        assert_eq!(reading.rest(&mut cursor), ((20..30).collect(), vec![]));
        assert_eq!(reading.torn(), 0);
    }

    #[test]
    fn what_another_version_has_written_stays_for_it() {
        let reading = Reading::of_three();
        let strange = br#"{"site":"s","person":"bob","what":{"unset":["Plan"]},"at":0,"accepted":0}"#;
        reading.add([strange.to_vec(), record(30)].into_iter());
        let mut cursor = Cursor::default();
        for cursor in [&mut cursor.mark(), &mut cursor] {
            assert_eq!(reading.rest(cursor).0, (0..31).collect::<Vec<_>>());
        }
        assert_eq!(reading.torn(), 1);
        let all = (1..4).flat_map(|segment| (0..10).map(move |number| Place { segment, number }));
        all.chain([Place { segment: 4, number: 1 }]).for_each(|place| reading.store.done(place));
        let Reading { store, folder, .. } = reading;
        drop(store);
        let store = Store::open(folder.path(), Metrics::new(1).add_outbox()).unwrap();
        assert_eq!(store.lock().total().left, 1);
        let kept = fs::read(store.path(4, JOURNAL)).unwrap();
        assert!(kept.windows(strange.len()).any(|text| text == strange));
    }
}
