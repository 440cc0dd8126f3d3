//! The yardstick: what an empty answer costs. hyper's HTTP/1.1 on one thread gives everybody the same redirect.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::task::LocalSet;

use crate::Outcome;

/// Serves on a port of 127.0.0.1 until the process is ended.
pub fn run(port: u16) -> Outcome<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        serve(socket.listen(BACKLOG)?).await
    })
}

async fn serve(listener: TcpListener) -> Outcome<()> {
    loop {
        // An attempt that was broken off before it was accepted is nobody's fault.
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            // A client that goes away ends its connection, and only that.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(redirect)).await;
        });
    }
}

async fn redirect(_: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(LEADS_TO));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

const LEADS_TO: &str = "https://yoursite.3rd-party-checkout.com/cart/checkout?sku=123&qty=1&kmi=bob%40bob.com";
/// As many newcomers as the system lets wait; a thousand come at once.
const BACKLOG: u32 = 4096;
