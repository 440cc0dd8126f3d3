//! What a reload swaps, as a whole.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::link::Linker;
use crate::metrics::PairCounts;

/// The rules in force, which may be others for the next request.
pub type LiveRules = Arc<ArcSwap<Rules>>;

/// The rules of one configuration.
#[derive(Debug)]
pub struct Rules {
    /// What the visitors get.
    pub linker: Linker,
    /// The counters of its pairs, by their number.
    pub counts: Vec<PairCounts>,
    /// Who is believed about requests that he passes on.
    pub trusted_proxies: Vec<IpNet>,
    /// The file that says so.
    pub path: PathBuf,
    /// When it was read.
    pub read_at: SystemTime,
}

impl Rules {
    /// Rules that were read just now.
    #[must_use]
    pub fn new(linker: Linker, trusted_proxies: Vec<IpNet>, path: PathBuf) -> Self {
        let counts = linker.pairs().map(|_| PairCounts::default()).collect();
        Self { linker, counts, trusted_proxies, path, read_at: SystemTime::now() }
    }

    /// Makes them the ones in force.
    #[must_use]
    pub fn live(self) -> LiveRules {
        Arc::new(ArcSwap::from_pointee(self))
    }

    /// Whether the other end of a connection is a proxy that is believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        is_among(peer, &self.trusted_proxies)
    }
}

/// Whether an address is in one of these networks. An IPv4 address counts as itself when it comes through an IPv6
/// socket.
#[must_use]
pub fn is_among(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_proxy_is_known_by_its_address_whatever_socket_it_comes_through() {
        let text = "trusted_proxies: [10.0.0.0/8, 192.0.2.7, \"fd00::/8\", \"::ffff:172.16.0.0/108\"]\n\
                    pairs: [{ origin: a.example, destination: b.example }]";
        let config = config::parse(text).unwrap();
        let rules = Rules::new(config.linker, config.trusted_proxies, PathBuf::new());
        for (peer, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:192.0.2.8", false),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("::ffff:172.16.0.1", true),
            ("fd00::1", true),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(rules.trusts(peer.parse().unwrap()), expected, "{peer}");
        }
    }
}
