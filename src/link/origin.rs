//! What visitors of one origin may ask for, and the URL that they are sent to.

use url::Url;

use super::allow_list::{AllowList, Destination};
use super::decision::{NotCarried, Refusal};
use super::decoration::{Decoration, decorate};
use super::entry::NotAllowed;
use super::identity::Identity;
use super::links::LinkNames;
use super::pair::{Pair, Seal};
use super::target::{self, BadTarget};
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
    pub(super) fn asked(&self, rest: &str, query: Option<&str>, trace: &mut impl Trace) -> Result<Url, Refusal> {
        match rest.strip_prefix('/') {
            Some(link) => self.linked(link, query, trace),
            None => wanted(query.unwrap_or_default(), trace),
        }
    }

    /// The URL of a named link, with what the request adds to its path and query.
    fn linked(&self, link: &str, query: Option<&str>, trace: &mut impl Trace) -> Result<Url, Refusal> {
        let (name, more) = link.split_once('/').unwrap_or((link, ""));
        trace.step(Step::Link(name));
        if !is_plain_name(name) {
            return Err(Refusal::UnknownLink);
        }
        let mut url = self.links.get(name).ok_or(Refusal::UnknownLink)?.clone();
        if !more.is_empty() {
            target::add_path(&mut url, more).map_err(|why| bad_to(why, trace))?;
        }
        target::add_query(&mut url, query);
        Ok(url)
    }

    /// Writes the identity into the URL, or leaves it out where the URL would be too long or not read back: whatever
    /// goes wrong around an identity, the visitor still gets to the shop. `seal` makes a token for a destination.
    pub(super) fn send(
        &self,
        admitted: &Destination,
        pair: &Pair<'_>,
        identity: Result<&Identity, &NotCarried>,
        seal: impl FnOnce(&Identity, &str) -> Option<String>,
    ) -> Result<(Destination, Result<(), NotCarried>), BadTarget> {
        let url = admitted.url().as_str();
        let decorated = identity.map_err(|why| *why).and_then(|identity| {
            let text = match pair.hand_off {
                Seal::Plain => decorate(url, &pair.parameter, Decoration::Plain(&identity.escaped().to_string())),
                Seal::Sealed => {
                    let destination = admitted.url().origin().ascii_serialization();
                    let token = seal(identity, &destination).ok_or(NotCarried::Failed)?;
                    decorate(url, &pair.parameter, Decoration::Token(&token))
                }
            };
            self.readmit(&text).map_err(|why| match why {
                BadTarget::LongLocation => NotCarried::TooLong,
                _ => NotCarried::Failed,
            })
        });
        match decorated {
            Ok(destination) => Ok((destination, Ok(()))),
            Err(why) => {
                let plain = decorate(url, &pair.parameter, Decoration::Nothing);
                Ok((self.readmit(&plain)?, Err(why)))
            }
        }
    }

    /// Reads a finished Location as a browser will, and asks the allow-list once more.
    ///
    /// No input is known for which the second reading differs from the first; should one ever be found, nobody is sent
    /// there.
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

/// The URL of the one `to`, with the other pairs of the query behind its own: a form's fields, or the parameters of a
/// destination that nobody escaped.
fn wanted(query: &str, trace: &mut impl Trace) -> Result<Url, Refusal> {
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
    let mut url = target::parse(to).map_err(|why| bad_to(why, trace))?;
    target::add_query(&mut url, Some(&others));
    Ok(url)
}

/// The refusal of a URL; what is wrong with it only the trace is told.
pub(super) fn bad_to(why: BadTarget, trace: &mut impl Trace) -> Refusal {
    trace.step(Step::BadTarget(why));
    Refusal::BadTo
}

/// The most bytes of a Location; common proxies and browsers take heads of 8 KiB and more.
const MAX_LOCATION: usize = 8192;
