//! What is counted of the outbox.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the journal, or in the stream.
    Accepted,
    /// KISSmetrics has it.
    Delivered,
    /// It was refused, and is among the dead letters.
    Dead,
    /// It was accepted, and gave way to newer ones.
    Dropped,
    /// It was not accepted, because the journal or the stream is as large as it may be.
    Full,
    /// It was not accepted, because the disk or the store is full, fails or is away.
    NoRoom,
    /// It was not accepted, because too many came at once.
    Busy,
    /// It was not accepted, because no request can tell it.
    TooLarge,
    /// A part of the journal or of the stream could not be read; how many events it held is not known.
    Torn,
}

/// What came of an attempt to deliver an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// 2xx.
    Ok,
    /// 5xx, 408 or 429.
    ServerError,
    /// Any other status.
    Refused,
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Unreachable,
}

/// What keeps events from being accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The store of a stream does not answer.
    Away,
    /// The disk or the store takes nothing.
    Unwritable,
    /// The journal or the stream is as large as it may be.
    Full,
}

/// The counters of the outbox.
#[derive(Debug)]
pub struct OutboxCounts {
    events: [Counter; Fate::ALL.len()],
    deliveries: [Counter; Attempt::ALL.len()],
    waiting: Gauge,
    bytes: Gauge,
    oldest_seconds: Gauge,
    dead_letters: Gauge,
    accepting: Gauge,
    /// A bit for each [`Hindrance`] that there is.
    hindrances: AtomicU8,
    /// How many services are not asked for now, because they take nothing.
    pub open_circuits: Gauge,
    /// When the oldest event that waits was accepted, in seconds since 1970; 0 for none.
    oldest: AtomicU64,
}

impl OutboxCounts {
    /// All of them, at nothing.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let counts = Self {
            events: counters(
                registry,
                ("outbox_events", "Events, by what became of them"),
                "outcome",
                Fate::ALL.map(Fate::as_str),
            ),
            deliveries: counters(
                registry,
                ("outbox_deliveries", "Attempts to deliver an event, by what came of them"),
                "result",
                Attempt::ALL.map(Attempt::as_str),
            ),
            waiting: Gauge::default(),
            bytes: Gauge::default(),
            oldest_seconds: Gauge::default(),
            dead_letters: Gauge::default(),
            accepting: Gauge::default(),
            hindrances: AtomicU8::new(0),
            open_circuits: Gauge::default(),
            oldest: AtomicU64::new(0),
        };
        registry.register("outbox_waiting", "Events that were not delivered yet", counts.waiting.clone());
        let help = "What the journal takes on the disk, or what waits in the stream";
        registry.register_with_unit("outbox", help, Unit::Bytes, counts.bytes.clone());
        let help = "For how long the oldest event has waited";
        registry.register_with_unit("outbox_oldest", help, Unit::Seconds, counts.oldest_seconds.clone());
        registry.register("outbox_dead_letters", "Events that were refused and kept", counts.dead_letters.clone());
        registry.register("outbox_accepting", "Whether events are accepted", counts.accepting.clone());
        let help = "Sites whose service is not asked for now, because it takes nothing";
        registry.register("outbox_open_circuits", help, counts.open_circuits.clone());
        counts
    }

    /// Counts events.
    pub fn count(&self, fate: Fate, events: u64) {
        if let Some(counter) = self.events.get(fate as usize) {
            counter.inc_by(events);
        }
    }

    /// Counts an attempt to deliver one.
    pub fn tried(&self, attempt: Attempt) {
        if let Some(counter) = self.deliveries.get(attempt as usize) {
            counter.inc();
        }
    }

    /// Notes how many events wait that were not delivered, and how many bytes they and their like take.
    pub fn holds(&self, waiting: u64, bytes: u64) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Notes that something keeps events from being accepted, or does so no more; whether that is new.
    pub fn hinders(&self, what: Hindrance, is_so: bool) -> bool {
        let bit = what.bit();
        let set = |bits: u8| if is_so { bits | bit } else { bits & !bit };
        let before = self.hindrances.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some(set(bits)));
        let (Ok(before) | Err(before)) = before;
        set(before) != before
    }

    /// Whether something keeps events from being accepted.
    pub fn is_hindered_by(&self, what: Hindrance) -> bool {
        self.hindrances.load(Ordering::Relaxed) & what.bit() != 0
    }

    /// Notes when the oldest event that waits was accepted, in seconds since 1970.
    pub fn oldest_is_of(&self, accepted: Option<u64>) {
        self.oldest.store(accepted.unwrap_or(0), Ordering::Relaxed);
    }

    /// How many bytes were noted last.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.get()).unwrap_or(0)
    }

    /// Notes how many dead letters there are.
    pub fn dead(&self, letters: u64) {
        self.dead_letters.set(i64::try_from(letters).unwrap_or(i64::MAX));
    }

    /// Events that wait, for how many seconds the oldest of them has, and dead letters.
    #[must_use]
    pub fn state(&self) -> (i64, u64, i64) {
        self.refresh();
        (self.waiting.get(), u64::try_from(self.oldest_seconds.get()).unwrap_or(0), self.dead_letters.get())
    }

    /// Brings what depends on the clock up to now.
    pub(super) fn refresh(&self) {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let age = if oldest == 0 { 0 } else { now.saturating_sub(oldest) };
        self.oldest_seconds.set(i64::try_from(age).unwrap_or(i64::MAX));
        self.accepting.set(i64::from(self.hindrances.load(Ordering::Relaxed) == 0));
    }
}

impl Hindrance {
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Fate {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Delivered,
        Self::Dead,
        Self::Dropped,
        Self::Full,
        Self::NoRoom,
        Self::Busy,
        Self::TooLarge,
        Self::Torn,
    ];

    /// The word of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
            Self::Full => "full",
            Self::NoRoom => "no_room",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::Torn => "torn",
        }
    }
}

impl Attempt {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Ok, Self::ServerError, Self::Refused, Self::Timeout, Self::Unreachable];

    /// The word of the label, and of a dead letter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ServerError => "server_error",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A counter for each word of a label.
fn counters<const N: usize>(
    registry: &mut Registry,
    (name, help): (&str, &str),
    label: &'static str,
    words: [&'static str; N],
) -> [Counter; N] {
    let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
    registry.register(name, help, family.clone());
    words.map(|word| family.get_or_create(&[(label, word)]).clone())
}
