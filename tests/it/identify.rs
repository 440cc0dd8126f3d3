//! What a proxy learns at `/-/identify`, which asks before it serves a page itself.

use crate::sealed::{BOB, HOST, OLD, PAIR, app, column, cookie_of, log, outcomes, pair, token};
use crate::support::{App, Ask, Reply};

/// Whatever happens, the proxy goes on and serves the page; gives the cookie that it passes on.
fn learned(ask: Ask<'_>) -> Option<String> {
    let reply = ask.send();
    assert_eq!((reply.status, &*reply.body, reply.field("cache-control")), (200, "", Some("no-store")), "{reply:?}");
    assert_eq!((reply.location(), reply.field("content-type")), (None, None), "{reply:?}");
    assert!(reply.count("set-cookie") <= 1);
    reply.set_cookie().map(str::to_owned)
}

/// The question of a proxy about a page: in nginx's way, in Caddy's or in Envoy's.
fn about<'a>(app: &'a App, way: &str, target: &'a str, place: &'a mut String) -> Ask<'a> {
    place.push_str("/-/identify");
    if way == "behind the path" {
        place.push_str(target);
        return app.get(HOST, place);
    }
    app.get(HOST, place).field(way, target.as_bytes())
}

const WAYS: [&str; 3] = ["X-Original-URI", "X-Forwarded-Uri", "behind the path"];

#[test]
fn it_is_the_cookie_of_the_landing() {
    let app = App::start();
    for target in ["/cart?a=1&kmi=bob%40bob.com&b=%2B", "/?%6bmi=a+b", "/x?km_i=%C3%A9", "//a%2fb/../c?&kmi=x&"] {
        let landing = app.get(HOST, target).send();
        assert!(landing.set_cookie().is_some(), "{target}");
        for way in WAYS {
            assert_eq!(learned(about(&app, way, target, &mut String::new())).as_deref(), landing.set_cookie(), "{way}");
        }
    }
}

#[test]
fn nothing_is_in_the_way_of_the_page() {
    let app = App::start();
    for target in [
        "/cart",
        "/cart?a=kmi",
        "/cart?kmi=a&kmi=b",
        "/cart?kmi=null",
        "/cart?kmi=%zz",
        "/cart?kmt=x",
        "/go/checkout",
        "/",
    ] {
        for way in WAYS {
            assert_eq!(learned(about(&app, way, target, &mut String::new())), None, "{way} {target}");
        }
    }
    for target in ["", "cart?kmi=bob", "https://ok.example/?kmi=bob", "*", "?kmi=bob"] {
        assert_eq!(learned(app.get(HOST, "/-/identify").field("X-Original-URI", target.as_bytes())), None, "{target}");
    }
    assert_eq!(learned(app.get(HOST, "/-/identify").field("X-Original-URI", b"/\xff?kmi=bob")), None);
    let twice = app.get(HOST, "/-/identify").field("X-Original-URI", b"/?kmi=a").field("X-Original-URI", b"/?kmi=b");
    assert_eq!(learned(twice), None);
}

#[test]
fn a_mistake_in_the_configuration_is_in_the_log_and_not_in_the_way() {
    let app = App::start();
    let target = "/-/identify/cart?kmi=bob%40bob.com";
    for host in ["www.yoursite.com", "yoursite.3rd-party-checkout.com", "elsewhere.example", "a b", HOST, HOST] {
        let ask = app.get(host, if host == HOST { "/-/identify/cart" } else { target });
        assert_eq!(learned(ask), None, "{host}");
    }
    let lines = log(app);
    assert_eq!(
        column(&lines, "outcome"),
        ["not_found", "not_found", "unknown_host", "bad_host", "no_identity", "no_identity"]
    );
    assert_eq!(column(&lines, "role"), ["none", "none", "none", "none", "destination", "destination"]);
    assert!(lines.iter().all(|line| line["status"] == 200 && line["path"] == "/-/identify/cart"), "{lines:?}");
}

#[test]
fn what_is_no_visit_sets_nothing() {
    let app = App::start();
    let ask = || app.get(HOST, "/-/identify").field("X-Original-URI", b"/?kmi=bob");
    assert!(learned(ask().field("X-Original-Method", b"GET")).is_some());
    assert!(learned(ask().field("Sec-Fetch-Mode", b"navigate").field("Sec-Fetch-Dest", b"document")).is_some());
    for (name, value) in [
        ("X-Original-Method", "HEAD"),
        ("X-Original-Method", "PUT"),
        ("X-Original-Method", ""),
        ("X-Forwarded-Method", "HEAD"),
        ("Sec-Fetch-Dest", "image"),
        ("Sec-GPC", "1"),
        ("Sec-Purpose", "prefetch"),
    ] {
        assert_eq!(learned(ask().field(name, value.as_bytes())), None, "{name}: {value}");
    }
    let told_both = ask().field("X-Original-Method", b"GET").field("X-Forwarded-Method", b"HEAD");
    assert_eq!(learned(told_both), None, "of two methods the more careful one counts");
    for method in ["HEAD", "PUT"] {
        assert_eq!(learned(app.ask(method, HOST, "/-/identify/?kmi=bob")), None, "{method}");
        let told = app.ask(method, HOST, "/-/identify").field("X-Original-URI", b"/?kmi=bob");
        assert_eq!(learned(told.field("X-Original-Method", b"GET")), None, "{method}");
    }
    let refused = "method_not_allowed";
    let no = "not_navigation";
    assert_eq!(
        outcomes(app),
        ["set", "set", no, refused, refused, no, no, "gpc", "prefetch", no, no, no, refused, refused]
    );
}

#[test]
fn a_token_is_adopted_once() {
    let app = app(&[OLD], PAIR);
    let target = format!("/cart?kmt={}", token(&app, &format!("km_ni={BOB}")));
    let ask = || app.get(HOST, "/-/identify").field("X-Original-URI", target.as_bytes());
    assert_eq!(learned(ask().field("X-Original-Method", b"HEAD")), None);
    assert!(learned(ask()).is_some_and(|cookie| cookie.starts_with("km_ni=bob%40bob.com; ")));
    assert_eq!(learned(ask()), None, "another browser");
    assert!(learned(ask().cookie("km_ni=bob%40bob.com")).is_some(), "the same browser, which reloads");
    assert_eq!(cookie_of(&crate::sealed::land(&app, target.split_once('?').unwrap().1, "")), None, "used up there too");
    assert_eq!(outcomes(app), ["handed_off", "not_navigation", "set", "replayed", "same", "replayed"]);
}

#[test]
fn a_plain_identity_beside_keys_and_a_named_visitor_stay_as_they_are() {
    let sealed = app(&[OLD], PAIR);
    assert_eq!(learned(sealed.get(HOST, "/-/identify/?kmi=eve")), None);
    assert_eq!(outcomes(sealed), ["unsealed"]);
    let plain = App::with(&pair("", ""));
    assert_eq!(learned(plain.get(HOST, "/-/identify/?kmi=eve").cookie("km_ni=bob")), None);
    assert_eq!(outcomes(plain), ["kept"]);
}

#[test]
fn other_paths_are_what_they_were() {
    let app = App::start();
    let code = |target: &str| -> Reply { app.get(HOST, target).field("X-Original-URI", b"/?kmi=bob").send() };
    for target in ["/-/identifyx", "/-/", "/-", "/identify", "/-/Identify", "/a/-/identify"] {
        assert_eq!(code(target).code(), "not_found", "{target}");
    }
    assert_eq!(code("/-/identify%2f?kmi=bob").location(), Some("https://ok.example/-/identify%2f"), "a landing");
}
