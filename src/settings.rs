//! What the configuration fills in and the server runs by, so that neither needs to know the other.

use std::time::Duration;

/// What clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections served at a time; newcomers wait in the listener's queue.
    pub connections: usize,
    /// From a request's first byte to the end of its head.
    pub head_timeout: Duration,
    /// How long a connection may stay without a request.
    pub idle_timeout: Duration,
    /// The most bytes of a request's head; over it the answer is 431.
    pub head_bytes: usize,
    /// How long requests under way may take once the program stops.
    pub drain: Duration,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Which requests get a line.
    pub requests: LoggedRequests,
}

/// Where used tokens are remembered.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Where.
    pub store: TokenStore,
    /// What happens to a token whose first use can't be proven, because the store is full or away.
    pub unproven: Unproven,
}

/// A place for used tokens.
#[derive(Clone, Debug)]
pub enum TokenStore {
    /// In this process.
    Memory {
        /// The most tokens that are remembered at a time.
        entries: usize,
    },
    /// In a Valkey or Redis, together with other crosslinks.
    Shared(redis::ConnectionInfo),
    /// Nowhere: a token can be used as often as somebody likes, until it is over.
    Off,
}

/// What happens to a token whose first use can't be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// It is not adopted; the visitor gets the clean URL.
    Refuse,
    /// It is adopted.
    Accept,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Words for people.
    Text,
}

/// Which requests get a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedRequests {
    /// All of them.
    All,
    /// Those that were refused.
    Refused,
    /// None.
    Off,
}
