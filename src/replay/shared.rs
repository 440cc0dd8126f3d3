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
    /// Or why there can be none, ever.
    connection: Result<ConnectionManager, String>,
}

impl Shared {
    /// Connects in the background: visitors are served before the store is.
    pub(super) fn connect(server: ConnectionInfo) -> Self {
        let connection = manager(server).map_err(|error| told(&error));
        if let Ok(connection) = &connection {
            // The first question opens the connection, and waits for as long as that takes.
            let mut connection = connection.clone();
            tokio::spawn(async move { redis::cmd("PING").exec_async(&mut connection).await });
        }
        Self { connection }
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

/// One connection for all, which is made again whenever it ends.
fn manager(server: ConnectionInfo) -> Result<ConnectionManager, RedisError> {
    // A store whose machine is gone says nothing: without this limit, the system would wait a quarter of an hour.
    let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(PATIENCE);
    // With the newer protocol the manager notices an end at once, and not with the next visitor.
    let redis = server.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let patience = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_number_of_retries(usize::MAX)
        .set_max_delay(LONGEST_PAUSE)
        // Each request has its own deadline.
        .set_response_timeout(None);
    ConnectionManager::new_lazy_with_config(
        Client::open(server.set_tcp_settings(tcp).set_redis_settings(redis))?,
        patience,
    )
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
