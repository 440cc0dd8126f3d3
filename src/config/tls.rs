//! The key `tls`: certificates, and the addresses where they are shown.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_yaml::Spanned;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, version};

use super::fault::Faults;
use super::raw::{RawTls, Text};
use super::server::addresses;

/// Each TLS address with all that is shown there.
pub(super) fn listeners(
    raw: Option<&Spanned<Vec<Spanned<RawTls>>>>,
    faults: &mut Faults,
) -> Vec<(SocketAddr, Arc<ServerConfig>)> {
    let provider = Arc::new(ring::default_provider());
    let mut shown: Vec<(SocketAddr, Vec<Arc<CertifiedKey>>)> = Vec::new();
    for Spanned { value: tls, .. } in raw.into_iter().flat_map(|raw| &raw.value) {
        let addresses = addresses(&tls.listen, faults);
        let Some(certified) = certified(tls, &provider, faults).map(Arc::new) else { continue };
        for address in addresses {
            match shown.iter_mut().find(|(known, _)| *known == address) {
                Some((_, there)) => there.push(Arc::clone(&certified)),
                None => shown.push((address, vec![Arc::clone(&certified)])),
            }
        }
    }
    let config = |(address, shown)| {
        // The versions are those that the provider knows, so this never fails.
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .ok()?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::new(ByName(shown)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Some((address, Arc::new(config)))
    };
    shown.into_iter().filter_map(config).collect()
}

/// A certificate with those that vouch for it, and its key.
fn certified(tls: &RawTls, provider: &CryptoProvider, faults: &mut Faults) -> Option<CertifiedKey> {
    let chain = certificates(&tls.certificate, faults);
    let key = private_key(&tls.key, faults);
    let (chain, key) = (chain?, key?);
    let certified = CertifiedKey::from_der(chain, key, provider);
    if let Err(error) = &certified {
        faults.add(
            &tls.key,
            format!("the key does not fit the certificate: {error}"),
            "name the key that the certificate was made for, in PEM form",
        );
    }
    certified.ok()
}

fn certificates(file: &Text, faults: &mut Faults) -> Option<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(&file.value).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let problem: Box<dyn Display> = match read {
        Ok(chain) if !chain.is_empty() => return Some(chain),
        Ok(_) => Box::new("it holds none"),
        Err(error) => Box::new(error),
    };
    let hint = "name a PEM file that holds the certificate and those that vouch for it, such as fullchain.pem";
    faults.add(file, format!("the certificate can't be read: {problem}"), hint);
    None
}

fn private_key(file: &Text, faults: &mut Faults) -> Option<PrivateKeyDer<'static>> {
    let key = PrivateKeyDer::from_pem_file(&file.value);
    if key.is_err() {
        // Not the library's words: they may show a line of the file.
        faults.add(file, "the key can't be read", "name a PEM file that holds one private key, without a password");
    } else if std::fs::metadata(&file.value).is_ok_and(|metadata| metadata.permissions().mode() & 0o006 != 0) {
        let problem = "everybody on this machine can read or change this file";
        faults.warn(file, problem, "take that away: chmod o-rw");
    }
    key.ok()
}

/// The certificate that fits the name which a visitor asks for, else the first.
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |certified: &&Arc<CertifiedKey>| {
            let certificate = certified.cert.first().and_then(|first| ParsedCertificate::try_from(first).ok());
            certificate
                .zip(name.as_ref())
                .is_some_and(|(certificate, name)| verify_server_name(&certificate, name).is_ok())
        };
        self.0.iter().find(fits).or_else(|| self.0.first()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}
