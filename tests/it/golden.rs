//! Ten thousand requests, made by a fixed seed, get byte for byte the answers that they got before.
//!
//! What a change of the core's speed must not do is change an answer. The answers' digests, one for a hundred requests,
//! are in `tests/data/golden.txt`. Where answers change on purpose, `UPDATE=1 cargo test --test it golden::` writes
//! that file anew and tells where it keeps all requests and answers, to be compared with those of another commit.
//!
//! Tokens are random, so nothing is sealed here; `sealed.rs` has the tests for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::support::{App, CONFIG, Client, repository, socket};

/// All that a configuration can say about redirects: the one of most tests, and more. Requests are not logged, for here
/// they hold anything.
fn config() -> String {
    let config = CONFIG
        .replace("      query: /cart", "      marked: \"/cart?kmi=old&x=1\"\n      query: /cart")
        .replace("      domain: host\n", "      domain: host\n      max_age: 1h\n      existing: replace\n");
    format!("log: {{ requests: off }}\n{config}{MORE_PAIRS}")
}

const MORE_PAIRS: &str = r#"
  - name: consent
    origin: consent.example
    destination: [ok2.example, "*.amazonaws.com"]
    links: { cart: "https://ok2.example/a/b/?c=d" }
    parameter: ajs_aid
    identity: { cookies: [ajs, "km_ni", third] }
    consent: { require_cookie: { name: agreed, contains: "yes" }, gpc: ignore }
    landing: { cookie: ajs, same_site: none, existing: keep, domain: host }
"#;

#[test]
fn ten_thousand_requests_get_the_answers_of_before() {
    let app = App::with(&config());
    let mut visitor = Visitor::new(app.address);
    let mut random = Random(2026);
    let (mut digests, mut transcript, mut statuses) = (Vec::new(), String::new(), BTreeMap::new());
    let mut first_lines = Vec::new();
    for _ in 0..BLOCKS {
        let mut digest = Sha256::new();
        for number in 0..BLOCK {
            let request = request(&mut random);
            let (status, answer) = visitor.ask(&request);
            digest.update(&answer);
            *statuses.entry(status).or_insert(0) += 1;
            let line = request.split(|byte| *byte == b'\r').next().unwrap().escape_ascii().to_string();
            write!(transcript, "{}\n{answer}\n", request.escape_ascii()).unwrap();
            if number == 0 {
                first_lines.push(line);
            }
        }
        digests.push(digest.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")));
    }
    let path = repository("tests/data/golden.txt");
    if std::env::var_os("UPDATE").is_some() {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden.txt");
        fs::write(&all, transcript).unwrap();
        println!("all requests and answers: {}", all.display());
        let statuses: Vec<_> = statuses.iter().map(|(status, count)| format!("{count} x {status}")).collect();
        let head = format!("# SHA-256 of {BLOCKS} x {BLOCK} answers: {}; see tests/it/golden.rs", statuses.join(", "));
        fs::write(&path, format!("{head}\n{}\n", digests.join("\n"))).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap();
    let golden: Vec<_> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(golden.len(), digests.len());
    for (block, (golden, digest)) in golden.iter().zip(&digests).enumerate() {
        assert_eq!(golden, digest, "block {block}, which begins with {}", first_lines[block]);
    }
}

/// A connection that is opened again whenever the server has closed it.
struct Visitor {
    address: SocketAddr,
    client: Client,
}

impl Visitor {
    fn new(address: SocketAddr) -> Self {
        Self { address, client: Client::over(Buffered(BufReader::new(socket(address)))) }
    }

    /// The status and the whole answer, but for the date.
    fn ask(&mut self, request: &[u8]) -> (u16, String) {
        self.client.is_head = request.starts_with(b"HEAD");
        let reply = self.client.ask(request).expect("a reply");
        let fields = reply.fields.iter().filter(|(name, _)| name != "date");
        let fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
        if reply.field("connection") == Some("close") {
            *self = Self::new(self.address);
        }
        (reply.status, format!("{}\n{}\n\n{}", reply.status, fields.join("\n"), reply.body))
    }
}

/// A socket that is not read byte by byte.
struct Buffered(BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

/// Numbers that look random and are the same in each run and with each library (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// Whether one of so many times has come.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// Some of the pieces, up to a number, in a row.
    fn row(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.of(pieces)).collect()
    }
}

fn request(random: &mut Random) -> Vec<u8> {
    let method = if random.one_in(8) { random.of(METHODS) } else { "GET" };
    let lands = random.one_in(3);
    let hosts = match (random.below(10), lands) {
        (0, _) => ODD_HOSTS,
        (_, true) => LANDINGS,
        (_, false) => ORIGINS,
    };
    let mut host = random.of(hosts).to_owned();
    let mut target = if lands { landing(random) } else { hand_off(random) };
    if !random.one_in(50) {
        // With these, hyper reads no target at all.
        target = escape(&target, |byte| !b" \t\"<>`^".contains(&byte));
    }
    let mut head = if random.one_in(40) {
        let authority = if random.one_in(3) { random.of(ORIGINS) } else { &host };
        format!("{method} http://{authority}{target} HTTP/1.1\r\n")
    } else {
        format!("{method} {target} HTTP/1.1\r\n")
    };
    if random.one_in(20) {
        host = host.to_uppercase();
    }
    for _ in 0..if random.one_in(25) { random.below(3) } else { 1 } {
        write!(head, "Host: {host}\r\n").unwrap();
    }
    let mut head = head.into_bytes();
    for _ in 0..[0, 1, 1, 1, 1, 2, 3][random.below(7)] {
        head.extend_from_slice(b"Cookie: ");
        head.extend_from_slice(&cookies(random));
        head.extend_from_slice(b"\r\n");
    }
    while random.one_in(4) {
        head.extend_from_slice(random.of(FIELDS).as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn landing(random: &mut Random) -> String {
    let pieces = if random.one_in(6) { PATH } else { HONEST_PATH };
    let path = random.row(pieces, 5);
    let identify = if random.one_in(5) { "/-/identify" } else { "" };
    let claim = if random.one_in(8) { "" } else { random.of(CLAIMS) };
    format!("{identify}/{path}?{}&{claim}&{}", random.row(QUERY, 2), random.row(QUERY, 3))
}

fn hand_off(random: &mut Random) -> String {
    match random.below(16) {
        0..10 => {
            let to = url(random);
            let to = match random.below(8) {
                0 => to,
                1 => escape(&to, |_| false),
                2..4 => escape(&to, |byte| byte.is_ascii_graphic() && !b"#&%".contains(&byte)),
                _ => escape(&to, |byte| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)),
            };
            let before = if random.one_in(5) { format!("{}&", random.row(QUERY, 3)) } else { String::new() };
            let behind = if random.one_in(4) { format!("&{}", random.row(QUERY, 6)) } else { String::new() };
            let name = if random.one_in(10) { "%74o" } else { "to" };
            format!("/go?{before}{name}={to}{behind}")
        }
        10..14 => {
            let link = if random.one_in(3) { random.of(ODD_LINKS) } else { random.of(LINKS) };
            let pieces = if random.one_in(6) { PATH } else { HONEST_PATH };
            let more = if random.one_in(2) { format!("/{}", random.row(pieces, 4)) } else { String::new() };
            let query = if random.one_in(2) { format!("?{}", random.row(QUERY, 6)) } else { String::new() };
            format!("/go/{link}{more}{query}")
        }
        14 => random.of(ODD_TARGETS).to_owned(),
        _ => format!("/{}", random.row(PATH, 4)),
    }
}

/// A URL that a visitor may want to go to, most of them honest.
fn url(random: &mut Random) -> String {
    let scheme = if random.one_in(12) { random.of(ODD_SCHEMES) } else { "https://" };
    let host = if random.one_in(6) { random.of(ODD_DESTINATIONS) } else { random.of(DESTINATIONS) };
    let port = if random.one_in(10) { random.of(PORTS) } else { "" };
    let mut url = format!("{scheme}{host}{port}");
    if random.one_in(8) {
        url.push_str(&random.row(PATH, 4));
    } else {
        let pieces = if random.one_in(6) { PATH } else { HONEST_PATH };
        write!(url, "/{}", random.row(pieces, 5)).unwrap();
    }
    if random.one_in(2) {
        write!(url, "?{}", random.row(QUERY, 6)).unwrap();
    }
    if random.one_in(5) {
        write!(url, "#{}", random.row(PATH, 3)).unwrap();
    }
    if random.one_in(100) {
        url.push_str(&"/long".repeat(random.below(2000)));
    }
    url
}

fn cookies(random: &mut Random) -> Vec<u8> {
    let mut cookies = Vec::new();
    for _ in 0..random.below(7) {
        let name = random.of(COOKIES);
        let value = random.of(VALUES);
        let glue = random.of(&["; ", "; ", "; ", ";", " ;\t", ";;"]);
        write!(cookies, "{name}{value}{glue}").unwrap();
        if random.one_in(20) {
            cookies.extend_from_slice(&[0xff, 0xfe, b'=', 0x80]);
        }
    }
    // hyper trims a field's value, which is nothing to compare here.
    cookies.push(b'x');
    cookies
}

fn escape(text: &str, keeps: fn(u8) -> bool) -> String {
    let mut escaped = Vec::new();
    for byte in text.bytes() {
        if keeps(byte) {
            escaped.push(byte);
        } else {
            write!(escaped, "%{byte:02X}").unwrap();
        }
    }
    String::from_utf8(escaped).unwrap()
}

const BLOCKS: usize = 100;
const BLOCK: usize = 100;
const METHODS: &[&str] = &["HEAD", "HEAD", "HEAD", "POST", "get", "OPTIONS"];
const ORIGINS: &[&str] =
    &["www.yoursite.com", "www.yoursite.com", "www.yoursite.com", "shop.example", "consent.example"];
const LANDINGS: &[&str] =
    &["ok.example", "ok.example", "a.wild.example", "plain.example", "ok2.example", "paths.example"];
const ODD_HOSTS: &[&str] = &[
    "www.yoursite.com:8443",
    "www.yoursite.com:",
    "www.yoursite.com:80",
    "www.yoursite.com.",
    "yoursite.com",
    "plain.example",
    "plain.example:8080",
    "paths.example",
    "ports.example:8443",
    "ports.example",
    "a.wild.example",
    "a..wild.example",
    "wild.example",
    "x.y.amazonaws.com",
    "x.s3.amazonaws.com",
    "xn--bcher-kva.example",
    "127.0.0.1",
    "[::1]:8080",
    "[0:0::1]:8080",
    "[::1]",
    "[::1",
    "ok2.example",
    "ok.example:70000",
    "ok.example:+80",
    "user@ok.example",
    "ok.example/x",
    "ok%2eexample",
    "evil.example",
    "a b",
    "",
];
const LINKS: &[&str] = &["checkout", "slashed", "query", "marked", "cart"];
const ODD_LINKS: &[&str] = &["unknown", "che%63kout", "", ".", "..", "a b", "checkout/", "cart//", "Cart"];
const ODD_TARGETS: &[&str] =
    &["*", "/.well-known/gpc.json", "/go", "/go/", "/go?", "/go?to", "/go?to=", "/gone", "//go"];
const ODD_SCHEMES: &[&str] = &[
    "http://",
    "HTTPS://",
    "Http://",
    "https:/",
    "https:///",
    "https:\\\\",
    "//",
    "ftp://",
    "javascript://",
    "https:",
    "",
    "\thttps://",
    "https://user@",
    "https://@",
    "https://a:b@",
];
const DESTINATIONS: &[&str] = &[
    "ok.example",
    "ok.example",
    "yoursite.3rd-party-checkout.com",
    "yoursite.3rd-party-checkout.com",
    "a.wild.example",
    "a.b-c.wild.example",
    "paths.example",
    "ok2.example",
    "ports.example:8443",
];
const ODD_DESTINATIONS: &[&str] = &[
    "OK.example",
    "ok.example.",
    "ok.example\u{3002}",
    "a..wild.example",
    ".wild.example",
    "wild.example",
    "a_b.wild.example",
    "-a.wild.example",
    "xn--a.wild.example",
    "xn--bcher-kva.wild.example",
    "x.s3.amazonaws.com",
    "x.amazonaws.com",
    "b\u{fc}cher.example",
    "xn--bcher-kva.example",
    "XN--bcher-kva.example",
    "127.0.0.1",
    "0x7f.1",
    "127.1",
    "2130706433",
    "ok.example.1",
    "[::1]:8080",
    "[0::1]:8080",
    "[::1",
    "ok%2eexample",
    "\u{ff4f}k.example",
    "o\u{ad}k.example",
    "ok.example\\",
    "evil.example",
    "evil.example#ok.example",
    "a b",
    "",
];
const PORTS: &[&str] = &[":443", ":80", ":8443", ":0443", ":08443", ":0", ":", ":65535", ":65536", ":8x", ":\u{663}"];
const HONEST_PATH: &[&str] = &["shop", "cart", "/", "/", "a-b_c~d", "x.html", "%20", "v1.2", "/shop/"];
const PATH: &[&str] = &[
    "shop",
    "cart",
    "/",
    "/",
    "//",
    ".",
    "..",
    "/./",
    "/../",
    "/.../",
    "%2e",
    "%2E%2e",
    ".%2e",
    "%2f",
    "%5c",
    "\\",
    ";",
    "a;b",
    "%",
    "%zz",
    "%00",
    "+",
    "'",
    "(!$&*,:@)",
    "\u{e9}",
    "\u{1f600}",
    "%C3%A9",
    "\"",
    "<",
    ">",
    "`",
    "{",
    "}",
    "|",
    "^",
    "[",
    "]",
    "\t",
    " ",
    "kmi",
    "~",
    "-_",
    "x.html",
    "=",
];
const QUERY: &[&str] = &[
    "a=1",
    "b",
    "&",
    "&",
    "&",
    "=",
    "kmi=x",
    "kmi",
    "km_i=y",
    "kmt=v4.local.x",
    "%6bmi=z",
    "kmi%3Dx",
    "KMI=x",
    "ajs_aid=q",
    "%74o=x",
    "c=%2B+%20",
    "d=\u{e9}",
    "e='",
    "f=\"<>`{}|\\^[]",
    "?",
    "/",
    "g=%zz",
    "h=%",
    ";",
    "lang=en",
    "q=a+b",
    "utm_source=x",
];
/// What names an identity in a query.
const CLAIMS: &[&str] = &[
    "kmi=x",
    "kmi=x",
    "kmi=bob%40bob.com",
    "kmi=bob%40bob.com",
    "kmi=fTTEiDDx9uNZXWYzrFM8hVkBqQY%3D",
    "ajs_aid=q",
    "ajs_aid=a%2Bb",
    "kmi=null",
    "kmi=a+b",
    "kmi=%ff",
    "kmi=%00",
    "kmi=%E2%82%AC",
    "%6bmi=z",
    "km_i=y",
    "kmt=v4.local.x",
    "kmi=",
];
const COOKIES: &[&str] = &[
    "km_ni=",
    "km_ni=",
    "km_ni=",
    "km_ai=",
    "km_ai=",
    "ajs=",
    "third=",
    "agreed=",
    "agreed=yes",
    "KM_NI=",
    "xkm_ni=",
    "km_nix=",
    "km_ni =",
    " km_ni= ",
    "km_ni",
    "_ga=",
    "session=",
    "=",
    "",
];
const VALUES: &[&str] = &[
    "",
    "x",
    "bob%40bob.com",
    "alice@shop.example",
    "fTTEiDDx9uNZXWYzrFM8hVkBqQY=",
    "fTTEi+Dx9uNZ/WYzrFM8hVkBqQY%3D",
    "null",
    "\"nil\"",
    "''",
    "Guest",
    "%",
    "%zz",
    "%ff",
    "%00",
    "%C2%85",
    "%20",
    "a+b",
    "a=b",
    "a-_.!~*()'%2B%2F%3D%20%C3%A9",
    "\u{1f600}",
    "\"quoted\"",
    "%E2%82%AC%E2%82%AC%E2%82%AC",
    "GA1.2.1234567890.1234567890",
    "yes",
];
const FIELDS: &[&str] = &[
    "Sec-Purpose: prefetch",
    "Sec-Purpose: prefetch;prerender",
    "Sec-Purpose: x",
    "Sec-GPC: 1",
    "Sec-GPC: 0",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Dest: iframe",
    "Sec-Fetch-Dest: image",
    "User-Agent: Mozilla/5.0",
    "X-Original-URI: /cart?kmi=x",
    "X-Original-URI: /a#b?kmi=x",
    "X-Forwarded-Uri: /?kmi=bob&kmi=bob",
    "X-Original-Method: HEAD",
    "X-Forwarded-Method: POST",
    "X-Forwarded-Host: evil.example",
    "Referer: https://www.yoursite.com/",
];
