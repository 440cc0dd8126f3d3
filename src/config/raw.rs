//! The file as it is written: every key that there is, every value still text, each with its place.
//!
//! A key that is not listed here is a fault. Values stay text so that a wrong one is explained by the section that
//! knows what it is for, together with all others.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

/// A text and its place.
pub(super) type Text = Spanned<String>;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(default, deserialize_with = "present")]
    pub version: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub listen: Option<Spanned<OneOrMany>>,
    #[serde(default, deserialize_with = "present")]
    pub tls: Option<Spanned<Vec<Spanned<RawTls>>>>,
    #[serde(default, deserialize_with = "present")]
    pub admin: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub trusted_proxies: Option<Spanned<OneOrMany>>,
    #[serde(default, deserialize_with = "present")]
    pub watch: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub route: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub limits: Option<RawLimits>,
    #[serde(default, deserialize_with = "present")]
    pub log: Option<RawLog>,
    #[serde(default, deserialize_with = "present")]
    pub keys: Option<Spanned<Vec<Spanned<RawKey>>>>,
    #[serde(default, deserialize_with = "present")]
    pub replay: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub replay_password: Option<Spanned<RawSecret>>,
    #[serde(default, deserialize_with = "present")]
    pub replay_entries: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub replay_unavailable: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub defaults: Option<RawDefaults>,
    pub pairs: Spanned<Vec<Spanned<RawPair>>>,
}

impl RawConfig {
    /// The other files that this one names.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let keys = self.keys.iter().flat_map(|keys| &keys.value).filter_map(|key| key.value.file.as_ref());
        let password = self.replay_password.iter().filter_map(|password| password.value.file.as_ref());
        let tls = self.tls.iter().flat_map(|tls| &tls.value).flat_map(|tls| [&tls.value.certificate, &tls.value.key]);
        keys.chain(password).chain(tls).map(|file| PathBuf::from(&file.value)).collect()
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub listen: Spanned<OneOrMany>,
    pub certificate: Text,
    pub key: Text,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    pub id: Text,
    #[serde(default, deserialize_with = "present")]
    pub file: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub env: Option<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecret {
    #[serde(default, deserialize_with = "present")]
    pub file: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub env: Option<Text>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConsent {
    #[serde(default, deserialize_with = "present")]
    pub require_cookie: Option<RawConsentCookie>,
    #[serde(default, deserialize_with = "present")]
    pub gpc: Option<Text>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConsentCookie {
    pub name: Text,
    pub contains: Text,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    #[serde(default, deserialize_with = "present")]
    pub connections: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub head_timeout: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub idle_timeout: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub head_bytes: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub drain: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub drain_delay: Option<Text>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    #[serde(default, deserialize_with = "present")]
    pub format: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub requests: Option<Text>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDefaults {
    #[serde(default, deserialize_with = "present")]
    pub parameter: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub identity: Option<RawIdentity>,
    #[serde(default, deserialize_with = "present")]
    pub landing: Option<RawLanding>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPair {
    #[serde(default, deserialize_with = "present")]
    pub name: Option<Text>,
    pub origin: Spanned<OneOrMany>,
    pub destination: Spanned<OneOrMany>,
    #[serde(default, deserialize_with = "present")]
    pub links: Option<RawLinks>,
    #[serde(default, deserialize_with = "present")]
    pub parameter: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub identity: Option<RawIdentity>,
    #[serde(default, deserialize_with = "present")]
    pub hand_off: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub bind_user_agent: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub consent: Option<RawConsent>,
    /// `landing:` with nothing behind it is `Some(None)`: neither on nor off.
    #[serde(default, deserialize_with = "present")]
    pub landing: Option<Spanned<Option<RawLanding>>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    #[serde(default, deserialize_with = "present")]
    pub cookies: Option<Spanned<Vec<Text>>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLanding {
    #[serde(default, deserialize_with = "present")]
    pub accept: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub cookie: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub anonymous_cookie: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub domain: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub max_age: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub same_site: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    pub existing: Option<Text>,
}

/// A key with nothing behind it is a mistake and not its default: `keys:` above items that somebody has commented out
/// would open every landing.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// One text, or a list of them.
#[derive(Debug)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<Text>),
}

/// The texts of a [`OneOrMany`], each with its place.
pub(super) fn texts(value: &Spanned<OneOrMany>) -> Vec<Text> {
    match &value.value {
        OneOrMany::One(text) => {
            vec![Spanned { value: text.clone(), referenced: value.referenced, defined: value.defined }]
        }
        OneOrMany::Many(texts) => texts.clone(),
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;

        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one text, or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            // A number, a truth or nothing is taken as it is written; the section that reads it says what it wants.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(number.to_string()))
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(truth.to_string()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(String::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany::Many(texts))
            }
        }

        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

/// Link names and their targets, in the order of the file, each with its place.
#[derive(Debug, Default)]
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
