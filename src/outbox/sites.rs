//! To which site an event belongs, where several crosslinks share what waits.
//!
//! The name of a site says where its key stands, and on two machines two keys may stand there. So in a stream a mark of
//! the key and the endpoint goes along with the name: whoever has another key there leaves the event alone.

use sha2::{Digest, Sha256};

use crate::settings::{Site, Sites};

/// The name of a site in a stream.
pub(super) fn shared_name(name: &str, site: &Site) -> String {
    let text = format!("{}\n{}", site.endpoint, site.key.expose());
    let mark = Sha256::digest(text).first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    format!("{name}{MARK}{mark:016x}")
}

/// The site of an event, by the name that it was given.
#[must_use]
pub fn site_of<'s>(name: &str, sites: &'s Sites) -> Option<&'s Site> {
    let marked = || {
        let (own, _) = name.rsplit_once(MARK)?;
        sites.get(own).filter(|site| shared_name(own, site) == name)
    };
    sites.get(name).or_else(marked)
}

const MARK: &str = " #";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    #[test]
    fn a_name_with_a_mark_is_only_that_of_the_same_key_and_endpoint() {
        let site = |key: &str, endpoint: &str| Site {
            endpoint: endpoint.to_owned(),
            key: Secret::parse(key, 1..=200).unwrap(),
        };
        let sites = |site| Sites::from([("file /k #1".into(), site)]);
        let own = sites(site("key", "https://one"));
        let name = shared_name("file /k #1", &own["file /k #1"]);
        assert!(!name.contains("key") && site_of(&name, &own).is_some() && site_of("file /k #1", &own).is_some());
        for other in [site("yek", "https://one"), site("key", "https://two")] {
            assert!(site_of(&name, &sites(other)).is_none());
        }
        assert!(site_of("file /k", &own).is_none());
    }
}
