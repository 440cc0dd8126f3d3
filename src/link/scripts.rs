//! What the script on an origin's pages learns: the entries that the pairs of this origin admit.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::domain::may_hold_public_suffixes;
use super::hosts::Hosts;

/// The lists that were asked for. An origin may have 100,000 entries, and whoever asks for them again and again is not
/// to keep a processor busy.
#[derive(Debug, Default)]
pub(super) struct Scripts(Mutex<HashMap<u32, PairsList>>);

/// What an origin's pairs admit, as a list in JSON. Clones share it, as all do who are sent it.
#[derive(Clone, Debug)]
pub struct PairsList(Arc<(String, u64)>);

impl PairsList {
    fn new(json: String) -> Self {
        let digest = digest(json.as_bytes());
        Self(Arc::new((json, digest)))
    }

    /// Its [`digest`].
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.1
    }
}

impl AsRef<[u8]> for PairsList {
    fn as_ref(&self) -> &[u8] {
        self.0.0.as_bytes()
    }
}

impl fmt::Display for PairsList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.0)
    }
}

/// What tells a content from another one. All instances of one build make the same of it.
#[must_use]
pub fn digest(content: &[u8]) -> u64 {
    // Its keys are always the same.
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

impl Scripts {
    /// What is open to the visitors of an origin, as a list of texts in JSON:
    /// `["https://ok.example","https://*.ok.example/shop"]`.
    ///
    /// The script knows no public suffixes. So a `*.` entry below which there are some, such as `*.amazonaws.com`, is
    /// left out: the script leaves links there as they are, and does not send anybody where he is refused.
    pub(super) fn pairs(&self, origin: u32, hosts: &Hosts) -> PairsList {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list = lists.entry(origin).or_insert_with(|| {
            let mut entries = Vec::new();
            hosts.each_of(origin, |entry| {
                if !(entry.wildcard && may_hold_public_suffixes(entry.host)) {
                    entries.push(entry.to_string());
                }
            });
            entries.sort_unstable();
            entries.dedup();
            PairsList::new(serde_json::to_string(&entries).unwrap_or_default())
        });
        list.clone()
    }
}
