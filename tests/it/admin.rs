//! The operator's port.

use std::net::SocketAddr;

use crate::support::{Client, Reply, Service, crosslink};

const PAIR: &str =
    "pairs: [{ name: own, origin: www.yoursite.com, destination: ok.example, links: { checkout: / }, landing: {} }]";

fn serve() -> (Service, SocketAddr) {
    let mut service = Service::serve(crosslink(), &format!("listen: 127.0.0.1:0\n{PAIR}"), None);
    let address = service.listening(1)[0];
    (service, address)
}

fn get(address: SocketAddr, host: &str, target: &str) -> Reply {
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: km_ni=bob\r\n\r\n");
    Client::connect(address).send(head.as_bytes()).reply().expect("a reply")
}

#[test]
fn what_happened_is_counted() {
    let (service, address) = serve();
    for (host, target) in [("www.yoursite.com", "/go/checkout"), ("ok.example", "/?kmi=eve"), ("evil.example", "/")] {
        get(address, host, target);
    }
    let metrics = get(service.admin(), "localhost", "/metrics");
    assert_eq!(metrics.field("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    for line in [
        r#"crosslink_handoffs_total{pair="own",identity="named"} 1"#,
        r#"crosslink_landings_total{pair="own",outcome="kept"} 1"#,
        r#"crosslink_refusals_total{code="unknown_host"} 1"#,
        r#"crosslink_request_duration_seconds_count{role="origin"} 1"#,
        "crosslink_config_last_reload_successful 1",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line} in {}", metrics.body);
    }
}
