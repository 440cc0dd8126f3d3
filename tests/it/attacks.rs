//! Two tables of requests, `attacks.txt` and `honest.txt`: no attack leads a visitor off the allow-list, and every
//! honest destination is reached as it was written.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use url::Url;

use crate::support::{App, PATIENCE, Reply, repository};

/// Where [`crate::support::CONFIG`] lets visitors go, besides `https://<anything>.wild.example`.
const ALLOWED: &[&str] = &[
    "https://yoursite.3rd-party-checkout.com",
    "https://ok.example",
    "https://ports.example:8443",
    "https://paths.example",
    "https://xn--bcher-kva.example",
    "https://127.0.0.1",
    "https://[::1]:8080",
    "http://plain.example",
];

#[test]
fn no_attack_leads_a_visitor_astray() {
    let app = App::start();
    let attacks = table("attacks.txt");
    assert!(attacks.len() >= 800, "{} attacks", attacks.len());
    assert_all(&app, &attacks);
    assert_eq!(app.get("www.yoursite.com", "/go/checkout").send().status, 302, "it still serves");
    let log = app.log();
    assert!(log.lines().count() > 500 && ["bob", "alice", "mallory"].iter().all(|name| !log.contains(name)));
}

#[test]
fn an_honest_destination_stays_as_it_was_written() {
    let app = App::start();
    let honest = table("honest.txt");
    assert!(honest.len() >= 120, "{} destinations", honest.len());
    assert_all(&app, &honest);
}

#[test]
fn an_honest_visitor_takes_exactly_one_identity_along_and_lands_with_it() {
    let app = App::start();
    for case in table("honest.txt") {
        let location = case.reply(app.address).unwrap().location().expect(&case.place).to_owned();
        let url = Url::parse(&location).unwrap();
        let identities: Vec<_> = url.query_pairs().filter(|(name, _)| name == "kmi").map(|(_, value)| value).collect();
        assert_eq!(identities, ["bob@bob.com"], "{}: {location}", case.place);
        let (location, origin) = (location.split('#').next().unwrap(), origin(&location).unwrap());
        let (_, host) = origin.split_once("://").unwrap();
        // The only destination without a landing.
        if host != "yoursite.3rd-party-checkout.com" {
            let landing = app.get(host, location.strip_prefix(origin).unwrap()).send();
            let clean = location.strip_suffix("kmi=bob%40bob.com").and_then(|url| url.strip_suffix(['?', '&']));
            assert_eq!(landing.location(), clean, "{}", case.place);
            assert!(landing.set_cookie().is_some_and(|cookie| cookie.starts_with("km_ni=bob%40bob.com; ")));
        }
    }
}

/// One line of a table.
pub struct Case {
    pub place: String,
    pub expected: String,
    /// As HTTP/1.1 has it.
    pub request: Vec<u8>,
}

/// Reads a table; the format stands at the top of `attacks.txt`.
pub fn table(file: &str) -> Vec<Case> {
    let text = fs::read_to_string(repository("tests/data").join(file)).unwrap();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let case = |(index, line): (usize, &str)| {
        let place = format!("{file}:{}", index + 1);
        let mut parts = line.split('\t');
        let (first, second) = (parts.next().unwrap(), parts.next().expect(&place));
        let is_honest = first.starts_with('/');
        let (expected, target) = if is_honest { (format!("302 {second}"), first) } else { (first.into(), second) };
        let expected = String::from_utf8(unescape(&expected)).unwrap();
        Case { place, expected, request: request(target, &parts.collect::<Vec<_>>()) }
    };
    lines.map(case).collect()
}

fn request(target: &str, fields: &[&str]) -> Vec<u8> {
    let gives = |name: &str| fields.iter().any(|field| field.starts_with(name));
    let method = fields.iter().find_map(|field| field.strip_prefix("METHOD: ")).unwrap_or("GET");
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !gives("Host:") && !gives("-Host") {
        head.push_str("Host: www.yoursite.com\r\n");
        head.push_str(if gives("Cookie:") { "" } else { "Cookie: km_ni=bob%40bob.com\r\n" });
    }
    let fields = fields.iter().filter(|field| **field != "-Host" && !field.starts_with("METHOD: "));
    head.extend(fields.map(|field| format!("{field}\r\n")));
    unescape(&(head + "\r\n"))
}

fn unescape(mut text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((plain, escape)) = text.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        text = if let Some(rest) = escape.strip_prefix('\\') {
            bytes.push(b'\\');
            rest
        } else if let Some((repeated, rest)) = escape.strip_prefix('{').and_then(|escape| escape.split_once('}')) {
            let (times, what) = repeated.split_once('*').expect(text);
            bytes.extend(unescape(what).repeat(times.parse().expect(text)));
            rest
        } else {
            let (byte, rest) = escape.strip_prefix('x').and_then(|escape| escape.split_at_checked(2)).expect(text);
            bytes.push(u8::from_str_radix(byte, 16).expect(text));
            rest
        };
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Sends each request of a table, and shows all that went wrong together.
fn assert_all(app: &App, cases: &[Case]) {
    let failed = |case: &Case| case.judge(app.address).err().map(|failure| format!("{}: {failure}", case.place));
    let failures: Vec<_> = cases.iter().filter_map(failed).collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

impl Case {
    /// Whether the right answer comes.
    pub fn judge(&self, server: SocketAddr) -> Result<(), String> {
        judge(&self.reply(server)?, &self.expected)
    }

    /// Sends it, closes the sending side and reads all that comes, which must be exactly one reply.
    fn reply(&self, server: SocketAddr) -> Result<Reply, String> {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that has refused a long head already is no failure: what it said is read below.
        let _ = stream.write_all(&self.request).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(|error| format!("the connection was dropped: {error}"))?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").ok_or("the connection was closed without a reply")?;
        if head.replace("\r\n", "").contains(|c: char| c != ' ' && !c.is_ascii_graphic()) {
            return Err(format!("not visible ASCII: {head:?}"));
        }
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let fields =
            head.split("\r\n").filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.into(), v.into())).collect();
        let reply = Reply { status, fields, body: body.to_owned() };
        let is_whole = reply.field("content-length").unwrap_or("0") == body.len().to_string();
        if is_whole { Ok(reply) } else { Err(format!("not one whole reply: {text}")) }
    }
}

/// Whether an answer is the one that must come, and harmless.
pub fn judge(reply: &Reply, expected: &str) -> Result<(), String> {
    let answer = match (reply.location(), reply.set_cookie()) {
        (Some(to), None) => format!("{} {to}", reply.status),
        (Some(to), Some(cookie)) => format!("{} {to} {}", reply.status, cookie.split(';').next().unwrap()),
        (None, None) if reply.body.is_empty() => reply.status.to_string(),
        (None, None) if reply.status == status_of(reply.code()) => reply.code().to_owned(),
        _ => format!("{reply:?}"),
    };
    let is_safe = reply.location().is_none_or(is_allowed) && reply.set_cookie().is_none_or(is_harmless);
    let is_single = reply.count("location") <= 1 && reply.count("set-cookie") <= 1;
    if reply.status >= 500 || !is_safe || !is_single || reply.body.contains("evil") {
        return Err(format!("a dangerous answer: {reply:?}"));
    }
    if answer == expected { Ok(()) } else { Err(format!("expected {expected}, got {answer}")) }
}

fn status_of(code: &str) -> u16 {
    match code {
        "not_allowed" | "prefetch" => 403,
        "not_found" | "unknown_link" => 404,
        "method_not_allowed" => 405,
        "unknown_host" => 421,
        "bad_host" | "bad_to" | "missing_to" | "repeated_to" => 400,
        other => panic!("there is no code {other}"),
    }
}

/// Whether a browser's parser and a plain reading of RFC 3986 both find the same allowed origin in a Location.
fn is_allowed(location: &str) -> bool {
    let by_browsers = Url::parse(location).map(|url| url.origin().ascii_serialization());
    let Some(origin) = origin(location).filter(|origin| by_browsers.as_deref() == Ok(origin)) else { return false };
    let below = origin.strip_prefix("https://").and_then(|host| host.strip_suffix(".wild.example"));
    let is_other = |c: char| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
    let is_below = |names: &str| names.split('.').all(|name| !name.is_empty() && !name.contains(is_other));
    !location.contains(' ') && (ALLOWED.contains(&origin) || below.is_some_and(is_below))
}

/// Scheme and authority (RFC 3986, 3.2): everything before the first `/`, `?` or `#` behind `://`, as it stands there.
fn origin(location: &str) -> Option<&str> {
    let (scheme, rest) = location.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    location.get(..scheme.len() + 3 + authority.len())
}

/// Whether a cookie has the attributes that the configuration gives it, and none that an attacker added.
fn is_harmless(cookie: &str) -> bool {
    let domains = ["Domain=ok.example", "Domain=wild.example", "Domain=ports.example"];
    let others = ["SameSite=Lax", "Secure", "Path=/", "Max-Age=34560000"];
    cookie.split("; ").skip(1).all(|attribute| domains.contains(&attribute) || others.contains(&attribute))
}
