//! Files that a configuration names: secrets and certificates.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The beginning of a file, and its mode. What is no plain file, such as a pipe, could keep the program waiting.
pub(super) fn read_plain_file(path: &Path, longest: u64) -> io::Result<(Vec<u8>, u32)> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(longest).read_to_end(&mut bytes)?;
    Ok((bytes, metadata.permissions().mode()))
}
