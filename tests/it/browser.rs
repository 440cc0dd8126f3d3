//! What a visitor's own browser makes of it: a real Chromium in the sites of `crosslink demo`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::support::{Service, crosslink, eventually, needs};
use crate::webdriver::Browser;

#[test]
fn every_link_takes_the_visitor_along_and_leaves_no_trace_in_the_address() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    browser.go(&demo.printed);
    let made = browser.cookies();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!((&made[0]["name"], &made[0]["domain"]), (&json!("km_ai"), &json!(".yoursite.localhost")));
    let escaped = made[0]["value"].as_str().unwrap();
    let anonymous = percent_decode_str(escaped).decode_utf8().unwrap();
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    assert!(anonymous.len() == 28 && anonymous.strip_suffix('=').is_some_and(|rest| rest.bytes().all(is_base64)));
    assert!(!escaped.contains(['+', '/', '=']), "{escaped}");
    assert_eq!(browser.text("#identity"), anonymous);

    for (link, path) in LINKS {
        browser.go(&demo.printed);
        browser.click(link);
        demo.assert_arrival(&browser, path, &anonymous, escaped);
        assert_eq!(browser.text("#address"), demo.at_checkout(path), "what a script of the page sees");
        assert_eq!(browser.text("#referrer"), demo.printed);
        // So that the next link has to bring it again.
        browser.forget_cookies();
    }
    browser.go(&demo.printed);
    demo.assert_refusal(&browser);
    assert_eq!(browser.cookies(), made, "crosslink sets nothing in the shop");
}

#[test]
fn every_link_works_without_javascript() {
    let Some((demo, browser)) = start(Browser::without_javascript) else { return };
    browser.go(&demo.printed);
    assert_eq!(browser.cookies(), [Value::Null; 0], "the page's script does not run");
    browser.add_cookie(&json!({ "name": "km_ai", "value": ANONYMOUS_ESCAPED, "domain": ".yoursite.localhost" }));
    for (link, path) in LINKS {
        browser.go(&demo.printed);
        assert_eq!(browser.text("#identity"), "(needs JavaScript)");
        browser.click(link);
        demo.assert_arrival(&browser, path, ANONYMOUS, ANONYMOUS_ESCAPED);
        assert_eq!(browser.text("#address"), "(needs JavaScript)");
        browser.forget_cookies();
    }
    browser.go(&demo.printed);
    demo.assert_refusal(&browser);
}

#[test]
fn an_anonymous_visitor_who_logs_in_is_known_by_name_at_the_checkout() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    browser.go(&demo.printed);
    let anonymous = browser.text("#identity");
    let escaped = browser.cookies()[0]["value"].as_str().unwrap().to_owned();
    browser.click("#link-named");
    demo.assert_arrival(&browser, "/cart", &anonymous, &escaped);
    assert_eq!(browser.text("#class"), "anonymous");

    browser.click("#back");
    demo.log_in(&browser);
    browser.click("#link-named");
    demo.assert_arrival(&browser, "/cart", "bob@bob.com", "bob%40bob.com");
    assert_eq!(browser.text("#class"), "named");

    browser.go(&demo.printed);
    browser.forget_cookies();
    browser.go(&demo.printed);
    assert_ne!(browser.text("#identity"), "bob@bob.com");
    browser.click("#link-named");
    await_address(&browser, &demo.at_checkout("/cart"));
    assert_eq!(browser.text("#identity"), "bob@bob.com", "a name that is known here stays");
    assert_eq!(browser.attribute("#verdict", "data-verdict").as_deref(), Some("differs"));
    assert_single_identity(&browser, "bob%40bob.com");
}

#[test]
fn a_cookie_that_the_pages_script_wrote_is_replaced_and_not_doubled() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    browser.go(&demo.at_checkout("/cart"));
    assert_eq!(browser.attribute("#verdict", "data-verdict").as_deref(), Some("none"));
    assert_eq!(browser.script(IDENTIFY, &[ANONYMOUS]), format!("km_ni={ANONYMOUS_ESCAPED}"));

    browser.go(&demo.printed);
    demo.log_in(&browser);
    browser.click("#link-named");
    demo.assert_arrival(&browser, "/cart", "bob@bob.com", "bob%40bob.com");
}

#[test]
fn a_cookie_that_the_pages_script_writes_later_is_not_a_second_one() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    browser.go(&demo.printed);
    browser.click("#link-named");
    await_address(&browser, &demo.at_checkout("/cart"));
    assert_eq!(browser.script(IDENTIFY, &["carol@example.com"]), "km_ni=carol%40example.com");
    browser.go(&demo.at_checkout("/cart"));
    assert_single_identity(&browser, "carol%40example.com");

    // And once more with crosslink, which leaves a name alone.
    browser.go(&demo.printed);
    browser.click("#link-named");
    await_address(&browser, &demo.at_checkout("/cart"));
    assert_single_identity(&browser, "carol%40example.com");
    assert_eq!(browser.attribute("#verdict", "data-verdict").as_deref(), Some("differs"));
}

#[test]
fn back_and_forward_never_show_the_identity() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    let pages = [
        demo.printed.clone(),
        demo.at_checkout("/cart"),
        demo.printed.clone(),
        demo.at_checkout("/cart?item=42&size=L#summary"),
    ];
    browser.go(&demo.printed);
    let before = browser.script("return history.length", &[]).as_u64().unwrap();
    for (click, page) in ["#link-named", "#back", "#link-query"].into_iter().zip(&pages[1..]) {
        browser.click(click);
        await_address(&browser, page);
    }
    assert_eq!(browser.script("return history.length", &[]), before + 3, "no hop has an entry of its own");
    let seen = browser.script("return JSON.stringify(performance.getEntries())", &[]);
    assert!(!seen.as_str().unwrap().contains("kmi"), "{seen}");
    for page in pages.iter().rev().skip(1) {
        browser.back();
        await_address(&browser, page);
    }
    for page in &pages[1..] {
        browser.forward();
        await_address(&browser, page);
    }
}

#[test]
fn no_page_scrolls_sideways_on_a_phone() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    browser.resize(390, 844);
    let assert_narrow = |page: &str| {
        let (width, window) = (browser.script("return document.documentElement.scrollWidth", &[]), 390);
        assert_eq!(browser.script("return innerWidth", &[]), window);
        assert!(width.as_u64().is_some_and(|width| width <= window), "{page}: {width}");
    };
    for name in ["", &"w".repeat(255)] {
        browser.go(&demo.printed);
        browser.script("document.cookie = 'km_ni=' + arguments[0]", &[name]);
        browser.go(&demo.printed);
        assert_narrow("the shop");
        browser.click("#link-query");
        await_address(&browser, &demo.at_checkout("/cart?item=42&size=L#summary"));
        assert_eq!(browser.attribute("#verdict", "data-verdict").as_deref(), Some("match"));
        assert_narrow("the checkout");
        browser.go(&format!("{}replay", demo.printed));
        assert!(browser.text("#sealed-address").contains("?kmt=v4.local."));
        assert_narrow("the page with a token");
    }
}

#[test]
fn with_the_script_a_plain_link_and_forms_take_the_visitor_along() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    browser.go(&demo.printed);
    let anonymous = browser.text("#identity");
    let escaped = browser.cookies()[0]["value"].as_str().unwrap().to_owned();
    let policy = browser.script("return fetch('/').then(page => page.headers.get('content-security-policy'))", &[]);
    assert!(policy.as_str().unwrap().starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.as_str().unwrap().contains("unsafe"), "{policy}");
    for (click, path, fields) in PLAIN {
        browser.go(&demo.printed);
        let link = browser.attribute("#link-plain", "href").unwrap();
        let through = || browser.script("return crosslink.url(arguments[0])", &[&link]);
        eventually("the script's list", || through().as_str().unwrap().contains("/go?to=").then_some(()));
        assert_eq!(link, demo.at_checkout("/cart?item=7"), "what is shown");
        browser.click(click);
        await_address(&browser, &demo.at_checkout(path));
        assert_eq!(browser.text("#fields"), fields, "{click}");
        if click == "#send-post" {
            // The browser has the cookie, and shows it from the next page on.
            assert_eq!(browser.attribute("#verdict", "data-verdict").as_deref(), Some("unseen"));
            assert_eq!(browser.text("#referrer"), demo.printed);
            assert_eq!(browser.script("return document.cookie", &[]), format!("km_ni={escaped}"));
            browser.click("#next");
            eventually("the next page", || (browser.text("#identity") == anonymous).then_some(()));
            assert_single_identity(&browser, &escaped);
        } else {
            demo.assert_arrival(&browser, path, &anonymous, &escaped);
        }
        browser.forget_cookies();
    }
}

#[test]
fn without_javascript_a_plain_link_and_forms_are_plain() {
    let Some((demo, browser)) = start(Browser::without_javascript) else { return };
    browser.go(&demo.printed);
    browser.add_cookie(&json!({ "name": "km_ai", "value": ANONYMOUS_ESCAPED, "domain": ".yoursite.localhost" }));
    for (click, path, fields) in PLAIN {
        browser.go(&demo.printed);
        assert!(browser.text("noscript").starts_with("JavaScript is off."));
        browser.click(click);
        await_address(&browser, &demo.at_checkout(path));
        assert_eq!(browser.text("#identity"), "none");
        assert_eq!(browser.text("#referrer"), demo.printed);
        assert_eq!(browser.text("#fields"), fields);
    }
}

#[test]
fn a_sealed_link_takes_the_visitor_along_with_and_without_javascript() {
    for open in [Browser::start, Browser::without_javascript] {
        let Some((demo, browser)) = start(open) else { return };
        browser.go(&demo.printed);
        browser.add_cookie(&json!({ "name": "km_ai", "value": ANONYMOUS_ESCAPED, "domain": ".yoursite.localhost" }));
        browser.go(&demo.printed);
        browser.click("#link-sealed");
        await_address(&browser, &demo.at_sealed());
        assert_eq!(browser.text("#identity"), ANONYMOUS);
        assert_eq!(browser.attribute("#verdict", "data-verdict").as_deref(), Some("match"));
        assert_eq!(browser.text("#cookies"), format!("km_ni {ANONYMOUS_ESCAPED}"));
        assert_eq!(browser.script("return document.referrer", &[]), demo.printed);
    }
}

#[test]
fn a_token_that_is_used_twice_is_refused_and_the_status_page_counts_it() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    browser.go(&demo.printed);
    let anonymous = browser.text("#identity");
    browser.click("#link-replay");
    await_address(&browser, &format!("{}replay", demo.printed));
    assert!(browser.text("#token").starts_with("It holds a token"));
    let (page, status) = (browser.url(), browser.attribute("#link-status", "href").unwrap());
    let address = browser.attribute("#sealed-address", "href").unwrap();
    assert!(address.starts_with(&format!("{}?kmt=v4.local.", demo.at_sealed())), "{page}");
    assert_eq!(browser.text("#sealed-address"), address);
    for arrives in [anonymous.as_str(), "none"] {
        browser.go(&address);
        await_address(&browser, &demo.at_sealed());
        assert_eq!(browser.text("#identity"), arrives);
        if arrives != "none" {
            browser.click("#forget");
            eventually("to be forgotten", || (browser.text("#identity") == "none").then_some(()));
        }
        assert_eq!(browser.cookies(), [Value::Null; 0]);
    }
    browser.go(&status);
    let text = browser.text("body");
    assert!(text.contains("\nplain\nHand-offs, by the identity that went along: none yet\n"), "{text}");
    assert!(!text.contains("faulty"), "{text}");
    assert!(text.contains("\nreplayed 1\n") && text.contains("\nset 1\n"), "{text}");
}

#[test]
fn a_visitor_who_opted_out_is_told_so_and_arrives_as_nobody() {
    let Some((demo, browser)) = start(Browser::start) else { return };
    browser.go(&demo.printed);
    assert!(browser.text("#gpc").starts_with("Yours does not"));
    browser.click("#link-gpc");
    let explained = browser.text("pre");
    assert!(explained.contains("without an identity (gpc)") && explained.contains("/go/checkout"), "{explained}");

    browser.send_gpc(true);
    browser.go(&demo.printed);
    assert!(browser.text("#gpc").starts_with("Yours does:"));
    for (link, arrival) in [("#link-named", demo.at_checkout("/cart")), ("#link-sealed", demo.at_sealed())] {
        browser.go(&demo.printed);
        browser.click(link);
        await_address(&browser, &arrival);
        assert_eq!(browser.text("#identity"), "none");
    }
    browser.go(&format!("{}replay", demo.printed));
    assert_eq!(browser.attribute("#sealed-address", "href"), Some(demo.at_sealed()));
    assert!(browser.text("#token").starts_with("There is no token in it"));
}

/// A `crosslink demo` that runs.
struct Demo {
    /// The address that it tells to open: the shop's page.
    printed: String,
    checkout: String,
    _service: Service,
}

impl Demo {
    fn start() -> Self {
        let service = Service::start(crosslink().args(["demo", "--listen", "127.0.0.1:0"]));
        let printed = service.announced("http://www.yoursite.localhost:");
        let checkout = printed.trim_end_matches('/').replace("www.yoursite", "checkout");
        Self { printed, checkout, _service: service }
    }

    fn at_checkout(&self, path: &str) -> String {
        format!("{}{path}", self.checkout)
    }

    /// The page of the checkout that believes sealed identities alone.
    fn at_sealed(&self) -> String {
        self.checkout.replace("checkout", "sealed") + "/cart"
    }

    /// Becomes bob in the shop.
    fn log_in(&self, browser: &Browser) {
        await_address(browser, &self.printed);
        browser.click("#log-in");
        assert_eq!(browser.text("#identity"), "bob@bob.com");
    }

    /// The visitor is at the checkout as the same person, and the identity is in the cookie alone.
    fn assert_arrival(&self, browser: &Browser, path: &str, identity: &str, escaped: &str) {
        let url = self.at_checkout(path);
        await_address(browser, &url);
        assert_eq!(browser.script("return location.href", &[]), url);
        assert_eq!(browser.script("return document.referrer", &[]), self.printed);
        assert_eq!(browser.text("#identity"), identity);
        assert_eq!(browser.attribute("#verdict", "data-verdict").as_deref(), Some("match"));
        assert_eq!(browser.text("#verdict"), "The same person as in the shop.");
        assert_eq!(browser.text("#url"), url.split('#').next().unwrap(), "what the server was asked for");
        assert_single_identity(browser, escaped);
    }

    /// The link that is not allowed leads nowhere.
    fn assert_refusal(&self, browser: &Browser) {
        browser.click("#link-refused");
        await_address(browser, &format!("{}go?to=https%3A%2F%2Fevil.example%2F", self.printed));
        let text = browser.text("body");
        assert!(text.starts_with("not_allowed: "), "{text}");
    }
}

/// The sites and a browser, where the programs for it are there.
fn start(open: fn() -> Browser) -> Option<(Demo, Browser)> {
    needs(&["chromium", "chromedriver"]).then(|| (Demo::start(), open()))
}

fn await_address(browser: &Browser, url: &str) {
    eventually(&format!("the arrival at {url}"), || (browser.url() == url).then_some(()));
}

/// The checkout has one cookie, the identity, as the browser, the page's scripts and the server see it.
fn assert_single_identity(browser: &Browser, escaped: &str) {
    let mut cookies = browser.cookies();
    let expiry = cookies[0]["expiry"].take().as_u64().expect("an expiry");
    let expected = json!({
        "name": "km_ni", "value": escaped, "domain": ".checkout.localhost", "path": "/",
        "expiry": null, "sameSite": "Lax", "secure": false, "httpOnly": false,
    });
    assert_eq!(cookies, [expected]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let days = Duration::from_secs(expiry).saturating_sub(now).as_secs_f64() / 86_400.0;
    assert!((399.9..400.01).contains(&days), "{days}");
    assert_eq!(browser.script("return document.cookie", &[]), format!("km_ni={escaped}"));
    assert_eq!(browser.text("#cookies"), format!("km_ni {escaped}"));
}

/// The links of the shop, and where they lead.
const LINKS: [(&str, &str); 3] =
    [("#link-named", "/cart"), ("#link-to", "/cart"), ("#link-query", "/cart?item=42&size=L#summary")];
/// What knows nothing of crosslink, where it leads, and the fields that arrive there.
const PLAIN: [(&str, &str, &str); 3] = [
    ("#link-plain", "/cart?item=7", "item 7 address"),
    ("#send-get", "/cart?item=tea+%26+cups", "item tea & cups address"),
    ("#send-post", "/cart", "note a gift <3 body"),
];
const ANONYMOUS: &str = "fTTEi+Dx9uNZ/WYzrFM8hVkBqQY=";
const ANONYMOUS_ESCAPED: &str = "fTTEi%2BDx9uNZ%2FWYzrFM8hVkBqQY%3D";
/// Writes `km_ni` as the KISSmetrics script does, and gives all cookies that scripts see then.
const IDENTIFY: &str = "
    const expires = new Date();
    expires.setFullYear(expires.getFullYear() + 5);
    document.cookie = 'km_ni=' + encodeURIComponent(arguments[0]) + '; domain=.checkout.localhost; path=/; expires='
        + expires.toUTCString();
    return document.cookie;
";
