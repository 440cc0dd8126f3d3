//! The script for an origin's pages, and what it may send here, over sockets.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::json;

use crate::support::{App, CONFIG, Client};

const HOST: &str = "www.yoursite.com";
const SCRIPT: &str = include_str!("../../src/http/link.js");

#[test]
fn every_origin_serves_the_same_script() {
    let app = App::start();
    let other = App::with("{ route: /out, pairs: [{ origin: shop.example, destination: ok.example }] }");
    for (app, host, path) in [(&app, HOST, "/go/link.js"), (&other, "shop.example", "/out/link.js")] {
        let reply = app.get(host, path).send();
        assert_eq!((reply.status, reply.body.as_str()), (200, SCRIPT));
        for (name, expected) in [
            ("content-type", "text/javascript; charset=utf-8"),
            ("cache-control", "max-age=300"),
            ("x-content-type-options", "nosniff"),
            ("vary", "accept-encoding"),
        ] {
            assert_eq!(reply.field(name), Some(expected));
        }
    }
    assert_eq!(app.ask("HEAD", HOST, "/go/link.js").send().body, "");
    for host in ["ok.example", "unknown.example"] {
        assert_ne!(app.get(host, "/go/link.js").send().status, 200, "{host}");
    }
}

#[test]
fn a_browser_that_has_it_gets_it_no_more() {
    let app = App::start();
    for path in ["/go/link.js", "/go/pairs.json"] {
        let tag = app.get(HOST, path).send().field("etag").unwrap().to_owned();
        let again = app.get(HOST, path).field("If-None-Match", tag.as_bytes()).send();
        assert_eq!((again.status, again.body.as_str(), again.field("etag")), (304, "", Some(tag.as_str())), "{path}");
        let changed = app.get(HOST, path).field("If-None-Match", b"W/\"0\"").send();
        assert_eq!(changed.status, 200, "{path}");
    }
}

#[test]
fn it_is_compressed_as_the_browser_takes_it() {
    let app = App::start();
    let compressed = |codings: &str, coding| {
        let ask = format!("GET /go/link.js HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: {codings}\r\n\r\n");
        let (reply, body) = Client::connect(app.address).send(ask.as_bytes()).reply_and_body().unwrap();
        assert_eq!(reply.field("content-encoding"), Some(coding));
        assert!(body.len() < 1500, "{coding}: {}", body.len());
        body
    };
    let [plain, tag] = [None, Some("br")].map(|coding| {
        let coding = coding.unwrap_or("identity").as_bytes();
        app.ask("HEAD", HOST, "/go/link.js").field("Accept-Encoding", coding).send().field("etag").unwrap().to_owned()
    });
    assert_ne!(plain, tag, "a cache must not take one for the other");
    let known = app.get(HOST, "/go/link.js").field("Accept-Encoding", b"br").field("If-None-Match", tag.as_bytes());
    let known = known.send();
    assert_eq!((known.status, known.field("content-encoding"), known.field("content-type")), (304, None, None));
    let mut script = String::new();
    GzDecoder::new(compressed("gzip, deflate", "gzip").as_slice()).read_to_string(&mut script).unwrap();
    assert_eq!(script, SCRIPT);
    let mut script = Vec::new();
    brotli::BrotliDecompress(&mut compressed("gzip, deflate, br", "br").as_slice(), &mut script).unwrap();
    assert_eq!(script, SCRIPT.as_bytes());
}

#[test]
fn the_list_is_that_of_the_origin_that_is_asked() {
    let app = App::with(
        "pairs:
  - { origin: [a.example, b.example], destination: [shop.test, \"http://shop.test:8080/cart/\", \"*.Wild.test\"] }
  - { origin: a.example, destination: [\"*.amazonaws.com\", bucket.s3.amazonaws.com, shop.test] }
",
    );
    let list = |host| {
        let reply = app.get(host, "/go/pairs.json").send();
        assert_eq!((reply.status, reply.field("content-type")), (200, Some("application/json")));
        serde_json::from_str::<serde_json::Value>(&reply.body).unwrap()
    };
    let own = ["http://shop.test:8080/cart", "https://*.wild.test"];
    assert_eq!(list("b.example"), json!([own[0], own[1], "https://shop.test"]));
    // Below this `*.` strangers have names, of which a browser knows nothing.
    assert_eq!(list("a.example"), json!([own[0], own[1], "https://bucket.s3.amazonaws.com", "https://shop.test"]));
}

#[test]
fn an_origin_with_many_entries_lists_them_all() {
    let hosts: Vec<String> = (10..60).map(|number| format!("h{number}.test")).collect();
    let app = App::with(&format!("pairs: [{{ origin: a.example, destination: [{}] }}]", hosts.join(", ")));
    let list: Vec<String> = serde_json::from_str(&app.get("a.example", "/go/pairs.json").send().body).unwrap();
    assert_eq!(list, hosts.iter().map(|host| format!("https://{host}")).collect::<Vec<_>>());
}

#[test]
fn neither_takes_a_form() {
    let app = App::with(CONFIG);
    for path in ["/go/link.js", "/go/pairs.json"] {
        for method in ["POST", "PUT"] {
            assert_eq!(app.ask(method, HOST, path).send().code(), "method_not_allowed", "{method} {path}");
        }
        assert_eq!(app.get(HOST, &format!("{path}/x")).send().code(), "unknown_link");
    }
}
