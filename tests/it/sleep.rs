//! Connections that are silent for a second and then speak again: nobody can tell that hyper was gone in the meantime.

use std::time::Duration;

use crate::support::{App, CONFIG, Client, needs, socket};
use crate::tls_client::{TlsService, ask};

const ASK: &[u8] = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n";

/// Longer than a connection stays awake.
const SILENCE: Duration = Duration::from_millis(1300);

fn pause() {
    std::thread::sleep(SILENCE);
}

#[test]
fn a_connection_is_served_whenever_it_speaks_again() {
    let app = App::start();
    let mut client = Client::connect(app.address);
    pause();
    for _ in 0..2 {
        assert_eq!(client.ask(ASK).unwrap().status, 302);
        pause();
    }
    // In pieces, with a silence in the middle of the head, and with the next request at its heels.
    client = client.send(&ASK[..20]);
    pause();
    client = client.send(&ASK[20..]).send(ASK);
    assert_eq!([client.reply().unwrap().status, client.reply().unwrap().status], [302, 302]);
    pause();
    assert_eq!(client.ask(b"nonsense\r\n\r\n").unwrap().status, 400);
}

#[test]
fn a_head_larger_than_the_first_look_is_read_whole() {
    let app = App::start();
    let mut client = Client::connect(app.address);
    let large = format!("GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for _ in 0..2 {
        pause();
        assert_eq!(client.ask(large.as_bytes()).unwrap().status, 302);
    }
}

#[test]
fn asleep_a_connection_has_its_patience_all_the_same() {
    let app = App::with(
        "{ limits: { idle_timeout: 2s }, pairs: [{ origin: www.yoursite.com, destination: ok.example, links: { checkout: / } }] }",
    );
    let mut client = Client::connect(app.address);
    assert_eq!(client.ask(ASK).unwrap().status, 302);
    let closed_after = client.closed_after();
    assert!(closed_after >= Duration::from_millis(1500), "{closed_after:?}");
}

#[test]
fn asleep_a_connection_is_closed_when_the_server_stops() {
    let mut app = App::start();
    let mut client = Client::connect(app.address);
    assert_eq!(client.ask(ASK).unwrap().status, 302);
    pause();
    app.stop();
    assert!(client.reply().is_none());
    assert_eq!(app.ended(), 0);
}

#[test]
fn what_comes_behind_a_body_is_not_taken_for_a_request() {
    let app = App::start();
    for post in [
        "Content-Length: 4\r\n\r\n\r\n\r\n",
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(app.address);
        let head = format!("POST /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n{post}");
        let reply = client.ask(head.as_bytes()).unwrap();
        // It is said, so that a proxy does not send somebody else's request on this connection.
        assert_eq!((reply.status, reply.field("connection")), (307, Some("close")), "{post:?}");
        assert!(client.ask(ASK).is_none(), "{post:?}");
    }
}

#[test]
fn a_head_of_mixed_line_ends_is_the_end_of_a_request() {
    let app = App::with(
        "{ limits: { head_timeout: 1500ms }, pairs: [{ origin: www.yoursite.com, destination: ok.example, links: { checkout: / } }] }",
    );
    let mut client = Client::connect(app.address);
    for _ in 0..3 {
        assert_eq!(client.ask(b"GET /go/checkout HTTP/1.1\nHost: www.yoursite.com\n\r\n").unwrap().status, 302);
        pause();
    }
}

#[test]
fn over_tls_too() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = TlsService::start(CONFIG);
    let mut client = served.client("www.yoursite.com", &[], socket(served.address));
    for _ in 0..2 {
        pause();
        assert_eq!(ask(&mut client, ASK), "HTTP/1.1 302 Found");
    }
}
