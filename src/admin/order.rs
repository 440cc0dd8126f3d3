//! From what a site's own program wrote in JSON to events.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::link::{Identity, Linker, Pair, SiteName};
use crate::outbox::{Kind, Properties, Record};

/// The paths of the API.
pub(super) const KINDS: [&str; 3] = [ALIAS, IDENTIFY, RECORD];

/// All that one request tells.
pub(super) struct Ordered {
    pub events: Vec<Record>,
    /// What became of each item.
    pub results: Vec<&'static str>,
}

/// What is wrong with a request.
pub(super) struct Mistake {
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
pub(super) fn read(path: &str, body: &[u8], linker: &Linker, now: u64) -> Result<Ordered, Mistake> {
    let to = Addressee { linker, now };
    match path {
        ALIAS => each(body, |item| to.alias(item)),
        IDENTIFY => each(body, |item| to.identify(item)),
        _ => each(body, |item| to.record(item)),
    }
}

/// Reads each item; the mistake of one is the mistake of all.
fn each<'b, T: Deserialize<'b>>(
    body: &'b [u8],
    read: impl Fn(T) -> Result<Vec<Record>, Mistake>,
) -> Result<Ordered, Mistake> {
    let is_list = body.trim_ascii_start().starts_with(b"[");
    let items: Result<Vec<&RawValue>, _> =
        if is_list { serde_json::from_slice(body) } else { serde_json::from_slice(body).map(|item| vec![item]) };
    let items = items.map_err(|error| bad_json(&error))?;
    if items.is_empty() || items.len() > MOST_ITEMS {
        return Err(mistake("bad_batch", format!("a list has 1 to {MOST_ITEMS} items")));
    }
    let mut ordered = Ordered { events: Vec::new(), results: Vec::new() };
    for (number, item) in items.into_iter().enumerate() {
        let events = object(item).and_then(&read);
        let events = events.map_err(|mistake| Mistake { item: is_list.then_some(number), ..mistake })?;
        ordered.results.push(if events.is_empty() { "nothing_to_tell" } else { "accepted" });
        ordered.events.extend(events);
    }
    Ok(ordered)
}

/// An item with its fields. A list of their values would do for the library.
fn object<'b, T: Deserialize<'b>>(item: &'b RawValue) -> Result<T, Mistake> {
    if !item.get().starts_with('{') {
        return Err(mistake(
            "bad_json",
            "an item is an object with fields: `{\"person\": \"bob@bob.com\"}`".to_owned(),
        ));
    }
    serde_json::from_str(item.get()).map_err(|error| bad_json(&error))
}

/// What is no JSON, or not of the fields that there are. The library's words hold what was sent, and so somebody's
/// identity, but for those about fields that it knows.
fn bad_json(error: &serde_json::Error) -> Mistake {
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(&*said, |(said, _)| said);
    let what = if said.starts_with("missing field ") || said.starts_with("duplicate field ") {
        said.to_owned()
    } else if let Some((_, known)) =
        said.rsplit_once(", expected one of ").filter(|_| said.starts_with("unknown field "))
    {
        format!("a field that is not known; there are {known}")
    } else if error.is_data() {
        "texts are expected, but for `at` a whole number, and for `properties` an object".to_owned()
    } else {
        "this is no JSON".to_owned()
    };
    mistake("bad_json", format!("line {}, column {}: {what}", error.line(), error.column()))
}

/// Whom items tell something.
struct Addressee<'l> {
    linker: &'l Linker,
    now: u64,
}

impl<'l> Addressee<'l> {
    fn alias(&self, item: AliasItem) -> Result<Vec<Record>, Mistake> {
        let ((pair, site), at) = (self.pair(item.pair.as_deref())?, self.at(item.at)?);
        let person = identity("person", &item.person)?;
        let other = match (item.alias, item.cookie) {
            (Some(alias), None) => Some(identity("alias", &alias)?),
            (None, Some(cookie)) => pair.anonymous_by(cookie.as_bytes()),
            _ => return Err(mistake("bad_alias", "give either `alias` or `cookie`, not both".to_owned())),
        };
        Ok(aliased(site, other, &person, at).into_iter().collect())
    }

    fn identify(&self, item: IdentifyItem) -> Result<Vec<Record>, Mistake> {
        let ((pair, site), at) = (self.pair(item.pair.as_deref())?, self.at(item.at)?);
        let person = identity("person", &item.person)?;
        let own = item.cookie.and_then(|cookie| pair.anonymous_by(cookie.as_bytes()));
        let mut events: Vec<_> = aliased(site, own, &person, at).into_iter().collect();
        if let Some(named) = item.properties.filter(|named| !named.is_empty()) {
            events.push(Record::new(site, &person, Kind::Set(properties(named)?), at));
        }
        Ok(events)
    }

    fn record(&self, item: RecordItem) -> Result<Vec<Record>, Mistake> {
        let ((pair, site), at) = (self.pair(item.pair.as_deref())?, self.at(item.at)?);
        let person = match (&item.person, &item.cookie) {
            (Some(person), _) => Some(identity("person", person)?),
            (None, Some(cookie)) => pair.known_by(cookie.as_bytes()),
            (None, None) => return Err(mistake("missing_person", "there is neither `person` nor `cookie`".to_owned())),
        };
        let name = item.event;
        if name.trim().is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
            return Err(mistake(
                "bad_event",
                format!("`event` has 1 to {LONGEST} characters, none of them a control one"),
            ));
        }
        let properties = properties(item.properties.unwrap_or_default())?;
        Ok(person.map(|person| Record::new(site, &person, Kind::Record(name, properties), at)).into_iter().collect())
    }

    /// The pair of this name, or the first one if all have the same site; and its site.
    fn pair(&self, name: Option<&str>) -> Result<(Pair<'l>, &'l SiteName), Mistake> {
        let mut told = self.linker.pairs().filter_map(|pair| Some((pair, pair.settings.kissmetrics.as_ref()?)));
        if let Some(name) = name {
            let found = told.find(|(pair, _)| pair.name == name);
            return found.ok_or_else(|| mistake("unknown_pair", "no pair of this name has `kissmetrics`".to_owned()));
        }
        let first = told.next().ok_or_else(|| mistake("unknown_pair", "no pair has `kissmetrics`".to_owned()))?;
        if told.any(|(_, site)| site != first.1) {
            return Err(mistake("missing_pair", "there are several sites: name a `pair` of the one".to_owned()));
        }
        Ok(first)
    }

    /// When it was, which is now if nothing is said.
    fn at(&self, at: Option<u64>) -> Result<u64, Mistake> {
        let at = at.unwrap_or(self.now);
        let is_time = at <= self.now + TOMORROW;
        is_time
            .then_some(at)
            .ok_or_else(|| mistake("bad_time", "`at` is in seconds since 1970, and at most a day to come".to_owned()))
    }
}

/// That two identities are one person, unless they are the same, or there is only one.
fn aliased(site: &SiteName, other: Option<Identity<'_>>, person: &Identity<'_>, at: u64) -> Option<Record> {
    let other = other.filter(|other| !other.is_same(person))?;
    Some(Record::new(site, &other, Kind::alias(person), at))
}

fn identity(field: &str, text: &str) -> Result<Identity<'static>, Mistake> {
    let read = Identity::from_text(text).map(Identity::into_owned);
    read.map_err(|why| mistake("bad_identity", format!("`{field}` can't be used: {why}")))
}

fn properties(named: Map<String, Value>) -> Result<Properties, Mistake> {
    let bad = |what: &str| mistake("bad_properties", what.to_owned());
    let mut texts = Vec::with_capacity(named.len());
    for (name, value) in named {
        if name.contains(char::is_control) {
            return Err(bad("the name of a property has no control characters"));
        }
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            _ => return Err(bad("each of `properties` is a text, a number, or true or false")),
        };
        texts.push((name.into(), text));
    }
    Properties::new(texts).ok_or_else(|| bad("a property has a name, which does not begin with `_`"))
}

fn mistake(code: &'static str, message: String) -> Mistake {
    Mistake { code, message, item: None }
}

const ALIAS: &str = "/v1/alias";
const IDENTIFY: &str = "/v1/identify";
const RECORD: &str = "/v1/record";
const MOST_ITEMS: usize = 1000;
/// As the service takes it.
const LONGEST: usize = 255;
/// Clocks differ, in seconds.
const TOMORROW: u64 = 24 * 60 * 60;
