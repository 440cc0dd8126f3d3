//! Leaving in real browsers: their cookies go, and no other site can make them go.

use serde_json::json;

use crate::support::{App, eventually, needs};
use crate::webdriver::{Browser, Kind};

const PAIRS: &str = "
pairs:
  - name: own
    origin: www.shop.localhost
    destination: http://till.localhost
    mint: { cookie: visitor, secure: false }
    landing: {}
";

#[test]
fn only_the_own_site_makes_chromium_forget() {
    only_the_own_site_makes_it_forget(Kind::Chromium);
}

#[test]
fn only_the_own_site_makes_firefox_forget() {
    only_the_own_site_makes_it_forget(Kind::Firefox);
}

fn only_the_own_site_makes_it_forget(kind: Kind) {
    if !needs(&kind.programs()) {
        return;
    }
    let app = App::with(PAIRS);
    let browser = Browser::of(kind);
    let at = |host: &str, path: &str| format!("http://{host}:{}{path}", app.address.port());
    let is_at = |url: &str| eventually(url, || (browser.url() == url).then_some(()));
    for (host, site, cookie) in
        [("www.shop.localhost", ".shop.localhost", "visitor"), ("till.localhost", ".till.localhost", "km_ni")]
    {
        let (home, forget) = (at(host, "/"), at(host, "/go/forget"));
        let with_cookies = || {
            browser.go(&home);
            browser.add_cookie(&json!({ "name": cookie, "value": "bob", "domain": site }));
            browser.add_cookie(&json!({ "name": "session", "value": "1" }));
            assert_eq!(browser.cookies().len(), 2);
        };
        let has_left = |left: bool| {
            browser.go(&home);
            let names: Vec<_> = browser.cookies().iter().map(|cookie| cookie["name"].clone()).collect();
            assert_eq!(!names.contains(&json!(cookie)), left, "{host}: {names:?}");
            assert!(names.contains(&json!("session")), "{host}: {names:?}");
        };
        // Pages of another site: a form, and a script.
        with_cookies();
        browser.go(&at("evil.localhost", "/"));
        browser.script(FORM, &[&forget]);
        is_at(&forget);
        has_left(false);
        browser.go(&at("evil.localhost", "/"));
        browser.script(SCRIPT, &[&forget]);
        has_left(false);
        // Those of its own: a script, a form, and a form on another host of the site.
        browser.go(&home);
        assert_eq!(browser.script(SCRIPT, &[&forget]), 204);
        has_left(true);
        for from in [host, &format!("blog{site}")] {
            with_cookies();
            browser.go(&at(from, "/account"));
            browser.script(FORM, &[&forget]);
            is_at(&home);
            has_left(true);
        }
    }
}

const FORM: &str = "const form = document.createElement('form'); form.method = 'post'; form.action = arguments[0];
    document.body.append(form); form.submit();";

/// The status, or 0 if the page may not see it.
const SCRIPT: &str = "const request = new XMLHttpRequest(); request.open('POST', arguments[0], false);
    request.withCredentials = true; try { request.send(); } catch {} return request.status;";
