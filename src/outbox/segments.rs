//! What is known of the segments of a journal, and of all of them together.

use std::collections::BTreeMap;

use super::notes::Notes;

/// Where a record stands: the number of its segment, and its own in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub segment: u64,
    pub number: u32,
}

/// All segments that there are.
#[derive(Default)]
pub(super) struct Segments {
    known: BTreeMap<u64, Segment>,
    total: Size,
    /// The highest number that was ever given.
    pub last: u64,
}

/// One of them.
pub(super) struct Segment {
    /// Its length, as far as it holds whole records.
    pub bytes: u64,
    pub records: u32,
    pub notes: Notes,
    /// Whether nothing more is written to it.
    pub is_sealed: bool,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// On the disk, notes included.
    pub bytes: u64,
    /// Records that were not delivered.
    pub left: u64,
}

impl Segment {
    /// How many records were not delivered.
    pub(super) fn left(&self) -> u32 {
        self.records.saturating_sub(self.notes.delivered())
    }

    fn size(&self) -> Size {
        Size { bytes: self.bytes + self.notes.bytes(), left: self.left().into() }
    }
}

impl Segments {
    /// All of them together.
    pub(super) fn total(&self) -> Size {
        self.total
    }

    pub(super) fn get(&self, number: u64) -> Option<&Segment> {
        self.known.get(&number)
    }

    /// Those from a number on, in their order.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Segment)> {
        self.known.range(number..).map(|(number, segment)| (*number, segment))
    }

    /// Adds one, or puts it in the place of the one that has its number.
    pub(super) fn insert(&mut self, number: u64, segment: Segment) {
        self.remove(number);
        self.last = self.last.max(number);
        self.add(segment.size());
        self.known.insert(number, segment);
    }

    pub(super) fn remove(&mut self, number: u64) {
        if let Some(segment) = self.known.remove(&number) {
            self.subtract(segment.size());
        }
    }

    /// Changes one, if it is there.
    pub(super) fn change<T>(&mut self, number: u64, change: impl FnOnce(&mut Segment) -> T) -> Option<T> {
        let segment = self.known.get_mut(&number)?;
        let before = segment.size();
        let changed = change(segment);
        let after = segment.size();
        self.subtract(before);
        self.add(after);
        Some(changed)
    }

    fn add(&mut self, Size { bytes, left }: Size) {
        self.total.bytes += bytes;
        self.total.left += left;
    }

    fn subtract(&mut self, Size { bytes, left }: Size) {
        self.total.bytes -= bytes;
        self.total.left -= left;
    }
}
