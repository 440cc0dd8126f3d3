//! A KISSmetrics that fails when it is told to. Nobody may send events of tests to the real one, so this is the one
//! service that the tests have a double of.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{PATIENCE, Wire};
use crate::tls_client;

/// The double. It is gone when it is dropped.
pub struct Kissmetrics {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    mood: Mutex<Mood>,
    /// The targets of the requests that it took note of, in their order.
    told: Mutex<Vec<String>>,
    asked: AtomicUsize,
    is_over: AtomicBool,
}

/// What it does with requests.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    /// Takes note and says 200.
    Fine,
    /// Takes no note and says this.
    Status(u16),
    /// Takes no note and says nothing until the connection ends.
    Silent,
    /// Mostly fine. Of twenty one gets 500, one 503, one no answer, and two find the connection closed, once noted and
    /// once not.
    Moody,
}

impl Kissmetrics {
    pub fn start(mood: Mood) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), mood)
    }

    /// The same at an address where there was one before.
    pub fn at(address: SocketAddr, mood: Mood) -> Self {
        Self::serve(address, mood, None)
    }

    /// One that speaks TLS, with the certificate of [`tls_client::folder`].
    pub fn over_tls(folder: &Path, hosts: &str) -> Self {
        tls_client::issue(folder, "service", hosts);
        let key = PrivateKeyDer::from_pem_file(folder.join("service.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![tls_client::certificate(folder, "service")], key).unwrap();
        Self::serve("127.0.0.1:0".parse().unwrap(), Mood::Fine, Some(Arc::new(config)))
    }

    fn serve(address: SocketAddr, mood: Mood, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (told, asked, is_over) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let state = Arc::new(State { mood: Mutex::new(mood), told, asked, is_over });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_over.load(SeqCst) {
                    break;
                }
                let (state, socket, tls) = (Arc::clone(&accepting), stream.unwrap(), tls.clone());
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let copy = socket.try_clone().unwrap();
                thread::spawn(move || match tls {
                    None => state.serve(Box::new(copy), &socket),
                    Some(tls) => {
                        let tls = StreamOwned::new(ServerConnection::new(tls).unwrap(), copy);
                        state.serve(Box::new(tls), &socket);
                    }
                });
            }
        });
        Self { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn is(&self, mood: Mood) {
        *lock(&self.state.mood) = mood;
    }

    /// The targets of all that it took note of, in their order.
    pub fn told(&self) -> Vec<String> {
        lock(&self.state.told).clone()
    }

    /// How many different things it was told: the same person, event and time count once.
    pub fn counted(&self) -> usize {
        lock(&self.state.told).iter().collect::<HashSet<_>>().len()
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.state.asked.load(SeqCst)
    }
}

impl Drop for Kissmetrics {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    /// Answers the requests of one connection, until it has had enough of it.
    fn serve(&self, wire: Box<dyn Wire>, socket: &TcpStream) {
        let mut reader = BufReader::new(wire);
        while let Some(target) = read_target(&mut reader) {
            if self.is_over.load(SeqCst) {
                return;
            }
            let number = self.asked.fetch_add(1, SeqCst);
            let mood = *lock(&self.mood);
            let (is_noted, status) = match (mood, number % 20) {
                (Mood::Status(status), _) => (false, Some(status)),
                (Mood::Moody, 3) => (false, Some(500)),
                (Mood::Moody, 7) => (false, Some(503)),
                (Mood::Moody, 11) => (true, None),
                (Mood::Moody, 13) => (false, None),
                (Mood::Silent, _) | (Mood::Moody, 17) => {
                    while !self.is_over.load(SeqCst) && !is_closed(socket) {
                        thread::sleep(Duration::from_millis(20));
                    }
                    return;
                }
                (Mood::Fine | Mood::Moody, _) => (true, Some(200)),
            };
            if is_noted {
                lock(&self.told).push(target);
            }
            let Some(status) = status else { return };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Type: image/gif\r\nContent-Length: 6\r\n\r\nGIF89a");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The target of the next request, read to its end; every one must be a `GET` of a client that keeps its connection.
fn read_target(reader: &mut impl BufRead) -> Option<String> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let target = first.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1\r\n")?.to_owned();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            return Some(target);
        }
    }
}

fn is_closed(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    matches!(stream.peek(&mut [0]), Ok(0))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
