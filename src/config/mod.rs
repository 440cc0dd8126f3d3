//! From the text of a configuration file to checked values, or to every mistake in it with its place.
//!
//! `raw` mirrors the text, the other files turn one section each into types that can't be built wrong, and `fault`
//! collects what they find. Only this folder knows YAML.

mod agreement;
mod cookie_name;
mod fault;
mod forms;
mod identity;
mod landing;
mod links;
mod outbox;
mod pairs;
mod plain;
mod plain_file;
mod raw;
mod raw_outbox;
mod schema;
mod seen;
mod server;
mod shape;
mod spot;
mod text;
mod tls;
mod trust;
mod value;
mod warnings;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use tokio_rustls::rustls::ServerConfig;

pub use fault::{ConfigFault, Place, alike, render_faults, render_warnings};
pub use schema::json_schema;
pub use seen::Seen;

use crate::link::{Keys, Linker};
use crate::settings::{Fixed, Listen, Log, LogFormat, Sites};
use fault::Faults;
use raw::RawConfig;

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// What counts for as long as the program runs.
    pub fixed: Fixed,
    /// The certificates of each TLS address, in the order of `fixed.listen.tls`.
    pub certificates: Vec<Arc<ServerConfig>>,
    /// Who is believed about requests that he passes on.
    pub trusted_proxies: Vec<IpNet>,
    /// The rules of all pairs.
    pub linker: Linker,
    /// The KISSmetrics sites that pairs name.
    pub sites: Sites,
    /// What works, but was perhaps not meant so.
    pub warnings: Vec<ConfigFault>,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file can't be read.
    Unreadable(io::Error),
    /// The file is faulty.
    Faulty(Faulty),
}

/// A faulty file.
#[derive(Debug)]
pub struct Faulty {
    /// Its text.
    pub text: String,
    /// Each fault.
    pub faults: Vec<ConfigFault>,
    /// How it wants to be logged, as far as it can be read.
    pub log_format: LogFormat,
}

/// Reads and checks a file, and tells what it and the files that it names said, so that a change can be seen.
pub fn load(path: &Path) -> (Result<(String, Config), LoadError>, Seen) {
    let mut seen = Seen::of(vec![path.to_owned()]);
    let loaded = read(path).and_then(|text| {
        let mut log_format = LogFormat::Json;
        let checked = shape(&text, MOST_VALUES).and_then(|raw| {
            seen.add(raw.files());
            log_format = log(&raw, &mut Faults::default()).format;
            check(raw, None)
        });
        match checked {
            Ok(config) => Ok((text, config)),
            Err(faults) => Err(LoadError::Faulty(Faulty { text, faults, log_format })),
        }
    });
    (loaded, seen)
}

/// Looks at a file without reading it as a configuration.
#[must_use]
pub fn look(path: &Path) -> Seen {
    Seen::of(vec![path.to_owned()])
}

fn read(path: &Path) -> Result<String, LoadError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
    if read.map_err(LoadError::Unreadable)? as u64 > LARGEST_FILE {
        return Err(LoadError::Unreadable(io::Error::other("it is far too large for a configuration")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let at = Place::of_byte(&text, valid);
        let hint = "save the file as UTF-8".to_owned();
        let faults = vec![ConfigFault { at, problem: "the text is not UTF-8 here".to_owned(), hint }];
        LoadError::Faulty(Faulty { text, faults, log_format: LogFormat::Json })
    })
}

/// Checks the text of a configuration.
///
/// # Errors
/// Each fault with its place. Of faults of shape, such as an unknown key, only the first is known; what values mean is
/// checked to the end.
pub fn parse(text: &str) -> Result<Config, Vec<ConfigFault>> {
    check(shape(text, MOST_VALUES)?, None)
}

/// The same with keys that stand neither in a file nor in the environment, in place of those that the text names.
///
/// # Errors
/// As for [`parse`].
pub fn parse_with_keys(text: &str, keys: Keys) -> Result<Config, Vec<ConfigFault>> {
    check(shape(text, MOST_VALUES)?, Some(keys))
}

/// Reads a text of so many values.
fn shape(text: &str, most_values: usize) -> Result<RawConfig, Vec<ConfigFault>> {
    let plainly = plain::read(text, |left, cut| by_library(left, most_values.checked_sub(cut)?).ok());
    plainly.map_or_else(|| by_library(text, most_values).map_err(|error| vec![shape::fault(&error, text)]), Ok)
}

/// The same by the rules of the library alone.
fn by_library(text: &str, most_values: usize) -> Result<RawConfig, serde_yaml::Error> {
    let options = serde_yaml::options! {
        // A value is two events at the most.
        budget: serde_yaml::budget! { max_nodes: most_values, max_events: 3 * MOST_VALUES },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MOST_ALIASED },
    };
    serde_yaml::from_str_with_options(text, options)
}

fn check(raw: RawConfig, keys: Option<Keys>) -> Result<Config, Vec<ConfigFault>> {
    let mut faults = Faults::default();
    server::check_version(raw.version.as_ref(), &mut faults);
    let plain = server::listen(raw.listen.as_ref(), raw.tls.is_some(), &mut faults);
    let (tls, certificates) = tls::listeners(raw.tls.as_ref(), &plain, &mut faults).into_iter().unzip();
    let admin = server::admin(raw.admin.as_ref(), &mut faults);
    let listen = Listen { plain, tls, admin };
    server::check_admin_apart(&raw, &listen, &mut faults);
    let fixed = Fixed {
        listen,
        limits: server::limits(raw.limits.as_ref().unwrap_or(&raw::RawLimits::default()), &mut faults),
        log: log(&raw, &mut faults),
        replay: trust::replay(&raw, &mut faults),
        watch: value::truth(raw.watch.as_ref(), &mut faults),
        outbox: raw.outbox.as_ref().and_then(|raw| outbox::outbox(raw, &mut faults)),
        api: outbox::api(&raw, admin, &mut faults),
    };
    let sites = outbox::sites(&raw, &mut faults);
    let trusted_proxies = server::networks(raw.trusted_proxies.as_ref(), &mut faults);
    let route = server::route(raw.route.as_ref(), &mut faults);
    let keys = keys.unwrap_or_else(|| trust::keys(raw.keys.as_ref(), &mut faults));
    let pairs =
        pairs::pairs(&raw.pairs, raw.defaults.as_ref().unwrap_or(&raw::RawDefaults::default()), &keys, &mut faults);
    identity::check_trust(&raw, &trusted_proxies, &mut faults);
    warnings::warn(&raw, &pairs, &mut faults);
    let warnings = faults.finish()?;
    // Before the rules are made: while they take the place of others, memory holds enough.
    drop(raw);
    let linker = Linker::new(route, keys, pairs);
    Ok(Config { fixed, certificates, trusted_proxies, linker, sites, warnings })
}

fn log(raw: &RawConfig, faults: &mut Faults) -> Log {
    server::log(raw.log.as_ref().unwrap_or(&raw::RawLog::default()), faults)
}

/// Some ten times what the largest configuration needs; what is larger was named by mistake.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// 100,000 pairs with a few settings or links each.
const MOST_VALUES: usize = 1_000_000;

/// What stands behind aliases is counted each time, since a short text could ask for any number of values.
const MOST_ALIASED: usize = 250_000;
