//! A bounded buffer in front of an output that may be slow, blocked or gone.
//!
//! Whoever writes a line only appends to memory, on each core to a buffer that no other core touches. A thread of its
//! own writes the lines out in batches, so a terminal that is stopped, a full pipe or a closed one never holds up a
//! request.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The writing end. Clones share a buffer; with [`Sink::another`] each has its own.
#[derive(Clone, Debug)]
pub struct Sink {
    buffer: Arc<Mutex<Buffer>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<u8>,
    dropped: u64,
}

/// What all buffers in front of one output share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    buffers: Vec<Arc<Mutex<Buffer>>>,
    /// A buffer that was empty has lines.
    lines: bool,
    /// Lines that the output refused.
    refused: u64,
    closing: bool,
    finished: bool,
}

impl Sink {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_out(&mut output))?;
        Ok(Self::before(shared))
    }

    /// Another buffer in front of the same output, for a thread that should wait for no other.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::before(Arc::clone(&self.shared))
    }

    fn before(shared: Arc<Shared>) -> Self {
        let buffer = Arc::default();
        lock(&shared.state).buffers.push(Arc::clone(&buffer));
        Self { buffer, shared }
    }

    /// Appends one line, which `format` writes into the buffer with its line break. A full buffer drops it.
    pub fn push(&self, format: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = lock(&self.buffer);
        if buffer.lines.len() >= MAX_BYTES {
            buffer.dropped += 1;
            return;
        }
        let was_empty = buffer.lines.is_empty();
        format(&mut buffer.lines);
        drop(buffer);
        if was_empty {
            lock(&self.shared.state).lines = true;
            self.shared.changed.notify_all();
        }
    }

    /// The number of lines that were lost so far: dropped for want of room, or refused by the output.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        lock(&self.shared.state).lost()
    }

    /// Writes out what is left, for at most `patience`, and gives the number of lines that were lost. An output that
    /// still blocks then is given up.
    #[must_use]
    pub fn close(&self, patience: Duration) -> u64 {
        let mut state = lock(&self.shared.state);
        state.closing = true;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(state, patience, |state| !state.finished);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.lost()
    }
}

impl State {
    fn lost(&self) -> u64 {
        self.refused + self.buffers.iter().map(|buffer| lock(buffer).dropped).sum::<u64>()
    }
}

impl Shared {
    fn write_out(&self, output: &mut impl Write) {
        let mut batch = Vec::new();
        loop {
            let state = lock(&self.state);
            let waited = self.changed.wait_while(state, |state| !state.lines && !state.closing);
            let state = waited.unwrap_or_else(PoisonError::into_inner);
            // Lines that come close together go out in one write.
            let waited = self.changed.wait_timeout_while(state, BATCH, |state| !state.closing);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.lines = false;
            let last = state.closing;
            let buffers = state.buffers.clone();
            drop(state);
            for buffer in buffers {
                std::mem::swap(&mut batch, &mut lock(&buffer).lines);
                let refused = write_whole(output, &batch);
                batch.clear();
                batch.shrink_to(KEPT_BYTES);
                lock(&self.state).refused += refused;
            }
            if last {
                break;
            }
        }
        lock(&self.state).finished = true;
        self.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes all of a batch and gives the number of lines that were lost. An output that is gone loses them, as it must;
/// one that only says "not now", as a pipe does that somebody made non-blocking, is asked again.
fn write_whole(output: &mut impl Write, mut batch: &[u8]) -> u64 {
    while !batch.is_empty() {
        match output.write(batch) {
            Ok(written) if written > 0 => batch = batch.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BATCH),
            _ => break,
        }
    }
    let _ = output.flush();
    batch.split(|byte| *byte == b'\n').skip(1).map(|_| 1).sum()
}

/// A whole line at a time, as `tracing` hands them over.
impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(|lines| lines.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Some 3,000 lines of 300 bytes: half a second of the fastest traffic measured, at a cost nobody notices.
const MAX_BYTES: usize = 1 << 20;

/// What a buffer keeps for the next lines: what the fastest traffic fills between two writes. What a burst behind a
/// slow output needed beyond that is given back.
const KEPT_BYTES: usize = 128 << 10;

/// Short enough that nobody who watches a log notices, long enough for 100 writes a second at most.
const BATCH: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Output(mpsc::Sender<Vec<u8>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_in_order_and_whole() {
        let (sender, receiver) = mpsc::channel();
        let mut sink = Sink::spawn(Output(sender)).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            sink.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(sink.close(Duration::from_secs(10)), 0);
        let written: Vec<u8> = receiver.iter().flatten().collect();
        assert_eq!(written, b"one\ntwo\nthree\n");
    }

    #[test]
    fn a_closed_output_holds_nobody_up() {
        let (sender, receiver) = mpsc::channel();
        drop(receiver);
        let sink = Sink::spawn(Output(sender)).unwrap();
        for _ in 0..10 {
            sink.push(|lines| lines.extend_from_slice(b"line\n"));
        }
        assert_eq!(sink.close(Duration::from_secs(10)), 10);
    }

    #[test]
    fn a_blocked_output_drops_lines_beyond_the_bound() {
        struct Blocked(mpsc::Receiver<()>);
        impl Write for Blocked {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, blocked) = mpsc::channel();
        let sink = Sink::spawn(Blocked(blocked)).unwrap();
        let line = [b'x'; 1024];
        for _ in 0..3 * MAX_BYTES / line.len() {
            sink.push(|lines| lines.extend_from_slice(&line));
        }
        assert!(sink.close(Duration::ZERO) >= 1024, "one buffer is being written, one is full, the third is dropped");
        drop(release);
    }
}
