//! The events that are read and not delivered yet, each behind the earlier ones of its person.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::event::Record;
use super::segments::Place;

/// The persons of one site that have events, each in a lane of its own. Two persons may share one by chance, which
/// costs them nothing but time.
#[derive(Default)]
pub(super) struct Lanes {
    events: HashMap<LaneId, VecDeque<Pending>>,
    /// Lanes whose first event may be sent now.
    ready: VecDeque<LaneId>,
    /// Lanes whose first event came to nothing and waits for its next try.
    resting: BinaryHeap<Reverse<(Instant, LaneId)>>,
    /// By what persons become numbers.
    hasher: RandomState,
}

/// The number of a person's lane.
pub(super) type LaneId = u64;

/// An event that is not delivered yet.
#[derive(Clone)]
pub(super) struct Pending {
    pub place: Place,
    pub record: Arc<Record>,
    /// How often it was sent.
    pub tries: u32,
}

impl Lanes {
    /// Adds an event behind the others of its person.
    pub(super) fn push(&mut self, place: Place, record: Record) {
        let id = self.hasher.hash_one(&record.person);
        let lane = self.events.entry(id).or_default();
        lane.push_back(Pending { place, record: Arc::new(record), tries: 0 });
        if lane.len() == 1 {
            self.ready.push_back(id);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The first event of a lane that is neither resting nor on its way. Until [`Self::done`] or [`Self::rest`] no
    /// other one of this lane comes.
    pub(super) fn next(&mut self, now: Instant) -> Option<(LaneId, Pending)> {
        while let Some(Reverse((until, id))) = self.resting.peek().copied() {
            if until > now {
                break;
            }
            self.resting.pop();
            self.ready.push_back(id);
        }
        let id = self.ready.pop_front()?;
        let pending = self.events.get_mut(&id)?.front_mut()?;
        pending.tries = pending.tries.saturating_add(1);
        Some((id, pending.clone()))
    }

    /// The first event of a lane is done with; gives its place.
    pub(super) fn done(&mut self, id: LaneId) -> Option<Place> {
        let lane = self.events.get_mut(&id)?;
        let done = lane.pop_front();
        if lane.is_empty() {
            self.events.remove(&id);
        } else {
            self.ready.push_back(id);
        }
        done.map(|pending| pending.place)
    }

    /// The first event of a lane is sent again, not before a time.
    pub(super) fn rest(&mut self, id: LaneId, until: Instant) {
        self.resting.push(Reverse((until, id)));
    }

    /// Forgets events that are somebody else's now, but for the first of each lane, which may be on its way.
    pub(super) fn retain(&mut self, is_held: impl Fn(Place) -> bool) {
        for lane in self.events.values_mut() {
            let mut is_first = true;
            lane.retain(|pending| std::mem::take(&mut is_first) || is_held(pending.place));
        }
    }

    /// When the next event may be sent: now, later, or not before something else happens.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        if self.ready.is_empty() { self.resting.peek().map(|Reverse((until, _))| *until) } else { Some(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Kept;
    use super::super::event::Kind;
    use super::super::held::Held;
    use super::*;
    use std::time::Duration;

    fn push(lanes: &mut Lanes, person: &str, number: u32) {
        let what = Kind::Alias("x".to_owned());
        let record = Record { site: "s".to_owned(), person: person.to_owned(), what, at: 0, accepted: 0 };
        lanes.push(Place { segment: 1, number }, record);
    }

    #[test]
    fn what_is_lost_and_read_again_is_held_once() {
        let (mut lanes, mut held, now) = (Lanes::default(), Held::default(), Instant::now());
        let mut rooms = Vec::new();
        for segment in 0..3 {
            for number in 0..9 {
                push(&mut lanes, "bob", number);
                let lane = lanes.events.values_mut().next().unwrap();
                lane.back_mut().unwrap().place.segment = segment;
                let record = Record::clone(&lane.back().unwrap().record);
                held.add(&Kept { place: Place { segment, number }, record, bytes: 100 });
            }
            lanes.retain(|place| place.segment == segment);
            held.retain(|place| place.segment == segment);
            rooms.push(held.room());
        }
        assert!(rooms.iter().all(|room| *room == rooms[0]));
        let (bob, first) = lanes.next(now).unwrap();
        assert_eq!((first.place.segment, lanes.events[&bob].len()), (0, 10), "the first may be on its way");
        lanes.done(bob);
        assert_eq!(lanes.next(now).unwrap().1.place, Place { segment: 2, number: 0 });
    }

    #[test]
    fn a_persons_events_come_one_after_the_other_and_hold_up_nobody_else() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        for (number, person) in (0..).zip(["bob", "bob", "eve", "bob"]) {
            push(&mut lanes, person, number);
        }
        let next =
            |lanes: &mut Lanes, now| lanes.next(now).map(|(id, pending)| (id, pending.place.number, pending.tries));
        let (bob, number, tries) = next(&mut lanes, now).unwrap();
        assert_eq!((number, tries), (0, 1));
        assert_eq!(next(&mut lanes, now).unwrap().1, 2, "eve's");
        assert_eq!(next(&mut lanes, now), None, "bob's first is on its way");
        lanes.rest(bob, now + Duration::from_secs(5));
        assert_eq!((next(&mut lanes, now), lanes.wakes_at(now)), (None, Some(now + Duration::from_secs(5))));
        let later = now + Duration::from_secs(5);
        assert_eq!(next(&mut lanes, later), Some((bob, 0, 2)), "the same one again");
        assert_eq!(lanes.done(bob).unwrap().number, 0);
        assert_eq!(next(&mut lanes, later), Some((bob, 1, 1)));
        lanes.done(bob);
        assert_eq!(next(&mut lanes, later), Some((bob, 3, 1)));
        lanes.done(bob);
        assert_eq!((next(&mut lanes, later), lanes.wakes_at(later)), (None, None));
    }
}
