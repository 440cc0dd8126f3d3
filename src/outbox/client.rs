//! One request to KISSmetrics, and what came of it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Uri;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, version};

use super::event::Record;
use crate::metrics::Attempt;
use crate::settings::{OutboxSettings, Site};

/// Asks services, over connections that are kept.
#[derive(Clone)]
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    patience: Duration,
}

/// What came of a request.
pub(super) struct Answer {
    pub attempt: Attempt,
    /// The status, or why there is none; never the request, which holds the key.
    pub why: String,
}

impl Client {
    /// Believes the certificates that the settings name, or else those of the system.
    ///
    /// # Errors
    /// The library for TLS does not know its own versions.
    pub(super) fn new(settings: &OutboxSettings) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(match &settings.authorities {
            Some(authorities) => authorities.clone(),
            None => of_the_system(),
        });
        if added == 0 {
            tracing::warn!("this system knows no certificate authorities, so nothing is delivered over TLS");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .build(https);
        Ok(Self { http, patience: settings.timeout })
    }

    /// Tells one thing, and waits for the answer.
    pub(super) async fn send(&self, site: &Site, record: &Record) -> Answer {
        let target = record.target(site.key.expose());
        let Ok(uri) = format!("{}{target}", site.endpoint).parse::<Uri>() else {
            return Answer { attempt: Attempt::Refused, why: "no URL can tell it".to_owned() };
        };
        let deadline = Instant::now() + self.patience;
        match timeout_at(deadline, self.http.get(uri)).await {
            Err(_) => Answer { attempt: Attempt::Timeout, why: format!("no answer within {:?}", self.patience) },
            Ok(Err(error)) => Answer { attempt: Attempt::Unreachable, why: chain(&error) },
            Ok(Ok(response)) => {
                let status = response.status();
                // Read to its end the connection can be used again. The status counts, whatever comes of this.
                let _ = timeout_at(deadline, Limited::new(response.into_body(), LONGEST_BODY).collect()).await;
                let attempt = match status.as_u16() {
                    200..=299 => Attempt::Ok,
                    // The service, or a proxy before it, was too slow or asked too often: that passes too.
                    408 | 429 | 500..=599 => Attempt::ServerError,
                    _ => Attempt::Refused,
                };
                Answer { attempt, why: format!("status {}", status.as_u16()) }
            }
        }
    }
}

fn of_the_system() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "certificate authorities of this system can't be read");
    }
    found.certs
}

/// An error with its causes, on one line. These speak of connections, never of what is sent on them.
fn chain(error: &dyn Error) -> String {
    let (mut told, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        told = format!("{told}: {cause}");
        next = cause.source();
    }
    told
}

/// A connection without a request is kept for so long.
const KEPT: Duration = Duration::from_secs(30);
/// The answer is an image of some 40 bytes.
const LONGEST_BODY: usize = 64 * 1024;
