//! What visits leave to tell goes to the outbox, and nobody waits for it.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::mem::take;
use std::sync::{Mutex, PoisonError};

use crate::link::{Identity, Tell};
use crate::outbox::{Kind, Outbox, Properties, Record};

/// Tells the outbox what visits leave to tell.
pub(super) struct Teller {
    outbox: Outbox,
    /// The aliases of late: those that are told again within a while are left out.
    aliases: Mutex<Recent>,
    /// The events of late, each with its second.
    events: Mutex<Recent>,
    hasher: RandomState,
}

/// Up to twice [`MOST_RECENT`] numbers, of which the older half goes at once.
#[derive(Default)]
struct Recent {
    newer: HashSet<u64>,
    older: HashSet<u64>,
}

impl Teller {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self { outbox, aliases: Mutex::default(), events: Mutex::default(), hasher: RandomState::new() }
    }

    /// Puts what is to be told of a visit at a time, in seconds since 1970, into the outbox's queue. What it refuses it
    /// counts; the visitor goes on.
    ///
    /// What the service would not count a second time is left out, be it that somebody loads a link a thousand times a
    /// second: the same alias again, and the same person, event and second.
    pub(super) fn tell(&self, tell: &Tell<'_>, at: u64) {
        let (site, person) = (tell.site, &tell.person);
        let event = |person: &Identity<'_>, what| Record::new(site, person, what, at);
        if let Some(own) = &tell.alias {
            // The anonymous one first, as in the vendor's sample.
            self.offer(&self.aliases, (site, own, person), || event(own, Kind::alias(person)));
        }
        if let Some(name) = tell.event {
            self.offer(&self.events, (site, person, name, at), || event(person, recorded(name, tell)));
        }
    }

    /// Offers an event to the outbox unless it took one of late that was the same by what tells them apart.
    fn offer(&self, recent: &Mutex<Recent>, same: impl Hash, event: impl FnOnce() -> Record) {
        let lock = || recent.lock().unwrap_or_else(PoisonError::into_inner);
        // Made with a secret, so that nobody can look for another one with the same number.
        let number = self.hasher.hash_one(same);
        if lock().add(number) && self.outbox.accept(event()).is_err() {
            lock().remove(number);
        }
    }
}

impl Recent {
    /// Adds a number, unless it is there.
    fn add(&mut self, number: u64) -> bool {
        if self.older.contains(&number) || !self.newer.insert(number) {
            return false;
        }
        if self.newer.len() >= MOST_RECENT {
            self.older = take(&mut self.newer);
        }
        true
    }

    fn remove(&mut self, number: u64) {
        self.newer.remove(&number);
        self.older.remove(&number);
    }
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Teller")
    }
}

/// An event with what is known of the visit.
fn recorded(name: &str, tell: &Tell<'_>) -> Kind {
    let named = tell.properties().map(|(name, value)| (name.into(), value.to_owned())).collect();
    // Their names are good ones.
    let properties = Properties::new(named).unwrap_or_default();
    Kind::Record(name.to_owned(), properties)
}

/// How many aliases, and how many events, are remembered at the least, in some 20 bytes each.
const MOST_RECENT: usize = 10_000;
