//! What a visitor gets who leaves an origin.

use crate::support::App;

const HOST: &str = "www.yoursite.com";

#[test]
fn a_known_user_arrives_as_himself() {
    let app = App::start();
    let reply = app.get(HOST, "/go/checkout").cookie("a=1; km_ai=zzz; km_ni=bob%40bob.com").send();
    assert_eq!(reply.status, 302);
    assert_eq!(reply.location(), Some("https://yoursite.3rd-party-checkout.com/cart?kmi=bob%40bob.com"));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(reply.field("content-length"), Some("0"));
    assert_eq!(reply.set_cookie(), None);
    assert_eq!(reply.field("referrer-policy"), None);
}

#[test]
fn an_anonymous_id_arrives_byte_for_byte() {
    let app = App::start();
    for (raw, escaped) in [
        ("fTTEi+Dx9uNZ/WYzrFM8hVkBqQY=", "fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D"),
        ("fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D", "fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D"),
    ] {
        let location = app.get(HOST, "/go/checkout").cookie(&format!("km_ai={raw}")).location();
        assert_eq!(location, format!("https://yoursite.3rd-party-checkout.com/cart?kmi={escaped}"));
    }
}

#[test]
fn a_visitor_without_an_identity_is_redirected_all_the_same() {
    let app = App::start();
    let expected = "https://yoursite.3rd-party-checkout.com/cart";
    for cookies in ["", "a=1; b=2", "km_ni=", "km_ni=null; km_ai=%zz", "KM_NI=bob", "xkm_ni=bob"] {
        assert_eq!(app.get(HOST, "/go/checkout").cookie(cookies).location(), expected, "{cookies}");
    }
    assert_eq!(app.get(HOST, "/go/checkout").location(), expected);
}

#[test]
fn an_unusable_named_cookie_gives_way_to_the_anonymous_one() {
    let app = App::start();
    for cookies in ["km_ni=; km_ai=x", "km_ni=null; km_ai=x", "km_ni=%; km_ai=x", "km_ai=x; km_ni=Guest"] {
        let location = app.get(HOST, "/go/checkout").cookie(cookies).location();
        assert_eq!(location, "https://yoursite.3rd-party-checkout.com/cart?kmi=x", "{cookies}");
    }
}

#[test]
fn the_cookie_is_found_whatever_stands_beside_it() {
    let app = App::start();
    let expected = "https://yoursite.3rd-party-checkout.com/cart?kmi=bob";
    for cookies in [&b"x=caf\xe9; km_ni=bob"[..], b"\xff\xfe; =; ;;km_ni=bob; \"", b"km_ni=; km_ni=bob; km_ni=eve"] {
        let reply = app.get(HOST, "/go/checkout").field("Cookie", cookies).send();
        assert_eq!(reply.location(), Some(expected), "{cookies:?}");
    }
    let reply = app.get(HOST, "/go/checkout").cookie("a=1").cookie("km_ni=bob").send();
    assert_eq!(reply.location(), Some(expected), "several fields are one");
}

#[test]
fn head_gets_the_redirect_without_an_identity() {
    let app = App::start();
    let reply = app.ask("HEAD", HOST, "/go/checkout").cookie("km_ni=bob").send();
    assert_eq!(reply.location(), Some("https://yoursite.3rd-party-checkout.com/cart"));
}

#[test]
fn a_link_takes_a_path_and_a_query_along() {
    let app = App::start();
    let shop = "https://yoursite.3rd-party-checkout.com";
    for (target, expected) in [
        ("/go/checkout/", "/cart?kmi=x"),
        ("/go/checkout/a/b", "/cart/a/b?kmi=x"),
        ("/go/checkout/a/", "/cart/a/?kmi=x"),
        ("/go/slashed/a", "/shop/a?kmi=x"),
        ("/go/checkout?a=1&b=%2B", "/cart?a=1&b=%2B&kmi=x"),
        ("/go/checkout?", "/cart?kmi=x"),
        ("/go/query", "/cart?lang=en&kmi=x#pay"),
        ("/go/query?a=1", "/cart?lang=en&a=1&kmi=x#pay"),
        ("/go/query/more?kmi=evil&to=https://evil.example", "/cart/more?lang=en&to=https://evil.example&kmi=x#pay"),
        ("/go/checkout?q=caf\u{e9}", "/cart?q=caf%C3%A9&kmi=x"),
    ] {
        let location = app.get(HOST, target).cookie("km_ni=x").location();
        assert_eq!(location, format!("{shop}{expected}"), "{target}");
    }
}

#[test]
fn to_takes_the_other_pairs_of_the_query_along() {
    let app = App::start();
    for (target, expected) in [
        ("/go?to=https://ok.example/p?a=1&b=2&c", "https://ok.example/p?a=1&b=2&c&kmi=x"),
        ("/go?b=2&to=https%3A%2F%2Fok.example%2Fp%3Fa%3D1%23f&", "https://ok.example/p?a=1&b=2&kmi=x#f"),
        ("/go?%74o=https://ok.example&TO=y", "https://ok.example/?TO=y&kmi=x"),
        ("/go?to=https://ok.example/?&kmi=evil", "https://ok.example/?&kmi=x"),
    ] {
        assert_eq!(app.get(HOST, target).cookie("km_ni=x").location(), expected, "{target}");
    }
}

#[test]
fn an_identity_that_does_not_fit_is_left_out() {
    let app = App::start();
    // 1,000 letters of two bytes are 6,000 bytes escaped, and 255 of four bytes add 3,060; 2,000 alone are 12,000.
    let target = format!("/go?to=https://ok.example/{}", "\u{e9}".repeat(1000));
    let long = "%F0%9F%98%80".repeat(255);
    let location = app.get(HOST, &target).cookie(&format!("km_ni={long}")).location();
    assert!(!location.contains("kmi=") && location.len() > 6000);
    let target = format!("/go?to=https://ok.example/{}", "\u{e9}".repeat(2000));
    let reply = app.get(HOST, &target).cookie("km_ni=bob").send();
    assert_eq!((reply.status, reply.code()), (400, "bad_to"));
}

#[test]
fn the_port_of_the_host_is_matched_before_the_host_alone() {
    let app = App::with(
        "
pairs:
  - origin: www.yoursite.com
    destination: first.example
    links: { to: / }
  - origin: www.yoursite.com:8443
    destination: second.example
    links: { to: / }
",
    );
    assert_eq!(app.get("www.yoursite.com", "/go/to").location(), "https://first.example/");
    assert_eq!(app.get("WWW.YourSite.com:8443", "/go/to").location(), "https://second.example/");
    assert_eq!(app.get("www.yoursite.com:9999", "/go/to").location(), "https://first.example/");
}

#[test]
fn the_first_pair_that_admits_the_url_gives_the_rules() {
    let app = App::with(
        "
pairs:
  - origin: www.yoursite.com
    destination: a.example
    parameter: first
  - origin: www.yoursite.com
    destination: [b.example, \"*.a.example\"]
    identity: { cookies: [user] }
  - origin: other.example
    destination: c.example
",
    );
    let go = |to: &str| app.get(HOST, &format!("/go?to=https://{to}/")).cookie("km_ni=bob; user=eve").send();
    assert_eq!(go("a.example").location(), Some("https://a.example/?first=bob"));
    assert_eq!(go("b.example").location(), Some("https://b.example/?kmi=eve"));
    assert_eq!(go("x.a.example").location(), Some("https://x.a.example/?kmi=eve"));
    assert_eq!(go("c.example").status, 403, "a pair serves only its own origins");
}

#[test]
fn the_log_has_a_line_for_each_request_and_nothing_private_in_it() {
    let app = App::start();
    let secret = "bob%40bob.com";
    app.get(HOST, "/go/checkout?token=secret").cookie(&format!("km_ni={secret}")).send();
    app.get(HOST, "/go/checkout%3Fkmi=bob%40bob.com").cookie(&format!("km_ni={secret}")).send();
    app.get("ok.example", "/cart?kmi=bob%40bob.com").send();
    app.get("bob%40bob.com", "/?kmi=bob%40bob.com").send();
    app.get("unknown.example", "/bob@bob.com").send();
    let log = app.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    for field in ["time", "role", "pair", "outcome", "status", "method", "host", "path", "identity", "micros", "id"] {
        assert!(lines.iter().all(|line| line.get(field).is_some()), "{field} in {log}");
    }
    assert_eq!(lines[0]["outcome"], "handed_off");
    assert_eq!(lines[0]["identity"], "named");
    assert_eq!(lines[0]["path"], "/go/checkout");
    assert_eq!(lines[2]["outcome"], "set");
    assert_eq!(lines[4]["outcome"], "unknown_host");
    for private in ["bob%40", "bob@", "secret", "token", "?"] {
        assert!(!log.contains(private), "{private} in {log}");
    }
}
