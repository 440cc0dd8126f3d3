//! The sites of the demo, with crosslink in front of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{LOCATION, REFERER};
use hyper::http::request::Parts;
use hyper::{Method, Response, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::page::{escape, file, html, rows};
use crate::http::content::Content;
use crate::http::handler::Handler;
use crate::http::head;
use crate::http::server::{self, Answer, Answered};
use crate::link::{self, CookieName, HostPort, Identity, Parameter, Visit, is_opt_out, read_cookie};

/// A shop and two checkouts.
pub(super) struct Sites {
    crosslink: Handler,
    port: u16,
    /// The operator's port.
    status: SocketAddr,
    /// The cookies of the KISSmetrics script, the better one first.
    cookies: [CookieName; 2],
    parameter: Parameter,
    /// Who was in the shop last, so that a checkout can say whether it got the same.
    last_seen: Mutex<Option<Identity<'static>>>,
}

/// What a request asks of the sites themselves.
enum Asked {
    Shop,
    Replay,
    Cart,
    File(Response<Content>),
}

impl Answer for Sites {
    fn answer(&self, head: Parts, peer: IpAddr) -> Answered<'_> {
        match visit(&head, |visit| self.asked(visit)) {
            Some(Asked::Shop) => server::now(visit(&head, |visit| self.shop(visit))),
            Some(Asked::Replay) => server::later(self.replay(head, peer)),
            Some(Asked::Cart) => server::now(self.cart(&head, &[])),
            Some(Asked::File(file)) => server::now(file),
            None => self.crosslink.answer(head, peer),
        }
    }

    fn answer_with_body(&self, head: Parts, body: Incoming, peer: IpAddr) -> Answered<'_> {
        let is_form =
            head.method == Method::POST && matches!(visit(&head, |visit| self.asked(visit)), Some(Asked::Cart));
        if !is_form {
            return self.answer(head, peer);
        }
        server::later(async move {
            let form = Limited::new(body, LONGEST_FORM).collect().await;
            self.cart(&head, &form.map(http_body_util::Collected::to_bytes).unwrap_or_default())
        })
    }

    fn unreadable(&self, too_large: bool) {
        self.crosslink.unreadable(too_large);
    }

    fn opened(&self) {
        self.crosslink.opened();
    }

    fn closed(&self) {
        self.crosslink.closed();
    }
}

impl Sites {
    /// Sites on this port, whose operator's port is `status`.
    pub(super) fn new(crosslink: Handler, port: u16, status: SocketAddr) -> Self {
        let cookies = ["km_ni", "km_ai"].map(CookieName::new);
        Self { crosslink, port, status, cookies, parameter: Parameter::default(), last_seen: Mutex::default() }
    }

    /// On a checkout a page answers only where crosslink has nothing to do.
    fn asked(&self, visit: &Visit<'_>) -> Option<Asked> {
        let host = HostPort::parse(visit.host?)?.host;
        if host == SHOP {
            self.remember(visit);
        }
        let is_checkout = [CHECKOUT, SEALED].iter().any(|checkout| host == *checkout);
        match visit.path {
            "/" if host == SHOP => Some(Asked::Shop),
            "/replay" if host == SHOP => Some(Asked::Replay),
            "/cart" if is_checkout && !visit.query.is_some_and(|query| self.parameter.is_in(query)) => {
                Some(Asked::Cart)
            }
            path if is_checkout || host == SHOP => file(path).map(Asked::File),
            _ => None,
        }
    }

    fn shop(&self, visit: &Visit<'_>) -> Response<Content> {
        let (checkout, sealed) = (self.at(CHECKOUT), self.at(SEALED));
        let escaped = utf8_percent_encode(&checkout, ESCAPED).to_string();
        let gpc = if visit.gpc.is_some_and(is_opt_out) {
            "Yours does: none of the links here takes you along, and crosslink sets no cookie at a checkout."
        } else {
            "Yours does not, so links take you along."
        };
        let explained = form_urlencoded::Serializer::new(String::new())
            .append_pair("url", &format!("{}/go/checkout", self.at(SHOP)))
            .append_pair("cookie", "km_ni=bob%40bob.com")
            .append_pair("header", "Sec-GPC: 1")
            .finish();
        html(
            include_str!("shop.html"),
            &[
                ("checkout", &checkout),
                ("checkout_escaped", &escaped),
                ("sealed", &sealed),
                ("gpc", gpc),
                ("status", &format!("http://{}/", self.status)),
                ("explained", &escape(&explained)),
            ],
        )
    }

    /// Follows the sealed link as the visitor would, and shows him where it leads.
    async fn replay(&self, mut head: Parts, peer: IpAddr) -> Response<Content> {
        head.uri = Uri::from_static("/go/sealed");
        let answer = self.crosslink.answer(head, peer).await;
        let address = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
        let token = if address.contains("kmt=") {
            "It holds a token that was made for you just now, and is good for two minutes."
        } else {
            "There is no token in it: you have no identity here, or your browser says that it may not be carried."
        };
        html(
            include_str!("replay.html"),
            &[("address", &escape(address)), ("token", token), ("status", &format!("http://{}/", self.status))],
        )
    }

    /// The page of a checkout, with the fields of a form that were in the body.
    fn cart(&self, head: &Parts, body: &[u8]) -> Response<Content> {
        let referrer =
            head.headers.get(REFERER).map_or("(none)".into(), |from| String::from_utf8_lossy(from.as_bytes()));
        visit(head, |visit| {
            let identity = self.identity(visit);
            let value = identity.as_ref().map_or("none", |identity| identity.reveal());
            let (verdict, verdict_text) = self.verdict(visit, identity.as_ref());
            let host =
                visit.host.and_then(HostPort::parse).filter(|host| host.host == SEALED).map_or(CHECKOUT, |_| SEALED);
            html(
                include_str!("checkout.html"),
                &[
                    ("host", host),
                    ("arrives", if host == SEALED { "in a token, <code>kmt</code>," } else { "in <code>kmi</code>" }),
                    ("identity", &escape(value)),
                    ("class", identity.as_ref().map_or("none", |identity| identity.class().as_str())),
                    ("verdict", verdict),
                    ("verdict_text", verdict_text),
                    ("fields", &rows(fields(visit, body))),
                    ("cookies", &rows(cookies(visit))),
                    ("url", &escape(&(self.at(host) + &path_and_query(visit)))),
                    ("referrer", &escape(&referrer)),
                    ("shop", &self.at(SHOP)),
                ],
            )
        })
    }

    fn verdict(&self, visit: &Visit<'_>, identity: Option<&Identity<'_>>) -> (&'static str, &'static str) {
        let last_seen = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        match identity {
            // RFC 6265bis, 5.2: such a form is no safe request, and the cookie waits for the next one.
            None if visit.method == link::Method::Post => {
                ("unseen", "A browser shows no cookie with a form from another site. Open the next page to be known.")
            }
            None => ("none", "The checkout knows nobody: no identity came along."),
            same if same == last_seen.as_ref() => ("match", "The same person as in the shop."),
            Some(_) => (
                "differs",
                "Not who was in the shop last. A plain identity leaves a name that is known here (keep_named).",
            ),
        }
    }

    fn remember(&self, visit: &Visit<'_>) {
        if let Some(identity) = self.identity(visit) {
            *self.last_seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity.into_owned());
        }
    }

    /// What the KISSmetrics script would say.
    fn identity<'a>(&self, visit: &Visit<'a>) -> Option<Identity<'a>> {
        let usable = |name| read_cookie(visit.cookies, name).and_then(|value| Identity::from_cookie(value).ok());
        self.cookies.iter().find_map(usable)
    }

    fn at(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }
}

fn visit<T>(head: &Parts, look: impl FnOnce(&Visit<'_>) -> T) -> T {
    look(&head::Asked::of(head).visit(SystemTime::now()))
}

fn path_and_query(visit: &Visit<'_>) -> String {
    visit.query.map_or_else(|| visit.path.to_owned(), |query| format!("{}?{query}", visit.path))
}

/// The name and the value of each field of a form, and where it stood.
fn fields(visit: &Visit<'_>, body: &[u8]) -> Vec<[String; 3]> {
    let places = [("address", visit.query.unwrap_or_default().as_bytes()), ("body", body)];
    let in_place = |(place, text): (&str, _)| {
        let place = place.to_owned();
        form_urlencoded::parse(text).map(move |(name, value)| [name.into_owned(), value.into_owned(), place.clone()])
    };
    places.into_iter().flat_map(in_place).collect()
}

fn cookies(visit: &Visit<'_>) -> Vec<[String; 2]> {
    let cookies = visit.cookies.iter().flat_map(|field| field.split(|byte| *byte == b';'));
    let read = |cookie| {
        let cookie = String::from_utf8_lossy(cookie);
        let (name, value) = cookie.trim().split_once('=').unwrap_or((cookie.trim(), ""));
        [name.to_owned(), value.to_owned()]
    };
    cookies.map(read).collect()
}

pub(super) const SHOP: &str = "www.yoursite.localhost";
pub(super) const CHECKOUT: &str = "checkout.localhost";
/// Another one, to which only sealed identities go.
pub(super) const SEALED: &str = "sealed.localhost";
/// In bytes. What is longer is not shown.
const LONGEST_FORM: usize = 16 * 1024;
/// As `encodeURIComponent` would, for a host and a port.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');
