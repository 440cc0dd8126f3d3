//! What KISSmetrics is told, how it stands in the journal, and the request that tells it.

use std::borrow::Cow;
use std::fmt::Write;

use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::frame;
use crate::link::Identity;

/// Names and values that go along with an event.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties(Vec<(Cow<'static, str>, String)>);

impl Properties {
    /// Takes names with their values, in the order in which they are sent; `None` if a name is empty or begins with
    /// `_`, as those do that mean something to KISSmetrics itself.
    #[must_use]
    pub fn new(named: Vec<(Cow<'static, str>, String)>) -> Option<Self> {
        let is_own = |name: &str| name.is_empty() || name.starts_with('_');
        (!named.iter().any(|(name, _)| is_own(name))).then_some(Self(named))
    }
}

/// One thing that KISSmetrics is to know about a person, as it is kept and sent.
// Without `Debug`: it holds identities.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The site that it belongs to: `kissmetrics` of a pair's settings.
    pub site: String,
    /// Whom it is about.
    pub person: String,
    /// What there is to know.
    pub what: Kind,
    /// When that was, in seconds since 1970. The same person, event and second count once, so it stays what it is
    /// however often the event is sent.
    pub at: u64,
    /// When it was accepted, in seconds since 1970.
    pub accepted: u64,
}

/// What there is to know about a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// He is also known by this identity. It can't be undone.
    Alias(String),
    /// He did something.
    Record(String, Properties),
    /// He has these properties.
    Set(Properties),
}

impl Kind {
    /// He is also known by this identity.
    #[must_use]
    pub fn alias(other: &Identity<'_>) -> Self {
        Self::Alias(other.reveal().to_owned())
    }
}

impl Record {
    /// Something about a person that nobody has accepted yet, and when it was, in seconds since 1970.
    #[must_use]
    pub fn new(site: &str, person: &Identity<'_>, what: Kind, at: u64) -> Self {
        Self { site: site.to_owned(), person: person.reveal().to_owned(), what, at, accepted: 0 }
    }

    /// The word for what it tells: `alias`, `record` or `set`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.what {
            Kind::Alias(_) => "alias",
            Kind::Record(..) => "record",
            Kind::Set(_) => "set",
        }
    }

    /// What goes along with it.
    #[must_use]
    pub fn properties(&self) -> &[(Cow<'static, str>, String)] {
        match &self.what {
            Kind::Alias(_) => &[],
            Kind::Record(_, Properties(named)) | Kind::Set(Properties(named)) => named,
        }
    }

    /// The request that tells it, as the vendor's page on the API writes it: the path, then `_k` the key, `_p` the
    /// person, `_n` the event or the other identity, `_t` the time, and `_d=1`, which says that `_t` counts and not the
    /// time of the request.
    pub(super) fn target(&self, key: &str) -> String {
        let (path, name) = match &self.what {
            Kind::Alias(other) => ("/a", Some(other)),
            Kind::Record(name, _) => ("/e", Some(name)),
            Kind::Set(_) => ("/s", None),
        };
        let mut target = format!("{path}?_k={}&_p={}", escaped(key), escaped(&self.person));
        // Writing to a text does not fail.
        if let Some(name) = name {
            let _ = write!(target, "&_n={}", escaped(name));
        }
        let _ = write!(target, "&_t={}&_d=1", self.at);
        for (name, value) in self.properties() {
            let _ = write!(target, "&{}={}", escaped(name), escaped(value));
        }
        target
    }

    /// How it stands where it waits; `None` if no request can tell it: beyond some 8 KB servers refuse a URL.
    pub(super) fn kept(&self) -> Option<Vec<u8>> {
        let mut text = Vec::with_capacity(ROOM);
        serde_json::to_writer(&mut text, self).ok()?;
        // No byte of it becomes more than three of a request, and a request has nothing that it has not.
        let is_tellable = text.len() * 3 <= LONGEST_TARGET || self.target("").len() <= LONGEST_TARGET;
        (is_tellable && text.len() <= frame::LONGEST).then_some(text)
    }
}

fn escaped(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, ESCAPED)
}

/// What JavaScript's `encodeURIComponent` escapes (ECMA-262, 19.2.6.4).
const ESCAPED: &AsciiSet = &crate::link::ESCAPED.remove(b'\'');

/// What most events need.
const ROOM: usize = 320;

/// Without the key. Two identities of 255 characters, of which each takes 12 bytes once it is escaped, have room.
const LONGEST_TARGET: usize = 7800;

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(text: &str) -> Identity<'static> {
        Identity::from_query(&escaped(text).to_string()).unwrap().into_owned()
    }

    fn target(person: &str, what: Kind) -> String {
        Record::new("a site", &identity(person), what, 1_763_769_600).target("k3y")
    }

    #[test]
    fn requests_have_the_form_of_the_vendors_page() {
        let bought = Properties::new(vec![("Price (€)".into(), "9.99".to_owned())]).unwrap();
        let record = Kind::Record("Cart Checkout".to_owned(), bought.clone());
        for (what, expected) in [
            (Kind::alias(&identity("bob@bob.com")), "/a?_k=k3y&_p=X%2Fy%2Bz%3D&_n=bob%40bob.com&_t=1763769600&_d=1"),
            (record, "/e?_k=k3y&_p=X%2Fy%2Bz%3D&_n=Cart%20Checkout&_t=1763769600&_d=1&Price%20(%E2%82%AC)=9.99"),
            (Kind::Set(bought), "/s?_k=k3y&_p=X%2Fy%2Bz%3D&_t=1763769600&_d=1&Price%20(%E2%82%AC)=9.99"),
        ] {
            assert_eq!(target("X/y+z=", what), expected);
        }
    }

    #[test]
    fn each_byte_is_escaped_as_encode_uri_component_does() {
        for (person, expected) in [
            ("a,b:c;d&e=f", "a%2Cb%3Ac%3Bd%26e%3Df"),
            ("-_.!~*'()", "-_.!~*'()"),
            ("50% #?", "50%25%20%23%3F"),
            ("Zoë 日本 🦀", "Zo%C3%AB%20%E6%97%A5%E6%9C%AC%20%F0%9F%A6%80"),
        ] {
            let target = target(person, Kind::Set(Properties::default()));
            assert_eq!(target, format!("/s?_k=k3y&_p={expected}&_t=1763769600&_d=1"));
        }
    }

    #[test]
    fn a_property_can_not_take_the_place_of_what_the_service_reads() {
        for name in ["_k", "_p", "_t", "_", ""] {
            assert!(Properties::new(vec![(name.to_owned().into(), "x".to_owned())]).is_none(), "{name}");
        }
    }

    #[test]
    fn the_longest_identities_fit_and_a_novel_does_not() {
        let longest = "🦀".repeat(255);
        let tellable = |what| Record::new("s", &identity(&longest), what, 0);
        assert!(tellable(Kind::alias(&identity(&longest))).kept().is_some());
        let novel = Properties::new(vec![("Text".into(), "x".repeat(9000))]).unwrap();
        assert!(tellable(Kind::Set(novel)).kept().is_none());
        for (length, text) in (2300..2700).map(|length| (length, "€")).chain((7500..7900).map(|length| (length, "x")))
        {
            let properties = Properties::new(vec![("Text".into(), text.repeat(length / text.len()))]).unwrap();
            let record = Record::new("s", &identity("x"), Kind::Set(properties), 0);
            assert_eq!(record.kept().is_some(), record.target("").len() <= LONGEST_TARGET, "{length} of {text}");
        }
    }
}
