//! The journal on the disk: segments of records, and beside each a file that notes which of them were delivered.
//!
//! `00000007.journal` is the seventh segment. Only the newest is written to, and only by the program that made it: a
//! restart begins another one, so what is noted of a record never becomes true of a later one. A segment goes when all of
//! it was delivered.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::event::Record;
use super::frame::{Frames, HEADER, LONGEST};
use super::notes::Notes;
use crate::metrics::{Fate, OutboxCounts};

/// Where a record stands: the number of its segment, and its own in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub segment: u64,
    pub number: u32,
}

/// All segments of a directory.
pub(super) struct Store {
    directory: PathBuf,
    state: Mutex<State>,
    counts: Arc<OutboxCounts>,
    /// Held for as long as the program runs, so that no other one writes here.
    _lock: File,
}

#[derive(Default)]
struct State {
    segments: BTreeMap<u64, Segment>,
    /// The highest number that was ever given.
    last: u64,
}

/// What is known of a segment.
struct Segment {
    /// Its length, as far as it holds whole records.
    bytes: u64,
    records: u32,
    /// Records that were not delivered.
    left: u32,
    notes: Notes,
    /// Whether nothing more is written to it.
    is_sealed: bool,
}

/// How far somebody has read.
#[derive(Default)]
pub(super) struct Cursor {
    next: Option<(Place, u64)>,
    file: Option<(u64, File)>,
}

/// A record that was read, and how many bytes it takes.
pub(super) struct Kept {
    pub place: Place,
    pub record: Record,
    pub bytes: usize,
}

impl Store {
    /// Takes a directory and reads what is left there. What was cut off or damaged at the end of a segment is taken away,
    /// and counted.
    ///
    /// # Errors
    /// Another program has it, it can't be read, or it holds a journal of another version.
    pub(super) fn open(directory: &Path, counts: Arc<OutboxCounts>) -> io::Result<Self> {
        let lock = private().create(true).truncate(false).open(directory.join("lock"))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another crosslink uses it")),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        let store = Self { directory: directory.to_owned(), state: Mutex::default(), counts, _lock: lock };
        let mut state = store.lock();
        for (number, path) in numbered(directory, JOURNAL)? {
            let segment = store.read_left(number, &path)?;
            state.last = state.last.max(number);
            state.segments.insert(number, segment);
        }
        for (number, path) in numbered(directory, NOTES)? {
            if !state.segments.contains_key(&number) {
                fs::remove_file(path)?;
            }
        }
        let done: Vec<u64> = state.segments.iter().filter(|(_, kept)| kept.left == 0).map(|(n, _)| *n).collect();
        for number in done {
            store.clear(&mut state, number);
        }
        store.tell(&state);
        drop(state);
        Ok(store)
    }

    /// What a segment holds that an earlier run left.
    fn read_left(&self, number: u64, path: &Path) -> io::Result<Segment> {
        let bytes = fs::read(path)?;
        let records = bytes.strip_prefix(HEADER);
        if records.is_none() && !HEADER.starts_with(&bytes) {
            return Err(io::Error::other(format!("{} is no journal of this version", path.display())));
        }
        let mut frames = Frames::of(records.unwrap_or_default());
        let records = u32::try_from(frames.by_ref().count()).unwrap_or(u32::MAX);
        let whole = HEADER.len() + frames.whole;
        if whole < bytes.len() {
            OpenOptions::new().write(true).open(path)?.set_len(whole as u64)?;
            self.counts.count(Fate::Torn, 1);
            let cut = bytes.len() - whole;
            tracing::warn!(file = %path.display(), cut, "the end of this part of the journal was not whole, and is cut");
        }
        let notes = Notes::read(&self.path(number, NOTES), records)?;
        Ok(Segment { bytes: whole as u64, records, left: records - notes.delivered(), notes, is_sealed: true })
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
        let mut state = self.lock();
        state.last = number;
        let bytes = HEADER.len() as u64;
        let notes = Notes::none(self.path(number, NOTES));
        state.segments.insert(number, Segment { bytes, records: 0, left: 0, notes, is_sealed: false });
        // The one before was perhaps kept only for its number.
        let done = state.segments.iter().find(|(_, segment)| segment.is_sealed && segment.left == 0);
        if let Some(number) = done.map(|(number, _)| *number) {
            self.clear(&mut state, number);
        }
        self.tell(&state);
        Ok(Writer { number, file, bytes })
    }

    /// Notes that records were added to a segment, which others may read from now on.
    pub(super) fn grew(&self, writer: &Writer, records: u32) {
        let mut state = self.lock();
        if let Some(segment) = state.segments.get_mut(&writer.number) {
            segment.bytes = writer.bytes;
            segment.records += records;
            segment.left += records;
        }
        self.tell(&state);
    }

    /// Notes that a segment grows no more.
    pub(super) fn seal(&self, writer: &Writer) {
        let mut state = self.lock();
        if let Some(segment) = state.segments.get_mut(&writer.number) {
            segment.is_sealed = true;
            if segment.left == 0 {
                self.clear(&mut state, writer.number);
            }
        }
        self.tell(&state);
    }

    /// Notes that a record was delivered, or set aside. A segment of which nothing is left goes.
    pub(super) fn done(&self, place: Place) {
        let mut state = self.lock();
        let Some(segment) = state.segments.get_mut(&place.segment) else { return };
        if !segment.notes.add(place.number) {
            return;
        }
        segment.left = segment.left.saturating_sub(1);
        if segment.left == 0 && segment.is_sealed {
            self.clear(&mut state, place.segment);
        }
        self.tell(&state);
    }

    /// Takes away the oldest segment that grows no more, and gives how many records were lost with it.
    pub(super) fn drop_oldest(&self) -> Option<u32> {
        let mut state = self.lock();
        let (number, segment) = state.segments.iter().find(|(_, segment)| segment.is_sealed)?;
        let (number, lost) = (*number, segment.left);
        self.clear(&mut state, number);
        self.tell(&state);
        Some(lost)
    }

    /// Whether a record's segment is still there.
    pub(super) fn holds(&self, place: Place) -> bool {
        self.lock().segments.contains_key(&place.segment)
    }

    /// Whether all of a segment that holds something was delivered.
    pub(super) fn is_done(&self, writer: &Writer) -> bool {
        self.lock().segments.get(&writer.number).is_some_and(|segment| segment.records > 0 && segment.left == 0)
    }

    /// How many bytes all segments take.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    /// Reads on, up to `most` bytes or one record. What was delivered is left out; nothing comes where the journal ends.
    pub(super) fn read(&self, cursor: &mut Cursor, most: usize) -> io::Result<Vec<Kept>> {
        while let Some((place, from, to)) = self.part(cursor) {
            let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(usize::MAX).min(most.max(LONGEST + 8))];
            self.file(cursor, place.segment)?.read_exact_at(&mut bytes, from)?;
            let (kept, whole, next) = self.kept(&bytes, place);
            if whole == 0 {
                let path = self.path(place.segment, JOURNAL);
                return Err(io::Error::other(format!("{} is damaged at byte {from}", path.display())));
            }
            cursor.next = Some((next, from + whole as u64));
            if !kept.is_empty() {
                return Ok(kept);
            }
        }
        Ok(Vec::new())
    }

    /// The whole records among some bytes, how many bytes those are, and the place behind them.
    fn kept(&self, bytes: &[u8], mut place: Place) -> (Vec<Kept>, usize, Place) {
        let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
        let mut frames = Frames::of(bytes);
        let state = self.lock();
        let notes = state.segments.get(&place.segment).map(|segment| &segment.notes);
        for frame in frames.by_ref() {
            if notes.is_some_and(|notes| !notes.has(place.number)) {
                match serde_json::from_slice(frame) {
                    Ok(record) => kept.push(Kept { place, record, bytes: frame.len() }),
                    Err(_) => unreadable.push(place),
                }
            }
            place.number += 1;
        }
        drop(state);
        for place in unreadable {
            // Its checksum was right, so another version has written it.
            self.counts.count(Fate::Torn, 1);
            self.done(place);
        }
        (kept, frames.whole, place)
    }

    /// From where to where to read next; `None` at the end of the journal.
    fn part(&self, cursor: &Cursor) -> Option<(Place, u64, u64)> {
        let state = self.lock();
        let (Place { segment: at, .. }, offset) = cursor.next.unwrap_or((Place { segment: 0, number: 0 }, 0));
        let mut left = state.segments.range(at..);
        let (number, segment) = left.next()?;
        if *number == at && offset < segment.bytes {
            return cursor.next.map(|(place, offset)| (place, offset, segment.bytes));
        }
        let begin = |(number, segment): (&u64, &Segment)| {
            let from = HEADER.len() as u64;
            (from < segment.bytes).then_some((Place { segment: *number, number: 0 }, from, segment.bytes))
        };
        if *number != at
            && let Some(part) = begin((number, segment))
        {
            return Some(part);
        }
        left.find_map(begin)
    }

    fn file<'c>(&self, cursor: &'c mut Cursor, number: u64) -> io::Result<&'c File> {
        let file = match cursor.file.take() {
            Some((known, file)) if known == number => file,
            _ => File::open(self.path(number, JOURNAL))?,
        };
        Ok(&cursor.file.insert((number, file)).1)
    }

    /// Takes a segment away. Of the newest only what it held: its number must not be given again.
    fn clear(&self, state: &mut State, number: u64) {
        let (journal, notes) = (self.path(number, JOURNAL), self.path(number, NOTES));
        let cleared = if number == state.last {
            let bytes = HEADER.len() as u64;
            let empty = Segment { bytes, records: 0, left: 0, notes: Notes::none(notes.clone()), is_sealed: true };
            state.segments.insert(number, empty);
            File::options().write(true).open(&journal).and_then(|file| file.set_len(bytes))
        } else {
            state.segments.remove(&number);
            fs::remove_file(&journal)
        };
        // Without its segment, a file of notes is of no use and not missed.
        let forgotten = fs::remove_file(&notes).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        if let Err(error) = cleared.and(forgotten) {
            tracing::warn!(file = %journal.display(), %error, "a part of the journal that is done could not be removed");
        }
    }

    fn path(&self, number: u64, kind: &str) -> PathBuf {
        self.directory.join(format!("{number:08}.{kind}"))
    }

    /// Tells the operator how much there is.
    fn tell(&self, state: &State) {
        let waiting = state.segments.values().map(|segment| u64::from(segment.left)).sum();
        self.counts.holds(waiting, state.bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes + segment.notes.bytes()).sum()
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

/// A file that only its owner reads, since it holds identities.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// The files of a kind, with their numbers, the oldest first.
fn numbered(directory: &Path, kind: &str) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == kind)) {
            files.insert(number, path);
        }
    }
    Ok(files)
}

const JOURNAL: &str = "journal";
const NOTES: &str = "delivered";
