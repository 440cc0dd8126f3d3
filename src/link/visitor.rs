//! Who the visitor is: the identity that a proxy tells or his cookies hold, and what tells his browser from others.

use super::cookie::{CookieName, read};
use super::decision::{NotCarried, Unheard};
use super::identity::{Identity, is_nobody};
use super::pair::Pair;
use super::token::Binding;
use super::trace::{Step, Trace};
use super::visit::{Field, Visit};

/// Who the visitor is, as far as can be told.
pub(super) struct Who<'v> {
    pub identity: Result<Identity<'v>, NotCarried>,
    /// Whether a cookie before the one that holds it has what the script takes for the visitor's name, though it is of
    /// no use here: the script has joined an anonymous identity behind it to that name already.
    pub behind_name: bool,
    /// Why a header that names him did not count, if there was one that didn't.
    pub unheard: Option<Unheard>,
}

/// What a trusted proxy says, where the pair names its header; else the first usable identity among the named cookies.
pub(super) fn read_identity<'v, 'n>(
    visit: &Visit<'v>,
    pair: &Pair<'_>,
    names: impl Iterator<Item = &'n CookieName>,
    trace: &mut impl Trace,
) -> Who<'v> {
    let mut names = names;
    let told = pair.header.as_deref().map_or(Ok(None), |name| told(visit, name, trace));
    if let Ok(Some(identity)) = told {
        names.for_each(|name| trace.step(Step::CookieNotNeeded(name.as_str())));
        return Who { identity: Ok(identity), behind_name: false, unheard: None };
    }
    let (unheard, mut behind_name) = (told.err(), false);
    let mut why_none = if unheard == Some(Unheard::Unusable) { NotCarried::Unusable } else { NotCarried::Absent };
    for name in names.by_ref() {
        let Some(value) = read(visit.cookies, name) else {
            trace.step(Step::CookieAbsent(name.as_str()));
            continue;
        };
        match Identity::from_cookie_as(pair.decode, value) {
            Err(unusable) => {
                trace.step(Step::CookieUnusable(name.as_str(), unusable));
                why_none = NotCarried::Unusable;
                behind_name |= !is_nobody(value);
            }
            Ok(identity) => {
                trace.step(Step::CookieTaken(name.as_str(), &identity));
                names.for_each(|name| trace.step(Step::CookieNotNeeded(name.as_str())));
                return Who { identity: Ok(identity), behind_name, unheard };
            }
        }
    }
    Who { identity: Err(why_none), behind_name, unheard }
}

/// Whether the KISSmetrics script knows the visitor by something else than this identity, in whatever order the cookies
/// are asked here: then it has joined the anonymous one that it keeps to that name.
pub(super) fn is_known_otherwise(cookies: &[&[u8]], own: &Identity<'_>) -> bool {
    let is_other = |value| !is_nobody(value) && !Identity::from_cookie(value).is_ok_and(|known| known.is_same(own));
    read(cookies, &CookieName::new("km_ni")).is_some_and(is_other)
}

/// What a proxy says in this header, or why that does not count. With nothing in it, nobody is known there.
fn told<'v>(visit: &Visit<'v>, name: &str, trace: &mut impl Trace) -> Result<Option<Identity<'v>>, Unheard> {
    let value = match visit.fields.find(name) {
        Field::Absent | Field::Once(b"") => {
            trace.step(Step::HeaderAbsent(name));
            return Ok(None);
        }
        _ if !visit.trusted => Err(Unheard::Untrusted),
        Field::Repeated => Err(Unheard::Repeated),
        Field::Once(value) => Ok(value),
    };
    let value = value.inspect_err(|why| trace.step(Step::HeaderUnheard(name, *why)))?;
    match Identity::from_header(value) {
        Ok(identity) => {
            trace.step(Step::HeaderTaken(name, &identity));
            Ok(Some(identity))
        }
        Err(why) => {
            trace.step(Step::HeaderUnusable(name, why));
            Err(Unheard::Unusable)
        }
    }
}

/// What a token of a pair is bound to.
pub(super) fn binding<'a>(pair: &Pair<'_>, destination: &'a str, visit: &Visit<'a>) -> Binding<'a> {
    let user_agent = pair.bind_user_agent.then(|| visit.user_agent.unwrap_or_default());
    Binding { destination, user_agent }
}
