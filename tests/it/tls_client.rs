//! Certificates that `openssl` makes for one test, and a client that believes them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Service, crosslink, socket};

/// A client's side of a connection.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// The key `tls` for one listener on a free port that shows `site.pem`.
pub const TLS: &str = "tls: [{ listen: 127.0.0.1:0, certificate: site.pem, key: site.key }]\n";

/// A crosslink with a TLS listener on a free port, beside its certificates and who vouches for them, `ca.pem`.
pub struct TlsService {
    pub service: Service,
    pub address: SocketAddr,
}

impl TlsService {
    /// Serves a configuration that has no `listen`, with [`TLS`].
    pub fn start(config: &str) -> Self {
        Self::in_folder(folder(), &format!("{TLS}{config}"))
    }

    /// Serves a whole configuration in a folder that holds the certificates.
    pub fn in_folder(folder: TempDir, config: &str) -> Self {
        let mut service = Service::serve_in(folder, crosslink(), config, None);
        let address = service.listening(1)[0];
        Self { service, address }
    }

    /// Connects and shakes hands as the client of a host.
    pub fn connect(&self, host: &str, alpn: &[&str]) -> TlsStream {
        let mut stream = self.client(host, alpn, socket(self.address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream
    }

    /// A client that has not said anything yet.
    pub fn client(&self, host: &str, alpn: &[&str], socket: TcpStream) -> TlsStream {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.service.folder().join("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
    }

    /// `curl` for a URL whose host and port stand for this listener, with `--include`; gives what it printed.
    pub fn curl(&self, url: &str, arguments: &[&str]) -> String {
        let output = self.curl_command(url, arguments).output().unwrap();
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().replace('\r', "")
    }

    /// The same, not yet run.
    pub fn curl_command(&self, url: &str, arguments: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.current_dir(self.service.folder())
            .args(["--disable", "--silent", "--show-error", "--include", "--max-time", "30", "--cacert", "ca.pem"])
            .args(["--connect-to", &format!("::{}", self.address), url])
            .args(arguments);
        curl
    }
}

/// A new folder with `ca.pem` and with `site.pem` and `site.key` for the hosts of the tests.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("openssl.cnf"), OPENSSL).unwrap();
    make(folder.path(), "DNS:none.example", "-extensions ca -keyout ca.key -out ca.pem -subj /CN=crosslink-tests");
    issue(folder.path(), "site", "DNS:www.yoursite.com,DNS:ok.example,DNS:*.wild.example");
    folder
}

/// Makes `name.pem` and `name.key` for hosts, in the place of those that are there.
pub fn issue(folder: &Path, name: &str, hosts: &str) {
    let files = format!("-keyout {name}.key -out {name}.pem -subj /CN={name}");
    make(folder, hosts, &format!("-extensions site -CA ca.pem -CAkey ca.key {files}"));
}

fn make(folder: &Path, hosts: &str, arguments: &str) {
    let new = "req -x509 -config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(folder, hosts, &format!("{new} {arguments}"));
}

/// Runs `openssl`.
pub fn openssl(folder: &Path, hosts: &str, arguments: &str) {
    let mut command = Command::new("openssl");
    let output = command.current_dir(folder).env("HOSTS", hosts).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The first certificate of a file.
pub fn certificate(folder: &Path, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap()
}

/// The certificate that a client was shown.
pub fn shown(stream: &TlsStream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Reads until the server has closed, and gives whether it said so (`close_notify`).
pub fn closes_in_peace(mut stream: impl Read) -> bool {
    stream.read_to_end(&mut Vec::new()).is_ok()
}

/// Sends one request and gives the first line of the answer, read to the end of its head.
pub fn ask(stream: &mut TlsStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().lines().next().unwrap().to_owned()
}

const OPENSSL: &str = "
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
[site]
basicConstraints = critical, CA:FALSE
subjectAltName = $ENV::HOSTS
";
