//! From what a site's own program wrote in JSON to events.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::link::{Identity, Linker, Pair, SiteName};
use crate::outbox::{Event, Properties, What};

/// The paths of the API.
pub(super) const KINDS: [&str; 3] = [ALIAS, IDENTIFY, RECORD];

/// All that one request tells.
pub(super) struct Ordered {
    pub events: Vec<Event>,
    /// What became of each item.
    pub results: Vec<&'static str>,
}

/// What is wrong with a request.
pub(super) struct Fault {
    pub code: &'static str,
    pub message: String,
    /// Which item of several it is, the first one being 0.
    pub item: Option<usize>,
}

/// Two identities are one person: one that is given, and another one or the anonymous one in the visitor's cookies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasItem {
    person: String,
    alias: Option<String>,
    cookie: Option<String>,
    pair: Option<String>,
    at: Option<u64>,
}

/// The visitor is known from now on; he may have properties.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentifyItem {
    person: String,
    cookie: Option<String>,
    properties: Option<Map<String, Value>>,
    pair: Option<String>,
    at: Option<u64>,
}

/// The visitor, given or known by his cookies, did something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordItem {
    person: Option<String>,
    cookie: Option<String>,
    event: String,
    properties: Option<Map<String, Value>>,
    pair: Option<String>,
    at: Option<u64>,
}

/// Reads a body: one item, or a list of up to 1,000.
pub(super) fn read(path: &str, body: &[u8], linker: &Linker, now: u64) -> Result<Ordered, Fault> {
    let to = Addressee { linker, now };
    match path {
        ALIAS => each(body, |item| to.alias(item)),
        IDENTIFY => each(body, |item| to.identify(item)),
        _ => each(body, |item| to.record(item)),
    }
}

/// Reads each item; the fault of one is the fault of all.
fn each<T: DeserializeOwned>(body: &[u8], read: impl Fn(T) -> Result<Vec<Event>, Fault>) -> Result<Ordered, Fault> {
    let bad_json = |error: serde_json::Error| fault("bad_json", error.to_string());
    let is_list = body.trim_ascii_start().starts_with(b"[");
    let items: Vec<T> = if is_list {
        serde_json::from_slice(body).map_err(bad_json)?
    } else {
        vec![serde_json::from_slice(body).map_err(bad_json)?]
    };
    if items.is_empty() || items.len() > MOST_ITEMS {
        return Err(fault("bad_batch", format!("a list has 1 to {MOST_ITEMS} items")));
    }
    let mut ordered = Ordered { events: Vec::new(), results: Vec::new() };
    for (number, item) in items.into_iter().enumerate() {
        let events = read(item).map_err(|fault| Fault { item: is_list.then_some(number), ..fault })?;
        ordered.results.push(if events.is_empty() { "nothing_to_tell" } else { "accepted" });
        ordered.events.extend(events);
    }
    Ok(ordered)
}

/// Whom items tell something.
struct Addressee<'l> {
    linker: &'l Linker,
    now: u64,
}

impl<'l> Addressee<'l> {
    fn alias(&self, item: AliasItem) -> Result<Vec<Event>, Fault> {
        let ((pair, site), at) = (self.pair(item.pair.as_deref())?, self.at(item.at)?);
        let person = identity("person", &item.person)?;
        let other = match (item.alias, item.cookie) {
            (Some(alias), None) => Some(identity("alias", &alias)?),
            (None, Some(cookie)) => pair.anonymous_by(cookie.as_bytes()),
            _ => return Err(fault("bad_alias", "there is either `alias` or `cookie`".to_owned())),
        };
        Ok(aliased(site, other, &person, at).into_iter().collect())
    }

    fn identify(&self, item: IdentifyItem) -> Result<Vec<Event>, Fault> {
        let ((pair, site), at) = (self.pair(item.pair.as_deref())?, self.at(item.at)?);
        let person = identity("person", &item.person)?;
        let own = item.cookie.and_then(|cookie| pair.anonymous_by(cookie.as_bytes()));
        let mut events: Vec<_> = aliased(site, own, &person, at).into_iter().collect();
        if let Some(named) = item.properties.filter(|named| !named.is_empty()) {
            let what = What::Set { properties: properties(named)? };
            events.push(Event { site: site.clone(), person, what, at });
        }
        Ok(events)
    }

    fn record(&self, item: RecordItem) -> Result<Vec<Event>, Fault> {
        let ((pair, site), at) = (self.pair(item.pair.as_deref())?, self.at(item.at)?);
        let person = match (&item.person, &item.cookie) {
            (Some(person), _) => Some(identity("person", person)?),
            (None, Some(cookie)) => pair.known_by(cookie.as_bytes()),
            (None, None) => return Err(fault("missing_person", "there is neither `person` nor `cookie`".to_owned())),
        };
        let name = item.event;
        if name.trim().is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
            return Err(fault(
                "bad_event",
                format!("`event` has 1 to {LONGEST} characters, none of them a control one"),
            ));
        }
        let properties = properties(item.properties.unwrap_or_default())?;
        let what = What::Record { name, properties };
        Ok(person.map(|person| Event { site: site.clone(), person, what, at }).into_iter().collect())
    }

    /// The pair of this name, or the first one if all have the same site; and its site.
    fn pair(&self, name: Option<&str>) -> Result<(Pair<'l>, &'l SiteName), Fault> {
        let mut told = self.linker.pairs().filter_map(|pair| Some((pair, pair.settings.kissmetrics.as_ref()?)));
        if let Some(name) = name {
            let found = told.find(|(pair, _)| pair.name == name);
            return found.ok_or_else(|| fault("unknown_pair", "no pair of this name has `kissmetrics`".to_owned()));
        }
        let first = told.next().ok_or_else(|| fault("unknown_pair", "no pair has `kissmetrics`".to_owned()))?;
        if told.any(|(_, site)| site != first.1) {
            return Err(fault("missing_pair", "there are several sites: name a `pair` of the one".to_owned()));
        }
        Ok(first)
    }

    /// When it was, which is now if nothing is said.
    fn at(&self, at: Option<u64>) -> Result<u64, Fault> {
        let at = at.unwrap_or(self.now);
        let is_time = at <= self.now + TOMORROW;
        is_time
            .then_some(at)
            .ok_or_else(|| fault("bad_time", "`at` is in seconds since 1970, and not to come".to_owned()))
    }
}

/// That two identities are one person, unless they are the same, or there is only one.
fn aliased(site: &SiteName, other: Option<Identity<'static>>, person: &Identity<'static>, at: u64) -> Option<Event> {
    let other = other.filter(|other| !other.is_same(person))?;
    Some(Event { site: site.clone(), person: other, what: What::Alias(person.clone()), at })
}

fn identity(field: &str, text: &str) -> Result<Identity<'static>, Fault> {
    let read = Identity::from_text(text).map(Identity::into_owned);
    read.map_err(|why| fault("bad_identity", format!("`{field}` can't be used: {why}")))
}

fn properties(named: Map<String, Value>) -> Result<Properties, Fault> {
    let bad = |what: &str| fault("bad_properties", what.to_owned());
    let mut texts = Vec::with_capacity(named.len());
    for (name, value) in named {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => return Err(bad("each of `properties` is a text, a number, or true or false")),
        };
        texts.push((name, text));
    }
    Properties::new(texts).ok_or_else(|| bad("a property has a name, which does not begin with `_`"))
}

fn fault(code: &'static str, message: String) -> Fault {
    Fault { code, message, item: None }
}

const ALIAS: &str = "/v1/alias";
const IDENTIFY: &str = "/v1/identify";
const RECORD: &str = "/v1/record";
const MOST_ITEMS: usize = 1000;
/// As the service takes it.
const LONGEST: usize = 255;
/// Clocks differ, in seconds.
const TOMORROW: u64 = 24 * 60 * 60;
