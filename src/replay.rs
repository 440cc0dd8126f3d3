//! The tokens that were used, for as long as they could be used again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::link::{FirstUse, TokenId};
use crate::settings::{Replay, Unproven};

/// Remembers in memory which tokens were used. Only tokens that were verified come here, so it costs a hand-off and a
/// landing to fill one place.
#[derive(Debug)]
pub struct UsedTokens {
    settings: Replay,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    ids: HashSet<TokenId>,
    /// With the time at which each may be forgotten, in the order of their use. Tokens live equally long, so those in
    /// front are over first, but for the skew of clocks.
    by_age: VecDeque<(u64, TokenId)>,
    /// The latest time that was seen: clocks step back, and requests overtake each other.
    latest: u64,
}

impl UsedTokens {
    /// An empty memory.
    #[must_use]
    pub fn new(settings: Replay) -> Self {
        Self { settings, used: Mutex::default() }
    }

    /// Whether a token may be adopted: it is its first use, or nobody asks. `now` is in seconds since 1970.
    pub fn admit(&self, token: FirstUse, now: u64) -> bool {
        if !self.settings.on {
            return true;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.forget(now);
        // One that may be forgotten already was perhaps used.
        if token.forget_at < used.latest || used.ids.contains(&token.id) {
            return false;
        }
        if used.ids.len() >= self.settings.entries {
            return self.settings.unproven == Unproven::Accept;
        }
        used.ids.insert(token.id);
        used.by_age.push_back((token.forget_at, token.id));
        true
    }
}

impl Used {
    fn forget(&mut self, now: u64) {
        self.latest = self.latest.max(now);
        let now = self.latest;
        while let Some((_, id)) = self.by_age.front().copied().filter(|(forget_at, _)| *forget_at < now) {
            self.ids.remove(&id);
            self.by_age.pop_front();
        }
        // A burst is over: its room goes back to the system.
        if self.ids.len() < self.ids.capacity() / 8 {
            self.ids.shrink_to(self.ids.len() * 2);
            self.by_age.shrink_to(self.ids.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u128, forget_at: u64) -> FirstUse {
        FirstUse { id: TokenId(id), forget_at }
    }

    fn memory(entries: usize, unproven: Unproven) -> UsedTokens {
        UsedTokens::new(Replay { on: true, entries, unproven })
    }

    #[test]
    fn a_token_is_used_once_until_it_is_over() {
        let memory = memory(10, Unproven::Refuse);
        assert!(memory.admit(token(1, 150), 0));
        assert!(memory.admit(token(2, 150), 0));
        assert!(!memory.admit(token(1, 150), 150));
        assert!(!memory.admit(token(1, 150), 151) && !memory.admit(token(1, 150), 0), "the clock steps back");
        assert!(memory.admit(token(1, 500), 151), "nothing can open the old one any more");
    }

    #[test]
    fn a_full_memory_does_as_configured() {
        for (unproven, admitted) in [(Unproven::Refuse, false), (Unproven::Accept, true)] {
            let memory = memory(2, unproven);
            assert!(memory.admit(token(1, 150), 0) && memory.admit(token(2, 150), 0));
            assert_eq!(memory.admit(token(3, 150), 0), admitted);
            assert!(!memory.admit(token(1, 150), 0), "what is remembered stays so");
            assert!(memory.admit(token(3, 400), 200), "room comes back with time");
        }
    }

    #[test]
    fn a_million_tokens_keep_to_the_bound() {
        let memory = memory(1_000, Unproven::Refuse);
        let admitted = (0..1_000_000).filter(|id| memory.admit(token(*id, 150), 0)).count();
        assert_eq!(admitted, 1_000);
        assert!(memory.admit(token(0, 400), 200));
        assert!(memory.used.lock().unwrap().ids.capacity() < 100, "the room of a burst is given back");
    }

    #[test]
    fn switched_off_it_admits_everything() {
        let memory = UsedTokens::new(Replay { on: false, entries: 1, unproven: Unproven::Refuse });
        assert!(memory.admit(token(1, 150), 0) && memory.admit(token(1, 150), 0));
    }
}
