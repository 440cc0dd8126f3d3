//! What works, but was perhaps not meant so, where it takes more than one section to see it.

use std::collections::{HashMap, HashSet};

use super::fault::{Faults, Place};
use super::raw::{RawConfig, RawPair};
use super::text::Placed;
use crate::link::{DomainPair, Entry, Origin, Scheme, Seal};

/// Warns of what only shows once every pair is known.
pub(super) fn warn(raw: &RawConfig, pairs: &[DomainPair], faults: &mut Faults) {
    warn_of_tokens_without_memory(raw, pairs, faults);
    warn_of_shared_cookies(&raw.pairs.value, pairs, faults);
    warn_of_idle_settings(&raw.pairs.value, pairs, faults);
}

/// Without a memory of used tokens, a sealed hand-off is no better than a plain one against whoever copies a URL in time.
fn warn_of_tokens_without_memory(raw: &RawConfig, pairs: &[DomainPair], faults: &mut Faults) {
    let Some(off) = raw.replay.as_ref().filter(|replay| replay.value == "off") else { return };
    if pairs.iter().any(|pair| accepts(pair) == Some(Seal::Sealed)) {
        faults.warn(
            off,
            "used tokens are not remembered: whoever has one lands with it again while it lives",
            "leave `replay` out, and each token is good once",
        );
    }
}

/// Which identities a pair's landing believes, if it has one.
fn accepts(pair: &DomainPair) -> Option<Seal> {
    pair.landing.as_ref().map(|landing| landing.accept)
}

/// A cookie that only a sealed identity may set is of little worth if a landing that believes plain ones sets a cookie
/// of that name for the same hosts.
fn warn_of_shared_cookies(raw: &[Placed<RawPair>], pairs: &[DomainPair], faults: &mut Faults) {
    let any = |seal| pairs.iter().any(|pair| accepts(pair) == Some(seal));
    if !any(Seal::Plain) || !any(Seal::Sealed) {
        return;
    }
    // By the cookie's name and each domain for which a cookie reaches a host of the pair.
    let mut sealed: HashMap<(&str, &str), &DomainPair> = HashMap::new();
    for pair in pairs.iter().filter(|pair| accepts(pair) == Some(Seal::Sealed)) {
        let Some(landing) = &pair.landing else { continue };
        for domain in pair.destinations.iter().map(Entry::domain) {
            for reaching in std::iter::once(domain.as_str()).chain(domain.parents()) {
                sealed.entry((&landing.cookie, reaching)).or_insert(pair);
            }
        }
    }
    for (raw, pair) in raw.iter().zip(pairs).filter(|(_, pair)| accepts(pair) == Some(Seal::Plain)) {
        let (Some(written), Some(landing)) = (&raw.value.landing, &pair.landing) else { continue };
        let accept = written.value.as_ref().and_then(|landing| landing.accept.as_deref());
        let mut domains =
            pair.destinations.iter().filter_map(|entry| landing.domain.attribute(entry.domain().registrable()));
        let shared = domains.find_map(|domain| Some((domain, sealed.get(&(landing.cookie.as_str(), domain))?)));
        if let Some((domain, other)) = shared {
            faults.warn(
                accept.map_or_else(|| Place::from(&**written), Place::from),
                format!(
                    "here a plain `{}` sets the cookie `{}` for all of {domain}, also for `{}`, which believes only sealed ones",
                    pair.parameter.as_str(),
                    landing.cookie,
                    other.name
                ),
                "write `accept: sealed` here too, or keep the cookies apart with `domain: host` or another `cookie`",
            );
        }
    }
}

/// Of pairs that admit the same destination for the same origin the first one makes the hand-off: what the others say
/// about it does nothing.
fn warn_of_idle_settings(raw: &[Placed<RawPair>], pairs: &[DomainPair], faults: &mut Faults) {
    let mixed = mixed_origins(pairs);
    let mut first: HashMap<&Origin, HashMap<Reach<'_>, usize>> = HashMap::new();
    for (number, (raw, pair)) in raw.iter().zip(pairs).enumerate() {
        let mut taken: Vec<(&Origin, &Entry, &DomainPair)> = Vec::new();
        for origin in pair.origins.iter().filter(|origin| mixed.contains(origin)) {
            let first = first.entry(origin).or_default();
            for entry in &pair.destinations {
                first.entry(Reach::of(entry)).or_insert(number);
                let winner = Reach::wider(entry).filter_map(|reach| first.get(&reach)).min();
                taken.extend(winner.and_then(|winner| pairs.get(*winner)).map(|winner| (origin, entry, winner)));
            }
        }
        for (name, differs, place) in SETTINGS {
            if let Some((origin, entry, winner)) = taken.iter().find(|(_, _, winner)| differs(winner, pair)) {
                let named = || raw.value.name.as_ref().map_or_else(|| Place::from(&raw.value.origin), Place::from);
                faults.warn(
                    place(&raw.value).unwrap_or_else(named),
                    format!("`{}` comes before this pair: from {origin} to {entry} its `{name}` counts", winner.name),
                    format!("give both the same `{name}`, put this pair first, or list the destination in one of them"),
                );
            }
        }
    }
}

/// The origins whose pairs do not all say the same; the others need no closer look, however many pairs they have.
fn mixed_origins(pairs: &[DomainPair]) -> HashSet<&Origin> {
    if DomainPair::share_settings(pairs) {
        return HashSet::new();
    }
    let mut first: HashMap<&Origin, &DomainPair> = HashMap::new();
    let differ = |one: &DomainPair, other: &DomainPair| SETTINGS.iter().any(|(_, differ, _)| differ(one, other));
    let listed = pairs.iter().flat_map(|pair| pair.origins.iter().map(move |origin| (origin, pair)));
    listed
        .filter(|(origin, pair)| differ(first.entry(*origin).or_insert(*pair), pair))
        .map(|(origin, _)| origin)
        .collect()
}

/// What an entry admits.
#[derive(PartialEq, Eq, Hash)]
struct Reach<'a> {
    scheme: Scheme,
    host: &'a str,
    /// Whether it is every name below the host, and not the host itself.
    below: bool,
    port: Option<u16>,
    path: &'a str,
}

impl<'a> Reach<'a> {
    fn of(entry: &'a Entry) -> Self {
        let (host, below) = (entry.domain().as_str(), entry.is_wildcard());
        Self { scheme: entry.scheme(), host, below, port: entry.explicit_port(), path: entry.path() }
    }

    /// Whatever admits all that this entry does: itself, the `*.` above it, and each of them with a path above its own.
    fn wider(entry: &'a Entry) -> impl Iterator<Item = Self> {
        // A `*.` reaches only names of the same owner.
        let shortest = entry.domain().registrable().map_or(0, str::len);
        let above = entry.domain().parents().take_while(move |name| name.len() >= shortest).map(|name| (name, true));
        let hosts = std::iter::once((entry.domain().as_str(), entry.is_wildcard())).chain(above);
        let paths = std::iter::successors(Some(entry.path()), |path| path.rsplit_once('/').map(|(above, _)| above));
        hosts
            .flat_map(move |(host, below)| paths.clone().map(move |path| Self { host, below, path, ..Self::of(entry) }))
    }
}

/// A setting that a hand-off follows: its name, whether two pairs differ in it, and where a pair has it.
type Setting = (&'static str, fn(&DomainPair, &DomainPair) -> bool, fn(&RawPair) -> Option<Place>);

const SETTINGS: [Setting; 6] = [
    ("hand_off", |a, b| a.hand_off != b.hand_off, |raw| raw.hand_off.as_deref().map(Place::from)),
    (
        "bind_user_agent",
        |a, b| a.bind_user_agent != b.bind_user_agent,
        |raw| raw.bind_user_agent.as_deref().map(Place::from),
    ),
    (
        "consent.require_cookie",
        |a, b| a.consent.require_cookie != b.consent.require_cookie,
        |raw| Some(Place::from(&raw.consent.as_ref()?.require_cookie.as_ref()?.name)),
    ),
    ("consent.gpc", |a, b| a.consent.gpc != b.consent.gpc, |raw| raw.consent.as_ref()?.gpc.as_ref().map(Place::from)),
    ("parameter", |a, b| a.parameter != b.parameter, |raw| raw.parameter.as_deref().map(Place::from)),
    ("identity.cookies", |a, b| a.cookies != b.cookies, |raw| raw.identity.as_ref()?.cookies.as_ref().map(Place::from)),
];
