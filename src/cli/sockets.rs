//! The sockets that are listened on: bound here, or handed over by systemd.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;

use super::{Failure, cannot_listen};
use crate::http::server::Listener;
use crate::http::tls::LiveTls;
use crate::settings::Listen;

/// Listens on all addresses for visitors, with a socket of each address for each event loop. Sockets that systemd hands
/// over (`LISTEN_FDS`) take the place of those of `listen`; one whose address stands under `tls` speaks TLS and takes
/// the place of that one.
pub(super) fn bind(
    listen: &Listen,
    tls: &[LiveTls],
    event_loops: &[Arc<Runtime>],
) -> Result<Vec<Vec<Listener>>, Failure> {
    let mut all = Vec::new();
    let mut given = Vec::new();
    for (address, socket) in handed_over()? {
        let same = listen.tls.iter().position(|known| *known == address);
        let number = same.or_else(|| listen.tls.iter().position(|known| is_as_good(address, *known)));
        given.push(number);
        let sockets = share(&socket, event_loops).map_err(|error| unusable(&error))?;
        all.push(announced(address, sockets, number.and_then(|number| tls.get(number))));
    }
    for address in listen.plain.iter().filter(|_| !given.contains(&None)) {
        let (local, sockets) = listen_on(*address, "--listen ADDR", event_loops)?;
        all.push(announced(local, sockets, None));
    }
    for (number, (address, live)) in listen.tls.iter().zip(tls).enumerate() {
        if !given.contains(&Some(number)) {
            let (local, sockets) = listen_on(*address, "`listen` under `tls`", event_loops)?;
            all.push(announced(local, sockets, Some(live)));
        }
    }
    let mut listeners: Vec<Vec<Listener>> = event_loops.iter().map(|_| Vec::new()).collect();
    for of_address in all {
        for (of_loop, listener) in listeners.iter_mut().zip(of_address) {
            of_loop.push(listener);
        }
    }
    Ok(listeners)
}

/// Whether a socket that was handed over stands for another address in the file. For all addresses systemd writes
/// `[::]:443` where the file perhaps says `0.0.0.0:443`, and what is TLS there must never be served as plain HTTP.
fn is_as_good(given: SocketAddr, known: SocketAddr) -> bool {
    given.port() == known.port() && (given.ip().is_unspecified() || known.ip().is_unspecified())
}

/// Listens on the operator's address, in the event loop that this runs in.
pub(super) fn bind_admin(address: SocketAddr) -> Result<Listener, Failure> {
    let bound = claim(address).and_then(|socket| Ok((socket.local_addr()?, socket.listen(QUEUE)?)));
    let (address, socket) =
        bound.map_err(|error| cannot_listen(address, "--admin ADDR, or write --admin off", &error))?;
    tracing::info!(%address, "admin port");
    Ok(Listener { socket, tls: None })
}

fn announced(address: SocketAddr, sockets: Vec<TcpListener>, tls: Option<&LiveTls>) -> Vec<Listener> {
    tracing::info!(%address, tls = tls.is_some(), "listening");
    sockets.into_iter().map(|socket| Listener { socket, tls: tls.cloned() }).collect()
}

fn listen_on(
    address: SocketAddr,
    option: &str,
    event_loops: &[Arc<Runtime>],
) -> Result<(SocketAddr, Vec<TcpListener>), Failure> {
    listeners(address, event_loops).map_err(|error| cannot_listen(address, option, &error))
}

/// Listens on an address once for each event loop; the system shares the newcomers out among them (`SO_REUSEPORT`).
///
/// The first socket claims the address for itself, and only then lets others in. So a second crosslink finds the
/// address taken, as it should, in place of half of the visitors.
fn listeners(address: SocketAddr, event_loops: &[Arc<Runtime>]) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = claim(address)?;
    first.set_reuseport(true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in event_loops.iter().skip(1) {
        let socket = open(address)?;
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        sockets.push(socket);
    }
    let listen = |(socket, event_loop): (TcpSocket, &Arc<Runtime>)| {
        let _inside = event_loop.enter();
        socket.listen(QUEUE)
    };
    Ok((address, sockets.into_iter().zip(event_loops).map(listen).collect::<io::Result<_>>()?))
}

fn claim(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = open(address)?;
    socket.bind(address)?;
    Ok(socket)
}

fn open(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the one before, which may still be closing, keep the address from nobody.
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

fn handed_over() -> Result<Vec<(SocketAddr, std::net::TcpListener)>, Failure> {
    let mut sockets = ListenFd::from_env();
    let mut taken = Vec::new();
    for number in 0..sockets.len() {
        let socket = sockets.take_tcp_listener(number).and_then(|socket| {
            let Some(socket) = socket else { return Ok(None) };
            socket.set_nonblocking(true)?;
            Ok(Some((socket.local_addr()?, socket)))
        });
        taken.extend(socket.map_err(|error| unusable(&error))?);
    }
    Ok(taken)
}

/// The one queue of a socket that was handed over, for all event loops: whoever is first takes the next newcomer.
fn share(socket: &std::net::TcpListener, event_loops: &[Arc<Runtime>]) -> io::Result<Vec<TcpListener>> {
    let share = |event_loop: &Arc<Runtime>| {
        let _inside = event_loop.enter();
        TcpListener::from_std(socket.try_clone()?)
    };
    event_loops.iter().map(share).collect()
}

fn unusable(error: &io::Error) -> Failure {
    Failure::new(format!("cannot use a socket of systemd: {error}"), "give TCP sockets only")
}

/// How many may wait to be accepted. The usual 128 are soon there when all come at once, and whoever comes then tries
/// again only after a second. The system has a bound of its own.
const QUEUE: u32 = 4096;
