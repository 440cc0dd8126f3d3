//! A visitor arrives with an identity in the URL: out of the URL, into a cookie, or nowhere.

use super::allow_list::Entry;
use super::cookie::IdentityCookie;
use super::decision::{Land, Method, Outcome, Visit};
use super::decoration::{Arrived, undecorate};
use super::identity::{Class, Identity};
use super::pair::{DomainPair, Existing};
use super::query::to_visible_ascii;
use super::trace::{Step, Trace};
use super::visitor::read_identity;

/// A host on which identities land.
pub(super) struct Arrival<'l> {
    pub pair: &'l DomainPair,
    pub entry: &'l Entry,
    pub cookie: &'l IdentityCookie,
}

impl<'l> Arrival<'l> {
    /// Cleans the URL, and adopts the identity if it can be believed and nothing better is there.
    pub(super) fn land(&self, host: &str, query: &str, visit: &Visit<'_>, trace: &mut impl Trace) -> Land<'l> {
        trace.step(Step::Landing(self.pair));
        let target = format!("{}?{query}", visit.path);
        let undecorated = undecorate(&target, &self.pair.parameter);
        let clean = to_visible_ascii(&undecorated.clean);
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
            (Ok(existing), Existing::KeepNamed) if existing.class() == Class::Named => Outcome::Kept,
            (Ok(_), Existing::KeepNamed | Existing::Replace) => Outcome::Replaced,
        }
    }
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
