//! Where visitors may be sent: the allow-list, and the [`Destination`] that only it can make.

use super::domain::{is_host_name, parents};
use super::entry::{Entry, EntryRef, NotAllowed};
use super::hosts::Hosts;
use super::target::Target;
use super::texts::TextAt;

/// The entries that are open to visitors of one origin.
#[derive(Clone, Copy, Debug)]
pub struct AllowList<'l> {
    hosts: &'l Hosts,
    origin: u32,
}

/// The entries of one pair, before there is a whole configuration.
#[derive(Debug, Default)]
pub struct Entries(Hosts);

/// A URL that the allow-list admits: the only thing a `Location` to another host is made from. Only
/// [`AllowList::admit`] makes one, and whoever has one can give it another query, which the allow-list doesn't judge.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    target: Target,
    pair: usize,
}

impl Entries {
    /// Takes the entries of a pair.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut list = Self::default();
        for entry in entries {
            list.insert(entry, 0);
        }
        list
    }

    /// The list of these entries alone.
    #[must_use]
    pub fn allow_list(&self) -> AllowList<'_> {
        AllowList::new(&self.0, 0)
    }

    fn insert(&mut self, entry: &Entry, pair: u32) {
        let number = self.0.add_entry(entry, (pair, TextAt::default()), false);
        self.0.open(0, number..number + 1);
    }
}

impl<'l> AllowList<'l> {
    /// The list of an origin, given by its number.
    pub(super) fn new(hosts: &'l Hosts, origin: u32) -> Self {
        Self { hosts, origin }
    }

    /// Admits a URL as the WHATWG algorithm prints it: its host equals an entry's or lies below a `*.` one, scheme
    /// and port are the entry's, and its path is the entry's or below it. Of several pairs the first in the file wins.
    ///
    /// # Errors
    /// [`NotAllowed`] with the reason of the entry that came nearest.
    pub fn admit(&self, target: Target) -> Result<Destination, NotAllowed> {
        let mut best: Result<u32, NotAllowed> = Err(NotAllowed::Host);
        self.each_entry_for(target.host(), |pair, entry| {
            best = match (best, entry.judge(&target)) {
                (Ok(best), Ok(())) => Ok(best.min(pair)),
                (Err(_), Ok(())) => Ok(pair),
                (Err(best), Err(why)) => Err(best.max(why)),
                (Ok(best), Err(_)) => Ok(best),
            };
        });
        best.map(|pair| Destination { target, pair: pair as usize })
    }

    /// Whether an entry names a host, and does not only reach it with `*.`.
    pub(super) fn names(&self, host: &str) -> bool {
        let mut is_named = false;
        self.hosts.each_open_to(self.origin, host, false, |_, _| is_named = true);
        is_named
    }

    /// Whether visitors may be sent to some page of a host, under the scheme and the port of an entry.
    pub(super) fn leads_to(&self, host: &str, there: &EntryRef<'_>) -> bool {
        let mut leads = false;
        self.each_entry_for(host, |_, entry| leads |= (entry.scheme, entry.port) == (there.scheme, there.port));
        leads
    }

    /// Looks at the entries for a host, in any order, each with the number of its pair.
    fn each_entry_for(&self, host: &str, mut look: impl FnMut(u32, EntryRef<'_>)) {
        let Self { hosts, origin } = *self;
        hosts.each_open_to(origin, host, false, &mut look);
        // A name such as `a..ok.example` lies below nothing: no resolver knows it, and only attackers write it.
        if hosts.has_wildcards(Some(origin)) && is_host_name(host) {
            for name in parents(host) {
                hosts.each_open_to(origin, name, true, |pair, entry| {
                    if entry.owns(host) {
                        look(pair, entry);
                    }
                });
            }
        }
    }
}

impl Destination {
    /// The admitted URL.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The admitted URL as the value of a `Location`. Its text has no byte of room to spare where it was made by
    /// `decorate`, so it can be sent without a copy.
    #[must_use]
    pub fn into_location(self) -> String {
        self.target.into()
    }

    /// The destination that a text is, if it is proven to be this one but for the query and the fragment; else gives it
    /// back.
    ///
    /// Scheme, host, port and path are the same, byte for byte, and the allow-list looks at nothing else.
    pub(super) fn with_another_query(&self, text: String) -> Result<Self, String> {
        self.target.with_another_query(text).map(|target| Self { target, ..*self })
    }

    /// The place in the file of the pair that admits it.
    pub(super) fn pair(&self) -> usize {
        self.pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(entries: &[&str], url: &str) -> Result<usize, NotAllowed> {
        let mut list = Entries::default();
        for (pair, entry) in (0..).zip(entries) {
            list.insert(&Entry::parse(entry).unwrap(), pair);
        }
        list.allow_list().admit(Target::of(url.parse().unwrap()).ok().unwrap()).map(|destination| destination.pair)
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
