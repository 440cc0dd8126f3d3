//! Events on their way from where they wait to KISSmetrics.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::circuit::{Circuit, pause_after};
use super::client::{Answer, Client};
use super::complaint::Complaint;
use super::dead_letters::{DeadLetter, DeadLetters};
use super::event::Record;
use super::held::Held;
use super::lanes::{LaneId, Lanes, Pending};
use super::reader::Reader;
use super::segments::Place;
use super::sites::site_of;
use super::source::Source;
use crate::metrics::{Attempt, Fate, Hindrance, OutboxCounts};
use crate::settings::{LiveSites, Site};

/// All that is delivered.
pub(super) struct Delivery {
    pub source: Source,
    pub sites: LiveSites,
    pub counts: Arc<OutboxCounts>,
    /// Told when there is more to deliver.
    pub grown: Arc<Notify>,
    pub client: Client,
    /// The most requests at a time, for each site.
    pub parallel: usize,
    pub letters: DeadLetters,
    pub state: UnderWay,
}

/// What has begun.
#[derive(Default)]
pub(super) struct UnderWay {
    reader: Reader,
    held: Held,
    channels: HashMap<String, Channel>,
    requests: JoinSet<Sent>,
    /// Whether it is of any use now to read what has come.
    is_wanted: bool,
    /// After a failure: when the disk is read again.
    read_again: Option<Instant>,
    /// What the file of dead letters looked like when they were counted, and when that was.
    letters: Option<(u64, SystemTime)>,
    counted: Option<Instant>,
    /// Events that were refused and could not be set aside yet, with why they were.
    refused: HashMap<Place, String>,
    set_aside: Complaint,
    not_set_aside: Complaint,
    random: RandomState,
}

/// The way to one site.
#[derive(Default)]
struct Channel {
    lanes: Lanes,
    circuit: Circuit,
    on_their_way: usize,
    /// Since when no pair has this site.
    homeless: Option<Instant>,
    failed: Complaint,
}

/// An event that was sent, and what came of it.
struct Sent {
    site: String,
    lane: LaneId,
    pending: Pending,
    answer: Answer,
}

impl Channel {
    /// Whether nothing is sent because no pair has this site: somebody may be about to mend that.
    fn waits_for_a_pair(&mut self, site: &str, is_there: bool, now: Instant) -> bool {
        if is_there || self.lanes.wakes_at(now).is_none() {
            self.homeless = None;
            return false;
        }
        let since = *self.homeless.get_or_insert_with(|| {
            tracing::warn!(site, "events wait for a site that no pair has: after {GRACE:?} they are set aside");
            now
        });
        now < since + GRACE
    }

    /// Whether its service takes nothing. What is here is enough to ask it by.
    fn is_down(&self) -> bool {
        self.circuit.opens_at().is_some() && !self.lanes.is_empty()
    }

    /// Until when it waits for a pair.
    fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.homeless.map(|since| since + GRACE).filter(|until| now < *until)
    }
}

/// What comes next for an event that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Done,
    SetAside,
    Again,
}

impl Next {
    /// After so many tries; `is_down` if the others are not taken either.
    fn after(attempt: Attempt, tries: u32, is_down: bool) -> Self {
        match attempt {
            Attempt::Ok => Self::Done,
            Attempt::Refused => Self::SetAside,
            // It would hold up its person, and its segment, for ever.
            Attempt::ServerError if tries >= MOST_TRIES && !is_down => Self::SetAside,
            Attempt::ServerError | Attempt::Timeout | Attempt::Unreachable => Self::Again,
        }
    }
}

/// When delivery ends.
pub(super) struct Ending {
    /// The program was told to stop: what is here is delivered, for so long.
    pub stop: CancellationToken,
    pub drain: Duration,
    /// Nothing more comes.
    pub closed: CancellationToken,
}

impl Delivery {
    /// Delivers until the end. What is on its way then is sent again after the next start.
    pub(super) async fn run(mut self, ending: Ending) {
        let mut deadline: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let is_more = self.read(now);
            if self.source.has_lost() {
                let source = &self.source;
                self.state.held.retain(|place| source.holds(place));
                self.state.channels.values_mut().for_each(|channel| channel.lanes.retain(|place| source.holds(place)));
            }
            self.send(now);
            self.report(now);
            let is_closed = ending.closed.is_cancelled();
            if deadline.is_some_and(|deadline| deadline <= now) || is_closed && !is_more && self.is_idle(now) {
                return self.source.leave();
            }
            let wake = [Some(now + self.source.pause()), deadline, self.wakes_at(now)].into_iter().flatten().min();
            tokio::select! {
                Some(sent) = self.state.requests.join_next() => match sent {
                    Ok(sent) => self.settle(sent),
                    Err(error) => tracing::error!(%error, "a delivery broke off; the next start sends its event again"),
                },
                () = yield_now(), if is_more => {}
                () = self.grown.notified(), if self.state.is_wanted => {}
                () = sleep_until(wake.unwrap_or(now).into()) => {}
                () = ending.stop.cancelled(), if deadline.is_none() => deadline = Some(Instant::now() + ending.drain),
                () = ending.closed.cancelled(), if !is_closed => {
                    deadline.get_or_insert(Instant::now() + ending.drain);
                }
            }
        }
    }

    /// Reads on by a little; whether there may be more.
    fn read(&mut self, now: Instant) -> bool {
        let state = &mut self.state;
        if state.read_again.is_some_and(|again| now < again) {
            return false;
        }
        state.read_again = None;
        let (sites, mut taken) = (self.sites.load(), Vec::new());
        let down = state.channels.iter().filter(|(_, channel)| channel.is_down());
        let down: Vec<&Site> = down.filter_map(|(name, _)| site_of(name, &sites)).collect();
        let up = sites.iter().filter(|(_, site)| !down.contains(site)).map(|(name, _)| &**name);
        state.is_wanted = sites.is_empty() || state.reader.wants(&state.held, up);
        let read = state.reader.read(&mut self.source, &mut state.held, state.is_wanted, &mut taken);
        for kept in taken {
            let channel = state.channels.entry(kept.record.site.clone()).or_default();
            channel.lanes.push(kept.place, kept.record);
        }
        read.unwrap_or_else(|error| {
            tracing::error!(%error, "the journal can't be read: it is tried again");
            state.read_again = Some(now + PAUSE);
            false
        })
    }

    /// Sends what may be sent.
    fn send(&mut self, now: Instant) {
        let sites = self.sites.load();
        let mut unsent = Vec::new();
        for (name, channel) in &mut self.state.channels {
            let site = site_of(name, &sites);
            if channel.waits_for_a_pair(name, site.is_some(), now) {
                continue;
            }
            while channel.on_their_way < self.parallel && channel.circuit.admits(now, channel.on_their_way) {
                let Some((lane, pending)) = channel.lanes.next(now) else { break };
                if !self.source.holds(pending.place) {
                    // It gave way to newer ones, or another crosslink delivers it.
                    self.state.held.remove(pending.place);
                    self.state.refused.remove(&pending.place);
                    channel.lanes.done(lane);
                    continue;
                }
                channel.on_their_way += 1;
                let refused = self.state.refused.get(&pending.place).cloned();
                let no_pair = || "no pair of the configuration has this site".to_owned();
                let (None, Some(site)) = (&refused, site.cloned()) else {
                    unsent.push((name.clone(), lane, pending, refused.unwrap_or_else(no_pair)));
                    continue;
                };
                let (client, name) = (self.client.clone(), name.clone());
                self.state.requests.spawn(async move {
                    let answer = client.send(&site, &pending.record).await;
                    Sent { site: name, lane, pending, answer }
                });
            }
        }
        // Nobody was asked about these, so they say nothing of the service.
        for (site, lane, pending, why) in unsent {
            self.conclude(&site, lane, &pending, Next::SetAside, why);
        }
    }

    /// Draws the conclusions from an answer.
    fn settle(&mut self, Sent { site, lane, pending, answer: Answer { attempt, why } }: Sent) {
        self.counts.tried(attempt);
        let (now, spread) = (Instant::now(), self.spread(&pending));
        let service = site_of(&site, &self.sites.load()).map(|site| site.endpoint.clone());
        let Some(channel) = self.state.channels.get_mut(&site) else { return };
        if !matches!(attempt, Attempt::Ok | Attempt::Refused) && channel.circuit.is_fine() {
            channel.failed.add(1, why.clone());
            if let Some((times, why)) = channel.failed.due(now) {
                tracing::warn!(service, times, why, "KISSmetrics did not take an event: it is sent again");
            }
        }
        if matches!(attempt, Attempt::Ok | Attempt::Refused) {
            if channel.circuit.answered() {
                tracing::info!(site, "KISSmetrics takes events again");
            }
        } else if channel.circuit.failed(now, spread) {
            tracing::warn!(site, service, why, "KISSmetrics takes no events: they wait, and it is asked now and then");
        }
        let next = Next::after(attempt, pending.tries, channel.circuit.opens_at().is_some());
        let why = if pending.tries > 1 { format!("{why}, at try {}", pending.tries) } else { why };
        self.conclude(&site, lane, &pending, next, why);
    }

    /// Is done with an event, or puts it back.
    fn conclude(&mut self, site: &str, lane: LaneId, pending: &Pending, next: Next, why: String) {
        let (now, spread) = (Instant::now(), self.spread(pending));
        let is_done = match next {
            Next::Done => true,
            Next::SetAside => self.bury(pending, why),
            Next::Again => false,
        };
        let Some(channel) = self.state.channels.get_mut(site) else { return };
        channel.on_their_way -= 1;
        if is_done {
            self.counts.count(if next == Next::Done { Fate::Delivered } else { Fate::Dead }, 1);
            channel.lanes.done(lane);
            self.state.held.remove(pending.place);
            self.source.done(pending.place);
        } else {
            channel.lanes.rest(lane, now + pause_after(pending.tries, spread));
        }
    }

    /// Sets an event aside; whether that was possible.
    fn bury(&mut self, pending: &Pending, why: String) -> bool {
        let id = self.source.letter_id(pending.place);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let letter = DeadLetter { id, record: Record::clone(&pending.record), why, since };
        let buried = self.letters.add(&letter);
        let why = letter.why;
        match &buried {
            Ok(()) => {
                self.state.refused.remove(&pending.place);
                self.state.set_aside.add(1, format!("{why}, {}", pending.record.site));
            }
            // It is not sent again, since it was refused.
            Err(error) => {
                self.state.not_set_aside.add(1, error.to_string());
                self.state.refused.insert(pending.place, why);
            }
        }
        buried.is_ok()
    }

    /// Says what was refused: where one event is, perhaps all are.
    fn complain(&mut self, now: Instant) {
        if let Some((events, why)) = self.state.set_aside.due(now) {
            tracing::warn!(events, why, "events were refused: `crosslink outbox list` shows them");
        }
        if let Some((times, error)) = self.state.not_set_aside.due(now) {
            tracing::error!(times, error, "refused events can't be set aside: they wait where they are");
        }
    }

    /// A random part of one, other for each try.
    fn spread(&self, pending: &Pending) -> f64 {
        let random = self.state.random.hash_one((pending.place, pending.tries));
        f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    /// When something may be sent that may not now, though nothing happens.
    fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let wakes = self.state.channels.values().filter_map(|channel| {
            let wake = channel.lanes.wakes_at(now)?;
            if let Some(until) = channel.waits_until(now) {
                return Some(until);
            }
            match channel.circuit.opens_at() {
                Some(_) if channel.on_their_way > 0 => None,
                Some(until) => Some(wake.max(until)),
                None => (channel.on_their_way < self.parallel).then_some(wake),
            }
        });
        wakes.min()
    }

    /// Whether all is delivered, or nothing can be for now. Whoever stops does not wait for a next try.
    fn is_idle(&self, now: Instant) -> bool {
        let may_send = |channel: &Channel| {
            let is_held_up = channel.circuit.opens_at().is_some() || channel.waits_until(now).is_some();
            channel.lanes.wakes_at(now) == Some(now) && !is_held_up
        };
        self.state.requests.is_empty() && !self.state.channels.values().any(may_send)
    }

    /// Tells the operator how it goes.
    fn report(&mut self, now: Instant) {
        self.complain(now);
        let is_held_up =
            |channel: &&Channel| channel.circuit.opens_at().is_some() || channel.waits_until(now).is_some();
        let open = self.state.channels.values().filter(is_held_up).count();
        self.counts.open_circuits.set(i64::try_from(open).unwrap_or(i64::MAX));
        // While the store is away nothing is held of what waits there.
        if !self.counts.is_hindered_by(Hindrance::Away) {
            self.counts.oldest_is_of(self.state.held.oldest());
        }
        if self.state.counted.is_some_and(|counted| counted.elapsed() < LOOK_EVERY) {
            return;
        }
        self.state.counted = Some(Instant::now());
        let looks = self.letters.looks();
        if looks != self.state.letters {
            // While they can't be read, the last number stays.
            if let Ok(number) = self.letters.number() {
                self.state.letters = looks;
                self.counts.dead(number);
            }
        }
    }
}

/// Before a disk that failed is read again.
const PAUSE: Duration = Duration::from_secs(10);
/// How often dead letters are counted: commands take from them too.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// For how long events wait for a site that no pair has.
const GRACE: Duration = Duration::from_secs(3600);
/// With the pauses between them, half an hour.
const MOST_TRIES: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_wait_an_hour_for_a_site_that_no_pair_has() {
        let (mut channel, now) = (Channel::default(), Instant::now());
        assert!(!channel.waits_for_a_pair("s", false, now), "where there is no event");
        let what = crate::outbox::Kind::Alias("x".to_owned());
        let record = Record { site: "s".to_owned(), person: "bob".to_owned(), what, at: 0, accepted: 0 };
        channel.lanes.push(Place { segment: 1, number: 0 }, record);
        assert!(channel.waits_for_a_pair("s", false, now) && channel.waits_for_a_pair("s", false, now + GRACE / 2));
        assert_eq!(channel.waits_until(now), Some(now + GRACE));
        assert!(!channel.waits_for_a_pair("s", true, now + GRACE / 2), "it is back");
        assert!(channel.waits_for_a_pair("s", false, now + GRACE), "and gone again");
        assert!(
            !channel.waits_for_a_pair("s", false, now + 2 * GRACE) && channel.waits_until(now + 2 * GRACE).is_none()
        );
    }

    #[test]
    fn a_service_that_takes_nothing_is_down_while_there_is_an_event_to_ask_it_by() {
        let (mut channel, now) = (Channel::default(), Instant::now());
        let what = crate::outbox::Kind::Alias("x".to_owned());
        let record = Record { site: "s".to_owned(), person: "bob".to_owned(), what, at: 0, accepted: 0 };
        channel.lanes.push(Place { segment: 1, number: 0 }, record);
        assert!(!channel.is_down());
        while !channel.circuit.failed(now, 1.0) {}
        let (bob, _) = channel.lanes.next(now).unwrap();
        assert!(channel.is_down(), "while it is on its way too");
        channel.lanes.done(bob);
        assert!(!channel.is_down(), "the next one has to come");
    }

    #[test]
    fn only_what_can_become_better_is_sent_again() {
        for (attempt, tries, is_down, expected) in [
            (Attempt::Ok, 1, false, Next::Done),
            (Attempt::Ok, 1000, true, Next::Done),
            (Attempt::Refused, 1, false, Next::SetAside),
            (Attempt::ServerError, 1, false, Next::Again),
            (Attempt::ServerError, MOST_TRIES, true, Next::Again),
            (Attempt::ServerError, MOST_TRIES, false, Next::SetAside),
            (Attempt::Timeout, 1000, false, Next::Again),
            (Attempt::Unreachable, 1000, false, Next::Again),
        ] {
            assert_eq!(Next::after(attempt, tries, is_down), expected, "{attempt:?}, {tries} tries, down: {is_down}");
        }
    }
}
