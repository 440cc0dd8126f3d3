//! The laws, tried with more inputs than anybody would write down.

use crosslink::config;
use crosslink::link::{
    Arrived, Class, Decision, Decoration, Field, Fields, Forget, HandOff, HostPort, Identify, Identity, Land, Linker,
    Method, NotCarried, Parameter, Refusal, Role, Target, Tell, Unheard, Visit, decorate, undecorate,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use crate::laws::{both_readings_agree, no_location_leaves_the_list};
use crate::support::{CONFIG, parse, repository};

/// Pieces that URLs and attacks on them are made of.
const PIECES: &[&str] = &[
    "https://",
    "http://",
    "//",
    "/",
    "\\",
    "@",
    ":",
    "?",
    "#",
    "&",
    "=",
    ";",
    ".",
    "..",
    "%2e",
    "%2f",
    "%5c",
    "%00",
    "%0d%0a",
    "%20",
    "%",
    "%zz",
    "+",
    "%2B",
    "to=",
    "%74o=",
    "kmi=",
    "km_i=",
    "kmt=",
    "%6bmi=",
    "kmi",
    "x",
    "a=1",
    "evil.example",
    "ok.example",
    ".ok.example",
    "a.wild.example",
    "wild.example",
    "ports.example:8443",
    "paths.example/shop",
    "plain.example",
    "127.0.0.1",
    "0x7f.1",
    "[::1]:8080",
    "xn--bcher-kva.example",
    "b\u{fc}cher.example",
    "\u{3002}",
    "\u{ff0f}",
    "\u{a0}",
    "checkout",
    "/go",
    "/go/checkout",
    "/cart",
    "null",
    "bob%40bob.com",
    ":443",
    ":80",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => vec(select(PIECES), 0..12).prop_map(|pieces| pieces.concat()), 1 => ".{0,40}"]
}

/// A URL that a visitor may want to go to, with up to three changes, so that it is near what the parser leaves alone.
fn nearly_plain() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => select(BORDER).prop_map(str::to_owned),
        3 => select(PIECES).prop_map(str::to_owned),
        2 => "[!-~]",
        1 => any::<char>().prop_map(String::from),
    ];
    let change = (any::<prop::sample::Index>(), 0..3_usize, piece);
    (PLAIN, vec(change, 0..4)).prop_map(|(url, changes)| {
        changes.iter().fold(url, |url, (place, drop, piece)| {
            let mut chars: Vec<char> = url.chars().collect();
            let place = place.index(chars.len() + 1);
            let end = chars.len().min(place + drop);
            chars.splice(place..end, piece.chars());
            chars.into_iter().collect()
        })
    })
}

/// What makes a proven text one that is not.
const BORDER: &[&str] =
    &["0", "1", ":0", ":80/", ":443/", "xn--", ".xn--", "xn--p1ai", ".1", "0x", "-", "_", ".", "/.", "/%2E", "'", "^"];

/// What is proven to read as itself, but for some ports, as an expression. A host is often short, so that a change
/// often meets it.
const PLAIN: &str = "https?://([a-z0-9]([a-z0-9-]{0,3}[a-z0-9])?\\.){0,3}[a-z][a-z0-9]{0,4}(:[0-9]{1,5})?/([a-z0-9_~!$&'*+,;=:@%-][a-z0-9.%-]{0,3}/){0,3}[a-z.%]{0,4}(\\?[!$-&(-;=?-~]{0,9})?(#[!#-;=?-_a-~]{0,9})?";

/// A target as HTTP lets it through, and what else a visit has.
#[derive(Clone, Debug)]
struct Request {
    method: Method,
    host: Option<String>,
    path: String,
    query: Option<String>,
    cookies: Vec<Vec<u8>>,
}

fn request() -> impl Strategy<Value = Request> {
    let method = select(&[Method::Get, Method::Get, Method::Get, Method::Post, Method::Head, Method::Other][..]);
    let hosts = &["www.yoursite.com", "shop.example", "ok.example", "a.wild.example", "paths.example", "[::1]:8080"];
    let host =
        prop_oneof![8 => select(&hosts[..]).prop_map(|host| Some(host.to_owned())), 1 => proptest::option::of(text())];
    let path = prop_oneof![
        3 => Just("/go".to_owned()),
        2 => text().prop_map(|more| format!("/go/checkout/{more}")),
        2 => text().prop_map(|path| format!("/{path}")),
        1 => text(),
        1 => Just("/go/forget".to_owned()),
    ];
    let query = prop_oneof![
        4 => text().prop_map(|to| Some(format!("to=https://{to}"))),
        2 => text().prop_map(|to| Some(format!("to={to}"))),
        2 => text().prop_map(|value| Some(format!("a&kmi={value}"))),
        1 => proptest::option::of(text()),
    ];
    let cookie = prop_oneof![
        text().prop_map(|value| format!("km_ni={value}").into_bytes()),
        text().prop_map(|value| format!("x={value}; km_ai={value}").into_bytes()),
        vec(any::<u8>(), 0..60),
    ];
    (method, host, path, query, vec(cookie, 0..3)).prop_map(|(method, host, path, query, cookies)| Request {
        method,
        host,
        // The path ends where the query begins.
        path: path.split(['?', '#']).next().unwrap_or_default().to_owned(),
        query: query.map(|query| query.split('#').next().unwrap_or_default().to_owned()),
        cookies,
    })
}

impl Request {
    /// As the fuzz target `decide` takes it.
    fn in_lines(&self) -> Vec<u8> {
        let target = [self.path.as_bytes(), self.query.as_deref().unwrap_or_default().as_bytes()];
        let host = self.host.as_deref().unwrap_or_default().as_bytes();
        [&[host], &target[..], &self.cookies.iter().map(Vec::as_slice).collect::<Vec<_>>()].concat().join(&b'\n')
    }

    fn decide<'l>(&self, linker: &'l Linker) -> Decision<'l> {
        self.decide_for(linker, None)
    }

    /// Decides for a proxy that asks about another target.
    fn decide_for<'l>(&self, linker: &'l Linker, original_target: Option<&[u8]>) -> Decision<'l> {
        self.decide_as(linker, Visit { original_target, ..Visit::of("", "") })
    }

    /// Decides on a visit that has what this request does not say from another one.
    fn decide_as<'l>(&self, linker: &'l Linker, other: Visit<'_>) -> Decision<'l> {
        let cookies: Vec<&[u8]> = self.cookies.iter().map(Vec::as_slice).collect();
        linker.decide(&Visit {
            method: self.method,
            host: self.host.as_deref(),
            path: &self.path,
            query: self.query.as_deref(),
            cookies: &cookies,
            now: 1_795_000_000,
            ..other
        })
    }
}

/// Where visitors of the test's configuration may ever be sent, judged without the allow-list's own code: as text.
fn is_allowed(location: &str) -> bool {
    let (scheme, rest) = location.split_once("://").expect("an absolute URL");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let path = rest.split(['?', '#']).next().unwrap_or_default().strip_prefix(authority).unwrap_or_default();
    let exact = ["yoursite.3rd-party-checkout.com", "ok.example", "ports.example:8443", "127.0.0.1", "[::1]:8080"];
    match (scheme, authority) {
        ("https", host) if exact.contains(&host) || host == "xn--bcher-kva.example" => true,
        ("http", host) => host == "plain.example",
        ("https", "paths.example") => path == "/shop" || path.starts_with("/shop/"),
        ("https", host) => host.strip_suffix(".wild.example").is_some_and(|labels| {
            labels.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            })
        }),
        _ => false,
    }
}

/// All that a decision says, in a form that can be compared and shown.
fn in_words(decision: &Decision<'_>) -> String {
    match decision {
        Decision::HandOff(HandOff { pair, destination, carried, set_cookie, posted, unheard, tell }) => {
            let to = destination.target().as_str();
            let told = told(tell.as_deref());
            format!("{} hands off to {to}, {carried:?}, {set_cookie:?}, {posted}, {unheard:?}, {told}", pair.name)
        }
        Decision::Land(Land { pair, location, outcome, class, set_cookie, first_use, posted, unheard, tell })
        | Decision::Identify(Identify::Landed(Land {
            pair,
            location,
            outcome,
            class,
            set_cookie,
            first_use,
            posted,
            unheard,
            tell,
        })) => {
            format!(
                "{} lands at {location}, {outcome:?}, {class:?}, {set_cookie:?}, {first_use:?}, {posted}, {unheard:?}, {}",
                pair.name,
                told(tell.as_deref())
            )
        }
        Decision::Script => "the script".to_owned(),
        Decision::Pairs(list) => list.to_string(),
        Decision::Forget(Forget { role, set_cookies, navigates }) => {
            format!("{role:?} forgets {set_cookies:?}, {navigates}")
        }
        Decision::HonoursGpc => "honours Sec-GPC".to_owned(),
        Decision::Identify(Identify::Nothing) => "nothing to identify".to_owned(),
        Decision::Refuse(refusal, role) | Decision::Identify(Identify::Refused(refusal, role)) => {
            format!("{refusal:?}, {role:?}")
        }
    }
}

/// What is to be told of a decision.
fn told(tell: Option<&Tell<'_>>) -> String {
    tell.map_or_else(String::new, |Tell { site, person, alias, event, pair, link }| {
        let alias = alias.as_ref().map(Identity::reveal);
        format!("{site} is told of {}: {alias:?}, {event:?}, {pair}, {link:?}", person.reveal())
    })
}

/// Every run tries the same inputs, so that a failure is a change's fault. Another number tries others.
const SEED: u64 = 2026;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, rng_seed: RngSeed::Fixed(SEED), ..ProptestConfig::default() })]

    #[test]
    fn both_readings_of_a_url_agree(url in nearly_plain(), any in text()) {
        both_readings_agree(&url);
        both_readings_agree(&any);
        both_readings_agree(&format!("https://{any}"));
    }

    #[test]
    fn no_location_leaves_the_list_of_the_fuzz_targets(request in request(), to in nearly_plain()) {
        no_location_leaves_the_list(&request.in_lines());
        let query = Some(format!("a=1&to={}&b", to.replace('&', "%26").replace('#', "%23")));
        no_location_leaves_the_list(&Request { path: "/go".to_owned(), query, ..request.clone() }.in_lines());
        let to = to.replacen("://", "://ok.example/", 1);
        no_location_leaves_the_list(&Request { path: "/go".to_owned(), query: Some(format!("to={to}")), ..request }.in_lines());
    }

    #[test]
    fn no_visit_leaves_the_allow_list(request in request()) {
        let config = linker();
        match request.decide(config) {
            Decision::HandOff(hand_off) => {
                let location = hand_off.destination.target().as_str();
                prop_assert!(is_allowed(location), "{location}");
                prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()) && location.len() <= 8192);
            }
            Decision::Land(land) => {
                // On the host that was asked, whatever the path is.
                let host = land.location.split('/').nth(2).unwrap();
                let host = host.strip_suffix(":8443").or(host.strip_suffix(":8080")).unwrap_or(host);
                let asked = HostPort::parse(request.host.as_deref().unwrap()).unwrap().host;
                prop_assert_eq!(host, asked);
                prop_assert!(land.location.bytes().all(|byte| byte.is_ascii_graphic()), "{}", land.location);
                prop_assert!(land.set_cookie.is_none_or(|cookie| cookie.starts_with("km_ni=") && cookie.is_ascii()));
            }
            Decision::Forget(forget) => {
                let ends = |cookie: &String| cookie.starts_with("km_ni=; ") && cookie.contains("; Max-Age=0; ");
                prop_assert!(forget.set_cookies.iter().all(ends), "{:?}", forget.set_cookies);
            }
            Decision::HonoursGpc
            | Decision::Script
            | Decision::Pairs(_)
            | Decision::Refuse(..)
            | Decision::Identify(_) => {}
        }
    }

    #[test]
    fn a_proxy_that_asks_learns_what_the_landing_would_do(request in request()) {
        let query = request.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", request.path);
        let told = Request { path: "/-/identify".to_owned(), query: None, ..request.clone() };
        let told = told.decide_for(linker(), Some(target.as_bytes()));
        let learned = match request.decide(linker()) {
            Decision::Land(land) => Identify::Landed(land),
            // Who leaves is asked by himself, and by no proxy about him.
            Decision::Refuse(refusal, role @ Role::Destination) if refusal != Refusal::PostOnly => {
                Identify::Refused(refusal, role)
            }
            _ => {
                prop_assert!(matches!(told, Decision::Identify(Identify::Nothing | Identify::Refused(_, Role::None))));
                return Ok(());
            }
        };
        let expected = in_words(&Decision::Identify(learned));
        prop_assert_eq!(&in_words(&told), &expected);
        if request.path.starts_with('/') {
            let behind = Request { path: format!("/-/identify{}", request.path), ..request };
            prop_assert_eq!(in_words(&behind.decide(linker())), expected);
        }
    }

    #[test]
    fn what_just_anybody_says_of_himself_changes_nothing(request in request(), said in said()) {
        let decide =
            |said: &Said, trusted| request.decide_as(signed_on(), Visit { trusted, fields: said, ..Visit::of("", "") });
        if let Decision::HandOff(hand_off) = decide(&said, true) {
            let location = hand_off.destination.target().as_str();
            prop_assert!(is_allowed(location), "{location}");
        }
        let silent = Said(Vec::new());
        let [ignored, nothing] = [&said, &silent].map(|said| decide(said, false));
        prop_assert!(!matches!(ignored.unheard(), Some(Unheard::Repeated | Unheard::Unusable)));
        let without = |words: String| words.replace("Some(Untrusted)", "None");
        prop_assert_eq!(without(in_words(&ignored)), in_words(&nothing));
        prop_assert_eq!(in_words(&nothing), in_words(&decide(&silent, true)));
    }

    #[test]
    fn an_identity_is_made_up_only_for_who_has_none(request in request(), random in any::<[u8; 16]>()) {
        let (browser, random) = (Some(&b"Mozilla/5.0"[..]), Some(random));
        let browses = Visit { user_agent: browser, random, ..Visit::of("", "") };
        let [minted, again] = [0, 1].map(|_| request.decide_as(minting(), browses));
        prop_assert_eq!(in_words(&minted), in_words(&again));
        let without = request.decide_as(minting(), Visit { user_agent: browser, ..Visit::of("", "") });
        let no_browser = request.decide_as(minting(), Visit { random, ..Visit::of("", "") });
        prop_assert_eq!(in_words(&without), in_words(&no_browser));
        if let Decision::HandOff(HandOff { set_cookie: Some(cookie), carried, destination, .. }) = &minted {
            let location = destination.target().as_str();
            prop_assert!(is_allowed(location), "{location}");
            let value = cookie.strip_prefix("visitor=").and_then(|cookie| cookie.split(';').next()).unwrap();
            prop_assert!(value.len() == 32 && location.contains(&format!("kmi={value}")), "{location}: {cookie}");
            prop_assert_eq!(*carried, Ok(Class::Named));
            let Decision::HandOff(without) = &without else { panic!("{}", in_words(&without)) };
            prop_assert!(without.set_cookie.is_none());
            prop_assert!(matches!(without.carried, Err(NotCarried::Absent | NotCarried::Unusable)));
        } else {
            prop_assert_eq!(in_words(&minted), in_words(&without));
        }
        let [with, bare] = [browses, Visit::of("", "")].map(|other| request.decide_as(linker(), other));
        prop_assert_eq!(in_words(&with), in_words(&bare), "where nothing is made up");
    }

    #[test]
    fn equal_visits_decide_equally(request in request()) {
        // Read anew, so that its maps have another order.
        static ANOTHER: std::sync::OnceLock<Linker> = std::sync::OnceLock::new();
        let another = ANOTHER.get_or_init(|| parse(CONFIG).linker);
        let [first, second] = [linker(), another].map(|linker| in_words(&request.decide(linker)));
        prop_assert_eq!(first, second);
    }

    #[test]
    fn undecorating_gives_back_what_was_decorated(url in text(), raw in text()) {
        let parameter = Parameter::default();
        let (Ok(url), Ok(identity)) = (Target::parse(format!("https://ok.example/{url}")), Identity::from_cookie(raw.as_bytes())) else {
            return Ok(());
        };
        prop_assume!(url.query().is_none_or(|query| !parameter.is_in(query)));
        let decorated = decorate(&url, &parameter, Decoration::Plain(&identity));
        let undecorated = undecorate(&decorated, &parameter);
        prop_assert_eq!(&undecorated.clean, url.as_str());
        let Arrived::Plain(value) = undecorated.arrived else { panic!("{decorated}") };
        prop_assert_eq!(&Identity::from_query(value).unwrap(), &identity);
        prop_assert_eq!(&Identity::from_cookie(value.as_bytes()).unwrap(), &identity);
    }

    #[test]
    fn decorating_twice_is_decorating_once(url in text(), first in "[a-z%0-9]{0,9}", second in "[a-z%0-9]{0,9}") {
        let parameter = Parameter::default();
        let Ok(url) = Target::parse(format!("https://ok.example/{url}")) else { return Ok(()) };
        let decorated = |url: &Target, token: &str| decorate(url, &parameter, Decoration::Token(token));
        let once = Target::parse(decorated(&url, &first)).unwrap();
        prop_assert_eq!(decorated(&once, &second), decorated(&url, &second));
    }

    #[test]
    fn no_configuration_panics(text in "(pairs:|- origin: |destination: |landing: |links: |a.example|[*&{}\\[\\],:'\" \n-]|.){0,40}") {
        if let Err(faults) = config::parse(&text) {
            prop_assert!(!faults.is_empty());
            prop_assert!(!config::render_faults("test", &text, &faults).is_empty());
        }
    }
}

#[test]
fn the_laws_hold_for_the_seeds_of_the_fuzz_targets() {
    for (target, law) in [
        ("target", (|text| both_readings_agree(str::from_utf8(text).unwrap())) as fn(&[u8])),
        ("decide", no_location_leaves_the_list),
    ] {
        let seeds = std::fs::read_dir(repository("fuzz/corpus").join(target)).unwrap();
        let seeds: Vec<_> = seeds.map(|seed| std::fs::read(seed.unwrap().path()).unwrap()).collect();
        assert!(seeds.len() >= 5, "{target} has only {} seeds", seeds.len());
        for seed in seeds {
            law(&seed);
        }
    }
}

/// What a request says in the one header that a configuration asks for.
#[derive(Clone, Debug)]
struct Said(Vec<Vec<u8>>);

impl Fields for Said {
    fn find(&self, name: &str) -> Field<'_> {
        match &self.0[..] {
            _ if name != "x-user" => Field::Absent,
            [] => Field::Absent,
            [once] => Field::Once(once),
            _ => Field::Repeated,
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let value = prop_oneof![text().prop_map(String::into_bytes), vec(any::<u8>(), 0..40)];
    vec(value, 0..3).prop_map(Said)
}

/// [`CONFIG`], where a proxy says who the visitors are.
fn signed_on() -> &'static Linker {
    static LINKER: std::sync::OnceLock<Linker> = std::sync::OnceLock::new();
    let heard = "trusted_proxies: 127.0.0.1\ndefaults: { identity: { header: X-User } }\n";
    LINKER.get_or_init(|| parse(&format!("{heard}{CONFIG}")).linker)
}

/// [`CONFIG`], where visitors get identities of crosslink's own.
fn minting() -> &'static Linker {
    static LINKER: std::sync::OnceLock<Linker> = std::sync::OnceLock::new();
    let minting = CONFIG.replace("\n    origin:", "\n    mint: { cookie: visitor }\n    origin:");
    LINKER.get_or_init(|| parse(&minting).linker)
}

fn linker() -> &'static Linker {
    static LINKER: std::sync::OnceLock<Linker> = std::sync::OnceLock::new();
    LINKER.get_or_init(|| parse(CONFIG).linker)
}
