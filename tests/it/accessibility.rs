//! The pages that people see, as axe judges them in a real browser: the demo's and the operator's.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::{Client, Service, crosslink, eventually, needs, repository};
use crate::webdriver::Browser;

/// A browser, where all is there that a test needs.
fn start() -> Option<Browser> {
    needs(&["chromium", "chromedriver", repository(AXE).to_str().unwrap()]).then(Browser::start)
}

/// Holds the page that the browser shows to the rules of axe, in light and in dark.
fn assert_accessible(browser: &Browser, page: &str) {
    for scheme in ["light", "dark"] {
        browser.prefer_color_scheme(scheme);
        let violations = violations(browser);
        assert!(violations.is_empty(), "{page} in {scheme}:\n{}", violations.join("\n"));
    }
}

/// What axe says against the page that the browser shows.
fn violations(browser: &Browser) -> Vec<String> {
    browser.script(&fs::read_to_string(repository(AXE)).unwrap(), &[]);
    let said = browser.script(RUN, &[]);
    assert!(said["passes"].as_u64().is_some_and(|passes| passes > 10), "axe has looked at next to nothing: {said}");
    said["violations"].as_array().unwrap().iter().map(explained).collect()
}

/// A rule that a page breaks, and where.
fn explained(violation: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().replace('\n', " ");
    let places = violation["nodes"].as_array().unwrap().iter();
    let places = places.map(|node| format!("  {}\n    {}", text(&node["html"]), text(&node["failureSummary"])));
    let lines = [format!("{}: {}", text(&violation["id"]), text(&violation["help"]))];
    lines.into_iter().chain(places).collect::<Vec<_>>().join("\n")
}

#[test]
fn whoever_uses_the_demo_meets_no_barrier() {
    let Some(browser) = start() else { return };
    let service = Service::start(crosslink().args(["demo", "--listen", "127.0.0.1:0"]));
    let shop = service.announced("http://www.yoursite.localhost:");
    browser.go(&shop);
    assert_accessible(&browser, "the shop of a stranger");
    browser.click("#log-in");
    assert_accessible(&browser, "the shop");
    browser.click("#link-named");
    eventually("the checkout", || browser.url().contains("//checkout.localhost:").then_some(()));
    // And whatever else the pages lead to.
    let (mut seen, mut ahead) = (BTreeSet::new(), vec![browser.url(), shop]);
    while let Some(address) = ahead.pop() {
        if !seen.insert(address.clone()) {
            continue;
        }
        browser.go(&address);
        // Not so a refusal, which is a line of text.
        if browser.script("return document.contentType", &[]) == "text/html" {
            assert_accessible(&browser, &browser.url());
            ahead.extend(links(&browser));
        }
        assert!(seen.len() < 100, "no end of pages: {seen:?}");
    }
    assert!(seen.len() >= 4, "{seen:?}");
}

/// Where the links of a page lead, without those that leave this machine.
fn links(browser: &Browser) -> Vec<String> {
    let own = "return [...document.links].filter(link => /(^|\\.)localhost$|^127\\./.test(link.hostname)).map(link => link.href)";
    serde_json::from_value(browser.script(own, &[])).unwrap()
}

#[test]
fn whoever_operates_it_meets_no_barrier() {
    let Some(browser) = start() else { return };
    let pairs = "pairs: [{ name: own, origin: www.yoursite.com, destination: ok.example, links: { checkout: / }, landing: {} }]";
    let mut service = Service::serve(crosslink(), &format!("listen: 127.0.0.1:0\n{pairs}"), None);
    let (address, page) = (service.listening(1)[0], format!("http://{}/", service.admin()));
    browser.go(&page);
    assert_accessible(&browser, "the page at first");
    // Something of everything that is counted, and a configuration that can't be read.
    for (host, target) in [("www.yoursite.com", "/go/checkout"), ("ok.example", "/?kmi=eve"), ("evil.example", "/")] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: km_ni=bob\r\n\r\n");
        Client::connect(address).send(head.as_bytes()).reply().expect("a reply");
    }
    fs::write(service.folder().join("crosslink.yaml"), "pairs: []\n").unwrap();
    service.program.signal("HUP");
    eventually("the warning", || {
        browser.go(&format!("{page}?url=www.yoursite.com/go/checkout&cookie=km_ni%3Dbob&header=Sec-GPC%3A+1"));
        browser.script("return !!document.querySelector('[role=status]')", &[]).as_bool().filter(|there| *there)
    });
    let shown = browser.script("return ['table', 'svg', 'pre'].map(css => !!document.querySelector(css))", &[]);
    assert_eq!(shown, json!([true, true, true]));
    assert_accessible(&browser, "the page with all that it can show");
    // A barrier would be seen.
    browser.script("document.documentElement.removeAttribute('lang'); document.querySelector('label').remove()", &[]);
    let seen: Vec<_> =
        violations(&browser).iter().filter_map(|said| Some(said.split_once(':')?.0.to_owned())).collect();
    assert_eq!(seen, ["html-has-lang", "label"]);
}

/// `tests/run` puts it there.
const AXE: &str = "target/interop/axe.min.js";
/// Asks axe about the whole page, by every rule but its experiments and those of WCAG's level AAA, which no whole site
/// is meant to reach.
const RUN: &str = "
    const left = ['experimental', 'wcag2aaa'];
    const rules = axe.getRules().map(rule => [rule.ruleId, { enabled: !left.some(tag => rule.tags.includes(tag)) }]);
    return axe.run(document, { rules: Object.fromEntries(rules), resultTypes: ['violations'] })
        .then(said => ({ violations: said.violations, passes: said.passes.length }));
";
