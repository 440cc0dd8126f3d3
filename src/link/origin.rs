//! What visitors of one origin may ask for, and the URL that they are sent to.

use super::allow_list::{AllowList, Destination};
use super::decision::{NotCarried, Refusal};
use super::decoration::{Decoration, decorate};
use super::entry::NotAllowed;
use super::identity::Identity;
use super::links::LinkNames;
use super::pair::{Pair, Seal};
use super::target::{BadTarget, Target};
use super::trace::{Step, Trace};
use super::{TO, is_plain_name, query};

/// The entries and links of every pair that lists an origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct OriginRules<'l> {
    pub allow_list: AllowList<'l>,
    pub links: LinkNames<'l>,
}

impl OriginRules<'_> {
    /// The URL that a visitor asks for, not yet admitted. `rest` is what stands behind the route: nothing, or `/link`
    /// with perhaps a path behind it.
    pub(super) fn asked(&self, rest: &str, query: Option<&str>, trace: &mut impl Trace) -> Result<Target, Refusal> {
        match rest.strip_prefix('/') {
            Some(link) => self.linked(link, query, trace),
            None => self.wanted(query.unwrap_or_default(), trace),
        }
    }

    /// The URL of the one `to`, with the other pairs of the query behind its own: a form's fields, or the parameters of
    /// a destination that nobody escaped.
    fn wanted(&self, query: &str, trace: &mut impl Trace) -> Result<Target, Refusal> {
        let mut to = None;
        let mut others = String::new();
        for pair in query::pairs(query).filter(|pair| !pair.is_empty()) {
            if query::is_named(pair, TO) {
                if to.replace(query::value(pair)).is_some() {
                    return Err(Refusal::RepeatedTo);
                }
            } else {
                // They are all of the query at the most.
                others.reserve(if others.is_empty() { query.len() } else { 0 });
                others.push_str(if others.is_empty() { "" } else { "&" });
                others.push_str(pair);
            }
        }
        let to = to.ok_or(Refusal::MissingTo)?;
        trace.step(Step::To(to));
        let is_known = |host: &str| self.allow_list.names(host);
        let mut target = Target::decode(to, others.len() + 1, &is_known).map_err(|why| bad_to(why, trace))?;
        target.add_query(&others).map_err(|why| bad_to(why, trace))?;
        Ok(target)
    }

    /// The URL of a named link, with what the request adds to its path and query.
    fn linked(&self, link: &str, query: Option<&str>, trace: &mut impl Trace) -> Result<Target, Refusal> {
        let (name, more) = link.split_once('/').unwrap_or((link, ""));
        trace.step(Step::Link(name));
        if !is_plain_name(name) {
            return Err(Refusal::UnknownLink);
        }
        let query = query.unwrap_or_default();
        // The `/` and the `?` or `&` in front of what is added are the two bytes.
        let room = more.len() + query.len() + 2;
        let mut target = self.links.get(name).ok_or(Refusal::UnknownLink)?.with_room(room);
        if !more.is_empty() {
            target.add_path(more).map_err(|why| bad_to(why, trace))?;
        }
        target.add_query(query).map_err(|why| bad_to(why, trace))?;
        Ok(target)
    }

    /// Writes the identity into the URL, or leaves it out where the URL would be too long or not read back: whatever
    /// goes wrong around an identity, the visitor still gets to the shop. `seal` makes a token for a destination.
    pub(super) fn send(
        &self,
        admitted: &Destination,
        pair: &Pair<'_>,
        identity: Result<&Identity<'_>, &NotCarried>,
        seal: impl FnOnce(&Identity<'_>, &str) -> Option<String>,
    ) -> Result<(Destination, Result<(), NotCarried>), BadTarget> {
        let url = admitted.target();
        let decorated = identity.map_err(|why| *why).and_then(|identity| {
            let text = match pair.hand_off {
                Seal::Plain => decorate(url, &pair.parameter, Decoration::Plain(identity)),
                Seal::Sealed => {
                    let token = seal(identity, admitted.target().origin()).ok_or(NotCarried::Failed)?;
                    decorate(url, &pair.parameter, Decoration::Token(&token))
                }
            };
            self.readmit(admitted, text).map_err(|why| match why {
                BadTarget::LongLocation => NotCarried::TooLong,
                _ => NotCarried::Failed,
            })
        });
        match decorated {
            Ok(destination) => Ok((destination, Ok(()))),
            Err(why) => {
                let plain = decorate(url, &pair.parameter, Decoration::Nothing);
                Ok((self.readmit(admitted, plain)?, Err(why)))
            }
        }
    }

    /// Reads a finished Location as a browser will, and makes sure that the allow-list admits that too. Where only the
    /// query is another, and that is proven, there is nothing new to ask it.
    ///
    /// No input is known for which the second reading differs from the first; should one ever be found, nobody is sent
    /// there.
    fn readmit(&self, admitted: &Destination, location: String) -> Result<Destination, BadTarget> {
        if location.len() > MAX_LOCATION {
            return Err(BadTarget::LongLocation);
        }
        admitted.with_another_query(location).or_else(|location| {
            let target = Target::read_back(location)?;
            self.allow_list.admit(target).map_err(|_: NotAllowed| BadTarget::Ambiguous)
        })
    }
}

/// The refusal of a URL; what is wrong with it only the trace is told.
pub(super) fn bad_to(why: BadTarget, trace: &mut impl Trace) -> Refusal {
    trace.step(Step::BadTarget(why));
    Refusal::BadTo
}

/// The most bytes of a Location; common proxies and browsers take heads of 8 KiB and more.
const MAX_LOCATION: usize = 8192;
