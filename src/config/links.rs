//! Named links: `/go/checkout` goes where `links` says.

use std::collections::HashSet;

use super::fault::Faults;
use super::raw::{RawLinks, RawPair};
use super::text::{Placed, Text};
use crate::link::{DomainPair, Entries, Entry, NotAllowed, Target, is_plain_name};

/// Checks each link against the destinations of its own pair.
pub(super) fn links(raw: &RawLinks, destinations: &[Entry], faults: &mut Faults) -> Vec<(String, Target)> {
    let entries = Entries::of(destinations);
    let allow_list = entries.allow_list();
    let mut links = Vec::new();
    for (name, target) in &raw.0 {
        check_name(name, faults);
        let Some(url) = target_url(target, destinations, faults) else { continue };
        // With a faulty destination nothing can be admitted, and that fault is told already.
        match allow_list.admit(url) {
            Ok(destination) => links.push((name.value.clone(), destination.target().clone())),
            Err(_) if destinations.is_empty() => {}
            Err(why) => faults.add(
                target,
                format!("the link `{}` goes where its pair does not: {why}", name.value),
                match why {
                    NotAllowed::Host => "add that host to `destination`, or change the link",
                    NotAllowed::Scheme | NotAllowed::Port | NotAllowed::Path => {
                        "make the link's scheme, port and path those of `destination`, or list them there too"
                    }
                },
            ),
        }
    }
    links
}

fn check_name(name: &Text, faults: &mut Faults) {
    if RESERVED.contains(&name.value.as_str()) {
        faults.add(name, format!("the link name `{}` is reserved", name.value), "choose another name");
    } else if !is_plain_name(&name.value) || name.value == "." || name.value == ".." {
        faults.add(
            name,
            format!("`{}` is no name for a link", name.value),
            "write 1 to 64 letters, digits, `.`, `_` or `-`",
        );
    }
}

fn target_url(target: &Text, destinations: &[Entry], faults: &mut Faults) -> Option<Target> {
    let absolute = if target.value.starts_with('/') && !target.value.starts_with("//") {
        let origin = match destinations {
            [only] => only.origin(),
            _ => None,
        };
        let Some(origin) = origin else {
            if !destinations.is_empty() {
                faults.add(
                    target,
                    "a path alone needs exactly one destination, and no `*.` one",
                    "write the whole address: `https://HOST/PATH`",
                );
            }
            return None;
        };
        format!("{origin}{}", target.value)
    } else {
        target.value.clone()
    };
    Target::parse(absolute)
        .map_err(|why| {
            faults.add(
                target,
                format!("the link's target is no address to go to: {why}"),
                "write a path that begins with `/`, or an address that begins with `https://`",
            );
        })
        .ok()
}

/// Finds pairs that share an origin and give it two links of one name.
pub(super) fn check_names_once(raw: &[Placed<RawPair>], pairs: &[DomainPair], faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (raw, pair) in raw.iter().zip(pairs) {
        for (name, _) in raw.value.links.iter().flat_map(|links| &links.0) {
            let taken = pair.origins.iter().filter(|origin| !seen.insert((*origin, &name.value)));
            if let Some(origin) = taken.last() {
                faults.add(
                    name,
                    format!("{origin} has a link `{}` already", name.value),
                    "give one of the two another name",
                );
            }
        }
    }
}

/// What crosslink serves under the route itself, now or later.
const RESERVED: &[&str] = &["link.js", "pairs.json", "forget"];
