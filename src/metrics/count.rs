//! A number that one thread counts and all may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// One thread's count of something: an event loop's, which alone adds to it. So the processor is not asked to keep
/// others away in between, which costs more than all else here. Two threads that add to one would lose a count now and
/// then, and nothing else.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, number: u64) {
        self.0.store(self.get().wrapping_add(number), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
