//! Who is believed and who may be carried: the keys `keys`, `replay`, `hand_off`, `bind_user_agent` and `consent`.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;

use serde_yaml::Spanned;

use super::cookie_name;
use super::fault::Faults;
use super::raw::{RawConfig, RawConsent, RawKey, Text};
use super::server::{number, word};
use crate::link::{Consent, ConsentCookie, Gpc, Key, Keys, Seal};
use crate::settings::{Replay, Unproven};

/// Reads every key from its file or the environment.
pub(super) fn keys(raw: Option<&Spanned<Vec<Spanned<RawKey>>>>, faults: &mut Faults) -> Keys {
    let Some(raw) = raw else { return Keys::default() };
    if raw.value.is_empty() {
        faults.add(raw, "there are no keys here", "add one, or leave `keys` out; `crosslink keygen` makes a key");
    }
    let mut ids: Vec<&str> = Vec::new();
    let mut keys = Vec::new();
    for Spanned { value: key, .. } in &raw.value {
        let id = key.id.value.as_str();
        if !(1..=16).contains(&id.chars().count()) || id.chars().any(char::is_control) {
            faults.add(&key.id, "this is no id for a key", "write 1 to 16 characters, such as `2026-11`");
        }
        if ids.contains(&id) {
            faults.add(&key.id, format!("there is a key `{id}` already"), "give each key an id of its own");
        }
        ids.push(id);
        let Some((source, paserk)) = secret(key, faults) else { continue };
        match Key::parse(id, paserk.trim()) {
            Ok(key) => keys.push(key),
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

/// The text of a key, and the value that says where it is.
fn secret<'a>(key: &'a RawKey, faults: &mut Faults) -> Option<(&'a Text, String)> {
    match (&key.file, &key.env) {
        (Some(file), None) => {
            let read = read_key(&file.value);
            if let Err(error) = &read {
                faults.add(
                    file,
                    format!("the key's file can't be read: {error}"),
                    "check its path and who may read it",
                );
            }
            let (text, mode) = read.ok()?;
            if mode & 0o006 != 0 {
                faults.warn(file, "everybody on this machine can read or change the key", "take that away: chmod o-rw");
            }
            Some((file, text))
        }
        (None, Some(env)) => {
            let value = std::env::var(&env.value).ok();
            if value.is_none() {
                faults.add(env, "the environment has no value of this name", "set it, or name a `file`");
            }
            Some((env, value?))
        }
        _ => {
            faults.add(&key.id, "a key needs either `file` or `env`", "write `file: /run/secrets/crosslink.key`");
            None
        }
    }
}

/// The text of a key's file, and its mode. What is no plain file, such as a pipe, could keep the program waiting.
fn read_key(path: &str) -> io::Result<(String, u32)> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST_KEY).read_to_string(&mut text)?;
    Ok((text, metadata.permissions().mode()))
}

/// Where used tokens are remembered.
pub(super) fn replay(raw: &RawConfig, faults: &mut Faults) -> Replay {
    let words = [("memory", true), ("off", false)];
    let unavailable = [("refuse", Unproven::Refuse), ("accept", Unproven::Accept)];
    Replay {
        on: word(raw.replay.as_ref(), true, &words, faults),
        entries: number(raw.replay_entries.as_ref(), 1_000_000, 1..=100_000_000, faults),
        unproven: word(raw.replay_unavailable.as_ref(), Unproven::Refuse, &unavailable, faults),
    }
}

/// `plain` or `sealed`, which needs a key.
pub(super) fn seal(text: Option<&Text>, default: Seal, keys: &Keys, faults: &mut Faults) -> Seal {
    let seal = word(text, default, &[("plain", Seal::Plain), ("sealed", Seal::Sealed)], faults);
    if let Some(text) = text.filter(|_| seal == Seal::Sealed && keys.is_empty()) {
        faults.add(text, "there is no key to seal with", "add one under `keys`; `crosslink keygen` makes it");
    }
    seal
}

/// `true` or `false`.
pub(super) fn truth(text: Option<&Text>, faults: &mut Faults) -> bool {
    word(text, false, &[("true", true), ("false", false)], faults)
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

/// A key has 52 bytes; what is much longer is something else.
const LONGEST_KEY: u64 = 1024;
