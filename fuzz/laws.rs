//! What must hold for every input, as functions that the fuzz targets and `tests/it/properties.rs` share.

use crosslink::link::{Scheme, Target};
use url::Url;

/// Whatever is read as a target, the WHATWG parser reads as the same URL with the same parts, and prints as it stands.
pub fn both_readings_agree(text: &str) {
    let Ok(target) = Target::parse(text.to_owned()) else { return };
    let url = Url::parse(text).expect("a URL that the parser reads too");
    assert_eq!(target.as_str(), url.as_str());
    assert_eq!(target.scheme().as_str(), url.scheme());
    assert_eq!(Some(target.host()), url.host_str());
    assert_eq!(Some(target.port()), url.port_or_known_default());
    assert_eq!(target.origin(), url.origin().ascii_serialization());
    assert_eq!(target.path(), url.path());
    assert_eq!(target.query(), url.query());
    assert_eq!(target.fragment(), url.fragment());
    assert!(matches!(target.scheme(), Scheme::Http | Scheme::Https));
    assert!(url.username().is_empty() && url.password().is_none());
    let Ok(by_the_parser) = Target::of(url) else { panic!("{text} is a target only in one reading") };
    assert!(target == by_the_parser, "{text} has other parts");
    // A second reading changes nothing.
    let again = Target::parse(target.as_str().to_owned());
    assert!(again.is_ok_and(|again| again == target) || target.as_str().len() > 4096, "{text} reads back differently");
}
