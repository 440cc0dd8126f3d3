//! Used tokens in this process alone.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::Use;
use crate::link::{FirstUse, TokenId};

/// Up to `entries` used tokens.
#[derive(Debug)]
pub(super) struct Memory {
    entries: usize,
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

impl Memory {
    pub(super) fn new(entries: usize) -> Self {
        Self { entries, used: Mutex::default() }
    }

    /// Notes a use, if there is room.
    pub(super) fn note(&self, token: FirstUse, now: u64) -> Use {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.forget(now);
        // One that may be forgotten already was perhaps used.
        if token.forget_at < used.latest || used.ids.contains(&token.id) {
            return Use::Again;
        }
        if used.ids.len() >= self.entries {
            return Use::Unknown(format!("all {} places of `replay_entries` are taken", self.entries));
        }
        used.ids.insert(token.id);
        used.by_age.push_back((token.forget_at, token.id));
        Use::First
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

    #[test]
    fn a_token_is_used_once_until_it_is_over() {
        let memory = Memory::new(10);
        assert_eq!(memory.note(token(1, 150), 0), Use::First);
        assert_eq!(memory.note(token(2, 150), 0), Use::First);
        assert_eq!(memory.note(token(1, 150), 150), Use::Again);
        assert_eq!(memory.note(token(1, 150), 151), Use::Again);
        assert_eq!(memory.note(token(1, 150), 0), Use::Again, "the clock steps back");
        assert_eq!(memory.note(token(1, 500), 151), Use::First, "nothing can open the old one any more");
    }

    #[test]
    fn a_full_memory_says_so() {
        let memory = Memory::new(2);
        assert_eq!([1, 2].map(|id| memory.note(token(id, 150), 0)), [Use::First, Use::First]);
        assert!(matches!(memory.note(token(3, 150), 0), Use::Unknown(_)));
        assert_eq!(memory.note(token(1, 150), 0), Use::Again, "what is remembered stays so");
        assert_eq!(memory.note(token(3, 400), 200), Use::First, "room comes back with time");
    }

    #[test]
    fn a_million_tokens_keep_to_the_bound() {
        let memory = Memory::new(1_000);
        let first = (0..1_000_000).filter(|id| memory.note(token(*id, 150), 0) == Use::First).count();
        assert_eq!(first, 1_000);
        assert_eq!(memory.note(token(0, 400), 200), Use::First);
        assert!(memory.used.lock().unwrap().ids.capacity() < 100, "the room of a burst is given back");
    }
}
