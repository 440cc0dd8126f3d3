//! What an analytics service is to be told of a visit, as plain data.

use super::identity::{Class, Identity};
use super::pair::{Pair, SiteName};
use super::person::seems_a_person;
use super::trace::{Step, Trace};
use super::visit::Visit;

/// What a site is to be told of a visitor who leaves or arrives.
// Without `Debug`: it holds identities.
#[derive(Clone)]
pub struct Tell<'l> {
    /// Which site.
    pub site: &'l SiteName,
    /// Who the visitor is.
    pub person: Identity<'static>,
    /// The anonymous identity that his browser had here until now: the two are one person. It can't be undone.
    pub alias: Option<Identity<'static>>,
    /// The name of what he did, if that is to be recorded.
    pub event: Option<&'l str>,
    /// The pair whose visitor he is.
    pub pair: &'l str,
    /// The named link that he followed, if he did.
    pub link: Option<Box<str>>,
}

/// Why less is told of a visitor than might be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untold {
    /// Nothing: it is no person who asks, by what his browser says of itself.
    NoPerson,
    /// Nothing: he has not consented, as far as can be seen here.
    NoConsent,
    /// No alias: the script has joined his own identity to what stands in another cookie in front of it.
    BehindName,
    /// No alias: the page stands in a frame of another one.
    Framed,
    /// No alias: his browser does not say that a page of an origin has sent him.
    FromElsewhere,
}

/// The names of what is recorded of visitors; nothing is that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventNames {
    /// He left for a destination, with an identity.
    pub left: Option<Box<str>>,
    /// He arrived there, and his identity was adopted.
    pub arrived: Option<Box<str>>,
}

impl<'l> Tell<'l> {
    /// All that goes along with an event, by name. Nothing else ever does, and least of all a URL.
    pub fn properties(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let link = self.link.as_deref().map(|link| ("link", link));
        link.into_iter().chain([("pair", self.pair)])
    }

    /// Of a visitor who goes from an origin, with an identity: the event, where it has a name.
    pub(super) fn left(pair: Pair<'l>, person: &Identity<'_>, link: Option<&str>) -> Option<Box<Self>> {
        let (site, event) = (pair.settings.kissmetrics.as_ref()?, pair.settings.events.left.as_deref()?);
        let (person, link) = (person.clone().into_owned(), link.map(Box::from));
        Some(Box::new(Self { site, person, alias: None, event: Some(event), pair: pair.name, link }))
    }

    /// Of a visitor whose identity is adopted, in place of another if he had another.
    ///
    /// Only an identity that his browser had as its own until now is told to be the same person, and only if it is
    /// anonymous by its shape: a named one may be somebody else. What stands in other cookies is left alone: with a
    /// name in front of it, the script has given an anonymous one to that name already, so that a second alias would
    /// make two named persons one.
    pub(super) fn arrived(pair: Pair<'l>, person: &Identity<'_>, replaced: Option<&Identity<'_>>) -> Option<Box<Self>> {
        let site = pair.settings.kissmetrics.as_ref()?;
        let is_own = |other: &&Identity<'_>| other.class() == Class::Anonymous && !other.is_same(person);
        let alias = replaced.filter(is_own).map(|other| other.clone().into_owned());
        let event = pair.settings.events.arrived.as_deref();
        let is_any = alias.is_some() || event.is_some();
        let person = || person.clone().into_owned();
        is_any.then(|| Box::new(Self { site, person: person(), alias, event, pair: pair.name, link: None }))
    }

    /// The same if a person seems to ask, else nothing.
    pub(super) fn of_a_person(self: Box<Self>, visit: &Visit<'_>, trace: &mut impl Trace) -> Option<Box<Self>> {
        if seems_a_person(visit) {
            return Some(self);
        }
        trace.step(Step::Untold(Untold::NoPerson));
        None
    }

    /// The same without the alias, if anything is left.
    pub(super) fn without_alias(self: Box<Self>) -> Option<Box<Self>> {
        self.event.is_some().then(|| Box::new(Self { alias: None, ..*self }))
    }
}
