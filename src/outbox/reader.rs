//! Which events come into memory next.
//!
//! A journal is read through once, for all. Of whom there is as much in memory as may be, a site or a person, stands
//! *behind* from there on: his events are passed over, and later read by a reader of his own, which takes only his. So
//! a service that takes nothing, and a person with thousands of events, hold up nobody else.

use std::collections::{HashMap, HashSet};
use std::io;

use super::cursor::{Cursor, Kept};
use super::held::{Held, Whom};
use super::source::Source;
use super::store::Store;

/// Who stands behind, and from where he is read on.
#[derive(Default)]
pub(super) struct Reader {
    behind: HashMap<Whom, Cursor>,
}

impl Reader {
    /// Whether events of one of these sites may come into memory that are not read yet: it does not stand behind.
    pub(super) fn wants<'s>(&self, held: &Held, mut sites: impl Iterator<Item = &'s str>) -> bool {
        sites.any(|name| !self.behind.contains_key(&held.site(name)))
    }

    /// Reads on by a little, and adds what comes into memory to `taken`, of each person in his order. Gives whether
    /// there may be more. While nobody is `wanted`, it is read only for those who stand behind.
    ///
    /// # Errors
    /// The journal can't be read on. What was taken before counts.
    pub(super) fn read(
        &mut self,
        source: &mut Source,
        held: &mut Held,
        is_wanted: bool,
        taken: &mut Vec<Kept>,
    ) -> io::Result<bool> {
        match source {
            // What a store gave it does not give again, so there is one room for all.
            Source::Stream(stream) => {
                let most = if is_wanted { READ_BYTES.min(held.room()) } else { 0 };
                let kept = stream.read(most);
                for kept in &kept {
                    held.add(kept);
                }
                taken.extend(kept);
                Ok(!taken.is_empty())
            }
            Source::Journal(store, cursor) => {
                let has_caught_up = self.catch_up(store, cursor, held, taken)?;
                Ok(is_wanted && self.read_on(store, cursor, held, taken)? || has_caught_up)
            }
        }
    }

    /// Reads for all who don't stand behind; whether there was anything.
    fn read_on(
        &mut self,
        store: &Store,
        cursor: &mut Cursor,
        held: &mut Held,
        taken: &mut Vec<Kept>,
    ) -> io::Result<bool> {
        let before = cursor.mark();
        let kept = cursor.read(store, READ_BYTES)?;
        let (is_any, mut taking) = (!kept.is_empty(), HashSet::new());
        for kept in kept {
            let person = held.person(&kept.record);
            if [person.site(), person].iter().all(|whom| self.takes(*whom, held, &before, &mut taking)) {
                held.add(&kept);
                taken.push(kept);
            }
        }
        Ok(is_any)
    }

    /// Reads for those who stand behind and have little left; whether there were any.
    fn catch_up(&mut self, store: &Store, front: &Cursor, held: &mut Held, taken: &mut Vec<Kept>) -> io::Result<bool> {
        let wanting: Vec<Whom> = self.behind.keys().copied().filter(|whom| held.wants(*whom)).collect();
        for whom in &wanting {
            let Some(mut cursor) = self.behind.remove(whom) else { continue };
            // A person is read up to where his site is, and a site up to where all are.
            let end = self.behind.get(&whom.site()).unwrap_or(front).place();
            let before = cursor.mark();
            let read = cursor.read(store, READ_BYTES);
            if read.as_ref().map_or(true, |kept| !kept.is_empty() && cursor.place() < end) {
                self.behind.insert(*whom, cursor);
            }
            let mut taking = HashSet::new();
            for kept in read?.into_iter().filter(|kept| Some(kept.place) < end) {
                let person = held.person(&kept.record);
                let is_his =
                    *whom == person || *whom == person.site() && self.takes(person, held, &before, &mut taking);
                if is_his {
                    held.add(&kept);
                    taken.push(kept);
                }
            }
        }
        Ok(!wanting.is_empty())
    }

    /// Whether somebody's events of a part of the journal come into memory: all of them, or none. If there is no room
    /// for them he stands behind from now on, and is read on from the beginning of that part.
    fn takes(&mut self, whom: Whom, held: &Held, before: &Cursor, taking: &mut HashSet<Whom>) -> bool {
        if taking.contains(&whom) {
            return true;
        }
        if self.behind.contains_key(&whom) {
            return false;
        }
        if held.is_full_of(whom) {
            self.behind.insert(whom, before.mark());
            return false;
        }
        taking.insert(whom)
    }
}

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::event::{Kind, Record};
    use super::super::frame;
    use super::*;
    use crate::metrics::Metrics;

    /// A journal, and what came into memory of it.
    struct Reading {
        store: Arc<Store>,
        source: Source,
        reader: Reader,
        held: Held,
        _folder: tempfile::TempDir,
    }

    impl Reading {
        /// Begins with these events in the journal: a site, a person, and a number.
        fn of(events: impl IntoIterator<Item = (&'static str, &'static str, u64)>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Arc::new(Store::open(folder.path(), Metrics::new(1).add_outbox()).unwrap());
            let source = Source::Journal(Arc::clone(&store), Cursor::default());
            let reading = Self { store, source, reader: Reader::default(), held: Held::default(), _folder: folder };
            reading.add(events);
            reading
        }

        /// Adds a segment of them.
        fn add(&self, events: impl IntoIterator<Item = (&'static str, &'static str, u64)>) {
            let (mut writer, mut bytes, mut count) = (self.store.begin().unwrap(), Vec::new(), 0);
            for (site, person, at) in events {
                let (site, person, what) = (site.to_owned(), person.to_owned(), Kind::Alias("x".repeat(100)));
                let record = Record { site, person, what, at, accepted: 0 };
                frame::append(&serde_json::to_vec(&record).unwrap(), &mut bytes);
                count += 1;
            }
            writer.append(&bytes).unwrap();
            self.store.grew(&writer, count);
            self.store.seal(&writer);
        }

        /// Reads all that there is room for.
        fn read(&mut self) -> Vec<Kept> {
            let mut taken = Vec::new();
            loop {
                let is_wanted = self.wants();
                if !self.reader.read(&mut self.source, &mut self.held, is_wanted, &mut taken).unwrap() {
                    return taken;
                }
            }
        }

        fn wants(&self) -> bool {
            self.reader.wants(&self.held, ["a", "b"].into_iter())
        }

        fn done(&mut self, kept: &Kept) {
            self.held.remove(kept.place);
            self.store.done(kept.place);
        }

        /// Delivers and reads on until nothing is left, and gives the numbers of each site's persons in their order.
        fn deliver(&mut self, mut taken: Vec<Kept>) -> HashMap<(String, String), Vec<u64>> {
            let mut delivered = HashMap::<_, Vec<u64>>::new();
            while !taken.is_empty() {
                for kept in std::mem::take(&mut taken) {
                    self.done(&kept);
                    delivered.entry((kept.record.site, kept.record.person)).or_default().push(kept.record.at);
                    // Now and then in between, when there is little of him or much.
                    if kept.place.number % 97 == 0 {
                        taken.extend(self.read());
                    }
                }
                taken.extend(self.read());
            }
            delivered
        }
    }

    const ALICE: [&str; 5] = ["a0", "a1", "a2", "a3", "a4"];

    #[test]
    fn a_site_that_takes_nothing_holds_up_no_other() {
        let of_a = |from: u64| (from..from + 12_000).map(|number| ("a", ALICE[(number % 5) as usize], number));
        let (many, more) = (of_a(0), of_a(12_000));
        let mut reading = Reading::of(many.chain([("b", "bob", 1)]));
        reading.add(more.chain([("b", "bob", 2)]));
        let taken = reading.read();
        let of_b: Vec<u64> = taken.iter().filter(|kept| kept.record.site == "b").map(|kept| kept.record.at).collect();
        assert_eq!(of_b, [1, 2]);
        assert!(taken.len() < 10_000, "{} events in memory", taken.len());
        // What comes now for either is read behind what is there.
        reading.add([("a", "a0", 24_000), ("b", "bob", 3)]);
        let delivered = reading.deliver(taken);
        assert_eq!(delivered[&("b".to_owned(), "bob".to_owned())], [1, 2, 3]);
        for (rest, person) in (0..).zip(ALICE) {
            let expected: Vec<u64> = (0..=24_000).filter(|number| number % 5 == rest).collect();
            assert!(delivered[&("a".to_owned(), person.to_owned())] == expected, "all of {person}'s, in their order");
        }
    }

    #[test]
    fn what_nobody_wants_is_not_read() {
        let mut reading = Reading::of([("a", "bob", 1)]);
        let mut taken = Vec::new();
        let Reading { source, reader, held, .. } = &mut reading;
        assert!(!reader.read(source, held, false, &mut taken).unwrap() && taken.is_empty());
        assert!(reader.read(source, held, true, &mut taken).unwrap() && taken.len() == 1);
    }

    #[test]
    fn a_site_with_many_persons_has_its_room_and_no_more() {
        let names: Vec<&'static str> = (0..40_000).map(|number| &*format!("p{number}").leak()).collect();
        let mut reading = Reading::of(names.iter().map(|name| ("a", *name, 7)).chain([("b", "bob", 1)]));
        let taken = reading.read();
        assert!(taken.len() < 32_000 && taken.last().is_some_and(|kept| kept.record.site == "b"), "{}", taken.len());
        let delivered = reading.deliver(taken);
        assert_eq!(delivered.len(), 40_001);
        assert!(delivered.values().all(|numbers| numbers.len() == 1));
    }

    #[test]
    fn a_person_with_many_events_holds_up_no_other() {
        let hot = (0..15_000).map(|number| ("a", "hot", number));
        let mut reading = Reading::of(hot.chain([("a", "bob", 1)]));
        let taken = reading.read();
        assert!(taken.iter().any(|kept| kept.record.person == "bob"));
        assert!(taken.len() < 5000, "{} events in memory", taken.len());
        reading.add([("a", "hot", 15_000), ("a", "bob", 2)]);
        let delivered = reading.deliver(taken);
        assert_eq!(delivered[&("a".to_owned(), "bob".to_owned())], [1, 2]);
        assert!(delivered[&("a".to_owned(), "hot".to_owned())] == (0..=15_000).collect::<Vec<_>>());
    }
}
