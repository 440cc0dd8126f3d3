//! Which records of a segment were delivered: in memory, and in a file beside it, so that a restart sends again only
//! what was on its way.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::files::private;

/// The notes of one segment.
pub(super) struct Notes {
    path: PathBuf,
    /// Whether each record was delivered; those behind the end were not.
    delivered: Vec<bool>,
    /// How many that is.
    count: u32,
    file: Option<File>,
    /// What the file does not have yet, because the disk is full.
    unwritten: Vec<u8>,
    bytes: u64,
}

impl Notes {
    /// Of a segment of which nothing was delivered.
    pub(super) fn none(path: PathBuf) -> Self {
        Self { path, delivered: Vec::new(), count: 0, file: None, unwritten: Vec::new(), bytes: 0 }
    }

    /// What an earlier run noted of a segment of so many records.
    pub(super) fn read(path: &Path, records: u32) -> io::Result<Self> {
        let mut notes = Self::none(path.to_owned());
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(notes),
            read => read?,
        };
        let (whole, rest) = bytes.as_chunks::<NOTE>();
        if !rest.is_empty() {
            File::options().write(true).open(path)?.set_len((bytes.len() - rest.len()) as u64)?;
        }
        for [a, b, c, d, sum @ ..] in whole {
            let number = u32::from_le_bytes([*a, *b, *c, *d]);
            // After a power cut some may be zeros, and there may be some of records that were lost.
            if *sum == checksum(number) && number < records {
                notes.set(number);
            }
        }
        notes.bytes = (whole.len() * NOTE) as u64;
        Ok(notes)
    }

    /// Notes that a record was delivered; whether that is new.
    ///
    /// The disk is not waited for: what a power cut takes is sent again, and counts once. If it is full, the note is
    /// written with a later one.
    pub(super) fn add(&mut self, number: u32) -> bool {
        if !self.set(number) {
            return false;
        }
        self.unwritten.extend_from_slice(&number.to_le_bytes());
        self.unwritten.extend_from_slice(&checksum(number));
        if let Err(error) = self.write() {
            tracing::debug!(%error, "a delivery could not be noted yet");
        }
        true
    }

    /// Whether a record was delivered.
    pub(super) fn has(&self, number: u32) -> bool {
        self.delivered.get(number as usize).copied().unwrap_or(false)
    }

    /// How many were delivered.
    pub(super) fn delivered(&self) -> u32 {
        self.count
    }

    /// The length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn set(&mut self, number: u32) -> bool {
        let place = number as usize;
        if self.delivered.len() <= place {
            self.delivered.resize(place + 1, false);
        }
        let is_new = self.delivered.get_mut(place).is_some_and(|delivered| !std::mem::replace(delivered, true));
        self.count += u32::from(is_new);
        is_new
    }

    fn write(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(private().create(true).append(true).open(&self.path)?),
        };
        while !self.unwritten.is_empty() {
            let written = file.write(&self.unwritten)?;
            self.bytes += written as u64;
            self.unwritten.drain(..written);
        }
        Ok(())
    }
}

fn checksum(number: u32) -> [u8; 4] {
    crc32fast::hash(&number.to_le_bytes()).to_le_bytes()
}

/// A number and its checksum.
const NOTE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_after_a_restart_however_the_file_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        let mut notes = Notes::none(path.clone());
        assert_eq!([3, 0, 3].map(|number| notes.add(number)), [true, true, false]);
        let whole = fs::read(&path).unwrap();
        for (end, known) in [(&b""[..], 2), (b"\x01\0\0", 2), (&[0; 16], 2), (&[1, 0, 0, 0, 0, 0, 0, 0], 2)] {
            fs::write(&path, [&whole, end].concat()).unwrap();
            let mut notes = Notes::read(&path, 10).unwrap();
            assert_eq!((notes.delivered(), notes.has(3), notes.has(0), notes.has(1)), (known, true, true, false));
            assert!(notes.add(1));
            assert_eq!(Notes::read(&path, 10).unwrap().delivered(), 3, "behind {end:?}");
        }
        assert_eq!(Notes::read(&path, 1).unwrap().delivered(), 1, "of records that are not there any more");
    }
}
