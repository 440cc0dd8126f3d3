//! A sealed hand-off as a real Chromium sees it, between two small sites with crosslink in front of them.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crosslink::http::content::Content;
use crosslink::http::handler::Handler;
use crosslink::http::server::{self, Answer, Answered, Listener, Terms};
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::sealed::OLD;
use crate::support::{Client, Memory, eventually, handler, needs, parse};
use crate::webdriver::Browser;

#[test]
fn a_sealed_hand_off_shows_the_identity_to_the_checkout_alone() {
    visit("", |site, browser| {
        let before = browser.script("return history.length", &[]).as_u64().unwrap();
        browser.click("#go");
        site.assert_arrival(browser, COOKIE);
        assert_eq!(browser.script("return location.href", &[]), site.cart);
        assert_eq!(browser.script("return document.referrer", &[]), site.shop);
        assert_eq!(browser.script("return history.length", &[]), before + 1, "no hop has an entry of its own");
        assert_eq!(cookies(browser), [json!(["km_ni", ESCAPED, ".checkout.localhost"])]);
        assert_nothing_shown(browser);
        browser.back();
        await_address(browser, &site.shop);
        assert_nothing_shown(browser);
        browser.forward();
        await_address(browser, &site.cart);
        assert_nothing_shown(browser);
        // The link, the landing and the page, each once: going back and forward asked for no token again.
        assert_eq!(site.seen("/go/").len(), 1);
        assert_eq!(site.seen("/cart?kmt=v4.local.").len(), 1);
    });
}

#[test]
fn a_reload_keeps_the_identity_and_another_browser_with_the_same_address_gets_none() {
    visit("", |site, browser| {
        browser.click("#go");
        site.assert_arrival(browser, COOKIE);
        let before = site.seen("/cart").len();
        browser.script("location.reload()", &[]);
        let seen = eventually("the reload", || site.seen("/cart").into_iter().nth(before));
        assert_eq!((&seen["target"], &seen["cookies"]), (&json!("/cart"), &json!(COOKIE)));
        site.assert_arrival(browser, COOKIE);
        // As when the address with the token is what is reloaded, because the answer to it was lost on the way.
        let tokened = site.seen("/go/")[0]["location"].as_str().unwrap().to_owned();
        browser.go(&tokened);
        site.assert_arrival(browser, COOKIE);
        assert_eq!(cookies(browser), [json!(["km_ni", ESCAPED, ".checkout.localhost"])]);
        let other = Browser::start();
        other.go(&tokened);
        site.assert_arrival(&other, "");
        assert_eq!(cookies(&other), [Value::Null; 0]);
        assert_nothing_shown(&other);
        assert_eq!(site.seen("/cart?kmt=v4.local.").len(), 3, "each of them came with the token");
    });
}

#[test]
fn a_visitor_who_opted_out_arrives_as_nobody() {
    visit("", |site, browser| {
        let landing = site.hand_off_elsewhere();
        browser.send_gpc(true);
        browser.click("#go");
        site.assert_arrival(browser, "");
        browser.go(&landing);
        site.assert_arrival(browser, "");
        assert_eq!(cookies(browser), [Value::Null; 0]);
        browser.send_gpc(false);
        browser.go(&landing);
        site.assert_arrival(browser, COOKIE);
        browser.forget_cookies();
        browser.go(&site.shop);
        browser.click("#go");
        site.assert_arrival(browser, COOKIE);

        let without_token = |value: &Value| value.as_str().unwrap().split("v4.local.").next().unwrap().to_owned();
        let row = |seen: &Value| ["gpc", "target", "cookies", "location"].map(|name| without_token(&seen[name]));
        let (page, tokened) = (site.cart.as_str(), format!("{}?kmt=", site.cart));
        let clicks = [
            ["", "/go/checkout", COOKIE, &tokened],
            ["1", "/go/checkout", COOKIE, page],
            ["", "/go/checkout", COOKIE, &tokened],
        ];
        assert_eq!(site.seen("/go/").iter().map(row).collect::<Vec<_>>(), clicks);
        let arrivals = [
            ["1", "/cart", "", ""],
            ["1", "/cart?kmt=", "", page],
            ["1", "/cart", "", ""],
            ["", "/cart?kmt=", "", page],
            ["", "/cart", COOKIE, ""],
            ["", "/cart?kmt=", "", page],
            ["", "/cart", COOKIE, ""],
        ];
        assert_eq!(site.seen("/cart").iter().map(row).collect::<Vec<_>>(), arrivals);
        let decisions = [
            json!(["handed_off", "named"]),
            json!(["handed_off", "gpc"]),
            json!(["gpc", null]),
            json!(["set", "named"]),
            json!(["handed_off", "named"]),
            json!(["set", "named"]),
        ];
        let logged = eventually("the log", || Some(site.logged()).filter(|logged| logged.len() >= decisions.len()));
        assert_eq!(logged, decisions);
    });
}

#[test]
fn a_link_that_was_fetched_ahead_hands_off_at_the_click() {
    visit("speculate", |site, browser| {
        let ahead = eventually("the prefetch", || site.seen("/go/").into_iter().next());
        assert!(ahead["purpose"].as_str().unwrap().starts_with("prefetch"), "{ahead}");
        assert_eq!(json!([ahead["status"], ahead["location"]]), json!([403, ""]));
        assert!(site.seen("/cart").is_empty());
        browser.click("#go");
        site.assert_arrival(browser, COOKIE);
        assert_eq!(site.seen("/go/").iter().filter(|seen| seen["purpose"] == "" && seen["status"] == 302).count(), 1);
        assert_nothing_shown(browser);
    });
}

/// A shop and a checkout on one port, with crosslink in front of both.
struct Site {
    address: SocketAddr,
    shop: String,
    cart: String,
    /// The requests that came, and what was answered; a field that was not there is empty.
    seen: Mutex<Vec<Value>>,
    log: Memory,
}

/// Runs a test in a browser that is on the shop's page at a path, with an identity, where the programs for it are
/// there. In the end no address that was asked for, came from or was sent to names the visitor.
fn visit(path: &str, test: impl FnOnce(&Site, &Browser)) {
    if !needs(&["chromium", "chromedriver"]) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let [origin, checkout] =
        ["www.yoursite.localhost", "checkout.localhost"].map(|host| format!("{host}:{}", address.port()));
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&key, OLD.1).unwrap();
    let (id, file) = (OLD.0, key.path().display());
    let config = parse(&format!(
        "{{ keys: [{{ id: {id}, file: {file} }}], pairs: [{{ origin: '{origin}', destination: 'http://{checkout}',
            links: {{ checkout: /cart }}, landing: {{}} }}] }}"
    ));
    let (shop, cart) = (format!("http://{origin}/"), format!("http://{checkout}/cart"));
    let site = Arc::new(Site { address, shop, cart, seen: Mutex::default(), log: Memory::kept() });
    let sink = site.log.sink();
    let (end, limits) = (CancellationToken::new(), config.fixed.limits);
    let pages = Pages { crosslink: handler(config, sink.clone()), site: Arc::clone(&site) };
    thread::scope(|scope| {
        let _end = end.clone().drop_guard();
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = Listener { socket: listener.try_into().unwrap(), tls: None };
                server::run(vec![listener], pages, Terms::new(limits, end)).await;
            });
            let _ = sink.close(Duration::from_secs(5));
        });
        let browser = Browser::start();
        browser.go(&format!("{}favicon.ico", site.shop));
        browser.add_cookie(&json!({ "name": "km_ni", "value": ESCAPED, "domain": ".yoursite.localhost" }));
        browser.go(&format!("{}{path}", site.shop));
        test(&site, &browser);
    });
    for seen in site.seen("/") {
        let [target, referrer, location] = ["target", "referrer", "location"].map(|name| seen[name].to_string());
        assert!(PLAIN.iter().all(|plain| !format!("{target} {referrer} {location}").contains(plain)), "{seen}");
        assert!(!referrer.contains("kmt="), "{seen}");
    }
}

impl Site {
    /// The visitor is at the checkout, whose server got these cookies.
    #[track_caller]
    fn assert_arrival(&self, browser: &Browser, cookies: &str) {
        await_address(browser, &self.cart);
        assert_eq!(browser.text("#cookies"), cookies);
    }

    /// Clicks the link without a browser: the address to land at, with a token that nobody has used.
    fn hand_off_elsewhere(&self) -> String {
        let host = self.shop.trim_start_matches("http://").trim_end_matches('/');
        let request = format!("GET /go/checkout HTTP/1.1\r\nHost: {host}\r\nCookie: {COOKIE}\r\n\r\n");
        let reply = Client::connect(self.address).send(request.as_bytes()).reply().expect("a reply");
        reply.location().expect("a Location").to_owned()
    }

    /// The outcome and the identity in the log's line of each hand-off and each landing so far.
    fn logged(&self) -> Vec<Value> {
        let text = self.log.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| !line["pair"].is_null()).map(|line| json!([line["outcome"], line["identity"]])).collect()
    }

    /// The requests so far whose target begins so.
    fn seen(&self, target: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen["target"].as_str().unwrap().starts_with(target)).cloned().collect()
    }
}

/// The pages of both sites, and crosslink for the rest.
struct Pages {
    crosslink: Handler,
    site: Arc<Site>,
}

impl Answer for Pages {
    fn answer(&self, head: Parts, peer: IpAddr) -> Answered<'_> {
        server::later(self.answer_seen(head, peer))
    }

    fn unreadable(&self, too_large: bool) {
        self.crosslink.unreadable(too_large);
    }
}

impl Pages {
    async fn answer_seen(&self, head: Parts, peer: IpAddr) -> Response<Content> {
        let (target, cookies) = (head.uri.to_string(), field(&head.headers, "cookie"));
        let is_shop = field(&head.headers, "host").starts_with("www.");
        let response = match (is_shop, target.as_str()) {
            (true, "/") => page(LINK),
            (true, "/speculate") => page(&format!("{LINK}{SPECULATION}")),
            (false, "/cart") => {
                page(&format!("<pre id=cookies>{}</pre>", cookies.replace('&', "&amp;").replace('<', "&lt;")))
            }
            _ => self.crosslink.answer(head.clone(), peer).await,
        };
        let seen = json!({
            "target": target, "cookies": cookies, "status": response.status().as_u16(),
            "referrer": field(&head.headers, "referer"), "purpose": field(&head.headers, "sec-purpose"),
            "gpc": field(&head.headers, "sec-gpc"), "location": field(response.headers(), "location"),
        });
        self.site.seen.lock().unwrap().push(seen);
        response
    }
}

fn page(body: &str) -> Response<Content> {
    let mut response = Response::new(Content::from(format!("<!doctype html><title>Page</title>{body}")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn field(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[track_caller]
fn await_address(browser: &Browser, url: &str) {
    eventually(&format!("the arrival at {url}"), || (browser.url() == url).then_some(()));
}

/// The name, the value and the domain of all cookies of the page's address.
fn cookies(browser: &Browser) -> Vec<Value> {
    browser.cookies().iter().map(|cookie| json!([cookie["name"], cookie["value"], cookie["domain"]])).collect()
}

/// Whatever a script of the page can know about addresses tells neither the identity nor the token.
#[track_caller]
fn assert_nothing_shown(browser: &Browser) {
    let history = "navigation.entries().map(entry => entry.url)";
    let all = format!("return JSON.stringify([location.href, document.referrer, performance.getEntries(), {history}])");
    let shown = browser.script(&all, &[]).to_string();
    assert!(shown.contains(".localhost:"), "{shown}");
    assert!(PLAIN.iter().chain(&["kmt"]).all(|plain| !shown.contains(plain)), "{shown}");
}

const ESCAPED: &str = "bob%40bob.com";
const COOKIE: &str = "km_ni=bob%40bob.com";
/// What is in an address that names bob; none of it can be in a token, whose letters are those of Base64.
const PLAIN: [&str; 5] = ["bob@", "bob%40", "bob%2540", "kmi=", "km_i="];
const LINK: &str = "<a id=go href=/go/checkout>Checkout</a>";
const SPECULATION: &str = r#"<script type="speculationrules">
    {"prefetch":[{"source":"list","urls":["/go/checkout"],"eagerness":"immediate"}]}</script>"#;
