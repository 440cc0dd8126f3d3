//! How events reach KISSmetrics: the key `outbox`, and `kissmetrics` of the pairs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process;
use std::time::Duration;

use bytesize::ByteSize;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use url::{Host, Url};

use super::fault::{Faults, MORE_THAN_A_PLACE};
use super::raw::{RawConfig, RawPair, RawSecret};
use super::raw_outbox::{RawApi, RawKissmetrics, RawOutbox};
use super::text::{Placed, Text};
use super::tls;
use super::trust::{AT_HOME, Words, secret, shared};
use super::value::{bytes, duration, number, truth, word};
use crate::link::{DomainPair, EventNames, Seal, SiteName};
use crate::settings::{Durability, OutboxPlace, OutboxSettings, Secret, Site, Sites, StreamPlace, WhenFull};

/// Where events are kept, and how.
pub(super) fn outbox(placed: &Placed<RawOutbox>, faults: &mut Faults) -> Option<OutboxSettings> {
    let raw = &placed.value;
    let size = bytes(raw.max_bytes.as_ref(), ByteSize::mib(256), ByteSize::mib(1)..=ByteSize::gib(64), faults);
    let place = place(placed, faults);
    Some(OutboxSettings {
        place: place?,
        durability: word(raw.durability.as_ref(), Durability::Each, &DURABILITY, faults),
        max_bytes: size as u64,
        when_full: word(raw.when_full.as_ref(), WhenFull::RefuseNew, &WHEN_FULL, faults),
        timeout: duration(raw.timeout.as_ref(), Duration::from_secs(10), SHORTEST..=LONGEST, faults),
        parallel: number(raw.parallel.as_ref(), 8, 1..=100, faults),
        authorities: raw.ca_file.as_ref().and_then(|file| authorities(file, faults)),
    })
}

/// The directory or the stream.
fn place(placed: &Placed<RawOutbox>, faults: &mut Faults) -> Option<OutboxPlace> {
    let RawOutbox { directory, stream, password, durability, .. } = &placed.value;
    let [directory, stream, durability] = [directory, stream, durability].map(|text| text.as_ref());
    if let (None, Some(password)) = (stream, password.as_ref()) {
        faults.add(password, "there is no store that asks for a password", "write `stream: redis://HOST:PORT/NAME`");
    }
    match (directory, stream) {
        (Some(_), Some(stream)) => {
            let problem = "events wait in a `directory` or in a `stream`, not in both";
            faults.add(stream, problem, "keep one of them");
            None
        }
        (None, None) => {
            let problem = "it is not said where events wait";
            faults.add(placed, problem, "add `directory: PATH`, or `stream: redis://HOST:PORT/NAME`");
            None
        }
        (Some(directory), None) => {
            check_directory(directory, faults);
            Some(OutboxPlace::Directory(directory.value.clone().into()))
        }
        (None, Some(address)) => {
            if let Some(durability) = durability {
                let problem = "when an event in a stream is safe is up to the store";
                faults.add(durability, problem, "leave `durability` out, and look at the store's `appendfsync`");
            }
            stream_place(address, password.as_ref(), faults).map(OutboxPlace::Stream)
        }
    }
}

/// The address of a store, and behind its last slash the name of the stream.
fn stream_place(text: &Text, password: Option<&Placed<RawSecret>>, faults: &mut Faults) -> Option<StreamPlace> {
    let words = Words { address: "redis://HOST:PORT/NAME", password: "password", section: " under `outbox`" };
    let is_name = |name: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        name.chars().all(fits) && name.contains(|c: char| c.is_ascii_alphabetic())
    };
    let is_socket = text.value.starts_with("redis+unix") && text.value.to_ascii_lowercase().ends_with(".sock");
    let is_store = |store: &str| !store.ends_with('/') && store.starts_with("redis") && store.contains("://");
    let parts = text.value.rsplit_once('/').filter(|(store, name)| is_store(store) && is_name(name) && !is_socket);
    let Some((store, name)) = parts else {
        let hint = if is_socket {
            "write the name of the stream behind the socket: `redis+unix:///run/redis.sock/crosslink`"
        } else {
            "write `redis://HOST:PORT/NAME`, `redis://HOST:PORT/DATABASE/NAME` or `redis+unix:///PATH/NAME`, such as \
             `redis://10.0.0.5:6379/crosslink`"
        };
        faults.add(text, "this is no address of a stream in a Valkey or Redis", hint);
        return None;
    };
    let server = shared(&Placed { value: store.to_owned(), at: text.at }, password, &words, faults)?;
    Some(StreamPlace { server, name: name.to_owned() })
}

/// What programs show that may use the server API.
pub(super) fn api(raw: &RawConfig, admin: Option<SocketAddr>, faults: &mut Faults) -> Option<Secret> {
    let api = raw.api.as_ref()?;
    if raw.outbox.is_none() {
        let hint = "add `outbox: { directory: PATH }` to the file";
        faults.add(api, "there is no `outbox`, in which events wait until they are delivered", hint);
    }
    if admin.is_none() {
        faults.add(api, "the API is on the operator's port, which is off", "write `admin: 127.0.0.1:8081`");
    }
    if admin.is_some_and(|admin| !admin.ip().is_loopback()) {
        let problem = "the token of the API travels to the admin port unencrypted, from other machines too";
        faults.warn(api, problem, "keep `admin` on 127.0.0.1, or within a network of your own");
    }
    if raw.pairs.value.iter().all(|pair| pair.value.kissmetrics.is_none()) {
        faults.warn(api, "no pair has `kissmetrics`, so there is nobody to tell", "give a pair its `kissmetrics`");
    }
    let RawApi { token_file, token_env } = &api.value;
    let keys = ["token_file", "token_env"];
    let (source, text) = secret(api, "the token of the API", keys, [token_file, token_env], faults)?;
    let token = Secret::parse(text.trim(), 20..=1000);
    if token.is_none() {
        let problem = "a token has 20 to 1000 visible characters of ASCII";
        faults.add(source, problem, "make one: openssl rand -hex 32");
    }
    token
}

/// The directory must be there, and the program must be able to write to it. That its disk is full is no fault: the
/// program runs without it, and goes on when there is room.
fn check_directory(directory: &Text, faults: &mut Faults) {
    let path = Path::new(&directory.value);
    let looked = fs::metadata(path).and_then(|found| {
        if !found.is_dir() {
            return Err(io::Error::other("it is no directory"));
        }
        // A new one: whoever may write there could have put a link in its place, to a file that is not his.
        let file = path.join(format!(".writable-{}", process::id()));
        match File::create_new(&file) {
            Err(error) if is_refused(&error) => Err(error),
            Err(_) => Ok(found),
            Ok(_) => fs::remove_file(file).map(|()| found),
        }
    });
    let found = match looked {
        Ok(found) => found,
        Err(error) => {
            let hint = if directory.value.starts_with('~') {
                AT_HOME
            } else {
                "make a directory that belongs to the user under whom crosslink runs, and that nobody else may read"
            };
            faults.add(directory, format!("this directory can't be used: {error}"), hint);
            return;
        }
    };
    if found.permissions().mode() & 0o002 != 0 {
        faults.warn(directory, "everybody on this machine can write into this directory", "take that away: chmod o-w");
    }
    if path.is_relative() {
        let problem = "which directory this is depends on where crosslink is started";
        faults.warn(directory, problem, "write the whole path, such as `/var/lib/crosslink`");
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn authorities(file: &Text, faults: &mut Faults) -> Option<Vec<CertificateDer<'static>>> {
    let hint = "name a PEM file that holds the certificate of the authority which vouches for the service";
    let found = tls::certificates(file, hint, faults)?;
    let (_, unusable) = RootCertStore::empty().add_parsable_certificates(found.iter().cloned());
    if unusable > 0 {
        faults.add(file, "a certificate in this file is damaged", hint);
    }
    Some(found)
}

/// The name of a pair's site, where its key stands somewhere.
pub(super) fn site_name(raw: &RawKissmetrics) -> Option<SiteName> {
    let file = raw.key_file.as_ref().map(|file| format!("file {}", file.value));
    let env = raw.key_env.as_ref().map(|env| format!("env {}", env.value));
    file.or(env).map(SiteName::from)
}

/// The names of what a pair's site is told of visitors.
pub(super) fn events(raw: &RawKissmetrics, faults: &mut Faults) -> EventNames {
    let Some(raw) = &*raw.events else { return EventNames::default() };
    let mut name = |text: &Option<Text>| text.as_ref().and_then(|text| event_name(text, faults));
    EventNames { left: name(&raw.left), arrived: name(&raw.arrived) }
}

fn event_name(text: &Text, faults: &mut Faults) -> Option<Box<str>> {
    let value = &*text.value;
    let is_name = !value.trim().is_empty() && value.chars().count() <= 255 && !value.chars().any(char::is_control);
    if !is_name {
        let hint = "write a few words, such as `Left for checkout`: at most 255 characters, none of them a control one";
        faults.add(text, "this is no name of an event", hint);
    }
    is_name.then(|| value.into())
}

/// The sites of all pairs. Each key is read once.
pub(super) fn sites(raw: &RawConfig, faults: &mut Faults) -> Sites {
    let mut sites = Sites::new();
    for kissmetrics in raw.pairs.value.iter().filter_map(|pair| pair.value.kissmetrics.as_deref()) {
        if raw.outbox.is_none() {
            faults.add(
                kissmetrics,
                "there is no `outbox`, in which events wait until they are delivered",
                "add `outbox: { directory: PATH }` to the file",
            );
        }
        let endpoint = endpoint(kissmetrics.value.endpoint.as_ref(), faults);
        let (Some(name), Some(endpoint)) = (site_name(&kissmetrics.value), endpoint) else {
            // Says what is missing.
            key(kissmetrics, faults);
            continue;
        };
        match sites.entry(name) {
            Entry::Vacant(free) => {
                if let Some(key) = key(kissmetrics, faults) {
                    free.insert(Site { endpoint, key });
                }
            }
            Entry::Occupied(known) if known.get().endpoint != endpoint => faults.add(
                kissmetrics.value.endpoint.as_ref().map_or(kissmetrics.at, |endpoint| endpoint.at),
                format!("another pair with this key has the endpoint {}", known.get().endpoint),
                "one site is in one place: write the same `endpoint` in all pairs that name its key",
            ),
            Entry::Occupied(_) => {}
        }
    }
    sites
}

/// The pages of one host have one script with one key: pairs that share a host, on either side, and name different
/// sites carry identities from one store to another, where the same words may name somebody else.
pub(super) fn check_sites(raw: &[Placed<RawPair>], pairs: &[DomainPair], faults: &mut Faults) {
    let mut first: HashMap<(&str, bool), &DomainPair> = HashMap::new();
    let named = raw.iter().zip(pairs).filter(|(_, pair)| pair.kissmetrics.is_some());
    let named = named.filter_map(|(raw, pair)| Some((raw.value.kissmetrics.as_deref()?, pair)));
    for (kissmetrics, pair) in named {
        if pair.landing.as_ref().is_some_and(|landing| landing.accept == Seal::Plain) {
            let problem = "this landing believes plain identities, and an alias can't be undone: whoever may put a link on a page \
                           of the origin makes those that follow it anybody he likes";
            faults.warn(kissmetrics, problem, "seal the hand-off, see docs/sealed.md");
        }
        let origins = pair.origins.iter().map(|origin| (origin.domain.as_str(), false));
        let destinations = pair.destinations.iter().map(|entry| (entry.domain().as_str(), entry.is_wildcard()));
        let hosts: Vec<_> = origins.chain(destinations).collect();
        let others = hosts.iter().map(|host| (host, *first.entry(*host).or_insert(pair)));
        let is_meant = truth(kissmetrics.value.separate.as_ref(), faults);
        let other = others.filter(|(_, other)| other.kissmetrics != pair.kissmetrics).last();
        if let Some(((host, _), other)) = other
            && !is_meant
        {
            faults.add(
                kissmetrics,
                format!(
                    "`{}` names another site, and has {host} too: identities of one mean nothing in the other",
                    other.name
                ),
                "name the same `key_file` or `key_env` in both, letter by letter; or say with `separate: true` that the pages \
                 there tell both sites",
            );
        }
    }
}

fn key(raw: &Placed<RawKissmetrics>, faults: &mut Faults) -> Option<Secret> {
    let RawKissmetrics { key_file, key_env, .. } = &raw.value;
    let (source, text) = secret(raw, "the key of a site", ["key_file", "key_env"], [key_file, key_env], faults)?;
    let key = Secret::parse(text.trim(), 1..=200);
    if key.is_none() {
        faults.add(source, "what stands there is no key", "it must be the one line that KISSmetrics shows as API key");
    }
    key
}

/// The address of the service, without a slash at its end.
fn endpoint(text: Option<&Text>, faults: &mut Faults) -> Option<String> {
    let Some(text) = text else { return Some(DEFAULT_ENDPOINT.to_owned()) };
    let more = [('@', "a user"), ('?', "a query"), ('#', "a fragment")];
    let more = more.iter().find(|(sign, _)| text.value.contains(*sign)).map(|(_, part)| *part);
    let url = Url::parse(&text.value).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let more = more.or_else(|| url.as_ref().filter(|url| url.path() != "/").map(|_| "a path"));
    if let Some(part) = more {
        faults.add(text, format!("{MORE_THAN_A_PLACE} {part}"), ENDPOINT_HINT);
        return None;
    }
    let Some(url) = url else {
        let has_scheme = text.value.contains("://");
        let problem = if has_scheme { "this is no address of a service" } else { "`https://` is missing here" };
        faults.add(text, problem, ENDPOINT_HINT);
        return None;
    };
    if url.scheme() == "http" && !is_this_machine(&url) {
        let problem = "identities and the key travel to this endpoint unencrypted";
        faults.warn(text, problem, "write `https://`, unless this is for a test on your own machine");
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

const DURABILITY: [(&str, Durability); 2] = [("batch", Durability::Batch), ("each", Durability::Each)];
const WHEN_FULL: [(&str, WhenFull); 2] = [("refuse_new", WhenFull::RefuseNew), ("drop_oldest", WhenFull::DropOldest)];
const ENDPOINT_HINT: &str = "write `https://HOST`, or leave the key out";
/// Where the tracking API is (the vendor's page on it).
const DEFAULT_ENDPOINT: &str = "https://trk.kissmetrics.io";
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(120);
