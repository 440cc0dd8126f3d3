//! The end of an event loop's work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture, WaitForCancellationFutureOwned};

/// A token that can be asked without its lock: each connection asks twice a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    is_told: Arc<AtomicBool>,
}

impl Stop {
    /// Tells all who wait, and all who ask from now on.
    pub(super) fn tell(&self) {
        // First, so that whoever is woken sees it.
        self.is_told.store(true, Ordering::Release);
        self.token.cancel();
    }

    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    /// Waits to be told.
    pub(super) fn told(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// The same for whoever keeps what waits.
    pub(super) fn told_owned(&self) -> WaitForCancellationFutureOwned {
        self.token.clone().cancelled_owned()
    }
}
