//! All hosts of the configuration, each found by one look into a table.
//!
//! A configuration may name 100,000 of them. So a name stands once in one long text, what is known of it in a record of
//! a few numbers, and the tables hold the numbers of records: some 20 to 35 bytes a host besides its name, where a map
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
    kinds: Vec<Kind>,
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
    pair: u32,
    kind: u32,
}

/// What an entry says besides its host. Most say the same as one shortly before them, and then share it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    path: Box<str>,
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
        let kind = self.share(Kind {
            path: entry.path().into(),
            port: entry.port(),
            scheme: entry.scheme(),
            wildcard: entry.is_wildcard(),
            // A name has at most 253 bytes.
            site_length: u8::try_from(site.map_or(0, str::len)).unwrap_or(0),
        });
        self.entries.push(EntryRecord { host: self.texts.keep_as_part(host, name), pair, kind });
        self.has_wildcards |= entry.is_wildcard();
        let hash = self.hash(host);
        if self.destination(hash, host, entry.is_wildcard(), entry.explicit_port()).is_none() {
            self.add_site(hash, Site::entry(new));
        }
        new
    }

    /// Opens entries that follow each other to the visitors of an origin.
    pub(super) fn open(&mut self, origin: u32, entries: Range<u32>) {
        let has_wildcards = entries.clone().filter_map(|number| self.record(number)).any(|(_, kind)| kind.wildcard);
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
        self.kinds.shrink_to_fit();
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
            let record = site.as_entry().and_then(|number| self.record(number));
            record.is_some_and(|record| self.is_at(record, wildcard, host) && record.1.explicit_port() == port)
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
            if let Some(record) = self.record(number).filter(|record| self.is_at(*record, wildcard, host)) {
                look(record.0.pair, self.entry_ref(record));
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
            if let Some(record) = self.record(number) {
                look(self.entry_ref(record));
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
        self.record(number).map(|record| (record.0.pair, self.entry_ref(record)))
    }

    /// The numbers of all entries, in the order of the file.
    pub(super) fn entries(&self) -> Range<u32> {
        0..number(self.entries.len())
    }

    /// All origins, in the order in which the file first names them: each host, and the port that it must have.
    pub(super) fn origins(&self) -> impl Iterator<Item = (&str, Option<u16>)> {
        self.origins.iter().map(|origin| (self.texts.text(origin.host), origin.port()))
    }

    /// The host of an origin.
    pub(super) fn origin_host(&self, number: u32) -> Option<&str> {
        self.origins.get(number as usize).map(|origin| self.texts.text(origin.host))
    }

    /// The number of a kind. Of very many only the latest are looked at.
    fn share(&mut self, kind: Kind) -> u32 {
        let first = self.kinds.len().saturating_sub(RECENT);
        let recent = self.kinds.iter().skip(first).position(|recent| *recent == kind);
        let at = recent.map_or(self.kinds.len(), |recent| first + recent);
        if at == self.kinds.len() {
            self.kinds.push(kind);
        }
        number(at)
    }

    fn record(&self, number: u32) -> Option<(&EntryRecord, &Kind)> {
        let entry = self.entries.get(number as usize)?;
        Some((entry, self.kinds.get(entry.kind as usize)?))
    }

    fn is_at(&self, (entry, kind): (&EntryRecord, &Kind), wildcard: bool, host: &str) -> bool {
        kind.wildcard == wildcard && self.texts.text(entry.host) == host
    }

    fn entry_ref<'h>(&'h self, (entry, kind): (&EntryRecord, &'h Kind)) -> EntryRef<'h> {
        let host = self.texts.text(entry.host);
        let site = host.len().checked_sub(kind.site_length.into()).and_then(|start| host.get(start..));
        EntryRef {
            scheme: kind.scheme,
            host,
            wildcard: kind.wildcard,
            port: kind.port,
            path: &kind.path,
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

impl Kind {
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
/// How many kinds are looked at. Registrable domains have some thirty lengths, and little else differs.
const RECENT: usize = 64;

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
        assert_eq!(size_of::<EntryRecord>(), 16);
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
        let shown: Vec<String> =
            hosts.entries().filter_map(|number| hosts.entry(number)).map(|(_, entry)| entry.to_string()).collect();
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

    #[test]
    fn entries_that_differ_only_in_their_hosts_share_the_rest() {
        let mut hosts = Hosts::default();
        let texts = |round: usize| {
            let of = move |n: usize| [format!("pay-{round}-{n}.example/p{n}"), format!("pay-{round}-{n}.example")];
            (0..RECENT).flat_map(of)
        };
        for text in (0..3).flat_map(texts) {
            hosts.add_entry(&Entry::parse(&text).unwrap(), (0, TextAt::default()), false);
        }
        // What comes again is found among the latest, and kept again where it is not among them any more.
        assert_eq!((hosts.entries().len(), hosts.kinds.len()), (6 * RECENT, 3 * RECENT + 3));
        let shown = hosts.entries().filter_map(|number| hosts.entry(number)).map(|(_, entry)| entry.to_string());
        assert!(shown.eq((0..3).flat_map(texts).map(|text| format!("https://{text}"))));
    }
}
