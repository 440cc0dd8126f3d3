//! The files in `deploy/nginx/` as they are shipped: a real nginx between curl and crosslink.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::support::{App, Program, Reply, eventually, find, needs, repository};

const SHOP: &str = "www.yoursite.com";
const CHECKOUT: &str = "yoursite.3rd-party-checkout.com";
const CONFIG: &str = "
pairs:
  - origin: www.yoursite.com
    destination: yoursite.3rd-party-checkout.com
    links: { checkout: /cart }
    landing: {}
";
const ANONYMOUS: &str = "fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D";
const COOKIE: &str = "SameSite=Lax; Secure; Path=/; Domain=3rd-party-checkout.com; Max-Age=34560000";

#[test]
fn the_shops_links_go_through_crosslink_and_the_rest_reaches_the_shop() {
    behind_nginx(|nginx, app| {
        let long = "%41".repeat(4_000);
        for (cookie, target, location) in [
            ("km_ni=bob%40bob.com", "/go/checkout", "/cart?kmi=bob%40bob.com"),
            ("km_ai=fTTEi+Dx9uNZ/WYzrFM8hVkBqQY=", "/go/checkout", &format!("/cart?kmi={ANONYMOUS}")),
            (&format!("km_ai={ANONYMOUS}"), "/go/checkout", &format!("/cart?kmi={ANONYMOUS}")),
            ("km_ni=bob", "/go/checkout/a%C3%A9/b?c=%2f+&d", "/cart/a%C3%A9/b?c=%2f+&d&kmi=bob"),
            ("km_ni=bob", &to(CHECKOUT, "/a%2fb%3Fc%23d&e=%2f"), "/a/b?c&e=%2f&kmi=bob#d"),
            ("km_ni=bob", &to(CHECKOUT, &format!("/{long}")), &format!("/{}?kmi=bob", "A".repeat(4_000))),
            ("a=b", "/go/checkout", "/cart"),
        ] {
            let reply = nginx.ask(SHOP, target, &["--cookie", cookie]);
            assert_eq!(gist(&reply), format!("302 https://{CHECKOUT}{location}"), "{target}");
            assert_eq!((reply.field("cache-control"), reply.set_cookie()), (Some("no-store"), None));
        }
        for (target, code) in [(to("evil.example", "/"), "403 not_allowed"), ("/go/other".into(), "404 unknown_link")] {
            let (reply, own) = (nginx.ask(SHOP, &target, &[]), app.get(SHOP, &target).send());
            assert!(gist(&reply).starts_with(code), "{reply:?}");
            assert_eq!(reply.body, own.body, "crosslink's own words");
        }
        for target in ["/", "/gone?a=%2f+b", "/a%2fb/../go/./x", "/?kmi=x", "/page//?to=/go/checkout"] {
            assert_eq!(gist(&nginx.ask(SHOP, target, &[])), nginx.served("shop", SHOP, target));
        }
    });
}

#[test]
fn every_spelling_of_an_identity_lands_and_leaves_a_clean_url() {
    behind_nginx(|nginx, _| {
        for start in ["km", "k%6d", "k%6D", "%6bm", "%6b%6d", "%6b%6D", "%6Bm", "%6B%6d", "%6B%6D"] {
            let ends = ["i", "%69", "_i", "_%69", "%5fi", "%5f%69", "%5Fi", "%5F%69", "t", "%74"];
            let urls = ends.map(|end| nginx.url(CHECKOUT, &format!("/a?b=%2f&{start}{end}=bob%40bob.com&c")));
            let replies = nginx.curl(&urls.each_ref().map(String::as_str));
            assert_eq!(replies.len(), urls.len());
            for (url, reply) in urls.iter().zip(&replies) {
                assert_eq!(gist(reply), format!("302 https://{CHECKOUT}/a?b=%2f&c"), "{url}");
                // `kmt` is a sealed identity, and nothing here could open one.
                let is_plain = !url.contains("t=") && !url.contains("%74=");
                let cookie = is_plain.then(|| format!("km_ni=bob%40bob.com; {COOKIE}"));
                assert_eq!(reply.set_cookie(), cookie.as_deref(), "{url}");
            }
        }
        let long = format!("/?{}", "a".repeat(8_000));
        for (target, clean, identity) in [
            ("/a%2fb/../x?kmi=1", "/a%2fb/../x", Some("1")),
            ("/go/checkout?kmi=bob", "/go/checkout", Some("bob")),
            (&format!("/?kmi={ANONYMOUS}&a=kmi"), "/?a=kmi", Some(ANONYMOUS)),
            (&format!("{long}&kmi=bob"), &long, Some("bob")),
            ("/?a&kmi", "/?a", None),
            ("/?kmi&a", "/?a", None),
            ("/?kmi=x&%6bmi=y", "/", None),
        ] {
            let reply = nginx.ask(CHECKOUT, target, &[]);
            assert_eq!(gist(&reply), format!("302 https://{CHECKOUT}{clean}"), "{target}");
            let cookie = identity.map(|identity| format!("km_ni={identity}; {COOKIE}"));
            assert_eq!(reply.set_cookie(), cookie.as_deref(), "{target}");
        }
    });
}

#[test]
fn what_names_no_identity_reaches_the_checkout_as_it_came() {
    behind_nginx(|nginx, _| {
        let near = "KMI=1 Kmi=1 xkmi=1 kmi2=1 kmi%3Dx kmi%26=1 a=kmi a=1;kmi=1 a?kmi=1 %256bmi=1 %4bmi=1 km=1 km__i=1 \
                    km-i=1 km_t=1 kmi+=1 +kmi k%6=1 &";
        for query in near.split(' ') {
            let target = format!("/kmi=1/a%2fb/../x//?{query}");
            assert_eq!(gist(&nginx.ask(CHECKOUT, &target, &[])), nginx.served("checkout", CHECKOUT, &target));
        }
    });
}

#[test]
fn a_visitor_arrives_with_a_cookie_and_a_clean_url() {
    behind_nginx(|nginx, _| {
        let jar = nginx.folder.path().join("jar");
        fs::write(&jar, ".yoursite.com\tTRUE\t/\tFALSE\t0\tkm_ni\tbob%40bob.com\n").unwrap();
        let jar = jar.to_str().unwrap();
        // Without a port, as a visitor's browser asks, and as the Locations have it.
        let link = format!("https://{SHOP}/go/checkout?lang=en");
        let hops = nginx.curl(&["--location", "--cookie", jar, "--cookie-jar", jar, &link]);
        let gists: Vec<_> = hops.iter().map(gist).collect();
        let cart = format!("https://{CHECKOUT}/cart?lang=en");
        let expected = [
            format!("302 {cart}&kmi=bob%40bob.com"),
            format!("302 {cart}"),
            format!("200 checkout got GET /cart?lang=en for {CHECKOUT}"),
        ];
        assert_eq!(gists, expected);
        let jar = fs::read_to_string(jar).unwrap();
        let kept = jar.lines().find(|line| line.starts_with(".3rd-party-checkout.com\tTRUE\t/\tTRUE\t"));
        assert!(kept.is_some_and(|line| line.ends_with("\tkm_ni\tbob%40bob.com")), "{jar}");
        assert_eq!(jar.matches("\tkm_ni\t").count(), 2, "the shop's and the checkout's: {jar}");
    });
}

#[test]
fn while_crosslink_is_down_visitors_go_on_without_it() {
    behind_nginx(|nginx, app| {
        let address = app.address;
        // So that nginx holds a connection that ends under its hands.
        assert!(nginx.ask(CHECKOUT, "/?kmi=bob", &[]).set_cookie().is_some());
        drop(app);
        assert_visitors_go_on(nginx);
        // Now it takes connections and never answers on one.
        let _silent = TcpListener::bind(address).unwrap();
        assert_visitors_go_on(nginx);
    });
}

fn assert_visitors_go_on(nginx: &Nginx) {
    let cart = |more: &str| format!("302 https://{CHECKOUT}/cart{more}");
    let checkout = |target| (CHECKOUT, target, nginx.served("checkout", CHECKOUT, target));
    let allowed = to(CHECKOUT, "/");
    let cases = [
        (SHOP, "/go/checkout", cart("")),
        (SHOP, "/go/checkout/gift-card/2?a=%2f+b&c", cart("/gift-card/2?a=%2f+b&c")),
        (SHOP, "/go/checkout?kmi=bob%40bob.com&a", cart("")),
        (SHOP, "/go/checkout/%0d%0aSet-Cookie:km_ni=eve", cart("")),
        (SHOP, &allowed, "503".into()),
        (SHOP, "/go/other", "503".into()),
        (SHOP, "/", nginx.served("shop", SHOP, "/")),
        checkout("/a%2fb/../x?kmi=bob%40bob.com&b=%2f"),
        checkout("/?%6bm_i=bob"),
        checkout("/"),
    ];
    // At the same time, because nginx waits 3 s for a crosslink that is silent.
    thread::scope(|scope| {
        for (host, target, expected) in &cases {
            scope.spawn(move || {
                let reply = nginx.ask(host, target, &["--cookie", "km_ni=bob%40bob.com"]);
                assert!(gist(&reply).starts_with(expected) && reply.set_cookie().is_none(), "{target}: {reply:?}");
                assert_eq!(reply.field("cache-control").is_some(), target.starts_with("/go"), "{target}");
            });
        }
    });
}

/// Runs a test with nginx and crosslink. Whatever it asks for, no log of nginx may tell of an identity afterwards.
fn behind_nginx(test: impl FnOnce(&Nginx, App)) {
    if !needs(&["nginx", "openssl", "curl"]) {
        return;
    }
    let app = App::with(CONFIG);
    let nginx = Nginx::start(app.address);
    test(&nginx, app);
    // A request is logged after its reply was sent.
    let log = eventually("a line for each request", || {
        let log = nginx.read("access.log");
        (log.lines().count() == nginx.replies.load(Ordering::Relaxed)).then_some(log)
    });
    for line in log.lines() {
        // The page before it is known as well, without its query.
        assert!(line.contains(" HTTP/2.0\" ") && line.contains("\"https://www.yoursite.com/page\""), "{line}");
        assert!(!line.contains("bob") && !line.contains('?') && !line.contains(ANONYMOUS), "{line}");
    }
    assert_eq!(nginx.read("error.log"), "");
    assert!(!nginx.read("start.log").contains("bob"));
}

/// A hand-off to a URL; the path must be escaped already.
fn to(host: &str, path: &str) -> String {
    format!("/go?to=https%3A%2F%2F{host}{path}")
}

/// What matters in a reply, in one line.
fn gist(reply: &Reply) -> String {
    format!("{} {}", reply.status, reply.location().unwrap_or(&reply.body))
}

/// nginx with the shipped files.
struct Nginx {
    _program: Program,
    port: u16,
    folder: TempDir,
    replies: AtomicUsize,
}

impl Nginx {
    fn start(crosslink: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl.args(["-subj", "/CN=crosslink", "-addext", &format!("subjectAltName=DNS:{SHOP},DNS:{CHECKOUT}")]);
        let made = openssl.args(["-keyout", "site.key", "-out", "site.pem"]).current_dir(path).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        // Between the look for a port and nginx's own bind, another test may have taken it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            configure(path, port, crosslink);
            let mut nginx = Command::new(find("nginx").unwrap());
            nginx.arg("-p").arg(path).arg("-e").arg(path.join("start.log")).arg("-c").arg(path.join("nginx.conf"));
            let mut program = Program::spawn(nginx.stdin(Stdio::null()).stderr(Stdio::null()));
            // The file with its id is written once it listens.
            let listens = || fs::read(path.join("pid")).is_ok_and(|id| !id.is_empty());
            let has_ended = eventually("nginx's start", || {
                let has_ended = program.child.try_wait().unwrap().is_some();
                (has_ended || listens()).then_some(has_ended)
            });
            if !has_ended {
                return Self { _program: program, port, folder, replies: AtomicUsize::default() };
            }
            let log = fs::read_to_string(path.join("start.log")).unwrap();
            assert!(log.contains("Address already in use"), "{log}");
        }
        panic!("no port is free");
    }

    fn url(&self, host: &str, target: &str) -> String {
        format!("https://{host}:{}{target}", self.port)
    }

    fn ask(&self, host: &str, target: &str, arguments: &[&str]) -> Reply {
        let mut replies = self.curl(&[arguments, &[&self.url(host, target)]].concat());
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }

    /// What a site says that was asked as the visitor asked nginx.
    fn served(&self, site: &str, host: &str, target: &str) -> String {
        format!("200 {site} got GET {target} for {host}:{}", self.port)
    }

    /// All replies that curl gets, those on its way included.
    fn curl(&self, arguments: &[&str]) -> Vec<Reply> {
        let mut curl = Command::new("curl");
        curl.args(["--disable", "--silent", "--show-error", "--insecure", "--http2", "--path-as-is", "--globoff"]);
        curl.args(["--include", "--max-time", "20", "--noproxy", "*"]);
        // Every name and port leads to this nginx, so that no redirect ever leaves this machine.
        curl.arg("--connect-to").arg(format!("::127.0.0.1:{}", self.port));
        // The page before had an identity in its URL.
        curl.args(["--referer", "https://www.yoursite.com/page?kmi=bob%40bob.com"]);
        let output = curl.args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut replies = text.split("HTTP/2 ");
        assert_eq!(replies.next(), Some(""), "a status line of HTTP/2 comes first");
        let replies: Vec<_> = replies.map(read_reply).collect();
        self.replies.fetch_add(replies.len(), Ordering::Relaxed);
        replies
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap()
    }
}

/// Writes nginx's configuration: the shipped files, with this test's places for those of a real machine.
fn configure(folder: &Path, port: u16, crosslink: SocketAddr) {
    let path = folder.display();
    let mut text = format!("daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/start.log;\n");
    text.push_str("events {}\nhttp {\n");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        text += &format!("{kind}_temp_path {path}/{kind};\n");
    }
    // The shop and the checkout, which say what they were asked for. A failed start leaves its sockets behind.
    let socket = |site| format!("unix:{path}/{site}-{port}");
    for site in ["shop", "checkout"] {
        let told = format!("\"{site} got $request_method $request_uri for $http_host\"");
        text += &format!("server {{ listen {}; access_log off; return 200 {told}; }}\n", socket(site));
    }
    let site = |upstream, name, certificate| {
        vec![
            (upstream, format!("server {};", socket(name)), 1),
            ("listen 443 ssl http2;", format!("listen 127.0.0.1:{port} ssl http2;"), 1),
            (certificate, format!("{path}/site"), 2),
            ("_log /var/log/nginx/", format!("_log {path}/"), 2),
        ]
    };
    let shop = site("server 127.0.0.1:8000;", "shop", "/etc/ssl/www.yoursite.com");
    let checkout = site("server 127.0.0.1:9000;", "checkout", "/etc/ssl/yoursite.3rd-party-checkout.com");
    let upstream = vec![("server 127.0.0.1:8080;", format!("server {crosslink};"), 1)];
    for (file, places) in [("crosslink.conf", upstream), ("origin.conf", shop), ("destination.conf", checkout)] {
        let mut shipped = fs::read_to_string(repository("deploy/nginx").join(file)).unwrap();
        for (place, own, count) in places {
            assert_eq!(shipped.matches(place).count(), count, "`{place}` in {file}");
            shipped = shipped.replace(place, &own);
        }
        fs::write(folder.join(file), shipped).unwrap();
        text += &format!("include {path}/{file};\n");
    }
    fs::write(folder.join("nginx.conf"), text + "}\n").unwrap();
}

/// A reply as curl prints it, from its status on.
fn read_reply(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let (status, fields) = head.split_once("\r\n").expect("a status line");
    let fields = fields.split("\r\n").filter_map(|field| field.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Reply { status: status.trim().parse().unwrap(), fields, body: body.to_owned() }
}
