//! The file as it is written: every key that there is, every value still text, each with its place.
//!
//! A key that is not listed here is a fault. Values stay text so that a wrong one is explained by the section that
//! knows what it is for, together with all others. What an editor may say of a value stands beside it: `schema` makes a
//! JSON Schema of it, with the comments here as its words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::forms;
use super::raw_outbox::{RawApi, RawKissmetrics, RawOutbox};
use super::text::{Given, OneOrMany, Placed, Text};

/// The configuration of crosslink. `docs/reference.md` says more about each key.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    /// The form of this file.
    #[schemars(with = "Option<u8>", extend("enum" = [1], "default" = 1))]
    #[serde(default)]
    pub version: Given<Text>,
    /// Where to listen: an IP address and a port, or a list of them.
    #[schemars(with = "Option<forms::OneOr<forms::Address>>", extend("default" = "127.0.0.1:8080"))]
    #[serde(default)]
    pub listen: Given<Placed<OneOrMany>>,
    /// Certificates, and the addresses where they are shown.
    #[schemars(with = "Option<Vec<RawTls>>")]
    #[serde(default)]
    pub tls: Given<Placed<Vec<Placed<RawTls>>>>,
    /// The operator's port: an address, or `off`.
    #[schemars(with = "Option<forms::AddressOrOff>", extend("default" = "127.0.0.1:8081"))]
    #[serde(default)]
    pub admin: Given<Text>,
    /// Proxies whose `X-Request-Id` and `identity.header` are believed: addresses or networks, such as `10.0.0.0/8`.
    #[schemars(with = "Option<forms::AnyNumber<String>>")]
    #[serde(default)]
    pub trusted_proxies: Given<Placed<OneOrMany>>,
    /// Whether a change of this file is taken up without a signal.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    #[serde(default)]
    pub watch: Given<Text>,
    /// The path under which links are served on an origin.
    #[schemars(with = "Option<String>", extend("default" = "/go", "pattern" = r"^(/[A-Za-z0-9._-]+)+$"))]
    #[serde(default)]
    pub route: Given<Text>,
    /// What clients may cost.
    #[schemars(with = "Option<RawLimits>")]
    #[serde(default)]
    pub limits: Given<RawLimits>,
    /// How requests are logged.
    #[schemars(with = "Option<RawLog>")]
    #[serde(default)]
    pub log: Given<RawLog>,
    /// Keys of sealed hand-offs: the first seals, all open.
    #[schemars(with = "Option<Vec<RawKey>>", extend("minItems" = 1))]
    #[serde(default)]
    pub keys: Given<Placed<Vec<Placed<RawKey>>>>,
    /// Where used tokens are remembered: `memory`, `off`, or a Valkey or Redis that several crosslinks share.
    #[schemars(with = "Option<String>", extend("default" = "memory", "pattern" = r"^(memory|off|redis://.+|redis\+unix://.+)$"))]
    #[serde(default)]
    pub replay: Given<Text>,
    /// The password of that store.
    #[schemars(with = "Option<RawSecret>")]
    #[serde(default)]
    pub replay_password: Given<Placed<RawSecret>>,
    /// The most used tokens that `memory` holds.
    #[schemars(with = "Option<u32>", extend("default" = 1_000_000, "minimum" = 1, "maximum" = 100_000_000))]
    #[serde(default)]
    pub replay_entries: Given<Text>,
    /// What happens to a token when the memory is full or the store is away.
    #[schemars(with = "Option<String>", extend("enum" = ["refuse", "accept"], "default" = "refuse"))]
    #[serde(default)]
    pub replay_unavailable: Given<Text>,
    /// Where events for KISSmetrics are kept until they are delivered.
    #[schemars(with = "Option<RawOutbox>")]
    #[serde(default)]
    pub outbox: Given<Placed<RawOutbox>>,
    /// The server API on the operator's port, where programs of the site tell KISSmetrics something; needs an `outbox`.
    #[schemars(with = "Option<RawApi>")]
    #[serde(default)]
    pub api: Given<Placed<RawApi>>,
    /// Values for all pairs that don't say otherwise. `landing` here switches no landing on.
    #[schemars(with = "Option<RawDefaults>")]
    #[serde(default)]
    pub defaults: Given<RawDefaults>,
    /// Who may go where.
    #[schemars(with = "Vec<RawPair>", extend("minItems" = 1))]
    pub pairs: Placed<Vec<Placed<RawPair>>>,
}

impl RawConfig {
    /// The other files that this one names.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let keys = self.keys.iter().flat_map(|keys| &keys.value).filter_map(|key| key.value.file.as_ref());
        let password = self.replay_password.iter().filter_map(|password| password.value.file.as_ref());
        let tls = self.tls.iter().flat_map(|tls| &tls.value).flat_map(|tls| [&tls.value.certificate, &tls.value.key]);
        let authorities = self.outbox.iter().filter_map(|outbox| outbox.value.ca_file.as_ref());
        let stream = self.outbox.iter().filter_map(|outbox| outbox.value.password.as_ref()?.value.file.as_ref());
        let sites = self.pairs.value.iter().filter_map(|pair| pair.value.kissmetrics.as_ref()?.value.key_file.as_ref());
        let api = self.api.iter().filter_map(|api| api.value.token_file.as_ref());
        let files = keys.chain(password).chain(tls).chain(authorities).chain(stream).chain(sites).chain(api);
        // Very many pairs may name one key.
        let files: BTreeSet<PathBuf> = files.map(|file| PathBuf::from(&file.value)).collect();
        files.into_iter().collect()
    }
}

/// One certificate. Of several on one address the name that a visitor asks for chooses.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    /// Where to listen with TLS: an IP address and a port, or a list of them.
    #[schemars(with = "forms::OneOr<forms::Address>")]
    pub listen: Placed<OneOrMany>,
    /// A PEM file: the certificate and those that vouch for it.
    #[schemars(with = "String")]
    pub certificate: Text,
    /// A PEM file: its private key.
    #[schemars(with = "String")]
    pub key: Text,
}

/// A key of sealed hand-offs, in a file or in the environment; `crosslink keygen` makes one.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    /// Up to 16 characters; travels in the token.
    #[schemars(with = "forms::Word")]
    pub id: Text,
    /// The file that holds the key.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub file: Given<Text>,
    /// The name of the environment variable that holds the key.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub env: Given<Text>,
}

/// A secret, in a file or in the environment.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecret {
    /// The file that holds it.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub file: Given<Text>,
    /// The name of the environment variable that holds it.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub env: Given<Text>,
}

/// What is asked before an identity is carried.
#[derive(Debug, Default, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConsent {
    /// The cookie that says that a visitor of the origin agreed.
    #[schemars(with = "Option<RawConsentCookie>")]
    #[serde(default)]
    pub require_cookie: Given<RawConsentCookie>,
    /// What `Sec-GPC: 1` means, on both sides.
    #[schemars(with = "Option<String>", extend("enum" = ["honour", "ignore"], "default" = "honour"))]
    #[serde(default)]
    pub gpc: Given<Text>,
}

/// A cookie, and what it must contain.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConsentCookie {
    /// The cookie's name.
    #[schemars(with = "String")]
    pub name: Text,
    /// The text that stands in its value once a visitor has agreed.
    #[schemars(with = "forms::Word")]
    pub contains: Text,
}

/// What clients may cost.
#[derive(Debug, Default, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Connections served at a time; newcomers wait.
    #[schemars(with = "Option<u32>", extend("default" = 4096, "minimum" = 1, "maximum" = 1_000_000))]
    #[serde(default)]
    pub connections: Given<Text>,
    /// From a request's first byte to the end of its head.
    #[schemars(with = "Option<String>", extend("default" = "10s", "pattern" = forms::TIME))]
    #[serde(default)]
    pub head_timeout: Given<Text>,
    /// How long a connection may stay without a request.
    #[schemars(with = "Option<String>", extend("default" = "75s", "pattern" = forms::TIME))]
    #[serde(default)]
    pub idle_timeout: Given<Text>,
    /// The most bytes of a request's head, such as `32KiB`.
    #[schemars(with = "Option<forms::Word>", extend("default" = "32KiB"))]
    #[serde(default)]
    pub head_bytes: Given<Text>,
    /// How long requests under way may take once the program stops.
    #[schemars(with = "Option<String>", extend("default" = "10s", "pattern" = forms::TIME))]
    #[serde(default)]
    pub drain: Given<Text>,
    /// How long it goes on accepting once it is told to stop, while `/readyz` says 503.
    #[schemars(with = "Option<String>", extend("default" = "0s", "pattern" = forms::TIME))]
    #[serde(default)]
    pub drain_delay: Given<Text>,
}

/// How requests are logged.
#[derive(Debug, Default, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    /// How a line looks.
    #[schemars(with = "Option<String>", extend("enum" = ["json", "text"], "default" = "json"))]
    #[serde(default)]
    pub format: Given<Text>,
    /// Which requests get a line.
    #[schemars(with = "Option<String>", extend("enum" = ["all", "refused", "off"], "default" = "all"))]
    #[serde(default)]
    pub requests: Given<Text>,
}

/// Values for all pairs that don't say otherwise.
#[derive(Debug, Default, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDefaults {
    /// The query parameter that carries the identity.
    #[schemars(with = "Option<String>", extend("default" = "kmi", "pattern" = forms::NAME))]
    #[serde(default)]
    pub parameter: Given<Text>,
    /// Where the identity stands.
    #[schemars(with = "Option<RawIdentity>")]
    #[serde(default)]
    pub identity: Given<RawIdentity>,
    /// What happens on the destinations of pairs that land.
    #[schemars(with = "Option<RawLanding>")]
    #[serde(default)]
    pub landing: Given<RawLanding>,
}

/// A pair: visitors of its origins may be sent to its destinations.
// Of these there may be 100,000: what few of them have stands in boxes.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPair {
    /// Unique, in logs and metrics. By default `<origin> to <destination>`.
    #[schemars(with = "Option<forms::Word>")]
    #[serde(default)]
    pub name: Given<Text>,
    /// The hosts whose visitors it serves: `host`, `host:port`, or a list.
    #[schemars(with = "forms::OneOr<String>")]
    pub origin: Placed<OneOrMany>,
    /// Where they may be sent: `host`, `"*.host"`, `host:port`, `https://host/path`, `http://host`, or a list.
    #[schemars(with = "forms::OneOr<String>")]
    pub destination: Placed<OneOrMany>,
    /// Names for links: `checkout: /cart` answers at `/go/checkout`. A path, or an address that `destination` admits.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    #[serde(default)]
    pub links: Given<Box<RawLinks>>,
    /// The query parameter that carries the identity.
    #[schemars(with = "Option<String>", extend("default" = "kmi", "pattern" = forms::NAME))]
    #[serde(default)]
    pub parameter: Given<Box<Text>>,
    /// Where the identity stands.
    #[schemars(with = "Option<Box<RawIdentity>>")]
    #[serde(default)]
    pub identity: Given<Box<RawIdentity>>,
    /// An identity of crosslink's own for visitors who have none.
    #[schemars(with = "Option<Box<RawMint>>")]
    #[serde(default)]
    pub mint: Given<Box<RawMint>>,
    /// How the identity travels. By default sealed where there are keys and a landing.
    #[schemars(with = "Option<String>", extend("enum" = ["plain", "sealed"]))]
    #[serde(default)]
    pub hand_off: Given<Box<Text>>,
    /// Whether a token is good only in the browser that got it.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    #[serde(default)]
    pub bind_user_agent: Given<Box<Text>>,
    /// What is asked before an identity is carried.
    #[schemars(with = "Option<Box<RawConsent>>")]
    #[serde(default)]
    pub consent: Given<Box<RawConsent>>,
    /// What becomes of a form that is sent by `POST`, on both sides.
    #[schemars(with = "Option<String>", extend("enum" = ["preserve", "refuse"], "default" = "preserve"))]
    #[serde(default)]
    pub post: Given<Box<Text>>,
    /// What happens on the destination: `landing: {}` for the defaults; left out, crosslink does not answer there.
    // With nothing behind it this is `Some(None)`: neither on nor off.
    #[serde(default)]
    #[schemars(with = "RawLanding")]
    pub landing: Given<Box<Placed<Option<RawLanding>>>>,
    /// The KISSmetrics site that is told about its visitors; needs an `outbox`.
    #[schemars(with = "Option<RawKissmetrics>")]
    #[serde(default)]
    pub kissmetrics: Given<Box<Placed<RawKissmetrics>>>,
}

/// Where the identity stands.
#[derive(Debug, Default, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    /// The cookies that hold it, the most telling first.
    #[schemars(with = "Option<Vec<String>>", extend("minItems" = 1, "default" = ["km_ni", "km_ai"]))]
    #[serde(default)]
    pub cookies: Given<Placed<Vec<Text>>>,
    /// How they hold it: percent-escaped, and with `json` perhaps in quotes.
    #[schemars(with = "Option<String>", extend("enum" = ["percent", "json"], "default" = "percent"))]
    #[serde(default)]
    pub decode: Given<Text>,
    /// The header in which a proxy of `trusted_proxies` says who the visitor is; it counts before the cookies.
    #[schemars(with = "Option<String>", extend("pattern" = forms::HEADER))]
    #[serde(default)]
    pub header: Given<Text>,
}

/// An identity of crosslink's own.
#[derive(Debug, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMint {
    /// The cookie in which a visitor of the origin keeps it.
    #[schemars(with = "String")]
    pub cookie: Text,
    /// Whether browsers take and send it over https alone.
    #[schemars(with = "Option<bool>", extend("default" = true))]
    #[serde(default)]
    pub secure: Given<Text>,
}

/// What happens on the destination.
#[derive(Debug, Default, PartialEq, Eq, JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLanding {
    /// Which identities are believed. By default sealed ones where there are keys.
    #[schemars(with = "Option<String>", extend("enum" = ["plain", "sealed"]))]
    #[serde(default)]
    pub accept: Given<Box<Text>>,
    /// The cookie that is set.
    #[schemars(with = "Option<String>", extend("default" = "km_ni"))]
    #[serde(default)]
    pub cookie: Given<Box<Text>>,
    /// The cookie for an anonymous identity from a token; by default `cookie`.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub anonymous_cookie: Given<Box<Text>>,
    /// Its `Domain`: `site` for the registrable domain, `host` for that host alone, or a parent of it.
    #[schemars(with = "Option<String>", extend("default" = "site"))]
    #[serde(default)]
    pub domain: Given<Box<Text>>,
    /// Its life.
    #[schemars(with = "Option<String>", extend("default" = "400d", "pattern" = forms::TIME))]
    #[serde(default)]
    pub max_age: Given<Box<Text>>,
    /// Its `SameSite`; `none` adds `Secure` and `Partitioned`, for embedded checkouts.
    #[schemars(with = "Option<String>", extend("enum" = ["lax", "none"], "default" = "lax"))]
    #[serde(default)]
    pub same_site: Given<Box<Text>>,
    /// What wins if the visitor has another identity there. By default `replace` for a sealed arrival, `keep_named` for
    /// a plain one.
    #[schemars(with = "Option<String>", extend("enum" = ["keep_named", "replace", "keep"]))]
    #[serde(default)]
    pub existing: Given<Box<Text>>,
}

/// Link names and their targets, in the order of the file, each with its place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RawLinks(pub Vec<(Text, Text)>);

impl<'de> Deserialize<'de> for RawLinks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawLinksVisitor;

        impl<'de> Visitor<'de> for RawLinksVisitor {
            type Value = RawLinks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("link names with their targets, `checkout: /cart`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawLinks, A::Error> {
                let mut links = Vec::new();
                while let Some(link) = map.next_entry()? {
                    links.push(link);
                }
                Ok(RawLinks(links))
            }
        }

        deserializer.deserialize_map(RawLinksVisitor)
    }
}
