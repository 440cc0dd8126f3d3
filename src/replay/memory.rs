//! Used tokens in this process alone.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashSet};
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
    /// With the time at which each may be forgotten, the earliest first.
    by_age: BinaryHeap<Reverse<(u64, TokenId)>>,
    /// The latest such time among those that were forgotten.
    forgotten: u64,
}

impl Memory {
    pub(super) fn new(entries: usize) -> Self {
        Self { entries, used: Mutex::default() }
    }

    /// Notes a use, if there is room.
    pub(super) fn note(&self, token: FirstUse, now: u64) -> Use {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.forget(now);
        if used.ids.contains(&token.id) {
            return Use::Again;
        }
        if token.forget_at <= used.forgotten {
            return Use::Unknown("the clock stepped back, and those of that time are forgotten".to_owned());
        }
        if used.ids.len() >= self.entries {
            return Use::Unknown(format!("all {} places of `replay_entries` are taken", self.entries));
        }
        used.ids.insert(token.id);
        used.by_age.push(Reverse((token.forget_at, token.id)));
        Use::First
    }
}

impl Used {
    fn forget(&mut self, now: u64) {
        while let Some(oldest) = self.by_age.peek_mut() {
            let Reverse((forget_at, id)) = *oldest;
            if forget_at >= now {
                break;
            }
            PeekMut::pop(oldest);
            self.ids.remove(&id);
            self.forgotten = self.forgotten.max(forget_at);
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
        assert_eq!(memory.note(token(1, 500), 151), Use::First, "nothing can open the old one any more");
    }

    #[test]
    fn a_clock_that_steps_harms_only_tokens_of_that_time() {
        let memory = Memory::new(10);
        assert_eq!(memory.note(token(1, 150), 0), Use::First);
        assert_eq!(memory.note(token(2, 3750), 3600), Use::First, "an hour ahead, for a moment");
        assert!(matches!(memory.note(token(1, 150), 0), Use::Unknown(_)), "it was used, and that is forgotten");
        assert!(matches!(memory.note(token(3, 150), 0), Use::Unknown(_)));
        assert_eq!(memory.note(token(4, 151), 1), Use::First);
        assert_eq!(memory.note(token(4, 151), 1), Use::Again);
        assert_eq!(memory.note(token(5, 400), 152), Use::First, "what is far ahead keeps nothing from being forgotten");
        assert_eq!(memory.used.lock().unwrap().ids.len(), 2);
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
