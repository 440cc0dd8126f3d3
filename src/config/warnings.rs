//! What works, but was perhaps not meant so, where it takes more than one section to see it.

use std::collections::{HashMap, HashSet};

use super::fault::{Faults, Place};
use super::raw::{RawConfig, RawPair};
use super::text::Placed;
use crate::link::{CookieName, DomainPair, Entry, Existing, Origin, Scheme, Seal};

/// Warns of what only shows once every pair is known.
pub(super) fn warn(raw: &RawConfig, pairs: &[DomainPair], faults: &mut Faults) {
    warn_of_tokens_without_memory(raw, pairs, faults);
    warn_of_shared_cookies(&raw.pairs.value, pairs, faults);
    warn_of_idle_settings(&raw.pairs.value, pairs, faults);
    warn_of_nothing_told(raw, pairs, faults);
}

/// A visit leaves something to tell where an identity is adopted, and where the departure has a name.
fn warn_of_nothing_told(raw: &RawConfig, pairs: &[DomainPair], faults: &mut Faults) {
    let named = raw.pairs.value.iter().zip(pairs);
    let named = named.filter_map(|(raw, pair)| Some((raw.value.kissmetrics.as_deref()?, pair)));
    for (kissmetrics, pair) in named {
        let events = kissmetrics.value.events.as_ref();
        if events.is_some_and(|events| events.left.is_none() && events.arrived.is_none()) {
            let problem = "no event has a name here, so none is recorded";
            faults.warn(
                kissmetrics,
                problem,
                "name them: `events: { left: NAME, arrived: NAME }`, or leave `events` out",
            );
        }
        if pair.landing.is_some() {
            continue;
        }
        if let Some(arrived) = events.and_then(|events| events.arrived.as_ref()) {
            faults.warn(arrived, "nobody is seen to arrive without a `landing`", "give the pair a `landing`");
        } else if raw.api.is_none() && pair.events.left.is_none() {
            let problem =
                "of this pair's visitors nothing is told: it has neither a `landing` nor a name for `events.left`";
            faults.warn(kissmetrics, problem, "add one of them, or an `api` by which your programs tell");
        }
    }
}

/// Without a memory of used tokens, a sealed hand-off is no better than a plain one against whoever copies a URL in
/// time.
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
    let mut sealed: HashMap<(&str, Hosts<'_>), &DomainPair> = HashMap::new();
    for pair in pairs.iter().filter(|pair| accepts(pair) == Some(Seal::Sealed)) {
        for cookie in heeded(pair) {
            for hosts in pair.destinations.iter().flat_map(Hosts::sharing) {
                sealed.entry((cookie, hosts)).or_insert(pair);
            }
        }
    }
    for (raw, pair) in raw.iter().zip(pairs).filter(|(_, pair)| accepts(pair) == Some(Seal::Plain)) {
        let (Some(written), Some(landing)) = (&*raw.value.landing, &pair.landing) else { continue };
        let cookie = landing.cookie.as_str();
        let shared = pair.destinations.iter().find_map(|entry| {
            let domain = landing.domain.attribute(entry.domain().registrable());
            let other = Hosts::reached(entry, domain).find_map(|hosts| sealed.get(&(cookie, hosts)))?;
            Some((entry, domain, other))
        });
        let Some((entry, domain, other)) = shared else { continue };
        let (hosts, hint) = match domain {
            Some(domain) => (
                format!("for all of {domain}"),
                "write `accept: sealed` here too, or keep the cookies apart with `domain: host` or another `cookie`",
            ),
            None => (
                format!("on every port of {}", entry.domain()),
                "write `accept: sealed` here too, or keep the cookies apart with another `cookie`",
            ),
        };
        let accept = written.value.as_ref().and_then(|landing| landing.accept.as_deref());
        faults.warn(
            accept.map_or_else(|| Place::from(&**written), Place::from),
            format!(
                "here a plain `{}` sets the cookie `{cookie}` {hosts}, also for `{}`, which believes only sealed ones",
                pair.parameter.as_str(),
                other.name
            ),
            hint,
        );
    }
}

/// The cookies by which a pair's landing tells who the visitor is: those that it sets, and where what is there may
/// stay, those that it looks for.
fn heeded(pair: &DomainPair) -> impl Iterator<Item = &str> {
    let landing = pair.landing.as_ref();
    let own = landing.into_iter().flat_map(|landing| [Some(&landing.cookie), landing.anonymous_cookie.as_ref()]);
    let keeps = landing.is_some_and(|landing| matches!(landing.existing, Some(Existing::Keep | Existing::KeepNamed)));
    own.flatten().chain(pair.cookies.iter().filter(move |_| keeps)).map(CookieName::as_str)
}

/// Hosts that can have a cookie. Ports are left aside, since cookies don't know them.
#[derive(PartialEq, Eq, Hash)]
enum Hosts<'a> {
    /// One.
    One(&'a str),
    /// Some below a name.
    Below(&'a str),
    /// All below a name.
    AllBelow(&'a str),
    /// Some that a cookie for a domain reaches: the name itself or some below it.
    Within(&'a str),
}

impl<'a> Hosts<'a> {
    /// What an entry's hosts are found under by whoever sets a cookie for some of them.
    fn sharing(entry: &'a Entry) -> impl Iterator<Item = Self> {
        let own = entry.domain().as_str();
        let all = if entry.is_wildcard() { Self::AllBelow(own) } else { Self::One(own) };
        let below = entry.is_wildcard().then_some(own).into_iter().chain(entry.names_above()).map(Self::Below);
        let within = std::iter::once(own).chain(entry.domain().parents()).map(Self::Within);
        std::iter::once(all).chain(below).chain(within)
    }

    /// Under which of these to look for the hosts that a cookie reaches which is set on an entry's hosts, for a domain
    /// or for the one host that was asked.
    fn reached(entry: &'a Entry, domain: Option<&'a str>) -> impl Iterator<Item = Self> {
        let own = domain.unwrap_or(entry.domain().as_str());
        let is_any_below = domain.is_none() && entry.is_wildcard();
        let first = match domain {
            Some(domain) => Self::Within(domain),
            None if is_any_below => Self::Below(own),
            None => Self::One(own),
        };
        let above = entry.names_above().filter(move |name| name.len() < own.len());
        std::iter::once(first).chain(is_any_below.then_some(own).into_iter().chain(above).map(Self::AllBelow))
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
        let above = entry.names_above().map(|name| (name, true));
        let hosts = std::iter::once((entry.domain().as_str(), entry.is_wildcard())).chain(above);
        let paths = std::iter::successors(Some(entry.path()), |path| path.rsplit_once('/').map(|(above, _)| above));
        hosts
            .flat_map(move |(host, below)| paths.clone().map(move |path| Self { host, below, path, ..Self::of(entry) }))
    }
}

/// A setting that a hand-off follows: its name, whether two pairs differ in it, and where a pair has it.
type Setting = (&'static str, fn(&DomainPair, &DomainPair) -> bool, fn(&RawPair) -> Option<Place>);

const SETTINGS: [Setting; 12] = [
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
    ("identity.header", |a, b| a.header != b.header, |raw| raw.identity.as_ref()?.header.as_ref().map(Place::from)),
    ("identity.decode", |a, b| a.decode != b.decode, |raw| raw.identity.as_ref()?.decode.as_ref().map(Place::from)),
    ("mint", |a, b| a.mint != b.mint, |raw| raw.mint.as_ref().map(|mint| Place::from(&mint.cookie))),
    ("post", |a, b| a.post != b.post, |raw| raw.post.as_deref().map(Place::from)),
    ("kissmetrics", |a, b| a.kissmetrics != b.kissmetrics, |raw| raw.kissmetrics.as_deref().map(Place::from)),
    (
        "kissmetrics.events",
        |a, b| a.events != b.events,
        |raw| {
            let events = raw.kissmetrics.as_deref()?.value.events.as_ref()?;
            events.left.as_ref().or(events.arrived.as_ref()).map(Place::from)
        },
    ),
];
