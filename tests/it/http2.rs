//! HTTP/2: the same answers as in HTTP/1.1, and no more than a connection may cost.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::attacks::{Case, judge, table};
use crate::http2_client::{
    Answer, CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, Http2, INITIAL_WINDOW_SIZE,
    NO_ERROR, PING, PROTOCOL_ERROR, RST_STREAM, SETTINGS, block, frame, head,
};
use crate::support::{CONFIG, Client, eventually, needs};
use crate::tls_client::TlsService;

const HOST: &str = "www.yoursite.com";
const TO: &str = "https://yoursite.3rd-party-checkout.com/cart";
const BOB: (&str, &str) = ("cookie", "km_ni=bob%40bob.com");
/// Long enough that no test waits for it.
const LONG: &str = "60s";

fn serve() -> Option<TlsService> {
    needs(&["openssl"]).then(|| TlsService::start(CONFIG))
}

fn with_limits(limits: &str) -> Option<TlsService> {
    needs(&["openssl"]).then(|| TlsService::start(&format!("limits: {{ {limits} }}\n{CONFIG}")))
}

/// What the operator's port says of a counter.
pub fn metric(served: &TlsService, name: &str) -> u64 {
    let ask = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let text = Client::connect(served.service.admin()).send(ask).reply().unwrap().body;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

#[track_caller]
fn counts(served: &TlsService, name: &str, count: u64) {
    eventually(name, || (metric(served, name) == count).then_some(()));
}

const UNREADABLE: &str = r#"crosslink_refusals_total{code="unreadable"}"#;

#[test]
fn an_answer_has_the_fields_of_http_1_and_none_of_its_connection() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    let fields = |reply: &crate::support::Reply| reply.fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let reply = client.get(HOST, "/go/checkout?a=b", &[BOB]).reply();
    assert_eq!((reply.status, reply.location()), (302, Some(&*format!("{TO}?a=b&kmi=bob%40bob.com"))));
    assert_eq!(fields(&reply), ["location", "cache-control", "date"]);
    let reply = client.get("ok.example", "/x?kmi=bob%40bob.com", &[]).reply();
    assert_eq!((reply.status, reply.location()), (302, Some("https://ok.example/x")));
    assert!(reply.set_cookie().unwrap().starts_with("km_ni=bob%40bob.com; SameSite=Lax; Secure; "));
    let reply = client.get(HOST, "/", &[]).reply();
    assert_eq!((reply.status, reply.code(), reply.field("content-length")), (404, "not_found", Some("45")));
    assert_eq!(fields(&reply), ["content-type", "cache-control", "x-content-type-options", "date", "content-length"]);
}

#[test]
fn an_answer_to_head_has_no_body() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    for (path, status) in [("/go/checkout", 302), ("/", 404), ("/go?to=https://evil.example", 403)] {
        let stream = client.ask(&head("HEAD", HOST, path));
        let reply = client.answer(stream).reply();
        assert_eq!((reply.status, &*reply.body), (status, ""), "{path}");
    }
}

#[test]
fn cookies_in_several_fields_are_read_as_one() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    let split = [("cookie", "a=b"), ("cookie", "km_ai=anne"), BOB, ("cookie", "\"=;;")];
    let reply = client.get(HOST, "/go/checkout", &split).reply();
    assert_eq!(reply.location(), Some(&*format!("{TO}?kmi=bob%40bob.com")));
}

#[test]
fn a_request_names_one_host() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    let (own, evil) = (Some("www.yoursite.com"), "evil.example");
    for (authority, hosts, expected) in [
        (own, &[][..], "302"),
        (own, &["WWW.yoursite.com"], "302"),
        (Some("www.yoursite.com:443"), &[], "302"),
        (None, &["www.yoursite.com"], "302"),
        (own, &[evil], "bad_host"),
        (Some(evil), &["www.yoursite.com"], "bad_host"),
        (own, &["www.yoursite.com:443"], "bad_host"),
        (own, &[""], "bad_host"),
        (own, &["www.yoursite.com", "www.yoursite.com"], "bad_host"),
        (own, &["www.yoursite.com", evil], "bad_host"),
        (None, &["www.yoursite.com", "www.yoursite.com"], "bad_host"),
        (None, &[], "bad_host"),
        (Some("bob@www.yoursite.com"), &[], "bad_host"),
        (Some("www.yoursite.com."), &[], "unknown_host"),
        (Some(evil), &[], "unknown_host"),
    ] {
        let mut fields = head("GET", authority.unwrap_or("-"), "/go/checkout");
        fields.retain(|(name, _)| authority.is_some() || *name != b":authority");
        fields.extend(hosts.iter().map(|host| (&b"host"[..], host.as_bytes())));
        let stream = client.ask(&fields);
        let reply = client.answer(stream).reply();
        let answer = if reply.status == 302 { "302" } else { reply.code() };
        assert_eq!(answer, expected, "{authority:?} {hosts:?}");
    }
}

#[test]
fn a_target_is_a_path() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    for (method, path, expected) in [
        ("GET", "//evil.example/", "not_found"),
        ("GET", "//go/checkout", "not_found"),
        ("OPTIONS", "*", "bad_host"),
        ("GET", "*", "bad_host"),
        ("PUT", "/go/checkout", "method_not_allowed"),
    ] {
        let stream = client.ask(&head(method, HOST, path));
        let answer = client.answer(stream);
        let Answer::Reply(reply) = answer else { panic!("{method} {path}: {answer:?}") };
        assert_eq!(reply.code(), expected, "{method} {path}");
    }
    // The path stays as it is, and what is below a destination's `*.` too.
    let reply = client.get("a.wild.example", "//evil.example/?kmi=x", &[]).reply();
    assert_eq!(reply.location(), Some("https://a.wild.example//evil.example/"));
}

#[test]
fn a_connect_is_no_way_through() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    let stream = client.ask(&[(b":method", b"CONNECT"), (b":authority", b"www.yoursite.com:443")]);
    assert_eq!(client.answer(stream).reply().code(), "bad_host");
    let mut extended = head("CONNECT", HOST, "/go/checkout");
    extended.push((b":protocol", b"websocket"));
    let stream = client.ask(&extended);
    assert!(matches!(client.answer(stream), Answer::Reset(PROTOCOL_ERROR)));
    assert_eq!(client.get(HOST, "/go/checkout", &[]).reply().status, 302);
}

#[test]
fn a_malformed_request_ends_its_own_stream_alone() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    let right = head("GET", HOST, "/go/checkout");
    let with = |name: &'static [u8], value: &'static [u8]| [&right[..], &[(name, value)]].concat();
    for wrong in [
        right.iter().copied().filter(|(name, _)| *name != b":path").collect(),
        right.iter().copied().filter(|(name, _)| *name != b":scheme").collect(),
        right.iter().copied().filter(|(name, _)| *name != b":method").collect(),
        with(b":path", b"/"),
        with(b":status", b"200"),
        with(b"connection", b"close"),
        with(b"transfer-encoding", b"chunked"),
        with(b"te", b"gzip"),
        with(b"content-length", b"x"),
        [&[(&b"a"[..], &b"b"[..])][..], &right].concat(),
        head("GET", HOST, ""),
        head("GET", HOST, "/ /"),
        head("GET", HOST, "go/checkout"),
        head("GET", HOST, "https://www.yoursite.com/go/checkout"),
        head("GET", "a b", "/go/checkout"),
    ] {
        let stream = client.ask(&wrong);
        let answer = client.answer(stream);
        let shown = wrong.iter().map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        let shown: Vec<_> = shown.collect();
        assert!(matches!(answer, Answer::Reset(PROTOCOL_ERROR)), "{shown:?}: {answer:?}");
    }
    assert_eq!(client.get(HOST, "/go/checkout", &[]).reply().status, 302);
    // A name in upper case, or bytes that no field may hold, end the connection: who compresses such is not trusted.
    for (name, value) in [
        (&b"Cookie"[..], &b"km_ni=bob"[..]),
        (b"x", b"a\r\nb: c"),
        (b"x\n", b"y"),
        (b"x", b"\0"),
        (b":method", b"G T"),
        (b":unknown", b"x"),
    ] {
        let mut client = Http2::connect(&served);
        let stream = client.ask(&[&right[..], &[(name, value)]].concat());
        let answer = client.answer(stream);
        assert!(matches!(answer, Answer::GoneAway(Some(PROTOCOL_ERROR))), "{name:?}: {answer:?}");
    }
}

#[test]
fn no_attack_leads_a_visitor_astray() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    let mut failures = Vec::new();
    let (mut tried, mut by_itself) = (0, 0);
    for Case { place, expected, request } in table("attacks.txt").into_iter().chain(table("honest.txt")) {
        let Some(fields) = as_fields(&request) else { continue };
        tried += 1;
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let stream = client.ask(&fields);
        let judged = match client.answer(stream) {
            Answer::Reply(reply) => judge(&reply, &expected),
            // What can't be a request ends its stream, or the connection with all that is on it.
            refused => {
                if let Answer::GoneAway(_) = refused {
                    client = Http2::connect(&served);
                }
                by_itself += 1;
                let is_refusal = matches!(&*expected, "400" | "431" | "bad_host" | "unknown_host");
                if is_refusal { Ok(()) } else { Err(format!("expected {expected}, got {refused:?}")) }
            }
        };
        failures.extend(judged.err().map(|failure| format!("{place}: {failure}")));
    }
    assert!(failures.is_empty(), "{} of {tried} failed:\n{}", failures.len(), failures.join("\n"));
    assert!(tried >= 900 && by_itself < 50, "{tried}, of which {by_itself} were refused unseen");
}

/// The fields of a request of the tables, if HTTP/2 could say the same.
fn as_fields(request: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let lines = request.strip_suffix(b"\r\n\r\n")?;
    let mut lines = lines.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next()?.strip_suffix(b" HTTP/1.1")?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let (method, target) = (&first[..space], &first[space + 1..]);
    if !target.starts_with(b"/") || method == b"CONNECT" {
        return None;
    }
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = [(&b":method"[..], method), (b":scheme", b"https"), (b":path", target)]
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .into();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec());
        if [&b"connection"[..], b"transfer-encoding"].contains(&&*name) {
            return None;
        }
        fields.push((name, value));
    }
    // More are too many for HTTP/1.1, where they are not counted by their size.
    if fields.len() > 100 {
        return None;
    }
    // A library would leave `Host` out and say `:authority`; here that stands for it where there is one.
    let hosts: Vec<usize> = (0..fields.len()).filter(|index| fields[*index].0 == b"host").collect();
    if let [only] = hosts[..] {
        let (_, host) = fields.remove(only);
        fields.insert(2, (b":authority".to_vec(), host));
    }
    Some(fields)
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_connection_goes_on() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    let large = format!("km_ni=bob; {}", "a".repeat(33_000));
    for _ in 0..100 {
        assert_eq!(client.get(HOST, "/go/checkout", &[("cookie", &large)]).reply().status, 431);
        assert_eq!(client.get(HOST, "/go/checkout", &[]).reply().status, 302);
    }
    // Many small fields count as much.
    let mut fields = head("GET", HOST, "/go/checkout");
    fields.extend(std::iter::repeat_n((&b"a"[..], &b"b"[..]), 1_100));
    let stream = client.ask(&fields);
    assert_eq!(client.answer(stream).reply().status, 431);
    // Far more is not even read.
    let huge = "a".repeat(200_000);
    let answer = client.get(HOST, "/go/checkout", &[("cookie", &huge)]);
    assert!(matches!(answer, Answer::GoneAway(Some(ENHANCE_YOUR_CALM))), "{answer:?}");
    drop(client);
    counts(&served, UNREADABLE, 1);
}

#[test]
fn a_head_without_end_is_cut_off() {
    let Some(served) = serve() else { return };
    // No more than the server still reads when it has said why it ends.
    for (part, most) in [(&b""[..], 1_000), (&block(&[(b"a", b"b")]), 1_000), (&[0; 16_384], 12)] {
        let mut client = Http2::connect(&served);
        let stream = client.new_stream();
        client.frame(HEADERS, END_STREAM, stream, &block(&head("GET", HOST, "/")));
        for _ in 0..most {
            if !client.frame(CONTINUATION, 0, stream, part) {
                break;
            }
        }
        let code = client.gone_away();
        assert!(code.is_some_and(|code| code != NO_ERROR), "{code:?} for parts of {}", part.len());
    }
    counts(&served, UNREADABLE, 3);
}

#[test]
fn requests_that_are_taken_back_at_once_are_soon_no_more_listened_to() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    let head = block(&head("GET", HOST, "/go/checkout"));
    let mut flood = Vec::new();
    for _ in 0..1_000 {
        let stream = client.new_stream();
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    client.send(&flood);
    assert_eq!(client.gone_away(), Some(ENHANCE_YOUR_CALM));
    drop(client);
    counts(&served, UNREADABLE, 1);
    assert_eq!(Http2::connect(&served).get(HOST, "/go/checkout", &[]).reply().status, 302);
}

#[test]
fn a_client_that_makes_the_server_reset_is_soon_no_more_listened_to() {
    let Some(served) = serve() else { return };
    let mut client = Http2::connect(&served);
    // A window that grows too large is an error of the stream alone (RFC 9113, 6.9.1; CVE-2025-8671).
    let head = block(&head("POST", HOST, "/go/checkout"));
    for _ in 0..1_500 {
        let stream = client.new_stream();
        let request = frame(HEADERS, END_HEADERS, stream, &head);
        if !client
            .send(&[request, frame(crate::http2_client::WINDOW_UPDATE, 0, stream, &[127, 255, 255, 255])].concat())
        {
            break;
        }
    }
    assert_eq!(client.gone_away(), Some(ENHANCE_YOUR_CALM));
}

#[test]
fn more_requests_at_a_time_than_allowed_are_refused_alone() {
    let Some(served) = serve() else { return };
    // Nothing of a body may come, so each refusal stays open.
    let mut client = Http2::with_settings(&served, &[(INITIAL_WINDOW_SIZE, 0)]);
    let streams: Vec<u32> = (0..200).map(|_| client.ask(&head("GET", HOST, "/"))).collect();
    let Answer::Reset(code) = client.answer(streams[199]) else { panic!("it was let through") };
    assert_eq!(code, 7, "REFUSED_STREAM, which says that it may be asked again (RFC 9113, 8.7)");
    client.frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &65_535_u32.to_be_bytes()].concat());
    eventually("that all goes on", || {
        matches!(client.get(HOST, "/go/checkout", &[]), Answer::Reply(reply) if reply.status == 302).then_some(())
    });
}

#[test]
fn connections_without_a_whole_request_end_in_time() {
    let Some(served) = with_limits("idle_timeout: 1s, head_timeout: 1s") else { return };
    let silent = served.connect(HOST, &["h2"]);
    assert!(Client::over(silent).closed_after() >= Duration::from_secs(1));
    // After its settings, after a request, in the middle of a head, and with pings that never end.
    let mut idle = Http2::connect(&served);
    assert_eq!(idle.gone_away(), Some(NO_ERROR));
    let mut asked = Http2::connect(&served);
    assert_eq!(asked.get(HOST, "/go/checkout", &[]).reply().status, 302);
    assert_eq!(asked.gone_away(), Some(NO_ERROR));
    let mut half = Http2::connect(&served);
    let stream = half.new_stream();
    half.frame(HEADERS, END_STREAM, stream, &block(&head("GET", HOST, "/")));
    half.gone_away();
    let mut pinging = Http2::connect(&served);
    let started = Instant::now();
    while pinging.frame(PING, 0, 0, &[0; 8]) {
        assert!(started.elapsed() < crate::support::PATIENCE, "it goes on for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_that_read_nothing_end_in_time() {
    let Some(served) = with_limits("idle_timeout: 300ms, head_timeout: 300ms, connections: 1") else { return };
    let settings: (u16, u32) = (INITIAL_WINDOW_SIZE, 0);
    // No room for a body; then floods of what must be answered.
    let mut closed = Http2::with_settings(&served, &[settings]);
    for _ in 0..200 {
        closed.ask(&head("GET", HOST, "/"));
    }
    for flood in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut deaf = Http2::connect(&served);
        deaf.stream.sock.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let flood = flood.repeat(1_000);
        while deaf.send(&flood) {}
    }
    assert_eq!(Http2::connect(&served).get(HOST, "/go/checkout", &[]).reply().status, 302, "all places are free again");
}

#[test]
fn stopping_answers_what_was_asked_and_says_goodbye() {
    let Some(mut served) = with_limits(&format!("drain: 30s, head_timeout: {LONG}, idle_timeout: {LONG}")) else {
        return;
    };
    let silent = served.connect(HOST, &["h2"]);
    let mut idle = Http2::connect(&served);
    assert_eq!(idle.get(HOST, "/go/checkout", &[]).reply().status, 302);
    let mut half = Http2::connect(&served);
    let stream = half.new_stream();
    let block = block(&head("GET", HOST, "/go/checkout"));
    let (begun, rest) = block.split_at(20);
    half.frame(HEADERS, END_STREAM, stream, begun);
    // All of that is in the server once a later connection was served.
    assert_eq!(Http2::connect(&served).get(HOST, "/go/checkout", &[]).reply().status, 302);

    served.service.program.signal("TERM");
    served.service.said("stopping");
    half.frame(CONTINUATION, END_HEADERS, stream, rest);
    assert_eq!(half.answer(stream).reply().status, 302);
    // Told that there will be an end, a client may still ask, until it has said that it knows (RFC 9113, 6.8).
    while idle.next_frame().unwrap().kind != GOAWAY {}
    assert_eq!(idle.get(HOST, "/go/checkout", &[]).reply().status, 302);
    for mut client in [idle, half] {
        client.gone_away();
    }
    Client::over(silent).closed_after();
    assert_eq!(served.service.exit(), Some(0));
    assert!(served.service.events().contains(r#""cut":0"#), "{}", served.service.events());
}

#[test]
fn the_log_names_the_host_that_was_asked() {
    let Some(mut served) = serve() else { return };
    let mut client = Http2::connect(&served);
    client.get(HOST, "/go/checkout?kmi=x", &[BOB]);
    client.get("evil.example", "/", &[]);
    drop(client);
    served.service.program.signal("TERM");
    assert_eq!(served.service.exit(), Some(0));
    let log = std::fs::read_to_string(&served.service.stdout).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["host"], &lines[0]["path"]), (&HOST.into(), &"/go/checkout".into()));
    assert_eq!((&lines[1]["host"], &lines[1]["outcome"]), (&"evil.example".into(), &"unknown_host".into()));
}

#[test]
fn a_load_is_served_without_a_failure() {
    if !needs(&["openssl", "h2load"]) {
        return;
    }
    let served = TlsService::start(CONFIG);
    let output = Command::new("h2load")
        .args(["--requests=6000", "--clients=12", "--max-concurrent-streams=100", "--threads=1"])
        .args([&format!("--connect-to={}", served.address), "--header=cookie: km_ni=bob%40bob.com"])
        .arg("https://www.yoursite.com/go/checkout")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = "6000 total, 6000 started, 6000 done, 6000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(said.contains(expected) && said.contains("6000 3xx"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(metric(&served, r#"crosslink_handoffs_total{pair="hosted",identity="named"}"#), 6_000);
}
