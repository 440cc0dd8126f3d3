//! The identity that a proxy tells in a header: who is heard, and who is not.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crosslink::link::{Decision, Field, Fields, Method, Visit};
use tempfile::{NamedTempFile, TempDir};

use crate::readme;
use crate::sealed::{HOST, OLD, ORIGIN, app, clean, column, cookie_of, log};
use crate::support::{
    App, CONFIG, Client, Program, Service, crosslink, eventually, find, log_file, needs, own_host, parse,
};

const NAMED: &str = "X-Auth-Request-Email";
const TO: &str = "/go?to=https://ok.example/cart";

/// A pair that hears a header from these proxies.
fn hearing(trusted: &str, more: &str) -> String {
    format!(
        "
trusted_proxies: {trusted}
pairs:
  - name: own
    origin: www.yoursite.com
    destination: ok.example
    identity: {{ header: {NAMED} }}
    landing: {{ {more} }}
"
    )
}

/// Where a visitor with a cookie gets who comes with these fields.
fn query(app: &App, cookie: &str, fields: &[&[u8]]) -> String {
    let ask = fields.iter().fold(app.get(ORIGIN, TO).cookie(cookie), |ask, value| ask.field(NAMED, value));
    let location = ask.location();
    location.strip_prefix("https://ok.example/cart").unwrap_or_else(|| panic!("{location}")).to_owned()
}

#[test]
fn what_a_trusted_proxy_says_beats_the_cookies() {
    let app = App::with(&hearing("127.0.0.1", ""));
    for (value, expected) in [
        (&b"bob@bob.com"[..], "?kmi=bob%40bob.com"),
        // Plain text: nothing is unescaped, and a plus is a plus.
        (b"bob%40bob.com", "?kmi=bob%2540bob.com"),
        (b"bob+news", "?kmi=bob%2Bnews"),
        (b"  bob  ", "?kmi=bob"),
        (b"bob smith", "?kmi=bob%20smith"),
        ("Zo\u{eb}".as_bytes(), "?kmi=Zo%C3%AB"),
    ] {
        assert_eq!(query(&app, "km_ni=eve", &[value]), expected);
    }
    let lines = log(app);
    assert!(lines.iter().all(|line| line["identity"] == "named" && line["header"].is_null()), "{lines:?}");
}

#[test]
fn what_does_not_count_leaves_the_cookies_and_is_named_in_the_log() {
    let app = App::with(&hearing("[10.0.0.0/8, 127.0.0.0/8]", ""));
    let long = [b'b'; 256];
    let cases: [(&[&[u8]], &str); 12] = [
        (&[], "-"),
        (&[b""], "-"),
        (&[b"bob", b"bob"], "repeated"),
        (&[b"bob", b""], "repeated"),
        (&[b"Guest"], "unusable"),
        (&[b"null"], "unusable"),
        (&[b"''"], "unusable"),
        (&[b"bob\tbob"], "unusable"),
        (&[b"bob\xff"], "unusable"),
        (&[&long], "unusable"),
        // The cookie that keeps it would say that it is anonymous, and of two of them that they are one person.
        (&[b"fTTEi+Dx9uNZ/WYzrFM8hVkBqQY="], "unusable"),
        (&[b"fTTEi+Dx9uNZ/WYzrFM8hVkBqQY"], "unusable"),
    ];
    for (fields, _) in cases {
        assert_eq!(query(&app, "km_ni=eve", fields), "?kmi=eve", "{fields:?}");
        assert_eq!(query(&app, "", fields), "", "{fields:?}");
    }
    let lines = log(app);
    for ((_, word), two) in cases.iter().zip(lines.chunks(2)) {
        assert_eq!(column(two, "header"), [*word, *word]);
        assert_eq!(column(two, "identity"), ["named", if *word == "unusable" { "unusable" } else { "absent" }]);
    }
}

#[test]
fn nobody_else_is_heard() {
    for trusted in ["10.0.0.0/8", "[\"::1\", 127.0.0.2]"] {
        let app = App::with(&hearing(trusted, ""));
        let said: [&[&[u8]]; 3] = [&[b"bob"], &[b"bob", b"bob"], &[b"guest"]];
        for fields in said {
            assert_eq!(query(&app, "km_ni=eve", fields), "?kmi=eve");
            assert_eq!(query(&app, "", fields), "");
        }
        let told = app.get(ORIGIN, TO).field(NAMED, b"bob").field("X-Forwarded-For", b"10.0.0.1");
        assert_eq!(told.field("Forwarded", b"for=10.0.0.1").location(), "https://ok.example/cart");
        assert_eq!(query(&app, "", &[b""]), "", "it says nothing at all");
        let lines = log(app);
        let (last, others) = lines.split_last().unwrap();
        assert!(last["header"].is_null() && others.iter().all(|line| line["header"] == "untrusted"), "{lines:?}");
    }
    let app = App::with(&format!("log: {{ format: text }}\n{}", hearing("10.0.0.1", "")));
    query(&app, "", &[b"bob"]);
    let log = app.log();
    assert!(log.ends_with(" header=untrusted\n") && !log.contains("bob"), "{log}");
}

#[test]
fn it_is_counted() {
    let config = format!("listen: 127.0.0.1:0\n{}", hearing("10.0.0.1", ""));
    let mut service = Service::serve(crosslink(), &config, None);
    let address = service.listening(1)[0];
    let counted = |said: &str| {
        let head = format!("GET {TO} HTTP/1.1\r\nHost: {ORIGIN}\r\n{said}\r\n");
        assert_eq!(Client::connect(address).send(head.as_bytes()).reply().unwrap().status, 302);
        let head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let metrics = Client::connect(service.admin()).send(head).reply().unwrap().body;
        let counts = metrics.lines().filter_map(|line| line.strip_prefix("crosslink_unheard_headers_total"));
        counts.map(str::to_owned).collect::<Vec<_>>()
    };
    let none = [r#"{reason="untrusted"} 0"#, r#"{reason="repeated"} 0"#, r#"{reason="unusable"} 0"#];
    assert_eq!(counted(""), none);
    let once = counted(&format!("{NAMED}: bob\r\n"));
    assert_eq!(once[0], r#"{reason="untrusted"} 1"#);
    assert_eq!(once[1..], none[1..]);
}

#[test]
fn a_header_is_named_in_a_token_too() {
    let app = app(&[OLD], &hearing("127.0.0.1", "anonymous_cookie: km_ai"));
    let token = query(&app, "km_ni=eve", &[b"bob@bob.com"]);
    let landed = clean(app.get(HOST, &format!("/cart{token}")).send());
    assert_eq!(cookie_of(&landed), Some("km_ni=bob%40bob.com"));
    assert_eq!(column(&log(app), "identity"), ["named"; 2]);
}

#[test]
fn at_the_destination_it_says_who_the_visitor_is_there() {
    let app = App::with(&hearing("127.0.0.1", ""));
    let landed = |fields: &[&[u8]], cookie: &str| {
        let ask = app.get(HOST, "/cart?kmi=bob").cookie(cookie);
        let reply = clean(fields.iter().fold(ask, |ask, value| ask.field(NAMED, value)).send());
        cookie_of(&reply).map(str::to_owned)
    };
    assert_eq!(landed(&[b"eve"], ""), None, "a link makes nobody else of him");
    assert_eq!(landed(&[b"eve"], "km_ni=bob"), None);
    assert_eq!(landed(&[b"bob"], "km_ni=eve").as_deref(), Some("km_ni=bob"));
    assert_eq!(landed(&[b"eve", b"eve"], "").as_deref(), Some("km_ni=bob"));
    assert_eq!(landed(&[], "").as_deref(), Some("km_ni=bob"));
    let lines = log(app);
    assert_eq!(column(&lines, "outcome"), ["kept", "kept", "same", "set", "set"]);
    assert_eq!(column(&lines, "header"), ["-", "-", "-", "repeated", "-"]);
}

#[test]
fn who_opted_out_or_did_not_agree_is_not_named_either() {
    let pair = hearing("127.0.0.1", "")
        .replace("    landing", "    consent: { require_cookie: { name: agreed, contains: yes } }\n    landing");
    let app = App::with(&pair);
    let ask = || app.get(ORIGIN, TO).field(NAMED, b"bob");
    for (ask, carries) in [
        (ask(), false),
        (ask().cookie("agreed=yes").field("Sec-GPC", b"1"), false),
        (ask().cookie("agreed=yes").field("Sec-Fetch-Mode", b"cors"), false),
        (ask().cookie("agreed=yes"), true),
    ] {
        assert_eq!(ask.location().ends_with("?kmi=bob"), carries);
    }
    assert_eq!(column(&log(app), "identity"), ["no_consent", "gpc", "not_navigation", "named"]);
}

/// Nobody who has not asked for a header pays for one.
#[test]
fn without_the_key_no_field_is_looked_up() {
    struct Never;
    impl Fields for Never {
        fn find(&self, name: &str) -> Field<'_> {
            panic!("{name} was looked up")
        }
    }
    let linker = parse(CONFIG).linker;
    for (host, path, query, method) in [
        (ORIGIN, "/go/checkout", None, Method::Get),
        (ORIGIN, "/go", Some("to=https://ok.example/"), Method::Post),
        (ORIGIN, "/go/link.js", None, Method::Get),
        (HOST, "/cart", Some("kmi=bob"), Method::Get),
        (HOST, "/-/identify/cart", Some("kmi=bob"), Method::Head),
        (HOST, "/", None, Method::Get),
        ("unknown.example", "/", None, Method::Get),
    ] {
        let visit = Visit { method, query, trusted: true, fields: &Never, ..Visit::of(host, path) };
        let decision = linker.decide(&visit);
        assert!(decision.unheard().is_none() && !matches!(decision, Decision::HonoursGpc), "{host}{path}");
    }
}

/// In front of crosslink: asks a stand-in for oauth2-proxy by the files that the handbook shows.
struct Front {
    address: SocketAddr,
    gate: Gate,
    said: NamedTempFile,
    _folder: TempDir,
    _program: Program,
}

impl Front {
    /// `write` gives a command that serves, in this folder, a block of the handbook on an address.
    fn start(language: &str, app: &App, write: fn(&str, SocketAddr, &TempDir) -> Command) -> Self {
        let gate = Gate::start();
        let mut block = readme::block("docs/single-sign-on.md", language);
        for (shown, own) in [("127.0.0.1:4180", gate.address), ("127.0.0.1:8080", app.address)] {
            assert!(block.contains(shown), "{shown} in {block}");
            block = block.replace(shown, &own.to_string());
        }
        let folder = TempDir::new().unwrap();
        let address: SocketAddr = format!("{}:8000", own_host()).parse().unwrap();
        let mut command = write(&block, address, &folder);
        let said = log_file(language);
        command.current_dir(&folder).stdin(Stdio::null());
        command.stdout(said.reopen().unwrap()).stderr(said.reopen().unwrap());
        let mut program = Program::spawn(&mut command);
        eventually("the proxy's start", || {
            let ended = program.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(&said).unwrap());
            TcpStream::connect(address).ok()
        });
        Self { address, gate, said, _folder: folder, _program: program }
    }

    /// Where a visitor is sent.
    fn query(&self, fields: &str) -> String {
        let head = format!("GET /go/checkout?a=%2f HTTP/1.1\r\nHost: www.yourshop.example\r\n{fields}\r\n");
        let reply = Client::connect(self.address).send(head.as_bytes()).reply().unwrap();
        assert_eq!(reply.status, 302, "{reply:?}: {}", fs::read_to_string(&self.said).unwrap());
        reply.location().unwrap().strip_prefix("https://checkout.yourshop.example/cart?a=%2f").unwrap().to_owned()
    }
}

/// Says, as oauth2-proxy does, who has logged in: `session=bob` is bob.
struct Gate {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Gate {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                assert!(head[0].starts_with("GET /oauth2/auth"), "{head:?}");
                let known = head.iter().any(|line| line.eq_ignore_ascii_case("cookie: session=bob"));
                let says = if known { "202 Accepted\r\nX-Auth-Request-Email: bob@bob.com" } else { "401 Unauthorized" };
                let reply = format!("HTTP/1.1 {says}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = (&stream).write_all(reply.as_bytes());
            }
        });
        Self { address, stop }
    }

    fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whoever has logged in is named, whoever has not goes on, and what a visitor says of himself is not heard.
fn only_the_proxy_names_visitors(language: &str, write: fn(&str, SocketAddr, &TempDir) -> Command) {
    let app = App::with(&readme::block("docs/single-sign-on.md", "yaml"));
    let front = Front::start(language, &app, write);
    for (fields, expected) in [
        ("Cookie: session=bob\r\n", "&kmi=bob%40bob.com"),
        ("Cookie: session=bob\r\nX-Auth-Request-Email: eve\r\n", "&kmi=bob%40bob.com"),
        ("Cookie: session=bob\r\nx-auth-request-email: eve\r\nX-Auth-Request-Email: eve\r\n", "&kmi=bob%40bob.com"),
        ("X-Auth-Request-Email: eve\r\n", ""),
        ("Cookie: km_ni=alice\r\nX-Auth-Request-Email: eve\r\n", "&kmi=alice"),
        ("", ""),
    ] {
        assert_eq!(front.query(fields), expected, "{fields}");
    }
    front.gate.end();
    assert_eq!(front.query("X-Auth-Request-Email: eve\r\n"), "", "while nobody can say who it is");
    let log = app.log();
    assert!(!log.contains("\"header\"") && log.lines().count() == 7, "{log}");
}

#[test]
fn nginx_says_who_has_logged_in() {
    if needs(&["nginx"]) {
        only_the_proxy_names_visitors("nginx", |block, address, folder| {
            let around =
                "daemon off; master_process off; pid pid; error_log stderr emerg; events {} http { access_log off;
                client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5;";
            let text = format!("{around}\nserver {{ listen {address};\n{block}}}\n}}\n");
            fs::write(folder.path().join("nginx.conf"), text).unwrap();
            let mut nginx = Command::new(find("nginx").unwrap());
            nginx.args(["-e", "start.log", "-c", "nginx.conf", "-p"]).arg(folder.path());
            nginx
        });
    }
}

#[test]
fn caddy_says_who_has_logged_in() {
    if needs(&["caddy"]) {
        only_the_proxy_names_visitors("caddy", |block, address, folder| {
            let site = format!("http://www.yourshop.example:{}", address.port());
            let text = format!(
                "{{\n\tadmin off\n\tlog {{\n\t\toutput discard\n\t}}\n}}\n{site} {{\n\tbind {}\n{block}}}\n",
                address.ip()
            );
            fs::write(folder.path().join("Caddyfile"), text).unwrap();
            let mut caddy = Command::new(find("caddy").unwrap());
            caddy.args(["run", "--config", "Caddyfile"]);
            caddy.envs(["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"].map(|name| (name, folder.path())));
            caddy
        });
    }
}
