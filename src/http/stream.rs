//! A connection that watches its own patience.
//!
//! hyper has one timer for a request's head, and it runs while a connection is merely idle too. Browsers and proxies
//! keep idle connections for a minute, while a head that takes ten seconds is an attack, so the two limits are kept
//! here, below hyper, where the first byte of a request can be told from silence.
//!
//! hyper also keeps its buffers for as long as a connection lives. So a connection that is silent for a second is taken
//! away from hyper, which sees its end, and is given to a new one when the next request begins.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::stop::Stop;

/// How long a connection is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From a request's first byte to that of its answer, which follows the end of its head at once.
    pub head: Duration,
    /// Between an answer, or the start, and the next request's first byte.
    pub idle: Duration,
}

/// A stream that ends by itself: silent after `idle`, in the middle of a head after `head`, and when the server stops,
/// as soon as no request is under way.
pub(super) struct WatchedStream<S> {
    stream: S,
    patience: Patience,
    phase: Phase,
    /// What woke it up, and was not read yet.
    first_bytes: Bytes,
    /// The last four bytes that came.
    tail: [u8; 4],
    /// When the patience is over; `None` in a phase that has just begun and may end before anybody waits.
    deadline: Option<Instant>,
    /// When it falls asleep, if nothing comes.
    sleeps_at: Option<Instant>,
    /// A part of an answer has to wait for the client.
    held_up: bool,
    timer: Pin<Box<Sleep>>,
    stop: Stop,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    stopping: bool,
    /// Who is woken by the timer and by the stop.
    waker: Option<Waker>,
    life: Life,
    answered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Nobody speaks, and hyper is not there.
    Asleep,
    Awake,
    /// The client closed its side, or the patience was over.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No byte of a request has come.
    Idle,
    /// A request is on its way.
    Head,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WatchedStream<S> {
    pub(super) fn new(stream: S, patience: Patience, stop: Stop) -> Self {
        let deadline = Instant::now() + patience.idle;
        Self {
            stream,
            patience,
            phase: Phase::Idle,
            first_bytes: Bytes::new(),
            tail: HEAD_END,
            deadline: Some(deadline),
            sleeps_at: None,
            held_up: false,
            timer: Box::pin(sleep_until(deadline)),
            stopped: Box::pin(stop.told_owned()),
            stop,
            stopping: false,
            waker: None,
            life: Life::Asleep,
            answered: false,
        }
    }

    /// Waits for the next request's first bytes, if it is asleep, as it is at first. Gives whether there are any.
    pub(super) async fn wakes(&mut self) -> bool {
        if self.life != Life::Asleep {
            return false;
        }
        poll_fn(|cx| {
            let mut room = [const { MaybeUninit::uninit() }; FIRST_BYTES];
            let mut first = ReadBuf::uninit(&mut room);
            let read = ready!(Pin::new(&mut *self).poll_read(cx, &mut first));
            if self.life == Life::Asleep {
                self.life = Life::Awake;
            }
            self.first_bytes = Bytes::copy_from_slice(first.filled());
            Poll::Ready(read.is_ok() && !self.first_bytes.is_empty())
        })
        .await
    }

    /// Keeps it from waking up again: nothing that comes now can be told apart from what came before.
    pub(super) fn ends(&mut self) {
        if self.life == Life::Asleep {
            self.life = Life::Awake;
        }
    }

    /// Closes the connection so that the last answer arrives.
    ///
    /// A socket that is closed with unread bytes, such as a body that nobody wanted, resets the connection, and the
    /// reset can overtake the answer (RFC 9112, 9.6). So what still comes is read and dropped, for a while.
    pub(super) async fn linger(mut self) {
        let close = async {
            // Over TLS this says that nothing was cut off (RFC 8446, 6.1), and waits for a client that does not read.
            if self.stream.shutdown().await.is_err() || !self.answered || self.life == Life::Over {
                return;
            }
            let mut buffer = vec![0; 4096];
            let mut room = LINGER_BYTES;
            while room > 0 {
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => room = room.saturating_sub(read),
                }
            }
        };
        let _ = timeout(LINGER_TIME, close).await;
    }

    /// Ready when the patience is over, or it falls asleep.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever was polled once wakes the task by himself; to poll both at each request would cost as much as to read
        // it.
        let mut waits = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let stops =
            !self.stopping && if waits { self.stop.is_told() } else { self.stopped.as_mut().poll(cx).is_ready() };
        self.stopping |= stops;
        let last_call = stops && self.phase == Phase::Idle;
        let deadline = self.deadline.filter(|_| !last_call).unwrap_or_else(|| self.set_deadline());
        loop {
            let sleeps_at = self.sleeps_at.filter(|_| !self.held_up);
            let rings_at = sleeps_at.map_or(deadline, |at| at.min(deadline));
            // The timer is not moved at each request, only when it would ring too late, or rings too early.
            if rings_at < self.timer.deadline() {
                self.timer.as_mut().reset(rings_at);
            } else if waits && !self.timer.is_elapsed() {
                return Poll::Pending;
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                // Once the event loop has given the task enough for one turn, neither of the two takes note of it.
                self.waker = has_budget_remaining().then(|| cx.waker().clone());
                return Poll::Pending;
            }
            let now = Instant::now();
            if deadline <= now {
                self.life = Life::Over;
                return Poll::Ready(());
            }
            if sleeps_at.is_some_and(|at| at <= now) {
                self.sleeps_at = None;
                self.life = Life::Asleep;
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(rings_at);
            waits = false;
        }
    }

    fn set_deadline(&mut self) -> Instant {
        let (patience, awake) = match self.phase {
            Phase::Head => (self.patience.head, None),
            Phase::Idle if self.stopping && self.answered => (LAST_CALL, None),
            Phase::Idle if self.stopping => (FIRST_CALL, None),
            Phase::Idle => (self.patience.idle, Some(AWAKE)),
        };
        let now = Instant::now();
        self.sleeps_at = awake.map(|awake| now + awake);
        *self.deadline.insert(now + patience)
    }

    fn request_begins(&mut self) {
        if self.phase == Phase::Idle {
            self.phase = Phase::Head;
            self.deadline = None;
        }
    }

    fn answer_goes_out(&mut self) {
        self.answered = true;
        // hyper may hold the beginning of the next request already: then what came last is not the end of a head.
        let is_idle = self.tail.ends_with(b"\n\r\n") || self.tail.ends_with(b"\n\n");
        self.phase = if is_idle { Phase::Idle } else { Phase::Head };
        self.deadline = None;
    }

    fn remember_tail(&mut self, came: &[u8]) {
        if let Some(last) = came.last_chunk() {
            self.tail = *last;
            return;
        }
        for byte in came {
            self.tail.rotate_left(1);
            self.tail[3] = *byte;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first_bytes.is_empty() {
            let length = buf.remaining().min(self.first_bytes.len());
            // Taken off, not stepped over: bytes that are all read would still keep their memory.
            buf.put_slice(&self.first_bytes.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            if read.is_err() || buf.filled().len() == before {
                self.life = Life::Over;
            } else {
                self.remember_tail(buf.filled().get(before..).unwrap_or_default());
                self.request_begins();
            }
            return Poll::Ready(read);
        }
        ready!(self.poll_expired(cx));
        match self.phase {
            // The end of the stream, or its sleep, between two requests: hyper ends in peace.
            Phase::Idle => Poll::Ready(Ok(())),
            Phase::Head => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, bytes) {
            self.held_up = !written.as_ref().is_ok_and(|written| *written == bytes.len());
            self.answer_goes_out();
            return Poll::Ready(written);
        }
        self.held_up = true;
        // A client that does not read its answers is as idle as a silent one.
        ready!(self.poll_expired(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) {
            // hyper flushes when it has nothing left to write.
            self.held_up = false;
            return Poll::Ready(flushed);
        }
        self.held_up = true;
        // TLS takes an answer into a buffer of its own, and waits here for a client that does not read it.
        ready!(self.poll_expired(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What stands at the end of a head.
const HEAD_END: [u8; 4] = *b"\r\n\r\n";

/// How long hyper keeps a connection on which nothing comes.
const AWAKE: Duration = Duration::from_secs(1);

/// How much of a request is read before hyper is there: as much as most requests have.
const FIRST_BYTES: usize = 4096;

/// How long an idle connection is listened to after the server was told to stop: one turn of the event loop, so that a
/// request whose bytes are here already is seen and answered.
const LAST_CALL: Duration = Duration::from_millis(20);

/// The same for a connection that has not asked anything yet: its first request is probably on its way, which over the
/// internet takes longer than that.
pub(super) const FIRST_CALL: Duration = Duration::from_millis(500);

/// How long, and for how many bytes, a connection that is answered and done with is read on.
pub(super) const LINGER_TIME: Duration = Duration::from_secs(2);
pub(super) const LINGER_BYTES: usize = 256 * 1024;
