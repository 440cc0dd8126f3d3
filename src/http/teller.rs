//! What visits leave to tell goes to the outbox, and nobody waits for it.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::mem::take;
use std::sync::{Mutex, PoisonError};

use crate::link::Tell;
use crate::outbox::{Event, Outbox, Properties, What};

/// Tells the outbox what visits leave to tell.
pub(super) struct Teller {
    outbox: Outbox,
    /// The aliases of late: those that are told again within a while are left out.
    recent: Mutex<Recent>,
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
        Self { outbox, recent: Mutex::default(), hasher: RandomState::new() }
    }

    /// Puts what is to be told of a visit at a time, in seconds since 1970, into the outbox's queue. What it refuses it
    /// counts; the visitor goes on.
    pub(super) fn tell(&self, tell: &Tell<'_>, at: u64) {
        let event = |person, what| Event { site: tell.site.clone(), person, what, at };
        if let Some(own) = &tell.alias
            && self.is_new(tell)
        {
            // The anonymous one first, as in the vendor's sample.
            let accepted = self.outbox.accept(event(own.clone(), What::Alias(tell.person.clone())));
            if accepted.is_err() {
                self.forget(tell);
            }
        }
        if let Some(name) = tell.event {
            let _ = self.outbox.accept(event(tell.person.clone(), recorded(name, tell)));
        }
    }

    /// Whether these two identities were told to be one person neither now nor shortly before. It is a matter of thrift:
    /// to the service the same alias again changes nothing.
    fn is_new(&self, tell: &Tell<'_>) -> bool {
        let (number, mut recent) = (self.number(tell), self.recent.lock().unwrap_or_else(PoisonError::into_inner));
        if recent.older.contains(&number) || !recent.newer.insert(number) {
            return false;
        }
        if recent.newer.len() >= MOST_RECENT {
            recent.older = take(&mut recent.newer);
        }
        true
    }

    fn forget(&self, tell: &Tell<'_>) {
        let (number, mut recent) = (self.number(tell), self.recent.lock().unwrap_or_else(PoisonError::into_inner));
        recent.newer.remove(&number);
        recent.older.remove(&number);
    }

    /// A number for an alias, made with a secret, so that nobody can look for another one with the same.
    fn number(&self, tell: &Tell<'_>) -> u64 {
        self.hasher.hash_one((tell.site, tell.alias.as_ref(), &tell.person))
    }
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Teller")
    }
}

/// An event with what is known of the visit.
fn recorded(name: &str, tell: &Tell<'_>) -> What {
    let named = tell.properties().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // Their names are good ones.
    let properties = Properties::new(named).unwrap_or_default();
    What::Record { name: name.to_owned(), properties }
}

/// How many aliases are remembered at the least, in some 20 bytes each.
const MOST_RECENT: usize = 10_000;
