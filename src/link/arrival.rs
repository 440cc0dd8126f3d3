//! A visitor arrives with an identity in the URL: out of the URL, into a cookie, or nowhere.

use super::allow_list::AllowList;
use super::consent::is_navigation;
use super::cookie::{CookieName, IdentityCookie, read};
use super::decision::{FirstUse, Land, Outcome};
use super::decoration::{Arrived, Kept};
use super::entry::EntryRef;
use super::hosts::Hosts;
use super::identity::{Class, Identity};
use super::pair::{Existing, Pair, Seal};
use super::query::to_visible_ascii;
use super::referer::page_host;
use super::sites;
use super::tell::{Tell, Untold};
use super::token::{Keys, Opened, Sealed};
use super::trace::{Step, Trace};
use super::visit::{Method, Visit};
use super::visitor::{Who, binding, is_known_otherwise, read_identity};

/// A host on which identities land.
pub(super) struct Arrival<'l> {
    pub pair: Pair<'l>,
    pub entry: EntryRef<'l>,
    pub cookie: IdentityCookie<'l>,
    pub keys: &'l Keys,
    pub hosts: &'l Hosts,
}

/// An identity that came in a URL and can be believed as far as its way allows.
struct Believed<'a> {
    identity: Identity<'a>,
    /// What is left to prove of the token that it came in; `None` if it came in plain text.
    token: Option<FirstUse>,
}

impl<'l> Arrival<'l> {
    /// Cleans the URL, and adopts the identity if it can be believed and nothing better is there.
    pub(super) fn land(&self, host: &str, query: &str, visit: &Visit<'_>, trace: &mut impl Trace) -> Land<'l> {
        trace.step(Step::Landing(self.pair));
        let kept = Kept::of(visit.path, Some(query), &self.pair.parameter);
        let destination = self.entry.origin_with(host);
        // Measured first, then written: such a text becomes a field of the answer without another copy.
        let mut length = destination.len();
        kept.each(&mut |piece| to_visible_ascii(piece).for_each(|piece| length += piece.len()));
        let mut location = String::with_capacity(length);
        // Absolute, so that `//evil` or `/\evil` in the path stays a path on this host.
        location.push_str(&destination);
        kept.each(&mut |piece| location.extend(to_visible_ascii(piece)));
        let mut land = Land {
            pair: self.pair,
            location,
            outcome: Outcome::Invalid,
            class: None,
            set_cookie: None,
            first_use: None,
            posted: visit.method == Method::Post,
            unheard: None,
            tell: None,
        };
        match self.believe(kept.arrived(), &destination, visit, trace) {
            Ok(believed) => self.adopt(&believed, host, visit, &mut land, trace),
            Err(why) => land.outcome = why,
        }
        land
    }

    /// The cookies that may be set here.
    pub(super) fn cookies(&self) -> impl Iterator<Item = IdentityCookie<'_>> {
        let anonymous = self.anonymous_cookie().map(|name| IdentityCookie { name, ..self.cookie });
        std::iter::once(self.cookie).chain(anonymous)
    }

    /// The identity in the URL, or why it is not adopted, whatever the visitor has here.
    fn believe<'a>(
        &self,
        arrived: Arrived<'a>,
        destination: &str,
        visit: &Visit<'_>,
        trace: &mut impl Trace,
    ) -> Result<Believed<'a>, Outcome> {
        if !is_navigation(visit) {
            return Err(Outcome::NotNavigation);
        }
        if self.pair.consent.opted_out(visit) {
            return Err(Outcome::Gpc);
        }
        let believed = match arrived {
            Arrived::Plain(_) if self.accepts() == Seal::Sealed => return Err(Outcome::Unsealed),
            Arrived::Plain(raw) => {
                Identity::from_query(raw).map(|identity| Believed { identity, token: None }).map_err(|unusable| {
                    trace.step(Step::ArrivedUnusable(unusable));
                    Outcome::Invalid
                })?
            }
            Arrived::Token(token) => {
                let opened = self.keys.open(token, binding(&self.pair, destination, visit), visit.now);
                let Opened { identity, id, forget_at } = opened.map_err(|sealed| {
                    trace.step(Step::Sealed(sealed));
                    match sealed {
                        Sealed::Invalid => Outcome::Invalid,
                        Sealed::Forged => Outcome::Forged,
                        Sealed::Expired => Outcome::Expired,
                    }
                })?;
                Believed { identity, token: Some(FirstUse { id, forget_at }) }
            }
            Arrived::Several => {
                trace.step(Step::ArrivedSeveral);
                return Err(Outcome::Invalid);
            }
            Arrived::Nothing => return Err(Outcome::Invalid),
        };
        trace.step(Step::Arrived(&believed.identity));
        Ok(believed)
    }

    /// Sets the cookie, unless what the visitor has here stays.
    fn adopt(
        &self,
        believed: &Believed<'_>,
        host: &str,
        visit: &Visit<'_>,
        land: &mut Land<'l>,
        trace: &mut impl Trace,
    ) {
        let Believed { identity, token } = believed;
        land.class = Some(identity.class());
        let had = self.existing(visit, trace);
        land.outcome = self.judge(identity, token.is_some(), had.identity.as_ref().ok());
        land.unheard = had.unheard;
        // Used up even where another identity stays: whoever finds the token later gets nothing out of it.
        land.first_use = *token;
        if land.outcome == Outcome::Kept {
            return;
        }
        let replaced = had.identity.as_ref().ok().filter(|_| land.outcome == Outcome::Replaced);
        land.tell = Tell::arrived(self.pair, identity, replaced)
            .and_then(|tell| self.tellable(tell, (token.is_some(), had.behind_name), host, visit, trace));
        // Beside a `cookie` that is there, which scripts read first, the other one would never be seen.
        let has_own = || read(visit.cookies, self.cookie.name).is_some_and(|value| !value.is_empty());
        land.set_cookie = Some(match self.anonymous_cookie() {
            Some(name) if token.is_some() && identity.class() == Class::Anonymous && !has_own() => {
                IdentityCookie { name, ..self.cookie }.write(identity)
            }
            _ => self.cookie.write(identity),
        });
    }

    /// What may be told of what there is to tell.
    fn tellable(
        &self,
        tell: Box<Tell<'l>>,
        (sealed, behind_name): (bool, bool),
        host: &str,
        visit: &Visit<'_>,
        trace: &mut impl Trace,
    ) -> Option<Box<Tell<'l>>> {
        let tell = tell.of_a_person(visit, trace)?;
        // A token was made for a visitor who had consented. How a plain identity came into the URL nobody knows.
        if !sealed && !self.pair.consent.is_given(visit) {
            trace.step(Step::Untold(Untold::NoConsent));
            return None;
        }
        let behind_name = |own| behind_name || is_known_otherwise(visit.cookies, own);
        let why = tell.alias.as_ref().and_then(|own| self.keeps_apart(behind_name(own), host, visit));
        let Some(why) = why else { return Some(tell) };
        trace.step(Step::Untold(why));
        tell.without_alias()
    }

    /// Why nobody may be told that the visitor's own identity here and the arriving one are one person, if so. An alias
    /// can't be undone, and whoever may write a link or a frame on some page of the web could cause it: so his browser
    /// must say that a page of an origin that leads here has sent him, and that it opens this one as a page of its own.
    fn keeps_apart(&self, behind_name: bool, host: &str, visit: &Visit<'_>) -> Option<Untold> {
        if behind_name {
            return Some(Untold::BehindName);
        }
        if visit.fetch_dest.is_some_and(|dest| dest.trim_ascii() != b"document") {
            return Some(Untold::Framed);
        }
        let from = page_host(visit).and_then(|page| sites::find_origin(self.hosts, &page));
        let is_ours = from.is_some_and(|origin| AllowList::new(self.hosts, origin).leads_to(host, &self.entry));
        (!is_ours).then_some(Untold::FromElsewhere)
    }

    /// Who the visitor is here.
    fn existing<'v>(&self, visit: &Visit<'v>, trace: &mut impl Trace) -> Who<'v> {
        let (own, anonymous) = (self.cookie.name, self.anonymous_cookie());
        let others = self.pair.cookies.iter().filter(|name| *name != own && Some(*name) != anonymous);
        read_identity(visit, &self.pair, std::iter::once(own).chain(anonymous).chain(others), trace)
    }

    /// What becomes of an arriving identity beside the one that the visitor has here.
    fn judge(&self, arriving: &Identity<'_>, sealed: bool, existing: Option<&Identity<'_>>) -> Outcome {
        let by_default = if sealed { Existing::Replace } else { Existing::KeepNamed };
        let rule = self.pair.landing.as_ref().and_then(|landing| landing.existing).unwrap_or(by_default);
        match (existing, rule) {
            (None, _) => Outcome::Set,
            (Some(existing), _) if existing == arriving => Outcome::Same,
            (Some(_), Existing::Keep) => Outcome::Kept,
            (Some(existing), Existing::KeepNamed) if existing.class() == Class::Named => Outcome::Kept,
            (Some(_), Existing::KeepNamed | Existing::Replace) => Outcome::Replaced,
        }
    }

    fn anonymous_cookie(&self) -> Option<&CookieName> {
        self.pair.landing.as_ref()?.anonymous_cookie.as_ref()
    }

    fn accepts(&self) -> Seal {
        self.pair.landing.as_ref().map_or(Seal::Sealed, |landing| landing.accept)
    }
}
