//! TLS: the same service as over a plain listener, and what comes before the first byte of a request.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::http2::metric;
use crate::support::{CONFIG, Client, Service, crosslink, eventually, needs, socket};
use crate::tls_client::{TLS, TlsService, ask, certificate, closes_in_peace, folder, issue, openssl, shown};

const HOST: &str = "www.yoursite.com";
const ASK: &[u8] = b"GET /go/checkout HTTP/1.1\r\nHost: www.yoursite.com\r\nCookie: km_ni=bob%40bob.com\r\n\r\n";
const TO: &str = "https://yoursite.3rd-party-checkout.com/cart?kmi=bob%40bob.com";
/// Long enough that no test waits for it.
const LONG: &str = "60s";

fn with_limits(limits: &str) -> TlsService {
    TlsService::start(&format!("limits: {{ {limits} }}\n{CONFIG}"))
}

/// Waits until a request that comes now finds the server stopping, as its answer says.
fn is_stopping(served: &TlsService) {
    served.service.said("stopping");
}

/// How many handshakes have failed, as `/metrics` has it.
fn handshake_failures(served: &TlsService) -> u64 {
    let metrics = Client::connect(served.service.admin()).ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let metrics = metrics.expect("a reply").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("crosslink_tls_handshake_failures_total "));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

#[test]
fn curl_and_the_server_agree_on_the_newest_http_that_both_speak() {
    if !needs(&["openssl", "curl"]) {
        return;
    }
    let folder = folder();
    let mut service = Service::serve_in(folder, crosslink(), &format!("listen: 127.0.0.1:0\n{TLS}{CONFIG}"), None);
    let addresses = service.listening(2);
    let served = TlsService { service, address: addresses[1] };
    let url = format!("https://{HOST}/go/checkout");
    for (version, said) in [
        (&["--http2"][..], "HTTP/2 302"),
        (&["--http1.1"], "HTTP/1.1 302"),
        (&["--http1.0"], "HTTP/1.0 302"),
        (&["--no-alpn"], "HTTP/1.1 302"),
        (&["--no-alpn", "--tls-max", "1.2"], "HTTP/1.1 302"),
        (&["--http2", "--tls-max", "1.2"], "HTTP/2 302"),
    ] {
        let said_by = served.curl(&url, &[version, &["--cookie", "km_ni=bob%40bob.com"]].concat());
        assert!(said_by.starts_with(said), "{version:?}: {said_by}");
        assert!(said_by.contains(&format!("\nlocation: {TO}\n")), "{version:?}: {said_by}");
    }
    // The plain listener beside it is as it was, and knows nothing of HTTP/2.
    assert_eq!(Client::connect(addresses[0]).send(ASK).reply().unwrap().location(), Some(TO));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert!(Client::connect(addresses[0]).send(preface).reply().is_none());
}

#[test]
fn a_landing_over_tls_sets_a_secure_cookie() {
    if !needs(&["openssl", "curl"]) {
        return;
    }
    let served = TlsService::start(CONFIG);
    for version in ["--http2", "--http1.1"] {
        let landed = served.curl("https://ok.example/a%2fb?x=%2f&kmi=bob%40bob.com", &[version]);
        let cookie = "km_ni=bob%40bob.com; SameSite=Lax; Secure; Path=/; Domain=ok.example; Max-Age=34560000";
        for line in ["location: https://ok.example/a%2fb?x=%2f", &format!("set-cookie: {cookie}")] {
            assert!(landed.lines().any(|found| found == line), "{line} in {landed}");
        }
    }
}

#[test]
fn only_new_versions_of_tls_are_spoken() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = TlsService::start(CONFIG);
    for (version, works) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false)] {
        let output = Command::new("openssl")
            .current_dir(served.service.folder())
            .args(["s_client", "-connect", &served.address.to_string(), "-servername", HOST, "-brief"])
            .args(["-CAfile", "ca.pem", "-verify_return_error", "-verify_hostname", HOST, version])
            // Else Debian's own settings would refuse it before the server does.
            .args(["-cipher", "DEFAULT@SECLEVEL=0"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("Verification: OK"), works, "{version}: {said}");
    }
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    if !needs(&["openssl"]) {
        return;
    }
    let folder = folder();
    issue(folder.path(), "other", "DNS:other.example,DNS:*.wild.example,DNS:*.site.example");
    let names = "DNS:www.yoursite.com,DNS:ok.example,DNS:*.wild.example,DNS:own.site.example,DNS:*.own.site.example";
    issue(folder.path(), "site", names);
    let other = "tls: [{ listen: 127.0.0.1:0, certificate: other.pem, key: other.key }";
    let site = "{ listen: 127.0.0.1:0, certificate: site.pem, key: site.key }]";
    let served = TlsService::in_folder(folder, &format!("{other}, {site}\n{CONFIG}"));
    for (host, name) in [
        ("other.example", "other"),
        ("www.yoursite.com", "site"),
        ("OK.example", "site"),
        // The first that fits, and a `*.` stands for one label.
        ("a.wild.example", "other"),
        ("b.site.example", "other"),
        ("own.site.example", "other"),
        ("a.own.site.example", "site"),
    ] {
        assert_eq!(shown(&served.connect(host, &[])), certificate(served.service.folder(), name), "{host}");
    }
    for unknown in [
        &["-noservername"][..],
        &["-servername", "evil.example"],
        &["-servername", "wild.example"],
        &["-servername", "a.b.wild.example"],
    ] {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &served.address.to_string()])
            .args(unknown)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("subject=CN = other"), "{unknown:?}: the first is the default: {said}");
    }
}

#[test]
fn a_new_certificate_is_shown_without_dropping_a_connection() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = TlsService::start(CONFIG);
    let folder = served.service.folder();
    let old = certificate(folder, "site");
    let mut kept = served.connect(HOST, &[]);
    assert_eq!(ask(&mut kept, ASK), "HTTP/1.1 302 Found");

    issue(folder, "site", "DNS:www.yoursite.com");
    served.service.program.signal("HUP");
    served.service.said("in force");
    let new = certificate(folder, "site");
    assert_ne!(old, new);
    assert_eq!(shown(&served.connect(HOST, &[])), new);
    assert_eq!(ask(&mut kept, ASK), "HTTP/1.1 302 Found");

    // One that can't be used changes nothing.
    issue(folder, "other", "DNS:www.yoursite.com");
    fs::copy(folder.join("other.key"), folder.join("site.key")).unwrap();
    served.service.program.signal("HUP");
    served.service.said("this is the key of another certificate");
    assert!(served.service.events().contains(r#""file":"crosslink.yaml","line":1,"#), "{}", served.service.events());
    assert_eq!(shown(&served.connect(HOST, &[])), new);
    assert_eq!(ask(&mut kept, ASK), "HTTP/1.1 302 Found");

    // And in the end both are exchanged.
    fs::copy(folder.join("other.pem"), folder.join("site.pem")).unwrap();
    served.service.program.signal("HUP");
    eventually("the third", || (shown(&served.connect(HOST, &[])) != new).then_some(()));
    assert_eq!(ask(&mut kept, ASK), "HTTP/1.1 302 Found");
}

#[test]
fn an_entry_that_moves_to_another_address_stays_until_the_restart() {
    if !needs(&["openssl"]) {
        return;
    }
    let folder = folder();
    issue(folder.path(), "other", "DNS:other.example");
    let entries = |other: &str| {
        let other = format!("{{ listen: {other}, certificate: other.pem, key: other.key }}");
        format!("tls: [{other}, {{ listen: 127.0.0.1:0, certificate: site.pem, key: site.key }}]\n{CONFIG}")
    };
    let served = TlsService::in_folder(folder, &entries("127.0.0.1:0"));
    let other = certificate(served.service.folder(), "other");
    assert_eq!(shown(&served.connect("other.example", &[])), other);
    fs::write(served.service.folder().join("crosslink.yaml"), entries("127.0.0.1:1")).unwrap();
    served.service.program.signal("HUP");
    served.service.said("takes a restart");
    assert_eq!(shown(&served.connect("other.example", &[])), other);
}

#[test]
fn a_watched_certificate_is_read_again_by_itself() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = TlsService::start(&format!("watch: true\n{CONFIG}"));
    let old = shown(&served.connect(HOST, &[]));
    issue(served.service.folder(), "site", "DNS:www.yoursite.com");
    eventually("the new one", || (shown(&served.connect(HOST, &[])) != old).then_some(()));
}

#[test]
fn a_handshake_that_does_not_end_is_closed() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = with_limits(&format!("head_timeout: 300ms, idle_timeout: {LONG}"));
    // Silence, the beginning of a record, and one that promises more than ever comes.
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"] {
        let waited = Client::connect(served.address).send(begun).closed_after();
        assert!(waited >= Duration::from_millis(300), "{begun:?}");
    }
    let mut dripped = socket(served.address);
    let drops = (0..200).take_while(|_| {
        std::thread::sleep(Duration::from_millis(20));
        dripped.write_all(b"\x16").is_ok()
    });
    assert!(drops.count() < 200);
    assert_eq!(ask(&mut served.connect(HOST, &[]), ASK), "HTTP/1.1 302 Found");
}

#[test]
fn a_handshake_that_fails_is_counted() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = with_limits(&format!("head_timeout: 300ms, idle_timeout: {LONG}"));
    // Plain HTTP, a hello that does not end, and one that breaks off.
    for begun in [ASK, b"\x16"] {
        Client::connect(served.address).send(begun).closed_after();
    }
    drop(Client::connect(served.address).send(b"\x16\x03\x01"));
    eventually("three failures", || (handshake_failures(&served) == 3).then_some(()));
    // Who says nothing, or shakes hands, has not failed.
    Client::connect(served.address).send(b"").closed_after();
    drop(socket(served.address));
    assert_eq!(ask(&mut served.connect(HOST, &[]), ASK), "HTTP/1.1 302 Found");
    assert_eq!(handshake_failures(&served), 3);
}

#[test]
fn plain_http_on_the_tls_port_ends_in_peace() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = TlsService::start(CONFIG);
    let mut plain = socket(served.address);
    plain.write_all(ASK).unwrap();
    let mut said = Vec::new();
    plain.read_to_end(&mut said).unwrap();
    assert_eq!(said[..1], [21], "an alert (RFC 8446, 6) and no reset: {said:?}");
    assert_eq!(ask(&mut served.connect(HOST, &[]), ASK), "HTTP/1.1 302 Found");
}

#[test]
fn time_limits_are_those_of_a_plain_listener() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = with_limits(&format!("idle_timeout: 300ms, head_timeout: {LONG}"));
    let silent = served.connect(HOST, &[]);
    let mut idle = served.connect(HOST, &[]);
    assert_eq!(ask(&mut idle, ASK), "HTTP/1.1 302 Found");
    assert!(closes_in_peace(silent) && closes_in_peace(idle), "an idle client is told of the end");

    let served = with_limits(&format!("head_timeout: 300ms, idle_timeout: {LONG}"));
    let mut slow = served.connect(HOST, &[]);
    slow.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    assert!(Client::over(slow).closed_after() >= Duration::from_millis(300));
}

#[test]
fn a_client_that_reads_nothing_is_closed() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = with_limits("idle_timeout: 300ms, head_timeout: 300ms, connections: 1");
    let mut deaf = served.connect(HOST, &[]);
    deaf.sock.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    // More answers than all buffers on the way hold, and requests for ever more of them.
    let pipelined = ASK.repeat(500);
    while deaf.write_all(&pipelined).is_ok() {}
    // Its place is free again.
    assert_eq!(ask(&mut served.connect(HOST, &[]), ASK), "HTTP/1.1 302 Found");
}

#[test]
fn a_handshake_takes_a_place() {
    if !needs(&["openssl"]) {
        return;
    }
    let served = with_limits(&format!("connections: 1, head_timeout: {LONG}"));
    let mut begun = socket(served.address);
    begun.write_all(b"\x16").unwrap();
    eventually("its place", || (metric(&served, "crosslink_connections") == 1).then_some(()));
    let mut waiting = served.client(HOST, &[], socket(served.address));
    waiting.sock.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(waiting.conn.complete_io(&mut waiting.sock).is_err(), "nobody is served over the limit");
    drop(begun);
    waiting.sock.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(ask(&mut waiting, ASK), "HTTP/1.1 302 Found");
}

#[test]
fn stopping_ends_what_is_idle_and_answers_what_has_begun() {
    if !needs(&["openssl"]) {
        return;
    }
    let mut served = with_limits(&format!("drain: 30s, head_timeout: {LONG}, idle_timeout: {LONG}"));
    let silent = socket(served.address);
    let fresh = served.connect(HOST, &[]);
    let mut idle = served.connect(HOST, &[]);
    assert_eq!(ask(&mut idle, ASK), "HTTP/1.1 302 Found");
    let (begun, rest) = ASK.split_at(5);
    let mut half = served.connect(HOST, &[]);
    half.write_all(begun).unwrap();
    // A client whose hello is on its way in two pieces.
    let mut hello = Vec::new();
    let mut shaking = served.client(HOST, &[], socket(served.address));
    shaking.conn.write_tls(&mut hello).unwrap();
    let (first, second) = hello.split_at(20);
    shaking.sock.write_all(first).unwrap();
    // All of that is in the server once a later connection was served.
    assert_eq!(ask(&mut served.connect(HOST, &[]), ASK), "HTTP/1.1 302 Found");

    served.service.program.signal("TERM");
    is_stopping(&served);
    assert!(closes_in_peace(idle) && closes_in_peace(fresh), "they are told of the end");
    Client::over(silent).closed_after();
    let mut half = Client::over(half).send(rest);
    assert_eq!(half.reply().unwrap().field("connection"), Some("close"));
    shaking.sock.write_all(second).unwrap();
    let mut shaking = Client::over(shaking).send(ASK);
    assert_eq!(shaking.reply().unwrap().field("connection"), Some("close"));
    drop((half, shaking));
    assert_eq!(served.service.exit(), Some(0));
    assert!(served.service.events().contains(r#""cut":0"#), "{}", served.service.events());
}

#[test]
fn what_can_not_be_shown_is_a_fault() {
    if !needs(&["openssl"]) {
        return;
    }
    let folder = folder();
    let path = folder.path();
    issue(path, "other", "DNS:other.example");
    openssl(path, "", "pkey -in site.key -aes128 -passout pass:test -out locked.key");
    openssl(path, "", "genpkey -algorithm ED448 -out strange.key");
    let damaged = fs::read_to_string(path.join("site.pem")).unwrap().replace("MII", "MIJ");
    fs::write(path.join("damaged.pem"), damaged).unwrap();
    fs::copy(path.join("site.key"), path.join("open.key")).unwrap();
    fs::set_permissions(path.join("open.key"), Permissions::from_mode(0o644)).unwrap();
    for (certificate, key, code, expected) in [
        ("site.pem", "site.key", 0, ""),
        ("site.pem", "open.key", 0, "warning: everybody on this machine can read or change this file"),
        ("site.pem", "other.key", 78, ":1:61: this is the key of another certificate"),
        ("site.pem", "locked.key", 78, ":1:61: there is no key in PEM form in this file, or it has a password"),
        ("site.pem", "strange.key", 78, ":1:61: a key of this kind can't be used"),
        ("site.pem", "site.pem", 78, ":1:61: there is no key in PEM form"),
        ("site.key", "site.key", 78, ":1:46: there is no certificate in PEM form"),
        ("damaged.pem", "site.key", 78, ":1:46: this certificate is damaged, or older than version 3 of X.509"),
    ] {
        let tls = format!("tls: [{{ listen: 127.0.0.1:8443, certificate: {certificate}, key: {key} }}]");
        let text = format!("{tls}\npairs: [{{ origin: www.yoursite.com, destination: ok.example }}]\n");
        fs::write(path.join("crosslink.yaml"), text).unwrap();
        let checked = crosslink().current_dir(&folder).args(["check", "--config", "crosslink.yaml"]).output().unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(code), "{certificate} {key}: {said}");
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{certificate} {key}: {said}");
        assert!(!said.contains("PRIVATE") && !said.contains("MI"), "{said}");
    }
}
