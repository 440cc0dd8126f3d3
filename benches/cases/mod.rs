//! What the benches of the core decide: rules of some size, and a request with a browser's cookies.

use std::fmt::Write;
use std::hint::black_box;

use crosslink::config;
use crosslink::link::{Decision, Linker, Refusal, Visit};

/// Rules and a request.
pub struct Case {
    linker: Linker,
    host: &'static str,
    path: &'static str,
    query: Option<String>,
    cookies: Vec<u8>,
}

/// All cases; their names are those that the benches print.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `/go/checkout`.
    Link,
    /// `/go?to=`, escaped as `encodeURIComponent` does.
    To,
    /// The same, for a browser without an identity.
    ToWithoutIdentity,
    /// The same to a host below a `*.` entry.
    ToWildcard,
    /// A destination that only the parser can read.
    ToParsed,
    /// A landing that sets a cookie.
    Landing,
    /// A destination off the allow-list.
    Refused,
    /// `to` of 4,096 bytes, all of them escaped.
    LongTo,
    /// A `to` that the parser must escape nearly whole.
    HostileTo,
    /// Cookies of 32 KiB, each of which begins like the one that is looked for.
    ManyCookies,
    /// A host of as many labels as a `to` can hold.
    ManyLabels,
}

impl Case {
    /// A case over rules with so many destination hosts.
    pub fn new(kind: Kind, hosts: usize) -> Self {
        let to = |to: &str| Some(format!("to={}", escape(to)));
        let mut host = "www.yoursite.com";
        let mut path = "/go";
        let mut cookies = COOKIES.as_bytes().to_vec();
        let query = match kind {
            Kind::Link => {
                path = "/go/checkout";
                None
            }
            Kind::To => to(TO),
            Kind::ToWithoutIdentity => {
                cookies = COOKIES.replace("km_ni", "km_xi").replace("km_ai", "km_yi").into_bytes();
                to(TO)
            }
            Kind::ToWildcard => to("https://pay.wild.example/cart?sku=1"),
            Kind::ToParsed => to("https://checkout.yourshop.example/caf\u{e9}/cart?sku=1"),
            Kind::Landing => {
                host = "checkout.yourshop.example";
                path = "/cart";
                cookies = COOKIES.replace("km_ni", "km_xi").into_bytes();
                Some("sku=widget-9000&ref=home&kmi=bob%40bob.com".to_owned())
            }
            Kind::Refused => to("https://evil.example/cart?sku=widget-9000"),
            Kind::LongTo => {
                let long = format!("{TO}&x={}", "y".repeat(4096));
                Some(long.bytes().take(4096).fold("to=".to_owned(), |text, byte| format!("{text}%{byte:02X}")))
            }
            Kind::HostileTo => to(&format!("https://checkout.yourshop.example/{}", "<'".repeat(2000))),
            Kind::ManyCookies => {
                cookies = b"km_n=km_ni; ".repeat(2730);
                to(TO)
            }
            Kind::ManyLabels => to(&format!("https://{}wild.example/", "a.".repeat(2000))),
        };
        let case = Self { linker: linker(hosts), host, path, query, cookies };
        // What is done once in a process is done now.
        assert!(case.decide(|decision| kind.is_answered_by(&decision)), "{kind:?}");
        case
    }

    /// Decides, and lets the answer be looked at.
    pub fn decide<T>(&self, look: impl FnOnce(Decision<'_>) -> T) -> T {
        look(black_box(&self.linker).decide(black_box(&Visit {
            query: self.query.as_deref(),
            cookies: &[&self.cookies],
            now: 1_795_000_000,
            fetch_mode: Some(b"navigate"),
            fetch_dest: Some(b"document"),
            user_agent: Some(b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0"),
            ..Visit::of(self.host, self.path)
        })))
    }
}

impl Kind {
    fn is_answered_by(self, decision: &Decision<'_>) -> bool {
        match self {
            Self::Landing => matches!(decision, Decision::Land(land) if land.set_cookie.is_some()),
            Self::Refused | Self::ManyLabels => decision.refusal() == Some(Refusal::NotAllowed),
            Self::ToWithoutIdentity | Self::ManyCookies => {
                matches!(decision, Decision::HandOff(hand_off) if hand_off.carried.is_err())
            }
            Self::HostileTo => matches!(decision, Decision::HandOff(_) | Decision::Refuse(Refusal::BadTo, _)),
            _ => matches!(decision, Decision::HandOff(hand_off) if hand_off.carried.is_ok()),
        }
    }
}

/// One pair with so many destinations, of which the requests name a few.
fn linker(hosts: usize) -> Linker {
    let mut text = "
pairs:
  - name: own
    origin: www.yoursite.com
    links: { checkout: \"https://checkout.yourshop.example/cart?sku=widget-9000\" }
    landing: {}
    destination:
      - checkout.yourshop.example
      - \"*.wild.example\"
"
    .to_owned();
    for number in 2..hosts {
        let _ = writeln!(text, "      - shop{number}.example");
    }
    config::parse(&text).map_or_else(|_| unreachable!("the configuration is right"), |config| config.linker)
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) => format!("{text}{}", char::from(byte)),
        byte => format!("{text}%{byte:02X}"),
    })
}

const TO: &str = "https://checkout.yourshop.example/cart?sku=widget-9000&ref=home";

/// What the browser of a visitor brings along who has been to a few shops: 19 cookies of 805 bytes.
const COOKIES: &str = "_ga=GA1.2.1834567890.1699999999; _gid=GA1.2.987654321.1700000000; _gat_UA-1234567-1=1; \
    _fbp=fb.1.1699999999999.1234567890; _gcl_au=1.1.1234567890.1699999999; \
    __utma=111872281.1834567890.1699999999.1699999999.1700000000.2; optimizelyEndUserId=oeu1699999999999r0.8123456789; \
    km_lv=1700000000; km_ai=fTTEiDDx9uNZXWYzrFM8hVkBqQY%3D; km_ni=bob%40bob.com; km_vs=1; km_uq=; kvcd=1699999999999; \
    __hstc=111872281.0a1b2c3d4e5f60718293a4b5c6d7e8f9.1699999999999.1699999999999.1700000000000.2; \
    hubspotutk=0a1b2c3d4e5f60718293a4b5c6d7e8f9; ajs_anonymous_id=%226f1c2c1e-6f3a-4d2b-9a51-0d8c7e6f5a4b%22; \
    mp_0a1b2c3d_mixpanel=%7B%22distinct_id%22%3A%2218bd0f6a1b2c3d-0e4f5a6b7c8d9e%22%7D; \
    intercom-id-abcd1234=6f1c2c1e-6f3a-4d2b-9a51-0d8c7e6f5a4b; _hjSessionUser_1234567=eyJpZCI6IjFkYzA4YTgwIn0=";
