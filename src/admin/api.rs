//! The server API: a site's own programs say who is who, and what somebody did.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answered::Answered;
use super::order::{self, Mistake, Ordered};
use crate::http::content::Content;
use crate::link::Linker;
use crate::outbox::{Outbox, Refused};
use crate::settings::Secret;

/// Takes what a site's own programs have to tell.
pub(super) struct Api {
    token: Secret,
    outbox: Outbox,
    answered: Answered,
    /// For those who are answered at a time, so that there are connections left for whoever asks whether all is well.
    places: Semaphore,
}

/// What is answered: a status, and a text in JSON.
#[derive(Clone)]
pub(super) struct Reply {
    status: StatusCode,
    body: String,
    /// Whether the same request may get another answer later.
    can_change: bool,
    more: Option<(HeaderName, &'static str)>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    pub(super) fn new(token: Secret, outbox: Outbox) -> Self {
        Self { token, outbox, answered: Answered::default(), places: Semaphore::new(MOST_AT_A_TIME) }
    }

    /// Whether a path is one of this API's.
    pub(super) fn has(path: &str) -> bool {
        path.starts_with("/v1/")
    }

    /// Answers a request once all that it told is as safe as the outbox promises.
    pub(super) async fn answer(&self, head: Parts, body: Incoming, linker: &Linker) -> Response<Content> {
        let told = async {
            self.admit(&head)?;
            let _place = self.places.try_acquire().map_err(|_| {
                let message = "too many requests wait for an answer";
                Reply::error(StatusCode::TOO_MANY_REQUESTS, "busy", message).with(RETRY_AFTER, "1")
            })?;
            let read = read(body).await?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let Some(key) = head.headers.get(KEY) else { return self.take(&head, &read, linker, now).await };
            let is_key = (1..=255).contains(&key.len()) && key.as_bytes().iter().all(u8::is_ascii_graphic);
            let key = key.to_str().ok().filter(|_| is_key);
            let key = key.ok_or_else(|| bad("bad_key", "Idempotency-Key has 1 to 255 visible characters"))?;
            let asked = self.answered.entry(head.uri.path(), key, &read, now).ok_or_else(|| {
                let message = "this Idempotency-Key came with another body before";
                Reply::error(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", message)
            })?;
            // Whoever asks twice at once waits for the first answer. What can be tried again is not remembered.
            asked.answer.get_or_try_init(|| self.take_whole(&head, &read, linker, asked.at)).await.cloned()
        };
        told.await.unwrap_or_else(|reply: Reply| reply).response()
    }

    /// The same as [`Self::take`], where an answer that stays what it is however often it is asked for is no error.
    async fn take_whole(&self, head: &Parts, body: &[u8], linker: &Linker, now: u64) -> Result<Reply, Reply> {
        let taken = self.take(head, body, linker, now).await;
        taken.or_else(|reply| if reply.can_change { Err(reply) } else { Ok(reply) })
    }

    /// Whether a request may ask, by its head.
    fn admit(&self, head: &Parts) -> Result<(), Reply> {
        let token = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(bearer);
        // In a time that does not depend on how much of it is right.
        if !token.is_some_and(|token| bool::from(token.ct_eq(self.token.expose().as_bytes()))) {
            let message = "send the header `Authorization: Bearer TOKEN` with the token of `api.token_file`";
            let refused = Reply::error(StatusCode::UNAUTHORIZED, "unauthorized", message);
            return Err(refused.with(WWW_AUTHENTICATE, "Bearer"));
        }
        if !order::KINDS.contains(&head.uri.path()) {
            let message = "there are /v1/alias, /v1/identify and /v1/record";
            return Err(Reply::error(StatusCode::NOT_FOUND, "not_found", message));
        }
        if head.method != Method::POST {
            let refused = Reply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "send it by POST");
            return Err(refused.with(ALLOW, "POST"));
        }
        if !head.headers.get(CONTENT_TYPE).is_some_and(is_json) {
            let message = "send JSON, as `Content-Type: application/json`";
            return Err(Reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        Ok(())
    }

    /// Takes all that a body tells, or nothing of it. What has no time of its own was now.
    async fn take(&self, head: &Parts, body: &[u8], linker: &Linker, now: u64) -> Result<Reply, Reply> {
        let Ordered { events, results } = order::read(head.uri.path(), body, linker, now).map_err(mistaken)?;
        self.outbox.accept_durably(events).await.map_err(not_taken)?;
        let body = json!({ "results": results }).to_string();
        Ok(Reply::new(StatusCode::ACCEPTED, body))
    }
}

/// The whole body, within a while.
async fn read(body: Incoming) -> Result<Bytes, Reply> {
    match timeout(PATIENCE, Limited::new(body, LONGEST_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a body has at most 1 MiB"))
        }
        Ok(Err(_)) => Err(bad("bad_body", "the body broke off")),
        Err(_) => Err(Reply::error(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body took over four seconds")),
    }
}

/// The answer where there is no API.
pub(super) fn not_in_force() -> Response<Content> {
    let message = "there is no `api` in force; one that was added to the configuration takes a restart";
    Reply::error(StatusCode::NOT_FOUND, "no_api", message).response()
}

impl Reply {
    fn new(status: StatusCode, body: String) -> Self {
        Self { status, body, can_change: false, more: None }
    }

    fn error(status: StatusCode, code: &str, message: &str) -> Self {
        Self::new(status, json!({ "error": code, "message": message }).to_string())
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { more: Some((name, value)), ..self }
    }

    fn response(self) -> Response<Content> {
        let mut response = super::answer(self.status, "application/json", self.body + "\n");
        if let Some((name, value)) = self.more {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn bad(code: &str, message: &str) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, code, message)
}

fn mistaken(Mistake { code, message, item }: Mistake) -> Reply {
    let mut body = json!({ "error": code, "message": message });
    if let (Some(body), Some(item)) = (body.as_object_mut(), item) {
        body.insert("item".to_owned(), item.into());
    }
    Reply::new(StatusCode::BAD_REQUEST, body.to_string())
}

/// The outbox can't take it, now or ever.
fn not_taken(refused: Refused) -> Reply {
    let message = refused.to_string();
    let (status, code, wait) = match refused {
        Refused::TooLarge => return bad("event_too_large", &message),
        Refused::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "1"),
        Refused::Full => (StatusCode::SERVICE_UNAVAILABLE, "full", "60"),
        Refused::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "no_room", "10"),
        Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", "5"),
    };
    Reply { can_change: true, ..Reply::error(status, code, &message).with(RETRY_AFTER, wait) }
}

/// The token of an `Authorization` field (RFC 6750, 2.1; RFC 9110, 11.1: the scheme in any case).
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = field.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn is_json(content: &HeaderValue) -> bool {
    let kind = content.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

const KEY: &str = "idempotency-key";
const LONGEST_BODY: usize = 1024 * 1024;
/// Half of the port's connections, at the most.
const MOST_AT_A_TIME: usize = 64;
/// For a body, from its head to its end. Soon after, the connection's patience is over, and nobody is answered.
const PATIENCE: Duration = Duration::from_secs(4);
