//! The hosts that crosslink answers for, found by the `Host` of a request.

use std::collections::HashMap;

use super::cookie::IdentityCookie;
use super::domain::{HostPort, is_normal, parents};
use super::entry::Entry;

/// What each host is: an origin, a destination, or both.
#[derive(Clone, Debug, Default)]
pub(super) struct Sites {
    exact: HashMap<String, Vec<Site>>,
    /// The destinations `*.host`, by host.
    below: HashMap<String, Vec<Site>>,
}

#[derive(Clone, Debug)]
struct Site {
    /// The port that the `Host` must name; `None` for any.
    port: Option<u16>,
    origin: Option<usize>,
    destination: Option<DestinationSite>,
}

/// A host that visitors are sent to.
#[derive(Clone, Debug)]
pub(super) struct DestinationSite {
    /// The place in the file of the pair that names it first.
    pub pair: usize,
    pub entry: Entry,
    /// The cookie that is set here; `None` where crosslink does not land.
    pub cookie: Option<IdentityCookie>,
}

impl Sites {
    /// Makes a host an origin, with the number of its rules, unless it has one; gives the number that it has then.
    pub(super) fn add_origin(&mut self, host: &str, port: Option<u16>, number: usize) -> usize {
        *site_at(&mut self.exact, host, port).origin.get_or_insert(number)
    }

    /// Makes the hosts of an entry destinations, unless they are.
    pub(super) fn add_destination(&mut self, site: DestinationSite) {
        let sites = if site.entry.is_wildcard() { &mut self.below } else { &mut self.exact };
        let (host, port) = (site.entry.domain().as_str().to_owned(), site.entry.explicit_port());
        site_at(sites, &host, port).destination.get_or_insert(site);
    }

    /// Finds a host as host and port first, then as host alone; a destination also below a `*.` entry.
    ///
    /// Gives the number of the origin's rules and the destination; `None` for a host that is neither.
    pub(super) fn find(&self, host: &HostPort<'_>) -> Option<(Option<usize>, Option<&DestinationSite>)> {
        let sites = self.exact.get(&*host.host).map(Vec::as_slice).unwrap_or_default();
        let origin = by_port(sites, host.port).find_map(|site| site.origin);
        let destination = by_port(sites, host.port).find_map(|site| site.destination.as_ref());
        let destination = destination.or_else(|| self.find_below(host));
        (origin.is_some() || destination.is_some()).then_some((origin, destination))
    }

    fn find_below(&self, host: &HostPort<'_>) -> Option<&DestinationSite> {
        // Only a host in its normal form can be one: the Location is made from it, and a browser must read it back.
        if self.below.is_empty() || !is_normal(&host.host) {
            return None;
        }
        parents(&host.host)
            .filter_map(|name| self.below.get(name))
            .find_map(|sites| by_port(sites, host.port).find_map(|site| site.destination.as_ref()))
            .filter(|destination| destination.entry.owns(&host.host))
    }
}

fn site_at<'a>(sites: &'a mut HashMap<String, Vec<Site>>, host: &str, port: Option<u16>) -> &'a mut Site {
    let sites = sites.entry(host.to_owned()).or_default();
    let place = sites.iter().position(|site| site.port == port).unwrap_or(sites.len());
    if place == sites.len() {
        sites.push(Site { port, origin: None, destination: None });
    }
    #[expect(clippy::indexing_slicing, reason = "the place is that of a site found or pushed just above")]
    &mut sites[place]
}

/// The site that names the port, then the one that names none.
fn by_port(sites: &[Site], port: Option<u16>) -> impl Iterator<Item = &Site> {
    let with = move |port| sites.iter().find(move |site| site.port == port);
    with(port).into_iter().chain(with(None))
}
