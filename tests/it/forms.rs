//! Forms that are sent by POST: method and body go along, on both sides, unless a pair refuses them.

use crate::support::{App, CONFIG, Client};

const HOST: &str = "www.yoursite.com";

#[test]
fn a_form_is_handed_off_with_its_method_and_the_identity() {
    let app = App::start();
    for (target, expected) in [
        ("/go/checkout", "https://yoursite.3rd-party-checkout.com/cart?kmi=bob"),
        ("/go?to=https://ok.example/pay%3Fa=1&b=2", "https://ok.example/pay?a=1&b=2&kmi=bob"),
    ] {
        let reply = app.ask("POST", HOST, target).cookie("km_ni=bob").send();
        assert_eq!((reply.status, reply.location()), (307, Some(expected)), "{target}");
        assert_eq!((reply.field("cache-control"), reply.set_cookie()), (Some("no-store"), None));
    }
    for (target, code) in
        [("/go?to=https://evil.example/", "not_allowed"), ("/go", "missing_to"), ("/go/nowhere", "unknown_link")]
    {
        assert_eq!(app.ask("POST", HOST, target).send().code(), code, "{target}");
    }
}

#[test]
fn a_form_that_arrives_is_sent_on_to_the_clean_address() {
    let app = App::start();
    let reply = app.ask("POST", "ok.example", "/pay?kmi=bob&a=1").send();
    assert_eq!((reply.status, reply.location()), (307, Some("https://ok.example/pay?a=1")));
    assert!(reply.set_cookie().is_some_and(|cookie| cookie.starts_with("km_ni=bob; ")), "{reply:?}");
}

#[test]
fn what_is_no_navigation_carries_nothing() {
    let app = App::start();
    let ask = app.ask("POST", HOST, "/go/checkout").cookie("km_ni=bob").field("Sec-Fetch-Mode", b"cors");
    let reply = ask.send();
    let plain = "https://yoursite.3rd-party-checkout.com/cart";
    assert_eq!((reply.status, reply.location()), (307, Some(plain)));
}

#[test]
fn a_pair_may_refuse_forms_on_both_sides() {
    let app = App::with(
        "pairs:
  - { origin: www.yoursite.com, destination: ok.example, links: { checkout: / }, landing: {}, post: refuse }
  - { origin: www.yoursite.com, destination: other.example, links: { other: / }, post: preserve }
",
    );
    for (host, target) in [(HOST, "/go/checkout"), ("ok.example", "/?kmi=bob")] {
        let reply = app.ask("POST", host, target).send();
        assert_eq!((reply.status, reply.code()), (405, "method_not_allowed"), "{target}");
        assert_eq!(app.get(host, target).send().status, 302);
    }
    assert_eq!(app.ask("POST", HOST, "/go/other").send().status, 307);
}

#[test]
fn the_body_is_neither_waited_for_nor_logged() {
    let app = App::with(CONFIG);
    let form = "POST /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 1000\r\n\r\ncard=4111111111111111&";
    let reply = Client::connect(app.address).send(form.as_bytes()).reply().unwrap();
    assert_eq!((reply.status, reply.field("connection")), (307, Some("close")));
    let log = app.log();
    assert!(log.contains("\"method\":\"POST\"") && !log.contains("4111"), "{log}");
}

#[test]
fn an_identity_in_json_is_read_where_a_pair_says_so() {
    let app = App::with(
        "pairs:
  - origin: www.yoursite.com
    destination: ok.example
    parameter: ajs_aid
    identity: { cookies: [ajs_anonymous_id], decode: json }
    links: { checkout: / }
",
    );
    for (cookie, expected) in [
        ("%229f1c-44%22", "https://ok.example/?ajs_aid=9f1c-44"),
        ("\"9f1c-44\"", "https://ok.example/?ajs_aid=9f1c-44"),
        ("9f1c-44", "https://ok.example/?ajs_aid=9f1c-44"),
        ("%229f1c-44", "https://ok.example/"),
    ] {
        let location = app.get(HOST, "/go/checkout").cookie(&format!("ajs_anonymous_id={cookie}")).location();
        assert_eq!(location, expected, "{cookie}");
    }
}
