//! The rules of all pairs, and the one decision that they are for.

use std::sync::Arc;

use super::allow_list::AllowList;
use super::arrival::Arrival;
use super::consent::Gpc;
use super::cookie::IdentityCookie;
use super::decision::{Decision, Forget, HandOff, Identify, Land, NotCarried, Refusal, Role};
use super::domain::HostPort;
use super::entry::EntryRef;
use super::forget;
use super::hosts::Hosts;
use super::identify;
use super::identity::Identity;
use super::links::{LinkNames, Links};
use super::mint::{Mint, mint};
use super::origin::{OriginRules, bad_to};
use super::pair::{DomainPair, Pair, Post, Settings};
use super::scripts::Scripts;
use super::sites;
use super::tell::Tell;
use super::texts::{TextAt, number};
use super::token::Keys;
use super::trace::{Step, Trace};
use super::visit::{Method, Visit};
use super::visitor::{Who, binding, read_identity};

/// The immutable rules of all pairs; what a new configuration replaces as a whole.
#[derive(Debug)]
pub struct Linker {
    route: String,
    keys: Keys,
    pairs: Vec<(TextAt, Arc<Settings>)>,
    hosts: Hosts,
    links: Links,
    /// The numbers of the origins, in order, of which a pair ignores Global Privacy Control.
    ignore_gpc: Vec<u32>,
    /// The numbers of the origins, in order, and of their pairs that make identities up.
    mints: Vec<(u32, u32)>,
    scripts: Scripts,
}

impl Linker {
    /// Builds the rules from checked pairs, in the order of the file, the path under which links are served, and the
    /// keys of sealed identities.
    ///
    /// `route` begins with `/` and does not end with one. Where pairs contradict each other the first one wins; the
    /// configuration refuses such files before they get here.
    #[must_use]
    pub fn new(route: String, keys: Keys, pairs: Vec<DomainPair>) -> Self {
        let mut linker = Self {
            route,
            keys,
            pairs: Vec::with_capacity(pairs.len()),
            hosts: Hosts::default(),
            links: Links::default(),
            ignore_gpc: Vec::new(),
            mints: Vec::new(),
            scripts: Scripts::default(),
        };
        let entries = pairs.iter().map(|pair| pair.destinations.len()).sum();
        linker.hosts.reserve(pairs.len(), entries);
        // Each pair is dropped as soon as it is added: while a configuration is replaced, memory holds two already.
        for pair in pairs {
            linker.add(pair);
        }
        linker.ignore_gpc.sort_unstable();
        linker.mints.sort_unstable();
        linker.hosts.shrink();
        linker
    }

    fn add(&mut self, pair: DomainPair) {
        let named = (number(self.pairs.len()), self.hosts.keep(&pair.name));
        let origins: Vec<u32> = pair.origins.iter().map(|origin| self.hosts.add_origin(origin, named.1)).collect();
        let first = self.hosts.entries().end;
        for entry in &pair.destinations {
            self.hosts.add_entry(entry, named, pair.landing.is_some());
        }
        for origin in &origins {
            self.hosts.open(*origin, first..self.hosts.entries().end);
        }
        for (name, target) in pair.links {
            self.links.add(&name, target, &origins);
        }
        if pair.settings.mint.is_some() {
            self.mints.extend(origins.iter().map(|origin| (*origin, named.0)));
        }
        if pair.settings.consent.gpc == Gpc::Ignore {
            self.ignore_gpc.extend(origins);
        }
        self.pairs.push((named.1, pair.settings));
    }

    /// The pairs, in the order of the file.
    #[must_use]
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = Pair<'_>> {
        let pairs = self.pairs.iter().enumerate();
        pairs.map(|(number, (name, settings))| Pair { name: self.hosts.text(*name), number, settings })
    }

    /// How many links there are.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// The hosts of all origins, each with the port that it must have.
    pub fn origins(&self) -> impl Iterator<Item = (&str, Option<u16>)> {
        self.hosts.origins()
    }

    /// Whether any visit may get an identity of its own, and so needs random bits.
    #[must_use]
    pub fn mints(&self) -> bool {
        !self.mints.is_empty()
    }

    /// The hosts of origins that set a cookie with an identity of crosslink's own, each with that cookie.
    pub fn minted_cookies(&self) -> impl Iterator<Item = (&str, IdentityCookie<'_>)> {
        let of = |(origin, pair): &(u32, u32)| {
            let host = self.hosts.origin_host(*origin)?;
            Some((host, self.pair(*pair as usize)?.settings.mint.as_ref()?.cookie_on(host)))
        };
        self.mints.iter().filter_map(of)
    }

    /// All destinations with their pairs, in the order of the file.
    pub fn destinations(&self) -> impl Iterator<Item = (Pair<'_>, EntryRef<'_>)> {
        let entries = self.hosts.entries().filter_map(|number| self.hosts.entry(number));
        entries.filter_map(|(pair, entry)| Some((self.pair(pair as usize)?, entry)))
    }

    fn pair(&self, number: usize) -> Option<Pair<'_>> {
        let (name, settings) = self.pairs.get(number)?;
        Some(Pair { name: self.hosts.text(*name), number, settings })
    }

    /// Decides what to do with a request. The same visit always gets the same answer.
    #[must_use]
    pub fn decide(&self, visit: &Visit<'_>) -> Decision<'_> {
        self.decide_traced(visit, &mut ())
    }

    /// Decides as [`Linker::decide`] does, and tells each step on the way.
    pub fn decide_traced(&self, visit: &Visit<'_>, trace: &mut impl Trace) -> Decision<'_> {
        if let Some(page) = identify::page(visit) {
            return Decision::Identify(self.identify(&page, trace));
        }
        let refuse = |refusal| Decision::Refuse(refusal, Role::None);
        let site = match self.site(visit, trace) {
            Ok(site) => site,
            Err(refusal) => return refuse(refusal),
        };
        match site.land(visit, trace) {
            Some(Ok(land)) => return Decision::Land(land),
            Some(Err(refusal)) => return Decision::Refuse(refusal, Role::Destination),
            None => {}
        }
        let origin = site.origin;
        let rest = visit.path.strip_prefix(self.route.as_str());
        if rest == Some(FORGET) && (origin.is_some() || site.landing.is_some()) {
            return self.forget(&site, visit);
        }
        if visit.path == GPC_PATH
            && matches!(visit.method, Method::Get | Method::Head)
            && origin.is_some_and(|origin| self.honours_gpc(origin))
        {
            return Decision::HonoursGpc;
        }
        if let Some(origin) = origin
            && let Some(rest) = rest
            && (rest.is_empty() || (rest.starts_with('/') && rest != "/"))
        {
            if let Some(decision) = self.file(origin, rest, visit) {
                return decision;
            }
            let handed_off =
                not_served(visit).map_or_else(|| self.hand_off((origin, &*site.host.host), rest, visit, trace), Err);
            return handed_off.map_or_else(|refusal| Decision::Refuse(refusal, Role::Origin), Decision::HandOff);
        }
        refuse(Refusal::NotFound)
    }

    /// What the pages of an origin load from here.
    fn file(&self, origin: u32, rest: &str, visit: &Visit<'_>) -> Option<Decision<'_>> {
        let is_script = match rest {
            SCRIPT => true,
            PAIRS => false,
            _ => return None,
        };
        Some(match visit.method {
            Method::Get | Method::Head if is_script => Decision::Script,
            Method::Get | Method::Head => Decision::Pairs(self.scripts.pairs(origin, &self.hosts)),
            Method::Post | Method::Other => Decision::Refuse(Refusal::MethodNotAllowed, Role::Origin),
        })
    }

    /// Ends all identity cookies that are set on a host: those of its pairs as an origin, and those of its landing.
    fn forget(&self, site: &Site<'_, '_>, visit: &Visit<'_>) -> Decision<'_> {
        let (host, role) = (&*site.host.host, if site.origin.is_some() { Role::Origin } else { Role::Destination });
        if let Some(refusal) = forget::refusal(visit, host) {
            return Decision::Refuse(refusal, role);
        }
        let mints = site.origin.into_iter().flat_map(|origin| self.mints_of(origin));
        let minted = mints.map(|mint| mint.cookie_on(host));
        let landed = site.landing.iter().flat_map(Arrival::cookies);
        let mut set_cookies: Vec<String> = minted.chain(landed).map(|cookie| cookie.end()).collect();
        // Pairs of one origin may share a cookie.
        set_cookies.sort_unstable();
        set_cookies.dedup();
        let navigates = visit.fetch_mode == Some(&b"navigate"[..]);
        Decision::Forget(Forget { role, set_cookies, navigates })
    }

    /// What the pairs of an origin give to its visitors who have no identity.
    fn mints_of(&self, origin: u32) -> impl Iterator<Item = &Mint> {
        let first = self.mints.partition_point(|(other, _)| *other < origin);
        let of_origin = self.mints.iter().skip(first).take_while(move |(other, _)| *other == origin);
        of_origin.filter_map(|(_, pair)| self.pair(*pair as usize)?.settings.mint.as_ref())
    }

    /// What a proxy learns about the page that its visitor asked for.
    fn identify(&self, page: &Visit<'_>, trace: &mut impl Trace) -> Identify<'_> {
        trace.step(Step::Page { path: page.path, query: page.query });
        match self.site(page, trace) {
            Err(refusal) => Identify::Refused(refusal, Role::None),
            Ok(Site { landing: None, .. }) => Identify::Refused(Refusal::NotFound, Role::None),
            Ok(site) => match site.land(page, trace) {
                Some(Ok(land)) => Identify::Landed(land),
                Some(Err(refusal)) => Identify::Refused(refusal, Role::Destination),
                None => Identify::Nothing,
            },
        }
    }

    /// What the host is that a visit asks for.
    fn site<'l, 'v>(&'l self, visit: &Visit<'v>, trace: &mut impl Trace) -> Result<Site<'l, 'v>, Refusal> {
        let host = asked_host(visit).ok_or(Refusal::BadHost)?;
        let sites::Site { origin, entry } = sites::find(&self.hosts, &host).ok_or(Refusal::UnknownHost)?;
        let landing = entry.and_then(|entry| self.landing(entry));
        trace.step(Step::Host { host: &host.host, origin: origin.is_some(), landing: landing.is_some() });
        Ok(Site { host, origin, landing })
    }

    fn landing(&self, entry: u32) -> Option<Arrival<'_>> {
        let (pair, entry) = self.hosts.entry(entry)?;
        let pair = self.pair(pair as usize)?;
        let cookie = pair.settings.landing.as_ref()?.cookie_for(&entry);
        Some(Arrival { pair, entry, cookie, keys: &self.keys, hosts: &self.hosts })
    }

    /// What visitors of an origin may ask for.
    fn rules(&self, origin: u32) -> OriginRules<'_> {
        let allow_list = AllowList::new(&self.hosts, origin);
        OriginRules { allow_list, links: LinkNames { links: &self.links, origin } }
    }

    /// Whether every pair of an origin honours Global Privacy Control.
    fn honours_gpc(&self, origin: u32) -> bool {
        self.ignore_gpc.binary_search(&origin).is_err()
    }

    /// An origin is given by its number and its host. `rest` is what stands behind the route: nothing, `/link` or
    /// `/link/more`.
    fn hand_off(
        &self,
        (origin, host): (u32, &str),
        rest: &str,
        visit: &Visit<'_>,
        trace: &mut impl Trace,
    ) -> Result<HandOff<'_>, Refusal> {
        let rules = self.rules(origin);
        let asked = rules.asked(rest, visit.query, trace)?;
        trace.step(Step::Target(asked.as_str()));
        let admitted = rules.allow_list.admit(asked).map_err(|why| {
            trace.step(Step::NotAllowed(why));
            Refusal::NotAllowed
        })?;
        // `admit` names a pair that `new` numbered, so there always is one.
        let pair = self.pair(admitted.pair()).ok_or(Refusal::NotAllowed)?;
        trace.step(Step::Admitted(pair));
        let posted = posted(visit, &pair)?;

        let Who { identity, unheard, .. } = if let Some(why) = pair.consent.refuses_to_carry(visit) {
            Who { identity: Err(why.into()), behind_name: false, unheard: None }
        } else {
            let own = pair.mint.as_ref().map(|mint| &mint.cookie);
            read_identity(visit, &pair, pair.cookies.iter().chain(own), trace)
        };
        let minted = match identity {
            Err(NotCarried::Absent | NotCarried::Unusable) => mint(visit, &pair, trace),
            _ => None,
        };
        let identity = minted.as_ref().map_or(identity.as_ref(), Ok);
        let sent = rules.send(&admitted, &pair, identity, |identity, destination| {
            self.keys.seal(identity, binding(&pair, destination, visit), visit.now)
        });
        let (destination, carried) = sent.map_err(|why| bad_to(why, trace))?;
        let carried = carried.and(identity.map(Identity::class).map_err(|why| *why));
        let told = identity.ok().filter(|_| carried.is_ok());
        let tell = told.and_then(|identity| Tell::left(pair, identity, link_name(rest))?.of_a_person(visit, trace));
        let set_cookie = minted
            .filter(|_| carried.is_ok())
            .and_then(|identity| Some(pair.mint.as_ref()?.cookie_on(host).write(&identity)));
        Ok(HandOff { pair, destination, carried, set_cookie, posted, unheard, tell })
    }
}

/// A host that is known, as one side or both.
struct Site<'l, 'v> {
    host: HostPort<'v>,
    /// Its number among the origins.
    origin: Option<u32>,
    landing: Option<Arrival<'l>>,
}

impl<'l> Site<'l, '_> {
    /// The landing of a visit, if there is one here and the query names an identity.
    fn land(&self, visit: &Visit<'_>, trace: &mut impl Trace) -> Option<Result<Land<'l>, Refusal>> {
        let arrival = self.landing.as_ref()?;
        let query = visit.query.filter(|query| arrival.pair.parameter.is_in(query))?;
        Some(match not_served(visit) {
            Some(refusal) => Err(refusal),
            None => posted(visit, &arrival.pair).map(|_| arrival.land(&self.host.host, query, visit, trace)),
        })
    }
}

/// The script for an origin's pages, behind the route, and what it asks for.
const SCRIPT: &str = "/link.js";
const PAIRS: &str = "/pairs.json";

/// Where a visitor leaves, behind the route.
const FORGET: &str = "/forget";

/// Where a site says that it honours the signal (Global Privacy Control, "GPC Support Resource").
const GPC_PATH: &str = "/.well-known/gpc.json";

/// The name of the link in what stands behind the route.
fn link_name(rest: &str) -> Option<&str> {
    rest.strip_prefix('/')?.split('/').next()
}

/// The host that the request asks for, if it names exactly one and asks for a path there.
fn asked_host<'a>(visit: &Visit<'a>) -> Option<HostPort<'a>> {
    let host = HostPort::parse(visit.host?)?;
    let same = visit.authority.is_none_or(|authority| HostPort::parse(authority).as_ref() == Some(&host));
    (same && visit.path.starts_with('/')).then_some(host)
}

/// Why a request that was routed is not served all the same.
fn not_served(visit: &Visit<'_>) -> Option<Refusal> {
    if visit.method == Method::Other {
        return Some(Refusal::MethodNotAllowed);
    }
    visit.purpose.is_some_and(is_prefetch).then_some(Refusal::Prefetch)
}

/// Whether a form was sent, which the pair may refuse.
fn posted(visit: &Visit<'_>, pair: &Pair<'_>) -> Result<bool, Refusal> {
    match (visit.method, pair.post) {
        (Method::Post, Post::Refuse) => Err(Refusal::MethodNotAllowed),
        (method, _) => Ok(method == Method::Post),
    }
}

/// Whether the first item of `Sec-Purpose` is `prefetch` (Fetch Standard, "Sec-Purpose"): `prefetch;prerender` is.
#[must_use]
pub fn is_prefetch(purpose: &[u8]) -> bool {
    purpose
        .split(|byte| matches!(byte, b';' | b','))
        .next()
        .is_some_and(|item| item.trim_ascii().eq_ignore_ascii_case(b"prefetch"))
}
