//! What pairs must agree about: one host lands in one way.

use std::collections::HashMap;
use std::sync::Arc;

use super::fault::{Faults, Place};
use crate::link::{DomainPair, Entry, Scheme};

/// What a `Host` can tell of a destination: its name, whether it is a `*.` one, and the port.
type Asked<'a> = (&'a str, bool, Option<u16>);

/// The first pair that names a destination, and under which scheme.
type First<'a> = HashMap<Asked<'a>, (&'a DomainPair, Scheme)>;

/// Pairs that share a destination, or of which one names it and the other a `*.` above it, must agree on its landing
/// and parameter; and a host that is served under both http and https can't land, since its `Host` does not tell which
/// of the two was asked.
///
/// `places` has the place of each destination of each pair.
pub(super) fn check(pairs: &[DomainPair], places: &[Place], faults: &mut Faults) {
    if pairs.iter().all(|pair| pair.landing.is_none()) {
        // There is nothing to disagree about.
        return;
    }
    let entries = pairs.iter().flat_map(|pair| pair.destinations.iter().map(move |entry| (pair, entry)));
    let mut first = First::new();
    for (pair, entry) in entries.clone() {
        let asked = (entry.domain().as_str(), entry.is_wildcard(), entry.explicit_port());
        first.entry(asked).or_insert((pair, entry.scheme()));
    }
    let has_wildcards = entries.clone().any(|(_, entry)| entry.is_wildcard());
    for ((pair, entry), at) in entries.zip(places) {
        let mut others = others(entry, has_wildcards, &first);
        if let Some((problem, hint)) = others.find_map(|other| disagreement(pair, entry, other)) {
            faults.add(*at, problem, hint);
        }
    }
}

/// The first pair that names the same destination, and those that name a `*.` above it.
fn others<'a>(
    entry: &'a Entry,
    has_wildcards: bool,
    first: &'a First<'a>,
) -> impl Iterator<Item = (&'a DomainPair, Scheme)> {
    let port = entry.explicit_port();
    let own = (entry.domain().as_str(), entry.is_wildcard(), port);
    let above = entry.names_above().take_while(move |_| has_wildcards).map(move |name| (name, true, port));
    std::iter::once(own).chain(above).filter_map(|asked| first.get(&asked).copied())
}

fn disagreement(pair: &DomainPair, entry: &Entry, other: (&DomainPair, Scheme)) -> Option<(String, &'static str)> {
    let (other, scheme) = other;
    let names = || format!("the pairs `{}` and `{}`", other.name, pair.name);
    if Arc::ptr_eq(&other.settings, &pair.settings) && (pair.landing.is_none() || scheme == entry.scheme()) {
        return None;
    }
    if other.landing != pair.landing {
        return Some((
            format!("{} disagree about the landing of this host", names()),
            "give both the same `landing`, or set it once in `defaults` and write `landing: {}` in both",
        ));
    }
    pair.landing.as_ref()?;
    if other.bind_user_agent != pair.bind_user_agent {
        return Some((
            format!("{} disagree about `bind_user_agent` for this host", names()),
            "give both the same `bind_user_agent`",
        ));
    }
    if other.consent.gpc != pair.consent.gpc {
        return Some((format!("{} disagree about `consent.gpc` for this host", names()), "give both the same `gpc`"));
    }
    if other.post != pair.post {
        return Some((format!("{} disagree about `post` for this host", names()), "give both the same `post`"));
    }
    if other.kissmetrics != pair.kissmetrics {
        return Some((
            format!("{} disagree about `kissmetrics` for this host", names()),
            "give both the same `kissmetrics`",
        ));
    }
    if other.events.arrived != pair.events.arrived {
        return Some((
            format!("{} disagree about `kissmetrics.events.arrived` for this host", names()),
            "give both the same name of the event, or none",
        ));
    }
    if other.parameter != pair.parameter {
        return Some((
            format!("{} disagree about the parameter of this host", names()),
            "give both the same `parameter`",
        ));
    }
    (scheme != entry.scheme()).then(|| {
        (
            "this host lands under http and https, which its `Host` can't tell apart".to_owned(),
            "keep the https one, or give one of them its port",
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_host_below_a_wildcard_may_land_otherwise_only_where_that_does_not_reach() {
        for (host, agrees) in [
            ("pay.shop.example", false),
            ("'*.pay.shop.example'", false),
            ("shop.example", true),
            ("bucket.s3.amazonaws.com", true),
            ("'*.bucket.s3.amazonaws.com'", true),
            ("ec2.amazonaws.com", false),
        ] {
            let text = format!(
                "
pairs:
  - {{ origin: www.yoursite.com, destination: ['*.shop.example', '*.amazonaws.com'], landing: {{}} }}
  - {{ origin: www.yoursite.com, destination: {host} }}
"
            );
            let faults = parse(&text).err().unwrap_or_default();
            let is_said = |problem: &str| problem.ends_with("disagree about the landing of this host");
            assert!(faults.is_empty() == agrees && faults.iter().all(|fault| is_said(&fault.problem)), "{faults:?}");
        }
    }
}
