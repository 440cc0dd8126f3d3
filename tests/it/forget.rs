//! Leaving: the identity cookies that are set here end, for whoever asks on a page of the same site.

use std::process::Command;

use crate::sealed::{HOST, ORIGIN, column, log};
use crate::support::{App, Ask, Client, Reply, Service, crosslink, needs};

const PATH: &str = "/go/forget";

/// An origin with two cookies of its own, and destinations of each kind.
const PAIRS: &str = "
pairs:
  - name: plain
    origin: [www.yoursite.com, localhost]
    destination: nowhere.example
    mint: { cookie: visitor }
  - name: own
    origin: www.yoursite.com
    destination: [ok.example, \"*.wild.example\", \"ports.example:8443\"]
    mint: { cookie: visitor }
    landing: { cookie: who, anonymous_cookie: km_ai }
  - name: other
    origin: www.yoursite.com
    destination: framed.example
    mint: { cookie: other, secure: false }
    landing: { same_site: none, domain: host }
  - name: back
    origin: ok.example
    destination: www.yoursite.com
    landing: {}
  - { name: bare, origin: bare.example, destination: ok.example, landing: { cookie: who, anonymous_cookie: km_ai } }
";

fn forget<'a>(app: &'a App, host: &'a str) -> Ask<'a> {
    app.ask("POST", host, PATH)
}

/// The cookies that a reply ends, in their order.
fn ended(reply: &Reply) -> Vec<String> {
    assert_eq!((reply.status, &*reply.body, reply.field("cache-control")), (204, "", Some("no-store")), "{reply:?}");
    assert_eq!((reply.location(), reply.field("content-type")), (None, None), "{reply:?}");
    let cookies = reply.fields.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str());
    let ends = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    cookies.map(|cookie| cookie.strip_suffix(ends).unwrap_or_else(|| panic!("{cookie}")).to_owned()).collect()
}

#[test]
fn exactly_the_cookies_that_are_set_there_end() {
    let app = App::with(PAIRS);
    let [who, anonymous] = ["who", "km_ai"]
        .map(|name| move |domain: &str| format!("{name}=; SameSite=Lax; Secure; Path=/; Domain={domain}"));
    for (host, expected) in [
        (
            "www.yoursite.com",
            vec![
                "km_ni=; SameSite=Lax; Secure; Path=/; Domain=yoursite.com".to_owned(),
                "other=; SameSite=Lax; Path=/; Domain=yoursite.com".to_owned(),
                "visitor=; SameSite=Lax; Secure; Path=/; Domain=yoursite.com".to_owned(),
            ],
        ),
        ("LOCALHOST:8443", vec!["visitor=; SameSite=Lax; Secure; Path=/".to_owned()]),
        ("ok.example", vec![anonymous("ok.example"), who("ok.example")]),
        ("a.b.wild.example", vec![anonymous("wild.example"), who("wild.example")]),
        ("ports.example:8443", vec![anonymous("ports.example"), who("ports.example")]),
        ("framed.example", vec!["km_ni=; SameSite=None; Partitioned; Secure; Path=/".to_owned()]),
        ("bare.example", vec![]),
    ] {
        assert_eq!(ended(&forget(&app, host).send()), expected, "{host}");
        // Whatever he has, and whether it is a visit or not.
        let ask = forget(&app, host).cookie("km_ni=bob; visitor=x").field("Sec-GPC", b"1");
        let ask = ask
            .field("Sec-Fetch-Mode", b"cors")
            .field("Sec-Fetch-Dest", b"empty")
            .field("Sec-Fetch-Site", b"same-origin");
        assert_eq!(ended(&ask.send()), expected, "{host}");
    }
    let lines = log(app);
    assert!(lines.iter().all(|line| line["outcome"] == "forgotten" && line["status"] == 204), "{lines:?}");
    let roles = column(&lines, "role");
    assert_eq!(roles.iter().filter(|role| *role == "destination").count(), 6, "{roles:?}");
    assert!(lines.iter().all(|line| line["pair"].is_null() && line["identity"].is_null()), "{lines:?}");
}

#[test]
fn a_form_leads_home() {
    let app = App::with(PAIRS);
    for (host, path) in [(ORIGIN, "/go/forget?to=https://evil.example/&next=//evil.example"), (HOST, PATH)] {
        let ask =
            app.ask("POST", host, path).field("Sec-Fetch-Mode", b"navigate").field("Sec-Fetch-Site", b"same-origin");
        let reply = ask.field("Referer", b"https://evil.example/").field("X-Forwarded-Host", b"evil.example").send();
        assert_eq!((reply.status, reply.location(), reply.body.as_str()), (303, Some("/"), ""));
        assert!(reply.count("set-cookie") >= 2 && reply.field("cache-control") == Some("no-store"), "{reply:?}");
    }
    let body = format!("POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\nto=//evil");
    assert_eq!(app.raw(body.as_bytes()).status, 204);
}

#[test]
fn another_site_makes_nobody_forgotten() {
    let app = App::with(PAIRS);
    for fields in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Origin", "https://ok.example")],
        &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        &[("Origin", "https://evil.example")],
        &[("Origin", "https://ok.example.evil.example")],
        &[("Origin", "null")],
    ] {
        for host in [ORIGIN, HOST, "bare.example"] {
            let ask = fields.iter().fold(forget(&app, host), |ask, (name, value)| ask.field(name, value.as_bytes()));
            let reply = ask.send();
            assert_eq!(
                (reply.status, reply.code(), reply.set_cookie()),
                (403, "cross_site", None),
                "{host} {fields:?}"
            );
        }
    }
    for fields in [
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "https://ok.example")][..],
        &[("Sec-Fetch-Site", "same-site"), ("Origin", "https://www.ok.example")],
        &[("Origin", "https://OK.example:8443")],
    ] {
        let ask = fields.iter().fold(forget(&app, HOST), |ask, (name, value)| ask.field(name, value.as_bytes()));
        assert_eq!(ended(&ask.send()).len(), 2, "{fields:?}");
    }
}

#[test]
fn it_takes_a_post() {
    let app = App::with(PAIRS);
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        for host in [ORIGIN, HOST] {
            let reply = app.ask(method, host, PATH).send();
            assert_eq!((reply.status, reply.field("allow"), reply.set_cookie()), (405, Some("POST"), None), "{method}");
            assert!(method == "HEAD" || reply.code() == "post_only");
        }
    }
    for (host, path, code) in [
        (ORIGIN, "/go/forget/", "unknown_link"),
        (ORIGIN, "/go/forget/x", "unknown_link"),
        (ORIGIN, "/go/forgetx", "unknown_link"),
        (ORIGIN, "/forget", "not_found"),
        (ORIGIN, "/go/%66orget", "unknown_link"),
        (HOST, "/forget", "not_found"),
        ("nowhere.example", PATH, "not_found"),
        ("unknown.example", PATH, "unknown_host"),
    ] {
        assert_eq!(app.ask("POST", host, path).send().code(), code, "{host}{path}");
    }
    let moved = App::with(&format!("route: /a/out\n{PAIRS}"));
    assert_eq!(moved.ask("POST", HOST, "/a/out/forget").send().status, 204);
    assert_eq!(moved.ask("POST", HOST, PATH).send().code(), "not_found");
}

/// An identity that arrives is taken out of the URL wherever it arrives.
#[test]
fn a_landing_comes_before_it() {
    let app = App::with(PAIRS);
    let reply = app.ask("POST", HOST, "/go/forget?kmi=bob").send();
    assert_eq!((reply.status, reply.location()), (307, Some("https://ok.example/go/forget")));
}

#[test]
fn it_is_counted() {
    let mut service = Service::serve(crosslink(), &format!("listen: 127.0.0.1:0\n{PAIRS}"), None);
    let address = service.listening(1)[0];
    for more in ["", "Sec-Fetch-Site: cross-site\r\n"] {
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n");
        Client::connect(address).send(head.as_bytes()).reply().unwrap();
    }
    let head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let metrics = Client::connect(service.admin()).send(head).reply().unwrap().body;
    for line in ["crosslink_forgotten_total 1", r#"crosslink_refusals_total{code="cross_site"} 1"#] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

/// A real cookie jar loses what was set, on both sides, and keeps what somebody else set.
#[test]
fn a_jar_is_empty_afterwards() {
    if !needs(&["curl"]) {
        return;
    }
    let app = App::with(
        "
pairs:
  - origin: www.shop.example
    destination: [\"http://pay.till.example\", \"http://host.example\"]
    links: { pay: \"http://pay.till.example/\" }
    mint: { cookie: visitor, secure: false }
    landing: {}
",
    );
    let jar = tempfile::NamedTempFile::new().unwrap();
    let jar = jar.path().to_str().unwrap();
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--disable", "--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.args([
            "--connect-to",
            &format!("::{}", app.address),
            "--noproxy",
            "*",
            "--cookie",
            jar,
            "--cookie-jar",
            jar,
        ]);
        let output = curl.args(["--user-agent", "Mozilla/5.0"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let kept = std::fs::read_to_string(jar).unwrap();
        let names = kept.lines().filter_map(|line| line.strip_prefix("#HttpOnly_").or(Some(line))).filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            Some(format!("{} {}", fields[0], fields.get(5)?))
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        (String::from_utf8(output.stdout).unwrap(), names)
    };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let both = [".shop.example visitor", ".till.example km_ni"];
    assert_eq!(curl(&["http://www.shop.example/go/pay"]), ("302".to_owned(), named(&both[..1])));
    assert_eq!(curl(&["http://pay.till.example/?kmi=bob"]), ("302".to_owned(), named(&both)));
    let post = ["--request", "POST", "http://pay.till.example/go/forget"];
    assert_eq!(curl(&post), ("204".to_owned(), named(&both[..1])));
    let post = ["--request", "POST", "--header", "Sec-Fetch-Site: cross-site", "http://www.shop.example/go/forget"];
    assert_eq!(curl(&post), ("403".to_owned(), named(&both[..1])));
    assert_eq!(curl(&["--request", "POST", "http://www.shop.example/go/forget"]), ("204".to_owned(), vec![]));
}
