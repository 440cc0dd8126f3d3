//! All integration tests, in one program so that they are linked once and run in parallel.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

mod accessibility;
mod admin;
mod allocations;
mod api;
mod attacks;
mod browser;
mod browser_leaving;
mod browser_script;
mod browser_sealed;
mod commands;
mod config_faults;
mod consent;
mod endurance;
mod forget;
mod forms;
mod generated;
mod golden;
mod hand_off;
mod http2;
mod http2_client;
mod identify;
mod image;
mod interop;
mod isolation;
mod keys;
mod kissmetrics;
mod kubernetes;
mod landing;
#[path = "../../fuzz/laws.rs"]
mod laws;
mod lifecycle;
mod limits;
mod logs;
mod machine;
mod mint;
mod outbox;
mod outbox_site;
mod outbox_stream;
mod package;
mod prometheus;
mod properties;
mod proxies;
mod proxy;
mod readme;
mod redis;
mod refusals;
mod reload;
mod request_ids;
mod scale;
mod scale_out;
mod script;
mod sealed;
mod secrets;
mod sign_on;
mod sleep;
mod sockets;
mod support;
mod systemd;
mod tidy;
mod tls;
mod tls_client;
mod told;
mod warnings;
mod webdriver;
