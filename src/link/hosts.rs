//! All hosts of the configuration, each found by one look into a table.
//!
//! A configuration may name 100,000 of them. So a name stands once in one long text, what is known of it in a record of
//! a few numbers, and the tables hold the numbers of records: some 30 to 50 bytes a host besides its name, where a map
//! of texts and lists takes a thousand. The hash is that of the whole host, whatever else is asked.

use std::hash::BuildHasher;
use std::num::NonZeroU16;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::entry::{Entry, EntryRef, Scheme};
use super::pair::Origin;
use super::texts::{TextAt, Texts, number};

/// Origins and destinations, and which of the one may send visitors to which of the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    texts: Texts,
    origins: Vec<OriginRecord>,
    entries: Vec<EntryRecord>,
    /// The paths of entries; most have none, which is number 0.
    paths: Vec<Box<str>>,
    /// By host: origins, and of each port the first entry.
    sites: HashTable<Site>,
    /// By host and origin: the entries that are open to visitors of an origin, where these are not few.
    rules: HashTable<Rule>,
    has_wildcards: bool,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy, Debug)]
struct OriginRecord {
    host: TextAt,
    /// The first of the few entries that are open to its visitors.
    first: u32,
    port: Option<NonZeroU16>,
    /// How many these are, one behind the other; or [`IN_TABLE`].
    few: u8,
    /// Whether a `*.` entry is open to its visitors.
    has_wildcards: bool,
}

/// An origin or an entry by its number, which leaves the highest bit to tell the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Site(u32);

#[derive(Clone, Copy, Debug)]
struct EntryRecord {
    host: TextAt,
    path: u32,
    pair: u32,
    port: u16,
    scheme: Scheme,
    wildcard: bool,
    /// How many of the host's last bytes are its registrable domain, as far as it was asked for.
    site_length: u8,
}

/// An entry that is open to the visitors of an origin.
#[derive(Clone, Copy, Debug)]
struct Rule {
    origin: u32,
    entry: u32,
}

impl Hosts {
    /// Keeps a text beside the names, such as that of a pair.
    pub(super) fn keep(&mut self, text: &str) -> TextAt {
        self.texts.keep(text)
    }

    pub(super) fn text(&self, at: TextAt) -> &str {
        self.texts.text(at)
    }

    /// Makes a host an origin, unless it is one; gives its number. `pair` is the name of its pair.
    pub(super) fn add_origin(&mut self, origin: &Origin, pair: TextAt) -> u32 {
        let (host, port) = (origin.domain.as_str(), origin.port);
        let hash = self.hash(host);
        if let Some(known) = self.origin(hash, host, port) {
            return known;
        }
        let new = number(self.origins.len());
        let host = self.texts.keep_as_part(host, pair);
        let port = port.and_then(NonZeroU16::new);
        self.origins.push(OriginRecord { host, first: 0, port, few: 0, has_wildcards: false });
        self.add_site(hash, Site::origin(new));
        new
    }

    /// Adds an entry of a pair, which is given by its number and its name, and makes its hosts destinations unless they
    /// are; gives its number. The registrable domain of its host is kept if `with_site`.
    pub(super) fn add_entry(&mut self, entry: &Entry, (pair, name): (u32, TextAt), with_site: bool) -> u32 {
        let (new, host) = (number(self.entries.len()), entry.domain().as_str());
        let site = if with_site || entry.is_wildcard() { entry.domain().registrable() } else { None };
        let record = EntryRecord {
            host: self.texts.keep_as_part(host, name),
            path: self.keep_path(entry.path()),
            pair,
            port: entry.port(),
            scheme: entry.scheme(),
            wildcard: entry.is_wildcard(),
            // A name has at most 253 bytes.
            site_length: u8::try_from(site.map_or(0, str::len)).unwrap_or(0),
        };
        self.entries.push(record);
        self.has_wildcards |= record.wildcard;
        let hash = self.hash(host);
        if self.destination(hash, host, record.wildcard, entry.explicit_port()).is_none() {
            self.add_site(hash, Site::entry(new));
        }
        new
    }

    /// Opens entries that follow each other to the visitors of an origin.
    pub(super) fn open(&mut self, origin: u32, entries: Range<u32>) {
        let has_wildcards = entries.clone().filter_map(|number| self.record(number)).any(|entry| entry.wildcard);
        let mut few = 0..0;
        if let Some(record) = self.origins.get_mut(origin as usize) {
            record.has_wildcards |= has_wildcards;
            if record.few == 0 && entries.len() <= FEW {
                (record.first, record.few) = (entries.start, u8::try_from(entries.len()).unwrap_or(IN_TABLE));
                return;
            }
            few = record.few();
            record.few = IN_TABLE;
        }
        let Self { rules, texts, entries: records, hasher, .. } = self;
        let hash_of = |rule: &Rule| {
            let host = records.get(rule.entry as usize).map_or("", |entry| texts.text(entry.host));
            rule_hash(hasher.hash_one(host), rule.origin)
        };
        rules.reserve(few.len() + entries.len(), hash_of);
        for entry in few.chain(entries) {
            let rule = Rule { origin, entry };
            rules.insert_unique(hash_of(&rule), rule, hash_of);
        }
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, origins: usize, entries: usize) {
        self.origins.reserve_exact(origins);
        self.entries.reserve_exact(entries);
        let Self { sites, texts, origins: records, entries: other, hasher, .. } = self;
        sites.reserve(origins + entries, |site| hasher.hash_one(site.host(texts, records, other)));
    }

    /// Gives back what was reserved for more.
    pub(super) fn shrink(&mut self) {
        self.texts.shrink();
        self.origins.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.paths.shrink_to_fit();
        let Self { sites, texts, origins, entries, hasher, .. } = self;
        sites.shrink_to_fit(|site| hasher.hash_one(site.host(texts, origins, entries)));
    }

    fn add_site(&mut self, hash: u64, site: Site) {
        let Self { sites, texts, origins, entries, hasher, .. } = self;
        sites.insert_unique(hash, site, |site| hasher.hash_one(site.host(texts, origins, entries)));
    }

    /// The hash of a host, for the look-ups below.
    pub(super) fn hash(&self, host: &str) -> u64 {
        self.hasher.hash_one(host)
    }

    /// The number of an origin.
    pub(super) fn origin(&self, hash: u64, host: &str, port: Option<u16>) -> Option<u32> {
        let is_it = |site: &Site| {
            let origin = site.as_origin().and_then(|number| self.origins.get(number as usize));
            origin.is_some_and(|origin| origin.port() == port && self.texts.text(origin.host) == host)
        };
        self.sites.find(hash, is_it).and_then(|site| site.as_origin())
    }

    /// The number of the first entry for a host, or for all below it, whose URLs have a port; `None` for the default
    /// port of their scheme.
    pub(super) fn destination(&self, hash: u64, host: &str, wildcard: bool, port: Option<u16>) -> Option<u32> {
        let is_it = |site: &Site| {
            let entry = site.as_entry().and_then(|number| self.record(number));
            entry.is_some_and(|entry| entry.is_at(wildcard, host, &self.texts) && entry.explicit_port() == port)
        };
        self.sites.find(hash, is_it).and_then(|site| site.as_entry())
    }

    /// Looks at the entries for a host, or for all below it, that are open to the visitors of an origin, in any order;
    /// each with the number of its pair.
    pub(super) fn each_open_to(
        &self,
        origin: u32,
        host: &str,
        wildcard: bool,
        mut look: impl FnMut(u32, EntryRef<'_>),
    ) {
        let mut look_at = |number| {
            if let Some(entry) = self.record(number).filter(|entry| entry.is_at(wildcard, host, &self.texts)) {
                look(entry.pair, self.entry_ref(entry));
            }
        };
        match self.origins.get(origin as usize) {
            Some(known) if known.few != IN_TABLE => known.few().for_each(look_at),
            _ => {
                let rules = self.rules.iter_hash(rule_hash(self.hash(host), origin));
                rules.filter(|rule| rule.origin == origin).for_each(|rule| look_at(rule.entry));
            }
        }
    }

    /// Looks at all entries that are open to the visitors of an origin.
    pub(super) fn each_of(&self, origin: u32, mut look: impl FnMut(EntryRef<'_>)) {
        let look_at = |number| {
            if let Some(entry) = self.record(number) {
                look(self.entry_ref(entry));
            }
        };
        match self.origins.get(origin as usize) {
            Some(known) if known.few != IN_TABLE => known.few().for_each(look_at),
            _ => self.rules.iter().filter(|rule| rule.origin == origin).map(|rule| rule.entry).for_each(look_at),
        }
    }

    /// Whether any destination is a `*.` one, or any that is open to the visitors of one origin.
    pub(super) fn has_wildcards(&self, origin: Option<u32>) -> bool {
        let of = |origin| self.origins.get(origin as usize);
        origin.and_then(of).map_or(self.has_wildcards, |origin| origin.has_wildcards)
    }

    /// An entry, and the number of its pair.
    pub(super) fn entry(&self, number: u32) -> Option<(u32, EntryRef<'_>)> {
        self.record(number).map(|entry| (entry.pair, self.entry_ref(entry)))
    }

    /// All entries in the order of the file, each with the number of its pair.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = (u32, EntryRef<'_>)> {
        self.entries.iter().map(|entry| (entry.pair, self.entry_ref(entry)))
    }

    /// All origins, in the order in which the file first names them: each host, and the port that it must have.
    pub(super) fn origins(&self) -> impl Iterator<Item = (&str, Option<u16>)> {
        self.origins.iter().map(|origin| (self.texts.text(origin.host), origin.port()))
    }

    /// The host of an origin.
    pub(super) fn origin_host(&self, number: u32) -> Option<&str> {
        self.origins.get(number as usize).map(|origin| self.texts.text(origin.host))
    }

    fn keep_path(&mut self, path: &str) -> u32 {
        if self.paths.is_empty() {
            self.paths.push(Box::default());
        }
        if path.is_empty() {
            return 0;
        }
        self.paths.push(path.into());
        number(self.paths.len() - 1)
    }

    fn record(&self, number: u32) -> Option<&EntryRecord> {
        self.entries.get(number as usize)
    }

    fn entry_ref(&self, entry: &EntryRecord) -> EntryRef<'_> {
        let host = self.texts.text(entry.host);
        let site = host.len().checked_sub(entry.site_length.into()).and_then(|start| host.get(start..));
        EntryRef {
            scheme: entry.scheme,
            host,
            wildcard: entry.wildcard,
            port: entry.port,
            path: self.paths.get(entry.path as usize).map(AsRef::as_ref).unwrap_or_default(),
            site: site.filter(|site| !site.is_empty()),
        }
    }
}

impl OriginRecord {
    fn port(&self) -> Option<u16> {
        self.port.map(NonZeroU16::get)
    }

    /// The few entries that are open to its visitors; none if they stand in the table.
    fn few(&self) -> Range<u32> {
        let count = if self.few == IN_TABLE { 0 } else { self.few.into() };
        self.first..self.first.saturating_add(count)
    }
}

impl Site {
    fn origin(number: u32) -> Self {
        Self(number)
    }

    fn entry(number: u32) -> Self {
        Self(number | ENTRY)
    }

    fn as_origin(self) -> Option<u32> {
        (self.0 & ENTRY == 0).then_some(self.0)
    }

    fn as_entry(self) -> Option<u32> {
        (self.0 & ENTRY != 0).then_some(self.0 & !ENTRY)
    }

    fn host<'t>(self, texts: &'t Texts, origins: &[OriginRecord], entries: &[EntryRecord]) -> &'t str {
        let origin = self.as_origin().and_then(|number| origins.get(number as usize)).map(|origin| origin.host);
        let entry = self.as_entry().and_then(|number| entries.get(number as usize)).map(|entry| entry.host);
        origin.or(entry).map_or("", |host| texts.text(host))
    }
}

impl EntryRecord {
    fn is_at(&self, wildcard: bool, host: &str, texts: &Texts) -> bool {
        self.wildcard == wildcard && texts.text(self.host) == host
    }

    fn explicit_port(&self) -> Option<u16> {
        (self.port != self.scheme.default_port()).then_some(self.port)
    }
}

/// The hash of a rule, made of its host's. Many origins may share a destination: what they are multiplied with (2^64 by
/// the golden ratio) keeps even neighbours far apart.
fn rule_hash(host: u64, origin: u32) -> u64 {
    host ^ u64::from(origin).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The highest bit: no file names two billion hosts.
const ENTRY: u32 = 1 << 31;
/// So many entries are looked through as fast as a table is asked, and take no place in it.
const FEW: usize = 8;
const IN_TABLE: u8 = u8::MAX;

#[cfg(test)]
mod tests {
    use super::super::domain::Domain;
    use super::*;

    fn origin(host: &str, port: Option<u16>) -> Origin {
        Origin { domain: Domain::parse(host).unwrap(), port }
    }

    fn pairs_open_to(hosts: &Hosts, origin: u32, host: &str, wildcard: bool) -> Vec<u32> {
        let mut pairs = Vec::new();
        hosts.each_open_to(origin, host, wildcard, |pair, _| pairs.push(pair));
        pairs
    }

    #[test]
    fn what_is_kept_of_a_host_is_small() {
        // Of each there may be 100,000, and twice as many while a new configuration takes the place of another.
        assert_eq!(size_of::<EntryRecord>(), 24);
        assert_eq!(size_of::<OriginRecord>(), 16);
        assert_eq!(size_of::<Rule>(), 8);
    }

    #[test]
    fn the_same_host_is_known_by_each_port_and_to_each_origin() {
        let mut hosts = Hosts::default();
        let name = hosts.keep("a.example to b.example");
        let origins = [origin("a.example", None), origin("a.example", Some(8443)), origin("c.example", None)];
        let numbers = origins.each_ref().map(|origin| hosts.add_origin(origin, name));
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(hosts.add_origin(&origins[1], name), 1);
        let texts = ["b.example", "b.example:8443", "b.example", "*.b.example"];
        for (pair, (text, to)) in (0..).zip(texts.into_iter().zip([0, 0, 1, 0])) {
            let entry = hosts.add_entry(&Entry::parse(text).unwrap(), (pair, name), false);
            hosts.open(to, entry..entry + 1);
        }
        let open_to = |origin, wildcard| {
            let mut pairs = pairs_open_to(&hosts, origin, "b.example", wildcard);
            pairs.sort_unstable();
            pairs
        };
        assert_eq!([open_to(0, false), open_to(1, false), open_to(2, false)], [vec![0, 1], vec![2], vec![]]);
        assert_eq!([open_to(0, true), open_to(1, true)], [vec![3], vec![]]);
        let site = |wildcard, port| hosts.destination(hosts.hash("b.example"), "b.example", wildcard, port);
        assert_eq!(
            [site(false, None), site(false, Some(8443)), site(false, Some(1)), site(true, None)],
            [Some(0), Some(1), None, Some(3)]
        );
        let shown: Vec<String> = hosts.entries().map(|(_, entry)| entry.to_string()).collect();
        assert_eq!(shown, ["https://b.example", "https://b.example:8443", "https://b.example", "https://*.b.example"]);
    }

    #[test]
    fn few_entries_and_many_are_found_alike() {
        for count in [0, 1, FEW, FEW + 1, 1000] {
            let mut hosts = Hosts::default();
            let new = hosts.add_origin(&origin("a.example", None), TextAt::default());
            for number in 0..number(count) {
                let entry = Entry::parse(&format!("h{number}.example")).unwrap();
                hosts.add_entry(&entry, (number, TextAt::default()), false);
            }
            hosts.open(new, 0..number(count));
            for pair in 0..number(count) {
                let host = format!("h{pair}.example");
                assert_eq!(pairs_open_to(&hosts, new, &host, false), [pair]);
            }
            assert!(pairs_open_to(&hosts, new, "h.example", false).is_empty());
        }
    }
}
