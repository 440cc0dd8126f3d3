//! The files in `deploy/` as they are shipped: one table of cases for every proxy.

use std::net::TcpListener;
use std::thread;

use serde_json::Value;

use crate::proxy::{
    ANONYMOUS, BOB, CADDY, CHECKOUT, ENVOY, HAPROXY, Kind, NGINX, Proxy, SHOP, Way, behind, gist, set_cookie,
};
use crate::sealed::{OLD, with_keys};
use crate::support::App;

const TO: &str = "/go?to=https%3A%2F%2Fyoursite.3rd-party-checkout.com";

/// Each case as a test of its own, for each proxy.
macro_rules! each {
    ($($proxy:ident = $kind:expr => [$($case:ident),*],)*) => {
        $(mod $proxy {
            use super::*;
            $(#[test] fn $case() { super::$case(&$kind); })*
        })*
    };
}

each! {
    nginx = NGINX => [
        the_shops_links_go_through_crosslink_and_the_rest_reaches_the_shop,
        every_spelling_of_an_identity_lands_and_leaves_a_clean_url,
        what_names_no_identity_reaches_the_checkout_as_it_came,
        what_a_path_tells_of_an_identity_is_not_logged,
        a_visitor_arrives_with_a_cookie_and_a_clean_url,
        a_request_has_one_id_in_both_logs,
        a_visitor_who_leaves_reaches_crosslink,
        while_crosslink_is_down_visitors_go_on_without_it,
        asked_on_the_way_every_spelling_lands_and_the_page_is_served,
        asked_on_the_way_a_token_lands_once,
        asked_on_the_way_a_visitor_leaves,
        asked_on_the_way_what_lands_nothing_gets_the_page,
        asked_on_the_way_in_vain_the_page_is_served
    ],
    haproxy = HAPROXY => [
        the_shops_links_go_through_crosslink_and_the_rest_reaches_the_shop,
        every_spelling_of_an_identity_lands_and_leaves_a_clean_url,
        what_names_no_identity_reaches_the_checkout_as_it_came,
        what_a_path_tells_of_an_identity_is_not_logged,
        a_visitor_arrives_with_a_cookie_and_a_clean_url,
        a_request_has_one_id_in_both_logs,
        a_visitor_who_leaves_reaches_crosslink,
        while_crosslink_is_down_visitors_go_on_without_it
    ],
    caddy = CADDY => [
        the_shops_links_go_through_crosslink_and_the_rest_reaches_the_shop,
        every_spelling_of_an_identity_lands_and_leaves_a_clean_url,
        what_names_no_identity_reaches_the_checkout_as_it_came,
        what_a_path_tells_of_an_identity_is_not_logged,
        a_visitor_arrives_with_a_cookie_and_a_clean_url,
        a_request_has_one_id_in_both_logs,
        a_visitor_who_leaves_reaches_crosslink,
        while_crosslink_is_down_visitors_go_on_without_it,
        asked_on_the_way_every_spelling_lands_and_the_page_is_served,
        asked_on_the_way_a_token_lands_once,
        asked_on_the_way_a_visitor_leaves,
        asked_on_the_way_what_lands_nothing_gets_the_page,
        asked_on_the_way_in_vain_the_page_is_served
    ],
    envoy = ENVOY => [
        the_shops_links_go_through_crosslink_and_the_rest_reaches_the_shop,
        every_spelling_of_an_identity_lands_and_leaves_a_clean_url,
        what_names_no_identity_reaches_the_checkout_as_it_came,
        what_a_path_tells_of_an_identity_is_not_logged,
        a_visitor_arrives_with_a_cookie_and_a_clean_url,
        a_request_has_one_id_in_both_logs,
        a_visitor_who_leaves_reaches_crosslink,
        while_crosslink_is_down_visitors_go_on_without_it,
        asked_on_the_way_every_spelling_lands_and_the_page_is_served,
        asked_on_the_way_a_token_lands_once,
        asked_on_the_way_a_visitor_leaves,
        asked_on_the_way_what_lands_nothing_gets_the_page,
        asked_on_the_way_in_vain_the_page_is_served
    ],
}

fn redirecting(kind: &'static Kind, test: impl FnOnce(&Proxy, App)) {
    behind(kind, Way::Redirect, App::with, test);
}

fn the_shops_links_go_through_crosslink_and_the_rest_reaches_the_shop(kind: &'static Kind) {
    redirecting(kind, |proxy, app| {
        let anonymous = format!("/cart?kmi={ANONYMOUS}");
        for (cookie, target, location) in [
            (BOB, "/go/checkout", "/cart?kmi=bob%40bob.com"),
            ("km_ai=fTTEi+Dx9uNZ/WYzrFM8hVkBqQY=", "/go/checkout", &anonymous),
            (&format!("km_ai={ANONYMOUS}"), "/go/checkout", &anonymous),
            (BOB, "/go/checkout/a%C3%A9/b?c=%2f+&d", "/cart/a%C3%A9/b?c=%2f+&d&kmi=bob%40bob.com"),
            (BOB, &format!("{TO}/a%2fb%3Fc%23d&e=%2f"), "/a/b?c&e=%2f&kmi=bob%40bob.com#d"),
            // Longer than what some proxies take and pass on by default.
            (BOB, &format!("{TO}/{}", "%7e".repeat(4_000)), &format!("/{}?kmi=bob%40bob.com", "~".repeat(4_000))),
            ("a=b", "/go/checkout", "/cart"),
        ] {
            proxy.expect(SHOP, target, cookie, &format!("302 https://{CHECKOUT}{location}"), None);
        }
        for (target, code) in
            [("/go?to=https://evil.example/", "not_allowed"), ("/go/other", "unknown_link"), ("/go/", "not_found")]
        {
            let own = app.get(SHOP, target).send();
            assert_eq!(own.code(), code);
            proxy.expect(SHOP, target, BOB, &gist(&own), None);
        }
        let gpc = proxy.ask(SHOP, "/.well-known/gpc.json", &[]);
        assert_eq!((gpc.status, &*gpc.body), (200, &*app.get(SHOP, "/.well-known/gpc.json").send().body));
        for target in [
            "/",
            "/gone?a=%2f+b",
            "/a%2fb/../go/./x",
            "/?kmi=x",
            "/page//?to=/go/checkout",
            "/gone/go/checkout",
            "/goal",
            "/GO/checkout",
            "/.well-known/gpc.json/x",
        ] {
            let reply = proxy.ask(SHOP, target, &["--cookie", BOB]);
            let served = proxy.served("shop", SHOP, target).split_off(4);
            assert_eq!(reply.body.trim_end(), served);
        }
    });
}

fn every_spelling_of_an_identity_lands_and_leaves_a_clean_url(kind: &'static Kind) {
    redirecting(kind, |proxy, _| {
        for (name, is_token) in spellings() {
            let target = format!("/a?b=%2f&{name}=bob%40bob.com&c");
            // `kmt` is a sealed identity, and nothing here could open one.
            let identity = (!is_token).then_some("bob%40bob.com");
            proxy.expect(CHECKOUT, &target, "", &format!("302 https://{CHECKOUT}/a?b=%2f&c"), identity);
        }
        let long = format!("/?{}", "~".repeat(8_192));
        for (target, clean, identity) in [
            ("/a%2fb/../x?kmi=1", "/a%2fb/../x", Some("1")),
            ("/go/checkout?kmi=bob", "/go/checkout", Some("bob")),
            ("/a?x=%2B+%40&kmi=bob%2B%3D%40%2f+x&y=a+b/=%zz", "/a?x=%2B+%40&y=a+b/=%zz", Some("bob%2B%3D%40%2F%20x")),
            (&format!("/?kmi={ANONYMOUS}&a=kmi"), "/?a=kmi", Some(ANONYMOUS)),
            (&format!("{long}&kmi=bob"), &long, Some("bob")),
            ("/?a;b=%&kmi=bob", "/?a;b=%", Some("bob")),
            ("/?a&kmi", "/?a", None),
            ("/?kmi=x&%6bmi=y", "/", None),
        ] {
            proxy.expect(CHECKOUT, target, "", &format!("302 https://{CHECKOUT}{clean}"), identity);
        }
    });
}

/// Every way to write a name that carries an identity, and whether that is a token.
fn spellings() -> impl Iterator<Item = (String, bool)> {
    let starts = ["km", "k%6d", "k%6D", "%6bm", "%6b%6d", "%6b%6D", "%6Bm", "%6B%6d", "%6B%6D"];
    let ends = ["i", "%69", "_i", "_%69", "%5fi", "%5f%69", "%5Fi", "%5F%69", "t", "%74"];
    let of = move |start| ends.map(|end| (format!("{start}{end}"), end == "t" || end == "%74"));
    starts.into_iter().flat_map(of)
}

/// Queries whose names only look similar.
fn near() -> impl Iterator<Item = String> {
    let near = "KMI=1 Kmi=1 xkmi=1 kmi2=1 kmi%3Dx kmi%26=1 a=kmi a=1;kmi=1 a?kmi=1 %256bmi=1 %4bmi=1 km=1 km__i=1 \
                km-i=1 km_t=1 kmi+=1 +kmi k%6=1 & %zz=1&a=%";
    near.split(' ').map(|query| format!("/&kmi&/a%2fb/../x//?{query}"))
}

fn what_names_no_identity_reaches_the_checkout_as_it_came(kind: &'static Kind) {
    redirecting(kind, |proxy, _| {
        for target in near() {
            proxy.expect(CHECKOUT, &target, BOB, &proxy.served("checkout", CHECKOUT, &target), None);
        }
    });
}

fn what_a_path_tells_of_an_identity_is_not_logged(kind: &'static Kind) {
    redirecting(kind, |proxy, _| {
        let unknown = "404 unknown_link: This site has no link of that name.";
        for path in [
            "/go/checkout%3Fkmi=bob%40bob.com",
            "/go/checkout&kmi=bob",
            "/go/bob%40bob.com",
            "/go/bob@bob.com",
            "/go/bob+news@bob.com",
            "/go/bob.smith%2Bnews%40bob.com",
            "/go/bob%2540bob.com",
        ] {
            proxy.expect(SHOP, path, BOB, unknown, None);
        }
    });
}

fn a_visitor_arrives_with_a_cookie_and_a_clean_url(kind: &'static Kind) {
    redirecting(kind, |proxy, _| {
        let jar = &proxy.places.folder.path().join("jar").display().to_string();
        std::fs::write(jar, ".yoursite.com\tTRUE\t/\tFALSE\t0\tkm_ni\tbob%40bob.com\n").unwrap();
        // Without a port, as a visitor's browser asks, and as the Locations have it.
        let link = format!("https://{SHOP}/go/checkout?lang=en");
        let hops = proxy.curl(&["--location", "--cookie", jar, "--cookie-jar", jar, &link]);
        let cart = format!("302 https://{CHECKOUT}/cart?lang=en");
        let served = format!("200 checkout: GET {CHECKOUT} /cart?lang=en");
        assert_eq!(hops.iter().map(gist).collect::<Vec<_>>(), [format!("{cart}&kmi=bob%40bob.com"), cart, served]);
        let jar = std::fs::read_to_string(jar).unwrap();
        let kept = jar.lines().find(|line| line.starts_with(".3rd-party-checkout.com\tTRUE\t/\tTRUE\t"));
        assert!(kept.is_some_and(|line| line.ends_with("\tkm_ni\tbob%40bob.com")), "{jar}");
    });
}

fn a_visitor_who_leaves_reaches_crosslink(kind: &'static Kind) {
    redirecting(kind, visitors_leave);
}

fn asked_on_the_way_a_visitor_leaves(kind: &'static Kind) {
    behind(kind, Way::SubRequest, App::with, visitors_leave);
}

fn visitors_leave(proxy: &Proxy, app: App) {
    let ends = "km_ni=; SameSite=Lax; Secure; Path=/; Domain=3rd-party-checkout.com; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    let same = ["--header", "Sec-Fetch-Site: same-origin", "--cookie", BOB];
    let other = ["--header", "Sec-Fetch-Site: cross-site", "--cookie", BOB];
    // Without a body: crosslink answers before it has come, and this curl takes what HTTP/2 says of that for a failure.
    let post = &["--request", "POST"][..];
    for (host, ended) in [(CHECKOUT, Some(ends)), (SHOP, None)] {
        let left = proxy.ask(host, "/go/forget", &[post, &same].concat());
        assert_eq!((left.status, left.set_cookie()), (204, ended), "{host}: {left:?}");
        let refused = proxy.ask(host, "/go/forget", &[post, &other].concat());
        assert_eq!((refused.status, refused.set_cookie()), (403, None), "{host}: {refused:?}");
        assert_eq!(proxy.ask(host, "/go/forget", &same).field("allow"), Some("POST"), "{host}");
    }
    proxy.expect(CHECKOUT, "/go/forgetful", BOB, &proxy.served("checkout", CHECKOUT, "/go/forgetful"), None);
    assert_same_ids(proxy, app, 6);
}

fn a_request_has_one_id_in_both_logs(kind: &'static Kind) {
    redirecting(kind, |proxy, app| {
        // An id that a visitor makes up is none.
        proxy.ask(SHOP, "/go/checkout", &["--header", "X-Request-Id: made-up"]);
        proxy.ask(CHECKOUT, "/?kmi=x", &[]);
        assert_same_ids(proxy, app, 2);
    });
}

/// Demands that crosslink logged so many requests, each with the id that it has in the proxy's log.
fn assert_same_ids(proxy: &Proxy, app: App, count: usize) {
    let access = proxy.logged();
    let log = app.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ids: Vec<String> = lines.map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), count, "{log}");
    for id in ids {
        let is_known = if proxy.kind.logs_ids { access.contains(&id) } else { id.len() == 36 };
        assert!(id != "made-up" && is_known, "{id} is not in {access}");
    }
}

fn while_crosslink_is_down_visitors_go_on_without_it(kind: &'static Kind) {
    redirecting(kind, |proxy, app| {
        // So that the proxy holds a connection that ends under its hands.
        proxy.expect(CHECKOUT, "/?kmi=x", "", &format!("302 https://{CHECKOUT}/"), Some("x"));
        let address = app.address;
        drop(app);
        assert_visitors_go_on(proxy);
        // Now connections are taken, and nobody ever answers.
        let _silent = TcpListener::bind(address).unwrap();
        assert_visitors_go_on(proxy);
    });
}

fn assert_visitors_go_on(proxy: &Proxy) {
    let cart = |target, more: &str| (SHOP, target, format!("302 https://{CHECKOUT}/cart{more}"));
    let checkout = |target| (CHECKOUT, target, proxy.served("checkout", CHECKOUT, target));
    let cases = [
        cart("/go/checkout", ""),
        cart("/go/checkout/gift-card/2?a=%2f+b&c", "/gift-card/2?a=%2f+b&c"),
        cart("/go/checkout?kmi=bob%40bob.com&a", ""),
        cart("/go/checkout/%0d%0aLocation:%2f%2fevil.example", ""),
        (SHOP, TO, "503 ".into()),
        (SHOP, "/go/other", "503 ".into()),
        (SHOP, "/", proxy.served("shop", SHOP, "/")),
        checkout("/a%2fb/../x?%6bmi=bob%40bob.com&b=%2f"),
        checkout("/"),
    ];
    // At the same time, because a proxy waits 3 s for a crosslink that is silent.
    thread::scope(|scope| {
        for (host, target, gist) in &cases {
            scope.spawn(move || proxy.expect(host, target, BOB, gist, None));
        }
    });
}

fn asked_on_the_way_every_spelling_lands_and_the_page_is_served(kind: &'static Kind) {
    behind(kind, Way::SubRequest, App::with, |proxy, app| {
        let mut asked = 0;
        let mut expect = |target: &str, cookie, identity| {
            proxy.expect(CHECKOUT, target, cookie, &proxy.served("checkout", CHECKOUT, target), identity);
            asked += 1;
        };
        for (name, is_token) in spellings() {
            let target = format!("/a?b=%2f&{name}=bob%40bob.com&c");
            expect(&target, "a=b", (!is_token).then_some("bob%40bob.com"));
        }
        for (target, cookie, identity) in [
            ("/a%2fb/../x//?kmi=1", "", Some("1")),
            ("/a?x=%2B+%40&kmi=bob%2B%3D%40%2f+x&y=a+b/=%zz", "", Some("bob%2B%3D%40%2F%20x")),
            (&format!("/?kmi={ANONYMOUS}&a=kmi"), "", Some(ANONYMOUS)),
            (&format!("/?{}&kmi=bob", "~".repeat(8_192)), "", Some("bob")),
            ("/?kmi=eve", BOB, None),
            ("/?kmi=bob%40bob.com", BOB, Some("bob%40bob.com")),
            ("/?a&kmi", "", None),
            ("/?kmi=x&%6bmi=y", "", None),
        ] {
            expect(target, cookie, identity);
        }
        for target in near() {
            proxy.expect(CHECKOUT, &target, "", &proxy.served("checkout", CHECKOUT, &target), None);
        }
        // What the checkout says stays, its own cookie and a 404 too.
        for (target, status, cookies, caches) in [
            ("/own?kmi=bob", 200, 2, &["max-age=60", "private"][..]),
            ("/gone?kmi=bob", 404, 1, &["private"]),
            ("/own", 200, 1, &["max-age=60"]),
        ] {
            let reply = proxy.ask(CHECKOUT, target, &[]);
            assert_eq!((reply.status, reply.count("set-cookie")), (status, cookies), "{target}: {reply:?}");
            let says = reply.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
            let mut says: Vec<&str> = says.flat_map(|(_, value)| value.split(',')).map(str::trim).collect();
            says.sort_unstable();
            assert_eq!(says, caches, "{target}: {reply:?}");
            asked += usize::from(target.contains('?'));
        }
        // crosslink is asked once, and only about pages whose URL names an identity.
        assert_same_ids(proxy, app, asked);
    });
}

fn asked_on_the_way_a_token_lands_once(kind: &'static Kind) {
    let start = |text: &str| with_keys(&[OLD], text, App::with);
    behind(kind, Way::SubRequest, start, |proxy, _| {
        let link = proxy.ask(SHOP, "/go/checkout?lang=en", &["--cookie", BOB]);
        let target = link.location().unwrap().strip_prefix(&format!("https://{CHECKOUT}")).unwrap().to_owned();
        assert!(target.starts_with("/cart?lang=en&kmt=v4.local."));
        let page = proxy.served("checkout", CHECKOUT, &target);
        let head = proxy.ask(CHECKOUT, &target, &["--head"]);
        assert_eq!((head.status, head.set_cookie()), (200, None), "HEAD uses nothing up");
        proxy.expect(CHECKOUT, &target, "", &page, Some("bob%40bob.com"));
        proxy.expect(CHECKOUT, &target, "", &page, None);
        proxy.expect(CHECKOUT, &target, BOB, &page, Some("bob%40bob.com"));
        proxy.expect(CHECKOUT, "/?kmi=eve", "", &proxy.served("checkout", CHECKOUT, "/?kmi=eve"), None);
    });
}

/// A location that sends the request on makes nginx begin again, and a token lands once.
#[test]
fn nginx_asks_once_however_often_it_begins_again() {
    let start = |text: &str| with_keys(&[OLD], text, App::with);
    behind(&NGINX, Way::SubRequest, start, |proxy, app| {
        let link = proxy.ask(SHOP, "/go/checkout", &["--cookie", BOB]);
        let (_, query) = link.location().unwrap().split_once('?').unwrap();
        let target = format!("/tried?{query}");
        proxy.expect(CHECKOUT, &target, "", &proxy.served("checkout", CHECKOUT, "/"), Some("bob%40bob.com"));
        assert_same_ids(proxy, app, 2);
    });
}

fn asked_on_the_way_what_lands_nothing_gets_the_page(kind: &'static Kind) {
    behind(kind, Way::SubRequest, App::with, |proxy, app| {
        let says = |method: &str| format!("checkout: {method} {CHECKOUT}:{} /?kmi=bob\n", proxy.places.proxy.port());
        for (more, body, identity) in [
            (&["--header", "Sec-Fetch-Dest: document"][..], says("GET"), Some("bob")),
            (&["--header", "Sec-Fetch-Dest: image"], says("GET"), None),
            (&["--header", "Sec-Fetch-Mode: cors"], says("GET"), None),
            (&["--header", "Sec-GPC: 1"], says("GET"), None),
            (&["--header", "Sec-Purpose: prefetch"], says("GET"), None),
            (&["--head"], String::new(), None),
            (&["--data", "a=1&kmi=bob"], says("POST") + "a=1&kmi=bob", Some("bob")),
            (&["--request", "DELETE"], says("DELETE"), None),
            // What a visitor says in the proxy's name is not heard.
            (&["--header", "X-Original-URI: /?kmi=eve"], says("GET"), Some("bob")),
            (&["--header", "X-Forwarded-Uri: /?kmi=eve"], says("GET"), Some("bob")),
            (&["--header", "X-Original-Method: HEAD"], says("GET"), Some("bob")),
        ] {
            let reply = proxy.ask(CHECKOUT, "/?kmi=bob", more);
            assert_eq!((reply.status, &*reply.body), (200, &*body), "{more:?}");
            assert_eq!(reply.set_cookie(), set_cookie(identity).as_deref(), "{more:?}");
            proxy.assert_guarded(&reply);
        }
        let own = proxy.ask(CHECKOUT, "/", &["--header", "X-Original-URI: /?kmi=eve"]);
        assert_eq!(own.set_cookie(), None);
        assert_same_ids(proxy, app, 11);
    });
}

fn asked_on_the_way_in_vain_the_page_is_served(kind: &'static Kind) {
    let without_landing = |text: &str| App::with(&text.replace("    landing: {}", "    #"));
    let page = |proxy: &Proxy| {
        let target = "/a%2fb/../x?%6bmi=bob%40bob.com&b=%2f";
        proxy.expect(CHECKOUT, target, "", &proxy.served("checkout", CHECKOUT, target), None);
        let form = proxy.ask(CHECKOUT, "/order?kmi=bob", &["--data", "a=1"]);
        assert!(form.body.ends_with("/order?kmi=bob\na=1"), "{form:?}");
    };
    behind(kind, Way::SubRequest, without_landing, |proxy, app| {
        page(proxy);
        let address = app.address;
        assert!(app.log().contains(r#""outcome":"not_found","status":200"#), "the operator can see his mistake");
        page(proxy);
        let _silent = TcpListener::bind(address).unwrap();
        page(proxy);
    });
}
