//! Used tokens of several crosslinks, in a Valkey or Redis that they share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionInfo, ProtocolVersion, RedisError};
use tokio::time::timeout;

use super::Use;
use crate::link::{FirstUse, SKEW};

/// The way to the shared store.
#[derive(Debug)]
pub(super) struct Shared {
    server: ConnectionInfo,
    /// Or why there can be none, ever.
    connection: Mutex<Result<ConnectionManager, String>>,
    /// Questions in a row that were not answered.
    unanswered: AtomicUsize,
}

impl Shared {
    /// Connects in the background: visitors are served before the store is.
    pub(super) fn connect(server: ConnectionInfo) -> Self {
        let connection = Mutex::new(connect(server.clone()));
        let shared = Self { server, connection, unanswered: AtomicUsize::new(0) };
        shared.look();
        shared
    }

    /// Asks the store in the background how it is, and tells the operator. The connection that visitors use never gives
    /// up, so it can't say what is wrong.
    pub(super) fn look(&self) {
        let server = self.server.clone();
        tokio::spawn(async move {
            let address = server.addr().to_string();
            match timeout(PATIENCE, ask(server)).await {
                Ok(Ok(())) => tracing::info!(address, "the store of used tokens answers"),
                Ok(Err(error)) => tracing::warn!(address, "the store of used tokens can't be used: {}", told(&error)),
                Err(_) => tracing::warn!(address, "the store of used tokens does not answer within {PATIENCE:?}"),
            }
        });
    }

    /// Notes a use. The store itself forgets it when the token is over.
    pub(super) async fn note(&self, token: FirstUse, now: u64) -> Use {
        let mut connection = match self.connection() {
            Ok(connection) => connection,
            Err(why) => return Use::Unknown(why),
        };
        let mut set = redis::cmd("SET");
        set.arg(format!("crosslink:used:{:032x}", token.id.0)).arg(1).arg("NX");
        // Clocks differ: one that is slow by the skew on either side of the one here still opens the token after that.
        set.arg("EX").arg(token.forget_at.saturating_sub(now) + 2 * SKEW.as_secs() + 1);
        let answer = timeout(DEADLINE, set.query_async::<bool>(&mut connection)).await;
        if answer.is_ok() {
            self.unanswered.store(0, Ordering::Relaxed);
        } else if self.unanswered.fetch_add(1, Ordering::Relaxed) == MOST_UNANSWERED {
            // Each question is kept until its answer comes; if none does, another connection has to be made.
            self.unanswered.store(0, Ordering::Relaxed);
            *self.lock() = connect(self.server.clone());
        }
        match answer {
            Ok(Ok(true)) => Use::First,
            Ok(Ok(false)) => Use::Again,
            Ok(Err(error)) => Use::Unknown(told(&error)),
            Err(_) => Use::Unknown(format!("the store did not answer within {DEADLINE:?}")),
        }
    }
}

impl Shared {
    fn connection(&self) -> Result<ConnectionManager, String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Result<ConnectionManager, String>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to connect.
fn connect(server: ConnectionInfo) -> Result<ConnectionManager, String> {
    let connection = manager(server).map_err(|error| told(&error))?;
    // The first question opens the connection, and waits for as long as that takes.
    let mut first = connection.clone();
    tokio::spawn(async move { redis::cmd("PING").exec_async(&mut first).await });
    Ok(connection)
}

/// One question over a connection of its own.
async fn ask(server: ConnectionInfo) -> Result<(), RedisError> {
    let mut connection = Client::open(with_resp3(server))?.get_multiplexed_async_connection().await?;
    redis::cmd("PING").exec_async(&mut connection).await
}

/// With the newer protocol a connection notices its end at once, and not with the next visitor.
fn with_resp3(server: ConnectionInfo) -> ConnectionInfo {
    let settings = server.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    server.set_redis_settings(settings)
}

/// One connection for all, which is made again whenever it ends.
fn manager(server: ConnectionInfo) -> Result<ConnectionManager, RedisError> {
    // A store whose machine is gone says nothing: without this limit, the system would wait a quarter of an hour.
    let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(PATIENCE);
    let patience = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_number_of_retries(usize::MAX)
        .set_max_delay(LONGEST_PAUSE)
        // Each request has its own deadline.
        .set_response_timeout(None);
    ConnectionManager::new_lazy_with_config(Client::open(with_resp3(server).set_tcp_settings(tcp))?, patience)
}

/// The kind of an error and the beginning of what the server says: on one line, and without the words of a command that
/// it did not like, which may be a token or a password.
fn told(error: &RedisError) -> String {
    let text = error.to_string();
    let text = text.split("args").next().and_then(|text| text.split("crosslink:used").next()).unwrap_or_default();
    text.chars().take(LONGEST_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How long a visitor waits. It is the only time that he waits for anybody, so it is short; a store next door answers
/// in a tenth of it.
const DEADLINE: Duration = Duration::from_millis(20);
/// For a connection to begin, and for a sign of life of the other machine.
const PATIENCE: Duration = Duration::from_secs(1);
/// At some 300 bytes each, a third of a megabyte.
const MOST_UNANSWERED: usize = 1000;
const LONGEST_WORDS: usize = 100;
/// Between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
