//! Events in a Valkey or Redis that several crosslinks share, in place of a journal of their own.
//!
//! A person's events stand in one of 16 streams, the *parts*. Each part belongs to one crosslink at a time, for a while
//! that it prolongs: so nobody sends an event before the earlier ones of its person. Whoever gets a part claims first
//! what the one before had read and not delivered. What was delivered is taken out of the stream.
//!
//! The scripts beside this file run in the store, each as a whole. `NAME:3` is the stream of part 3, `NAME:3:owner`
//! whose it is, and `NAME:3:claim` how far he has claimed what the one before had read; `NAME:last` is the last number
//! that was given to an event, which with the part makes its id; `NAME:bytes` is how many bytes wait, `NAME:members`
//! who was there when, `NAME:dead` the dead letters and `NAME:dead:bytes` their length.

mod letters;
mod server;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::complaint::Complaint;
use super::cursor::Kept;
use super::segments::Place;
use crate::metrics::{Fate, Hindrance, OutboxCounts};
use crate::settings::StreamPlace;

pub use letters::StreamLetters;
use server::Server;
pub(super) use writer::Writer;

/// The parts that are this crosslink's, and what it has read there.
pub(super) struct Stream {
    server: Server,
    counts: Arc<OutboxCounts>,
    /// By what the store knows this crosslink.
    me: String,
    /// The parts that it has, each with a number that was never given before: what it read before it lost a part is
    /// nothing to it when it has it again.
    parts: HashMap<u32, u32>,
    terms: u32,
    /// Until when they are its own.
    until: Instant,
    /// What was read and is not done with.
    held: BTreeSet<(u32, Place)>,
    /// Whether some of that was lost with its part.
    has_lost: bool,
    /// What is done with, and the store does not know it yet.
    done: Vec<Place>,
    /// When the store is asked next.
    again: Instant,
    /// What another version has added.
    strange: Complaint,
}

/// What `take.lua` gives: the share, the parts, ids and events, how many wait, and their bytes.
type Taken = (usize, Vec<u32>, Vec<Vec<u8>>, u64, u64);

impl Stream {
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn of(place: StreamPlace, counts: Arc<OutboxCounts>) -> Result<Self, getrandom::Error> {
        let now = Instant::now();
        let me = format!("{:016x}", getrandom::u64()?);
        Ok(Self {
            server: Server::of(place, "give events"),
            counts,
            me,
            parts: HashMap::new(),
            terms: 0,
            until: now,
            held: BTreeSet::new(),
            has_lost: false,
            done: Vec::new(),
            again: now,
            strange: Complaint::default(),
        })
    }

    /// Tells the store what is done, prolongs the parts, and reads on, if there is room for so many bytes. While the
    /// store is away nothing comes.
    pub(super) fn read(&mut self, most: usize) -> Vec<Kept> {
        let now = Instant::now();
        if now < self.again {
            return Vec::new();
        }
        let taken = self.flush().and_then(|()| self.take(now, most));
        self.counts.hinders(Hindrance::Away, taken.is_err());
        let kept = taken.unwrap_or_else(|_| {
            // What the store gave and did not arrive here comes again with the parts.
            self.lose_all();
            Vec::new()
        });
        if kept.is_empty() {
            self.again = now + PAUSE;
        }
        kept
    }

    fn take(&mut self, now: Instant, most: usize) -> std::io::Result<Vec<Kept>> {
        if now >= self.until {
            self.lose_all();
        }
        let each = if most == 0 { 0 } else { (most / USUAL_BYTES / PARTS as usize).clamp(1, MOST_OF_A_PART) };
        let (me, parts) = (&self.me, &self.parts);
        let taken: Taken = self.server.run(include_str!("take.lua"), |arguments| {
            arguments.arg(me).arg(LEASE.as_secs() * 1000).arg(each);
            for part in parts.keys() {
                arguments.arg(part);
            }
        })?;
        let (share, owned, events, waiting, bytes) = taken;
        self.until = now + LEASE;
        self.counts.holds(waiting, bytes);
        let lost: Vec<u32> = self.parts.keys().filter(|part| !owned.contains(part)).copied().collect();
        for part in lost {
            self.lose(part);
        }
        for part in &owned {
            let terms = &mut self.terms;
            self.parts.entry(*part).or_insert_with(|| {
                *terms += 1;
                *terms
            });
        }
        let kept: Vec<Kept> = events.chunks_exact(2).filter_map(|event| self.kept(event)).collect();
        // They stay in the store, for one that knows them when it gets these parts.
        let strange = (events.len() / 2 - kept.len()) as u64;
        self.counts.count(Fate::Torn, strange);
        self.strange.add(strange, String::new());
        if let Some((events, _)) = self.strange.due(now) {
            tracing::error!(events, "events in the stream are of another version, and wait for it");
        }
        self.leave_surplus(owned.get(share..).unwrap_or_default())?;
        Ok(kept)
    }

    /// One event that was read; `None` if another version has written it.
    fn kept(&mut self, event: &[Vec<u8>]) -> Option<Kept> {
        let [id, text] = event else { return None };
        let (number, part) = std::str::from_utf8(id).ok()?.split_once('-')?;
        let (segment, part) = (number.parse().ok()?, part.parse().ok()?);
        let place = Place { segment, number: self.parts.get(&part)? * PARTS + part };
        let record = serde_json::from_slice(text).ok()?;
        self.held.insert((part, place));
        Some(Kept { place, record, bytes: text.len() })
    }

    /// Leaves parts to others that have too few, once nothing of them is on its way.
    fn leave_surplus(&mut self, surplus: &[u32]) -> std::io::Result<()> {
        let is_held = |part: u32| self.held.range(part_of_places(part)).next().is_some();
        let left: Vec<u32> = surplus.iter().copied().filter(|part| !is_held(*part)).collect();
        if left.is_empty() {
            return Ok(());
        }
        self.flush()?;
        for part in &left {
            self.lose(*part);
        }
        let me = &self.me;
        self.server.run(include_str!("leave.lua"), |arguments| {
            arguments.arg(me).arg(left);
        })
    }

    /// Whether an event may be sent: it still waits, and its part is still this crosslink's.
    pub(super) fn holds(&self, place: Place) -> bool {
        Instant::now() < self.until && self.held.contains(&(Self::part(place), place))
    }

    /// Notes that an event was delivered, or set aside. The store hears of it with the next reading.
    pub(super) fn done(&mut self, place: Place) {
        self.held.remove(&(Self::part(place), place));
        self.done.push(place);
    }

    /// The part of an event.
    pub(super) fn part(place: Place) -> u32 {
        place.number % PARTS
    }

    /// Leaves all parts to others.
    pub(super) fn leave(&mut self) {
        let me = self.me.clone();
        let left: std::io::Result<()> = self.flush().and_then(|()| {
            self.server.run(include_str!("leave.lua"), |arguments| {
                arguments.arg(me).arg((0..PARTS).collect::<Vec<_>>());
            })
        });
        if let Err(error) = left {
            tracing::warn!(%error, "the store could not be told that this crosslink ends; others wait a moment for it");
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while !self.done.is_empty() {
            let begin = self.done.len().saturating_sub(MOST_DONE);
            let done = self.done.get(begin..).unwrap_or_default();
            let () = self.server.run(include_str!("done.lua"), |arguments| {
                for place in done {
                    let part = Self::part(*place);
                    arguments.arg(part).arg(format!("{}-{part}", place.segment));
                }
            })?;
            self.done.truncate(begin);
        }
        Ok(())
    }

    /// Whether events were lost since this was asked last.
    pub(super) fn has_lost(&mut self) -> bool {
        std::mem::take(&mut self.has_lost)
    }

    fn lose(&mut self, part: u32) {
        self.has_lost = true;
        self.parts.remove(&part);
        self.held.retain(|(held, _)| *held != part);
    }

    fn lose_all(&mut self) {
        self.has_lost |= !self.held.is_empty();
        self.parts.clear();
        self.held.clear();
    }
}

/// All that can be held of a part.
fn part_of_places(part: u32) -> std::ops::RangeInclusive<(u32, Place)> {
    (part, Place { segment: 0, number: 0 })..=(part, Place { segment: u64::MAX, number: u32::MAX })
}

/// How many parts there are; the scripts know it too.
const PARTS: u32 = 16;
/// For how long a part belongs to a crosslink that gives no more sign of life.
const LEASE: Duration = Duration::from_secs(5);
/// Before the store is asked again that had nothing.
const PAUSE: Duration = Duration::from_millis(100);
const USUAL_BYTES: usize = 300;
/// Events of one part that are read at once.
const MOST_OF_A_PART: usize = 100;
const MOST_DONE: usize = 1000;
