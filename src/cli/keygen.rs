//! `crosslink keygen`: a new key.

use std::io::{self, Write};

use super::{Failure, print};
use crate::link::Key;

pub(super) fn run() -> Result<(), Failure> {
    print(&format!("{}\n", generate()?))?;
    // A hint on stderr stays out of the file that stdout is redirected into. Nobody is left to be told if it is closed.
    let _ = io::stderr().write_all(HINT.as_bytes());
    Ok(())
}

/// A new key, as it stands in a file.
pub(super) fn generate() -> Result<String, Failure> {
    Key::generate()
        .map_err(|_| Failure::new("the system gives no randomness", "try again once the machine has started up"))
}

const HINT: &str = "\
Keep it out of the configuration: write it into a file that only crosslink can read, and name that file:
  keys: [{ id: 2026-11, file: /etc/crosslink/secrets/2026-11.key }]
Both sides of a hand-off need the same key under the same id.
";
