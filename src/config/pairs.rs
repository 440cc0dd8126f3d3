//! The list of pairs: who may go where.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::fault::{Faults, Place};
use super::landing::{Of, landing};
use super::raw::{RawDefaults, RawLanding, RawPair};
use super::text::{Placed, Text, as_list, texts};
use super::trust::{consent, seal};
use super::value::{truth, word};
use super::{agreement, identity, links, outbox};
use crate::link::{
    BadEntry, BadParameter, Decode, DomainPair, Entry, Keys, Landing, Origin, Parameter, Post, Scheme, Seal, Settings,
};

/// Checks every pair, and all of them together.
pub(super) fn pairs(
    raw: &Placed<Vec<Placed<RawPair>>>,
    defaults: &RawDefaults,
    keys: &Keys,
    faults: &mut Faults,
) -> Vec<DomainPair> {
    if raw.value.is_empty() {
        faults.add(raw, "there are no pairs", "add one: `- origin: HOST` and its `destination: HOST`");
    }
    check_defaults(defaults, keys, faults);
    let mut made = Made::default();
    let pairs: Vec<DomainPair> =
        raw.value.iter().map(|raw| pair(&raw.value, defaults, keys, &mut made, faults)).collect();
    check_names(&raw.value, &pairs, faults);
    links::check_names_once(&raw.value, &pairs, faults);
    agreement::check(&pairs, &made.places, faults);
    outbox::check_sites(&raw.value, &pairs, faults);
    pairs
}

/// Defaults that no pair uses are checked all the same.
fn check_defaults(defaults: &RawDefaults, keys: &Keys, faults: &mut Faults) {
    parameter(defaults.parameter.as_ref(), faults);
    identity::cookies(defaults.identity.as_ref(), faults);
    identity::header(defaults.identity.as_ref(), faults);
    if let Some(raw) = &*defaults.landing {
        let mut unused = Faults::default();
        let anywhere = Placed { value: Some(RawLanding::default()), at: ANYWHERE };
        let of = Of { destinations: &[], parameter: &Parameter::default(), keys };
        landing(Some(&anywhere), raw, &of, &mut unused);
        if let Err(found) = unused.finish() {
            faults.extend(found);
        }
    }
}

/// What is known of the pairs that are made already.
#[derive(Default)]
struct Made {
    /// The place of each destination of each pair.
    places: Vec<Place>,
    /// What the latest said.
    settings: VecDeque<Arc<Settings>>,
}

fn pair(raw: &RawPair, defaults: &RawDefaults, keys: &Keys, made: &mut Made, faults: &mut Faults) -> DomainPair {
    let origins = origins(raw, faults);
    let destinations = destinations(raw, &origins, &mut made.places, faults);
    let no_landing = RawLanding::default();
    let parameter = parameter(raw.parameter.as_deref().or(defaults.parameter.as_ref()), faults);
    let landing_defaults = defaults.landing.as_ref().unwrap_or(&no_landing);
    let of = Of { destinations: &destinations, parameter: &parameter, keys };
    let landing = landing(raw.landing.as_deref(), landing_defaults, &of, faults);
    let links = raw.links.as_ref().map(|raw| links::links(raw, &destinations, faults)).unwrap_or_default();
    let who = raw.identity.as_deref().or(defaults.identity.as_ref());
    let mut settings = Settings {
        cookies: identity::cookies(who, faults),
        header: identity::header(who, faults),
        decode: word(who.and_then(|raw| raw.decode.as_ref()), Decode::Percent, &DECODE, faults),
        hand_off: hand_off(raw, landing.as_ref(), keys, faults),
        bind_user_agent: truth(raw.bind_user_agent.as_deref(), faults),
        consent: consent(raw.consent.as_deref(), faults),
        post: word(raw.post.as_deref(), Post::Preserve, &POST, faults),
        landing,
        parameter,
        mint: None,
        kissmetrics: raw.kissmetrics.as_ref().and_then(|raw| outbox::site_name(&raw.value)),
        events: raw.kissmetrics.as_ref().map(|raw| outbox::events(&raw.value, faults)).unwrap_or_default(),
    };
    settings.mint = raw.mint.as_deref().map(|raw| identity::mint(raw, &settings, faults));
    DomainPair { name: name(raw).into(), origins, destinations, links, settings: made.share(settings) }
}

impl Made {
    /// Most pairs say the same as one shortly before them, and then share it.
    fn share(&mut self, settings: Settings) -> Arc<Settings> {
        if let Some(same) = self.settings.iter().find(|recent| ***recent == settings) {
            return Arc::clone(same);
        }
        let settings = Arc::new(settings);
        self.settings.push_front(Arc::clone(&settings));
        self.settings.truncate(RECENT);
        settings
    }
}

/// How identities leave: sealed by default if there is a key, and crosslink answers on both sides.
fn hand_off(raw: &RawPair, landing: Option<&Landing>, keys: &Keys, faults: &mut Faults) -> Seal {
    let by_default = if landing.is_some() && !keys.is_empty() { Seal::Sealed } else { Seal::Plain };
    let hand_off = seal(raw.hand_off.as_deref(), by_default, keys, faults);
    let at = raw.hand_off.as_deref().map_or_else(|| Place::from(&raw.origin), Place::from);
    if hand_off == Seal::Plain && landing.is_some_and(|landing| landing.accept == Seal::Sealed) {
        faults.warn(
            at,
            "identities leave in plain text here, but this landing believes only sealed ones",
            "leave out `hand_off: plain`, or write `landing: { accept: plain }`",
        );
    }
    if raw.hand_off.is_none() && landing.is_none() && !keys.is_empty() {
        faults.warn(
            at,
            "there are keys, but identities leave in plain text here, because this pair has no `landing`",
            "write `hand_off: sealed` if a crosslink with such a key answers there, or `hand_off: plain` if none does",
        );
    }
    hand_off
}

fn name(raw: &RawPair) -> String {
    let by_hosts = || {
        let first = |hosts| texts(hosts).next().map_or("", |text| text.value);
        [first(&raw.origin), " to ", first(&raw.destination)].concat()
    };
    raw.name.as_ref().map_or_else(by_hosts, |name| name.value.clone())
}

fn check_names(raw: &[Placed<RawPair>], pairs: &[DomainPair], faults: &mut Faults) {
    let mut seen = HashMap::new();
    for (raw, pair) in raw.iter().zip(pairs) {
        let at = raw.value.name.as_ref().map_or_else(|| Place::from(&raw.value.origin), Place::from);
        if pair.name.trim().is_empty() || pair.name.len() > 200 || pair.name.chars().any(char::is_control) {
            faults.add(at, "a pair needs a name that fits into a log", "write a few words, such as `shop-to-checkout`");
        } else if let Some(first) = seen.insert(&*pair.name, at.line) {
            faults.add(
                at,
                format!("the pair in line {first} is named `{}` too", pair.name),
                "give one of them another `name:`, or list all destinations in one pair",
            );
        }
    }
}

fn origins(raw: &RawPair, faults: &mut Faults) -> Vec<Origin> {
    if raw.origin.value.len() == 0 {
        faults.add(&raw.origin, "the list of origins is empty", "write the host that visitors come from");
    }
    let is_list = raw.origin.value.len() > 1;
    let mut seen = HashSet::new();
    let mut origins = Vec::with_capacity(raw.origin.value.len());
    for text in texts(&raw.origin) {
        match origin(text.value) {
            Ok(origin) if is_list && !seen.insert(origin.clone()) => {
                faults.add(&text, format!("the origin `{}` is listed twice", text.value), "keep one of them");
            }
            Ok(origin) => origins.push(origin),
            Err(why) => bad_host("origin", &text, why, faults),
        }
    }
    origins
}

fn origin(text: &str) -> Result<Origin, (&'static str, &'static str)> {
    if text.contains("://") || text.contains('/') {
        return Err(("is no bare host", "write only the host, such as `www.yoursite.com`"));
    }
    let entry = Entry::parse(text).map_err(explain)?;
    if entry.is_wildcard() {
        return Err(("has a wildcard", "list each origin's host; every one is told apart by its name"));
    }
    // Browsers leave the default port of either scheme out of the `Host`.
    let port = entry.explicit_port().filter(|port| *port != Scheme::Http.default_port());
    Ok(Origin { domain: entry.domain().clone(), port })
}

fn destinations(raw: &RawPair, origins: &[Origin], places: &mut Vec<Place>, faults: &mut Faults) -> Vec<Entry> {
    if raw.destination.value.len() == 0 {
        faults.add(&raw.destination, "the list of destinations is empty", "write the host that visitors go to");
    }
    let mut origins: Vec<_> = origins.iter().map(|origin| (&origin.domain, origin.port)).collect();
    origins.sort_unstable();
    let mut entries = Vec::with_capacity(raw.destination.value.len());
    for text in texts(&raw.destination) {
        let entry = match Entry::parse(text.value) {
            Ok(entry) => entry,
            Err(bad) => {
                bad_host("destination", &text, explain(bad), faults);
                continue;
            }
        };
        if !entry.is_wildcard() && origins.binary_search(&(entry.domain(), entry.explicit_port())).is_ok() {
            faults.add(
                &text,
                format!("the destination `{}` is the origin itself", text.value),
                "an identity needs no help on its own host; write the other one",
            );
        }
        if entry.scheme() == Scheme::Http {
            faults.warn(
                &text,
                "the identity travels to this destination unencrypted",
                "write `https://`, unless this is for a test on your own machine",
            );
        }
        entries.push(entry);
        places.push(text.at);
    }
    entries
}

/// Nothing at all, and several hosts in one text, are told apart from what is wrong with one.
fn bad_host(key: &str, text: &Placed<&str>, (problem, hint): (&str, &str), faults: &mut Faults) {
    if text.value.is_empty() {
        faults.add(text, format!("no {key} stands here"), "write a host, such as `www.yourshop.example`");
    } else if let Some(list) = as_list(text.value) {
        let hint = format!("several hosts are a list in brackets: `{key}: {list}`");
        faults.add(text, format!("the {key} `{}` is not one host", text.value), hint);
    } else {
        faults.add(text, format!("the {key} `{}` {problem}", text.value), hint);
    }
}

fn explain(bad: BadEntry) -> (&'static str, &'static str) {
    match bad {
        BadEntry::Scheme => ("has a scheme other than http and https", "write `https://HOST` or the host alone"),
        BadEntry::UserInfo => ("has a user name", "write the host without `user@`"),
        BadEntry::Wildcard => ("has a wildcard that is no `*.` in front of a host", "write `\"*.yourshop.example\"`"),
        BadEntry::PublicSuffix => {
            ("covers a public suffix, whose names belong to strangers", "write a domain that is yours behind the `*.`")
        }
        BadEntry::TrailingDot => ("ends in a dot, which no `Host` of a browser does", "leave out the dot"),
        BadEntry::Host => ("is no host", "write a name such as `checkout.yourshop.example`, or an IP address"),
        BadEntry::Port => ("has no usable port", "write a port from 1 to 65535 behind the colon"),
        BadEntry::Query => ("has a query or a fragment", "write at most a path; links may have a query"),
        BadEntry::Path => {
            ("has a path that can be read in two ways", "leave out dot segments, empty ones, `;`, `%2f` and `%5c`")
        }
    }
}

fn parameter(text: Option<&Text>, faults: &mut Faults) -> Parameter {
    let Some(text) = text else { return Parameter::default() };
    Parameter::parse(&text.value).unwrap_or_else(|bad| {
        match bad {
            BadParameter::Reserved => faults.add(
                text,
                format!("the parameter `{}` has a meaning of its own", text.value),
                "write another name, or leave the key out for `kmi`",
            ),
            BadParameter::Malformed => faults.add(
                text,
                format!("`{}` is no name for a parameter", text.value),
                "write 1 to 64 letters, digits, `.`, `_` or `-`",
            ),
        }
        Parameter::default()
    })
}

const DECODE: [(&str, Decode); 2] = [("percent", Decode::Percent), ("json", Decode::Json)];
const POST: [(&str, Post); 2] = [("preserve", Post::Preserve), ("refuse", Post::Refuse)];
/// How many different settings are looked at: with more, each pair would be compared with many that differ.
const RECENT: usize = 8;
/// The place of a value that stands nowhere.
const ANYWHERE: Place = Place { line: 1, column: 1, length: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("www.yoursite.com", "www.yoursite.com", None),
            ("WWW.yoursite.com:8443", "www.yoursite.com", Some(8443)),
            ("www.yoursite.com:443", "www.yoursite.com", None),
            ("www.yoursite.com:80", "www.yoursite.com", None),
            ("[::1]:8080", "[::1]", Some(8080)),
            ("[::1]", "[::1]", None),
        ] {
            let origin = origin(text).unwrap();
            assert_eq!((origin.domain.as_str(), origin.port), (host, port), "{text}");
        }
        for text in ["https://www.yoursite.com", "www.yoursite.com/shop", "*.yoursite.com", "*", "a:0", ""] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
