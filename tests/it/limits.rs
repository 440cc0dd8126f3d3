//! What one client may cost: time, connections, and a listener's patience.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{App, Client};

const ASK: &[u8] = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n";

/// An app that waits for a head and for a request as long as given.
fn app(limits: &str) -> App {
    App::with(&format!(
        "
limits: {{ {limits} }}
pairs:
  - origin: www.yoursite.com
    destination: ok.example
    links: {{ checkout: / }}
"
    ))
}

const SHORT: Duration = Duration::from_millis(300);
/// Long enough that no test waits for it.
const LONG: &str = "60s";

#[test]
fn a_silent_connection_is_closed() {
    let app = app(&format!("idle_timeout: 300ms, head_timeout: {LONG}"));
    assert!(Client::connect(app.address).closed_after() >= SHORT);
}

#[test]
fn an_idle_connection_is_closed() {
    let app = app(&format!("idle_timeout: 300ms, head_timeout: {LONG}"));
    let mut client = Client::connect(app.address).send(ASK);
    assert_eq!(client.reply().unwrap().status, 302);
    // The reply took a little of the time already.
    assert!(client.closed_after() >= SHORT / 2);
}

#[test]
fn a_head_that_does_not_end_is_closed() {
    let app = app(&format!("head_timeout: 300ms, idle_timeout: {LONG}"));
    assert!(Client::connect(app.address).send(b"G").closed_after() >= SHORT);
    assert!(Client::connect(app.address).send(b"GET / HTTP/1.1\r\nHost: a").closed_after() >= SHORT);
    // Behind a whole request on the same connection, too.
    let mut client = Client::connect(app.address).send(ASK);
    assert_eq!(client.reply().unwrap().status, 302);
    assert!(client.send(b"GET /go").closed_after() >= SHORT);
}

#[test]
fn a_dripped_head_is_closed_although_bytes_keep_coming() {
    let app = app(&format!("head_timeout: 300ms, idle_timeout: {LONG}"));
    let mut stream = TcpStream::connect(app.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let dripped = (0..200).take_while(|_| {
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"x").is_ok()
    });
    assert!(dripped.count() < 200, "4 seconds of dripping were let through");
}

#[test]
fn an_idle_connection_outlives_the_time_for_a_head() {
    let app = app(&format!("head_timeout: 50ms, idle_timeout: {LONG}"));
    let mut client = Client::connect(app.address);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(150));
        client = client.send(ASK);
        assert_eq!(client.reply().unwrap().status, 302);
    }
}

#[test]
fn newcomers_wait_for_a_place() {
    let app = app("connections: 2");
    let mut first = Client::connect(app.address).send(ASK);
    let mut second = Client::connect(app.address).send(ASK);
    assert_eq!(first.reply().unwrap().status, 302);
    assert_eq!(second.reply().unwrap().status, 302);
    let mut others: Vec<Client> = (0..4).map(|_| Client::connect(app.address).send(ASK)).collect();
    let mut probe = [0];
    let stream = TcpStream::connect(app.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(std::io::Read::read(&mut &stream, &mut probe).is_err(), "nobody is served over the limit");
    drop((first, second, stream));
    for mut client in others.drain(..) {
        assert_eq!(client.reply().unwrap().status, 302);
    }
}

#[test]
fn clients_that_leave_early_harm_nobody() {
    let app = app("connections: 3");
    for bytes in [&b""[..], b"G", b"GET / HT", ASK, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"] {
        for _ in 0..20 {
            drop(Client::connect(app.address).send(bytes));
        }
    }
    assert_eq!(Client::connect(app.address).send(ASK).reply().unwrap().status, 302);
}

#[test]
fn a_request_whose_sender_says_no_more_is_answered() {
    let app = App::start();
    let mut stream = TcpStream::connect(app.address).unwrap();
    stream.write_all(ASK).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    std::io::Read::read_to_string(&mut stream, &mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 302"), "{reply}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let app = App::start();
    let mut bytes = Vec::new();
    for number in 0..50 {
        let ask = format!("GET /go/checkout/{number} HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n");
        bytes.extend_from_slice(ask.as_bytes());
    }
    let mut client = Client::connect(app.address).send(&bytes);
    for number in 0..50 {
        let location = client.reply().unwrap().location().unwrap().to_owned();
        assert!(location.ends_with(&format!("/cart/{number}")), "{location}");
    }
}

#[test]
fn stopping_answers_what_has_begun_and_closes_what_is_idle() {
    let mut app = app(&format!("drain: 20s, head_timeout: {LONG}, idle_timeout: {LONG}"));
    let silent = Client::connect(app.address);
    let mut idle = Client::connect(app.address).send(ASK);
    assert_eq!(idle.reply().unwrap().status, 302);
    let (begun, rest) = ASK.split_at(5);
    let fresh = Client::connect(app.address).send(begun);
    let mut kept = Client::connect(app.address).send(ASK);
    assert_eq!(kept.reply().unwrap().status, 302);
    let kept = kept.send(begun);
    // The bytes are in the server once a later connection was served.
    assert_eq!(Client::connect(app.address).send(ASK).reply().unwrap().status, 302);
    app.stop();
    silent.closed_after();
    idle.closed_after();
    for client in [fresh, kept] {
        let mut client = client.send(rest);
        let reply = client.reply().unwrap();
        assert_eq!((reply.status, reply.field("connection")), (302, Some("close")));
        client.closed_after();
    }
    assert_eq!(app.ended(), 0);
    assert!(TcpStream::connect(app.address).is_err(), "nothing is accepted any more");
}

#[test]
fn stopping_answers_those_who_wait_for_a_place() {
    let mut app = app(&format!("connections: 1, drain: 20s, head_timeout: {LONG}"));
    let (begun, rest) = ASK.split_at(5);
    let held = Client::connect(app.address).send(begun);
    let waiting: Vec<Client> = (0..6).map(|_| Client::connect(app.address).send(ASK)).collect();
    app.stop();
    for mut client in waiting {
        assert_eq!(client.reply().unwrap().status, 302);
    }
    assert_eq!(held.send(rest).reply().unwrap().status, 302);
    assert_eq!(app.ended(), 0);
}

#[test]
fn the_beginning_of_a_request_counts_although_it_came_with_the_one_before() {
    let (begun, rest) = ASK.split_at(40);
    let both = [ASK, begun].concat();
    // It is answered while the server stops,
    let mut stopping = app(&format!("drain: 20s, head_timeout: {LONG}, idle_timeout: {LONG}"));
    let mut client = Client::connect(stopping.address).send(&both);
    assert_eq!(client.reply().unwrap().status, 302);
    stopping.stop();
    std::thread::sleep(SHORT);
    assert_eq!(client.send(rest).reply().unwrap().status, 302);
    assert_eq!(stopping.ended(), 0);
    // and has no more time than another.
    let hasty = app(&format!("head_timeout: 300ms, idle_timeout: {LONG}"));
    let mut client = Client::connect(hasty.address).send(&both);
    assert_eq!(client.reply().unwrap().status, 302);
    client.closed_after();
}

#[test]
fn a_host_of_thousands_of_labels_is_refused_unseen() {
    let app = App::start();
    let host = format!("{}wild.example", "a.".repeat(15_000));
    assert_eq!(app.get(&host, "/?kmi=x").send().code(), "bad_host");
    let to = format!("/go?to=https://{}wild.example", "a.".repeat(2000));
    assert_eq!(app.get("www.yoursite.com", &to).send().code(), "not_allowed");
}

#[test]
fn a_head_that_is_refused_unread_has_a_line_in_the_log() {
    let app = App::start();
    let large = format!("GET / HTTP/1.1\r\nCookie: km_ni=bob; {}\r\n\r\n", "a".repeat(40_000));
    assert_eq!(app.raw(large.as_bytes()).status, 431);
    assert_eq!(app.raw(b"nonsense\r\n\r\n").status, 400);
    let log = app.log();
    let statuses: Vec<u64> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (line["outcome"] == "unreadable").then(|| line["status"].as_u64().unwrap()).unwrap())
        .collect();
    assert_eq!(statuses, [431, 400]);
    assert!(!log.contains("bob") && !log.contains("nonsense"));
}

#[test]
fn stopping_ends_when_the_time_to_drain_is_over() {
    let mut app = app(&format!("drain: 300ms, head_timeout: {LONG}"));
    let _begun = Client::connect(app.address).send(b"GET /");
    assert_eq!(Client::connect(app.address).send(ASK).reply().unwrap().status, 302);
    app.stop();
    assert_eq!(app.ended(), 1);
}
