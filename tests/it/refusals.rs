//! Every request that is not served, with its status, code and head.

use crate::support::{App, Client};

const HOST: &str = "www.yoursite.com";

#[test]
fn each_refusal_has_its_status_and_code() {
    let app = App::start();
    for (method, host, target, status, code) in [
        ("GET", "a b", "/", 400, "bad_host"),
        ("GET", "", "/", 400, "bad_host"),
        ("GET", "user@www.yoursite.com", "/", 400, "bad_host"),
        ("GET", "www.yoursite.com:x", "/", 400, "bad_host"),
        ("OPTIONS", HOST, "*", 400, "bad_host"),
        ("GET", HOST, "http://evil.example/go/checkout", 400, "bad_host"),
        ("GET", "unknown.example", "/go/checkout", 421, "unknown_host"),
        ("GET", "www.yoursite.com.", "/go/checkout", 421, "unknown_host"),
        ("GET", "wild.example", "/?kmi=x", 421, "unknown_host"),
        ("GET", ".wild.example", "/?kmi=x", 421, "unknown_host"),
        ("GET", "a..wild.example", "/?kmi=x", 421, "unknown_host"),
        ("GET", "a%2e.wild.example", "/?kmi=x", 421, "unknown_host"),
        ("GET", "ports.example", "/?kmi=x", 421, "unknown_host"),
        ("GET", HOST, "/", 404, "not_found"),
        ("GET", HOST, "/go/", 404, "not_found"),
        ("GET", HOST, "/gone", 404, "not_found"),
        ("GET", HOST, "/GO/checkout", 404, "not_found"),
        ("GET", "ok.example", "/go/checkout", 404, "not_found"),
        ("GET", "ok.example", "/cart", 404, "not_found"),
        ("GET", HOST, "/go/unknown", 404, "unknown_link"),
        ("GET", HOST, "/go/check%6fut", 404, "unknown_link"),
        ("GET", HOST, "/go//evil.example", 404, "unknown_link"),
        ("GET", HOST, "/go", 400, "missing_to"),
        ("GET", HOST, "/go?a=1&TO=https://ok.example", 400, "missing_to"),
        ("GET", HOST, "/go?to=https://ok.example&to=https://ok.example", 400, "repeated_to"),
        ("GET", HOST, "/go?to=https://ok.example&%74o=x", 400, "repeated_to"),
        ("GET", HOST, "/go?to=", 400, "bad_to"),
        ("GET", HOST, "/go?to", 400, "bad_to"),
        ("GET", HOST, "/go?to=//evil.example", 400, "bad_to"),
        ("GET", HOST, "/go/checkout/../x", 400, "bad_to"),
        ("GET", HOST, "/go/checkout//x", 400, "bad_to"),
        ("GET", HOST, "/go?to=https://evil.example", 403, "not_allowed"),
        ("PUT", HOST, "/go/checkout", 405, "method_not_allowed"),
        ("DELETE", "ok.example", "/?kmi=x", 405, "method_not_allowed"),
        ("BREW", HOST, "/go", 405, "method_not_allowed"),
    ] {
        let reply = app.ask(method, host, target).cookie("km_ni=bob").send();
        assert_eq!((reply.status, reply.code()), (status, code), "{method} {host} {target}");
        assert_eq!(reply.field("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.field("allow"), (status == 405).then_some("GET, HEAD, POST"));
        assert_eq!(reply.location(), None);
        assert_eq!(reply.set_cookie(), None);
        assert_eq!(reply.body.lines().count(), 1);
    }
}

#[test]
fn the_host_must_be_named_once() {
    let app = App::start();
    for head in [
        "GET /go/checkout HTTP/1.1\r\n\r\n",
        "GET /go/checkout HTTP/1.0\r\n\r\n",
        "GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nHost: www.yoursite.com\r\n\r\n",
        "GET http://www.yoursite.com/go/checkout HTTP/1.1\r\nHost: ok.example\r\n\r\n",
        "GET http://www.yoursite.com:80/go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n",
        "GET http://www.yoursite.com/go/checkout HTTP/1.1\r\n\r\n",
        "CONNECT www.yoursite.com:443 HTTP/1.1\r\nHost: www.yoursite.com:443\r\n\r\n",
    ] {
        let reply = app.raw(head.as_bytes());
        assert_eq!((reply.status, reply.code()), (400, "bad_host"), "{head}");
    }
    let reply = app.raw(b"GET http://WWW.yoursite.com/go/checkout HTTP/1.1\r\nHost: www.YourSite.com\r\n\r\n");
    assert_eq!(reply.status, 302, "an absolute target on the same host is served");
    let reply = app.raw(b"GET /go/checkout HTTP/1.0\r\nHost: www.yoursite.com\r\n\r\n");
    assert_eq!(reply.status, 302);
}

#[test]
fn a_prefetch_waits_for_the_click() {
    let app = App::start();
    for (purpose, refused) in [
        ("prefetch", true),
        ("prefetch;prerender", true),
        (" Prefetch ; anonymous-client-ip", true),
        ("prerender", false),
        ("x, prefetch", false),
    ] {
        for (host, target) in [(HOST, "/go/checkout"), ("ok.example", "/?kmi=x")] {
            let reply = app.get(host, target).field("Sec-Purpose", purpose.as_bytes()).send();
            assert_eq!(reply.status, if refused { 403 } else { 302 }, "{purpose}");
            assert_eq!(reply.code() == "prefetch", refused, "{purpose}");
        }
    }
}

#[test]
fn what_hyper_refuses_has_no_body() {
    let app = App::start();
    for (bytes, status) in [
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400),
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".to_vec(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(40_000)).into_bytes(), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "Cookie: a=b\r\n".repeat(180)).into_bytes(), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "a".repeat(180 * 4096)).into_bytes(), 431),
    ] {
        let reply = app.raw(&bytes);
        assert_eq!((reply.status, reply.body.as_str()), (status, ""));
    }
    let app =
        App::with("limits: { head_bytes: 1MiB }\npairs: [{ origin: www.yoursite.com, destination: ok.example }]\n");
    let reply = app.raw(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000)).as_bytes());
    assert_eq!((reply.status, reply.body.as_str()), (414, ""));
}

#[test]
fn a_head_is_limited_exactly() {
    let app =
        App::with("limits: { head_bytes: 2KiB }\npairs: [{ origin: www.yoursite.com, destination: ok.example }]\n");
    let head = |padding: usize| {
        let mut head = b"GET /go?to=https://ok.example HTTP/1.1\r\nHost: www.yoursite.com\r\nX: ".to_vec();
        head.resize(2048 - 4 + padding, b'x');
        head.extend_from_slice(b"\r\n\r\n");
        head
    };
    assert_eq!(app.raw(&head(0)).status, 302);
    assert_eq!(app.raw(&head(1)).status, 431);
}

#[test]
fn a_body_harms_nobody() {
    let app = App::start();
    // A small one is read over, and its sender is told that nothing more is read here.
    let post = b"POST /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nContent-Length: 4\r\n\r\nbodyGET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n";
    let mut client = Client::connect(app.address).send(post);
    let reply = client.reply().unwrap();
    assert_eq!((reply.status, reply.field("connection")), (307, Some("close")));
    assert!(client.reply().is_none());
    // A large one is not waited for, and its sender still gets the answer.
    let mut large = b"POST /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    large.resize(large.len() + 200_000, b'x');
    let mut client = Client::connect(app.address).send(&large);
    assert_eq!(client.reply().unwrap().status, 307);
    // A length beside chunks is a smuggler's: what follows is not read as a request (RFC 9112, 6.1).
    let both = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n";
    let mut client = Client::connect(app.address).send(both);
    assert_eq!(client.reply().unwrap().field("connection"), Some("close"));
    assert!(client.reply().is_none());
    let twice =
        b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd";
    assert_eq!(app.raw(twice).status, 400);
}
