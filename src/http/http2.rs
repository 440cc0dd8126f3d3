//! HTTP/2, which comes over TLS only.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::settings::Limits;

/// Serves one connection until it ends, is idle for too long, or the server stops.
///
/// A peer that holds a connection by half a request, or by not reading, counts as idle: only a whole request is a sign
/// of life.
pub(super) async fn serve<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: Limits,
    stop: &CancellationToken,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let last_request = Arc::new(Mutex::new(Instant::now()));
    let service = service_fn(|request| {
        *last_request.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        answer(request)
    });
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_RESETS)
            // Bodies are never read: a small window keeps them away.
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut deadline = Instant::now() + limits.idle_timeout;
    let mut ending = false;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop.cancelled(), if !ending => {}
            () = sleep_until(deadline) => {
                let idle_until = *last_request.lock().unwrap_or_else(PoisonError::into_inner) + limits.idle_timeout;
                if ending {
                    return;
                }
                if idle_until > Instant::now() {
                    deadline = idle_until;
                    continue;
                }
            }
        }
        ending = true;
        connection.as_mut().graceful_shutdown();
        deadline = Instant::now() + limits.head_timeout;
    }
}

/// Requests at a time on one connection.
const MAX_STREAMS: u32 = 128;
/// Requests that a peer may take back before it is sent away: each costs it nothing and the server a decision
/// (CVE-2023-44487).
const MAX_RESETS: usize = 64;
const WINDOW: u32 = 64 * 1024;
