//! TLS as a stream under the one way in which connections are served.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::stream::FIRST_CALL;

/// The certificates in force, which may be others for the next connection.
pub type LiveTls = Arc<ArcSwap<ServerConfig>>;

/// Shakes hands; `None` if that fails or takes too long. Nobody is told: it is what scanners do all day.
///
/// When the server stops, a client that has begun goes on, since a request comes next; a silent one is not waited for.
pub(super) async fn accept(
    tls: &LiveTls,
    stream: TcpStream,
    patience: Duration,
    stop: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    let is_over = async {
        stop.cancelled().await;
        sleep(FIRST_CALL).await;
    };
    let shake_hands = async {
        let mut first = [0];
        tokio::select! {
            biased;
            begun = stream.peek(&mut first) => begun.ok()?,
            () = is_over => return None,
        };
        TlsAcceptor::from(tls.load_full()).accept(stream).await.ok()
    };
    timeout(patience, shake_hands).await.ok()?
}

/// Whether both sides agreed on HTTP/2 (RFC 7301).
pub(super) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
