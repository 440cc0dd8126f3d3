//! Events that have come, and wait in memory for the thread that keeps them.
//!
//! A visitor only puts his event into the queue, as it will stand on the disk, so that little is left to do for the
//! thread, which takes its time from visitors too. Whoever must know that an event is safe waits for the thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::event::Record;
use super::{Refused, frame};
use crate::metrics::OutboxCounts;

/// Events that are accepted or refused together.
pub(super) struct Group {
    events: usize,
    /// How many bytes their records take.
    bytes: usize,
    told: Option<oneshot::Sender<Result<(), Refused>>>,
}

/// What was taken out of the queue: groups, and the records of all of them.
#[derive(Default)]
pub(super) struct Taken {
    records: Vec<u8>,
    groups: Vec<Group>,
}

impl Taken {
    /// Gives each group with its records.
    pub(super) fn each(self, mut take: impl FnMut(Group, &[u8])) {
        let mut rest = self.records.as_slice();
        for group in self.groups {
            let (records, behind) = rest.split_at_checked(group.bytes).unwrap_or((rest, &[]));
            rest = behind;
            take(group, records);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl Group {
    /// Counts that it is not accepted, and says so to whoever waits.
    pub(super) fn refuse(self, why: Refused, counts: &OutboxCounts) {
        counts.count(why.fate(), self.events as u64);
        self.tell(Err(why));
    }

    /// How many events it has.
    pub(super) fn len(&self) -> usize {
        self.events
    }

    /// Whether somebody waits to hear what became of the events.
    pub(super) fn is_awaited(&self) -> bool {
        self.told.is_some()
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
    all: Taken,
    events: usize,
    /// So many events wake the thread, or one group whose caller waits: each waking takes time from visitors.
    enough: usize,
    is_woken: bool,
    is_closed: bool,
}

impl Queue {
    /// Adds events, as accepted now, if there is room for all of them.
    pub(super) fn push(
        &self,
        events: &mut [Record],
        told: Option<oneshot::Sender<Result<(), Refused>>>,
    ) -> Result<(), Refused> {
        let accepted = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut kept = Vec::new();
        for event in &mut *events {
            event.accepted = accepted;
            frame::append(&event.kept().ok_or(Refused::TooLarge)?, &mut kept);
        }
        let events = events.len();
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::Stopping);
        }
        if state.events + events > MOST_QUEUED {
            return Err(Refused::Busy);
        }
        state.events += events;
        let wakes = !state.is_woken && (told.is_some() || state.events >= state.enough);
        state.is_woken |= wakes;
        state.all.records.extend_from_slice(&kept);
        state.all.groups.push(Group { events, bytes: kept.len(), told });
        drop(state);
        if wakes {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Takes nothing more; what is there is still written.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        (state.is_closed, state.is_woken) = (true, true);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for events, at most for so long, and gives them with whether they are the last. While many come of whom
    /// nobody waits, those of a moment are given together; whoever comes alone is given at once.
    pub(super) fn take(&self, patience: Duration) -> (Taken, bool) {
        self.gather(MOMENT, patience)
    }

    fn gather(&self, moment: Duration, patience: Duration) -> (Taken, bool) {
        let mut state = self.lock();
        for (enough, patience) in [(MANY, moment), (1, patience)] {
            if state.events < enough {
                state.enough = enough;
                let waited = self.changed.wait_timeout_while(state, patience, |state| !state.is_woken);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        (state.events, state.enough, state.is_woken) = (0, usize::MAX, state.is_closed);
        (std::mem::take(&mut state.all), state.is_closed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At some 300 bytes each, 3 MB.
const MOST_QUEUED: usize = 10_000;
/// So many don't wait for more.
const MANY: usize = MOST_QUEUED / 4;
/// What a visitor's event waits for others, if some came just before: so many writes a second are no burden.
const MOMENT: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::super::event::Kind;
    use super::*;
    use crate::link::Identity;

    /// Longer than any test waits.
    const EVER: Duration = Duration::from_secs(3600);

    /// Adds events of whom nobody waits.
    fn push(queue: &Queue, number: usize) {
        let bob = Identity::from_cookie(b"bob").unwrap();
        let mut events = vec![Record::new("s", &bob, Kind::alias(&bob), 0); number];
        queue.push(&mut events, None).unwrap();
    }

    /// How many groups come, in the time that is given.
    fn taken(queue: &Queue, moment: Duration, patience: Duration) -> usize {
        queue.gather(moment, patience).0.groups.len()
    }

    #[test]
    fn visitors_events_wake_nobody_until_there_are_many() {
        let queue = Queue::default();
        assert_eq!(taken(&queue, Duration::ZERO, Duration::ZERO), 0);
        for _ in 0..10 {
            push(&queue, 10);
        }
        assert!(!queue.lock().is_woken);
        assert_eq!(taken(&queue, Duration::ZERO, EVER), 10);
        push(&queue, MANY);
        assert_eq!(taken(&queue, EVER, EVER), 1);
        push(&queue, MANY - 1);
        assert!(!queue.lock().is_woken);
    }

    /// How many groups come to a thread that waits for ever, when one event is there, another one comes, and then this.
    fn woken_by(comes: impl Fn(&Queue)) -> usize {
        let queue = Arc::<Queue>::default();
        assert_eq!(taken(&queue, Duration::ZERO, Duration::ZERO), 0);
        push(&queue, 1);
        let thread = thread::spawn({
            let queue = Arc::clone(&queue);
            move || taken(&queue, EVER, EVER)
        });
        push(&queue, 1);
        comes(&queue);
        thread.join().unwrap()
    }

    #[test]
    fn what_can_not_wait_comes_at_once_with_all_that_is_there() {
        assert_eq!(woken_by(|queue| queue.push(&mut [], Some(oneshot::channel().0)).unwrap()), 3, "a caller");
        assert_eq!(woken_by(|queue| (0..MANY / 10).for_each(|_| push(queue, 10))), 2 + MANY / 10, "many events");
        assert_eq!(woken_by(Queue::close), 2, "the end");
    }

    #[test]
    fn one_event_after_a_while_is_taken_at_once() {
        let queue = Arc::<Queue>::default();
        for _ in 0..3 {
            let thread = thread::spawn({
                let queue = Arc::clone(&queue);
                move || taken(&queue, Duration::ZERO, EVER)
            });
            push(&queue, 1);
            assert_eq!(thread.join().unwrap(), 1);
        }
        push(&queue, 1);
        queue.close();
        assert!(queue.push(&mut [], None).is_err());
        assert!(matches!(queue.gather(EVER, EVER), (taken, true) if taken.groups.len() == 1));
        assert!(matches!(queue.gather(EVER, EVER), (taken, true) if taken.is_empty()));
    }
}
