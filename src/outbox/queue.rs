//! Events that have come, and wait in memory for the thread that keeps them.
//!
//! A visitor only puts his event into the queue. Whoever must know that an event is safe waits for the thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::Refused;
use super::event::{Event, Record};
use crate::metrics::OutboxCounts;

/// Events that are accepted or refused together.
pub(super) struct Group {
    events: Vec<Event>,
    told: Option<oneshot::Sender<Result<(), Refused>>>,
}

impl Group {
    /// Its events, as accepted now.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        let accepted = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.events.iter().map(move |event| Record::of(event, accepted))
    }

    /// Counts that it is not accepted, and says so to whoever waits.
    pub(super) fn refuse(self, why: Refused, counts: &OutboxCounts) {
        counts.count(why.fate(), self.events.len() as u64);
        self.tell(Err(why));
    }

    /// How many events it has.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Tells whoever waits what became of the events.
    pub(super) fn tell(self, outcome: Result<(), Refused>) {
        if let Some(told) = self.told {
            // Perhaps nobody waits any more.
            let _ = told.send(outcome);
        }
    }
}

/// What waits for the thread that keeps it.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    groups: Vec<Group>,
    events: usize,
    is_closed: bool,
}

impl Queue {
    /// Adds events, if there is room for all of them.
    pub(super) fn push(
        &self,
        events: Vec<Event>,
        told: Option<oneshot::Sender<Result<(), Refused>>>,
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::Stopping);
        }
        if state.events + events.len() > MOST_QUEUED {
            return Err(Refused::Busy);
        }
        state.events += events.len();
        state.groups.push(Group { events, told });
        let was_empty = state.groups.len() == 1;
        drop(state);
        if was_empty {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Takes nothing more; what is there is still written.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for events, at most for so long, and gives them with whether they are the last.
    pub(super) fn take(&self, patience: Duration) -> (Vec<Group>, bool) {
        let is_idle = |state: &mut Waiting| state.groups.is_empty() && !state.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.events = 0;
        (std::mem::take(&mut state.groups), state.is_closed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At some 300 bytes each, 3 MB.
const MOST_QUEUED: usize = 10_000;
