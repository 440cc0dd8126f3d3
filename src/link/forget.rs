//! A visitor leaves: the identity cookies that are set for him here end.

use super::decision::Refusal;
use super::referer::host_of;
use super::visit::{Field, Method, Visit};

/// Why a visit that asks for it does not make somebody forgotten, if so.
pub(super) fn refusal(visit: &Visit<'_>, host: &str) -> Option<Refusal> {
    if visit.method != Method::Post {
        return Some(Refusal::PostOnly);
    }
    comes_from_elsewhere(visit, host).then_some(Refusal::CrossSite)
}

/// Whether a page of another site sent it, as far as the browser says (Fetch Metadata, 2.3; Fetch Standard, "Origin").
/// One that says neither is too old for that, or no browser.
fn comes_from_elsewhere(visit: &Visit<'_>, host: &str) -> bool {
    match visit.fields.find("sec-fetch-site") {
        Field::Once(site) => !matches!(site, b"same-origin" | b"same-site" | b"none"),
        Field::Repeated => true,
        Field::Absent => match visit.fields.find("origin") {
            // Whatever its scheme and port.
            Field::Once(origin) => host_of(origin).is_none_or(|origin| origin.host != host),
            Field::Repeated => true,
            Field::Absent => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::visit::Fields;

    /// Fields, and what stands in each.
    struct Says<'a>(&'a [(&'static str, &'static str)]);

    impl Fields for Says<'_> {
        fn find(&self, name: &str) -> Field<'_> {
            let mut values = self.0.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
            match (values.next(), values.next()) {
                (None, _) => Field::Absent,
                (Some(value), None) => Field::Once(value),
                _ => Field::Repeated,
            }
        }
    }

    #[test]
    fn only_a_page_of_the_same_site_makes_somebody_forgotten() {
        let (site, origin) = ("sec-fetch-site", "origin");
        for (says, expected) in [
            (&[][..], None),
            (&[(site, "same-origin")], None),
            (&[(site, "same-site"), (origin, "https://blog.yoursite.com")], None),
            (&[(site, "none")], None),
            (&[(site, "cross-site")], Some(Refusal::CrossSite)),
            (&[(site, "cross-site"), (origin, "https://www.yoursite.com")], Some(Refusal::CrossSite)),
            (&[(site, "")], Some(Refusal::CrossSite)),
            (&[(site, "Same-Origin")], Some(Refusal::CrossSite)),
            (&[(site, "same-origin"), (site, "same-origin")], Some(Refusal::CrossSite)),
            (&[(origin, "https://www.yoursite.com")], None),
            (&[(origin, "http://WWW.yoursite.com:8443")], None),
            (&[(origin, "https://yoursite.com")], Some(Refusal::CrossSite)),
            (&[(origin, "https://www.yoursite.com.evil.example")], Some(Refusal::CrossSite)),
            (&[(origin, "https://evil.example")], Some(Refusal::CrossSite)),
            (&[(origin, "https://www.yoursite.com@evil.example")], Some(Refusal::CrossSite)),
            (&[(origin, "www.yoursite.com")], Some(Refusal::CrossSite)),
            (&[(origin, "null")], Some(Refusal::CrossSite)),
            (&[(origin, "")], Some(Refusal::CrossSite)),
            (&[(origin, "https://www.yoursite.com"), (origin, "https://evil.example")], Some(Refusal::CrossSite)),
        ] {
            let host = "www.yoursite.com";
            let visit = Visit { method: Method::Post, fields: &Says(says), ..Visit::of(host, "/go/forget") };
            assert_eq!(refusal(&visit, host), expected, "{says:?}");
            for method in [Method::Get, Method::Head, Method::Other] {
                assert_eq!(refusal(&Visit { method, ..visit }, host), Some(Refusal::PostOnly), "{says:?}");
            }
        }
    }
}
