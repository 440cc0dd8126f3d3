//! The rules of all pairs, and the one decision that they are for.

use super::arrival::Arrival;
use super::decision::{Decision, HandOff, Identify, Land, Refusal, Role};
use super::domain::HostPort;
use super::identify;
use super::origin::{OriginRules, bad_to};
use super::pair::DomainPair;
use super::sites::{DestinationSite, Sites};
use super::token::Keys;
use super::trace::{Step, Trace};
use super::visit::{Method, Visit};
use super::visitor::{binding, read_identity};

/// The immutable rules of all pairs; what a new configuration replaces as a whole.
#[derive(Clone, Debug)]
pub struct Linker {
    route: String,
    keys: Keys,
    pairs: Vec<DomainPair>,
    sites: Sites,
    /// By the number that `sites` has for each origin.
    origins: Vec<OriginRules>,
}

impl Linker {
    /// Builds the rules from checked pairs, in the order of the file, the path under which links are served, and the
    /// keys of sealed identities.
    ///
    /// `route` begins with `/` and does not end with one. Where pairs contradict each other the first one wins; the
    /// configuration refuses such files before they get here.
    #[must_use]
    pub fn new(route: String, keys: Keys, mut pairs: Vec<DomainPair>) -> Self {
        for (number, pair) in pairs.iter_mut().enumerate() {
            pair.number = number;
        }
        let mut sites = Sites::default();
        let mut origins: Vec<OriginRules> = Vec::new();
        for (index, pair) in pairs.iter().enumerate() {
            for origin in &pair.origins {
                let number = sites.add_origin(origin.domain.as_str(), origin.port, origins.len());
                if number == origins.len() {
                    origins.push(OriginRules::default());
                }
                if let Some(rules) = origins.get_mut(number) {
                    rules.open(pair, index);
                }
            }
            for entry in &pair.destinations {
                let cookie = pair.landing.as_ref().map(|landing| landing.cookie_for(entry));
                sites.add_destination(DestinationSite { pair: index, entry: entry.clone(), cookie });
            }
        }
        Self { route, keys, pairs, sites, origins }
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
        if visit.path == GPC_PATH && visit.method != Method::Other && origin.is_some_and(OriginRules::honours_gpc) {
            return Decision::HonoursGpc;
        }
        if let Some(rules) = origin
            && let Some(rest) = visit.path.strip_prefix(self.route.as_str())
            && (rest.is_empty() || (rest.starts_with('/') && rest != "/"))
        {
            let handed_off = not_served(visit).map_or_else(|| self.hand_off(rules, rest, visit, trace), Err);
            return handed_off.map_or_else(|refusal| Decision::Refuse(refusal, Role::Origin), Decision::HandOff);
        }
        refuse(Refusal::NotFound)
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
        let (origin, destination) = self.sites.find(&host).ok_or(Refusal::UnknownHost)?;
        let origin = origin.and_then(|number| self.origins.get(number));
        let landing = destination.and_then(|site| self.landing(site));
        trace.step(Step::Host { host: &host.host, origin: origin.is_some(), landing: landing.is_some() });
        Ok(Site { host, origin, landing })
    }

    fn landing<'l>(&'l self, site: &'l DestinationSite) -> Option<Arrival<'l>> {
        let (pair, cookie) = (self.pairs.get(site.pair)?, site.cookie.as_ref()?);
        Some(Arrival { pair, entry: &site.entry, cookie, keys: &self.keys })
    }

    /// `rest` is what stands behind the route: nothing, `/link` or `/link/more`.
    fn hand_off(
        &self,
        rules: &OriginRules,
        rest: &str,
        visit: &Visit<'_>,
        trace: &mut impl Trace,
    ) -> Result<HandOff<'_>, Refusal> {
        let asked = rules.asked(rest, visit.query, trace)?;
        trace.step(Step::Target(asked.as_str()));
        let admitted = rules.allow_list.admit(asked).map_err(|why| {
            trace.step(Step::NotAllowed(why));
            Refusal::NotAllowed
        })?;
        // `admit` names a pair that `new` numbered, so there always is one.
        let pair = self.pairs.get(admitted.pair()).ok_or(Refusal::NotAllowed)?;
        trace.step(Step::Admitted(pair));

        let identity = match pair.consent.refuses_to_carry(visit) {
            Some(why) => Err(why.into()),
            None => read_identity(visit.cookies, pair.cookies.iter().map(String::as_str), trace),
        };
        let sent = rules.send(&admitted, pair, identity.as_ref(), |identity, destination| {
            self.keys.seal(identity, binding(pair, destination, visit), visit.now)
        });
        let (destination, carried) = sent.map_err(|why| bad_to(why, trace))?;
        Ok(HandOff { pair, destination, carried: carried.and(identity.map(|identity| identity.class())) })
    }
}

/// A host that is known, as one side or both.
struct Site<'l, 'v> {
    host: HostPort<'v>,
    origin: Option<&'l OriginRules>,
    landing: Option<Arrival<'l>>,
}

impl<'l> Site<'l, '_> {
    /// The landing of a visit, if there is one here and the query names an identity.
    fn land(&self, visit: &Visit<'_>, trace: &mut impl Trace) -> Option<Result<Land<'l>, Refusal>> {
        let arrival = self.landing.as_ref()?;
        let query = visit.query.filter(|query| arrival.pair.parameter.is_in(query))?;
        Some(match not_served(visit) {
            Some(refusal) => Err(refusal),
            None => Ok(arrival.land(&self.host.host, query, visit, trace)),
        })
    }
}

/// Where a site says that it honours the signal (Global Privacy Control, "GPC Support Resource").
const GPC_PATH: &str = "/.well-known/gpc.json";

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
#[must_use]
pub fn is_prefetch(purpose: &[u8]) -> bool {
    purpose
        .split(|byte| matches!(byte, b';' | b','))
        .next()
        .is_some_and(|item| item.trim_ascii().eq_ignore_ascii_case(b"prefetch"))
}
