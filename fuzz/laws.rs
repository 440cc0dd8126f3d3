//! What must hold for every input, as functions that the fuzz targets and `tests/it/properties.rs` share.
//!
//! They judge by the `url` crate alone, and redo by it, slowly, what the core does in one pass.

use std::sync::OnceLock;

use crosslink::config;
use crosslink::link::{Decision, HandOff, Linker, Target, Visit};
use percent_encoding::percent_decode_str;
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
    assert!(url.username().is_empty() && url.password().is_none());
    let Ok(by_the_parser) = Target::of(url) else { panic!("{text} is a target only in one reading") };
    assert!(target == by_the_parser, "{text} has other parts");
    // A second reading changes nothing.
    let again = Target::parse(target.as_str().to_owned());
    assert!(again.is_ok_and(|again| again == target) || target.as_str().len() > 4096, "{text} reads back differently");
}

/// A request of five lines (host, path, query and two `Cookie` fields) gets no Location off the allow-list, and one
/// that goes to its `to` gets that URL, changed in nothing but what the request and the identity add.
pub fn no_location_leaves_the_list(request: &[u8]) {
    let mut lines = request.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let [Ok(host), Ok(path), Ok(query)] = [line(), line(), line()].map(str::from_utf8) else { return };
    let cookies = &[line(), line()];
    let decision = linker().decide(&Visit { query: Some(query), cookies, now: 1_795_000_000, ..Visit::of(host, path) });
    match decision {
        Decision::HandOff(hand_off) => {
            let location = hand_off.destination.target().as_str();
            let url = Url::parse(location).expect("a Location that is a URL");
            assert_eq!(url.as_str(), location);
            assert!(location.len() <= 8192 && location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
            assert!(is_listed(&url), "{location}");
            if path == "/go" {
                goes_where_it_says(query, &hand_off);
            }
        }
        Decision::Land(land) => {
            let url = Url::parse(&land.location).expect("a Location that is a URL");
            let host = host.to_ascii_lowercase();
            let authority = url.origin().ascii_serialization();
            assert!(authority.starts_with("https://") && is_landing(&url), "{}", land.location);
            assert!(host.starts_with(url.host_str().unwrap_or("?")), "{host} lands at {authority}");
            assert!(land.location.bytes().all(|byte| byte.is_ascii_graphic()), "{}", land.location);
        }
        Decision::HonoursGpc
        | Decision::Script
        | Decision::Pairs(_)
        | Decision::Forget(_)
        | Decision::Refuse(..)
        | Decision::Identify(_) => {}
    }
}

/// The Location is what the obvious way gives: `url` parses, sets the query, and pairs are told apart as text.
fn goes_where_it_says(query: &str, hand_off: &HandOff<'_>) {
    let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let name = |pair: &str| decode(pair.split_once('=').map_or(pair, |(name, _)| name));
    let (mut to, mut others) = (String::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if name(pair) == b"to" {
            to = String::from_utf8(decode(pair.split_once('=').map_or("", |(_, value)| value))).expect("UTF-8");
        } else {
            others.push(pair);
        }
    }
    let mut url = Url::parse(&to).expect("a `to` that is a URL");
    if !others.is_empty() {
        let own = url.query().map(|own| format!("{own}&")).unwrap_or_default();
        url.set_query(Some(&format!("{own}{}", others.join("&"))));
    }
    let kept: Option<Vec<&str>> = url.query().map(|query| query.split('&').collect());
    let mut kept = kept.unwrap_or_default();
    kept.retain(|pair| ![&b"kmi"[..], b"km_i", b"kmt"].contains(&&*name(pair)));
    let location = hand_off.destination.target();
    let identity = location.query().and_then(|query| query.rsplit('&').next()).unwrap_or_default();
    if hand_off.carried.is_ok() {
        assert!(identity.len() > "kmi=".len() && identity.starts_with("kmi="), "{}", location.as_str());
        kept.push(identity);
    }
    let expected = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    let fragment = url.fragment().map(|fragment| format!("#{fragment}")).unwrap_or_default();
    let expected = format!("{}{}{expected}{fragment}", url.origin().ascii_serialization(), url.path());
    assert_eq!(location.as_str(), expected);
}

/// Whether the URL is one that the rules list, judged without the allow-list.
fn is_listed(url: &Url) -> bool {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port());
    match (url.scheme(), host, port) {
        ("https", "ports.example" | "[::1]", Some(8443)) | ("http", "plain.example", None) => true,
        ("https", "paths.example", None) => url.path() == "/shop" || url.path().starts_with("/shop/"),
        ("https", _, None) => is_landing(url) || host == "127.0.0.1",
        _ => false,
    }
}

fn is_landing(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let labels = host.strip_suffix(".wild.example").unwrap_or_default();
    let is_label =
        |label: &str| !label.is_empty() && !label.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
    host == "ok.example" || host == "xn--bcher-kva.example" || labels.split('.').all(is_label)
}

fn linker() -> &'static Linker {
    static LINKER: OnceLock<Linker> = OnceLock::new();
    LINKER.get_or_init(|| config::parse(CONFIG).map(|config| config.linker).expect("a configuration without a fault"))
}

const CONFIG: &str = r#"
pairs:
  - name: lands
    origin: www.yoursite.com
    destination: [ok.example, "*.wild.example", "bücher.example"]
    links: { checkout: "https://ok.example/cart?lang=en#pay" }
    landing: {}
  - name: elsewhere
    origin: www.yoursite.com
    destination: ["ports.example:8443", "https://paths.example/shop", "http://plain.example", 127.0.0.1, "[::1]:8443"]
"#;
