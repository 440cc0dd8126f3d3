//! The key `tls`: certificates, and the addresses where they are shown.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, ServerConfig, version};
use webpki::EndEntityCert;

use super::fault::Faults;
use super::plain_file::read_plain_file;
use super::raw::RawTls;
use super::server::addresses;
use super::text::{Placed, Text};

/// Each TLS address with all that is shown there. `plain` are the addresses for plain HTTP.
pub(super) fn listeners(
    raw: Option<&Placed<Vec<Placed<RawTls>>>>,
    plain: &[SocketAddr],
    faults: &mut Faults,
) -> Vec<(SocketAddr, Arc<ServerConfig>)> {
    if let Some(raw) = raw.filter(|raw| raw.value.is_empty()) {
        faults.add(raw, "there is no certificate", "write `listen`, `certificate` and `key`, or leave `tls` out");
    }
    let provider = Arc::new(ring::default_provider());
    let mut shown: Vec<(SocketAddr, Vec<Arc<CertifiedKey>>)> = Vec::new();
    for Placed { value: tls, .. } in raw.into_iter().flat_map(|raw| &raw.value) {
        let addresses = addresses(&tls.listen, faults);
        // With port 0 each gets a port of its own.
        if let Some(both) = addresses.iter().find(|address| address.port() != 0 && plain.contains(address)) {
            let hint = "keep one of them, or give them different ports";
            faults.add(&tls.listen, format!("{both} is an address for plain HTTP under `listen` already"), hint);
        }
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
        let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::new(ByName::new(shown)));
        config.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"].map(<[u8]>::to_vec).to_vec();
        Some((address, Arc::new(config)))
    };
    shown.into_iter().filter_map(config).collect()
}

/// A certificate with those that vouch for it, and its key.
fn certified(tls: &RawTls, provider: &CryptoProvider, faults: &mut Faults) -> Option<CertifiedKey> {
    let chain = certificates(&tls.certificate, CERTIFICATE_HINT, faults);
    let key = private_key(&tls.key, faults);
    let (chain, key) = (chain?, key?);
    let certified = CertifiedKey::from_der(chain, key, provider);
    match &certified {
        Ok(_) => {}
        Err(Error::InconsistentKeys(_)) => faults.add(
            &tls.key,
            "this is the key of another certificate",
            "name the key that the certificate was made for",
        ),
        Err(Error::InvalidCertificate(_)) => {
            faults.add(
                &tls.certificate,
                "this certificate is damaged, or older than version 3 of X.509",
                CERTIFICATE_HINT,
            );
        }
        Err(_) => faults.add(
            &tls.key,
            "a key of this kind can't be used",
            "use one for ECDSA with the curve P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits",
        ),
    }
    certified.ok()
}

pub(super) fn certificates(file: &Text, hint: &str, faults: &mut Faults) -> Option<Vec<CertificateDer<'static>>> {
    let (text, _) = read(file, faults)?;
    match CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Some(chain),
        // Not the library's words: they may show a line of the file, which may be the key by mistake.
        _ => {
            faults.add(file, "there is no certificate in PEM form in this file", hint);
            None
        }
    }
}

fn private_key(file: &Text, faults: &mut Faults) -> Option<PrivateKeyDer<'static>> {
    let (text, mode) = read(file, faults)?;
    let key = PrivateKeyDer::from_pem_slice(&text);
    if key.is_err() {
        let hint = "name a PEM file that holds one private key, without a password";
        faults.add(file, "there is no key in PEM form in this file, or it has a password", hint);
    } else if mode & 0o006 != 0 {
        let problem = "everybody on this machine can read or change this file";
        faults.warn(file, problem, "take that away: chmod o-rw");
    }
    key.ok()
}

/// The text of a file, and its mode.
fn read(file: &Text, faults: &mut Faults) -> Option<(Vec<u8>, u32)> {
    let read = read_plain_file(Path::new(&file.value), LONGEST_FILE);
    if let Err(error) = &read {
        faults.add(file, format!("the file can't be read: {error}"), "check its path and who may read it");
    }
    read.ok()
}

/// The certificate that fits the name which a visitor asks for, else the first.
struct ByName {
    shown: Vec<Arc<CertifiedKey>>,
    /// For each name in a certificate, which may begin with `*.`, the first that has it.
    numbers: HashMap<String, usize>,
}

impl ByName {
    fn new(shown: Vec<Arc<CertifiedKey>>) -> Self {
        let mut numbers = HashMap::new();
        for (number, certified) in shown.iter().enumerate() {
            let certificate = certified.cert.first().and_then(|first| EndEntityCert::try_from(first).ok());
            for name in certificate.iter().flat_map(|certificate| certificate.valid_dns_names()) {
                numbers.entry(name.to_ascii_lowercase()).or_insert(number);
            }
        }
        Self { shown, numbers }
    }

    /// A `*.` in a certificate stands for one label (RFC 6125, 6.4.3).
    fn fitting(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let (_, above) = name.split_once('.').unwrap_or_default();
        let number = self.numbers.get(&name).into_iter().chain(self.numbers.get(&format!("*.{above}"))).min()?;
        self.shown.get(*number)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.fitting(name)).or_else(|| self.shown.first()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.shown.len())
    }
}

const CERTIFICATE_HINT: &str =
    "name a PEM file that holds the certificate and those that vouch for it, such as fullchain.pem";

/// Some hundred times what a long chain takes.
const LONGEST_FILE: u64 = 1024 * 1024;
