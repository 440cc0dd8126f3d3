//! What a proxy in front says about a request, and who is believed about it.

use serde_json::Value;

use crate::support::{App, Client};

const PAIR: &str = "pairs: [{ origin: www.yoursite.com, destination: ok.example, links: { checkout: / } }]";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The lines of the log after requests with these fields each.
fn lines(trusted: &str, requests: &[&str]) -> Vec<Value> {
    let app = App::with(&format!("trusted_proxies: {trusted}\n{PAIR}"));
    for fields in requests {
        let head = format!("GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n{fields}\r\n");
        assert_eq!(Client::connect(app.address).send(head.as_bytes()).reply().unwrap().status, 302);
    }
    let log = app.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), requests.len());
    lines
}

/// Whether an id is crosslink's own: a number of the process, and a count.
fn is_own(line: &Value) -> bool {
    let (process, count) = line["id"].as_str().unwrap().split_once('-').unwrap();
    process.len() == 8 && u32::from_str_radix(process, 16).is_ok() && count.parse::<u64>().is_ok()
}

#[test]
fn a_trusted_proxy_names_the_request() {
    for trusted in ["127.0.0.1", "[10.0.0.0/8, 127.0.0.0/8]", "[\"::ffff:127.0.0.1\"]", "0.0.0.0/0"] {
        let fields = format!("X-Request-Id: 7f9-a.b:c_0\r\nTraceparent: {PARENT}\r\n");
        let lines = lines(trusted, &[&fields]);
        assert_eq!((&lines[0]["id"], &lines[0]["traceparent"]), (&"7f9-a.b:c_0".into(), &PARENT.into()), "{trusted}");
    }
}

#[test]
fn nobody_else_does() {
    for trusted in ["[]", "10.0.0.0/8", "[\"::1\", 127.0.0.2]", "\"::/0\""] {
        let others = "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n";
        let fields = format!("{others}X-Request-Id: given\r\ntraceparent: {PARENT}\r\n");
        let lines = lines(trusted, &[&fields, &fields]);
        assert!(lines.iter().all(|line| is_own(line) && line["traceparent"].is_null()), "{trusted}: {lines:?}");
        assert_ne!(lines[0]["id"], lines[1]["id"]);
    }
}

#[test]
fn what_is_no_id_is_not_taken() {
    let long = format!("X-Request-Id: {}\r\n", "a".repeat(129));
    let lines = lines(
        "127.0.0.1",
        &[
            "",
            "X-Request-Id:\r\n",
            "X-Request-Id: a b\r\n",
            "X-Request-Id: a\tb\r\n",
            "X-Request-Id: a\"b\r\n",
            "X-Request-Id: a\\b\r\n",
            "X-Request-Id: a@b\r\n",
            "X-Request-Id: <a>\r\n",
            "X-Request-Id: \u{eb}\r\n",
            "X-Request-Id: one\r\nX-Request-Id: two\r\n",
            &long,
            "traceparent: 00-1-2-01\r\n",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01\r\n",
            &format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\n"),
        ],
    );
    assert!(lines.iter().all(|line| is_own(line) && line["traceparent"].is_null()), "{lines:#?}");
}

#[test]
fn both_stand_in_lines_for_people_too() {
    let app = App::with(&format!("log: {{ format: text }}\ntrusted_proxies: 127.0.0.1\n{PAIR}"));
    let fields = format!("X-Request-Id: given\r\ntraceparent: {PARENT}\r\n");
    let head = format!("GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n{fields}\r\n");
    Client::connect(app.address).send(head.as_bytes()).reply().unwrap();
    let log = app.log();
    assert!(log.ends_with(&format!(" id=given traceparent={PARENT}\n")), "{log}");
}

#[test]
fn what_is_no_network_is_a_fault() {
    for network in ["10.0.0.0/33", "10.0.0", "example.com", "10.0.0.0/-1", "\"::/129\""] {
        let text = format!("trusted_proxies: [{network}]\n{PAIR}");
        let faults = crosslink::config::parse(&text).err().unwrap_or_else(|| panic!("{network}"));
        assert!(faults[0].problem.contains("is no network"), "{faults:?}");
        assert_eq!(faults[0].at.line, 1);
    }
}
