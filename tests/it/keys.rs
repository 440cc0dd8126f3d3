//! Each key of the configuration does what it says; what no other test shows.

use crate::support::{App, Client, Service, crosslink};

const PAIR: &str = "pairs: [{ origin: www.yoursite.com, destination: ok.example, links: { checkout: / } }]";
const HOST: &str = "www.yoursite.com";

#[test]
fn route_moves_the_links() {
    let app = App::with(&format!("route: /out/to\n{PAIR}"));
    assert_eq!(app.get(HOST, "/out/to/checkout").location(), "https://ok.example/");
    assert_eq!(app.get(HOST, "/go/checkout").send().code(), "not_found");
}

#[test]
fn log_requests_says_who_gets_a_line() {
    for (requests, lines) in [("all", 2), ("refused", 1), ("off", 0)] {
        let app = App::with(&format!("log: {{ requests: {requests} }}\n{PAIR}"));
        app.get(HOST, "/go/checkout").send();
        app.get(HOST, "/").send();
        assert_eq!(app.log().lines().count(), lines, "{requests}");
    }
}

#[test]
fn log_format_can_be_for_people() {
    let app = App::with(&format!("log: {{ format: text }}\n{PAIR}"));
    app.get(HOST, "/go/checkout").cookie("km_ni=bob").send();
    let log = app.log();
    let pair = r#"origin pair="www.yoursite.com to ok.example" identity=named "#;
    assert!(log.contains(" 302 handed_off GET www.yoursite.com/go/checkout ") && log.contains(pair), "{log}");
}

#[test]
fn defaults_count_where_a_pair_says_nothing() {
    let app = App::with(
        "
defaults:
  parameter: who
  identity: { cookies: [user] }
  landing: { existing: keep, cookie: user, domain: host }
pairs:
  - { origin: www.yoursite.com, destination: ok.example, landing: {} }
  - { origin: www.yoursite.com, destination: b.example, landing: { existing: replace }, parameter: other }
  - { origin: www.yoursite.com, destination: c.example, identity: { cookies: [mine] } }
",
    );
    let go = |to: &str| app.get(HOST, &format!("/go?to=https://{to}/")).cookie("user=bob; mine=eve").location();
    assert_eq!(go("ok.example"), "https://ok.example/?who=bob");
    assert_eq!(go("b.example"), "https://b.example/?other=bob");
    assert_eq!(go("c.example"), "https://c.example/?who=eve");
    let land = |host: &str, target: &str| app.get(host, target).cookie("user=there").send();
    assert_eq!(land("ok.example", "/?who=bob").set_cookie(), None);
    let replaced = land("b.example", "/?other=bob");
    let expected = "user=bob; SameSite=Lax; Secure; Path=/; Max-Age=34560000";
    assert_eq!(replaced.set_cookie(), Some(expected));
    assert_eq!(land("c.example", "/?who=bob").code(), "not_found", "defaults switch no landing on");
}

#[test]
fn every_listed_address_is_listened_on() {
    let config = format!("listen: [\"127.0.0.1:0\", \"[::1]:0\"]\n{PAIR}");
    let mut service = Service::serve(crosslink(), &config, None);
    for address in service.listening(2) {
        let ask = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n";
        assert_eq!(Client::connect(address).send(ask).reply().unwrap().status, 302);
    }
}

#[test]
fn a_port_chooses_each_side_of_a_host_by_itself() {
    let app = App::with(
        "
pairs:
  - { origin: both.example, destination: ok.example, links: { checkout: / } }
  - { origin: www.yoursite.com, destination: both.example:8443, landing: {} }
",
    );
    assert_eq!(app.get("both.example:8443", "/go/checkout").location(), "https://ok.example/");
    assert_eq!(app.get("both.example:8443", "/?kmi=x").location(), "https://both.example:8443/");
    assert_eq!(app.get("both.example", "/?kmi=x").send().code(), "not_found");
}
