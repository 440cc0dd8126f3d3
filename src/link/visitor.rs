//! Who the visitor is: the identity in his cookies, and what tells his browser from others.

use super::cookie::{CookieName, read};
use super::decision::NotCarried;
use super::identity::Identity;
use super::pair::Pair;
use super::token::Binding;
use super::trace::{Step, Trace};
use super::visit::Visit;

/// The first usable identity among the named cookies of a pair.
pub(super) fn read_identity<'v, 'n>(
    cookies: &[&'v [u8]],
    pair: &Pair<'_>,
    names: impl Iterator<Item = &'n CookieName>,
    trace: &mut impl Trace,
) -> Result<Identity<'v>, NotCarried> {
    let mut names = names;
    let mut why_none = NotCarried::Absent;
    for name in names.by_ref() {
        match read(cookies, name).map(|value| Identity::from_cookie_as(pair.decode, value)) {
            None => trace.step(Step::CookieAbsent(name.as_str())),
            Some(Err(unusable)) => {
                trace.step(Step::CookieUnusable(name.as_str(), unusable));
                why_none = NotCarried::Unusable;
            }
            Some(Ok(identity)) => {
                trace.step(Step::CookieTaken(name.as_str(), &identity));
                names.for_each(|name| trace.step(Step::CookieNotNeeded(name.as_str())));
                return Ok(identity);
            }
        }
    }
    Err(why_none)
}

/// What a token of a pair is bound to.
pub(super) fn binding<'a>(pair: &Pair<'_>, destination: &'a str, visit: &Visit<'a>) -> Binding<'a> {
    let user_agent = pair.bind_user_agent.then(|| visit.user_agent.unwrap_or_default());
    Binding { destination, user_agent }
}
