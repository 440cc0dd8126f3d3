//! What a visitor gets who arrives on a destination.

use crate::support::{App, Reply};

const COOKIE: &str = "SameSite=Lax; Secure; Path=/; Domain=ok.example; Max-Age=34560000";
const ANONYMOUS: &str = "fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D";

fn land(app: &App, target: &str, cookies: &str) -> Reply {
    let reply = app.get("ok.example", target).cookie(cookies).send();
    assert_eq!(reply.status, 302, "{target}: {reply:?}");
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(reply.field("referrer-policy"), None);
    assert!(reply.count("set-cookie") <= 1);
    reply
}

#[test]
fn the_identity_becomes_a_cookie_and_the_url_is_clean() {
    let app = App::start();
    let reply = land(&app, "/cart?a=1&kmi=bob%40bob.com&b=%2B+;c", "");
    assert_eq!(reply.location(), Some("https://ok.example/cart?a=1&b=%2B+;c"));
    assert_eq!(reply.set_cookie(), Some(format!("km_ni=bob%40bob.com; {COOKIE}").as_str()));
}

#[test]
fn an_anonymous_identity_lands_in_km_ni_and_never_in_km_ai() {
    let app = App::start();
    let reply = land(&app, &format!("/?kmi={ANONYMOUS}"), "");
    assert_eq!(reply.set_cookie(), Some(format!("km_ni={ANONYMOUS}; {COOKIE}").as_str()));
}

#[test]
fn every_name_of_an_identity_is_taken_out() {
    let app = App::start();
    for (target, clean) in [
        ("/?%6b%6D%69=x", "/"),
        ("/?km_i=x&a", "/?a"),
        ("/?a&%6b%6d%5f%69=x", "/?a"),
        ("/?&kmi=x", "/?"),
        ("/a%2fb/../c?kmi=x", "/a%2fb/../c"),
        ("/caf\u{e9}?kmi=x&q=\u{e9}", "/caf%C3%A9?q=%C3%A9"),
    ] {
        let reply = land(&app, target, "");
        assert_eq!(reply.location(), Some(format!("https://ok.example{clean}").as_str()), "{target}");
        assert!(reply.set_cookie().is_some_and(|cookie| cookie.starts_with("km_ni=x;")), "{target}");
    }
}

#[test]
fn what_cannot_be_believed_is_taken_out_and_not_adopted() {
    let app = App::start();
    for target in [
        "/?kmi=x&kmi=y",
        "/?kmi=x&kmi=x",
        "/?kmi=x&km_i=y",
        "/?kmi=x&kmt=y",
        "/?kmt=v4.local.abc",
        "/?kmi=",
        "/?kmi",
        "/?kmi=null",
        "/?kmi=%22%22",
        "/?kmi=guest",
        "/?kmi=%zz",
        "/?kmi=%ff",
        "/?kmi=a%0d%0aSet-Cookie:b",
        "/?kmi=+",
    ] {
        let reply = land(&app, target, "");
        assert_eq!(reply.location(), Some("https://ok.example/"), "{target}");
        assert_eq!(reply.set_cookie(), None, "{target}");
    }
    assert!(app.log().lines().all(|line| line.contains(r#""outcome":"invalid""#)));
}

#[test]
fn a_named_identity_stays_and_an_anonymous_one_gives_way() {
    let table = [
        ("bob", "", true, "set"),
        ("bob", "km_ni=null", true, "set"),
        ("bob", "km_ni=bob", true, "same"),
        ("bob", "km_ai=bob", true, "same"),
        ("bob", "km_ni=eve", false, "kept"),
        ("bob", "km_ai=eve", false, "kept"),
        ("bob", "km_ni=eve; km_ai=bob", false, "kept"),
        ("bob", "km_ni=aTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D", true, "replaced"),
        ("bob", "km_ai=aTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D", true, "replaced"),
        (ANONYMOUS, "km_ni=eve", false, "kept"),
    ];
    let app = App::start();
    for (arriving, cookies, adopted, _) in table {
        let reply = land(&app, &format!("/?kmi={arriving}"), cookies);
        assert_eq!(reply.set_cookie().is_some(), adopted, "{arriving} over {cookies}");
    }
    let log = app.log();
    let outcomes = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["outcome"].clone());
    assert!(outcomes.eq(table.map(|(_, _, _, outcome)| outcome)), "{log}");
}

#[test]
fn existing_can_be_replaced_or_kept() {
    let config = |existing: &str| {
        format!(
            "
pairs:
  - origin: www.yoursite.com
    destination: ok.example
    landing: {{ existing: {existing} }}
"
        )
    };
    let replace = App::with(&config("replace"));
    assert!(land(&replace, "/?kmi=bob", "km_ni=eve").set_cookie().is_some());
    let keep = App::with(&config("keep"));
    assert_eq!(land(&keep, "/?kmi=bob", &format!("km_ai={ANONYMOUS}")).set_cookie(), None);
    assert!(land(&keep, "/?kmi=bob", "km_ni=bob").set_cookie().is_some(), "the same is renewed");
}

#[test]
fn head_lands_without_a_cookie() {
    let app = App::start();
    let reply = app.ask("HEAD", "ok.example", "/cart?kmi=bob").send();
    assert_eq!((reply.status, reply.location()), (302, Some("https://ok.example/cart")));
    assert_eq!(reply.set_cookie(), None);
}

#[test]
fn the_location_is_on_the_host_that_was_matched() {
    let app = App::start();
    for (host, location) in [
        ("OK.example", "https://ok.example/c"),
        ("ok.example:443", "https://ok.example/c"),
        ("a.wild.example", "https://a.wild.example/c"),
        ("a.b.WILD.example", "https://a.b.wild.example/c"),
        ("ports.example:8443", "https://ports.example:8443/c"),
        ("paths.example", "https://paths.example/c"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example/c"),
        ("127.0.0.1", "https://127.0.0.1/c"),
        ("[0::1]:8080", "https://[::1]:8080/c"),
        ("plain.example", "http://plain.example/c"),
    ] {
        assert_eq!(app.get(host, "/c?kmi=bob").location(), location, "{host}");
    }
    for path in ["//evil.example/", "/\\evil.example", "/.//evil.example", "//evil.example/%2e%2e"] {
        let location = app.get("ok.example", &format!("{path}?kmi=x")).location();
        assert_eq!(location, format!("https://ok.example{path}"));
    }
}

#[test]
fn the_cookie_is_valid_where_the_script_keeps_its_own() {
    let app = App::with(
        "
pairs:
  - origin: www.yoursite.com
    destination: [yoursite.3rd-party-checkout.com, \"*.shops.co.uk\", me.github.io, 127.0.0.1, http://localhost]
    landing: {}
  - origin: www.yoursite.com
    destination: host.example
    landing: { domain: host, max_age: 30d, cookie: my_id }
  - origin: www.yoursite.com
    destination: [a.given.example, \"*.b.given.example\"]
    landing: { domain: .given.example, same_site: none }
",
    );
    let cookie = |host: &str| app.get(host, "/?kmi=x").send().set_cookie().unwrap().to_owned();
    let site = |domain: &str| format!("km_ni=x; SameSite=Lax; Secure; Path=/; Domain={domain}; Max-Age=34560000");
    assert_eq!(cookie("yoursite.3rd-party-checkout.com"), site("3rd-party-checkout.com"));
    assert_eq!(cookie("a.shops.co.uk"), site("shops.co.uk"));
    assert_eq!(cookie("me.github.io"), site("me.github.io"));
    assert_eq!(cookie("127.0.0.1"), "km_ni=x; SameSite=Lax; Secure; Path=/; Max-Age=34560000");
    assert_eq!(cookie("localhost"), "km_ni=x; SameSite=Lax; Path=/; Max-Age=34560000");
    assert_eq!(cookie("host.example"), "my_id=x; SameSite=Lax; Secure; Path=/; Max-Age=2592000");
    let given = "km_ni=x; SameSite=None; Partitioned; Secure; Path=/; Domain=given.example; Max-Age=34560000";
    assert_eq!(cookie("a.given.example"), given);
    assert_eq!(cookie("x.b.given.example"), given);
}

#[test]
fn nothing_lands_where_no_landing_is_configured() {
    let app = App::start();
    let reply = app.get("yoursite.3rd-party-checkout.com", "/cart?kmi=bob").send();
    assert_eq!((reply.status, reply.code()), (404, "not_found"));
}

#[test]
fn a_host_can_be_origin_and_destination() {
    let app = App::with(
        "
pairs:
  - origin: a.example
    destination: b.example
    links: { over: / }
    landing: {}
  - origin: b.example
    destination: a.example
    links: { back: / }
    landing: {}
",
    );
    assert_eq!(app.get("b.example", "/go/back").cookie("km_ni=x").location(), "https://a.example/?kmi=x");
    assert_eq!(app.get("a.example", "/?kmi=x").location(), "https://a.example/");
    assert_eq!(app.get("a.example", "/go/over?kmi=x").location(), "https://a.example/go/over");
}
