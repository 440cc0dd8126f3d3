//! HTTP/2, which comes over TLS only.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::content::Content;
use super::stop::Stop;
use super::stream::{LINGER_BYTES, LINGER_TIME};
use crate::settings::Limits;

/// Serves one connection until it ends, is idle for too long, or the server stops.
///
/// A peer that holds a connection by half a request, or by not reading, counts as idle: only a whole request is a sign
/// of life. At the end the peer is told (GOAWAY), and what is under way by then is answered.
///
/// Gives whether it ended because the peer broke the protocol or a limit.
pub(super) async fn serve<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: Limits,
    stop: &Stop,
    answer: impl Fn(Request<Incoming>) -> F,
) -> bool
where
    F: Future<Output = Result<Response<Content>, Infallible>> + Send + 'static,
{
    let [last_request, last_byte] = [LastTime::now(), LastTime::now()];
    let stream = NotedStream { stream, last_byte: last_byte.clone(), lingering: None };
    let service = service_fn(|request| {
        last_request.note();
        answer(request)
    });
    let mut connection = pin!(builder(limits).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return is_of_the_peer(&ended),
        () = stop.told() => {}
        () = last_request.older_than(limits.idle_timeout) => {}
    }
    // hyper asks the peer whether the GOAWAY has arrived, and ends when it has and everything is answered.
    connection.as_mut().graceful_shutdown();
    last_byte.note();
    tokio::select! {
        ended = connection => is_of_the_peer(&ended),
        () = last_byte.older_than(QUIET) => false,
        () = sleep(limits.head_timeout) => false,
    }
}

/// Whether a connection ended by an error that was found in what the peer sent.
fn is_of_the_peer(ended: &hyper::Result<()>) -> bool {
    let cause = ended.as_ref().err().and_then(std::error::Error::source);
    cause.and_then(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(h2::Error::is_library)
}

fn builder(limits: Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        // Bodies are never read: a small window keeps them away.
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    builder
}

/// When something happened last.
#[derive(Clone)]
struct LastTime(Arc<Mutex<Instant>>);

impl LastTime {
    fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until it has not happened for so long.
    async fn older_than(&self, patience: Duration) {
        loop {
            let deadline = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + patience;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

/// A stream that notes when bytes came, and after its end reads on for a while, so that a reset does not overtake the
/// last answer or the reason why there is none.
struct NotedStream<S> {
    stream: S,
    last_byte: LastTime,
    /// For how long, and for how many bytes.
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S: AsyncRead + Unpin> AsyncRead for NotedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.last_byte.note();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for NotedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.lingering.is_none() {
            ready!(Pin::new(&mut me.stream).poll_shutdown(cx))?;
        }
        let (timer, room) = me.lingering.get_or_insert_with(|| (Box::pin(sleep(LINGER_TIME)), LINGER_BYTES));
        while *room > 0 && timer.as_mut().poll(cx).is_pending() {
            let mut dropped = [0; 4096];
            let mut dropped = ReadBuf::new(&mut dropped);
            let read = ready!(Pin::new(&mut me.stream).poll_read(cx, &mut dropped));
            if read.is_err() || dropped.filled().is_empty() {
                break;
            }
            *room = room.saturating_sub(dropped.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

/// Requests at a time on one connection.
const MAX_STREAMS: u32 = 128;
/// Requests that a peer may take back before anybody has looked at them (CVE-2023-44487). Those that are malformed
/// hyper counts by itself, and closes the connection after 1,024.
const MAX_RESETS: usize = 64;
const WINDOW: u32 = 64 * 1024;
/// How long a peer that was told of the end may be silent: a long way there and back.
const QUIET: Duration = Duration::from_secs(2);
