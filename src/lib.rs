//! crosslink carries a visitor's analytics identity from one domain to another, on the server.
//!
//! | module | is | knows |
//! |---|---|---|
//! | [`link`] | the decision: pure functions from the facts of a request to what to do with it | nothing else |
//! | [`config`] | YAML text to checked rules, or to every mistake in it with its place | `link`, `settings` |
//! | [`http`] | sockets, limits, the answer and its line in the log | `link`, `metrics`, `replay`, `rules`, `settings`, `sink` |
//! | [`outbox`] | events on their way to KISSmetrics | `link`, `metrics`, `settings` |
//! | [`admin`] | the operator's port | `explain`, `http`, `metrics`, `rules`, `sink` |
//! | [`rules`] | the rules in force, which a reload swaps | `link`, `metrics` |
//! | [`reload`] | a new configuration without a restart | `config`, `metrics`, `rules` |
//! | [`metrics`] | what is counted | `link` |
//! | [`explain`] | each step of a decision in words | `link`, `http` |
//! | [`replay`] | the tokens that were used | `link`, `settings` |
//! | [`settings`] | what the configuration fills in and the server runs by | `link` |
//! | [`sink`] | a bounded buffer in front of an output that may block | nothing else |
//! | [`cli`] | the commands; the only place that prints or reads the environment | all of them |
//!
//! The way of a request: [`http::server`] accepts it, [`http::handler`] makes a [`link::Visit`] of it,
//! [`link::Linker::decide`] gives a [`link::Decision`], [`http::response`] writes that out.

pub mod admin;
pub mod cli;
pub mod config;
pub mod explain;
pub mod http;
pub mod link;
pub mod metrics;
pub mod outbox;
pub mod reload;
pub mod replay;
pub mod rules;
pub mod settings;
pub mod sink;
