//! The edge: from a socket to a [`crate::link::Visit`], and from a [`crate::link::Decision`] back to the socket.
//!
//! [`server`] accepts, [`handler`] asks, [`response`] answers, [`request_log`] remembers.

pub mod content;
pub mod handler;
pub mod head;
mod http2;
mod log_line;
pub mod request_log;
pub mod response;
mod script;
pub mod server;
mod stop;
mod stream;
mod teller;
pub mod tls;
