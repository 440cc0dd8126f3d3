//! What the configuration fills in and the server runs by, so that neither needs to know the other.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::link::SiteName;

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
    /// How long the program goes on as before once it is told to stop, while it says already that it is not ready.
    pub drain_delay: Duration,
}

/// Where the program listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For plain HTTP.
    pub plain: Vec<SocketAddr>,
    /// For TLS.
    pub tls: Vec<SocketAddr>,
    /// For the operator.
    pub admin: Option<SocketAddr>,
}

/// What is fixed for as long as the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Where it listens.
    pub listen: Listen,
    /// What clients may cost.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
    /// Where used tokens are remembered.
    pub replay: Replay,
    /// Whether a file that changes is read again by itself.
    pub watch: bool,
    /// How events reach KISSmetrics, if they do.
    pub outbox: Option<OutboxSettings>,
    /// What programs of the site show that tell it something; `None` if none may.
    pub api: Option<Secret>,
}

impl Fixed {
    /// The keys of the configuration that another one would change.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        // Taken apart, so that a new field can't be forgotten.
        let Self { listen: Listen { plain, tls, admin }, limits, log, replay, watch, outbox, api } = self;
        let all = [
            ("listen", *plain == other.listen.plain),
            ("tls.listen", *tls == other.listen.tls),
            ("admin", *admin == other.listen.admin),
            ("limits", *limits == other.limits),
            ("log", *log == other.log),
            ("replay", *replay == other.replay),
            ("watch", *watch == other.watch),
            ("outbox", *outbox == other.outbox),
            ("api", *api == other.api),
        ];
        all.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect()
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl PartialEq for TokenStore {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory { entries }, Self::Memory { entries: others }) => entries == others,
            (Self::Shared(server), Self::Shared(other)) => is_same(server, other),
            (Self::Off, Self::Off) => true,
            _ => false,
        }
    }
}

impl Eq for TokenStore {}

fn is_same(server: &redis::ConnectionInfo, other: &redis::ConnectionInfo) -> bool {
    let who = |info: &redis::ConnectionInfo| {
        let settings = info.redis_settings();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        (settings.db(), owned(settings.username()), owned(settings.password()))
    };
    server.addr() == other.addr() && who(server) == who(other)
}

/// What happens to a token whose first use can't be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// It is not adopted; the visitor gets the clean URL.
    Refuse,
    /// It is adopted.
    Accept,
}

/// Where events are kept until they are delivered, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxSettings {
    /// Where they are.
    pub place: OutboxPlace,
    /// What whoever waits for an event can rely on.
    pub durability: Durability,
    /// The most bytes of the journal, and of dead letters.
    pub max_bytes: u64,
    /// What happens when the journal is that large.
    pub when_full: WhenFull,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// The most requests at a time, for each site.
    pub parallel: usize,
    /// Who vouches for the services, in place of those that the system believes.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

/// A place for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxPlace {
    /// A directory of this crosslink's own.
    Directory(PathBuf),
    /// A stream that several share.
    Stream(StreamPlace),
}

impl fmt::Display for OutboxPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => directory.display().fmt(f),
            Self::Stream(stream) => stream.fmt(f),
        }
    }
}

/// A stream in a Valkey or Redis.
#[derive(Clone, Debug)]
pub struct StreamPlace {
    /// The store.
    pub server: redis::ConnectionInfo,
    /// What its keys begin with.
    pub name: String,
}

impl PartialEq for StreamPlace {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && is_same(&self.server, &other.server)
    }
}

impl Eq for StreamPlace {}

impl fmt::Display for StreamPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.server.addr())
    }
}

/// When whoever waits for an event hears that it is accepted. For a visitor's nobody waits: it is on the disk a second
/// later with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the system has it: a `kill -9` of the program does not take it. At most a second later it is on the disk,
    /// so a power cut takes what came in the last second.
    Batch,
    /// When it is on the disk: no power cut takes it either.
    Each,
}

/// What happens when the journal is as large as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest events give way.
    DropOldest,
    /// New ones are not accepted.
    RefuseNew,
}

/// The KISSmetrics sites of the configuration, by their names.
pub type Sites = HashMap<SiteName, Site>;

/// Those in force, which a reload replaces.
pub type LiveSites = Arc<ArcSwap<Sites>>;

/// Where a KISSmetrics site is told something, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The address in front of `/a`, `/e` and `/s`, without a slash at its end.
    pub endpoint: String,
    /// Which site it is.
    pub key: Secret,
}

/// What proves who somebody is, such as a key. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes so many visible characters of ASCII.
    #[must_use]
    pub fn parse(text: &str, length: RangeInclusive<usize>) -> Option<Self> {
        let is_secret = length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_secret.then(|| Self(text.to_owned()))
    }

    /// The secret itself, for whoever must be shown it and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
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
