//! The files in `deploy/nginx/` as they are shipped: a real nginx between curl and crosslink.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::support::{App, Program, Reply, eventually, find, log_file, needs, repository};

const SHOP: &str = "www.yoursite.com";
const CHECKOUT: &str = "yoursite.3rd-party-checkout.com";
/// What stands around the shipped files. The shop and the checkout say what they were asked for.
const NGINX: &str = r#"daemon off; master_process off; pid pid; error_log start.log; events {} http {
    client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5;
    server { listen unix:shop; access_log off; return 200 "shop: $request_method $http_host $request_uri"; }
    server { listen unix:checkout; access_log off; return 200 "checkout: $request_method $http_host $request_uri"; }
"#;
const TO: &str = "/go?to=https%3A%2F%2Fyoursite.3rd-party-checkout.com";
const BOB: &str = "km_ni=bob%40bob.com";
const ANONYMOUS: &str = "fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D";

#[test]
fn the_shops_links_go_through_crosslink_and_the_rest_reaches_the_shop() {
    behind_nginx(|nginx, app| {
        let anonymous = format!("/cart?kmi={ANONYMOUS}");
        for (cookie, target, location) in [
            (BOB, "/go/checkout", "/cart?kmi=bob%40bob.com"),
            ("km_ai=fTTEi+Dx9uNZ/WYzrFM8hVkBqQY=", "/go/checkout", &anonymous),
            (&format!("km_ai={ANONYMOUS}"), "/go/checkout", &anonymous),
            (BOB, "/go/checkout/a%C3%A9/b?c=%2f+&d", "/cart/a%C3%A9/b?c=%2f+&d&kmi=bob%40bob.com"),
            (BOB, &format!("{TO}/a%2fb%3Fc%23d&e=%2f"), "/a/b?c&e=%2f&kmi=bob%40bob.com#d"),
            // Longer than what nginx takes and passes on by default.
            (BOB, &format!("{TO}/{}", "%7e".repeat(4_000)), &format!("/{}?kmi=bob%40bob.com", "~".repeat(4_000))),
            ("a=b", "/go/checkout", "/cart"),
        ] {
            nginx.expect(SHOP, target, cookie, &format!("302 https://{CHECKOUT}{location}"), None);
        }
        for (target, code) in [("/go?to=https://evil.example/", "not_allowed"), ("/go/other", "unknown_link")] {
            let own = app.get(SHOP, target).send();
            assert_eq!(own.code(), code);
            nginx.expect(SHOP, target, BOB, &gist(&own), None);
        }
        for target in ["/", "/gone?a=%2f+b", "/a%2fb/../go/./x", "/?kmi=x", "/page//?to=/go/checkout"] {
            nginx.expect(SHOP, target, BOB, &nginx.served("shop", SHOP, target), None);
        }
    });
}

#[test]
fn every_spelling_of_an_identity_lands_and_leaves_a_clean_url() {
    behind_nginx(|nginx, _| {
        for start in ["km", "k%6d", "k%6D", "%6bm", "%6b%6d", "%6b%6D", "%6Bm", "%6B%6d", "%6B%6D"] {
            for end in ["i", "%69", "_i", "_%69", "%5fi", "%5f%69", "%5Fi", "%5F%69", "t", "%74"] {
                let target = format!("/a?b=%2f&{start}{end}=bob%40bob.com&c");
                // `kmt` is a sealed identity, and nothing here could open one.
                let identity = (end != "t" && end != "%74").then_some("bob%40bob.com");
                nginx.expect(CHECKOUT, &target, "", &format!("302 https://{CHECKOUT}/a?b=%2f&c"), identity);
            }
        }
        let long = format!("/?{}", "~".repeat(8_192));
        for (target, clean, identity) in [
            ("/a%2fb/../x?kmi=1", "/a%2fb/../x", Some("1")),
            ("/go/checkout?kmi=bob", "/go/checkout", Some("bob")),
            (&format!("/?kmi={ANONYMOUS}&a=kmi"), "/?a=kmi", Some(ANONYMOUS)),
            (&format!("{long}&kmi=bob"), &long, Some("bob")),
            ("/?a&kmi", "/?a", None),
            ("/?kmi=x&%6bmi=y", "/", None),
        ] {
            nginx.expect(CHECKOUT, target, "", &format!("302 https://{CHECKOUT}{clean}"), identity);
        }
    });
}

#[test]
fn what_names_no_identity_reaches_the_checkout_as_it_came() {
    behind_nginx(|nginx, _| {
        let near = "KMI=1 Kmi=1 xkmi=1 kmi2=1 kmi%3Dx kmi%26=1 a=kmi a=1;kmi=1 a?kmi=1 %256bmi=1 %4bmi=1 km=1 km__i=1 \
                    km-i=1 km_t=1 kmi+=1 +kmi k%6=1 &";
        for query in near.split(' ') {
            let target = format!("/&kmi&/a%2fb/../x//?{query}");
            nginx.expect(CHECKOUT, &target, BOB, &nginx.served("checkout", CHECKOUT, &target), None);
        }
    });
}

#[test]
fn what_a_path_tells_of_an_identity_is_not_logged() {
    behind_nginx(|nginx, _| {
        let unknown = "404 unknown_link: This site has no link of that name.";
        for path in ["/go/checkout%3Fkmi=bob%40bob.com", "/go/checkout&kmi=bob", "/go/bob%40bob.com", "/go/bob@bob.com"]
        {
            nginx.expect(SHOP, path, BOB, unknown, None);
        }
    });
}

#[test]
fn a_visitor_arrives_with_a_cookie_and_a_clean_url() {
    behind_nginx(|nginx, _| {
        let jar = &nginx.folder.path().join("jar").display().to_string();
        fs::write(jar, ".yoursite.com\tTRUE\t/\tFALSE\t0\tkm_ni\tbob%40bob.com\n").unwrap();
        // Without a port, as a visitor's browser asks, and as the Locations have it.
        let link = format!("https://{SHOP}/go/checkout?lang=en");
        let hops = nginx.curl(&["--location", "--cookie", jar, "--cookie-jar", jar, &link]);
        let cart = format!("302 https://{CHECKOUT}/cart?lang=en");
        let served = format!("200 checkout: GET {CHECKOUT} /cart?lang=en");
        assert_eq!(hops.iter().map(gist).collect::<Vec<_>>(), [format!("{cart}&kmi=bob%40bob.com"), cart, served]);
        let jar = fs::read_to_string(jar).unwrap();
        let kept = jar.lines().find(|line| line.starts_with(".3rd-party-checkout.com\tTRUE\t/\tTRUE\t"));
        assert!(kept.is_some_and(|line| line.ends_with("\tkm_ni\tbob%40bob.com")), "{jar}");
    });
}

#[test]
fn while_crosslink_is_down_visitors_go_on_without_it() {
    behind_nginx(|nginx, app| {
        // So that nginx holds a connection that ends under its hands.
        nginx.expect(CHECKOUT, "/?kmi=x", "", &format!("302 https://{CHECKOUT}/"), Some("x"));
        let address = app.address;
        drop(app);
        assert_visitors_go_on(nginx);
        // Now connections are taken, and nobody ever answers.
        let _silent = TcpListener::bind(address).unwrap();
        assert_visitors_go_on(nginx);
    });
}

fn assert_visitors_go_on(nginx: &Nginx) {
    let cart = |target, more: &str| (SHOP, target, format!("302 https://{CHECKOUT}/cart{more}"));
    let checkout = |target| (CHECKOUT, target, nginx.served("checkout", CHECKOUT, target));
    let cases = [
        cart("/go/checkout", ""),
        cart("/go/checkout/gift-card/2?a=%2f+b&c", "/gift-card/2?a=%2f+b&c"),
        cart("/go/checkout?kmi=bob%40bob.com&a", ""),
        cart("/go/checkout/%0d%0aLocation:%2f%2fevil.example", ""),
        (SHOP, TO, "503 <html>".into()),
        (SHOP, "/go/other", "503 <html>".into()),
        (SHOP, "/", nginx.served("shop", SHOP, "/")),
        checkout("/a%2fb/../x?%6bmi=bob%40bob.com&b=%2f"),
        checkout("/"),
    ];
    // At the same time, because nginx waits 3 s for a crosslink that is silent.
    thread::scope(|scope| {
        for (host, target, gist) in &cases {
            scope.spawn(move || nginx.expect(host, target, BOB, gist, None));
        }
    });
}

/// Runs a test with nginx and crosslink. Whatever it asks for, no log of nginx may tell of an identity afterwards.
fn behind_nginx(test: impl FnOnce(&Nginx, App)) {
    if !needs(&["nginx", "openssl", "curl"]) {
        return;
    }
    let app = App::with(&std::fs::read_to_string(repository("deploy/nginx/crosslink.yaml")).unwrap());
    // Between the look for a port and nginx's own bind, another test may take it.
    let nginx = (0..5).find_map(|_| Nginx::start(app.address)).expect("a port that is free");
    test(&nginx, app);
    let read = |file| fs::read_to_string(nginx.folder.path().join(file)).unwrap();
    // nginx logs a request after its reply has gone.
    let is_whole = |log: &String| log.lines().count() == nginx.replies.load(Ordering::Relaxed);
    for line in eventually("a line for each reply", || Some(read("access.log")).filter(is_whole)).lines() {
        assert!(line.contains(" HTTP/2.0\" ") && line.contains("\"https://www.yoursite.com/page\""), "{line}");
        assert!(!line.contains("bob") && !line.contains('?') && !line.contains(ANONYMOUS), "{line}");
    }
    assert_eq!(read("error.log"), "");
    assert!(!read("start.log").contains("bob"));
    for file in ["access.log", "error.log", "start.log"] {
        log_file(&format!("nginx {file}")).write_all(read(file).as_bytes()).unwrap();
    }
}

/// What matters in a reply, in one line.
fn gist(reply: &Reply) -> String {
    format!("{} {}", reply.status, reply.location().or(reply.body.lines().next()).unwrap_or_default())
}

struct Nginx {
    _program: Program,
    port: u16,
    folder: TempDir,
    replies: AtomicUsize,
}

impl Nginx {
    /// Starts the shipped files, with this test's places for those of a real machine. `None` if its port was taken.
    fn start(crosslink: SocketAddr) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let shipped = |file| fs::read_to_string(repository("deploy/nginx").join(file)).unwrap();
        let mut files = ["crosslink.conf", "origin.conf", "destination.conf"].map(shipped).concat();
        for (place, own, count) in [
            ("    server 127.0.0.1:8080;", &*format!("server {crosslink};"), 1),
            ("    server 127.0.0.1:8000;", "server unix:shop;", 1),
            ("    server 127.0.0.1:9000;", "server unix:checkout;", 1),
            ("    listen 443 ssl http2;", &format!("listen 127.0.0.1:{port} ssl http2;"), 2),
            (" /etc/ssl/www.yoursite.com.", " site.", 2),
            (" /etc/ssl/yoursite.3rd-party-checkout.com.", " site.", 2),
            ("    access_log /var/log/nginx/", "access_log ", 2),
            ("    error_log /var/log/nginx/", "error_log ", 2),
        ] {
            assert_eq!(files.matches(place).count(), count, "`{place}` in deploy/nginx/");
            files = files.replace(place, own);
        }
        fs::write(folder.path().join("nginx.conf"), format!("{NGINX}{files}}}\n")).unwrap();
        let site = "req -x509 -nodes -newkey ed25519 -subj /CN=crosslink -keyout site.key -out site.pem";
        let made = Command::new("openssl").args(site.split(' ')).current_dir(&folder).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut nginx = Command::new(find("nginx").unwrap());
        nginx.args(["-e", "start.log", "-c", "nginx.conf", "-p"]).arg(folder.path()).current_dir(&folder);
        let mut program = Program::spawn(nginx.stdin(Stdio::null()).stderr(Stdio::null()));
        let listens = eventually("nginx's start", || {
            let has_ended = program.child.try_wait().unwrap().is_some();
            // It writes its id once it listens.
            let listens = fs::read(folder.path().join("pid")).is_ok_and(|id| !id.is_empty());
            (has_ended || listens).then_some(listens)
        });
        let log = fs::read_to_string(folder.path().join("start.log")).unwrap();
        assert!(listens || log.contains("Address already in use"), "{log}");
        listens.then(|| Self { _program: program, port, folder, replies: AtomicUsize::default() })
    }

    /// All replies that curl gets, those on its way included.
    fn curl(&self, arguments: &[&str]) -> Vec<Reply> {
        let mut curl = Command::new("curl");
        curl.args("--disable --silent --show-error --insecure --http2 --path-as-is --globoff --include".split(' '));
        // Every name and port leads to this nginx, so that no redirect leaves this machine.
        curl.args(["--connect-to", &format!("::127.0.0.1:{}", self.port), "--noproxy", "*", "--max-time", "30"]);
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

    /// Asks once and compares the reply: its gist, and the identity that its cookie sets.
    fn expect(&self, host: &str, target: &str, cookie: &str, expected: &str, identity: Option<&str>) {
        let replies = self.curl(&["--cookie", cookie, &format!("https://{host}:{}{target}", self.port)]);
        assert_eq!(replies.iter().map(gist).collect::<Vec<_>>(), [expected], "{host}{target}");
        let place = "SameSite=Lax; Secure; Path=/; Domain=3rd-party-checkout.com; Max-Age=34560000";
        let set_cookie = identity.map(|identity| format!("km_ni={identity}; {place}"));
        let fields = (set_cookie.as_deref(), (replies[0].status != 200).then_some("no-store"));
        assert_eq!((replies[0].set_cookie(), replies[0].field("cache-control")), fields, "{host}{target}");
    }

    /// The gist of what a site says when nginx passes a request on as it came.
    fn served(&self, site: &str, host: &str, target: &str) -> String {
        format!("200 {site}: GET {host}:{} {target}", self.port)
    }
}
