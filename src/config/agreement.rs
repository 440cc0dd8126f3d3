//! What pairs must agree about: one host lands in one way.

use std::collections::HashMap;

use super::fault::{Faults, Place};
use crate::link::{DomainPair, Scheme};

/// What a `Host` can tell of a destination: its name, whether it is a `*.` one, and the port.
type Asked<'a> = (&'a str, bool, Option<u16>);

/// Pairs that share a destination must agree on its landing and parameter; and a host that is served under both http
/// and https can't land, since its `Host` does not tell which of the two was asked.
pub(super) fn check(pairs: &[DomainPair], places: &[Vec<Place>], faults: &mut Faults) {
    let mut first: HashMap<Asked<'_>, (&DomainPair, Scheme)> = HashMap::new();
    for (pair, places) in pairs.iter().zip(places) {
        for (entry, at) in pair.destinations.iter().zip(places) {
            let asked = (entry.domain().as_str(), entry.is_wildcard(), entry.explicit_port());
            let (other, scheme) = *first.entry(asked).or_insert((pair, entry.scheme()));
            if other.landing != pair.landing {
                faults.add(
                    *at,
                    format!("the pairs `{}` and `{}` disagree about the landing of this host", other.name, pair.name),
                    "give both the same `landing`, or set it once in `defaults` and write `landing: {}` in both",
                );
            } else if pair.landing.is_some() && other.parameter != pair.parameter {
                faults.add(
                    *at,
                    format!("the pairs `{}` and `{}` disagree about the parameter of this host", other.name, pair.name),
                    "give both the same `parameter`",
                );
            } else if pair.landing.is_some() && scheme != entry.scheme() {
                faults.add(
                    *at,
                    "this host lands under http and https, which its `Host` can't tell apart",
                    "keep the https one, or give one of them its port",
                );
            }
        }
    }
}
