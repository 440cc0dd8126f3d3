//! What the tests of `deploy/` stand on: a real proxy with its files as they are shipped, between curl and crosslink,
//! and the two sites behind it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::secrets::search;
use crate::support::{App, Program, Reply, eventually, find, log_file, needs, repository};

pub const SHOP: &str = "www.yoursite.com";
pub const CHECKOUT: &str = "yoursite.3rd-party-checkout.com";
pub const BOB: &str = "km_ni=bob%40bob.com";
pub const ANONYMOUS: &str = "fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D";

/// How the destination is served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// crosslink answers first, with a redirect.
    Redirect,
    /// The proxy asks crosslink on the way, and serves the page.
    SubRequest,
}

/// What the files of one proxy say, and how it is started.
pub struct Kind {
    pub name: &'static str,
    pub programs: &'static [&'static str],
    /// Writes the files with this test's places for those of a real machine, and gives the command that runs them in
    /// their folder.
    pub prepare: fn(&Places, Way) -> Command,
    /// Parts of each line of the access log, the first of which no other line has.
    pub logged: &'static [&'static str],
    /// Whether the access log has the ids of requests.
    pub logs_ids: bool,
    /// Whether every page that it asks about is `private`, and not only one with a cookie.
    pub guards_all: bool,
}

/// The places of a test.
pub struct Places {
    pub folder: TempDir,
    pub proxy: SocketAddr,
    pub crosslink: SocketAddr,
    pub shop: Site,
    pub checkout: Site,
}

impl Places {
    /// A shipped file with some of its text replaced, each as often as given.
    fn shipped(file: &str, replaced: &[(&str, &str, usize)]) -> String {
        let mut text = fs::read_to_string(repository("deploy").join(file)).unwrap();
        for (place, own, count) in replaced {
            assert_eq!(text.matches(place).count(), *count, "`{place}` in deploy/{file}");
            text = text.replace(place, own);
        }
        text
    }

    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(file);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }
}

/// A proxy that runs. It logs its requests into `access.log` and whatever else it says into `error.log`.
pub struct Proxy {
    pub places: Places,
    program: Program,
    pub kind: &'static Kind,
    replies: AtomicUsize,
}

/// Runs a test with a proxy and crosslink. Whatever it asks for, no log of the proxy may tell of an identity
/// afterwards.
pub fn behind(kind: &'static Kind, way: Way, start: impl FnOnce(&str) -> App, test: impl FnOnce(&Proxy, App)) {
    if !needs(&[kind.programs, &["openssl", "curl"]].concat()) {
        return;
    }
    let file = repository("deploy").join(kind.name).join("crosslink.yaml");
    let app = start(&fs::read_to_string(file).unwrap());
    let proxy = Proxy::start(kind, way, app.address);
    test(&proxy, app);
    proxy.check_logs();
}

impl Proxy {
    fn start(kind: &'static Kind, way: Way, crosslink: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let site = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=crosslink";
        let mut openssl = Command::new("openssl");
        openssl.args(site.split(' ')).args(["-keyout", "site.key", "-out", "site.pem"]);
        let made = openssl.current_dir(&folder).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let (shop, checkout) = (Site::start("shop"), Site::start("checkout"));
        let places = Places { folder, proxy: own_address(), crosslink, shop, checkout };
        let mut command = (kind.prepare)(&places, way);
        let log =
            |file: &str| fs::File::options().create(true).append(true).open(places.folder.path().join(file)).unwrap();
        command.current_dir(&places.folder).stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
        let mut program = Program::spawn(&mut command);
        eventually("the proxy's start", || {
            let ended = program.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}{}{}", places.read("stdout"), places.read("stderr"), places.read("error.log"));
            TcpStream::connect(places.proxy).ok()
        });
        Self { places, program, kind, replies: AtomicUsize::default() }
    }

    fn check_logs(self) {
        let access = self.logged();
        let Self { places, program, kind: Kind { name, logged, .. }, .. } = self;
        drop(program);
        for line in access.lines().filter(|line| line.contains(logged[0])) {
            assert!(logged.iter().all(|part| line.contains(part)), "{line}");
        }
        let others = ["stdout", "stderr", "error.log"].map(|file| places.read(file)).concat();
        for (source, log) in [("access.log", access), ("says", others)] {
            let secrets = search(&[(format!("{name} {source}"), log.clone())]);
            assert!(secrets.is_empty(), "{secrets:?} in {log}");
            log_file(&format!("{name} {source}")).write_all(log.as_bytes()).unwrap();
        }
    }

    /// The lines of the access log, once there is one for each reply.
    pub fn logged(&self) -> String {
        // A request is logged after its reply has gone.
        let is_whole = |log: &String| log.matches(self.kind.logged[0]).count() >= self.replies.load(Ordering::Relaxed);
        eventually("a line for each reply", || Some(self.places.read("access.log")).filter(is_whole))
    }

    /// All replies that curl gets, those on its way included.
    pub fn curl(&self, arguments: &[&str]) -> Vec<Reply> {
        let mut curl = Command::new("curl");
        curl.args("--disable --silent --show-error --insecure --http2 --path-as-is --globoff --include".split(' '));
        // Every name and port leads to this proxy, so that no redirect leaves this machine.
        curl.args(["--connect-to", &format!("::{}", self.places.proxy), "--noproxy", "*", "--max-time", "30"]);
        curl.args(["--referer", "https://www.yoursite.com/page?kmi=bob%40bob.com"]);
        let output = curl.args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let replies = text.strip_prefix("HTTP/2 ").expect("a status line of HTTP/2").split("HTTP/2 ").map(|text| {
            let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
            let fields = head.split("\r\n").filter_map(|field| field.split_once(": "));
            let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Reply { status: head.split(' ').next().unwrap().parse().unwrap(), fields, body: body.to_owned() }
        });
        let replies: Vec<_> = replies.collect();
        self.replies.fetch_add(replies.len(), Ordering::Relaxed);
        replies
    }

    /// Asks once.
    pub fn ask(&self, host: &str, target: &str, more: &[&str]) -> Reply {
        let url = format!("https://{host}:{}{target}", self.places.proxy.port());
        let mut replies = self.curl(&[more, &[&url]].concat());
        assert_eq!(replies.len(), 1, "{target}");
        replies.remove(0)
    }

    /// Asks once and compares the reply: its gist, and the identity that its cookie sets.
    pub fn expect(&self, host: &str, target: &str, cookie: &str, expected: &str, identity: Option<&str>) {
        let reply = self.ask(host, target, &["--cookie", cookie]);
        assert_eq!(gist(&reply), expected, "{host}{target}");
        assert_eq!(reply.set_cookie(), set_cookie(identity).as_deref(), "{target}");
        if reply.status == 200 {
            self.assert_guarded(&reply);
        } else {
            assert_eq!(reply.field("cache-control"), Some("no-store"), "{target}");
        }
    }

    /// A page is for one visitor if it comes with a cookie that crosslink gave, and says nothing of caches by itself.
    pub fn assert_guarded(&self, reply: &Reply) {
        let says = reply.field("cache-control");
        let is_adopted = reply.set_cookie().is_some_and(|cookie| cookie.starts_with("km_ni="));
        let is_right = says == is_adopted.then_some("private") || self.kind.guards_all && says == Some("private");
        assert!(is_right, "{reply:?}");
    }

    /// The gist of what a site says when the proxy passes a request on as it came.
    pub fn served(&self, site: &str, host: &str, target: &str) -> String {
        format!("200 {site}: GET {host}:{} {target}", self.places.proxy.port())
    }
}

/// The field by which an identity is adopted at the checkout.
pub fn set_cookie(identity: Option<&str>) -> Option<String> {
    let place = "SameSite=Lax; Secure; Path=/; Domain=3rd-party-checkout.com; Max-Age=34560000";
    identity.map(|identity| format!("km_ni={identity}; {place}"))
}

/// What matters in a reply, in one line. Each proxy has a page of its own for a 503.
pub fn gist(reply: &Reply) -> String {
    let says = reply.location().or(reply.body.lines().next()).filter(|_| reply.status != 503);
    format!("{} {}", reply.status, says.unwrap_or_default())
}

/// An address on which nobody else listens: every address under 127 leads to this machine, and this one is named after
/// this process, so that no test of another takes its ports.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, high | 128, middle, low), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// A site behind the proxy, which says what it was asked for. Under `/own` it sets a cookie and may be kept by caches,
/// under `/gone` it says 404.
pub struct Site {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Site {
    fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                thread::spawn(move || stream.map(|stream| serve(name, &stream)));
            }
        });
        Self { address, stop }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers the requests on one connection until it ends.
fn serve(name: &str, mut stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            (reader.read_until(b'\n', &mut head).ok()? > 0).then_some(())?;
        }
        let head = String::from_utf8(head).ok()?;
        let (request, fields) = head.split_once("\r\n")?;
        let field = |name: &str| {
            let mut fields = fields.lines().filter_map(|field| field.split_once(": "));
            fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let mut sent = vec![0; field("content-length").map_or(Some(0), |length| length.parse().ok())?];
        reader.read_exact(&mut sent).ok()?;
        let [method, target, version] = request.split(' ').collect::<Vec<_>>()[..] else { return None };
        let body = format!("{name}: {method} {} {target}\n{}", field("host")?, String::from_utf8(sent).ok()?);
        let status = if target.starts_with("/gone") { "404 Not Found" } else { "200 OK" };
        let cookie = if target.starts_with("/own") { "Set-Cookie: own=1\r\nCache-Control: max-age=60\r\n" } else { "" };
        let length = body.len();
        let body = if method == "HEAD" { "" } else { &body };
        let reply = format!("HTTP/1.1 {status}\r\n{cookie}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(reply.as_bytes()).ok()?;
        if version == "HTTP/1.0" {
            return None;
        }
    }
}

pub const NGINX: Kind = Kind {
    name: "nginx",
    programs: &["nginx"],
    prepare: nginx,
    logged: &[" HTTP/2.0\" ", "\"https://www.yoursite.com/page\""],
    logs_ids: true,
    guards_all: false,
};

fn nginx(places: &Places, way: Way) -> Command {
    let (crosslink, shop) = (format!("server {};", places.crosslink), format!("server {};", places.shop.address));
    let checkout = format!("server {};", places.checkout.address);
    let listen = format!("listen {} ssl http2;", places.proxy);
    let destination = match way {
        Way::Redirect => "nginx/destination.conf",
        Way::SubRequest => "nginx/identify.conf",
    };
    let of_site = |file, host: &str, site, own: &str| {
        Places::shipped(
            file,
            &[
                (site, own, 1),
                ("    listen 443 ssl http2;", &listen, 1),
                (&format!(" /etc/ssl/{host}."), " site.", 2),
                ("    access_log /var/log/nginx/", "access_log ", 1),
                ("    error_log /var/log/nginx/", "error_log ", 1),
            ],
        )
    };
    let files = [
        Places::shipped("nginx/crosslink.conf", &[("    server 127.0.0.1:8080;", &crosslink, 1)]),
        of_site("nginx/origin.conf", SHOP, "    server 127.0.0.1:8000;", &shop),
        of_site(destination, CHECKOUT, "    server 127.0.0.1:9000;", &checkout),
    ];
    // A front controller, as many sites have one.
    let front = "location = /tried { try_files /nowhere /; } location / {";
    let files = files.concat().replace("location / {", front);
    let around = "daemon off; master_process off; pid pid; error_log stderr; events {} http {
        client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5;\n";
    places.write("nginx.conf", &format!("{around}{files}}}\n"));
    let mut nginx = Command::new(program("nginx"));
    nginx.args(["-e", "start.log", "-c", "nginx.conf", "-p"]).arg(places.folder.path());
    nginx
}

pub const HAPROXY: Kind = Kind {
    name: "haproxy",
    programs: &["haproxy"],
    prepare: haproxy,
    logged: &[" HTTP/2.0\" ", "\"https://www.yoursite.com/page\""],
    logs_ids: true,
    guards_all: false,
};

fn haproxy(places: &Places, _: Way) -> Command {
    let text = Places::shipped(
        "haproxy/haproxy.cfg",
        &[
            ("log /dev/log local0", "log stdout format raw local0", 1),
            ("bind :443 ssl crt /etc/haproxy/certs/", &format!("bind {} ssl crt site.both", places.proxy), 1),
            (" 127.0.0.1:8080", &format!(" {}", places.crosslink), 2),
            (" 127.0.0.1:8000", &format!(" {}", places.shop.address), 1),
            (" 127.0.0.1:9000", &format!(" {}", places.checkout.address), 2),
            ("abns@crosslink-without", "unix@without", 2),
        ],
    );
    places.write("site.both", &["site.pem", "site.key"].map(|file| places.read(file)).concat());
    places.write("haproxy.cfg", &text);
    let mut haproxy = Command::new("sh");
    // Its only file of its own is the one that it logs into.
    haproxy.args(["-c", "exec \"$0\" -f haproxy.cfg >access.log"]).arg(program("haproxy"));
    haproxy
}

pub const CADDY: Kind = Kind {
    name: "caddy",
    programs: &["caddy"],
    prepare: caddy,
    logged: &["\"proto\":\"HTTP/2.0\""],
    logs_ids: false,
    guards_all: false,
};

fn caddy(places: &Places, way: Way) -> Command {
    let (file, crosslinks) = match way {
        Way::Redirect => ("caddy/Caddyfile", 1),
        Way::SubRequest => ("caddy/identify.Caddyfile", 2),
    };
    let global = format!("\n{{\n\tadmin off\n\tauto_https disable_redirects\n\thttps_port {}\n", places.proxy.port());
    let bind = format!("import logged\n\tbind {}", places.proxy.ip());
    let text = Places::shipped(
        file,
        &[
            ("\n{\n", &global, 1),
            ("import logged", &bind, 2),
            (&format!("/etc/ssl/{SHOP}"), "site", 2),
            (&format!("/etc/ssl/{CHECKOUT}"), "site", 2),
            ("/var/log/caddy/", "", 1),
            (" 127.0.0.1:8080", &format!(" {}", places.crosslink), crosslinks),
            (" 127.0.0.1:8000", &format!(" {}", places.shop.address), 1),
            (" 127.0.0.1:9000", &format!(" {}", places.checkout.address), 2),
        ],
    );
    places.write("Caddyfile", &text);
    let mut caddy = Command::new(program("caddy"));
    // It keeps what it stores in the folders of its user.
    caddy.args(["run", "--config", "Caddyfile"]);
    caddy.envs(["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"].map(|name| (name, places.folder.path())));
    caddy
}

fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| Path::new(name).to_owned())
}

pub const ENVOY: Kind = Kind {
    name: "envoy",
    programs: &["envoy"],
    prepare: envoy,
    logged: &[" HTTP/2\" ", "\"https://www.yoursite.com/page\""],
    logs_ids: true,
    guards_all: true,
};

fn envoy(places: &Places, way: Way) -> Command {
    let file = match way {
        Way::Redirect => "envoy/envoy.yaml",
        Way::SubRequest => "envoy/identify.yaml",
    };
    let place = |address: SocketAddr| format!("address: {}, port_value: {}", address.ip(), address.port());
    let text = Places::shipped(
        file,
        &[
            ("address: 0.0.0.0, port_value: 443", &place(places.proxy), 1),
            ("address: 127.0.0.1, port_value: 8080", &place(places.crosslink), 1),
            ("address: 127.0.0.1, port_value: 8000", &place(places.shop.address), 1),
            ("address: 127.0.0.1, port_value: 9000", &place(places.checkout.address), 1),
            (&format!("/etc/ssl/{SHOP}"), "site", 2),
            (&format!("/etc/ssl/{CHECKOUT}"), "site", 2),
            ("/var/log/envoy/", "", 1),
        ],
    );
    places.write("envoy.yaml", &text);
    let mut envoy = Command::new(program("envoy"));
    // Without the shared memory in which one Envoy hands over to the next, so that several can run here.
    envoy.args(
        "-c envoy.yaml --disable-hot-restart --concurrency 1 --log-level warning --file-flush-interval-msec 50"
            .split(' '),
    );
    envoy
}
