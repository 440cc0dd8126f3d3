//! Records in a file: for each its length, a checksum and its bytes, so that what was cut off or damaged is told from
//! what is whole.

use std::fs::File;
use std::io::{self, BufReader, Read};

use crc32fast::Hasher;

/// What a file of records begins with.
pub(super) const HEADER: &[u8] = b"crosslink outbox 1\n";

/// The most bytes of a record; a length above that is no length.
pub(super) const LONGEST: usize = 64 * 1024;

/// Appends a record. It must be no longer than [`LONGEST`].
pub(super) fn append(record: &[u8], to: &mut Vec<u8>) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes();
    to.reserve(8 + record.len());
    to.extend_from_slice(&length);
    to.extend_from_slice(&checksum(length, record).to_le_bytes());
    to.extend_from_slice(record);
}

/// The records at the beginning of some bytes, up to the first that is not whole.
pub(super) struct Frames<'b> {
    rest: &'b [u8],
    /// How many bytes the records took that came out so far.
    pub whole: usize,
}

impl<'b> Frames<'b> {
    pub(super) fn of(bytes: &'b [u8]) -> Self {
        Self { rest: bytes, whole: 0 }
    }
}

impl<'b> Iterator for Frames<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let (length, behind) = self.rest.split_first_chunk::<4>()?;
        let (sum, behind) = behind.split_first_chunk::<4>()?;
        let bytes = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|bytes| *bytes <= LONGEST)?;
        let (record, behind) = behind.split_at_checked(bytes)?;
        if checksum(*length, record) != u32::from_le_bytes(*sum) {
            return None;
        }
        self.rest = behind;
        self.whole += 8 + bytes;
        Some(record)
    }
}

/// How many records a file holds, by their lengths, up to the first that can't be one.
pub(super) fn count(mut file: BufReader<File>) -> io::Result<u64> {
    let (mut records, mut next) = (0, [0; 8]);
    io::copy(&mut file.by_ref().take(HEADER.len() as u64), &mut io::sink())?;
    loop {
        match file.read_exact(&mut next) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(records),
            read => read?,
        }
        let [a, b, c, d, ..] = next;
        let bytes = u32::from_le_bytes([a, b, c, d]);
        if bytes as usize > LONGEST {
            return Ok(records);
        }
        file.seek_relative(bytes.into())?;
        records += 1;
    }
}

/// What can be read of a file of records.
#[derive(Default)]
pub(super) struct Found<'b> {
    pub records: Vec<&'b [u8]>,
    /// How many parts of the file are no records.
    pub torn: u64,
    /// How many of the records stand before the first of these parts, and how many bytes they take with the header.
    pub sure: usize,
    pub whole: usize,
    /// Whether those parts hold anything but zeros, which a power cut leaves.
    pub holds_something: bool,
}

impl<'b> Found<'b> {
    /// All that can be read. In no record stand bytes that could be taken for another one: it is JSON, which has no
    /// zeros, and a length has some.
    pub(super) fn in_file(bytes: &'b [u8]) -> Self {
        let mut found = Self { whole: HEADER.len(), ..Self::default() };
        let is_cut = HEADER.starts_with(bytes) && bytes != HEADER;
        let mut frames = Frames::of(bytes.strip_prefix(HEADER).unwrap_or(bytes));
        loop {
            found.records.extend(frames.by_ref());
            if found.torn == 0 {
                (found.sure, found.whole) = (found.records.len(), HEADER.len() + frames.whole);
            }
            if frames.rest.is_empty() {
                return found;
            }
            found.torn += 1;
            let torn = frames.pass_over();
            found.holds_something |= !is_cut && torn.iter().any(|byte| *byte != 0);
        }
    }

    /// Whether nothing is missing but a part at the end.
    pub(super) fn is_tail(&self) -> bool {
        self.sure == self.records.len() && (self.whole > HEADER.len() || !self.holds_something)
    }
}

impl<'b> Frames<'b> {
    /// Goes on where the next whole record begins, and gives what stands before it.
    pub(super) fn pass_over(&mut self) -> &'b [u8] {
        let is_record = |at: &usize| self.rest.get(*at..).is_some_and(|rest| Frames::of(rest).next().is_some());
        let at = (1..self.rest.len()).find(is_record).unwrap_or(self.rest.len());
        let (torn, rest) = self.rest.split_at_checked(at).unwrap_or_default();
        self.rest = rest;
        torn
    }
}

/// Over the length too: of a file that a power cut left full of zeros, no part is a record.
fn checksum(length: [u8; 4], record: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&length);
    hasher.update(record);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(records: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in records {
            append(record.as_bytes(), &mut bytes);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<String>, usize) {
        let mut frames = Frames::of(bytes);
        let records = frames.by_ref().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect();
        (records, frames.whole)
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let bytes = framed(&["one", "", "three"]);
        assert_eq!(read(&bytes), (vec!["one".to_owned(), String::new(), "three".to_owned()], bytes.len()));
    }

    #[test]
    fn wherever_it_is_cut_what_is_whole_before_comes_out() {
        let (one, all) = (framed(&["one"]), framed(&["one", "two and a half"]));
        for cut in one.len()..all.len() {
            assert_eq!(read(&all[..cut]), (vec!["one".to_owned()], one.len()), "cut at {cut}");
        }
    }

    #[test]
    fn whatever_byte_is_wrong_all_other_records_are_found() {
        let records = ["one", "two", "three", "four"].map(|text| format!("{{\"text\":\"{text}\"}}"));
        let ends: Vec<usize> = (0..=4)
            .map(|count| framed(&records.iter().take(count).map(String::as_str).collect::<Vec<_>>()).len())
            .collect();
        let file = [HEADER, &framed(&records.each_ref().map(String::as_str))].concat();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let found = Found::in_file(&damaged);
            let hit = at.checked_sub(HEADER.len()).map(|at| ends.iter().rposition(|end| *end <= at).unwrap());
            let expected: Vec<&[u8]> =
                (0..4).filter(|number| Some(*number) != hit).map(|number| records[number].as_bytes()).collect();
            assert_eq!((found.records, found.torn), (expected, 1), "damaged at {at}");
            assert_eq!(found.sure, hit.unwrap_or(0), "damaged at {at}");
        }
        let found = Found::in_file(&file);
        assert_eq!((found.records.len(), found.sure, found.whole, found.torn), (4, 4, file.len(), 0));
    }

    #[test]
    fn whatever_byte_is_wrong_the_record_does_not_come_out() {
        let (one, all) = (framed(&["one"]), framed(&["one", "two", "three"]));
        for at in one.len()..one.len() + 11 {
            let mut damaged = all.clone();
            damaged[at] ^= 0x10;
            assert_eq!(read(&damaged).0, ["one"], "damaged at {at}");
        }
        let mut zeros = one.clone();
        zeros.resize(4096, 0);
        assert_eq!(read(&zeros), (vec!["one".to_owned()], one.len()));
    }
}
