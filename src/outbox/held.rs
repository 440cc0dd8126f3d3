//! What is read and not done with: how much it is, of whom, and since when.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use super::cursor::Kept;
use super::event::Record;
use super::segments::Place;

/// All events in memory.
#[derive(Default)]
pub(super) struct Held {
    events: BTreeMap<Place, Event>,
    /// How many bytes those of a site take, and how many there are of a person.
    sites: HashMap<Whom, usize>,
    persons: HashMap<Whom, usize>,
    bytes: usize,
    /// By what sites and persons become numbers.
    hasher: RandomState,
}

/// What is known of an event.
struct Event {
    bytes: usize,
    accepted: u64,
    person: Whom,
}

/// Of whom events are: a site, or one of its persons. Two may share a number by chance, which costs them nothing but
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whom {
    Site(u64),
    Person(u64, u64),
}

impl Whom {
    /// The site, also of a person.
    pub(super) fn site(self) -> Self {
        match self {
            Self::Site(site) | Self::Person(site, _) => Self::Site(site),
        }
    }
}

impl Held {
    pub(super) fn add(&mut self, kept: &Kept) {
        let (bytes, person) = (kept.bytes + OVERHEAD, self.person(&kept.record));
        self.events.insert(kept.place, Event { bytes, accepted: kept.record.accepted, person });
        self.bytes += bytes;
        *self.sites.entry(person.site()).or_default() += bytes;
        *self.persons.entry(person).or_default() += 1;
    }

    pub(super) fn remove(&mut self, place: Place) {
        let Some(Event { bytes, person, .. }) = self.events.remove(&place) else { return };
        self.bytes -= bytes;
        subtract(&mut self.sites, person.site(), bytes);
        subtract(&mut self.persons, person, 1);
    }

    /// Forgets what is somebody else's now.
    pub(super) fn retain(&mut self, is_held: impl Fn(Place) -> bool) {
        let lost: Vec<Place> = self.events.keys().copied().filter(|place| !is_held(*place)).collect();
        for place in lost {
            self.remove(place);
        }
    }

    /// How many bytes more may be read, whosever they are.
    pub(super) fn room(&self) -> usize {
        MOST_HELD.saturating_sub(self.bytes)
    }

    /// Whether there is as much of somebody as may be.
    pub(super) fn is_full_of(&self, whom: Whom) -> bool {
        let (much, most) = self.share(whom);
        much >= most
    }

    /// Whether there is so little of somebody that more should come.
    pub(super) fn wants(&self, whom: Whom) -> bool {
        let (much, most) = self.share(whom);
        much < most / 2
    }

    /// How much there is of somebody, and how much may be. Sites share what there is room for.
    fn share(&self, whom: Whom) -> (usize, usize) {
        let (known, most) = match whom {
            Whom::Site(_) => (&self.sites, MOST_HELD / self.sites.len().max(1)),
            Whom::Person(..) => (&self.persons, MOST_OF_A_PERSON),
        };
        (known.get(&whom).copied().unwrap_or_default(), most)
    }

    /// A site, given by its name.
    pub(super) fn site(&self, name: &str) -> Whom {
        Whom::Site(self.hasher.hash_one(name))
    }

    /// The person whom an event is about, at its site.
    pub(super) fn person(&self, record: &Record) -> Whom {
        Whom::Person(self.hasher.hash_one(&*record.site), self.hasher.hash_one(&*record.person))
    }

    /// When the oldest was accepted, in seconds since 1970.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.events.first_key_value().map(|(_, event)| event.accepted)
    }
}

fn subtract(known: &mut HashMap<Whom, usize>, whom: Whom, much: usize) {
    if let Some(left) = known.get_mut(&whom) {
        *left -= much;
        if *left == 0 {
            known.remove(&whom);
        }
    }
}

/// Some 30,000 events; beyond that, the disk holds them.
const MOST_HELD: usize = 16 * 1024 * 1024;
/// They go one after the other; so many keep him busy for a while.
const MOST_OF_A_PERSON: usize = 1000;
/// What an event takes in memory besides its text.
const OVERHEAD: usize = 400;
