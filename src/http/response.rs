//! From a decision to an answer: the only place with status codes and header names.

use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LOCATION,
    SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};

use super::content::Content;
use super::script;
use crate::link::{Decision, Forget, HandOff, Identify, Land, PairsList, Refusal, digest};

/// The whole answer to a decision. `headers` are those of the request: their room is used again.
///
/// Redirects are never cached, since each visitor has another identity, and set no `Referrer-Policy`: the checkout
/// keeps seeing the page that the visitor came from.
#[must_use]
pub fn of(decision: Decision<'_>, method: &Method, mut headers: HeaderMap) -> Response<Content> {
    let status = status(&decision, &headers);
    let body = match decision {
        Decision::Script => script_for(&mut headers),
        Decision::Pairs(list) => pairs(list, &mut headers),
        other => {
            headers.clear();
            Bytes::from_static(short(other, method, &mut headers).as_bytes())
        }
    };
    let body = if status == StatusCode::NOT_MODIFIED {
        // Whoever keeps the content keeps what was said of it too (RFC 9110, 15.4.5).
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_ENCODING);
        Bytes::new()
    } else {
        body
    };
    let mut response = Response::new(Content::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What has no body, or one of a line.
fn short(decision: Decision<'_>, method: &Method, headers: &mut HeaderMap) -> &'static str {
    match decision {
        Decision::HandOff(HandOff { destination, set_cookie, .. }) => {
            redirect(destination.into_location(), set_cookie, headers)
        }
        Decision::Land(Land { location, set_cookie, .. }) => redirect(location, set_cookie, headers),
        Decision::Identify(Identify::Landed(Land { set_cookie, .. })) => go_on(set_cookie, headers),
        Decision::Identify(Identify::Nothing | Identify::Refused(..)) => go_on(None, headers),
        Decision::Forget(Forget { set_cookies, navigates, .. }) => {
            if navigates {
                headers.insert(LOCATION, HOME);
            }
            for set_cookie in set_cookies {
                add(SET_COOKIE, set_cookie, headers);
            }
            go_on(None, headers)
        }
        Decision::HonoursGpc => {
            headers.insert(CONTENT_TYPE, JSON);
            GPC_SUPPORT
        }
        Decision::Refuse(refusal, _) => refuse(refusal, method, headers),
        Decision::Script | Decision::Pairs(_) => "",
    }
}

/// The status of the answer to a decision on a request with these headers.
#[must_use]
pub fn status(decision: &Decision<'_>, headers: &HeaderMap) -> StatusCode {
    match decision {
        Decision::Script if script::is_known(headers, digest(script::accepted(headers).1)) => StatusCode::NOT_MODIFIED,
        Decision::Pairs(list) if script::is_known(headers, list.digest()) => StatusCode::NOT_MODIFIED,
        // After 302 a browser would ask with GET, and drop the form.
        Decision::HandOff(HandOff { posted: true, .. }) | Decision::Land(Land { posted: true, .. }) => {
            StatusCode::TEMPORARY_REDIRECT
        }
        Decision::HandOff(_) | Decision::Land(_) => StatusCode::FOUND,
        // Then a browser shows the page with GET, and does not send the form once more.
        Decision::Forget(Forget { navigates: true, .. }) => StatusCode::SEE_OTHER,
        Decision::Forget(_) => StatusCode::NO_CONTENT,
        // What a proxy takes for "serve the page", whatever else is there to say: a visitor must not pay for what is
        // wrong here or in the proxy's configuration.
        Decision::Identify(_) | Decision::HonoursGpc | Decision::Script | Decision::Pairs(_) => StatusCode::OK,
        Decision::Refuse(refusal, _) => sentence(*refusal).0,
    }
}

fn script_for(headers: &mut HeaderMap) -> Bytes {
    let (coding, bytes) = script::accepted(headers);
    file(HeaderValue::from_static("text/javascript; charset=utf-8"), digest(bytes), headers);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    Bytes::from_static(bytes)
}

fn pairs(list: PairsList, headers: &mut HeaderMap) -> Bytes {
    file(JSON, list.digest(), headers);
    Bytes::from_owner(list)
}

/// The headers of what a browser may keep for some minutes, whoever the visitor is.
fn file(content_type: HeaderValue, digest: u64, headers: &mut HeaderMap) {
    headers.clear();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    add(ETAG, script::etag(digest), headers);
}

fn redirect(location: String, set_cookie: Option<String>, headers: &mut HeaderMap) -> &'static str {
    add(LOCATION, location, headers);
    go_on(set_cookie, headers)
}

fn go_on(set_cookie: Option<String>, headers: &mut HeaderMap) -> &'static str {
    headers.insert(CACHE_CONTROL, NO_STORE);
    if let Some(set_cookie) = set_cookie {
        add(SET_COOKIE, set_cookie, headers);
    }
    ""
}

/// Adds a field. `decide` gives visible ASCII only, so none is ever left out.
fn add(name: HeaderName, value: String, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
        headers.append(name, value);
    }
}

fn refuse(refusal: Refusal, method: &Method, headers: &mut HeaderMap) -> &'static str {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    let served = match refusal {
        Refusal::PostOnly => Some("POST"),
        // A form is sent to whatever serves none, and to nothing else that is refused by its method.
        Refusal::MethodNotAllowed if method == Method::POST => Some("GET, HEAD"),
        Refusal::MethodNotAllowed => Some("GET, HEAD, POST"),
        _ => None,
    };
    if let Some(served) = served {
        headers.insert(ALLOW, HeaderValue::from_static(served));
    }
    sentence(refusal).1
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
        Refusal::PostOnly => (StatusCode::METHOD_NOT_ALLOWED, "post_only: Only a form or a script may ask for that.\n"),
        Refusal::CrossSite => (StatusCode::FORBIDDEN, "cross_site: Only a page of this site may ask for that.\n"),
        Refusal::Prefetch => (StatusCode::FORBIDDEN, "prefetch: This link is only followed when somebody clicks it.\n"),
        Refusal::UnknownLink => (StatusCode::NOT_FOUND, "unknown_link: This site has no link of that name.\n"),
        Refusal::NotFound => (StatusCode::NOT_FOUND, "not_found: There is nothing at this address.\n"),
        Refusal::MethodNotAllowed => {
            (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed: Links are followed with GET, HEAD or POST.\n")
        }
        Refusal::UnknownHost => {
            (StatusCode::MISDIRECTED_REQUEST, "unknown_host: This server does not answer for that host.\n")
        }
    }
}

/// What `/.well-known/gpc.json` says, and since when.
const GPC_SUPPORT: &str = "{\"gpc\":true,\"lastUpdate\":\"2026-11-22\"}\n";
/// The page that everybody may see, on the host that was asked: nothing in the request can lead elsewhere.
const HOME: HeaderValue = HeaderValue::from_static("/");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
