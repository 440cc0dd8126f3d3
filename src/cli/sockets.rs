//! The sockets that are listened on: bound here, or handed over by systemd.

use std::io;
use std::net::SocketAddr;

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};

use super::{Failure, cannot_listen};
use crate::http::server::Listener;
use crate::http::tls::LiveTls;
use crate::settings::Listen;

/// Listens on all addresses for visitors. Sockets that systemd hands over (`LISTEN_FDS`) take the place of those of
/// `listen`; one whose address stands under `tls` speaks TLS and takes the place of that one.
pub(super) fn bind(listen: &Listen, tls: &[LiveTls]) -> Result<Vec<Listener>, Failure> {
    let mut listeners = Vec::new();
    let mut given = Vec::new();
    for (address, socket) in handed_over()? {
        let same = listen.tls.iter().position(|known| *known == address);
        let number = same.or_else(|| listen.tls.iter().position(|known| is_as_good(address, *known)));
        given.push(number);
        listeners.push(announced(address, socket, number.and_then(|number| tls.get(number))));
    }
    for address in listen.plain.iter().filter(|_| !given.contains(&None)) {
        let (local, socket) = listen_on(*address, "--listen ADDR")?;
        listeners.push(announced(local, socket, None));
    }
    for (number, (address, live)) in listen.tls.iter().zip(tls).enumerate() {
        if !given.contains(&Some(number)) {
            let (local, socket) = listen_on(*address, "`listen` under `tls`")?;
            listeners.push(announced(local, socket, Some(live)));
        }
    }
    Ok(listeners)
}

/// Whether a socket that was handed over stands for another address in the file. For all addresses systemd writes
/// `[::]:443` where the file perhaps says `0.0.0.0:443`, and what is TLS there must never be served as plain HTTP.
fn is_as_good(given: SocketAddr, known: SocketAddr) -> bool {
    given.port() == known.port() && (given.ip().is_unspecified() || known.ip().is_unspecified())
}

/// Listens on the operator's address.
pub(super) fn bind_admin(address: SocketAddr) -> Result<Listener, Failure> {
    let (address, socket) = listen_on(address, "--admin ADDR, or write --admin off")?;
    tracing::info!(%address, "admin port");
    Ok(Listener { socket, tls: None })
}

fn announced(address: SocketAddr, socket: TcpListener, tls: Option<&LiveTls>) -> Listener {
    tracing::info!(%address, tls = tls.is_some(), "listening");
    Listener { socket, tls: tls.cloned() }
}

fn listen_on(address: SocketAddr, option: &str) -> Result<(SocketAddr, TcpListener), Failure> {
    let bound = listener(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
    bound.map_err(|error| cannot_listen(address, option, &error))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the one before, which may still be closing, keep the address from nobody.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

fn handed_over() -> Result<Vec<(SocketAddr, TcpListener)>, Failure> {
    let mut sockets = ListenFd::from_env();
    let mut taken = Vec::new();
    for number in 0..sockets.len() {
        let socket = sockets.take_tcp_listener(number).and_then(|socket| {
            let Some(socket) = socket else { return Ok(None) };
            socket.set_nonblocking(true)?;
            let socket = TcpListener::from_std(socket)?;
            Ok(Some((socket.local_addr()?, socket)))
        });
        let no_socket =
            |error| Failure::new(format!("cannot use a socket of systemd: {error}"), "give TCP sockets only");
        taken.extend(socket.map_err(no_socket)?);
    }
    Ok(taken)
}

/// How many may wait to be accepted. The usual 128 are soon there when all come at once, and whoever comes then tries
/// again only after a second. The system has a bound of its own.
const QUEUE: u32 = 4096;
