//! Dead letters in the store, where every crosslink and every command finds them.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::dead_letters::{DeadLetter, LetterId, Letters};
use super::server::Server;
use crate::settings::StreamPlace;

/// Those of a stream.
pub struct StreamLetters {
    server: Mutex<Server>,
    most_bytes: u64,
}

impl StreamLetters {
    pub(in super::super) fn of(place: StreamPlace, most_bytes: u64) -> Self {
        Self { server: Mutex::new(Server::of(place, "keep dead letters")), most_bytes }
    }

    /// Adds one, or writes it anew.
    pub(in super::super) fn add(&self, letter: &DeadLetter) -> io::Result<()> {
        let text = serde_json::to_vec(letter)?;
        let is_added: bool = self.lock().run(include_str!("bury.lua"), |arguments| {
            arguments.arg(self.most_bytes).arg(letter.id.to_string()).arg(text);
        })?;
        let full = || io::Error::other("there are as many dead letters as `max_bytes` allows");
        is_added.then_some(()).ok_or_else(full)
    }

    /// All of them.
    pub(in super::super) fn read(&self) -> io::Result<Letters> {
        let mut server = self.lock();
        let key = server.key("dead");
        let letters: Vec<Vec<u8>> = server.ask(redis::cmd("HVALS").arg(key))?;
        Ok(Letters::of(&letters, 0))
    }

    /// Takes some away.
    pub(in super::super) fn remove(&self, ids: &BTreeSet<LetterId>) -> io::Result<()> {
        self.lock().run(include_str!("remove.lua"), |arguments| {
            for id in ids {
                arguments.arg(id.to_string());
            }
        })
    }

    /// Takes away those that can't be read, and gives how many there were.
    pub(in super::super) fn remove_unreadable(&self) -> io::Result<usize> {
        let mut server = self.lock();
        let key = server.key("dead");
        let mut letters: Vec<(Vec<u8>, Vec<u8>)> = server.ask(redis::cmd("HGETALL").arg(key))?;
        letters.retain(|(_, text)| DeadLetter::parse(text).is_err());
        let () = server.run(include_str!("remove.lua"), |arguments| {
            for (field, _) in &letters {
                arguments.arg(field);
            }
        })?;
        Ok(letters.len())
    }

    /// How many there are.
    pub(in super::super) fn number(&self) -> io::Result<u64> {
        let mut server = self.lock();
        let key = server.key("dead");
        server.ask(redis::cmd("HLEN").arg(key))
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StreamLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamLetters").field("most_bytes", &self.most_bytes).finish_non_exhaustive()
    }
}
