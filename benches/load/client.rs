//! A client that counts: so many requests and no more, which wrk can't do.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::Outcome;
use crate::traffic::Request;

/// One keep-alive connection to a server on 127.0.0.1.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Opens one.
    pub fn open(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Sends a request's head.
    pub fn send(&mut self, head: &str) -> Outcome<()> {
        Ok(self.stream.write_all(head.as_bytes())?)
    }

    /// Reads one answer with its body, which must be a redirect.
    pub fn receive(&mut self) -> Outcome<()> {
        let mut answer = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err("the server has closed the connection".into());
            }
            answer.extend(chunk.iter().take(count));
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if body.len() < length(head) {
                continue;
            }
            let first = head.lines().next().unwrap_or_default();
            return if first.contains(" 302 ") { Ok(()) } else { Err(format!("it answers {first}").into()) };
        }
    }

    /// Whether the server has left it open.
    pub fn is_open(&self) -> bool {
        // There is nothing to read, so a connection that is open would block.
        let looked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// The length of an answer's body.
fn length(head: &str) -> usize {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// Asks once, on a connection of its own.
pub fn ask(port: u16, request: &Request) -> Outcome<()> {
    let mut connection = Connection::open(port)?;
    connection.send(&request.head())?;
    connection.receive()
}

/// Whether anybody listens.
pub fn is_there(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Sends one request on each of `CONNECTIONS`, reads all answers, and begins again, `rounds` times.
pub fn drive(port: u16, requests: &[Request], rounds: u32) -> Outcome<()> {
    let heads: Vec<_> = requests.iter().map(Request::head).collect();
    let mut heads = heads.iter().cycle();
    let mut connections = (0..CONNECTIONS).map(|_| Connection::open(port)).collect::<Outcome<Vec<_>>>()?;
    for _ in 0..rounds {
        for (connection, head) in connections.iter_mut().zip(&mut heads) {
            connection.send(head)?;
        }
        for connection in &mut connections {
            connection.receive()?;
        }
    }
    Ok(())
}

/// As many as wrk has.
pub const CONNECTIONS: u32 = 64;
/// A server under an instrument may take fifty times as long as otherwise.
const PATIENCE: Duration = Duration::from_secs(60);
