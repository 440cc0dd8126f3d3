//! The hosts that crosslink answers for, found by the `Host` of a request.

use super::domain::{HostPort, is_normal, parents};
use super::hosts::Hosts;

/// What a host is, by the numbers that [`Hosts`] knows: an origin, an entry among the destinations, or both.
pub(super) struct Site {
    pub origin: Option<u32>,
    pub entry: Option<u32>,
}

/// Finds a host as host and port first, then as host alone; a destination also below a `*.` entry. `None` for a host
/// that is neither.
pub(super) fn find(hosts: &Hosts, asked: &HostPort<'_>) -> Option<Site> {
    let host = &*asked.host;
    let hash = hosts.hash(host);
    let origin = by_port(asked, |port| hosts.origin(hash, host, port));
    let entry = by_port(asked, |port| hosts.destination(hash, host, false, port)).or_else(|| find_below(hosts, asked));
    (origin.is_some() || entry.is_some()).then_some(Site { origin, entry })
}

/// Finds an origin in the same way.
pub(super) fn find_origin(hosts: &Hosts, asked: &HostPort<'_>) -> Option<u32> {
    let hash = hosts.hash(&asked.host);
    by_port(asked, |port| hosts.origin(hash, &asked.host, port))
}

fn find_below(hosts: &Hosts, asked: &HostPort<'_>) -> Option<u32> {
    let host = &*asked.host;
    // Only a host in its normal form can be one: the Location is made from it, and a browser must read it back.
    if !hosts.has_wildcards(None) || !is_normal(host) {
        return None;
    }
    let mut above = parents(host).map(|name| (hosts.hash(name), name));
    above
        .find_map(|(hash, name)| by_port(asked, |port| hosts.destination(hash, name, true, port)))
        .filter(|number| hosts.entry(*number).is_some_and(|(_, entry)| entry.owns(host)))
}

/// What there is with the port that is asked for, else with none.
fn by_port<T>(asked: &HostPort<'_>, look: impl Fn(Option<u16>) -> Option<T>) -> Option<T> {
    look(asked.port).or_else(|| asked.port.and_then(|_| look(None)))
}
