//! Identities of crosslink's own: who gets one, where it is kept, and how it travels.

use std::collections::HashSet;

use crate::sealed::{ANONYMOUS, BOB, HOST, OLD, ORIGIN, app, clean, column, cookie_of, outcomes};
use crate::support::{App, Ask, Client, Reply, Service, crosslink};

const BROWSER: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const TO: &str = "/go?to=https://ok.example/cart";

fn pair(more: &str) -> String {
    format!(
        "
pairs:
  - name: own
    origin: [www.yoursite.com, shop.yoursite.com, localhost]
    destination: ok.example
    mint: {{ cookie: visitor }}
    landing: {{}}
    {more}
"
    )
}

/// A hand-off that a browser asks for.
fn go<'a>(app: &'a App, cookie: &str) -> Ask<'a> {
    app.get(ORIGIN, TO).field("User-Agent", BROWSER).cookie(cookie)
}

/// The identity of a hand-off that made one up.
fn minted(reply: &Reply) -> String {
    let value =
        cookie_of(reply).and_then(|cookie| cookie.strip_prefix("visitor=")).unwrap_or_else(|| panic!("{reply:?}"));
    assert!(
        value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
        "{value}"
    );
    assert_eq!((reply.count("set-cookie"), reply.field("cache-control")), (1, Some("no-store")));
    value.to_owned()
}

#[test]
fn who_has_no_identity_gets_one_and_keeps_it() {
    let app = App::with(&pair(""));
    let reply = go(&app, "session=1").send();
    let value = minted(&reply);
    assert_eq!(reply.location(), Some(format!("https://ok.example/cart?kmi={value}").as_str()));
    let place = "; SameSite=Lax; Secure; Path=/; Domain=yoursite.com; Max-Age=34560000";
    assert_eq!(reply.set_cookie(), Some(format!("visitor={value}{place}").as_str()));
    let again = go(&app, &format!("session=1; visitor={value}")).send();
    assert_eq!((again.status, again.location(), again.set_cookie()), (302, reply.location(), None));
    let landed = clean(app.get(HOST, &format!("/cart?kmi={value}")).send());
    assert_eq!(cookie_of(&landed), Some(format!("km_ni={value}").as_str()));
    let log = app.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(column(&lines, "identity"), ["named"; 3]);
    assert!(!log.contains(&value) && !log.contains("visitor"), "{log}");
}

#[test]
fn no_two_visitors_get_the_same() {
    let app = App::with(&pair(""));
    let all: HashSet<String> = (0..200).map(|_| minted(&go(&app, "").send())).collect();
    assert_eq!(all.len(), 200);
}

#[test]
fn every_other_identity_comes_first() {
    let app = App::with(&pair(""));
    let own = "0123456789abcdef0123456789abcdef";
    for (cookies, expected) in [
        (format!("visitor={own}; km_ni={BOB}"), BOB),
        (format!("visitor={own}; km_ai={ANONYMOUS}"), ANONYMOUS),
        (format!("visitor={own}; km_ni=null"), own),
        (format!("visitor=; visitor={own}"), own),
    ] {
        let reply = go(&app, &cookies).send();
        assert_eq!(reply.location(), Some(format!("https://ok.example/cart?kmi={expected}").as_str()), "{cookies}");
        assert_eq!(reply.set_cookie(), None, "{cookies}");
    }
    for cookies in ["km_ni=null", "km_ni=%zz; km_ai=guest", "visitor=", "visitor=guest", "Visitor=bob"] {
        assert_ne!(minted(&go(&app, cookies).send()), own, "{cookies}");
    }
}

#[test]
fn only_a_person_who_visits_gets_one() {
    let app = App::with(&pair("consent: { require_cookie: { name: agreed, contains: yes } }"));
    let agreed = || go(&app, "agreed=yes");
    for (ask, why) in [
        (go(&app, ""), "no_consent"),
        (agreed().field("Sec-GPC", b"1"), "gpc"),
        (agreed().field("Sec-Fetch-Dest", b"image"), "not_navigation"),
        (agreed().field("Sec-Fetch-Mode", b"cors"), "not_navigation"),
        (app.ask("HEAD", ORIGIN, TO).field("User-Agent", BROWSER).cookie("agreed=yes"), "not_navigation"),
        (app.get(ORIGIN, TO).cookie("agreed=yes"), "absent"),
        (app.get(ORIGIN, TO).cookie("agreed=yes").field("User-Agent", b""), "absent"),
        (app.get(ORIGIN, TO).cookie("agreed=yes").field("User-Agent", b"curl/8.17.0"), "absent"),
        (
            app.get(ORIGIN, TO).cookie("agreed=yes; km_ni=guest").field("User-Agent", b"Mozilla/5.0 \xff Googlebot"),
            "unusable",
        ),
    ] {
        let reply = ask.send();
        assert_eq!((reply.location(), reply.set_cookie()), (Some("https://ok.example/cart"), None), "{why}");
    }
    for (name, value) in [("Purpose", &b"prefetch"[..]), ("X-Moz", b"prefetch"), ("X-Purpose", b"preview")] {
        let reply = agreed().field(name, value).send();
        assert_eq!((reply.location(), reply.set_cookie()), (Some("https://ok.example/cart"), None), "{name}");
    }
    let refused = agreed().field("Sec-Purpose", b"prefetch").send();
    assert_eq!((refused.code(), refused.set_cookie()), ("prefetch", None));
    minted(&agreed().send());
    let no = "not_navigation";
    let lines: Vec<serde_json::Value> = app.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = [
        "no_consent",
        "gpc",
        no,
        no,
        no,
        "absent",
        "absent",
        "absent",
        "unusable",
        "absent",
        "absent",
        "absent",
        "-",
        "named",
    ];
    assert_eq!(column(&lines, "identity"), expected);
}

#[test]
fn an_identity_that_does_not_go_along_is_not_kept() {
    let app = App::with(&pair(""));
    let long = format!("/go?to=https://ok.example/{}", "\u{e9}".repeat(1360));
    let reply = app.get(ORIGIN, &long).field("User-Agent", BROWSER).send();
    assert!(reply.location().is_some_and(|location| location.len() > 8000 && !location.contains("kmi=")), "{reply:?}");
    assert_eq!(reply.set_cookie(), None);
}

#[test]
fn forms_get_one_too_and_each_site_its_own_domain() {
    let app = App::with(&pair(""));
    for (host, domain) in
        [(ORIGIN, "; Domain=yoursite.com;"), ("shop.yoursite.com:8443", "; Domain=yoursite.com;"), ("LOCALHOST", "")]
    {
        let reply = app.ask("POST", host, TO).field("User-Agent", BROWSER).send();
        assert_eq!(reply.status, 307);
        let value = minted(&reply);
        let cookie = reply.set_cookie().unwrap();
        assert!(cookie.contains(domain) && cookie.contains("Domain") != domain.is_empty(), "{host}: {cookie}");
        assert!(reply.location().unwrap().ends_with(&value));
    }
    let plain = App::with(&pair("").replace("cookie: visitor", "cookie: visitor, secure: false"));
    let reply = go(&plain, "").send();
    minted(&reply);
    assert!(!reply.set_cookie().unwrap().contains("Secure"));
}

#[test]
fn a_token_says_that_it_is_named() {
    let app = app(&[OLD], &pair("").replace("landing: {}", "landing: { anonymous_cookie: km_ai }"));
    let reply = go(&app, "").send();
    let value = minted(&reply);
    let token = reply.location().unwrap().strip_prefix("https://ok.example").unwrap().to_owned();
    assert!(token.starts_with("/cart?kmt=v4.local."), "{token}");
    assert_eq!(cookie_of(&clean(app.get(HOST, &token).send())), Some(format!("km_ni={value}").as_str()));
    assert_eq!(outcomes(app), ["handed_off", "set"]);
}

/// What is made up for strangers gives way to whoever arrives.
#[test]
fn at_a_landing_it_is_not_looked_at() {
    let both = "
pairs:
  - { name: there, origin: www.yoursite.com, destination: ok.example, mint: { cookie: visitor }, landing: {} }
  - { name: back, origin: ok.example, destination: www.yoursite.com, mint: { cookie: visitor }, landing: {} }
";
    let app = App::with(both);
    let landed = clean(app.get(HOST, "/cart?kmi=bob").cookie("visitor=0123456789abcdef0123456789abcdef").send());
    assert_eq!(cookie_of(&landed), Some("km_ni=bob"));
    assert_eq!(outcomes(app), ["set"]);
}

#[test]
fn where_nobody_asked_for_it_nothing_is_set() {
    let app = App::start();
    for target in ["/go/checkout", TO] {
        let reply = app.get(ORIGIN, target).field("User-Agent", BROWSER).cookie("visitor=x").send();
        assert!(!reply.location().unwrap().contains("kmi=") && reply.set_cookie().is_none(), "{reply:?}");
    }
}

#[test]
fn they_are_counted() {
    let mut service = Service::serve(crosslink(), &format!("listen: 127.0.0.1:0\n{}", pair("")), None);
    let address = service.listening(1)[0];
    let browser = str::from_utf8(BROWSER).unwrap();
    for cookie in ["", "Cookie: km_ni=bob\r\n", ""] {
        let head = format!("GET {TO} HTTP/1.1\r\nHost: {ORIGIN}\r\nUser-Agent: {browser}\r\n{cookie}\r\n");
        Client::connect(address).send(head.as_bytes()).reply().unwrap();
    }
    let head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let metrics = Client::connect(service.admin()).send(head).reply().unwrap().body;
    assert!(metrics.contains("\ncrosslink_minted_identities_total 2\n"), "{metrics}");
    assert!(metrics.contains(r#"crosslink_handoffs_total{pair="own",identity="named"} 3"#), "{metrics}");
}
