//! TLS as a stream under the one way in which connections are served.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// The certificates in force, which may be others for the next connection.
pub type LiveTls = Arc<ArcSwap<ServerConfig>>;

/// Shakes hands; `None` if that fails or takes too long. Nobody is told: it is what scanners do all day.
pub(super) async fn accept(tls: &LiveTls, stream: TcpStream, patience: Duration) -> Option<TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(tls.load_full());
    timeout(patience, acceptor.accept(stream)).await.ok()?.ok()
}

/// Whether both sides agreed on HTTP/2 (RFC 7301).
pub(super) fn speaks_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
