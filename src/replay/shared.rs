//! Used tokens of several crosslinks, in a Valkey or Redis that they share.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionInfo, ProtocolVersion, RedisError};
use tokio::time::timeout;

use super::Use;
use crate::link::FirstUse;

/// The way to the shared store.
#[derive(Debug)]
pub(super) struct Shared {
    server: ConnectionInfo,
    /// Or why there can be none, ever.
    connection: Result<ConnectionManager, String>,
}

impl Shared {
    /// Connects in the background: visitors are served before the store is.
    pub(super) fn connect(server: ConnectionInfo) -> Self {
        let connection = manager(server.clone()).map_err(|error| told(&error));
        if let Ok(connection) = &connection {
            // The first question opens the connection, and waits for as long as that takes.
            let mut connection = connection.clone();
            tokio::spawn(async move { redis::cmd("PING").exec_async(&mut connection).await });
        }
        let shared = Self { server, connection };
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
                Ok(Err(error)) => tracing::warn!(address, "the store of used tokens can't be used: {error}"),
                Err(_) => tracing::warn!(address, "the store of used tokens does not answer within {PATIENCE:?}"),
            }
        });
    }

    /// Notes a use. The store itself forgets it when the token is over.
    pub(super) async fn note(&self, token: FirstUse, now: u64) -> Use {
        let mut connection = match &self.connection {
            Ok(connection) => connection.clone(),
            Err(why) => return Use::Unknown(why.clone()),
        };
        let mut set = redis::cmd("SET");
        set.arg(format!("crosslink:used:{:032x}", token.id.0)).arg(1).arg("NX");
        set.arg("EX").arg(token.forget_at.saturating_sub(now) + 1);
        match timeout(DEADLINE, set.query_async::<bool>(&mut connection)).await {
            Ok(Ok(true)) => Use::First,
            Ok(Ok(false)) => Use::Again,
            Ok(Err(error)) => Use::Unknown(told(&error)),
            Err(_) => Use::Unknown(format!("the store did not answer within {DEADLINE:?}")),
        }
    }
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

/// The error's kind and what the system or the server says; never the command, which names a token.
fn told(error: &RedisError) -> String {
    format!("the store: {error}")
}

/// How long a visitor waits. It is the only time that he waits for anybody, so it is short; a store next door answers in
/// a tenth of it.
const DEADLINE: Duration = Duration::from_millis(20);
/// For a connection to begin, and for a sign of life of the other machine.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
