//! What was answered to whoever gave his request a name, so that he may ask again.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::api::Reply;

/// The latest answers, by what was asked and the name that it had.
#[derive(Default)]
pub(super) struct Answered {
    kept: Mutex<Kept>,
    hasher: RandomState,
}

/// The newer ones, and as many older ones, which go at once.
#[derive(Default)]
struct Kept {
    newer: Names,
    older: Names,
    /// What the newer ones take, which is at most this: no answer is longer than what was asked.
    bytes: usize,
}

type Names = HashMap<u64, Asked>;

/// What was asked and when, and the answer, once it is there.
#[derive(Clone)]
pub(super) struct Asked {
    body: u64,
    /// In seconds since 1970. Whoever asks again tells of the same moment: the first time may have been heard all the
    /// same.
    pub at: u64,
    pub answer: Arc<OnceCell<Reply>>,
}

impl Answered {
    /// The place for the answer to a request of now; `None` if the same name stood at another one.
    pub(super) fn entry(&self, path: &str, name: &str, body: &[u8], now: u64) -> Option<Asked> {
        let body_bytes = body.len();
        // Numbers made with a secret, so that nobody can look for two texts with the same one.
        let (name, body) = (self.hasher.hash_one((path, name)), self.hasher.hash_one(body));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.newer.get(&name).or_else(|| kept.older.get(&name)).cloned();
        let asked = known.unwrap_or_else(|| Asked { body, at: now, answer: Arc::default() });
        if asked.body != body {
            return None;
        }
        if kept.newer.insert(name, asked.clone()).is_none() {
            kept.bytes += OVERHEAD + body_bytes;
        }
        if kept.newer.len() >= MOST_NAMES || kept.bytes >= MOST_BYTES {
            kept.older = take(&mut kept.newer);
            kept.bytes = 0;
        }
        Some(asked)
    }
}

/// How many are remembered at the least, unless they are that large.
const MOST_NAMES: usize = 10_000;
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What one takes besides its answer.
const OVERHEAD: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_place_while_there_are_few_others() {
        let answered = Answered::default();
        let entry = |path, name: &str, body, now| answered.entry(path, name, body, now);
        let first = entry("/v1/record", "name", b"body", 1).unwrap();
        let same = |other: &Asked| Arc::ptr_eq(&first.answer, &other.answer) && other.at == 1;
        assert!(entry("/v1/record", "name", b"body", 2).is_some_and(|other| same(&other)));
        assert!(entry("/v1/record", "name", b"another", 2).is_none());
        assert!(entry("/v1/alias", "name", b"body", 2).is_some_and(|other| !same(&other)));
        for number in 0..MOST_NAMES {
            entry("/v1/record", &number.to_string(), b"", 3).unwrap();
        }
        assert!(entry("/v1/record", "name", b"body", 4).is_some_and(|other| same(&other)));
        for number in 0..3 * MOST_NAMES {
            entry("/v1/record", &number.to_string(), b"", 5).unwrap();
        }
        assert!(entry("/v1/record", "name", b"body", 6).is_some_and(|other| !same(&other)));
        let kept = answered.kept.lock().unwrap();
        assert!(kept.newer.len() + kept.older.len() <= 2 * MOST_NAMES);
        drop(kept);
        let large = vec![0; 1024 * 1024];
        for number in 0..100 {
            entry("/v1/record", &format!("large {number}"), &large, 7).unwrap();
        }
        let kept = answered.kept.lock().unwrap();
        assert!(kept.newer.len() + kept.older.len() <= 2 * MOST_BYTES / large.len());
    }
}
