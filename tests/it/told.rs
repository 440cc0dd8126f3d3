//! What KISSmetrics is told of visitors who leave and arrive: which identities are one person, and what they did.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crosslink::config::parse;

use crate::kissmetrics::{Kissmetrics, Mood};
use crate::sealed::OLD;
use crate::support::{Client, Reply, Service, crosslink, eventually};

const KEY: &str = "fedcba9876543210fedcba9876543210fedcba98";
/// Anonymous by their shape.
const X: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const Y: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBA=";
/// As a browser says it that follows a link of the origin's page.
const FROM_ORIGIN: &str = "Referer: https://www.yoursite.com/\r\n";
const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n";
const EVENTS: &str = ", events: { left: Left for checkout, arrived: Arrived at checkout }";

/// A crosslink between two sites, and the service that it tells.
struct Sites {
    service: Kissmetrics,
    crosslink: Service,
    address: SocketAddr,
}

impl Sites {
    /// `more` stands under `kissmetrics`, `pair` in the pair.
    fn start(more: &str, pair: &str) -> Self {
        let service = Kissmetrics::start(Mood::Fine);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("journal")).unwrap();
        fs::write(folder.path().join("key"), KEY).unwrap();
        let config = format!(
            "listen: 127.0.0.1:0
outbox: {{ directory: journal }}
keys: [{{ id: {}, env: SEALING_KEY }}]
pairs:
  - name: shop
    origin: www.yoursite.com
    destination: checkout.yoursite.com
    links: {{ checkout: /cart }}
    kissmetrics: {{ key_file: key, endpoint: '{}'{more} }}
    {pair}
",
            OLD.0,
            service.endpoint(),
        );
        let config = config.replace("ENDPOINT", &service.endpoint());
        let mut command: Command = crosslink();
        command.env("SEALING_KEY", OLD.1);
        let mut crosslink = Service::serve_in(folder, command, &config, None);
        let address = crosslink.listening(1)[0];
        Self { service, crosslink, address }
    }

    fn plain(more: &str, landing: &str) -> Self {
        Self::start(more, &format!("hand_off: plain\n    landing: {{ accept: plain{landing} }}"))
    }

    fn ask(&self, first: &str, fields: &str) -> Reply {
        let browser = if fields.contains("User-Agent") { "" } else { BROWSER };
        let ask = format!("{first} HTTP/1.1\r\n{browser}{fields}\r\n");
        let mut client = Client::connect(self.address);
        client.is_head = first.starts_with("HEAD");
        client.send(ask.as_bytes()).reply().unwrap()
    }

    /// Somebody follows the link on the origin.
    fn leave(&self, fields: &str) -> String {
        let reply = self.ask("GET /go/checkout", &format!("Host: www.yoursite.com\r\n{fields}"));
        reply.location().unwrap().strip_prefix("https://checkout.yoursite.com").unwrap().to_owned()
    }

    /// Somebody arrives at the destination, from a page of the origin.
    fn arrive(&self, target: &str, fields: &str) -> Reply {
        self.land(&format!("GET {target}"), &format!("{FROM_ORIGIN}{fields}"))
    }

    /// Somebody arrives there, from wherever these fields say.
    fn land(&self, first: &str, fields: &str) -> Reply {
        self.ask(first, &format!("Host: checkout.yoursite.com\r\n{fields}"))
    }

    /// Stops it, and gives all that the service was told, without the key and the time.
    fn told(mut self) -> Vec<String> {
        self.crosslink.program.signal("TERM");
        assert_eq!(self.crosslink.exit(), Some(0));
        let mut told: Vec<_> = self.service.told().iter().map(|target| short(target)).collect();
        told.sort();
        told
    }
}

fn short(target: &str) -> String {
    let target = target.replace(&format!("_k={KEY}&"), "");
    let (before, rest) = target.split_once("&_t=").unwrap();
    let (_, behind) = rest.split_once("&_d=1").unwrap();
    format!("{before}{behind}")
}

fn escaped(id: &str) -> String {
    id.replace('=', "%3D").replace('@', "%40")
}

fn alias(own: &str, arriving: &str) -> String {
    format!("/a?_p={}&_n={}", escaped(own), escaped(arriving))
}

#[test]
fn an_alias_joins_the_destinations_own_anonymous_identity_and_the_arriving_one() {
    let bob = "bob@bob.com";
    for (cookies, arriving, expected) in [
        // Anonymous, in its own cookie or where `identify` keeps names.
        (format!("km_ai={X}"), bob, Some(alias(X, bob))),
        (format!("km_ni={X}"), bob, Some(alias(X, bob))),
        (format!("km_ai={X}"), Y, Some(alias(X, Y))),
        // The one in front is the visitor's; the script has joined the other one to something already.
        (format!("km_ai={X}; km_ni={Y}"), bob, Some(alias(Y, bob))),
        // Nobody yet.
        (String::new(), bob, None),
        ("km_ai=; km_ni=null".to_owned(), bob, None),
        // The same.
        (format!("km_ai={X}"), X, None),
        ("km_ni=bob%40bob.com".to_owned(), bob, None),
        (format!("km_ai={X}; km_ni=bob%40bob.com"), bob, None),
        // Named: a second named one would merge two persons, also by way of what was anonymous before.
        ("km_ni=eve%40eve.com".to_owned(), bob, None),
        (format!("km_ni=eve%40eve.com; km_ai={X}"), bob, None),
        (format!("km_ni=eve%40eve.com; km_ai={X}"), Y, None),
        // `km_ai` that holds a name.
        ("km_ai=eve%40eve.com".to_owned(), bob, None),
        ("km_ai=eve%40eve.com".to_owned(), Y, None),
        ("km_ai=eve%40eve.com; km_ni=bob%40bob.com".to_owned(), bob, None),
        (format!("km_ai=eve%40eve.com; km_ni={X}"), bob, Some(alias(X, bob))),
        // What is no identity here is a name to the script, which has joined the anonymous one to it.
        (format!("km_ni=guest; km_ai={X}"), bob, None),
        (format!("km_ai={X}; km_ni=visitor"), bob, None),
        (format!("km_ni=Undefined; km_ai={X}"), bob, None),
        (format!("km_ni={}; km_ai={X}", "b".repeat(256)), bob, None),
        (format!("km_ni=%20; km_ai={X}"), bob, None),
        (format!("km_ni=%zz; km_ai={X}"), bob, None),
        // But by these it knows that there is nobody.
        (format!("km_ni=; km_ai={X}"), bob, Some(alias(X, bob))),
        (format!("km_ni=nil; km_ai={X}"), bob, Some(alias(X, bob))),
        (format!("km_ni=%22null%22; km_ai={X}"), bob, Some(alias(X, bob))),
        (format!("km_ni=''; km_ai={X}"), bob, Some(alias(X, bob))),
    ] {
        for rule in ["replace", "keep_named"] {
            let sites = Sites::plain("", &format!(", existing: {rule}"));
            let target = format!("/cart?kmi={}", escaped(arriving));
            assert_eq!(sites.arrive(&target, &format!("Cookie: {cookies}\r\n")).status, 302);
            assert_eq!(sites.told(), Vec::from_iter(expected.clone()), "{cookies} and {arriving}, {rule}");
        }
    }
}

/// The script has joined what `km_ai` holds to the name in `km_ni`, also where these are asked in another order here.
#[test]
fn the_order_in_which_cookies_are_asked_joins_no_names() {
    for (pair, cookies, expected) in [
        ("landing: { accept: plain, cookie: own, anonymous_cookie: km_ai }", format!("km_ni=eve; km_ai={X}"), None),
        (
            "landing: { accept: plain, cookie: own, anonymous_cookie: km_ai }",
            format!("km_ai={X}"),
            Some(alias(X, "bob")),
        ),
        (
            "identity: { cookies: [km_ai, km_ni] }\n    landing: { accept: plain, cookie: own }",
            format!("km_ni=eve; km_ai={X}"),
            None,
        ),
        (
            "identity: { cookies: [km_ai, km_ni] }\n    landing: { accept: plain, cookie: own }",
            format!("km_ni=guest; km_ai={X}"),
            None,
        ),
        (
            "identity: { cookies: [km_ai, km_ni] }\n    landing: { accept: plain, cookie: own }",
            format!("km_ni={X}; km_ai={X}"),
            Some(alias(X, "bob")),
        ),
    ] {
        let sites = Sites::start("", &format!("hand_off: plain\n    {pair}"));
        sites.arrive("/cart?kmi=bob", &format!("Cookie: {cookies}\r\n"));
        assert_eq!(sites.told(), Vec::from_iter(expected), "{pair}, {cookies}");
    }
}

#[test]
fn an_alias_is_told_only_of_who_comes_from_a_page_of_an_origin() {
    let cookie = format!("Cookie: km_ai={X}\r\n");
    let arrived = || "/e?_p=bob&_n=Arrived%20at%20checkout&pair=shop".to_owned();
    let get = "GET /cart?kmi=bob";
    for (first, fields, is_told) in [
        (get, "Referer: https://www.yoursite.com/", true),
        (get, "Referer: https://www.yoursite.com/shoes?a=b", true),
        (get, "Referer: https://WWW.yoursite.com", true),
        // As a `Host` counts, with any port; but that of another origin must be the one that it has.
        (get, "Referer: http://www.yoursite.com:8443/", true),
        (get, "Referer: https://blog.yoursite.com:8443/", true),
        (get, "Referer: https://blog.yoursite.com/", false),
        (get, "Referer: https://blog.yoursite.com:9443/", false),
        (get, "Referer: https://www.yoursite.com/\r\nSec-Fetch-Dest: document", true),
        (get, "Referer: https://www.yoursite.com/\r\nSec-Fetch-Dest: iframe", false),
        (get, "", false),
        (get, "Referer: https://evil.example/", false),
        (get, "Referer: https://evil.example/www.yoursite.com/", false),
        (get, "Referer: https://www.yoursite.com.evil.example/", false),
        (get, "Referer: https://www.yoursite.com@evil.example/", false),
        (get, "Referer: https://a.www.yoursite.com/", false),
        (get, "Referer: https://yoursite.com/", false),
        (get, "Referer: https://checkout.yoursite.com/", false),
        // An origin, but of other destinations.
        (get, "Referer: https://other.example/", false),
        (get, "Referer: null", false),
        (get, "Referer: ", false),
        (get, "Referer: https://www.yoursite.com/\r\nReferer: https://www.yoursite.com/", false),
        (get, "Origin: https://www.yoursite.com", false),
        ("POST /cart?kmi=bob", "Origin: https://www.yoursite.com", true),
        ("POST /cart?kmi=bob", "Referer: https://www.yoursite.com/", true),
        ("POST /cart?kmi=bob", "Origin: null", false),
        ("POST /cart?kmi=bob", "Origin: https://evil.example", false),
        ("POST /cart?kmi=bob", "Origin: https://www.yoursite.com\r\nReferer: https://evil.example/", false),
        ("GET /-/identify/cart?kmi=bob", "Referer: https://www.yoursite.com/", true),
        ("GET /-/identify/cart?kmi=bob", "Referer: https://evil.example/", false),
    ] {
        let others = "
  - { origin: 'blog.yoursite.com:8443', destination: checkout.yoursite.com, hand_off: plain, landing: { accept: plain }, kissmetrics: { key_file: key, endpoint: 'ENDPOINT', events: { arrived: Arrived at checkout } } }
  - { origin: other.example, destination: 'https://there.example', hand_off: plain }";
        let sites = Sites::start(EVENTS, &format!("hand_off: plain\n    landing: {{ accept: plain }}{others}"));
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
        let reply = sites.land(first, &format!("{cookie}{fields}"));
        assert!(reply.set_cookie().is_some_and(|cookie| cookie.starts_with("km_ni=bob;")), "{first}, {fields}");
        let expected: Vec<_> = is_told.then(|| alias(X, "bob")).into_iter().chain([arrived()]).collect();
        assert_eq!(sites.told(), expected, "{first}, {fields}");
    }
}

#[test]
fn an_explanation_says_why_no_alias_goes() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("journal")).unwrap();
    fs::write(folder.path().join("key"), KEY).unwrap();
    let config = folder.path().join("config.yaml");
    let pair =
        "origin: www.yoursite.com, destination: checkout.yoursite.com, landing: {}, kissmetrics: { key_file: key }";
    fs::write(&config, format!("outbox: {{ directory: journal }}\npairs:\n  - {{ {pair} }}\n")).unwrap();
    let anonymous = format!("km_ai={X}");
    let also = format!("{X} is also bob, which can't be undone");
    for (cookie, fields, expected) in [
        (&anonymous, &[][..], "no alias: no page of an origin has sent the visitor"),
        (&anonymous, &["Referer: https://evil.example/"], "no alias: no page of an origin has sent the visitor"),
        (
            &anonymous,
            &["Referer: https://www.yoursite.com/", "Sec-Fetch-Dest: iframe"],
            "no alias: the page stands in a",
        ),
        (&format!("km_ni=guest; {anonymous}"), &["Referer: https://www.yoursite.com/"], "no alias: the script has"),
        (&anonymous, &["Referer: https://www.yoursite.com/"], &also),
    ] {
        let mut command = crosslink();
        command.current_dir(&folder).args(["explain", "https://checkout.yoursite.com/cart?kmi=bob", "--config"]);
        command.arg(&config).args(["--cookie", cookie]);
        command.args(["--header", BROWSER.trim()]).args(fields.iter().flat_map(|field| ["--header", field]));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let told: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("told ")).map(str::trim_start).collect();
        assert!(matches!(&told[..], [line] if line.starts_with(expected)), "{said}");
    }
}

#[test]
fn nothing_is_told_of_what_is_not_accepted() {
    let sites = Sites::plain(EVENTS, ", existing: keep");
    let anonymous = format!("Cookie: km_ai={X}\r\n");
    sites.arrive("/cart?kmi=bob", &anonymous);
    sites.arrive("/cart?kmi=bob", "Sec-GPC: 1\r\n");
    sites.arrive("/cart?kmi=bob&kmi=eve", "");
    sites.arrive("/cart?kmi=bob", "Sec-Fetch-Mode: no-cors\r\n");
    sites.ask("HEAD /cart?kmi=bob", "Host: checkout.yoursite.com\r\n");
    sites.ask("HEAD /go/checkout", "Host: www.yoursite.com\r\nCookie: km_ni=bob\r\n");
    sites.leave("");
    sites.leave("Cookie: km_ni=bob\r\nSec-GPC: 1\r\n");
    sites.leave("Cookie: km_ni=bob\r\nSec-Fetch-Mode: no-cors\r\n");
    assert_eq!(sites.told(), [""; 0]);
}

#[test]
fn nothing_is_told_without_consent_where_that_is_asked_for() {
    let consent = "consent: { require_cookie: { name: consent, contains: yes } }";
    let sites = Sites::start(EVENTS, consent);
    sites.leave("Cookie: km_ni=bob; consent=no\r\n");
    assert_eq!(sites.told(), [""; 0]);
    let anonymous = |consent: &str| format!("Cookie: km_ai={X}{consent}\r\n");
    let arrived = "/e?_p=bob&_n=Arrived%20at%20checkout&pair=shop".to_owned();
    // How a plain identity came into the URL nobody knows: perhaps without the hand-off that asks.
    for (cookies, expected) in [
        (anonymous(""), vec![]),
        (anonymous("; consent=no"), vec![]),
        (anonymous("; consent=yes"), vec![alias(X, "bob"), arrived.clone()]),
    ] {
        let sites = Sites::start(EVENTS, &format!("hand_off: plain\n    landing: {{ accept: plain }}\n    {consent}"));
        assert!(sites.arrive("/cart?kmi=bob", &cookies).set_cookie().is_some());
        assert_eq!(sites.told(), expected, "{cookies}");
    }
    // A token says that the origin asked, whose cookies do not reach here.
    let sites = Sites::start(EVENTS, &format!("landing: {{}}\n    {consent}"));
    let target = sites.leave("Cookie: km_ni=bob; consent=yes\r\n");
    sites.arrive(&target, &anonymous(""));
    let left = "/e?_p=bob&_n=Left%20for%20checkout&link=checkout&pair=shop".to_owned();
    assert_eq!(sites.told(), [alias(X, "bob"), arrived, left]);
}

#[test]
fn nothing_is_told_of_programs_that_fetch_pages() {
    let sites = Sites::plain(EVENTS, "");
    for fields in [
        "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)\r\n",
        "User-Agent: Mozilla/5.0 (compatible; Pingdom.com_check)\r\n",
        "User-Agent: curl/8.17.0\r\n",
        "User-Agent: \r\n",
        "Purpose: prefetch\r\n",
        "X-Moz: prefetch\r\n",
        "X-Purpose: preview\r\n",
        "Sec-Purpose: prefetch\r\n",
    ] {
        let status = if fields.starts_with("Sec") { 403 } else { 302 };
        let landed = sites.arrive("/cart?kmi=bob", &format!("Cookie: km_ai={X}\r\n{fields}"));
        assert_eq!(landed.status, status, "{fields}");
        let left = sites.ask("GET /go/checkout", &format!("Host: www.yoursite.com\r\nCookie: km_ni=bob\r\n{fields}"));
        assert_eq!(left.status, status, "{fields}");
    }
    assert_eq!(sites.told(), [""; 0]);
}

#[test]
fn who_leaves_and_arrives_is_told_of_once_and_never_by_the_url() {
    let sites = Sites::start(EVENTS, "landing: {}");
    let target = sites.leave("Cookie: km_ni=bob%40bob.com\r\n");
    assert!(target.contains("kmt="), "{target}");
    let anonymous = format!("Cookie: km_ai={X}\r\n");
    for _ in 0..3 {
        // The second and third time it was used.
        assert_eq!(sites.arrive(&target, &anonymous).status, 302);
    }
    sites.arrive(&target, "Cookie: km_ni=bob%40bob.com\r\n");
    sites.arrive("/cart?kmi=eve", "");
    let expected = [
        alias(X, "bob@bob.com"),
        "/e?_p=bob%40bob.com&_n=Arrived%20at%20checkout&pair=shop".to_owned(),
        "/e?_p=bob%40bob.com&_n=Left%20for%20checkout&link=checkout&pair=shop".to_owned(),
    ];
    assert_eq!(sites.told(), expected);
}

#[test]
fn one_alias_is_told_once() {
    let sites = Sites::plain("", "");
    for cookie in [X, X, Y, X, Y] {
        sites.arrive("/cart?kmi=bob", &format!("Cookie: km_ai={cookie}\r\n"));
        sites.arrive("/cart?kmi=eve", &format!("Cookie: km_ai={cookie}\r\n"));
    }
    assert_eq!(sites.told(), [alias(X, "bob"), alias(X, "eve"), alias(Y, "bob"), alias(Y, "eve")]);
}

/// Or one who loads a link again and again would keep the service from everybody else.
#[test]
fn what_the_service_counts_once_is_told_once() {
    let sites = Sites::plain(EVENTS, "");
    for _ in 0..300 {
        sites.leave("Cookie: km_ni=bob\r\n");
        sites.arrive("/cart?kmi=bob", "");
    }
    sites.leave("Cookie: km_ni=eve\r\n");
    let counts = |sites: &Sites| (sites.service.told().len(), sites.service.counted());
    let eve = |sites: &Sites| sites.service.told().iter().any(|target| target.contains("_p=eve&")).then_some(());
    eventually("the last one", || eve(&sites));
    let (told, counted) = counts(&sites);
    assert!(told == counted && told >= 3, "{told} events, of which {counted} count");
}

#[test]
fn a_visitor_waits_for_no_service_and_no_log_has_an_identity() {
    let sites = Sites::plain(EVENTS, "");
    sites.service.is(Mood::Silent);
    for number in 0..200 {
        let target = sites.leave(&format!("Cookie: km_ni=bob{number}%40bob.com\r\n"));
        assert_eq!(sites.arrive(&target, &format!("Cookie: km_ai={X}\r\n")).status, 302);
    }
    sites.service.is(Mood::Fine);
    eventually("all of them", || (sites.service.counted() == 600).then_some(()));
    let log = sites.crosslink.events() + &fs::read_to_string(&sites.crosslink.stdout).unwrap();
    assert!(!log.contains("bob.com") && !log.contains(X) && !log.contains("bob%40"), "{log}");
}

#[test]
fn hosts_that_pairs_share_belong_to_one_site_unless_that_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(path("journal")).unwrap();
    for name in ["one", "two"] {
        fs::write(path(name), name).unwrap();
    }
    for (origin, destination, key, more, is_fault) in [
        ("www.yoursite.com", "other.example", "one", "", false),
        ("www.yoursite.com", "other.example", "two", "", true),
        ("www.yoursite.com", "other.example", "two", ", separate: true", false),
        ("blog.example", "checkout.yoursite.com", "two", "", true),
        ("checkout.yoursite.com", "other.example", "two", "", true),
        ("blog.example", "other.example", "two", "", false),
    ] {
        let text = format!(
            "
outbox: {{ directory: {} }}
pairs:
  - {{ origin: www.yoursite.com, destination: checkout.yoursite.com, kissmetrics: {{ key_file: {} }} }}
  - {{ origin: {origin}, destination: {destination}, kissmetrics: {{ key_file: {}{more} }} }}
",
            path("journal"),
            path("one"),
            path(key),
        );
        let faults = parse(&text).err().unwrap_or_default();
        assert!(faults.iter().all(|fault| fault.problem.contains("names another site")), "{faults:?}");
        assert_eq!(!faults.is_empty(), is_fault, "{origin} to {destination} with {key}{more}");
    }
}
