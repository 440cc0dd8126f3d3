//! The part of the file that is about KISSmetrics, as it is written; see `raw`.

use schemars::JsonSchema;

use super::forms;
use super::raw::RawSecret;
use super::text::{Given, Placed, Text};

/// Where events for KISSmetrics are kept until they are delivered, and how.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["directory"] }, { "required": ["stream"] }]))]
pub(super) struct RawOutbox {
    /// The directory of the journal, which must be there; or else there is a `stream`.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub directory: Given<Text>,
    /// A stream in a Valkey or Redis that several crosslinks share, in place of a directory.
    #[schemars(with = "Option<String>", extend("pattern" = r"^redis(\+unix)?://.+/[A-Za-z0-9._-]+$"))]
    #[serde(default)]
    pub stream: Given<Text>,
    /// The password of that store.
    #[schemars(with = "Option<RawSecret>")]
    #[serde(default)]
    pub password: Given<Placed<RawSecret>>,
    /// When an event counts as accepted: `batch` when the system has it, `each` when it is on the disk; for a
    /// directory.
    #[schemars(with = "Option<String>", extend("enum" = ["batch", "each"], "default" = "each"))]
    #[serde(default)]
    pub durability: Given<Text>,
    /// The most bytes of events that wait, and of those that were refused, such as `256MiB`.
    #[schemars(with = "Option<forms::Word>", extend("default" = "256MiB"))]
    #[serde(default)]
    pub max_bytes: Given<Text>,
    /// What happens then: new events are refused, or the oldest give way.
    #[schemars(with = "Option<String>", extend("enum" = ["refuse_new", "drop_oldest"], "default" = "refuse_new"))]
    #[serde(default)]
    pub when_full: Given<Text>,
    /// How long an answer of the service is waited for.
    #[schemars(with = "Option<String>", extend("default" = "10s", "pattern" = forms::TIME))]
    #[serde(default)]
    pub timeout: Given<Text>,
    /// The most requests at a time, for each site.
    #[schemars(with = "Option<u32>", extend("default" = 8, "minimum" = 1, "maximum" = 100))]
    #[serde(default)]
    pub parallel: Given<Text>,
    /// A PEM file: who vouches for the service, in place of those that the system believes.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub ca_file: Given<Text>,
}

/// The server API.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApi {
    /// The file that holds the token which programs must show.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub token_file: Given<Text>,
    /// The name of the environment variable that holds it.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub token_env: Given<Text>,
}

/// The KISSmetrics site of a pair.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKissmetrics {
    /// The file that holds its key.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub key_file: Given<Text>,
    /// The name of the environment variable that holds its key.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub key_env: Given<Text>,
    /// Where the service is.
    #[schemars(with = "Option<String>", extend("default" = "https://trk.kissmetrics.io", "pattern" = "^https?://[^/?#@]+/?$"))]
    #[serde(default)]
    pub endpoint: Given<Text>,
    /// What it is told that each visitor did.
    #[schemars(with = "Option<RawEvents>")]
    #[serde(default)]
    pub events: Given<RawEvents>,
    /// Whether other pairs of these hosts name other sites on purpose.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    #[serde(default)]
    pub separate: Given<Text>,
}

/// The names of events; without a name nothing is told.
#[derive(Debug, Default, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEvents {
    /// The visitor left for the destination, with an identity.
    #[schemars(with = "Option<forms::Word>")]
    #[serde(default)]
    pub left: Given<Text>,
    /// The visitor arrived there, and the identity was adopted.
    #[schemars(with = "Option<forms::Word>")]
    #[serde(default)]
    pub arrived: Given<Text>,
}
