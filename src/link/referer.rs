//! From which page a visitor comes, as far as his browser says.

use super::domain::HostPort;
use super::visit::{Field, Method, Visit};

/// The host of the page where the link or the form was: of its address in `Referer` (RFC 9110, 10.1.3), which stays the
/// same over redirects (Fetch Standard, "HTTP-redirect fetch"), or of the `Origin` of a form whose page keeps its
/// address back. No page of another site can make a browser say what is not so. `None` if it says nothing, or something
/// else.
pub(super) fn page_host<'v>(visit: &Visit<'v>) -> Option<HostPort<'v>> {
    let said = match visit.fields.find("referer") {
        Field::Absent if visit.method == Method::Post => visit.fields.find("origin"),
        said => said,
    };
    match said {
        Field::Once(address) => host_of(address),
        Field::Absent | Field::Repeated => None,
    }
}

/// The host in an address of the web, with its port if it has one.
pub(super) fn host_of(address: &[u8]) -> Option<HostPort<'_>> {
    let (scheme, rest) = str::from_utf8(address).ok()?.split_once("://")?;
    let is_web = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let authority = rest.split(['/', '?', '#']).next().filter(|_| is_web)?;
    HostPort::parse(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_read_as_a_host_field() {
        for (address, expected) in [
            ("https://www.yoursite.com/", Some(("www.yoursite.com", None))),
            ("https://www.yoursite.com/a?b#c", Some(("www.yoursite.com", None))),
            ("HTTP://WWW.yoursite.com:8443?a", Some(("www.yoursite.com", Some(8443)))),
            ("https://[::1]/", Some(("[::1]", None))),
            ("https://www.yoursite.com@evil.example/", None),
            ("https://evil.example/https://www.yoursite.com/", Some(("evil.example", None))),
            ("https://evil.example?https://www.yoursite.com/", Some(("evil.example", None))),
            ("android-app://www.yoursite.com/", None),
            ("www.yoursite.com", None),
            ("//www.yoursite.com/", None),
            ("https://", None),
            ("null", None),
            ("about:blank", None),
            ("", None),
        ] {
            let host = host_of(address.as_bytes());
            assert_eq!(host.as_ref().map(|host| (&*host.host, host.port)), expected, "{address}");
        }
        assert!(host_of(b"https://www.yoursite.com/\xff").is_none());
    }
}
