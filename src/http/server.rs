//! Accepting connections, serving requests on them, and stopping in peace.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http2;
use super::stream::{Patience, WatchedStream};
use super::tls::{self, LiveTls, NoTls};
use crate::settings::Limits;

/// Answers the head of one request. Bodies are never read.
pub trait Answer: Send + Sync + 'static {
    /// The whole answer. It waits for nobody, but for the store of used tokens where several servers share one. `peer` is
    /// the other end of the connection.
    fn answer(&self, head: Parts, peer: IpAddr) -> impl Future<Output = Response<Full<Bytes>>> + Send;

    /// Takes note of a head that nobody could read, or that was too large, and was refused by itself; or of a connection
    /// of HTTP/2 that was closed because of what came on it.
    fn unreadable(&self, _too_large: bool) {}

    /// Takes note of a TLS handshake that began and failed, or took too long.
    fn handshake_failed(&self) {}

    /// Takes note of a connection.
    fn opened(&self) {}

    /// Takes note of a connection's end.
    fn closed(&self) {}
}

/// A bound socket, and the certificates if it speaks TLS.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What it shows to those who connect; `None` for plain HTTP.
    pub tls: Option<LiveTls>,
}

struct Server<A> {
    handler: A,
    limits: Limits,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    connections: TaskTracker,
}

/// Serves until `stop` is cancelled: then accepts no more, answers every request whose first byte has come, closes idle
/// connections, and returns after `limits.drain` at the latest, with the number of connections that it had to cut.
pub async fn run(listeners: Vec<Listener>, handler: impl Answer, limits: Limits, stop: CancellationToken) -> usize {
    let server = Arc::new(Server {
        handler,
        limits,
        places: Arc::new(Semaphore::new(limits.connections)),
        connections: TaskTracker::new(),
        stop,
    });
    let accepting = TaskTracker::new();
    for listener in listeners {
        accepting.spawn(Arc::clone(&server).accept(listener));
    }
    accepting.close();
    server.stop.cancelled().await;
    let drained = async {
        accepting.wait().await;
        server.connections.close();
        server.connections.wait().await;
    };
    let _ = timeout(limits.drain, drained).await;
    server.connections.len()
}

impl<A: Answer> Server<A> {
    /// Accepts until the server stops. No error ends it: whatever it is, the next connection may be fine.
    async fn accept(self: Arc<Self>, Listener { socket, tls }: Listener) {
        let mut back_off = FIRST_BACK_OFF;
        loop {
            // Whoever comes over the limit waits in the listener's queue, and one here.
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    back_off = FIRST_BACK_OFF;
                    let place = tokio::select! {
                        biased;
                        place = Arc::clone(&self.places).acquire_owned() => place.ok(),
                        () = self.stop.cancelled() => None,
                    };
                    self.connections.spawn(Arc::clone(&self).serve(stream, tls.clone(), place));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: the connection stays in the queue, and asking again at once would
                    // only burn the processor.
                    tracing::warn!(%error, retry_in = ?back_off, "cannot accept connections");
                    tokio::select! {
                        () = self.stop.cancelled() => break,
                        () = sleep(back_off) => back_off = (back_off * 2).min(LONGEST_BACK_OFF),
                    }
                }
            }
        }
        // Whoever is in the queue by now has perhaps sent a request already; closing the listener would reset them all.
        // The pause lets the event loop see who is there.
        sleep(Duration::from_millis(1)).await;
        for _ in 0..LONGEST_QUEUE {
            let Some(Ok(stream)) = socket.accept().now_or_never() else { break };
            self.connections.spawn(Arc::clone(&self).serve(stream, tls.clone(), None));
        }
    }

    /// Serves one connection, in its place among `limits.connections`; the last ones before the end need none.
    async fn serve(
        self: Arc<Self>,
        (stream, peer): (TcpStream, SocketAddr),
        tls: Option<LiveTls>,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let _open = Open::new(&self.handler);
        // An answer is one small write; waiting for more to send with it would only delay it.
        let _ = stream.set_nodelay(true);
        match tls {
            None => self.http1(stream, peer.ip()).await,
            Some(tls) => match tls::accept(&tls, stream, self.limits.head_timeout, &self.stop).await {
                Ok(stream) if tls::speaks_http2(&stream) => {
                    let answer = |request| {
                        let server = Arc::clone(&self);
                        async move { server.answer(request, peer.ip()).await }
                    };
                    if http2::serve(stream, self.limits, &self.stop, answer).await {
                        self.handler.unreadable(false);
                    }
                }
                Ok(stream) => self.http1(stream, peer.ip()).await,
                Err(NoTls::Failed) => self.handler.handshake_failed(),
                Err(NoTls::Silent) => {}
            },
        }
        drop(place);
    }

    async fn http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr) {
        let patience = Patience { head: self.limits.head_timeout, idle: self.limits.idle_timeout };
        let stream = WatchedStream::new(stream, patience, self.stop.clone());
        // Boxed, because only what can be moved can be polled without its end closing the stream.
        let answer = service_fn(|request| Box::pin(self.answer(request, peer)));
        let mut connection = http1::Builder::new()
            .half_close(true)
            .header_read_timeout(None)
            .max_header_size(self.limits.head_bytes)
            // Room for the longest head and what came with it; at least what hyper asks for.
            .max_buf_size(self.limits.head_bytes + 8192)
            .serve_connection(TokioIo::new(stream), answer);
        if let Err(error) = poll_fn(|cx| connection.poll_without_shutdown(cx)).await
            && error.is_parse()
        {
            self.handler.unreadable(error.is_parse_too_large());
        }
        connection.into_parts().io.into_inner().linger().await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, _body) = request.into_parts();
        let is_http1 = head.version < Version::HTTP_2;
        let is_head = head.method == Method::HEAD;
        let mut response = self.handler.answer(head, peer).await;
        if is_http1 && self.stop.is_cancelled() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if is_head && !is_http1 {
            // In HTTP/1.1 hyper leaves the body of such an answer out by itself (RFC 9110, 9.3.2).
            *response.body_mut() = Full::default();
        }
        Ok(response)
    }
}

/// Tells the handler of a connection's end, however it ends.
struct Open<'a, A: Answer>(&'a A);

impl<'a, A: Answer> Open<'a, A> {
    fn new(handler: &'a A) -> Self {
        handler.opened();
        Self(handler)
    }
}

impl<A: Answer> Drop for Open<'_, A> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Whether an accept error is about the connection that was just given up, and not about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The most connections that are taken from the queue at the end; systems let some thousand wait there.
const LONGEST_QUEUE: usize = 4096;
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_millis(500);
