//! Records in a file: for each its length, a checksum and its bytes, so that what was cut off or damaged is told from
//! what is whole.

use crc32fast::Hasher;

/// What a file of records begins with.
pub(super) const HEADER: &[u8] = b"crosslink outbox 1\n";

/// The most bytes of a record; a length above that is no length.
pub(super) const LONGEST: usize = 64 * 1024;

/// Appends a record. It must be no longer than [`LONGEST`].
pub(super) fn append(record: &[u8], to: &mut Vec<u8>) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes();
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
