//! Where visitors may be sent: the allow-list, and the [`Destination`] that only it can make.

use std::collections::HashMap;

use super::domain::{is_host_name, parents};
use super::entry::{Entry, NotAllowed};
use super::target::Target;

/// All the entries that are open to visitors of one origin, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    exact: HashMap<String, Vec<Rule>>,
    below: HashMap<String, Vec<Rule>>,
}

#[derive(Clone, Debug)]
struct Rule {
    entry: Entry,
    pair: usize,
}

/// A URL that the allow-list admits: the only thing a `Location` to another host is made from.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    target: Target,
    pair: usize,
}

impl AllowList {
    /// The list of these entries alone.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut list = Self::default();
        for entry in entries {
            list.insert(entry.clone(), 0);
        }
        list
    }

    /// Adds the entry of a pair, given by its place in the file.
    pub(super) fn insert(&mut self, entry: Entry, pair: usize) {
        let hosts = if entry.is_wildcard() { &mut self.below } else { &mut self.exact };
        hosts.entry(entry.domain().as_str().to_owned()).or_default().push(Rule { entry, pair });
    }

    /// Admits a URL as the WHATWG algorithm prints it: its host equals an entry's or lies below a `*.` one, scheme
    /// and port are the entry's, and its path is the entry's or below it. Of several pairs the first in the file wins.
    ///
    /// # Errors
    /// [`NotAllowed`] with the reason of the entry that came nearest.
    pub fn admit(&self, target: Target) -> Result<Destination, NotAllowed> {
        let mut best: Result<usize, NotAllowed> = Err(NotAllowed::Host);
        for rule in self.rules_for(target.host()) {
            best = match (best, rule.entry.judge(&target)) {
                (Ok(pair), Ok(())) => Ok(pair.min(rule.pair)),
                (Err(_), Ok(())) => Ok(rule.pair),
                (Err(best), Err(why)) => Err(best.max(why)),
                (Ok(pair), Err(_)) => Ok(pair),
            };
        }
        best.map(|pair| Destination { target, pair })
    }

    fn rules_for(&self, host: &str) -> impl Iterator<Item = &Rule> {
        // A name such as `a..ok.example` lies below nothing: no resolver knows it, and only attackers write it.
        let above = if self.below.is_empty() || !is_host_name(host) { "" } else { host };
        let below = parents(above).filter_map(|name| self.below.get(name)).flatten();
        self.exact.get(host).into_iter().flatten().chain(below.filter(move |rule| rule.entry.owns(host)))
    }
}

impl Destination {
    /// The admitted URL.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The admitted URL as the value of a `Location`. Its text has no byte of room to spare where it was made by `decorate`,
    /// so it can be sent without a copy.
    #[must_use]
    pub fn into_location(self) -> String {
        self.target.into()
    }

    /// The place in the file of the pair that admits it.
    pub(super) fn pair(&self) -> usize {
        self.pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        let mut list = AllowList::default();
        for (pair, entry) in entries.iter().enumerate() {
            list.insert(Entry::parse(entry).unwrap(), pair);
        }
        list
    }

    fn admit(entries: &[&str], url: &str) -> Result<usize, NotAllowed> {
        list(entries).admit(Target::of(url.parse().unwrap()).ok().unwrap()).map(|destination| destination.pair)
    }

    #[test]
    fn the_host_is_compared_whole_or_at_a_label_boundary() {
        let entries = &["ok.example", "*.wild.example"];
        for (url, expected) in [
            ("https://ok.example/any?x#y", Ok(0)),
            ("https://OK.example", Ok(0)),
            ("https://a.wild.example", Ok(1)),
            ("https://a.b.wild.example", Ok(1)),
            ("https://wild.example", Err(NotAllowed::Host)),
            ("https://.wild.example", Err(NotAllowed::Host)),
            ("https://a..wild.example", Err(NotAllowed::Host)),
            ("https://evilwild.example", Err(NotAllowed::Host)),
            ("https://evilok.example", Err(NotAllowed::Host)),
            ("https://a.ok.example", Err(NotAllowed::Host)),
            ("https://ok.example.evil.example", Err(NotAllowed::Host)),
            ("https://127.0.0.1", Err(NotAllowed::Host)),
            ("http://ok.example", Err(NotAllowed::Scheme)),
            ("https://ok.example:8443", Err(NotAllowed::Port)),
        ] {
            assert_eq!(admit(entries, url), expected, "{url}");
        }
    }

    #[test]
    fn a_wildcard_ends_at_a_public_suffix() {
        let entries = &["*.amazonaws.com"];
        assert_eq!(admit(entries, "https://console.amazonaws.com"), Ok(0));
        assert_eq!(admit(entries, "https://evil.s3.amazonaws.com"), Err(NotAllowed::Host));
    }

    #[test]
    fn a_path_is_admitted_at_a_segment_boundary() {
        let entries = &["https://ok.example/shop"];
        for (url, expected) in [
            ("https://ok.example/shop", Ok(0)),
            ("https://ok.example/shop/", Ok(0)),
            ("https://ok.example/shop/cart?x", Ok(0)),
            ("https://ok.example/", Err(NotAllowed::Path)),
            ("https://ok.example/shopping", Err(NotAllowed::Path)),
            ("https://ok.example/Shop", Err(NotAllowed::Path)),
            ("https://ok.example/shop/../admin", Err(NotAllowed::Path)),
            ("https://ok.example/shop/%2e%2e/admin", Err(NotAllowed::Path)),
            ("https://ok.example/shop/..%2fadmin", Err(NotAllowed::Path)),
            ("https://ok.example/shop/..;/admin", Err(NotAllowed::Path)),
            ("https://ok.example/shop//admin", Err(NotAllowed::Path)),
            ("https://ok.example//shop", Err(NotAllowed::Path)),
        ] {
            assert_eq!(admit(entries, url), expected, "{url}");
        }
    }

    #[test]
    fn the_first_pair_in_the_file_wins() {
        assert_eq!(admit(&["*.ok.example", "a.ok.example"], "https://a.ok.example"), Ok(0));
        assert_eq!(admit(&["a.ok.example", "*.ok.example"], "https://a.ok.example"), Ok(0));
        assert_eq!(admit(&["http://ok.example", "ok.example"], "https://ok.example"), Ok(1));
    }

    #[test]
    fn an_address_counts_only_as_listed() {
        assert_eq!(admit(&["127.0.0.1"], "https://0x7f.1/"), Ok(0));
        assert_eq!(admit(&["127.0.0.1"], "https://[::ffff:7f00:1]/"), Err(NotAllowed::Host));
        assert_eq!(admit(&["[::1]:8080"], "https://[0:0::1]:8080/"), Ok(0));
    }
}
