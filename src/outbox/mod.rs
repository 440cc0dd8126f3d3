//! What KISSmetrics is to know, on its way there: kept on the disk, or in a store, until it was delivered.
//!
//! | file | is |
//! |---|---|
//! | `event` | what there is to tell, and the request that tells it |
//! | `queue`, `journal` | the queue in memory, and the thread that writes it to the disk |
//! | `frame`, `files`, `store`, `segments`, `notes`, `cursor` | records in files, those files, what is known of them, what of them was delivered, and how they are read |
//! | `stream` | a Valkey or Redis that several crosslinks share, in place of the disk |
//! | `source` | one of the two, for whoever reads there |
//! | `reader`, `held` | which events come into memory next, and what is there: so much of each site and person |
//! | `sites` | whose an event is, where several share them |
//! | `delivery` | from there to the service, with `lanes`, `circuit` and `client`; `complaint` says what happens often |
//! | `dead_letters`, `resend` | what the service refused, and how it is sent once more |
//!
//! The way of an event: [`Outbox::accept`] puts it into a queue, one thread writes what has come to the newest segment,
//! and another one reads it there, sends it, and notes that it was delivered. What the program is told to keep it keeps
//! through `kill -9`; what was on its way then is sent again, with the time of the event, by which KISSmetrics counts
//! it once.

mod circuit;
mod client;
mod complaint;
mod cursor;
mod dead_letters;
mod delivery;
mod event;
mod files;
mod frame;
mod held;
mod journal;
mod lanes;
mod notes;
mod queue;
mod reader;
mod resend;
mod segments;
mod sites;
mod source;
mod store;
mod stream;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use dead_letters::{DeadLetter, DeadLetters, LetterId, Letters, LettersFile};
pub use event::{Kind, Properties, Record};
pub use resend::{Resent, resend};
pub use sites::site_of;
pub use stream::StreamLetters;

use crate::metrics::{Fate, Hindrance, OutboxCounts};
use crate::settings::{LiveSites, OutboxPlace, OutboxSettings};
use client::Client;
use cursor::Cursor;
use delivery::{Delivery, Ending};
use journal::Journal;
use queue::Queue;
use source::Source;
use store::Store;
use stream::{Stream, Writer};

/// Takes events. Clones put into the same queue.
#[derive(Clone)]
pub struct Outbox {
    queue: Arc<Queue>,
    counts: Arc<OutboxCounts>,
}

/// Why events were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The journal is as large as `outbox.max_bytes` allows, and nothing gives way.
    Full,
    /// The disk or the store is full, or fails.
    NoRoom,
    /// More have come at once than the disk can take; at most 10,000 wait.
    Busy,
    /// No request can tell one of them: its texts are some 8 KB long. Or all together are larger than the outbox may
    /// ever be.
    TooLarge,
    /// The program stops.
    Stopping,
}

impl Outbox {
    /// Begins to take and to deliver events.
    ///
    /// # Errors
    /// The directory can't be used, or the system gives no threads. A store that is away is none.
    pub fn start(
        settings: &OutboxSettings,
        sites: LiveSites,
        counts: Arc<OutboxCounts>,
        stop: CancellationToken,
        drain: Duration,
    ) -> io::Result<(Self, Running)> {
        let letters = DeadLetters::of(settings);
        let (queue, grown, closed) = (Arc::<Queue>::default(), Arc::<Notify>::default(), CancellationToken::new());
        let (source, keep) = places(settings, &queue, &counts, &grown, &sites)?;
        if let Err(error) = letters.mend() {
            tracing::error!(%error, "the dead letters can't be used; the rest goes on without them");
        }
        // How many wait in a stream is known once it was read.
        if let (OutboxPlace::Directory(directory), Ok(dead_letters)) = (&settings.place, letters.number()) {
            let (waiting, ..) = counts.state();
            tracing::info!(directory = %directory.display(), waiting, dead_letters, "outbox opened");
        }
        let client = Client::new(settings).map_err(io::Error::other)?;
        let (parallel, state) = (settings.parallel, delivery::UnderWay::default());
        let delivery = Delivery { source, sites, counts: Arc::clone(&counts), grown, client, parallel, letters, state };
        let ending = Ending { stop, drain, closed: closed.clone() };
        // A runtime of its own: where it reads files, it keeps nobody else waiting.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let journal = named("journal").spawn(move || {
            stand_back(JOURNAL_NICENESS);
            keep();
        })?;
        let delivery = named("delivery").spawn(move || {
            stand_back(DELIVERY_NICENESS);
            runtime.block_on(delivery.run(ending));
            // A look-up of a name may still be waiting.
            runtime.shutdown_background();
        })?;
        let outbox = Self { queue, counts };
        Ok((outbox.clone(), Running { outbox, journal, delivery, closed, drain }))
    }

    /// Puts an event into the queue, at once: nobody waits for a disk. It is written within a moment, where many come
    /// with those of some 20 ms; what is still in the queue when the program is killed is lost.
    ///
    /// # Errors
    /// There is no room in the queue, no request can tell the event, or the program stops. If the disk has no room,
    /// that is counted later.
    pub fn accept(&self, event: Record) -> Result<(), Refused> {
        self.push(&mut [event], None)
    }

    /// Accepts all of some events or none, and waits until they are as safe as `outbox.durability` says: with `each` on
    /// the disk, so that neither a `kill -9` nor a power cut takes them; with `batch` with the system, which keeps them
    /// through a `kill -9`, and has them on the disk a second later.
    ///
    /// # Errors
    /// They were not accepted, or it took over ten seconds. After an error of the disk one may still be delivered.
    pub async fn accept_durably(&self, mut events: Vec<Record>) -> Result<(), Refused> {
        if events.is_empty() {
            return Ok(());
        }
        let (tell, told) = oneshot::channel();
        self.push(&mut events, Some(tell))?;
        match timeout(PATIENCE, told).await {
            Ok(told) => told.unwrap_or(Err(Refused::Stopping)),
            // The disk hangs. Perhaps they are written all the same.
            Err(_) => Err(Refused::NoRoom),
        }
    }

    fn push(&self, events: &mut [Record], tell: Option<oneshot::Sender<Result<(), Refused>>>) -> Result<(), Refused> {
        let number = events.len() as u64;
        self.queue.push(events, tell).inspect_err(|refused| self.counts.count(refused.fate(), number))
    }
}

/// Lets visitors go first where this thread and an event loop want the same processor: on Linux a thread has a niceness
/// of its own. Without it all works the same.
fn stand_back(niceness: i32) {
    let _ = rustix::process::nice(niceness);
}

/// Where events wait, and what the thread does that puts them there.
fn places(
    settings: &OutboxSettings,
    queue: &Arc<Queue>,
    counts: &Arc<OutboxCounts>,
    grown: &Arc<Notify>,
    sites: &LiveSites,
) -> io::Result<(Source, Box<dyn FnOnce() + Send>)> {
    match &settings.place {
        OutboxPlace::Directory(directory) => {
            let store = Arc::new(Store::open(directory, Arc::clone(counts))?);
            let journal = Journal {
                queue: Arc::clone(queue),
                store: Arc::clone(&store),
                settings: settings.clone(),
                counts: Arc::clone(counts),
                grown: Arc::clone(grown),
                state: journal::Open::default(),
            };
            Ok((Source::Journal(store, Cursor::default()), Box::new(move || journal.run())))
        }
        OutboxPlace::Stream(place) => {
            let stream = Stream::of(place.clone(), Arc::clone(counts)).map_err(io::Error::other)?;
            let writer = Writer::new(place.clone(), Arc::clone(queue), settings, Arc::clone(counts), Arc::clone(sites));
            Ok((Source::Stream(Box::new(stream)), Box::new(move || writer.run())))
        }
    }
}

/// Says when the outbox begins to be full.
fn is_full(counts: &OutboxCounts) {
    if counts.hinders(Hindrance::Full, true) {
        tracing::warn!("the outbox is full: no events are accepted until KISSmetrics has taken some that wait");
    }
}

/// Says when the outbox is full no more: not for each event that goes, but when there is room for a while.
fn takes(counts: &OutboxCounts, bytes: u64, most: u64) {
    if bytes <= most - (most / 32).min(ENOUGH_ROOM) && counts.hinders(Hindrance::Full, false) {
        tracing::info!("the outbox has room again: events are accepted");
    }
}

/// The outbox's threads.
pub struct Running {
    outbox: Outbox,
    journal: JoinHandle<()>,
    delivery: JoinHandle<()>,
    closed: CancellationToken,
    drain: Duration,
}

impl Running {
    /// Takes no more events, writes what is in the queue, and delivers what can be delivered in the time that is left.
    /// The rest stays on the disk.
    pub async fn finish(self) {
        let Self { outbox, journal, delivery, closed, drain } = self;
        outbox.queue.close();
        let ended = spawn_blocking(move || {
            let written = journal.join();
            closed.cancel();
            (written, delivery.join())
        });
        match timeout(drain + LAST_WRITES, ended).await {
            Ok(Ok((Ok(()), Ok(())))) => {
                let (waiting, _, dead_letters) = outbox.counts.state();
                tracing::info!(waiting, dead_letters, "outbox closed");
            }
            Ok(_) => tracing::error!("a thread of the outbox broke off"),
            // A disk that does not answer keeps nobody from stopping.
            Err(_) => tracing::error!("the outbox could not be closed in time; what it had not written is lost"),
        }
    }
}

impl Refused {
    /// As what it is counted.
    fn fate(self) -> Fate {
        match self {
            Self::Full => Fate::Full,
            Self::NoRoom => Fate::NoRoom,
            Self::Busy | Self::Stopping => Fate::Busy,
            Self::TooLarge => Fate::TooLarge,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the outbox is full",
            Self::NoRoom => "the outbox's disk or store has no room, or fails",
            Self::Busy => "more events have come at once than the outbox can take",
            Self::TooLarge => "an event is too large to be told in one request, or all together for `outbox.max_bytes`",
            Self::Stopping => "the program stops",
        })
    }
}

/// For a disk or a store to take events that somebody waits for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far the threads stand back, of 19 at the most (setpriority(2)). Somebody may wait for the journal: beside a
/// program that takes all it can get, it still has a quarter of a processor, and needs a thirtieth for 10,000 events a
/// second.
const JOURNAL_NICENESS: i32 = 5;
const DELIVERY_NICENESS: i32 = 10;
/// For some 10,000 events.
const ENOUGH_ROOM: u64 = 4 * 1024 * 1024;
/// How long a disk is waited for at the end.
const LAST_WRITES: Duration = Duration::from_secs(5);
