//! Events that KISSmetrics refused: kept for somebody who knows why, to be sent again or dropped.
//!
//! The service adds to the file while it runs, and commands look at it and take from it at the same time. So whoever
//! writes holds a lock, and whoever takes away puts a new file in the place of the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::event::Record;
use super::files::{self, private};
use super::frame::{self, Found, HEADER};
use super::segments::Place;
use super::stream::StreamLetters;
use crate::settings::{OutboxPlace, OutboxSettings};

/// The dead letters of an outbox.
#[derive(Debug)]
pub enum DeadLetters {
    /// In a file.
    File(LettersFile),
    /// In the store of a stream.
    Stream(Box<StreamLetters>),
}

/// The file of dead letters in a directory.
#[derive(Debug)]
pub struct LettersFile {
    directory: PathBuf,
    most_bytes: u64,
}

/// An event that was refused.
// Without `Debug`: it holds identities.
#[derive(Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// By which commands name it.
    pub id: LetterId,
    /// The event.
    pub record: Record,
    /// Why it was refused.
    pub why: String,
    /// When, in seconds since 1970.
    pub since: u64,
}

/// What there is of them.
pub struct Letters {
    /// The oldest first.
    pub all: Vec<DeadLetter>,
    /// How many more there are, or were, that can't be read.
    pub unreadable: u64,
}

/// Names a dead letter: where it stood in the journal, as `7-12`. When a damaged segment is written anew, another event
/// may come to stand there, so the checksum of the event tells letters apart that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LetterId(u64, u32, #[serde(skip)] u32);

impl DeadLetters {
    /// Those of an outbox.
    #[must_use]
    pub fn of(settings: &OutboxSettings) -> Self {
        let most_bytes = settings.max_bytes;
        match &settings.place {
            OutboxPlace::Directory(directory) => Self::File(LettersFile { directory: directory.clone(), most_bytes }),
            OutboxPlace::Stream(stream) => Self::Stream(Box::new(StreamLetters::of(stream.clone(), most_bytes))),
        }
    }

    /// Makes whole what a crash or a disk has damaged.
    pub(super) fn mend(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.mend(),
            Self::Stream(_) => Ok(()),
        }
    }

    /// Adds one, and waits until it is safe.
    pub(super) fn add(&self, letter: &DeadLetter) -> io::Result<()> {
        match self {
            Self::File(file) => file.add(letter),
            Self::Stream(letters) => letters.add(letter),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// The file or the store can't be read.
    pub fn read(&self) -> io::Result<Letters> {
        match self {
            Self::File(file) => file.read(),
            Self::Stream(letters) => letters.read(),
        }
    }

    /// Takes some away, and `with_unreadable` also those that can't be read, because another version has written them;
    /// gives how many of these there were. Where nothing is left, a full disk does not hinder it.
    ///
    /// # Errors
    /// The file or the store can't be read or written; then they are as they were.
    pub fn remove(&self, ids: &BTreeSet<LetterId>, with_unreadable: bool) -> io::Result<usize> {
        match self {
            Self::File(file) => file.take_out(ids, with_unreadable),
            Self::Stream(letters) => {
                letters.remove(ids)?;
                if with_unreadable { letters.remove_unreadable() } else { Ok(0) }
            }
        }
    }

    /// How many there are.
    pub(super) fn number(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => file.number(),
            Self::Stream(letters) => letters.number(),
        }
    }

    /// What tells whether they have changed.
    pub(super) fn looks(&self) -> Option<(u64, SystemTime)> {
        match self {
            Self::File(file) => file.looks(),
            Self::Stream(letters) => Some((letters.number().ok()?, SystemTime::UNIX_EPOCH)),
        }
    }
}

impl DeadLetter {
    /// Reads one.
    pub(super) fn parse(text: &[u8]) -> serde_json::Result<Self> {
        let mut letter: Self = serde_json::from_slice(text)?;
        letter.id.2 = crc32fast::hash(&serde_json::to_vec(&letter.record)?);
        Ok(letter)
    }
}

impl LetterId {
    /// Whether the other one reads the same.
    #[must_use]
    pub fn names(self, other: Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Letters {
    /// The letters of some texts, besides so many that can't be read.
    pub(super) fn of(texts: &[impl AsRef<[u8]>], mut unreadable: u64) -> Self {
        // One that was added when the program ended, before it was noted in the journal, was added again.
        let mut known = BTreeMap::new();
        for text in texts {
            match DeadLetter::parse(text.as_ref()) {
                Ok(letter) => drop(known.insert(letter.id, letter)),
                Err(_) => unreadable += 1,
            }
        }
        let mut all: Vec<DeadLetter> = known.into_values().collect();
        all.sort_by_key(|letter| (letter.since, letter.id));
        Self { all, unreadable }
    }
}

impl LettersFile {
    fn mend(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        self.mend_locked()
    }

    /// Makes the file whole, if it is not. Whoever calls holds the lock.
    fn mend_locked(&self) -> io::Result<()> {
        let bytes = self.bytes()?;
        let found = Found::in_file(&bytes);
        if found.torn == 0 {
            return Ok(());
        }
        let mut stay = HEADER.to_vec();
        found.records.iter().for_each(|letter| frame::append(letter, &mut stay));
        files::mend(&self.path(), &bytes, &found, stay).map(drop)
    }

    fn add(&self, letter: &DeadLetter) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut file = private().create(true).append(true).open(self.path())?;
        let length = file.metadata()?.len();
        let mut bytes = if length == 0 { HEADER.to_vec() } else { Vec::new() };
        frame::append(&serde_json::to_vec(letter)?, &mut bytes);
        if length + bytes.len() as u64 > self.most_bytes {
            return Err(io::Error::other("there are as many dead letters as `max_bytes` allows"));
        }
        let added = file.write_all(&bytes).and_then(|()| file.sync_data());
        if added.is_err() {
            file.set_len(length)?;
        }
        added
    }

    fn read(&self) -> io::Result<Letters> {
        let bytes = self.bytes()?;
        let found = Found::in_file(&bytes);
        Ok(Letters::of(&found.records, found.torn))
    }

    /// Takes some away, and gives how many of those went that can't be read.
    fn take_out(&self, ids: &BTreeSet<LetterId>, with_unreadable: bool) -> io::Result<usize> {
        let _lock = self.lock()?;
        // What is damaged is not lost with those that go.
        self.mend_locked()?;
        let (bytes, mut stay, mut unreadable) = (self.bytes()?, HEADER.to_vec(), 0);
        for text in Found::in_file(&bytes).records {
            match DeadLetter::parse(text) {
                Ok(letter) if ids.contains(&letter.id) => {}
                Err(_) if with_unreadable => unreadable += 1,
                _ => frame::append(text, &mut stay),
            }
        }
        if stay.len() >= bytes.len() {
            return Ok(0);
        }
        if stay == HEADER {
            // A shorter file fits on a full disk, which has no room for another one.
            let file = File::options().write(true).open(self.path())?;
            file.set_len(HEADER.len() as u64)?;
            file.sync_all()?;
        } else {
            files::replace(&self.path(), &stay)?;
        }
        Ok(unreadable)
    }

    /// Reads no more than the lengths, however large the file is.
    fn number(&self) -> io::Result<u64> {
        match File::open(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            file => frame::count(BufReader::new(file?)),
        }
    }

    fn looks(&self) -> Option<(u64, SystemTime)> {
        let metadata = fs::metadata(self.path()).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        match fs::read(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("dead-letters")
    }

    /// Held by whoever writes, until it is dropped.
    fn lock(&self) -> io::Result<File> {
        let file = private().create(true).truncate(false).open(self.directory.join("dead-letters.lock"))?;
        files::give_away(&file, &self.directory)?;
        file.lock()?;
        Ok(file)
    }
}

impl From<Place> for LetterId {
    fn from(place: Place) -> Self {
        Self(place.segment, place.number, 0)
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(segment, number, _) = self;
        f.pad(&format!("{segment}-{number}"))
    }
}

impl FromStr for LetterId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts =
            text.split_once('-').and_then(|(segment, number)| Some((segment.parse().ok()?, number.parse().ok()?)));
        let (segment, number) =
            parts.ok_or("an id is two numbers, such as 7-12; `crosslink outbox list` shows them")?;
        Ok(Self(segment, number, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Kind;
    use super::*;

    /// A file of dead letters with these persons, under these numbers.
    fn filled(letters: &[(u32, &str)]) -> (tempfile::TempDir, DeadLetters) {
        let folder = tempfile::tempdir().unwrap();
        let file = LettersFile { directory: folder.path().to_owned(), most_bytes: 1 << 20 };
        for (number, person) in letters {
            let (site, person, what) = ("s".to_owned(), (*person).to_owned(), Kind::Alias("x".to_owned()));
            let record = Record { site, person, what, at: 0, accepted: 0 };
            let id = Place { segment: 1, number: *number }.into();
            file.add(&DeadLetter { id, record, why: String::new(), since: 0 }).unwrap();
        }
        (folder, DeadLetters::File(file))
    }

    fn persons(letters: &DeadLetters) -> Vec<String> {
        letters.read().unwrap().all.into_iter().map(|letter| letter.record.person).collect()
    }

    fn ids(letters: &DeadLetters, person: &str) -> BTreeSet<LetterId> {
        let all = letters.read().unwrap().all;
        all.into_iter().filter(|letter| letter.record.person == person).map(|letter| letter.id).collect()
    }

    #[test]
    fn two_events_that_stood_in_one_place_are_two_letters() {
        let (_folder, letters) = filled(&[(0, "bob"), (0, "eve"), (0, "eve"), (1, "bob")]);
        assert_eq!(persons(&letters).len(), 3, "what was added again counts once");
        let first = letters.read().unwrap().all[0].id;
        assert!(letters.read().unwrap().all[1].id.names(first) && first.to_string() == "1-0");
        letters.remove(&ids(&letters, "eve"), false).unwrap();
        assert_eq!(persons(&letters), ["bob", "bob"]);
    }

    #[test]
    fn all_are_taken_away_where_there_is_no_room_for_another_file() {
        let (folder, letters) = filled(&[(0, "bob"), (1, "eve")]);
        fs::create_dir(folder.path().join("dead-letters.next")).unwrap();
        assert!(letters.remove(&ids(&letters, "eve"), false).is_err());
        assert_eq!(persons(&letters), ["bob", "eve"]);
        let all = letters.read().unwrap().all.iter().map(|letter| letter.id).collect();
        letters.remove(&all, true).unwrap();
        assert_eq!(persons(&letters), [""; 0]);
        assert_eq!(fs::read(folder.path().join("dead-letters")).unwrap(), HEADER);
    }

    #[test]
    fn what_another_version_has_written_stays_until_it_is_dropped() {
        let (folder, letters) = filled(&[(0, "bob"), (1, "eve"), (2, "bob")]);
        let path = folder.path().join("dead-letters");
        let mut bytes = fs::read(&path).unwrap();
        frame::append(b"{\"id\":\"of another form\"}", &mut bytes);
        fs::write(&path, bytes).unwrap();
        letters.remove(&ids(&letters, "eve"), false).unwrap();
        let left = || letters.read().map(|left| (left.all.len(), left.unreadable)).unwrap();
        assert_eq!(left(), (2, 1));
        let none = BTreeSet::new();
        assert_eq!((letters.remove(&none, true).unwrap(), left()), (1, (2, 0)));
        assert_eq!(letters.remove(&none, true).unwrap(), 0);
    }
}
