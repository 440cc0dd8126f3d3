//! What is asked: the requests of browsers that bring along what a shop and its tools have put into their cookies.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// One request, but for what every browser says.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its `Host`.
    pub host: String,
    /// Path and query.
    pub target: String,
}

impl Request {
    /// Its whole head.
    pub fn head(&self) -> String {
        format!("GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n", self.target, self.host, browser(false))
    }
}

/// The lines that every request has. With `is_last` it asks for the connection to be closed.
fn browser(is_last: bool) -> String {
    let mut lines: String = fields().fold(String::new(), |lines, field| lines + field + "\r\n");
    if is_last {
        lines.push_str("Connection: close\r\n");
    }
    lines
}

/// What a browser says with every request, but for the host.
pub fn fields() -> impl Iterator<Item = &'static str> {
    include_str!("browser.txt").lines()
}

/// That many hosts: first some as they are in life, short and long, then made-up ones.
pub fn hosts(count: usize) -> Vec<String> {
    let made_up = (0_u32..).map(|number| format!("shop-{number:06}.mall-{}.example.com", number % 997));
    HOSTS.iter().map(|host| (*host).to_owned()).chain(made_up).take(count).collect()
}

/// Hand-offs by `to`, to the hosts in turn.
pub fn hand_offs(hosts: &[String]) -> Vec<Request> {
    let from = |_: usize| ORIGIN.to_owned();
    spread(hosts, from)
}

/// The same where each host has an origin of its own.
pub fn hand_offs_of_pairs(hosts: &[String]) -> Vec<Request> {
    spread(hosts, origin_of)
}

/// The origin that belongs to the host of that number.
pub fn origin_of(number: usize) -> String {
    format!("www-{number:06}.yoursite.com")
}

fn spread(hosts: &[String], origin: impl Fn(usize) -> String) -> Vec<Request> {
    // No more than a cache may well hold, and yet from the whole list.
    let step = (hosts.len() / MOST_REQUESTS).max(1);
    let chosen: Vec<_> = hosts.iter().enumerate().step_by(step).take(MOST_REQUESTS).collect();
    let count = chosen.len().max(FEWEST_REQUESTS);
    let request = |((number, host), shape): ((usize, &String), &&str)| {
        let url = format!("https://{host}{shape}");
        Request { host: origin(number), target: format!("/go?to={}", utf8_percent_encode(&url, COMPONENT)) }
    };
    chosen.into_iter().cycle().zip(SHAPES.iter().cycle()).take(count).map(request).collect()
}

/// A named link, with a query of its own.
pub fn links() -> Vec<Request> {
    vec![Request { host: ORIGIN.to_owned(), target: "/go/checkout?sku=123&qty=1".to_owned() }]
}

/// Arrivals on the hosts in turn, with a plain identity.
pub fn landings(hosts: &[String]) -> Vec<Request> {
    let arrival = |(host, shape): (&String, &&str)| {
        let page = shape.split_once('#').map_or(*shape, |(page, _)| page);
        let joint = if page.contains('?') { '&' } else { '?' };
        let path = if page.starts_with('/') { "" } else { "/" };
        Request { host: host.clone(), target: format!("{path}{page}{joint}kmi=bob%40bob.com") }
    };
    hosts.iter().cycle().zip(SHAPES.iter().cycle()).take(FEWEST_REQUESTS).map(arrival).collect()
}

/// A script for wrk that sends the requests in turn. With `is_last` each is the only one on its connection.
pub fn script(requests: &[Request], is_last: bool) -> String {
    let mut starts = String::new();
    for request in requests {
        // Both are plain ASCII without a quote, so Rust quotes them as Lua does.
        let start = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", request.target, request.host);
        // Writing into a `String` can't fail.
        let _ = writeln!(starts, "    {start:?},");
    }
    let rest = format!("{}\r\n", browser(is_last));
    format!(
        "local rest = {rest:?}\n\
         local requests = {{\n{starts}}}\n\
         for number, start in ipairs(requests) do requests[number] = start .. rest end\n\
         local turn = 0\n\
         function request()\n    turn = turn % #requests + 1\n    return requests[turn]\nend\n"
    )
}

/// The origin of all pairs but those of their own.
pub const ORIGIN: &str = "www.yoursite.com";

const HOSTS: [&str; 10] = [
    "yoursite.3rd-party-checkout.com",
    "checkout.yourshop.example",
    "shop.example.com",
    "m.example.net",
    "tickets.example.org",
    "help.yoursite.com",
    "blog.yourshop.example",
    "pay.a-provider-with-a-long-name.example.co.uk",
    "a.example",
    "xn--bcher-kva.example",
];

/// What stands behind the host: from nothing to a campaign's address.
const SHAPES: [&str; 9] = [
    "/cart",
    "/cart/checkout?sku=123&qty=1",
    "/order/9f8e7d6c",
    "/products/lamp-12?ref=home&utm_source=mail&utm_campaign=spring%20sale#reviews",
    "/#top",
    "",
    "/some/long/way/to/the-landing-page-of-a-campaign.html?x=1",
    "/p?id=42",
    "/search?q=a&in=b#c",
];

const FEWEST_REQUESTS: usize = 90;
const MOST_REQUESTS: usize = 1024;

/// What `encodeURIComponent` escapes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
