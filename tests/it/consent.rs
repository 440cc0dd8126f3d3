//! Whose identity is carried at all: consent, opt-outs, and requests that are no visit.

use crate::sealed::{
    ANONYMOUS, BOB, HOST, OLD, ORIGIN, PAIR, app, clean, column, cookie_of, land, log, outcomes, pair, token,
};
use crate::support::{App, Ask, Reply};

const TO: &str = "/go?to=https://ok.example/cart";

/// A hand-off with an identity in the cookies.
fn go(app: &App) -> Ask<'_> {
    app.get(ORIGIN, TO).cookie(&format!("km_ni={BOB}; km_ai={ANONYMOUS}"))
}

/// Demands that the visitor gets to the shop, without anything.
fn bare(reply: &Reply) {
    assert_eq!((reply.status, reply.location()), (302, Some("https://ok.example/cart")), "{reply:?}");
    assert_eq!(reply.set_cookie(), None);
}

#[test]
fn without_the_consent_cookie_nothing_is_carried() {
    let asked = "consent: { require_cookie: { name: consent, contains: analytics } }";
    let app = app(&[OLD], &pair(asked, ""));
    for (cookies, carried) in [
        ("km_ni=bob", false),
        ("km_ni=bob; consent=", false),
        ("km_ni=bob; consent=ads", false),
        ("km_ni=bob; Consent=analytics", false),
        ("km_ni=bob; other=analytics", false),
        ("km_ni=bob; consent=ads,analytics,x", true),
        ("consent={\"analytics\":true}; km_ni=bob", true),
    ] {
        let location = app.get(ORIGIN, TO).cookie(cookies).location();
        assert_eq!(location.contains("?kmt="), carried, "{cookies}");
        assert!(carried || location == "https://ok.example/cart", "{cookies}");
    }
    let no = "no_consent";
    assert_eq!(column(&log(app), "identity"), [no, no, no, no, no, "named", "named"]);
}

#[test]
fn consent_is_asked_on_the_origin_only() {
    let app = app(&[OLD], &pair("consent: { require_cookie: { name: consent, contains: yes } }", ""));
    let query = format!("kmt={}", token(&app, "km_ni=bob; consent=yes"));
    assert_eq!(cookie_of(&land(&app, &query, "")), Some("km_ni=bob"));
    assert_eq!(outcomes(app), ["handed_off", "set"]);
}

#[test]
fn consent_counts_for_a_plain_hand_off_too() {
    let asked = "consent: { require_cookie: { name: consent, contains: yes } }";
    let app = App::with(&pair(asked, ""));
    bare(&go(&app).send());
    let agreed = app.get(ORIGIN, TO).cookie("km_ni=bob; consent=yes").location();
    assert_eq!(agreed, "https://ok.example/cart?kmi=bob");
    bare(&app.get(ORIGIN, TO).cookie("km_ni=bob; consent=yes").field("Sec-GPC", b"1").send());
    assert_eq!(column(&log(app), "identity"), ["no_consent", "named", "gpc"]);
}

#[test]
fn an_opt_out_is_honoured_on_both_sides() {
    let app = app(&[OLD], PAIR);
    let target = format!("/cart?kmt={}", token(&app, "km_ni=bob"));
    bare(&go(&app).field("Sec-GPC", b"1").send());
    for target in [target.as_str(), "/cart?kmi=bob", "/cart?kmt=v4.local.abc"] {
        bare(&app.get(HOST, target).field("Sec-GPC", b"1").send());
        bare(&app.get(HOST, target).field("Sec-GPC", b"1").cookie("km_ni=bob").send());
    }
    let reply = clean(app.get(HOST, &target).field("Sec-GPC", b"0").send());
    assert_eq!(cookie_of(&reply), Some("km_ni=bob"), "nothing was used up");
    let log = log(app);
    let gpc = "gpc";
    assert_eq!(column(&log, "outcome"), ["handed_off", "handed_off", gpc, gpc, gpc, gpc, gpc, gpc, "set"]);
    assert_eq!(column(&log, "identity"), ["named", gpc, "-", "-", "-", "-", "-", "-", "named"]);
}

#[test]
fn an_opt_out_counts_where_plain_identities_are_accepted() {
    let app = App::with(PAIR);
    bare(&go(&app).field("Sec-GPC", b"1").send());
    bare(&app.get(ORIGIN, "/go?to=https://ok.example/cart?kmi=eve").field("Sec-GPC", b"1").send());
    bare(&app.get(HOST, "/cart?kmi=bob").field("Sec-GPC", b"1").send());
    assert_eq!(outcomes(app), ["handed_off", "handed_off", "gpc"]);
}

#[test]
fn an_opt_out_can_be_ignored() {
    let app = app(&[OLD], &pair("consent: { gpc: ignore }", ""));
    let location = go(&app).field("Sec-GPC", b"1").location();
    let (_, query) = location.split_once('?').unwrap();
    let reply = clean(app.get(HOST, &format!("/cart?{query}")).field("Sec-GPC", b"1").send());
    assert_eq!(cookie_of(&reply), Some(format!("km_ni={BOB}").as_str()));
    let log = log(app);
    assert_eq!(column(&log, "outcome"), ["handed_off", "set"]);
    assert_eq!(column(&log, "identity"), ["named", "named"]);
}

#[test]
fn a_field_that_stands_twice_counts_as_the_more_careful_of_its_readings() {
    let app = app(&[OLD], PAIR);
    for (name, one, other) in
        [("Sec-GPC", "0", "1"), ("Sec-Fetch-Dest", "document", "image"), ("Sec-Fetch-Mode", "navigate", "navigate")]
    {
        for (first, second) in [(one, other), (other, one)] {
            let ask = go(&app).field(name, first.as_bytes()).field(name, second.as_bytes());
            assert_eq!(ask.location(), "https://ok.example/cart", "{name}: {first}, {second}");
        }
    }
    let ask = go(&app).field("Sec-Purpose", b"x").field("Sec-Purpose", b"prefetch");
    assert_eq!(ask.send().code(), "prefetch");
}

#[test]
fn origins_say_that_they_honour_the_opt_out() {
    let app = App::with(
        "
pairs:
  - { origin: [www.yoursite.com, www.shop.example, mixed.example], destination: ok.example, landing: {} }
  - { origin: [deaf.example, mixed.example], destination: b.example, consent: { gpc: ignore } }
",
    );
    let path = "/.well-known/gpc.json";
    for host in [ORIGIN, "www.shop.example"] {
        let reply = app.get(host, path).send();
        assert_eq!((reply.status, reply.field("content-type")), (200, Some("application/json")), "{host}");
        let said: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(said["gpc"], true);
        let date = said["lastUpdate"].as_str().unwrap();
        assert!(humantime::parse_rfc3339_weak(&format!("{date} 00:00:00")).is_ok(), "{date}");
        let head = app.ask("HEAD", host, path).send();
        assert_eq!((head.status, head.field("content-type")), (200, Some("application/json")), "{host}");
    }
    for (host, path) in [
        ("deaf.example", path),
        ("mixed.example", path),
        (HOST, path),
        (ORIGIN, "/.well-known/gpc.json/"),
        (ORIGIN, "/gpc.json"),
    ] {
        assert_eq!(app.get(host, path).send().code(), "not_found", "{host}{path}");
    }
    assert_eq!(app.ask("POST", ORIGIN, path).send().status, 404);
    let outcomes = outcomes(app);
    assert!(outcomes[..4].iter().all(|outcome| outcome == "honours_gpc"), "{outcomes:?}");
    assert!(outcomes[4..].iter().all(|outcome| outcome == "not_found"), "{outcomes:?}");
}

#[test]
fn what_is_no_visit_carries_nothing_and_uses_nothing_up() {
    let app = app(&[OLD], PAIR);
    let target = format!("/cart?kmt={}", token(&app, "km_ni=bob"));
    let fields: [&[(&str, &str)]; 6] = [
        &[("Sec-Fetch-Dest", "image")],
        &[("Sec-Fetch-Mode", "cors")],
        &[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "script")],
        &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "empty")],
        &[("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "document")],
        &[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image"), ("Sec-Fetch-Site", "same-origin")],
    ];
    let ask = |mut ask: Ask<'_>, fields: &[(&str, &str)]| {
        for (name, value) in fields {
            ask = ask.field(name, value.as_bytes());
        }
        bare(&ask.send());
    };
    for fields in fields {
        ask(go(&app), fields);
        ask(app.get(HOST, &target), fields);
        ask(app.get(HOST, &target).cookie("km_ni=bob"), fields);
        ask(app.get(HOST, "/cart?kmi=bob"), fields);
    }
    bare(&app.ask("HEAD", ORIGIN, TO).cookie("km_ni=bob").send());
    bare(&app.ask("HEAD", HOST, &target).send());
    assert_eq!(cookie_of(&clean(app.get(HOST, &target).send())), Some("km_ni=bob"), "nothing was used up");
    let log = log(app);
    let (visits, others): (Vec<_>, Vec<_>) = log.into_iter().partition(|line| line["identity"] == "named");
    assert_eq!(column(&visits, "outcome"), ["handed_off", "set"]);
    for line in others {
        let is_hand_off = line["role"] == "origin" && line["identity"] == "not_navigation";
        let is_landing = line["outcome"] == "not_navigation" && line["identity"].is_null();
        assert!(is_hand_off || is_landing, "{line}");
    }
}

#[test]
fn a_visit_is_one_with_or_without_the_headers() {
    let app = app(&[OLD], PAIR);
    let fields: [&[(&str, &str)]; 4] = [
        &[],
        &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")],
        &[("Sec-Fetch-Mode", "navigate")],
    ];
    for fields in fields {
        let with = |ask| fields.iter().fold(ask, |ask: Ask<'_>, (name, value)| ask.field(name, value.as_bytes()));
        let location = with(go(&app)).location();
        let (_, query) = location.split_once('?').unwrap();
        let target = format!("/cart?{query}");
        assert!(clean(with(app.get(HOST, &target)).send()).set_cookie().is_some(), "{fields:?}");
    }
    assert!(outcomes(app).chunks(2).all(|two| two == ["handed_off", "set"]));
}

#[test]
fn a_prefetch_is_refused_and_uses_nothing_up() {
    let app = app(&[OLD], PAIR);
    let target = format!("/cart?kmt={}", token(&app, "km_ni=bob"));
    for purpose in [&b"prefetch"[..], b"prefetch;prerender", b"Prefetch"] {
        for ask in [go(&app), app.get(HOST, &target), app.get(HOST, "/cart?kmi=bob")] {
            let reply = ask.field("Sec-Purpose", purpose).send();
            assert_eq!((reply.status, reply.code()), (403, "prefetch"));
            assert_eq!((reply.location(), reply.set_cookie()), (None, None));
            assert_eq!(reply.field("cache-control"), Some("no-store"));
        }
    }
    assert_eq!(cookie_of(&clean(app.get(HOST, &target).send())), Some("km_ni=bob"), "the click");
    let outcomes = outcomes(app);
    let (set, others) = outcomes[1..].split_last().unwrap();
    assert_eq!((set.as_str(), others.len()), ("set", 9));
    assert!(others.iter().all(|outcome| outcome == "prefetch"), "{others:?}");
}
