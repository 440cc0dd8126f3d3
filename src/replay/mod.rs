//! The tokens that were used, for as long as they could be used again.
//!
//! The core says which token must be on its first use ([`FirstUse`]); here that is proven.

mod memory;
mod shared;

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;

use crate::link::{FirstUse, NotFirst};
use crate::settings::{Replay, TokenStore, Unproven};
use memory::Memory;
use shared::Shared;

/// Remembers which tokens were used. Only tokens that were verified come here, so it costs a hand-off and a landing to
/// fill one place.
#[derive(Debug)]
pub struct UsedTokens {
    store: Store,
    unproven: Unproven,
    /// When it was last said that first uses can't be proven, in seconds since 1970; 0 for never.
    complained: AtomicU64,
}

#[derive(Debug)]
enum Store {
    Memory(Memory),
    Shared(Shared),
    Off,
}

/// Whether a token was used before, or why nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Use {
    First,
    Again,
    Unknown(String),
}

impl UsedTokens {
    /// An empty memory, or the way to a shared one. That one connects in the background, so it must be made inside a
    /// tokio runtime.
    #[must_use]
    pub fn new(settings: Replay) -> Self {
        let store = match settings.store {
            TokenStore::Memory { entries } => Store::Memory(Memory::new(entries)),
            TokenStore::Shared(server) => Store::Shared(Shared::connect(server)),
            TokenStore::Off => Store::Off,
        };
        Self { store, unproven: settings.unproven, complained: AtomicU64::new(0) }
    }

    /// Proves that it is the first use of a token, and remembers it; or the settings let it pass without a proof. `now`
    /// is in seconds since 1970. Waits for a shared store, a few milliseconds at most.
    ///
    /// # Errors
    ///
    /// The token was used before, or nobody can tell.
    pub async fn admit(&self, token: FirstUse, now: u64) -> Result<(), NotFirst> {
        let used = match &self.store {
            Store::Memory(memory) => memory.note(token, now),
            Store::Shared(shared) => shared.note(token, now).await,
            Store::Off => Use::First,
        };
        self.judge(used, now)
    }

    /// Does as [`Self::admit`] does, where nobody must be waited for; `None` where somebody must.
    #[must_use]
    pub fn admit_at_once(&self, token: FirstUse, now: u64) -> Option<Result<(), NotFirst>> {
        match &self.store {
            Store::Shared(_) => None,
            _ => self.admit(token, now).now_or_never(),
        }
    }

    fn judge(&self, used: Use, now: u64) -> Result<(), NotFirst> {
        match used {
            Use::First => Ok(()),
            Use::Again => Err(NotFirst::Used),
            Use::Unknown(why) => {
                self.complain(&why, now);
                match self.unproven {
                    Unproven::Refuse => Err(NotFirst::Unproven),
                    Unproven::Accept => Ok(()),
                }
            }
        }
    }

    /// Tells the operator, but not for each visitor anew.
    fn complain(&self, why: &str, now: u64) {
        let last = self.complained.load(Ordering::Relaxed);
        if last == 0 || now.abs_diff(last) >= QUIET {
            self.complained.store(now, Ordering::Relaxed);
            let adopted = self.unproven == Unproven::Accept;
            tracing::warn!(adopted, "whether tokens were used before can't be proven: {why}");
            if let Store::Shared(shared) = &self.store {
                shared.look();
            }
        }
    }
}

/// Seconds between two complaints.
const QUIET: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::TokenId;

    #[test]
    fn what_can_not_be_proven_does_as_configured() {
        let unproven = Err(NotFirst::Unproven);
        for (policy, expected) in [(Unproven::Refuse, unproven), (Unproven::Accept, Ok(()))] {
            let used = UsedTokens::new(Replay { store: TokenStore::Memory { entries: 1 }, unproven: policy });
            let admit = |id| used.admit(FirstUse { id: TokenId(id), forget_at: 150 }, 0).now_or_never().unwrap();
            assert_eq!([admit(1), admit(2), admit(1)], [Ok(()), expected, Err(NotFirst::Used)]);
        }
    }

    #[test]
    fn switched_off_it_admits_everything() {
        let used = UsedTokens::new(Replay { store: TokenStore::Off, unproven: Unproven::Refuse });
        let admit = || used.admit(FirstUse { id: TokenId(1), forget_at: 150 }, 0).now_or_never().unwrap();
        assert_eq!([admit(), admit()], [Ok(()), Ok(())]);
    }
}
