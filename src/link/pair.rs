//! One pair of the configuration: where visitors come from, where they may go, and how their identity travels.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::consent::Consent;
use super::cookie::{Attributes, CookieDomain, CookieName, IdentityCookie, read};
use super::decoration::Parameter;
use super::domain::Domain;
use super::entry::{Entry, EntryRef, Scheme};
use super::identity::{Class, Decode, Identity, is_nobody};
use super::mint::Mint;
use super::target::Target;
use super::tell::EventNames;
use super::visitor::is_known_otherwise;

/// One checked entry of `pairs`.
#[derive(Clone, Debug)]
pub struct DomainPair {
    /// The name in logs and metrics.
    pub name: Box<str>,
    /// The hosts whose visitors it serves.
    pub origins: Vec<Origin>,
    /// Where they may be sent.
    pub destinations: Vec<Entry>,
    /// The named links of its origins, each admitted by its `destinations`.
    pub links: Vec<(String, Target)>,
    /// What it says besides.
    pub settings: Arc<Settings>,
}

/// A pair as the rules keep it.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'l> {
    /// The name in logs and metrics.
    pub name: &'l str,
    /// Its place among all pairs.
    pub number: usize,
    /// What it says besides.
    pub settings: &'l Settings,
}

/// What a pair says besides who may go where. Most pairs of a configuration say the same, and share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The query parameter that carries the identity.
    pub parameter: Parameter,
    /// The cookies that hold an identity, the most telling first.
    pub cookies: Vec<CookieName>,
    /// How it is written there.
    pub decode: Decode,
    /// The field, in lower case, in which a trusted proxy says who the visitor is; it counts before all cookies.
    pub header: Option<Box<str>>,
    /// What a visitor gets who has none; `None` if he goes on without.
    pub mint: Option<Mint>,
    /// How the identity travels.
    pub hand_off: Seal,
    /// Whether a token is bound to the visitor's `User-Agent`, on both sides.
    pub bind_user_agent: bool,
    /// What is asked of a visitor first.
    pub consent: Consent,
    /// What becomes of a form that is sent by `POST`, on both sides.
    pub post: Post,
    /// What to do on the destination; `None` where crosslink does not answer there.
    pub landing: Option<Landing>,
    /// The KISSmetrics site that is told about its visitors, if one is.
    pub kissmetrics: Option<SiteName>,
    /// What that site is told of each visitor.
    pub events: EventNames,
}

/// The name of a KISSmetrics site, by which its key is found: where the key stands, as `file PATH` or `env NAME`. So it
/// stays the same when the key is replaced, and pairs that name one key are one site.
pub type SiteName = Arc<str>;

/// A host whose visitors a pair serves: with a port, only if the request names that port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The host.
    pub domain: Domain,
    /// The port that a `Host` must name, if one is given.
    pub port: Option<u16>,
}

/// How an identity is adopted on the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// The name of the cookie that is set.
    pub cookie: CookieName,
    /// Its `Domain` attribute.
    pub domain: CookieDomain,
    /// Its attributes besides.
    pub attributes: Attributes,
    /// The cookie that an anonymous identity from a token is set in, in place of `cookie`.
    pub anonymous_cookie: Option<CookieName>,
    /// Which identities are believed.
    pub accept: Seal,
    /// What wins if the visitor has another identity here; `None` for [`Existing::Replace`] where the arriving one was
    /// sealed, and [`Existing::KeepNamed`] where it was not.
    pub existing: Option<Existing>,
}

/// What becomes of a form that is sent by `POST`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Post {
    /// It is sent on as it is, method and body.
    #[default]
    Preserve,
    /// It is not served.
    Refuse,
}

/// Whether an identity travels in plain text or sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// As `kmi`, for everybody to read and to write.
    Plain,
    /// As `kmt`, a token that only the holders of a key can read and write.
    Sealed,
}

/// What wins if a visitor arrives with one identity and has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The arriving one.
    Replace,
    /// A named one stays, an anonymous one gives way.
    KeepNamed,
    /// Whatever is there.
    Keep,
}

impl DomainPair {
    /// Whether pairs share all their settings. If not they may still say the same.
    #[must_use]
    pub fn share_settings(pairs: &[Self]) -> bool {
        pairs.windows(2).all(|two| matches!(two, [one, next] if Arc::ptr_eq(&one.settings, &next.settings)))
    }
}

/// Of a pair its settings are asked most.
impl Deref for DomainPair {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

/// Of a pair its settings are asked most.
impl Deref for Pair<'_> {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        self.settings
    }
}

impl Pair<'_> {
    /// The identity in a visitor's cookies, on either side: of those that the pair names the first one that is usable.
    #[must_use]
    pub fn known_by(&self, cookies: &[u8]) -> Option<Identity<'static>> {
        self.first_usable(cookies).map(|(identity, _)| identity)
    }

    /// That identity, if it is anonymous by its shape and the script has not joined it to a name that stands in front
    /// of it.
    #[must_use]
    pub fn anonymous_by(&self, cookies: &[u8]) -> Option<Identity<'static>> {
        let (identity, behind_name) = self.first_usable(cookies)?;
        let is_own = !behind_name && !is_known_otherwise(&[cookies], &identity);
        (identity.class() == Class::Anonymous && is_own).then_some(identity)
    }

    /// The first usable identity, and whether it stands behind what the script takes for a name.
    fn first_usable(&self, cookies: &[u8]) -> Option<(Identity<'static>, bool)> {
        let landing =
            self.landing.iter().flat_map(|landing| [Some(&landing.cookie), landing.anonymous_cookie.as_ref()]);
        let own = self.mint.as_ref().map(|mint| &mint.cookie);
        let mut names = self.cookies.iter().chain(landing.flatten()).chain(own);
        let mut behind_name = false;
        names.find_map(|name| {
            let value = read(&[cookies], name)?;
            let identity = Identity::from_cookie_as(self.decode, value).ok();
            behind_name |= identity.is_none() && !is_nobody(value);
            Some((identity?.into_owned(), behind_name))
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.domain),
            None => self.domain.fmt(f),
        }
    }
}

impl Landing {
    /// The cookie as it is set on the hosts of one destination.
    pub(super) fn cookie_for<'l>(&'l self, entry: &EntryRef<'l>) -> IdentityCookie<'l> {
        IdentityCookie {
            name: &self.cookie,
            domain: self.domain.attribute(entry.site()),
            secure: entry.scheme() == Scheme::Https,
            attributes: &self.attributes,
        }
    }
}

/// The default life of a landing's cookie: 400 days, to which Chromium and Firefox cut every longer one.
pub const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);
