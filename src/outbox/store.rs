//! The journal on the disk: segments of records, and beside each a file that notes which of them were delivered.
//!
//! `00000007.journal` is the seventh segment. Only the newest is written to, and only by the program that made it: a
//! restart begins another one, so what is noted of a record never becomes true of a later one. A segment goes when all
//! of it was delivered.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{self, private};
use super::frame::{self, Found, Frames, HEADER};
use super::notes::Notes;
use super::segments::{Place, Segment, Segments, Size};
use crate::metrics::{Fate, OutboxCounts};

/// All segments of a directory.
pub(super) struct Store {
    directory: PathBuf,
    segments: Mutex<Segments>,
    pub counts: Arc<OutboxCounts>,
    /// Held for as long as the program runs, so that no other one writes here.
    _lock: File,
}

impl Store {
    /// Takes a directory and reads what is left there. What is damaged is set aside, and counted.
    ///
    /// # Errors
    /// Another program has it (`ResourceBusy`), or it can't be read.
    pub(super) fn open(directory: &Path, counts: Arc<OutboxCounts>) -> io::Result<Self> {
        let lock = private().create(true).truncate(false).open(directory.join("lock"))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another crosslink uses it"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        let store = Self { directory: directory.to_owned(), segments: Mutex::default(), counts, _lock: lock };
        let mut segments = store.lock();
        for (number, path) in numbered(directory, JOURNAL)? {
            segments.insert(number, store.read_left(number, &path)?);
        }
        for (number, path) in numbered(directory, NOTES)? {
            if segments.get(number).is_none() {
                fs::remove_file(path)?;
            }
        }
        let done: Vec<u64> = segments.from(0).filter(|(_, segment)| segment.left() == 0).map(|(n, _)| n).collect();
        for number in done {
            store.clear(&mut segments, number);
        }
        store.tell(&segments);
        drop(segments);
        Ok(store)
    }

    /// What a segment holds that an earlier run left.
    fn read_left(&self, number: u64, path: &Path) -> io::Result<Segment> {
        let (mut bytes, list) = (fs::read(path)?, self.path(number, NOTES));
        let found = Found::in_file(&bytes);
        if found.torn > 0 || bytes.is_empty() {
            self.counts.count(Fate::Torn, found.torn.max(1));
            let stay = undelivered(&found, &list)?;
            bytes = files::mend(path, &bytes, &found, stay)?;
        }
        let records = bytes.strip_prefix(HEADER).map_or(0, |frames| Frames::of(frames).count());
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let notes = Notes::read(&list, records)?;
        Ok(Segment { bytes: bytes.len() as u64, records, notes, is_sealed: true })
    }

    /// Begins a segment, to which the caller alone writes.
    pub(super) fn begin(&self) -> io::Result<Writer> {
        let number = self.lock().last + 1;
        let path = self.path(number, JOURNAL);
        let begun = || -> io::Result<File> {
            let mut file = private().create_new(true).open(&path)?;
            file.write_all(HEADER)?;
            // A file whose name is not on the disk is lost with all that is in it.
            File::open(&self.directory)?.sync_all()?;
            Ok(file)
        };
        let file = begun().inspect_err(|_| drop(fs::remove_file(&path)))?;
        let bytes = HEADER.len() as u64;
        let notes = Notes::none(self.path(number, NOTES));
        let mut segments = self.lock();
        segments.insert(number, Segment { bytes, records: 0, notes, is_sealed: false });
        // The one before was perhaps kept only for its number.
        let done = segments.from(0).find(|(_, segment)| segment.is_sealed && segment.left() == 0);
        if let Some(number) = done.map(|(number, _)| number) {
            self.clear(&mut segments, number);
        }
        self.tell(&segments);
        Ok(Writer { number, file, bytes })
    }

    /// Notes that records were added to a segment, which others may read from now on.
    pub(super) fn grew(&self, writer: &Writer, records: u32) {
        let mut segments = self.lock();
        segments.change(writer.number, |segment| {
            segment.bytes = writer.bytes;
            segment.records += records;
        });
        self.tell(&segments);
    }

    /// Notes that a segment grows no more.
    pub(super) fn seal(&self, writer: &Writer) {
        let mut segments = self.lock();
        segments.change(writer.number, |segment| segment.is_sealed = true);
        self.clear_if_done(&mut segments, writer.number);
        self.tell(&segments);
    }

    /// Notes that a record was delivered, or set aside. A segment of which nothing is left goes.
    pub(super) fn done(&self, place: Place) {
        let mut segments = self.lock();
        segments.change(place.segment, |segment| segment.notes.add(place.number));
        self.clear_if_done(&mut segments, place.segment);
        self.tell(&segments);
    }

    fn clear_if_done(&self, segments: &mut Segments, number: u64) {
        if segments.get(number).is_some_and(|segment| segment.is_sealed && segment.left() == 0) {
            self.clear(segments, number);
        }
    }

    /// Takes away the oldest segment that grows no more, and gives how many records were lost with it.
    pub(super) fn drop_oldest(&self) -> Option<u32> {
        let mut segments = self.lock();
        let (number, segment) = segments.from(0).find(|(_, segment)| segment.is_sealed && segment.records > 0)?;
        let lost = segment.left();
        self.clear(&mut segments, number);
        self.tell(&segments);
        Some(lost)
    }

    /// Whether a record's segment is still there.
    pub(super) fn holds(&self, place: Place) -> bool {
        self.lock().get(place.segment).is_some_and(|segment| place.number < segment.records)
    }

    /// Whether all of a segment that holds something was delivered.
    pub(super) fn is_done(&self, writer: &Writer) -> bool {
        self.lock().get(writer.number).is_some_and(|segment| segment.records > 0 && segment.left() == 0)
    }

    /// How many bytes all segments take.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().total().bytes
    }

    /// Whether the disk takes a little.
    pub(super) fn has_room(&self) -> bool {
        let file = self.directory.join(".room");
        let _ = fs::remove_file(&file);
        // A new one, so that it is no link to another file.
        let made = private().create_new(true).open(&file);
        let written = made.and_then(|mut file| file.write_all(&[0; 4096])).is_ok();
        fs::remove_file(file).is_ok() && written
    }

    /// Takes a segment away. Of the newest only what it held: its number must not be given again.
    fn clear(&self, segments: &mut Segments, number: u64) {
        let (journal, notes) = (self.path(number, JOURNAL), self.path(number, NOTES));
        let cleared = if number == segments.last {
            let bytes = HEADER.len() as u64;
            let empty = Segment { bytes, records: 0, notes: Notes::none(notes.clone()), is_sealed: true };
            segments.insert(number, empty);
            File::options().write(true).open(&journal).and_then(|file| file.set_len(bytes))
        } else {
            segments.remove(number);
            fs::remove_file(&journal)
        };
        // Without its segment, a file of notes is of no use and not missed.
        if let Err(error) = cleared.and(remove_if_there(&notes)) {
            tracing::warn!(file = %journal.display(), %error, "a part of the journal that is done could not be removed");
        }
    }

    /// The file of a kind that belongs to a segment.
    pub(super) fn path(&self, number: u64, kind: &str) -> PathBuf {
        self.directory.join(named(number, kind))
    }

    /// Tells the operator how much there is.
    fn tell(&self, segments: &Segments) {
        let Size { bytes, left } = segments.total();
        self.counts.holds(left, bytes);
    }

    /// What is known of the segments.
    pub(super) fn lock(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends to the newest segment.
pub(super) struct Writer {
    number: u64,
    file: File,
    bytes: u64,
}

impl Writer {
    /// Adds bytes, all of them or none.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all_at(bytes, self.bytes);
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            // On a full disk a file can always become shorter.
            Err(_) => self.take_back(0),
        }
        written
    }

    /// Takes away the last bytes that were added.
    pub(super) fn take_back(&mut self, bytes: usize) {
        self.bytes -= bytes as u64;
        if let Err(error) = self.file.set_len(self.bytes) {
            tracing::warn!(%error, "the journal could not be cut to what is whole; the next start will do it");
        }
    }

    /// Waits until all of it is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// How long the segment is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a damaged segment is to hold from now on. Behind the damage records have other numbers than those that were
/// noted, so all of them are told again; they count once.
fn undelivered(found: &Found<'_>, list: &Path) -> io::Result<Vec<u8>> {
    let notes = Notes::read(list, u32::try_from(found.sure).unwrap_or(u32::MAX))?;
    let mut bytes = HEADER.to_vec();
    for (_, record) in (0..).zip(&found.records).filter(|(number, _)| !notes.has(*number)) {
        frame::append(record, &mut bytes);
    }
    if !found.is_tail() {
        remove_if_there(list)?;
    }
    Ok(bytes)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn named(number: u64, kind: &str) -> String {
    format!("{number:08}.{kind}")
}

/// The files of a kind, with their numbers, the oldest first.
fn numbered(directory: &Path, kind: &str) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        // Another spelling of a number is no file of ours.
        if let Some(number) =
            number.filter(|number| path.file_name().is_some_and(|name| *name == *named(*number, kind)))
        {
            files.insert(number, path);
        }
    }
    Ok(files)
}

pub(super) const JOURNAL: &str = "journal";
const NOTES: &str = "delivered";

#[cfg(test)]
mod tests {
    use super::super::cursor::Cursor;
    use super::super::event::{Kind, Record};
    use super::super::frame;
    use super::*;
    use crate::metrics::Metrics;

    fn open(folder: &Path) -> Store {
        Store::open(folder, Metrics::new(1).add_outbox()).unwrap()
    }

    fn record(person: u32) -> Record {
        let what = Kind::Alias("x".to_owned());
        Record { site: "s".to_owned(), person: person.to_string(), what, at: 0, accepted: 0 }
    }

    /// Adds records about these persons, at once.
    fn add(store: &Store, writer: &mut Writer, persons: std::ops::Range<u32>) {
        let mut bytes = Vec::new();
        for person in persons.clone() {
            frame::append(&serde_json::to_vec(&record(person)).unwrap(), &mut bytes);
        }
        writer.append(&bytes).unwrap();
        store.grew(writer, u32::try_from(persons.len()).unwrap());
    }

    /// Whom the records are about that a cursor has not come to, with their places.
    fn rest(store: &Store, cursor: &mut Cursor) -> Vec<(u32, Place)> {
        let mut all = Vec::new();
        loop {
            let kept = cursor.read(store, 200).unwrap();
            if kept.is_empty() {
                return all;
            }
            all.extend(kept.into_iter().map(|kept| (kept.record.person.parse().unwrap(), kept.place)));
        }
    }

    fn persons(store: &Store) -> Vec<u32> {
        rest(store, &mut Cursor::default()).into_iter().map(|(person, _)| person).collect()
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files.retain(|name| name != "lock");
        files
    }

    #[test]
    fn records_are_read_as_they_come_over_all_segments() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let mut cursor = Cursor::default();
        assert!(rest(&store, &mut cursor).is_empty());
        let mut writer = store.begin().unwrap();
        add(&store, &mut writer, 0..20);
        let read: Vec<u32> = rest(&store, &mut cursor).into_iter().map(|(person, _)| person).collect();
        assert_eq!(read, (0..20).collect::<Vec<_>>());
        assert!(rest(&store, &mut cursor).is_empty());
        add(&store, &mut writer, 20..21);
        store.seal(&writer);
        let mut writer = store.begin().unwrap();
        add(&store, &mut writer, 21..23);
        let read: Vec<u32> = rest(&store, &mut cursor).into_iter().map(|(person, _)| person).collect();
        assert_eq!(read, [20, 21, 22]);
        assert_eq!(persons(&store), (0..23).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_delivered_is_not_read_again_and_its_segment_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let mut first = store.begin().unwrap();
        add(&store, &mut first, 0..3);
        let places: Vec<Place> = rest(&store, &mut Cursor::default()).into_iter().map(|(_, place)| place).collect();
        store.done(places[1]);
        assert_eq!(persons(&store), [0, 2]);
        store.seal(&first);
        drop(store);
        let store = open(folder.path());
        assert_eq!((persons(&store), store.lock().total().left), (vec![0, 2], 2));
        let mut second = store.begin().unwrap();
        add(&store, &mut second, 3..4);
        store.done(places[0]);
        store.done(places[0]);
        store.done(places[2]);
        assert_eq!((persons(&store), files(folder.path())), (vec![3], vec!["00000002.journal".to_owned()]));
        assert!(!store.holds(places[0]));
    }

    #[test]
    fn a_number_is_never_given_twice_and_what_was_delivered_leaves_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        for number in 1..4 {
            let store = open(folder.path());
            assert!(persons(&store).is_empty());
            let mut writer = store.begin().unwrap();
            add(&store, &mut writer, 0..5);
            for (_, place) in rest(&store, &mut Cursor::default()) {
                store.done(place);
            }
            assert!(store.is_done(&writer));
            store.seal(&writer);
            assert_eq!(files(folder.path()), [format!("{number:08}.journal")]);
            assert_eq!(fs::read(folder.path().join(format!("{number:08}.journal"))).unwrap(), HEADER);
            assert_eq!(store.bytes(), HEADER.len() as u64);
        }
    }

    #[test]
    fn whatever_a_power_cut_leaves_is_opened_and_goes_on() {
        let whole = {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            add(&store, &mut store.begin().unwrap(), 0..2);
            fs::read(folder.path().join("00000001.journal")).unwrap()
        };
        for (left, expected) in [
            (&whole[..], vec![0, 1]),
            (&whole[..whole.len() - 1], vec![0]),
            (&whole[..HEADER.len() + 3], vec![]),
            (HEADER, vec![]),
            (&HEADER[..7], vec![]),
            (&[], vec![]),
            (&[0; 100], vec![]),
            (&[&whole[..], &[0; 5000]].concat(), vec![0, 1]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("00000001.journal"), left).unwrap();
            for _ in 0..2 {
                let store = open(folder.path());
                assert_eq!(persons(&store), expected, "of {} bytes", left.len());
                let mut writer = store.begin().unwrap();
                add(&store, &mut writer, 7..8);
                assert_eq!(persons(&store).last(), Some(&7));
                store.done(rest(&store, &mut Cursor::default()).pop().unwrap().1);
                store.seal(&writer);
            }
        }
    }

    #[test]
    fn of_a_damaged_segment_all_other_records_wait_and_the_file_is_kept() {
        let name = |end: &str| format!("00000001.{end}");
        for (damage, delivered, expected) in [
            (&(|bytes: &mut Vec<u8>| bytes[HEADER.len() + 30] ^= 1) as &dyn Fn(&mut Vec<u8>), None, (1..9).collect()),
            (&|bytes| bytes[HEADER.len() + 1] ^= 1, Some(3), (1..9).collect::<Vec<u32>>()),
            (&|bytes| bytes[5] ^= 1, Some(3), (0..9).collect()),
            (&|bytes| bytes.splice(..HEADER.len(), *b"crosslink outbox 2\n").for_each(drop), None, (0..9).collect()),
            (&|bytes| *bytes = b"crosslink outbox 2\nand all else is new".to_vec(), None, vec![]),
            (&|bytes| *bytes.last_mut().unwrap() ^= 1, Some(3), vec![0, 1, 2, 4, 5, 6, 7]),
            (&|bytes| bytes[HEADER.len() + 400..][..20].fill(0), Some(1), vec![0, 2, 3, 4, 6, 7, 8]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            add(&store, &mut store.begin().unwrap(), 0..9);
            if let Some(number) = delivered {
                store.done(Place { segment: 1, number });
            }
            drop(store);
            let path = folder.path().join(name("journal"));
            let mut bytes = fs::read(&path).unwrap();
            damage(&mut bytes);
            fs::write(&path, &bytes).unwrap();
            for _ in 0..2 {
                assert_eq!(persons(&open(folder.path())), expected);
                let torn = fs::read(folder.path().join(name("torn"))).unwrap();
                assert!(bytes.ends_with(&torn), "what was there is kept, or its damaged end");
                assert!(!folder.path().join(name("torn-2")).exists());
            }
            assert!(open(folder.path()).begin().unwrap().number > 1);
        }
    }

    #[test]
    fn damage_while_it_runs_is_passed_over_and_mended_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let mut writer = store.begin().unwrap();
        add(&store, &mut writer, 0..9);
        store.seal(&writer);
        fs::write(folder.path().join("7.journal"), "not ours").unwrap();
        let path = folder.path().join("00000001.journal");
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER.len() + 100] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let read = rest(&store, &mut Cursor::default());
        assert_eq!(read.iter().map(|(person, _)| *person).collect::<Vec<_>>(), [0, 2, 3, 4, 5, 6, 7, 8]);
        for (person, place) in &read {
            if *person != 5 {
                store.done(*place);
            }
        }
        drop(store);
        let store = open(folder.path());
        assert_eq!(persons(&store), [2, 3, 4, 5, 6, 7, 8], "sent again, and counted once");
        assert_eq!(fs::read(path.with_extension("torn")).unwrap(), bytes);
    }

    #[test]
    fn the_oldest_gives_way_and_is_not_read_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let mut cursor = Cursor::default();
        for segment in 0..3 {
            let mut writer = store.begin().unwrap();
            add(&store, &mut writer, segment * 10..segment * 10 + 10);
            store.seal(&writer);
        }
        let first = cursor.read(&store, 1).unwrap();
        store.done(first[0].place);
        let (gone, left) = (store.drop_oldest(), store.drop_oldest());
        assert!(gone.is_some_and(|lost| lost == 9) && left == Some(10));
        assert!(!store.holds(first[0].place));
        let read: Vec<u32> = rest(&store, &mut cursor).into_iter().map(|(person, _)| person).collect();
        assert_eq!(read, (20..30).collect::<Vec<_>>());
        assert_eq!((store.drop_oldest(), store.drop_oldest()), (Some(10), None));
    }
}
