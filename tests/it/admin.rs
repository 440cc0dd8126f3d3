//! The operator's port.

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Reply, Service, crosslink, eventually, needs, parse, repository};
use crate::webdriver::Browser;

const PAIR: &str =
    "pairs: [{ name: own, origin: www.yoursite.com, destination: ok.example, links: { checkout: / }, landing: {} }]";

fn serve_with(config: &str) -> (Service, SocketAddr) {
    let mut service = Service::serve(crosslink(), &format!("listen: 127.0.0.1:0\n{config}"), None);
    let address = service.listening(1)[0];
    (service, address)
}

fn serve() -> (Service, SocketAddr) {
    serve_with(PAIR)
}

fn get(address: SocketAddr, host: &str, target: &str) -> Reply {
    let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: km_ni=bob\r\n\r\n");
    Client::connect(address).send(head.as_bytes()).reply().expect("a reply")
}

/// The text of a page as a browser shows it; the page has no other entities.
fn shown(page: &str) -> String {
    page.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
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
        "crosslink_connections_limit 4096",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line} in {}", metrics.body);
    }
}

/// Every metric by its name, with what the parser of Prometheus's own client library reads of it.
fn families(metrics: &str) -> Option<BTreeMap<String, Value>> {
    let python = repository("target/interop/bin/python");
    if !needs(&[python.to_str().unwrap()]) {
        return None;
    }
    let mut said = tempfile::tempfile().unwrap();
    said.write_all(metrics.as_bytes()).unwrap();
    said.rewind().unwrap();
    let output = Command::new(python).arg(repository("tests/interop/metrics.py")).stdin(said).output().unwrap();
    assert!(output.status.success(), "{output:?} {metrics}");
    let families: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    Some(families.into_iter().map(|family| (family["name"].as_str().unwrap().to_owned(), family)).collect())
}

/// The different values of a label.
fn values(family: &Value, label: &str) -> Vec<String> {
    let samples = family["samples"].as_array().unwrap().iter();
    let mut values: Vec<_> = samples.map(|sample| sample["labels"][label].as_str().unwrap().to_owned()).collect();
    values.sort();
    values.dedup();
    values
}

#[test]
fn prometheus_reads_every_metric() {
    let hostile = r#"outbox: { directory: . }
pairs: [{ name: "a \"quoted\\ name, {of=\"it\"} ë", origin: www.yoursite.com, destination: ok.example, links: { checkout: / }, landing: {} }]"#;
    let (service, address) = serve_with(hostile);
    get(address, "www.yoursite.com", "/go/checkout");
    get(address, "ok.example", "/?kmi=eve");
    let Some(families) = families(&get(service.admin(), "localhost", "/metrics").body) else { return };
    let kinds: Vec<_> = families.values().map(|family| (family["name"].as_str(), family["type"].as_str())).collect();
    let expected = [
        ("crosslink_build", "info"),
        ("crosslink_config_last_reload_success_timestamp_seconds", "gauge"),
        ("crosslink_config_last_reload_successful", "gauge"),
        ("crosslink_connections", "gauge"),
        ("crosslink_connections_limit", "gauge"),
        ("crosslink_forgotten", "counter"),
        ("crosslink_handoffs", "counter"),
        ("crosslink_landings", "counter"),
        ("crosslink_log_dropped_lines", "counter"),
        ("crosslink_minted_identities", "counter"),
        ("crosslink_outbox_accepting", "gauge"),
        ("crosslink_outbox_bytes", "gauge"),
        ("crosslink_outbox_dead_letters", "gauge"),
        ("crosslink_outbox_deliveries", "counter"),
        ("crosslink_outbox_events", "counter"),
        ("crosslink_outbox_oldest_seconds", "gauge"),
        ("crosslink_outbox_open_circuits", "gauge"),
        ("crosslink_outbox_waiting", "gauge"),
        ("crosslink_refusals", "counter"),
        ("crosslink_request_duration_seconds", "histogram"),
        ("crosslink_tls_handshake_failures", "counter"),
        ("crosslink_unheard_headers", "counter"),
    ];
    assert_eq!(kinds, expected.map(|(name, kind)| (Some(name), Some(kind))));
    let hand_offs = &families["crosslink_handoffs"];
    assert_eq!(values(hand_offs, "pair"), [r#"a "quoted\ name, {of="it"} ë"#]);
    let identities =
        ["absent", "anonymous", "failed", "gpc", "named", "no_consent", "not_navigation", "too_long", "unusable"];
    assert_eq!(values(hand_offs, "identity"), identities);
    let outcomes = [
        "expired",
        "forged",
        "gpc",
        "invalid",
        "kept",
        "not_navigation",
        "replaced",
        "replayed",
        "same",
        "set",
        "unproven",
        "unsealed",
    ];
    assert_eq!(values(&families["crosslink_landings"], "outcome"), outcomes);
    let codes = [
        "bad_host",
        "bad_to",
        "cross_site",
        "method_not_allowed",
        "missing_to",
        "not_allowed",
        "not_found",
        "post_only",
        "prefetch",
        "repeated_to",
        "unknown_host",
        "unknown_link",
        "unreadable",
    ];
    assert_eq!(values(&families["crosslink_refusals"], "code"), codes);
    let fates = ["accepted", "busy", "dead", "delivered", "dropped", "full", "no_room", "too_large", "torn"];
    assert_eq!(values(&families["crosslink_outbox_events"], "outcome"), fates);
    let results = ["ok", "refused", "server_error", "timeout", "unreachable"];
    assert_eq!(values(&families["crosslink_outbox_deliveries"], "result"), results);
    let durations = &families["crosslink_request_duration_seconds"];
    assert_eq!(values(durations, "role"), ["destination", "none", "origin"]);
    assert_eq!(values(&families["crosslink_build"], "version"), [env!("CARGO_PKG_VERSION")]);
}

#[test]
fn open_connections_are_counted() {
    let (service, address) = serve();
    let connections = |expected: &str| {
        eventually(expected, || get(service.admin(), "localhost", "/metrics").body.contains(expected).then_some(()));
    };
    connections("crosslink_connections 0\n");
    let open: Vec<_> = (0..5).map(|_| Client::connect(address)).collect();
    connections("crosslink_connections 5\n");
    drop(open);
    connections("crosslink_connections 0\n");
}

#[test]
fn it_is_ready_until_it_is_told_to_stop_and_serves_on_meanwhile() {
    let (mut service, address) = serve_with(&format!("limits: {{ drain_delay: 1h }}\n{PAIR}"));
    let admin = service.admin();
    let answer = |target: &str| {
        let reply = get(admin, "localhost", target);
        (reply.status, reply.body)
    };
    let mut kept = Client::connect(address);
    assert_eq!(answer("/livez"), (200, "alive\n".into()));
    assert_eq!(answer("/readyz"), (200, "ready\n".into()));
    service.program.signal("TERM");
    eventually("503", || (answer("/readyz") == (503, "draining\n".into())).then_some(()));
    assert_eq!(answer("/livez"), (200, "alive\n".into()));
    assert_eq!(get(address, "www.yoursite.com", "/go/checkout").status, 302, "a newcomer is served");
    kept = kept.send(b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\n\r\n");
    let reply = kept.reply().unwrap();
    assert_eq!((reply.status, reply.field("connection")), (302, None), "nobody is sent away yet");
    service.program.signal("TERM");
    assert_eq!(service.exit(), Some(1), "who is in a hurry does not wait");
}

#[test]
fn it_stops_when_the_delay_is_over() {
    let (mut service, address) = serve_with(&format!("limits: {{ drain_delay: 300ms }}\n{PAIR}"));
    let mut begun = Client::connect(address).send(b"GET /go/checkout HTTP/1.1\r\n");
    service.program.signal("TERM");
    eventually("its end", || std::net::TcpStream::connect(address).is_err().then_some(()));
    begun = begun.send(b"Host: www.yoursite.com\r\n\r\n");
    assert_eq!(begun.reply().unwrap().status, 302);
    assert_eq!(service.exit(), Some(0));
}

#[test]
fn nothing_else_is_there() {
    let (service, _) = serve();
    let admin = service.admin();
    for target in ["/metrics/", "/livez/x", "/go/checkout", "/favicon.ico", "//", "/%6divez"] {
        assert_eq!(get(admin, "localhost", target).status, 404, "{target}");
    }
    for target in ["/", "/livez", "/readyz", "/metrics"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let ask = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
            let reply = Client::connect(admin).send(ask.as_bytes()).reply().unwrap();
            assert_eq!((reply.status, reply.field("allow")), (405, Some("GET, HEAD")), "{method} {target}");
        }
        let head = format!("HEAD {target} HTTP/1.0\r\n\r\n");
        let length = Client::connect(admin).send(head.as_bytes()).closed_after();
        assert!(length.as_secs() < 30);
        let reply = get(admin, "localhost", target);
        assert_eq!((reply.status, reply.field("cache-control")), (200, Some("no-store")));
    }
}

#[test]
fn every_visit_is_counted_while_the_rules_are_read_again() {
    let (service, address) = serve();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    get(address, "www.yoursite.com", "/go/checkout");
                }
            });
        }
        for _ in 0..20 {
            service.program.signal("HUP");
            get(service.admin(), "localhost", "/metrics");
        }
    });
    // The last connections end a moment after their answers.
    eventually("200 visits, and no connection any more", || {
        let metrics = get(service.admin(), "localhost", "/metrics").body;
        let is_there = |line: &str| metrics.lines().any(|found| found == line);
        assert!(is_there(r#"crosslink_handoffs_total{pair="own",identity="named"} 200"#), "{metrics}");
        assert!(is_there(r#"crosslink_request_duration_seconds_count{role="origin"} 200"#), "{metrics}");
        is_there("crosslink_connections 0").then_some(())
    });
}

#[test]
fn a_page_of_another_site_can_not_read_it_under_a_name_of_its_own() {
    let (service, _) = serve();
    let admin = service.admin();
    for host in [
        "evil.example",
        "localhost.evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "evil@127.0.0.1",
        "",
        "a b",
    ] {
        for target in ["/", "/metrics", "/readyz"] {
            let reply = get(admin, host, target);
            assert!([400, 421].contains(&reply.status) && reply.body.len() < 20, "{host}: {reply:?}");
        }
    }
    for host in
        ["127.0.0.1", &admin.to_string(), "localhost:8081", "LOCALHOST", "a.localhost", "[::1]:8081", "10.0.0.1"]
    {
        assert_eq!(get(admin, host, "/readyz").status, 200, "{host}");
    }
    let nameless = Client::connect(admin).send(b"GET /readyz HTTP/1.0\r\n\r\n").reply().unwrap();
    assert_eq!(nameless.status, 200, "a simple probe names no host");
    // Who opens the port to others may give it any name.
    let (open, _folder) = start("0.0.0.0:0", &[]);
    let address = SocketAddr::from(([127, 0, 0, 1], open.admin().port()));
    assert_eq!(get(address, "crosslink.monitoring.svc:8081", "/metrics").status, 200);
}

#[test]
fn visitors_never_see_it() {
    let (_service, address) = serve();
    for target in ["/", "/livez", "/readyz", "/metrics"] {
        for host in ["www.yoursite.com", "ok.example"] {
            assert_eq!(get(address, host, target).code(), "not_found", "{host}{target}");
        }
        for host in ["localhost", "127.0.0.1", &address.to_string()] {
            assert_eq!(get(address, host, target).code(), "unknown_host", "{host}{target}");
        }
    }
}

#[test]
fn it_is_on_loopback_unless_the_file_says_otherwise() {
    let admin = |line: &str| parse(&format!("{line}\n{PAIR}")).fixed.listen.admin;
    assert_eq!(admin(""), Some("127.0.0.1:8081".parse().unwrap()));
    assert_eq!(admin("admin: off"), None);
    assert_eq!(admin("admin: \"[::1]:9000\""), Some("[::1]:9000".parse().unwrap()));
    let warns = |line: &str| {
        let warnings = parse(&format!("{line}\n{PAIR}")).warnings;
        warnings.iter().any(|warning| warning.problem.contains("the admin port is open"))
    };
    assert!(!warns("admin: 127.1.2.3:1") && warns("admin: 0.0.0.0:8081"));
}

fn start(admin: &str, arguments: &[&str]) -> (Service, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("listen: 127.0.0.1:0\nadmin: {admin}\n{PAIR}");
    std::fs::write(folder.path().join("crosslink.yaml"), config).unwrap();
    let mut command = crosslink();
    command.current_dir(&folder).args(["serve", "--config", "crosslink.yaml"]).args(arguments);
    (Service::start(&mut command), folder)
}

#[test]
fn it_can_be_switched_off() {
    for (admin, arguments) in [("off", &[][..]), ("127.0.0.1:1", &["--admin", "off"])] {
        let (mut service, _folder) = start(admin, arguments);
        service.listening(1);
        assert!(!std::fs::read_to_string(&service.stderr).unwrap().contains("admin port"));
    }
}

#[test]
fn an_address_that_is_taken_is_said_before_a_visitor_is_served() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (mut service, _folder) = start(&address, &[]);
    assert_eq!(service.exit(), Some(1));
    let log = std::fs::read_to_string(&service.stderr).unwrap();
    assert!(log.contains(&format!("cannot listen on {address}")) && log.contains("--admin ADDR"), "{log}");
    assert!(!log.contains("listening"), "{log}");
}

/// The status page after a question about a link.
#[test]
fn the_page_says_why_more_may_arrive_than_leave() {
    let (service, address) = serve();
    let page = || get(service.admin(), "localhost", "/").body;
    let land = || get(address, "ok.example", "/?kmi=bob");
    get(address, "www.yoursite.com", "/go/checkout");
    land();
    assert!(page().contains("Of 1 identities that left here, 1 arrived") && !page().contains("More arrived"));
    // Handed off by another crosslink.
    land();
    let page = page();
    assert!(page.contains("Of 1 identities that left here, 2 arrived"), "{page}");
    assert!(page.contains("<td class=\"number\">100\u{a0}%</td>") && !page.contains("200"), "{page}");
    assert!(page.contains("More arrived than left: another instance"), "{page}");
}

#[test]
fn the_page_says_how_many_pairs_it_leaves_out() {
    for (pairs, left_out) in [(100, None), (103, Some("These are the first 100; the other 3 are left out here"))] {
        let pair = |number| format!("  - {{ origin: a.example, destination: b{number}.example }}\n");
        let (service, _) = serve_with(&format!("pairs:\n{}", (0..pairs).map(pair).collect::<String>()));
        let page = get(service.admin(), "localhost", "/").body;
        assert_eq!(page.matches("<h3>").count(), 100);
        assert!(left_out.map_or(!page.contains("left out"), |text| page.contains(text)), "{page}");
    }
}

fn explained(admin: SocketAddr, url: &str, cookie: &str, header: &str) -> String {
    let [url, cookie, header] = [url, cookie, header].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
    let reply = get(admin, "localhost", &format!("/?url={url}&cookie={cookie}&header={header}"));
    assert_eq!((reply.status, reply.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(reply.field("content-security-policy").unwrap().starts_with("default-src 'none'; "));
    reply.body
}

#[test]
fn the_page_explains_a_link_as_the_command_does() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("crosslink.yaml"), format!("listen: 127.0.0.1:0\n{PAIR}")).unwrap();
    let (service, _) = serve();
    for (url, cookie, header, answer) in [
        ("https://www.yoursite.com/go/checkout", "km_ni=zoe", "", "location: https://ok.example/?kmi=zoe"),
        ("https://www.yoursite.com/go/checkout", "km_ni=zoe", "Sec-GPC: 1", "without an identity (gpc)"),
        ("https://ok.example/cart?kmi=zoe&a=1", "", "", "set-cookie: km_ni=zoe; "),
        ("https://www.yoursite.com/go?to=https://evil.example", "", "", "refused (not_allowed)"),
        ("https://evil.example/", "", "", "the file knows these hosts: www.yoursite.com, "),
    ] {
        let page = shown(&explained(service.admin(), url, cookie, header));
        let mut command = crosslink();
        command.current_dir(&folder).args(["explain", url, "--config", "crosslink.yaml"]);
        let given = [("--cookie", cookie), ("--header", header)];
        command.args(given.iter().filter(|(_, text)| !text.is_empty()).flat_map(|(name, text)| [name, text]));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(said.contains(answer), "{said}");
        assert!(page.contains(said.trim_end()), "{said}\n\n{page}");
    }
    let page = explained(service.admin(), "mailto:zoe", "", "");
    assert!(page.contains("is no URL that a browser can ask for"), "{page}");
}

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'><script>window.attacked = 1</script>";

/// A crosslink whose pair has a hostile name.
fn hostile() -> Service {
    let name = serde_json::to_string(HOSTILE).unwrap();
    serve_with(&PAIR.replace("own", &name)).0
}

#[test]
fn nothing_on_the_page_is_taken_for_markup() {
    let service = hostile();
    let page = explained(service.admin(), &format!("https://www.yoursite.com/{HOSTILE}"), HOSTILE, HOSTILE);
    let again = explained(service.admin(), HOSTILE, "", "");
    for page in [page, again] {
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        // The value of an input can't end before its own quote.
        assert!(!page.contains("\"'>") && page.contains("&quot;'&gt;&lt;script"), "{page}");
    }
}

#[test]
fn a_browser_shows_the_page_and_runs_nothing() {
    if !needs(&["chromium", "chromedriver"]) {
        return;
    }
    let service = hostile();
    let browser = Browser::start();
    let question = utf8_percent_encode(HOSTILE, NON_ALPHANUMERIC);
    browser.go(&format!("http://{}/?url=www.yoursite.com/go/checkout&cookie={question}", service.admin()));
    assert_eq!(browser.text("h3"), HOSTILE);
    assert_eq!(browser.attribute("#cookie", "value").as_deref(), Some(HOSTILE));
    assert!(browser.text("pre").contains("location: https://ok.example/"));
    assert_eq!(browser.script("return window.attacked ?? document.images.length", &[]), 0);
    // On a telephone nothing sticks out.
    browser.resize(390, 800);
    let width = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.script(width, &[]), 0);
    // Each field has a label, and the form asks the same page.
    assert_eq!(
        browser.script("return [...document.querySelectorAll('input')].every(i => i.labels.length == 1)", &[]),
        true
    );
    browser.script("document.querySelector('#url').value = 'https://evil.example/'", &[]);
    browser.click("button");
    // Found and read in one step, since the page may be replaced in between.
    let said = || browser.script("return document.querySelector('pre')?.textContent ?? ''", &[]);
    eventually("the answer", || said().as_str().unwrap().contains("refused (unknown_host)").then_some(()));
}
