//! Who is believed and who may be carried: the keys `keys`, `replay`, `hand_off`, `bind_user_agent` and `consent`.

use std::io;
use std::path::Path;

use redis::{ConnectionInfo, IntoConnectionInfo, parse_redis_url};

use super::cookie_name;
use super::fault::{Faults, PERHAPS_ITSELF, Place, is_path};
use super::plain_file::read_plain_file;
use super::raw::{RawConfig, RawConsent, RawKey, RawSecret};
use super::text::{Placed, Text};
use super::value::{number, word};
use crate::link::{Consent, ConsentCookie, Gpc, Key, Keys, Seal};
use crate::settings::{Replay, TokenStore, Unproven};

/// Reads every key from its file or the environment.
pub(super) fn keys(raw: Option<&Placed<Vec<Placed<RawKey>>>>, faults: &mut Faults) -> Keys {
    let Some(raw) = raw else { return Keys::default() };
    if raw.value.is_empty() {
        faults.add(raw, "there are no keys here", "add one, or leave `keys` out; `crosslink keygen` makes a key");
    }
    let mut ids: Vec<&str> = Vec::new();
    let mut keys = Vec::new();
    for Placed { value: key, .. } in &raw.value {
        let id = key.id.value.as_str();
        if !(1..=16).contains(&id.chars().count()) || id.chars().any(char::is_control) {
            faults.add(&key.id, "this is no id for a key", "write 1 to 16 characters, such as `2026-11`");
        }
        if ids.contains(&id) {
            faults.add(&key.id, format!("there is a key `{id}` already"), "give each key an id of its own");
        }
        ids.push(id);
        let Some((source, paserk)) = secret(&key.id, "a key", SOURCES, [&key.file, &key.env], faults) else { continue };
        match Key::parse(id, paserk.trim()) {
            Ok(key) => {
                if let Some(other) = keys.iter().find(|other: &&Key| other.has_secret_of(&key)) {
                    faults.add(
                        source,
                        format!("this is the key `{}` under another id", other.id()),
                        "whoever has the one has the other; `crosslink keygen` makes a new one",
                    );
                }
                keys.push(key);
            }
            // What stands there is perhaps a key with one letter wrong: it is not shown.
            Err(_) => faults.add(
                source,
                "what stands there is no key",
                "it must be one line that begins with `k4.local.`; `crosslink keygen` makes one",
            ),
        }
    }
    Keys::new(keys)
}

/// The text of a secret, and the value that says where it is. `at` is the place of a secret that says nothing, and the
/// names are those of the keys for a file and for the environment.
pub(super) fn secret<'a>(
    at: impl Into<Place>,
    what: &str,
    [file_key, env_key]: [&str; 2],
    [file, env]: [&'a Option<Text>; 2],
    faults: &mut Faults,
) -> Option<(&'a Text, String)> {
    match (file, env) {
        (Some(_), Some(env)) => {
            let problem = format!("{what} comes from a `{file_key}` or from `{env_key}`, not from both");
            faults.add(env, problem, "keep one of them");
            None
        }
        (Some(file), None) => {
            let read = read_secret(&file.value);
            if let Err(error) = &read {
                // What is no path is perhaps the secret.
                let itself = if is_path(&file.value) { "" } else { PERHAPS_ITSELF };
                let hint = "check its path and who may read it; a secret itself belongs into a file, not here";
                let hint = if file.value.starts_with('~') { AT_HOME } else { hint };
                faults.add(file, format!("the file can't be read{itself}: {error}"), hint);
            }
            let (text, mode) = read.ok()?;
            if text.trim().is_empty() || text.len() as u64 > LONGEST_SECRET {
                faults.add(file, "this file holds no secret", "it must hold one line of at most 1024 bytes");
                return None;
            }
            if mode & 0o006 != 0 {
                let problem = "everybody on this machine can read or change this file";
                faults.warn(file, problem, "take that away: chmod o-rw");
            }
            Some((file, text))
        }
        (None, Some(env)) => {
            let value = std::env::var(&env.value).ok();
            if value.is_none() {
                let is_name = env.value.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
                let itself = if is_name { "" } else { PERHAPS_ITSELF };
                let hint = format!("set it, or name a `{file_key}`");
                faults.add(env, format!("the environment has no value of this name{itself}"), hint);
            }
            Some((env, value?))
        }
        (None, None) => {
            let hint = format!("write `{file_key}: PATH` or `{env_key}: NAME`");
            faults.add(at, format!("{what} needs either `{file_key}` or `{env_key}`"), hint);
            None
        }
    }
}

/// The text of a secret's file, and its mode.
fn read_secret(path: &str) -> io::Result<(String, u32)> {
    let (bytes, mode) = read_plain_file(Path::new(path), LONGEST_SECRET + 1)?;
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text in UTF-8"))?;
    // Some editors begin each file with this mark.
    Ok((text.trim_start_matches('\u{feff}').to_owned(), mode))
}

/// Where used tokens are remembered.
pub(super) fn replay(raw: &RawConfig, faults: &mut Faults) -> Replay {
    let unavailable = [("refuse", Unproven::Refuse), ("accept", Unproven::Accept)];
    let entries = number(raw.replay_entries.as_ref(), 1_000_000, 1..=100_000_000, faults);
    Replay {
        store: store(raw, entries, faults).unwrap_or(TokenStore::Memory { entries }),
        unproven: word(raw.replay_unavailable.as_ref(), Unproven::Refuse, &unavailable, faults),
    }
}

fn store(raw: &RawConfig, entries: usize, faults: &mut Faults) -> Option<TokenStore> {
    let text = raw.replay.as_ref();
    if let Some(text) = text.filter(|text| text.value.contains("://")) {
        let words = Words { address: "redis://HOST:PORT/DATABASE", password: "replay_password", section: "" };
        return shared(text, raw.replay_password.as_ref(), &words, faults).map(TokenStore::Shared);
    }
    if let Some(password) = &*raw.replay_password {
        faults.add(password, "there is no store that asks for a password", "write `replay: redis://HOST:PORT`");
    }
    let text = text?;
    match text.value.as_str() {
        "memory" => Some(TokenStore::Memory { entries }),
        "off" => Some(TokenStore::Off),
        _ => {
            let hint = "write `memory`, `off`, or the address of a Valkey or Redis: `redis://HOST:PORT`";
            faults.add(text, "this is no place for used tokens", hint);
            None
        }
    }
}

/// What the keys of a store are called in its faults.
pub(super) struct Words {
    /// The form of its address.
    pub address: &'static str,
    /// Where its password stands.
    pub password: &'static str,
    /// And where that key stands.
    pub section: &'static str,
}

/// A Valkey or Redis: `redis://HOST:PORT/DATABASE`, or `redis+unix:///PATH` for a socket.
pub(super) fn shared(
    server: &Text,
    password: Option<&Placed<RawSecret>>,
    words: &Words,
    faults: &mut Faults,
) -> Option<ConnectionInfo> {
    let known = parse_redis_url(&server.value).filter(|url| matches!(url.scheme(), "redis" | "redis+unix"));
    let info = known.as_ref().and_then(|url| url.clone().into_connection_info().ok());
    let Words { address, password: key, section } = words;
    let Some((url, info)) = known.as_ref().zip(info) else {
        let hint = if server.value.starts_with("rediss:") {
            format!("TLS is not spoken to a store: lead it through a tunnel, and write `{address}`")
        } else {
            "write `redis://HOST:PORT`, `redis://HOST:PORT/DATABASE` or `redis+unix:///PATH`".to_owned()
        };
        faults.add(server, "this is no address of a Valkey or Redis", hint);
        return None;
    };
    if url.query().is_some() || url.fragment().is_some() || info.redis_settings().db() < 0 {
        let hint = format!("write `{address}`; a password has a key of its own, `{key}`{section}");
        faults.add(server, "there is more in this address than a place", hint);
        return None;
    }
    if url.password().is_some() {
        let hint = format!("name its file: `{key}: {{ file: /etc/crosslink/secrets/redis }}`{section}, or `env`");
        faults.add(server, "a password does not belong into this file", hint);
        return None;
    }
    let Some(password) = password else {
        if info.redis_settings().username().is_some() {
            let hint = format!("add `{key}: {{ file: PATH }}`{section}, or take the user out");
            faults.add(server, "a user needs a password", hint);
        }
        return Some(info);
    };
    let RawSecret { file, env } = &password.value;
    let (_, password) = secret(password, "a password", SOURCES, [file, env], faults)?;
    let settings = info.redis_settings().clone().set_password(password.trim());
    Some(info.set_redis_settings(settings))
}

/// `plain` or `sealed`, which needs a key.
pub(super) fn seal(text: Option<&Text>, default: Seal, keys: &Keys, faults: &mut Faults) -> Seal {
    let seal = word(text, default, &[("plain", Seal::Plain), ("sealed", Seal::Sealed)], faults);
    if let Some(text) = text.filter(|_| seal == Seal::Sealed && keys.is_empty()) {
        faults.add(text, "there is no key to seal with", "add one under `keys`; `crosslink keygen` makes it");
    }
    seal
}

/// What is asked of a visitor.
pub(super) fn consent(raw: Option<&RawConsent>, faults: &mut Faults) -> Consent {
    let Some(raw) = raw else { return Consent::default() };
    if let Some(empty) = raw.require_cookie.as_ref().map(|cookie| &cookie.contains).filter(|text| text.value.is_empty())
    {
        faults.add(empty, "every cookie contains nothing", "write what the cookie says once a visitor has agreed");
    }
    let require_cookie = raw.require_cookie.as_ref().map(|cookie| ConsentCookie {
        name: cookie_name::check(&cookie.name, faults),
        contains: cookie.contains.value.clone(),
    });
    let gpc = word(raw.gpc.as_ref(), Gpc::Honour, &[("honour", Gpc::Honour), ("ignore", Gpc::Ignore)], faults);
    Consent { require_cookie, gpc }
}

/// What is said of a path that only a shell understands.
pub(super) const AT_HOME: &str = "`~` stands for nothing here: write the whole path";
/// Where a secret may be.
const SOURCES: [&str; 2] = ["file", "env"];
/// A key has 52 bytes; what is much longer is no secret.
const LONGEST_SECRET: u64 = 1024;
