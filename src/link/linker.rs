//! The rules of all pairs, and the one decision that they are for.

use std::collections::HashMap;

use percent_encoding::{CONTROLS, utf8_percent_encode};
use url::Url;

use super::allow_list::{AllowList, Destination, Entry, NotAllowed};
use super::cookie::{self, IdentityCookie};
use super::decision::{Decision, HandOff, Land, Method, NotCarried, Outcome, Refusal, Role, Step, Trace, Visit};
use super::decoration::{Arrived, decorate, undecorate};
use super::domain::{HostPort, is_host_name, parents};
use super::identity::Identity;
use super::pair::{DomainPair, Existing};
use super::target::{self, BadTarget};
use super::{TO, is_plain_name, query};

/// The immutable rules of all pairs; what a new configuration replaces as a whole.
#[derive(Clone, Debug)]
pub struct Linker {
    route: String,
    pairs: Vec<DomainPair>,
    origins: Vec<OriginRules>,
    sites: HashMap<String, Vec<Site>>,
    sites_below: HashMap<String, Vec<Site>>,
}

/// What visitors of one origin may ask for: the entries and links of every pair that lists it.
#[derive(Clone, Debug, Default)]
struct OriginRules {
    allow_list: AllowList,
    links: HashMap<String, Url>,
}

/// What a host is here. A host may be both.
#[derive(Clone, Debug)]
struct Site {
    /// The port that the `Host` must name; `None` for any.
    port: Option<u16>,
    /// Its place in `origins`.
    origin: Option<usize>,
    destination: Option<DestinationSite>,
}

#[derive(Clone, Debug)]
struct DestinationSite {
    pair: usize,
    entry: Entry,
    /// The cookie that is set here; `None` where crosslink does not land.
    cookie: Option<IdentityCookie>,
}

/// What a request's host was found to be.
struct Found<'l> {
    origin: Option<&'l OriginRules>,
    landing: Option<Arrival<'l>>,
}

/// A host on which identities land.
struct Arrival<'l> {
    pair: &'l DomainPair,
    entry: &'l Entry,
    cookie: &'l IdentityCookie,
}

impl Linker {
    /// Builds the rules from checked pairs, in the order of the file, and the path under which links are served.
    ///
    /// `route` begins with `/` and does not end with one. Where pairs contradict each other the first one wins; the
    /// configuration refuses such files before they get here.
    #[must_use]
    pub fn new(route: String, pairs: Vec<DomainPair>) -> Self {
        let mut linker =
            Self { route, pairs: Vec::new(), origins: Vec::new(), sites: HashMap::new(), sites_below: HashMap::new() };
        for (index, pair) in pairs.iter().enumerate() {
            for origin in &pair.origins {
                linker.open_origin(origin.domain.as_str(), origin.port, pair, index);
            }
            for entry in &pair.destinations {
                linker.open_destination(entry, pair, index);
            }
        }
        linker.pairs = pairs;
        linker
    }

    fn open_origin(&mut self, host: &str, port: Option<u16>, pair: &DomainPair, index: usize) {
        let next = self.origins.len();
        let place = *site_at(&mut self.sites, host, port).origin.get_or_insert(next);
        if place == next {
            self.origins.push(OriginRules::default());
        }
        let Some(rules) = self.origins.get_mut(place) else { return };
        for entry in &pair.destinations {
            rules.allow_list.insert(entry.clone(), index);
        }
        for (name, url) in &pair.links {
            rules.links.entry(name.clone()).or_insert_with(|| url.clone());
        }
    }

    fn open_destination(&mut self, entry: &Entry, pair: &DomainPair, index: usize) {
        let sites = if entry.is_wildcard() { &mut self.sites_below } else { &mut self.sites };
        let site = site_at(sites, entry.domain().as_str(), entry.explicit_port());
        site.destination.get_or_insert_with(|| DestinationSite {
            pair: index,
            entry: entry.clone(),
            cookie: pair.landing.as_ref().map(|landing| landing.cookie_for(entry)),
        });
    }

    /// The pairs, in the order of the file.
    #[must_use]
    pub fn pairs(&self) -> &[DomainPair] {
        &self.pairs
    }

    /// Decides what to do with a request. The same visit always gets the same answer.
    #[must_use]
    pub fn decide(&self, visit: &Visit<'_>) -> Decision<'_> {
        self.decide_traced(visit, &mut ())
    }

    /// Decides as [`Linker::decide`] does, and tells each step on the way.
    pub fn decide_traced(&self, visit: &Visit<'_>, trace: &mut impl Trace) -> Decision<'_> {
        let refuse = |refusal| Decision::Refuse(refusal, Role::None);
        let Some(host) = asked_host(visit) else { return refuse(Refusal::BadHost) };
        let Some(found) = self.find(&host) else { return refuse(Refusal::UnknownHost) };
        trace.step(Step::Host { host: &host.host, origin: found.origin.is_some(), landing: found.landing.is_some() });

        if let Some(arrival) = found.landing
            && let Some(query) = visit.query.filter(|query| arrival.pair.parameter.is_in(query))
        {
            if let Some(refusal) = not_served(visit) {
                return Decision::Refuse(refusal, Role::Destination);
            }
            return Decision::Land(arrival.land(&host.host, query, visit, trace));
        }
        if let Some(rules) = found.origin
            && let Some(rest) = visit.path.strip_prefix(self.route.as_str())
            && (rest.is_empty() || (rest.starts_with('/') && rest != "/"))
        {
            let handed_off = not_served(visit).map_or_else(|| self.hand_off(rules, rest, visit, trace), Err);
            return handed_off.map_or_else(|refusal| Decision::Refuse(refusal, Role::Origin), Decision::HandOff);
        }
        refuse(Refusal::NotFound)
    }

    /// Finds a host as host and port first, then as host alone; a destination also below a `*.` entry.
    fn find(&self, host: &HostPort<'_>) -> Option<Found<'_>> {
        let site = self.sites.get(&*host.host).and_then(|sites| site_for(sites, host.port));
        let destination = site.and_then(|site| site.destination.as_ref()).or_else(|| self.find_below(host));
        if site.is_none() && destination.is_none() {
            return None;
        }
        let landing = destination.and_then(|destination| {
            let (pair, cookie) = (self.pairs.get(destination.pair)?, destination.cookie.as_ref()?);
            Some(Arrival { pair, entry: &destination.entry, cookie })
        });
        Some(Found { origin: site.and_then(|site| self.origins.get(site.origin?)), landing })
    }

    fn find_below(&self, host: &HostPort<'_>) -> Option<&DestinationSite> {
        if self.sites_below.is_empty() || !is_host_name(&host.host) {
            return None;
        }
        parents(&host.host)
            .filter_map(|name| self.sites_below.get(name))
            .find_map(|sites| site_for(sites, host.port)?.destination.as_ref())
    }

    /// `rest` is what stands behind the route: nothing, `/link` or `/link/more`.
    fn hand_off(
        &self,
        rules: &OriginRules,
        rest: &str,
        visit: &Visit<'_>,
        trace: &mut impl Trace,
    ) -> Result<HandOff<'_>, Refusal> {
        let asked = match rest.strip_prefix('/') {
            Some(link) => linked(rules, link, visit.query, trace)?,
            None => wanted(visit.query.unwrap_or_default(), trace)?,
        };
        let asked = asked.map_err(|why| {
            trace.step(Step::BadTarget(why));
            Refusal::BadTo
        })?;
        trace.step(Step::Target(asked.as_str()));
        let admitted = rules.allow_list.admit(asked).map_err(|why| {
            trace.step(Step::NotAllowed(why));
            Refusal::NotAllowed
        })?;
        // `admit` names a pair that `new` numbered, so there always is one.
        let pair = self.pairs.get(admitted.pair()).ok_or(Refusal::NotAllowed)?;
        trace.step(Step::Admitted(pair));

        let identity = match visit.method {
            Method::Get => read_identity(visit.cookies, pair.cookies.iter().map(String::as_str), trace),
            Method::Head | Method::Other => Err(NotCarried::NotNavigation),
        };
        let (destination, carried) = rules.send(&admitted, pair, identity.as_ref()).map_err(|why| {
            trace.step(Step::BadTarget(why));
            Refusal::BadTo
        })?;
        Ok(HandOff { pair, destination, carried: carried.and(identity.map(|identity| identity.class())) })
    }
}

impl OriginRules {
    /// Writes the identity into the URL, or leaves it out where the URL would be too long or not read back: whatever
    /// goes wrong around an identity, the visitor still gets to the shop.
    fn send(
        &self,
        admitted: &Destination,
        pair: &DomainPair,
        identity: Result<&Identity, &NotCarried>,
    ) -> Result<(Destination, Result<(), NotCarried>), BadTarget> {
        let url = admitted.url().as_str();
        let decorated = identity.map_err(|why| *why).and_then(|identity| {
            let text = decorate(url, &pair.parameter, Some(identity.escaped()));
            self.readmit(&text).map_err(|why| match why {
                BadTarget::LongLocation => NotCarried::TooLong,
                _ => NotCarried::Failed,
            })
        });
        match decorated {
            Ok(destination) => Ok((destination, Ok(()))),
            Err(why) => {
                let plain = decorate(url, &pair.parameter, None::<&str>);
                Ok((self.readmit(&plain)?, Err(why)))
            }
        }
    }

    /// Reads a finished Location as a browser will, and asks the allow-list once more.
    fn readmit(&self, location: &str) -> Result<Destination, BadTarget> {
        if location.len() > MAX_LOCATION {
            return Err(BadTarget::LongLocation);
        }
        if !location.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadTarget::Ambiguous);
        }
        let url = Url::parse(location).map_err(|_| BadTarget::Ambiguous)?;
        if url.as_str() != location {
            return Err(BadTarget::Ambiguous);
        }
        self.allow_list.admit(url).map_err(|_: NotAllowed| BadTarget::Ambiguous)
    }
}

impl<'l> Arrival<'l> {
    fn land(&self, host: &str, query: &str, visit: &Visit<'_>, trace: &mut impl Trace) -> Land<'l> {
        trace.step(Step::Landing(self.pair));
        let target = format!("{}?{query}", visit.path);
        let undecorated = undecorate(&target, &self.pair.parameter);
        let clean = utf8_percent_encode(&undecorated.clean, CONTROLS);
        // Absolute, so that `//evil` or `/\evil` in the path stays a path on this host.
        let location = format!("{}{clean}", self.entry.origin_with(host));
        let arrived = arrived(undecorated.arrived, trace);
        let class = arrived.as_ref().map(Identity::class);
        let (outcome, set_cookie) = match arrived {
            _ if visit.method != Method::Get => (Outcome::NotNavigation, None),
            None => (Outcome::Invalid, None),
            Some(identity) => match self.judge(&identity, visit, trace) {
                Outcome::Kept => (Outcome::Kept, None),
                outcome => (outcome, Some(self.cookie.write(&identity))),
            },
        };
        Land { pair: self.pair, location, outcome, class, set_cookie }
    }

    /// What becomes of an arriving identity beside the one that the visitor has here.
    fn judge(&self, arriving: &Identity, visit: &Visit<'_>, trace: &mut impl Trace) -> Outcome {
        let own = self.cookie.name.as_str();
        let others = self.pair.cookies.iter().map(String::as_str).filter(|name| *name != own);
        let existing = read_identity(visit.cookies, std::iter::once(own).chain(others), trace);
        let rule = self.pair.landing.as_ref().map_or(Existing::Keep, |landing| landing.existing);
        match (existing, rule) {
            (Err(_), _) => Outcome::Set,
            (Ok(existing), _) if existing == *arriving => Outcome::Same,
            (Ok(_), Existing::Keep) => Outcome::Kept,
            (Ok(existing), Existing::KeepNamed) if existing.class() == super::Class::Named => Outcome::Kept,
            (Ok(_), Existing::KeepNamed | Existing::Replace) => Outcome::Replaced,
        }
    }
}

fn site_at<'a>(sites: &'a mut HashMap<String, Vec<Site>>, host: &str, port: Option<u16>) -> &'a mut Site {
    let sites = sites.entry(host.to_owned()).or_default();
    let place = sites.iter().position(|site| site.port == port).unwrap_or(sites.len());
    if place == sites.len() {
        sites.push(Site { port, origin: None, destination: None });
    }
    #[expect(clippy::indexing_slicing, reason = "the place is that of a site found or pushed just above")]
    &mut sites[place]
}

fn site_for(sites: &[Site], port: Option<u16>) -> Option<&Site> {
    let with_port = |port| sites.iter().find(move |site| site.port == port);
    with_port(port).or_else(|| with_port(None))
}

/// The host that the request asks for, if it names exactly one and asks for a path there.
fn asked_host<'a>(visit: &Visit<'a>) -> Option<HostPort<'a>> {
    let host = HostPort::parse(visit.host?)?;
    let same = visit.authority.is_none_or(|authority| HostPort::parse(authority.as_bytes()).as_ref() == Some(&host));
    (same && visit.path.starts_with('/')).then_some(host)
}

/// Why a request that was routed is not served all the same.
fn not_served(visit: &Visit<'_>) -> Option<Refusal> {
    if visit.method == Method::Other {
        return Some(Refusal::MethodNotAllowed);
    }
    visit.purpose.is_some_and(is_prefetch).then_some(Refusal::Prefetch)
}

/// Whether the first item of `Sec-Purpose` is `prefetch` (Fetch Standard, "Sec-Purpose"): `prefetch;prerender` is.
fn is_prefetch(purpose: &[u8]) -> bool {
    purpose
        .split(|byte| matches!(byte, b';' | b','))
        .next()
        .is_some_and(|item| item.trim_ascii().eq_ignore_ascii_case(b"prefetch"))
}

/// The URL of a named link, with what the request adds to its path and query.
fn linked(
    rules: &OriginRules,
    link: &str,
    query: Option<&str>,
    trace: &mut impl Trace,
) -> Result<Result<Url, BadTarget>, Refusal> {
    let (name, more) = link.split_once('/').unwrap_or((link, ""));
    trace.step(Step::Link(name));
    if !is_plain_name(name) {
        return Err(Refusal::UnknownLink);
    }
    let mut url = rules.links.get(name).ok_or(Refusal::UnknownLink)?.clone();
    if !more.is_empty()
        && let Err(why) = target::add_path(&mut url, more)
    {
        return Ok(Err(why));
    }
    target::add_query(&mut url, query);
    Ok(Ok(url))
}

/// The URL of the one `to`, with the other pairs of the query behind its own: a form's fields, or the parameters of a
/// destination that nobody escaped.
fn wanted(query: &str, trace: &mut impl Trace) -> Result<Result<Url, BadTarget>, Refusal> {
    let mut to = None;
    let mut others = String::new();
    for pair in query::pairs(query).filter(|pair| !pair.is_empty()) {
        if !query::is_named(pair, TO) {
            if !others.is_empty() {
                others.push('&');
            }
            others.push_str(pair);
        } else if to.replace(query::value(pair)).is_some() {
            return Err(Refusal::RepeatedTo);
        }
    }
    let to = to.ok_or(Refusal::MissingTo)?;
    trace.step(Step::To(to));
    Ok(target::parse(to).map(|mut url| {
        target::add_query(&mut url, Some(&others));
        url
    }))
}

/// The first usable identity among the named cookies.
fn read_identity<'n>(
    cookies: &[&[u8]],
    names: impl Iterator<Item = &'n str>,
    trace: &mut impl Trace,
) -> Result<Identity, NotCarried> {
    let mut names = names;
    let mut why_none = NotCarried::Absent;
    for name in names.by_ref() {
        match cookie::read(cookies, name).map(Identity::from_cookie) {
            None => trace.step(Step::CookieAbsent(name)),
            Some(Err(unusable)) => {
                trace.step(Step::CookieUnusable(name, unusable));
                why_none = NotCarried::Unusable;
            }
            Some(Ok(identity)) => {
                trace.step(Step::CookieTaken(name, &identity));
                names.for_each(|name| trace.step(Step::CookieNotNeeded(name)));
                return Ok(identity);
            }
        }
    }
    Err(why_none)
}

/// The identity that arrived in a URL, if it is one and usable.
fn arrived(arrived: Arrived<'_>, trace: &mut impl Trace) -> Option<Identity> {
    match arrived {
        Arrived::Plain(raw) => match Identity::from_query(raw) {
            Ok(identity) => {
                trace.step(Step::Arrived(&identity));
                return Some(identity);
            }
            Err(unusable) => trace.step(Step::ArrivedUnusable(unusable)),
        },
        Arrived::Several => trace.step(Step::ArrivedSeveral),
        Arrived::Token => trace.step(Step::ArrivedToken),
        Arrived::Nothing => {}
    }
    None
}

/// The most bytes of a Location; common proxies and browsers take heads of 8 KiB and more.
const MAX_LOCATION: usize = 8192;
