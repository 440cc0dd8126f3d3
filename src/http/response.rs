//! From a decision to an answer: the only place with status codes and header names.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use crate::link::{Decision, HandOff, Identify, Land, Refusal};

/// The whole answer to a decision.
///
/// Redirects are never cached, since each visitor has another identity, and set no `Referrer-Policy`: the checkout keeps
/// seeing the page that the visitor came from.
#[must_use]
pub fn of(decision: &Decision<'_>) -> Response<Full<Bytes>> {
    match decision {
        Decision::HandOff(HandOff { destination, .. }) => redirect(destination.target().as_str(), None),
        Decision::Land(Land { location, set_cookie, .. }) => redirect(location, set_cookie.as_deref()),
        Decision::Identify(Identify::Landed(Land { set_cookie, .. })) => go_on(set_cookie.as_deref()),
        Decision::Identify(Identify::Nothing | Identify::Refused(..)) => go_on(None),
        Decision::HonoursGpc => {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            response(StatusCode::OK, headers.into_iter(), GPC_SUPPORT)
        }
        Decision::Refuse(refusal, _) => refuse(*refusal),
    }
}

fn redirect(location: &str, set_cookie: Option<&str>) -> Response<Full<Bytes>> {
    // `decide` gives visible ASCII only, so this never fails; if it did, a 400 harms nobody.
    let Ok(location) = HeaderValue::from_str(location) else { return refuse(Refusal::BadTo) };
    let set_cookie = set_cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok());
    let headers = [(LOCATION, location), (CACHE_CONTROL, NO_STORE)];
    response(StatusCode::FOUND, headers.into_iter().chain(set_cookie.map(|cookie| (SET_COOKIE, cookie))), "")
}

/// What a proxy takes for "serve the page", whatever else is there to say: a visitor must not pay for what is wrong here
/// or in the proxy's configuration.
fn go_on(set_cookie: Option<&str>) -> Response<Full<Bytes>> {
    let set_cookie = set_cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok());
    let headers = [(CACHE_CONTROL, NO_STORE)];
    response(StatusCode::OK, headers.into_iter().chain(set_cookie.map(|cookie| (SET_COOKIE, cookie))), "")
}

fn refuse(refusal: Refusal) -> Response<Full<Bytes>> {
    let (status, text) = sentence(refusal);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (CACHE_CONTROL, NO_STORE),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let allow = (refusal == Refusal::MethodNotAllowed).then(|| (ALLOW, HeaderValue::from_static("GET, HEAD")));
    response(status, headers.into_iter().chain(allow), text)
}

/// The status and the body of a refusal: `code: one sentence`. What the visitor sent is never repeated.
fn sentence(refusal: Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::BadHost => {
            (StatusCode::BAD_REQUEST, "bad_host: The request must ask one host, named once, for a path.\n")
        }
        Refusal::MissingTo => (StatusCode::BAD_REQUEST, "missing_to: The link must say where to go in `to`.\n"),
        Refusal::RepeatedTo => (StatusCode::BAD_REQUEST, "repeated_to: The link must say only once where to go.\n"),
        Refusal::BadTo => (StatusCode::BAD_REQUEST, "bad_to: The link must go to a plain http or https address.\n"),
        Refusal::NotAllowed => {
            (StatusCode::FORBIDDEN, "not_allowed: Links from this site may not go to that address.\n")
        }
        Refusal::Prefetch => (StatusCode::FORBIDDEN, "prefetch: This link is only followed when somebody clicks it.\n"),
        Refusal::UnknownLink => (StatusCode::NOT_FOUND, "unknown_link: This site has no link of that name.\n"),
        Refusal::NotFound => (StatusCode::NOT_FOUND, "not_found: There is nothing at this address.\n"),
        Refusal::MethodNotAllowed => {
            (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed: Links are followed with GET or HEAD.\n")
        }
        Refusal::UnknownHost => {
            (StatusCode::MISDIRECTED_REQUEST, "unknown_host: This server does not answer for that host.\n")
        }
    }
}

fn response(
    status: StatusCode,
    headers: impl Iterator<Item = (HeaderName, HeaderValue)>,
    body: &'static str,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response
}

/// What `/.well-known/gpc.json` says, and since when.
const GPC_SUPPORT: &str = "{\"gpc\":true,\"lastUpdate\":\"2026-11-22\"}\n";
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
