//! The sealed identity, `kmt`: encrypted, bound to one destination, and good for two minutes.
//!
//! It is a PASETO `v4.local` token. Nothing outside this file knows that, so the format could change.

use std::fmt;
use std::time::Duration;

use pasetors::keys::{Generate, SymmetricKey};
use pasetors::paserk::FormatAsPaserk;
use pasetors::token::{Local, UntrustedToken};
use pasetors::version4::{LocalToken, V4};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::identity::{Class, Identity};

/// The keys of a deployment: the first seals, all of them open.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
}

/// One key and the name by which a token says that it was sealed with it.
#[derive(Clone)]
pub struct Key {
    id: String,
    secret: SymmetricKey<V4>,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

/// What a token is bound to without saying it: both sides must mean the same.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// `scheme://host[:port]` of the destination.
    pub destination: &'a str,
    /// The `User-Agent` of the visitor, where the pair binds it; empty if there was none.
    pub user_agent: Option<&'a [u8]>,
}

/// An identity as it came out of a token.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Who it is, with the class that the origin saw.
    pub identity: Identity<'static>,
    /// What tells this token from every other, for as long as it lives.
    pub id: TokenId,
    /// When it may be forgotten, in seconds since 1970: it can't be opened any more then.
    pub forget_at: u64,
}

/// The last 128 bits of a token's authentication tag: two tokens with the same ones never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u128);

/// Why a token gives no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// It is no token, its key is not known here, or what is in it makes no sense.
    Invalid,
    /// It was changed, or made for another destination or browser.
    Forged,
    /// Its time is over.
    Expired,
}

/// What is encrypted. The names are short because they travel in a URL.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    #[serde(rename = "i")]
    identity: String,
    #[serde(rename = "c")]
    class: PayloadClass,
    /// Seconds since 1970.
    #[serde(rename = "e")]
    expiry: u64,
}

#[derive(Serialize, Deserialize)]
enum PayloadClass {
    #[serde(rename = "n")]
    Named,
    #[serde(rename = "a")]
    Anonymous,
}

impl Key {
    /// Takes a key in PASERK form, `k4.local.` and 43 characters of base64url, and the id that tokens name it by.
    ///
    /// # Errors
    /// [`BadKey`] if the text is anything else.
    pub fn parse(id: &str, paserk: &str) -> Result<Self, BadKey> {
        let secret = SymmetricKey::<V4>::try_from(paserk).map_err(|_| BadKey)?;
        Ok(Self { id: id.to_owned(), secret })
    }

    /// The id that tokens name it by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the other key is this one under perhaps another id. It takes as long for every answer.
    #[must_use]
    pub fn has_secret_of(&self, other: &Self) -> bool {
        self.secret == other.secret
    }

    /// Makes a new key from the system's randomness, in PASERK form.
    ///
    /// # Errors
    /// [`BadKey`] if the system has no randomness to give.
    pub fn generate() -> Result<String, BadKey> {
        let secret = SymmetricKey::<V4>::generate().map_err(|_| BadKey)?;
        let mut paserk = String::new();
        FormatAsPaserk::fmt(&secret, &mut paserk).map_err(|_| BadKey)?;
        Ok(paserk)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Keys {
    /// The keys in the order of the file.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }

    /// Whether there is none, and nothing can be sealed or opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Seals an identity with the first key until [`LIFE`] after `now`, which is in seconds since 1970. The token is
    /// of letters, digits, `.`, `-` and `_`, and needs no escaping. `None` without a key or randomness.
    #[must_use]
    pub fn seal(&self, identity: &Identity<'_>, binding: Binding<'_>, now: u64) -> Option<String> {
        let key = self.keys.first()?;
        let payload = Payload {
            identity: identity.reveal().to_owned(),
            class: match identity.class() {
                Class::Named => PayloadClass::Named,
                Class::Anonymous => PayloadClass::Anonymous,
            },
            expiry: now.saturating_add(LIFE.as_secs()),
        };
        let payload = serde_json::to_vec(&payload).ok()?;
        LocalToken::encrypt(&key.secret, &payload, Some(key.id.as_bytes()), Some(&binding.assertion())).ok()
    }

    /// Opens a token with the key that it names.
    ///
    /// The verifier alone sets how long a token may live: an expiry beyond [`LIFE`] from now is not believed, whoever
    /// wrote it. Clocks may differ by [`SKEW`] either way.
    ///
    /// # Errors
    /// [`Sealed`] says why it stays shut.
    pub fn open(&self, token: &str, binding: Binding<'_>, now: u64) -> Result<Opened, Sealed> {
        if token.len() > MAX_BYTES {
            return Err(Sealed::Invalid);
        }
        let token = UntrustedToken::<Local, V4>::try_from(token).map_err(|_| Sealed::Invalid)?;
        let named = |key: &&Key| key.id.as_bytes() == token.untrusted_footer();
        let key = self.keys.iter().find(named).ok_or(Sealed::Invalid)?;
        let trusted =
            LocalToken::decrypt(&key.secret, &token, None, Some(&binding.assertion())).map_err(|_| Sealed::Forged)?;
        let payload: Payload = serde_json::from_str(trusted.payload()).map_err(|_| Sealed::Invalid)?;
        let forget_at = payload.expiry.saturating_add(SKEW.as_secs());
        if now > forget_at {
            return Err(Sealed::Expired);
        }
        if payload.expiry > now.saturating_add(LIFE.as_secs() + SKEW.as_secs()) {
            return Err(Sealed::Invalid);
        }
        let class = match payload.class {
            PayloadClass::Named => Class::Named,
            PayloadClass::Anonymous => Class::Anonymous,
        };
        let identity = Identity::from_token(payload.identity, class).map_err(|_| Sealed::Invalid)?;
        Ok(Opened { identity, id: TokenId::of(token.untrusted_message()), forget_at })
    }
}

impl TokenId {
    /// The last 16 bytes of a token, which are of its authentication tag.
    fn of(message: &[u8]) -> Self {
        Self(message.last_chunk().copied().map_or(0, u128::from_be_bytes))
    }
}

impl Binding<'_> {
    /// The implicit assertion: each field as a netstring, `5:hello,`, so that no two bindings have the same text.
    fn assertion(&self) -> Vec<u8> {
        let mut assertion = Vec::new();
        let mut add = |field: &[u8]| {
            assertion.extend_from_slice(field.len().to_string().as_bytes());
            assertion.push(b':');
            assertion.extend_from_slice(field);
            assertion.push(b',');
        };
        add(FORMAT.as_bytes());
        add(self.destination.as_bytes());
        if let Some(user_agent) = self.user_agent {
            add(&Sha256::digest(user_agent));
        }
        assertion
    }
}

/// The name and version of this use of PASETO, so that a token made for something else with the same key is none.
const FORMAT: &str = "crosslink kmt 1";

/// How long a token is good for: a redirect takes seconds, and a link that was copied is old by then.
pub const LIFE: Duration = Duration::from_secs(120);

/// How far the clocks of two machines may differ.
pub const SKEW: Duration = Duration::from_secs(30);

/// The longest token that is looked at. An identity of 255 characters of four bytes, each escaped by JSON at worst to
/// twelve, makes 4.2 kB of base64; what is longer was not made here.
const MAX_BYTES: usize = 6000;

#[cfg(test)]
mod tests {
    use super::*;

    const PASERK: &str = "k4.local.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8";
    const OTHER: &str = "k4.local.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const NOW: u64 = 1_795_000_000;
    const HERE: Binding<'static> = Binding { destination: "https://ok.example", user_agent: None };

    fn keys(keys: &[(&str, &str)]) -> Keys {
        Keys::new(keys.iter().map(|(id, paserk)| Key::parse(id, paserk).unwrap()).collect())
    }

    fn identity(value: &str) -> Identity<'_> {
        Identity::from_cookie(value.as_bytes()).unwrap()
    }

    fn sealed(value: &str) -> String {
        keys(&[("2026-11", PASERK)]).seal(&identity(value), HERE, NOW).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_where_it_was_meant_for() {
        let opened = keys(&[("2026-11", PASERK)]).open(&sealed("bob%40bob.com"), HERE, NOW).unwrap();
        assert_eq!(opened.identity.reveal(), "bob@bob.com");
        assert_eq!(opened.identity.class(), Class::Named);
        assert_eq!(opened.forget_at, NOW + 150);
        assert!(!format!("{opened:?}").contains("bob"));
    }

    #[test]
    fn a_token_is_short_and_needs_no_escaping() {
        let keys = keys(&[("sixteen-letters.", PASERK)]);
        let token = keys.seal(&identity("fTTEi+Dx9uNZ/WYzrFM8hVkBqQY="), HERE, NOW).unwrap();
        assert!(token.len() < 200, "{} characters", token.len());
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
        assert!(!token.contains("fTTE"));
    }

    #[test]
    fn every_change_of_a_character_shuts_it() {
        let keys = keys(&[("2026-11", PASERK)]);
        let token = sealed("bob");
        for at in 0..token.len() {
            for other in ["A", "b", "-", "."] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, other);
                assert!(changed == token || keys.open(&changed, HERE, NOW).is_err(), "{changed}");
            }
            assert!(keys.open(token.get(..at).unwrap(), HERE, NOW).is_err());
        }
    }

    #[test]
    fn it_is_shut_anywhere_else() {
        let keys = keys(&[("2026-11", PASERK)]);
        for destination in ["https://ok.example:8443", "http://ok.example", "https://b.example", ""] {
            let there = Binding { destination, ..HERE };
            assert_eq!(keys.open(&sealed("bob"), there, NOW).unwrap_err(), Sealed::Forged, "{destination}");
        }
    }

    #[test]
    fn a_bound_browser_is_the_only_one() {
        let keys = keys(&[("2026-11", PASERK)]);
        let browser = |name: &'static [u8]| Binding { user_agent: Some(name), ..HERE };
        let token = keys.seal(&identity("bob"), browser(b"Firefox"), NOW).unwrap();
        assert!(keys.open(&token, browser(b"Firefox"), NOW).is_ok());
        for other in [browser(b"Chrome"), browser(b""), HERE] {
            assert_eq!(keys.open(&token, other, NOW).unwrap_err(), Sealed::Forged);
        }
    }

    #[test]
    fn the_verifier_sets_how_long_it_lives() {
        let keys = keys(&[("2026-11", PASERK)]);
        let token = sealed("bob");
        assert!(keys.open(&token, HERE, NOW + 150).is_ok());
        assert_eq!(keys.open(&token, HERE, NOW + 151).unwrap_err(), Sealed::Expired);
        assert!(keys.open(&token, HERE, NOW - 30).is_ok());
        assert_eq!(keys.open(&token, HERE, NOW - 31).unwrap_err(), Sealed::Invalid, "its expiry lies too far ahead");
    }

    #[test]
    fn keys_rotate_in_either_order() {
        let [old, new] = [("old", PASERK), ("new", OTHER)];
        let [before, both, turned] = [keys(&[old]), keys(&[old, new]), keys(&[new, old])];
        for sealing in [&before, &both, &turned] {
            let token = sealing.seal(&identity("bob"), HERE, NOW).unwrap();
            assert!(both.open(&token, HERE, NOW).is_ok());
            assert!(turned.open(&token, HERE, NOW).is_ok());
        }
        let token = turned.seal(&identity("bob"), HERE, NOW).unwrap();
        assert_eq!(before.open(&token, HERE, NOW).unwrap_err(), Sealed::Invalid, "the key is not known there");
        let stolen_name = keys(&[("old", OTHER)]).seal(&identity("bob"), HERE, NOW).unwrap();
        assert_eq!(both.open(&stolen_name, HERE, NOW).unwrap_err(), Sealed::Forged);
    }

    #[test]
    fn what_makes_no_sense_inside_is_invalid() {
        let keys = keys(&[("2026-11", PASERK)]);
        let secret = SymmetricKey::<V4>::try_from(PASERK).unwrap();
        for payload in [
            "[]",
            "{}",
            r#"{"i":"","c":"n","e":1795000100}"#,
            r#"{"i":"null","c":"n","e":1795000100}"#,
            r#"{"i":"a\u0000","c":"n","e":1795000100}"#,
            r#"{"i":"bob","c":"x","e":1795000100}"#,
            r#"{"i":"bob","c":"n","e":-1}"#,
            r#"{"i":"bob","c":"n","e":1795000100,"more":1}"#,
        ] {
            let assertion = HERE.assertion();
            let token = LocalToken::encrypt(&secret, payload.as_bytes(), Some(b"2026-11"), Some(&assertion)).unwrap();
            assert_eq!(keys.open(&token, HERE, NOW).unwrap_err(), Sealed::Invalid, "{payload}");
        }
        for token in ["", "v4.local.", "v4.local.AAAA", "v4.public.AAAA", "v3.local.AAAA", &"a".repeat(10_000)] {
            assert_eq!(keys.open(token, HERE, NOW).unwrap_err(), Sealed::Invalid, "{token}");
        }
    }

    #[test]
    fn a_key_is_a_paserk_and_hides_itself() {
        for text in ["", "k4.local.", "k4.local.AAAA", "k4.secret.AAAA", "k3.local.AAAA", PASERK.get(..51).unwrap()] {
            assert!(Key::parse("id", text).is_err(), "{text}");
        }
        let key = Key::parse("2026-11", PASERK).unwrap();
        assert_eq!(format!("{key:?}"), "Key(2026-11)");
        let new = Key::parse("new", &Key::generate().unwrap()).unwrap();
        assert!(key.has_secret_of(&Key::parse("2027-01", PASERK).unwrap()) && !key.has_secret_of(&new));
    }
}
