//! TLS as a stream under the one way in which connections are served.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::stop::Stop;
use super::stream::FIRST_CALL;

/// The certificates in force, which may be others for the next connection.
pub type LiveTls = Arc<ArcSwap<ServerConfig>>;

/// Why there is no TLS on a connection.
pub(super) enum NoTls {
    /// Nothing came on it, as from whoever only looks whether the port is open.
    Silent,
    /// The handshake failed, or took too long.
    Failed,
}

/// Shakes hands. Nobody is told if that fails: it is what scanners do all day. It is only counted.
///
/// When the server stops, a client that has begun goes on, since a request comes next; a silent one is not waited for.
pub(super) async fn accept(
    tls: &LiveTls,
    stream: TcpStream,
    patience: Duration,
    stop: &Stop,
) -> Result<TlsStream<TcpStream>, NoTls> {
    let deadline = Instant::now() + patience;
    let is_over = async {
        stop.told().await;
        sleep(FIRST_CALL).await;
    };
    let mut first = [0];
    let has_begun = tokio::select! {
        biased;
        begun = stream.peek(&mut first) => begun.is_ok_and(|bytes| bytes > 0),
        () = is_over => false,
        () = sleep_until(deadline) => false,
    };
    if !has_begun {
        return Err(NoTls::Silent);
    }
    let shaken = timeout_at(deadline, TlsAcceptor::from(tls.load_full()).accept(stream)).await;
    shaken.ok().and_then(Result::ok).ok_or(NoTls::Failed)
}

/// Whether both sides agreed on HTTP/2 (RFC 7301).
pub(super) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
