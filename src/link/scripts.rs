//! What the script on an origin's pages learns: the entries that the pairs of this origin admit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::domain::may_hold_public_suffixes;
use super::hosts::Hosts;

/// The lists that were asked for. An origin may have 100,000 entries, and whoever asks for them again and again is not to keep a
/// processor busy.
#[derive(Debug, Default)]
pub(super) struct Scripts(Mutex<HashMap<u32, Arc<str>>>);

impl Scripts {
    /// What is open to the visitors of an origin, as a list of texts in JSON: `["https://ok.example","https://*.ok.example/shop"]`.
    ///
    /// The script knows no public suffixes. So a `*.` entry below which there are some, such as `*.amazonaws.com`, is left out:
    /// the script leaves links there as they are, and does not send anybody where he is refused.
    pub(super) fn pairs(&self, origin: u32, hosts: &Hosts) -> Arc<str> {
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
            serde_json::to_string(&entries).unwrap_or_default().into()
        });
        Arc::clone(list)
    }
}
