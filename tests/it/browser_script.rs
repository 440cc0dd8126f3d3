//! The auto-link script in real browsers: what is clicked goes through crosslink, and the page stays as it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::support::{App, CONFIG, eventually, needs, repository};
use crate::webdriver::{Browser, Kind};

const SHOP: &str = "www.yoursite.localhost";
const PAY: &str = "pay.localhost";

/// A web server for all the sites of a test, on one port: the shop, in front of a crosslink, and wherever its links
/// lead.
struct Sites {
    port: u16,
    app: App,
    /// The requests that came to other sites: method, host, target and body.
    arrived: Arc<Mutex<Vec<String>>>,
}

impl Sites {
    /// `configuration` is given the port.
    fn start(configuration: impl Fn(u16) -> String, page: fn(u16) -> String) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let app = App::with(&configuration(port));
        let (crosslink, arrived) = (app.address, Arc::<Mutex<Vec<String>>>::default());
        let seen = Arc::clone(&arrived);
        // The thread ends with the test program.
        thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream, crosslink, &page(port), &seen));
            }
        });
        Self { port, app, arrived }
    }

    fn at(&self, host: &str, target: &str) -> String {
        format!("http://{host}:{}{target}", self.port)
    }

    /// Opens the shop's page as Bob, and waits until the script has its list.
    fn open(&self, browser: &Browser, target: &str) {
        let shop = self.at(SHOP, target);
        // A page that was on its way already may still take its place.
        eventually("the shop", || {
            browser.go(&shop);
            (browser.url() == shop).then_some(())
        });
        browser.add_cookie(&json!({ "name": "km_ni", "value": "bob" }));
        self.arrived.lock().unwrap().clear();
        if target != "/without" {
            eventually("the script's list", || routes(browser, &self.at(PAY, "/")).then_some(()));
        }
    }

    /// Waits for the one request that something led to.
    fn arrives(&self, expected: &str, what: &str) {
        let first = eventually(what, || self.arrived.lock().unwrap().first().cloned());
        assert_eq!(first, expected, "{what}");
    }
}

/// Whether the script would send an address through crosslink.
fn routes(browser: &Browser, url: &str) -> bool {
    let asked = browser.script("return window.crosslink ? crosslink.url(arguments[0]) : arguments[0]", &[url]);
    asked.as_str().unwrap().contains("/go?to=")
}

/// Answers one request: the shop's page, what crosslink says, or a site that takes note of it.
fn serve(mut stream: TcpStream, crosslink: SocketAddr, page: &str, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let field = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    };
    let mut body = vec![0; field("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let host = field("host").split(':').next().unwrap();
    if host == SHOP && target.starts_with("/go") {
        // As a proxy says it whose upstream is down.
        let Ok(mut upstream) = TcpStream::connect(crosslink) else {
            let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        };
        let ask = head.replacen("\r\n", "\r\nConnection: close\r\n", 1).replace("Connection: keep-alive\r\n", "");
        upstream.write_all(ask.as_bytes()).unwrap();
        upstream.write_all(&body).unwrap();
        let mut reply = Vec::new();
        let _ = upstream.read_to_end(&mut reply);
        let _ = stream.write_all(&reply);
        return;
    }
    let (policy, page) = if host == SHOP {
        ("default-src 'none'; script-src 'self'; connect-src 'self'", page.to_owned())
    } else {
        if !target.contains("favicon") {
            let body = String::from_utf8_lossy(&body);
            seen.lock().unwrap().push(format!("{method} {host}{target} {body}").trim_end().to_owned());
        }
        ("default-src 'none'", "<!doctype html><title>there</title>".to_owned())
    };
    // As a visitor's comment could hold it, on a site that cleans comments of scripts alone.
    let image = "<img name=currentScript src=\"http://evil.localhost/link.js\"><script";
    let page = if target == "/clobbered" { page.replace("<script", image) } else { page };
    let page = if target == "/based" {
        page.replace("<script src", "<script async src")
            .replace("</script>", "</script><base href='http://evil.localhost/'>")
    } else {
        page
    };
    let page = if target == "/without" { page.replace("<script", "<!--").replace("</script>", "-->") } else { page };
    let fields = "Content-Type: text/html; charset=utf-8\r\nConnection: close";
    let length = page.len();
    let head =
        format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Security-Policy: {policy}\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream.write_all((head + &page).as_bytes());
}

fn configuration(port: u16) -> String {
    format!(
        "pairs: [{{ origin: \"{SHOP}:{port}\", destination: [\"http://{PAY}:{port}\", \"http://*.wild.localhost:{port}\"] }}]"
    )
}

/// A page under a strict policy, which also holds the script to the hash of its file.
fn page(port: u16) -> String {
    let hash = sha384_of_the_script();
    format!(
        r#"<!doctype html><meta charset="utf-8"><title>shop</title>
<script src="/go/link.js" integrity="sha384-{hash}"></script>
<a id="plain" href="http://{PAY}:{port}/cart?a=1#top">plain</a>
<a id="wild" href="http://a.b.wild.localhost:{port}/">wild</a>
<a id="blank" href="http://{PAY}:{port}/blank" target="_blank">new window</a>
<a id="noopener" href="http://{PAY}:{port}/noopener" target="_blank" rel="noopener">new window</a>
<a id="inner" href="http://{PAY}:{port}/inner"><b id="bold">bold</b></a>
<a id="download" href="http://{PAY}:{port}/file" download>file</a>
<a id="other" href="http://other.localhost:{port}/">elsewhere</a>
<a id="own" href="/own">here</a>
<form id="get" action="http://{PAY}:{port}/search?lost=1"><input name="q" value="a b&c"><button id="get-go">get</button></form>
<form id="post" method="post" action="http://{PAY}:{port}/pay?n=1"><input name="card" value="4 1"><button id="post-go">post</button>
<button id="other-go" formaction="http://{PAY}:{port}/other" formmethod="get" name="by" value="button">elsewhere</button></form>
<form id="taken" action="http://{PAY}:{port}/taken"><input name="to" value="me"><button id="taken-go">get</button></form>
<div id="host"></div>"#
    )
}

fn sha384_of_the_script() -> String {
    let script = repository("src/http/link.js");
    let said = std::process::Command::new("sh")
        .args(["-c", "openssl dgst -sha384 -binary \"$0\" | openssl base64 -A"])
        .arg(script)
        .output()
        .unwrap();
    String::from_utf8(said.stdout).unwrap()
}

fn start(kind: Kind) -> Option<(Sites, Browser)> {
    start_with(configuration, kind)
}

fn start_with(configuration: fn(u16) -> String, kind: Kind) -> Option<(Sites, Browser)> {
    let [browser, driver] = kind.programs();
    needs(&[browser, driver, "openssl"]).then(|| (Sites::start(configuration, page), Browser::of(kind)))
}

/// Makes each test one for each browser.
macro_rules! in_each_browser {
    ($($test:ident)*) => {
        mod chromium {
            $(#[test] fn $test() { super::$test(crate::webdriver::Kind::Chromium); })*
        }
        mod firefox {
            $(#[test] fn $test() { super::$test(crate::webdriver::Kind::Firefox); })*
        }
    };
}

in_each_browser! {
    whatever_is_clicked_takes_the_visitor_along
    the_page_sees_its_own_addresses
    what_is_added_later_is_seen_at_the_click
    forms_arrive_with_their_fields
    a_script_of_the_page_asks_for_an_address
    what_the_page_cancels_and_what_is_no_visit_is_left_alone
    without_crosslink_links_are_plain
    an_element_that_pretends_to_be_the_script_routes_nothing
    what_a_page_names_or_says_strangely_leads_where_it_led
    ten_thousand_links_are_not_touched_before_a_click
    the_script_judges_every_address_as_the_server_does
}

/// What a visitor does.
type Act<'a> = Box<dyn Fn(&Browser) + 'a>;

fn whatever_is_clicked_takes_the_visitor_along(kind: Kind) {
    let Some((sites, browser)) = start(kind) else { return };
    let click = |css: &'static str| move |browser: &Browser| browser.click(css);
    let with = |button, key| move |browser: &Browser| browser.click_with("#plain", button, key);
    let cases: [(&str, Act<'_>, &str); 10] = [
        ("a left click", Box::new(click("#plain")), "GET pay.localhost/cart?a=1&kmi=bob"),
        ("a middle click", Box::new(with(1, None)), "GET pay.localhost/cart?a=1&kmi=bob"),
        ("Ctrl and a click", Box::new(with(0, Some("\u{e009}"))), "GET pay.localhost/cart?a=1&kmi=bob"),
        ("Shift and a click", Box::new(with(0, Some("\u{e008}"))), "GET pay.localhost/cart?a=1&kmi=bob"),
        ("Enter", Box::new(|browser| browser.type_into("#plain", "\u{e007}")), "GET pay.localhost/cart?a=1&kmi=bob"),
        ("a new window", Box::new(click("#blank")), "GET pay.localhost/blank?kmi=bob"),
        ("a new window of its own", Box::new(click("#noopener")), "GET pay.localhost/noopener?kmi=bob"),
        ("something in the link", Box::new(click("#bold")), "GET pay.localhost/inner?kmi=bob"),
        ("a host below `*.`", Box::new(click("#wild")), "GET a.b.wild.localhost/?kmi=bob"),
        ("a link elsewhere", Box::new(click("#other")), "GET other.localhost/"),
    ];
    for (what, act, expected) in cases {
        sites.open(&browser, "/");
        act(&browser);
        sites.arrives(expected, what);
    }
}

fn the_page_sees_its_own_addresses(kind: Kind) {
    let Some((sites, browser)) = start(kind) else { return };
    sites.open(&browser, "/");
    let shown = sites.at(PAY, "/blank");
    browser.script(
        "window.seen = []; document.querySelector('#blank').addEventListener('click', event => seen.push(event.currentTarget.href));
         document.addEventListener('click', event => seen.push(event.target.href));",
        &[],
    );
    browser.click("#blank");
    sites.arrives("GET pay.localhost/blank?kmi=bob", "a click");
    assert_eq!(browser.script("return seen", &[]), json!([shown, shown]), "while it is clicked");
    eventually("its own address", || (browser.attribute("#blank", "href") == Some(shown.clone())).then_some(()));
    assert_eq!(browser.script("return Object.keys(crosslink)", &[]), json!(["url"]));
    let form = browser.script("return document.querySelector('#get').outerHTML", &[]);
    browser.script("document.querySelector('#get').target = '_blank'", &[]);
    browser.click("#get-go");
    eventually("its own form", || {
        browser.script("document.querySelector('#get').removeAttribute('target')", &[]);
        (browser.script("return document.querySelector('#get').outerHTML", &[]) == form).then_some(())
    });
}

fn what_is_added_later_is_seen_at_the_click(kind: Kind) {
    let Some((sites, browser)) = start(kind) else { return };
    let late = "const link = document.createElement('a'); link.id = 'late'; link.href = arguments[0]; link.textContent = 'late';";
    for (what, place, click) in [
        ("a late link", "document.body.append(link)", "document.querySelector('#late').click()"),
        (
            "a link in a shadow root",
            "document.querySelector('#host').attachShadow({ mode: 'open' }).append(link)",
            "document.querySelector('#host').shadowRoot.querySelector('a').click()",
        ),
        (
            "a link after the page's route has changed",
            "document.body.append(link); history.pushState({}, '', '/deep/route')",
            "document.querySelector('#late').click()",
        ),
        (
            "a link that has got another address",
            "link.href = '/own'; document.body.append(link); link.href = arguments[0]",
            "document.querySelector('#late').click()",
        ),
    ] {
        sites.open(&browser, "/");
        browser.script(&format!("{late} {place}"), &[&sites.at(PAY, "/late")]);
        browser.script(click, &[]);
        sites.arrives("GET pay.localhost/late?kmi=bob", what);
    }
}

fn forms_arrive_with_their_fields(kind: Kind) {
    let Some((sites, browser)) = start(kind) else { return };
    for (button, expected) in [
        ("#get-go", "GET pay.localhost/search?q=a+b%26c&kmi=bob"),
        ("#post-go", "POST pay.localhost/pay?n=1&kmi=bob card=4+1"),
        ("#other-go", "GET pay.localhost/other?card=4+1&by=button&kmi=bob"),
        ("#taken-go", "GET pay.localhost/taken?to=me"),
    ] {
        sites.open(&browser, "/");
        browser.click(button);
        sites.arrives(expected, button);
    }
}

fn a_script_of_the_page_asks_for_an_address(kind: Kind) {
    let Some((sites, browser)) = start(kind) else { return };
    for (what, script) in [
        ("window.open", "window.open(crosslink.url(arguments[0]))"),
        ("location", "location.href = crosslink.url(arguments[0])"),
    ] {
        sites.open(&browser, "/");
        browser.script(script, &[&sites.at(PAY, "/asked")]);
        sites.arrives("GET pay.localhost/asked?kmi=bob", what);
    }
}

fn what_the_page_cancels_and_what_is_no_visit_is_left_alone(kind: Kind) {
    let Some((sites, browser)) = start(kind) else { return };
    sites.open(&browser, "/");
    let cancelled = "window.last = null; addEventListener('click', event => { window.last = event.target.href; event.preventDefault(); });";
    browser.script(cancelled, &[]);
    browser.script("document.querySelector('#download').click()", &[]);
    assert_eq!(browser.script("return last", &[]), json!(sites.at(PAY, "/file")), "a download");
    browser.click_with("#plain", 0, Some("\u{e00a}"));
    assert_eq!(browser.script("return last", &[]), json!(sites.at(PAY, "/cart?a=1#top")), "a click with Alt");
    browser.script("document.querySelector('#own').click()", &[]);
    assert_eq!(browser.script("return last", &[]), json!(sites.at(SHOP, "/own")), "a link on the site");
    browser.script("document.addEventListener('click', event => event.preventDefault())", &[]);
    browser.click("#plain");
    assert_eq!(
        browser.script("return last", &[]),
        json!(sites.at(PAY, "/cart?a=1#top")),
        "what the page has cancelled"
    );
    assert_eq!(*sites.arrived.lock().unwrap(), [""; 0]);
}

fn without_crosslink_links_are_plain(kind: Kind) {
    let Some((mut sites, browser)) = start(kind) else { return };
    sites.app.stop();
    sites.app.ended();
    for target in ["/", "/without"] {
        browser.go(&sites.at(SHOP, target));
        sites.arrived.lock().unwrap().clear();
        browser.click("#plain");
        sites.arrives("GET pay.localhost/cart?a=1", target);
    }
}

fn an_element_that_pretends_to_be_the_script_routes_nothing(kind: Kind) {
    let Some((sites, browser)) = start(kind) else { return };
    browser.go(&sites.at(SHOP, "/clobbered"));
    assert_eq!(
        browser.script("return [document.currentScript.localName, typeof crosslink]", &[]),
        json!(["img", "undefined"])
    );
    browser.click("#plain");
    sites.arrives("GET pay.localhost/cart?a=1", "a plain link");
}

fn what_a_page_names_or_says_strangely_leads_where_it_led(kind: Kind) {
    let own = |port| {
        format!(
            "pairs: [{{ origin: \"{SHOP}:{port}\", destination: [\"http://{PAY}:{port}\", \"http://*.yoursite.localhost:{port}\"] }}]"
        )
    };
    let Some((sites, browser)) = start_with(own, kind) else { return };
    sites.open(&browser, "/");
    let links = json!(["#top", "/go/checkout", "/search?q=1"]);
    let asked = "return ['#top', '/go/checkout', '/search?q=1'].map(href => crosslink.url(href))";
    assert_eq!(browser.script(asked, &[]), links, "the site's own, which a `*.` admits too");
    let form = "document.body.insertAdjacentHTML('beforeend', arguments[0]); document.querySelector('#go').click()";
    let with = |form: &str| form.replace("PAY", &sites.at(PAY, ""));
    browser.script(form, &[&with("<form action='PAY/s'><input name=append value=1><button id=go>go</button></form>")]);
    sites.arrives("GET pay.localhost/s?append=1&kmi=bob", "a field named as what the script calls");
    sites.open(&browser, "/");
    browser.script(form, &[&with("<form method=post action='PAY/p'><button id=go formaction=''>go</button></form>")]);
    sites.open(&browser, "/based");
    browser.click("#plain");
    // That form went to the page itself; and a `base` that came behind the script's own line moves nothing.
    sites.arrives("GET pay.localhost/cart?a=1&kmi=bob", "a link below a `base`");
}

fn ten_thousand_links_are_not_touched_before_a_click(kind: Kind) {
    let Some((sites, browser)) = start(kind) else { return };
    sites.open(&browser, "/");
    let fill = "for (let number = 0; number < 10000; number++) {
            const link = document.createElement('a'); link.href = arguments[0] + number; document.body.append(link);
        }
        window.changes = 0;
        new MutationObserver(list => window.changes += list.length).observe(document, { subtree: true, attributes: true, childList: true });";
    browser.script(fill, &[&sites.at(PAY, "/p")]);
    let took = browser.script(
        "addEventListener('click', event => event.preventDefault());
         const links = document.querySelectorAll('a'), took = [];
         for (let number = 0; number < 100; number++) {
             const start = performance.now(); links[links.length - 1 - number].click(); took.push(performance.now() - start);
         }
         return { changes, median: took.sort((a, b) => a - b)[50] };",
        &[],
    );
    assert_eq!(took["changes"], 0, "before the first click");
    println!("a click among 10,000 links takes {} ms", took["median"]);
}

/// The script and the server say the same of every address in the tables of attacks and of honest links.
fn the_script_judges_every_address_as_the_server_does(kind: Kind) {
    let configuration = |port: u16| {
        CONFIG
            .replace("origin: www.yoursite.com", &format!("origin: \"{SHOP}:{port}\""))
            .replace("origin: [www.yoursite.com, \"www.yoursite.com:8443\"", &format!("origin: [\"{SHOP}:{port}\""))
    };
    let Some((sites, browser)) = start_with(configuration, kind) else { return };
    browser.go(&sites.at(SHOP, "/"));
    eventually("the script's list", || routes(&browser, "https://ok.example/").then_some(()));
    let mut addresses: Vec<String> = ["attacks.txt", "honest.txt"].into_iter().flat_map(addresses).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert!(addresses.len() >= 200, "{}", addresses.len());
    // What the browser follows, which is what the script would send, and what it makes of it.
    let ask = "return JSON.parse(arguments[0]).map(text => {
        try { return [new URL(text, document.baseURI).href, crosslink.url(text)]; } catch { return ['', crosslink.url(text)]; }
    })";
    let said = browser.script(ask, &[&json!(addresses).to_string()]);
    let (mut admitted, mut differ) = (0, Vec::new());
    for (address, said) in addresses.iter().zip(said.as_array().unwrap()) {
        let [href, said] = [&said[0], &said[1]].map(|text| text.as_str().unwrap());
        let to: String = percent_encoding::utf8_percent_encode(href, percent_encoding::NON_ALPHANUMERIC).collect();
        let host = format!("{SHOP}:{}", sites.port);
        let server = sites.app.get(&host, &format!("/go?to={to}")).send().status == 302;
        if said.starts_with(&sites.at(SHOP, "/go?to=")) != server {
            differ.push((address, href, server));
        }
        admitted += usize::from(server);
    }
    println!("{} addresses, {admitted} of them admitted", addresses.len());
    assert_eq!(differ, [], "the server says otherwise");
    assert!(admitted > 50 && admitted < addresses.len() - 50, "{admitted}");
}

/// The values of `to` in a table, decoded as the server does it.
fn addresses(file: &str) -> Vec<String> {
    let cases = crate::attacks::table(file);
    let targets = cases.iter().filter_map(|case| {
        let line = case.request.split(|byte| *byte == b'\r').next()?;
        let (_, to) = str::from_utf8(line).ok()?.split_once("/go?to=")?;
        let to = to.split(['&', ' ']).next()?;
        percent_encoding::percent_decode_str(to).decode_utf8().ok().map(String::from)
    });
    targets.collect()
}
