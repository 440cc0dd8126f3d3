//! The core: from the facts of a request to what to do with it, as pure functions.
//!
//! Nothing here does I/O, reads a clock or knows an HTTP library. The way in is [`Linker::decide`]; on its way it asks
//! the allow-list, the identity, the cookie and the decoration, each in a file of its own.
//!
//! What holds an identity, a cookie or a whole URL has no `Debug`, so that no log line can show it by mistake.
//! The exceptions are [`Identity`] and [`Target`], whose own hides it.

mod allow_list;
mod arrival;
mod consent;
mod cookie;
mod decision;
mod decoration;
mod domain;
mod entry;
mod forget;
mod hosts;
mod identify;
mod identity;
mod linker;
mod links;
mod mint;
mod origin;
mod pair;
mod person;
mod plain_url;
mod query;
mod referer;
mod scripts;
mod sites;
mod suspect;
mod target;
mod tell;
mod texts;
mod token;
mod trace;
mod unescape;
mod visit;
mod visitor;

pub use allow_list::{AllowList, Destination, Entries};
pub use consent::{Consent, ConsentCookie, Gpc, is_opt_out};
pub use cookie::{Attributes, CookieDomain, CookieName, IdentityCookie, SameSite, read as read_cookie};
pub use decision::{
    Decision, FirstUse, Forget, HandOff, Identify, Land, NotCarried, NotFirst, Outcome, Refusal, Role, Unheard,
};
pub use decoration::{Arrived, BadParameter, Decoration, Parameter, Undecorated, decorate, undecorate};
pub use domain::{BadDomain, Domain, HostPort};
pub use entry::{BadEntry, Entry, EntryRef, NotAllowed, Scheme};
pub use identity::{Class, Decode, ESCAPED, Identity, Unusable};
pub use linker::{Linker, is_prefetch};
pub use mint::Mint;
pub use pair::{DomainPair, Existing, Landing, MAX_AGE, Origin, Pair, Post, Seal, Settings, SiteName};
pub use scripts::{PairsList, digest};
pub use target::{BadTarget, Target};
pub use tell::{EventNames, Tell, Untold};
pub use token::{BadKey, Binding, Key, Keys, LIFE, Opened, SKEW, Sealed, TokenId};
pub use trace::{Step, Trace};
pub use visit::{Field, Fields, Method, Visit};

/// The query parameter that holds the destination of a hand-off without a link.
const TO: &str = "to";

/// Whether a text is a name of 1 to 64 of `A-Z a-z 0-9 . _ -`, as links and parameters have.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_name_byte)
}
