//! Accepting connections, serving requests on them, and stopping in peace.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use hyper::body::{Body, Incoming};
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

use super::content::Content;
use super::http2;
use super::stop::Stop;
use super::stream::{Patience, WatchedStream};
use super::tls::{self, LiveTls, NoTls};
use crate::settings::Limits;

/// Answers the head of one request. A body is not read, unless an implementation asks for it.
pub trait Answer: Send + Sync + 'static {
    /// The whole answer. `peer` is the other end of the connection.
    fn answer(&self, head: Parts, peer: IpAddr) -> Answered<'_>;

    /// The same for who wants to look into the body, which may be of any length and slow.
    fn answer_with_body(&self, head: Parts, _body: Incoming, peer: IpAddr) -> Answered<'_> {
        self.answer(head, peer)
    }

    /// Takes note of a head that nobody could read, or that was too large, and was refused by itself; or of a
    /// connection of HTTP/2 that was closed because of what came on it.
    fn unreadable(&self, _too_large: bool) {}

    /// Takes note of a TLS handshake that began and failed, or took too long.
    fn handshake_failed(&self) {}

    /// Takes note of a connection.
    fn opened(&self) {}

    /// Takes note of a connection's end.
    fn closed(&self) {}
}

/// An answer that is there, as almost all are, or one that somebody else is waited for.
pub type Answered<'a> = Either<Ready<Response<Content>>, Later<'a, Response<Content>>>;

/// What is there in a while.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An answer that is there.
#[must_use]
pub fn now<'a>(response: Response<Content>) -> Answered<'a> {
    Either::Left(ready(response))
}

/// An answer that is there in a while.
pub fn later<'a>(response: impl Future<Output = Response<Content>> + Send + 'a) -> Answered<'a> {
    Either::Right(Box::pin(response))
}

/// A bound socket, and the certificates if it speaks TLS.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What it shows to those who connect; `None` for plain HTTP.
    pub tls: Option<LiveTls>,
}

/// What holds for all connections, on however many event loops they are served.
#[derive(Clone, Debug)]
pub struct Terms {
    limits: Limits,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Terms {
    /// These limits, until `stop` is cancelled.
    #[must_use]
    pub fn new(limits: Limits, stop: CancellationToken) -> Self {
        Self { limits, places: Arc::new(Semaphore::new(limits.connections)), stop }
    }
}

struct Server<A> {
    handler: A,
    limits: Limits,
    /// Of this event loop alone.
    stop: Stop,
    places: Arc<Semaphore>,
    connections: TaskTracker,
}

/// Serves until it is told to stop: then accepts no more, answers every request whose first byte has come, closes idle
/// connections, and returns after `limits.drain` at the latest, with the number of connections that it had to cut.
pub async fn run(listeners: Vec<Listener>, handler: impl Answer, terms: Terms) -> usize {
    let Terms { limits, places, stop } = terms;
    let server = Arc::new(Server { handler, limits, places, connections: TaskTracker::new(), stop: Stop::default() });
    let accepting = TaskTracker::new();
    for listener in listeners {
        accepting.spawn(Arc::clone(&server).accept(listener));
    }
    accepting.close();
    stop.cancelled().await;
    server.stop.tell();
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
                () = self.stop.told() => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    back_off = FIRST_BACK_OFF;
                    let place = tokio::select! {
                        biased;
                        place = Arc::clone(&self.places).acquire_owned() => place.ok(),
                        () = self.stop.told() => None,
                    };
                    self.connections.spawn(Arc::clone(&self).serve(stream, tls.clone(), place));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: the connection stays in the queue, and asking again at once would
                    // only burn the processor.
                    tracing::warn!(%error, retry_in = ?back_off, "cannot accept connections");
                    tokio::select! {
                        () = self.stop.told() => break,
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
            // Boxed, so that plain connections don't take the room of a handshake.
            Some(tls) => Box::pin(Arc::clone(&self).over_tls(stream, tls, peer.ip())).await,
        }
        drop(place);
    }

    async fn over_tls(self: Arc<Self>, stream: TcpStream, tls: LiveTls, peer: IpAddr) {
        match tls::accept(&tls, stream, self.limits.head_timeout, &self.stop).await {
            Ok(stream) if tls::speaks_http2(&stream) => {
                let answer = |request| {
                    let server = Arc::clone(&self);
                    async move { server.answer(request, peer).await }
                };
                if http2::serve(stream, self.limits, &self.stop, answer).await {
                    self.handler.unreadable(false);
                }
            }
            Ok(stream) => self.http1(stream, peer).await,
            Err(NoTls::Failed) => self.handler.handshake_failed(),
            Err(NoTls::Silent) => {}
        }
    }

    async fn http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send, peer: IpAddr) {
        let patience = Patience { head: self.limits.head_timeout, idle: self.limits.idle_timeout };
        let mut stream = WatchedStream::new(stream, patience, self.stop.clone());
        while stream.wakes().await {
            // hyper's state and buffers are there only while somebody speaks: boxed, they are gone in the meantime.
            stream = Box::pin(self.converse(stream, peer)).await;
        }
        Box::pin(stream.linger()).await;
    }

    /// Answers requests until the connection ends or sleeps.
    async fn converse<S>(&self, stream: WatchedStream<S>, peer: IpAddr) -> WatchedStream<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut connection = http1::Builder::new()
            .half_close(true)
            .header_read_timeout(None)
            .max_header_size(self.limits.head_bytes)
            // Room for the longest head and what came with it; at least what hyper asks for.
            .max_buf_size(self.limits.head_bytes + 8192)
            .serve_connection(TokioIo::new(stream), service_fn(|request| self.answer(request, peer)));
        let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        let mut stream = connection.into_parts().io.into_inner();
        if ended.is_err() {
            stream.ends();
        }
        if let Err(error) = ended
            && error.is_parse()
        {
            self.handler.unreadable(error.is_parse_too_large());
        }
        stream
    }

    fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Either<Ready<Served>, Later<'_, Served>> {
        let (head, body) = request.into_parts();
        let finish = Finish {
            is_http1: head.version < Version::HTTP_2,
            is_head: head.method == Method::HEAD,
            has_body: !body.is_end_stream(),
        };
        match self.handler.answer_with_body(head, body, peer) {
            Either::Left(response) => Either::Left(ready(Ok(self.finish(response.into_inner(), finish)))),
            Either::Right(later) => Either::Right(Box::pin(async move { Ok(self.finish(later.await, finish)) })),
        }
    }

    /// What an answer needs besides what the handler knows.
    fn finish(&self, mut response: Response<Content>, request: Finish) -> Response<Content> {
        // Only hyper knows where a body ends, and a connection that sleeps gets another hyper, which must not take for
        // a request what stands in one. So whoever sends a body, read or not, is told that the connection ends.
        if request.is_http1 && (request.has_body || self.stop.is_told()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if request.is_head && !request.is_http1 {
            // In HTTP/1.1 hyper leaves the body of such an answer out by itself (RFC 9110, 9.3.2).
            *response.body_mut() = Content::default();
        }
        response
    }
}

/// What hyper gets.
type Served = Result<Response<Content>, Infallible>;

/// What must be known of a request when its answer goes out.
#[derive(Clone, Copy)]
struct Finish {
    is_http1: bool,
    is_head: bool,
    has_body: bool,
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
