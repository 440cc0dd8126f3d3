//! The steps of a decision, for whoever wants to see them.

use super::decision::Unheard;
use super::entry::NotAllowed;
use super::identity::{Identity, Unusable};
use super::pair::Pair;
use super::target::BadTarget;
use super::tell::Untold;
use super::token::Sealed;

/// Sees each step of a decision while it is taken. `explain` prints them; the server watches with `()`, which costs
/// nothing. So an explanation can't drift from what the server does: it is the same code.
pub trait Trace {
    /// One more step was taken.
    fn step(&mut self, step: Step<'_>);
}

impl Trace for () {
    fn step(&mut self, _: Step<'_>) {}
}

/// One step of a decision.
#[derive(Clone, Copy)]
pub enum Step<'a> {
    /// A proxy asks about a page that it will serve.
    Page {
        /// The path of the page.
        path: &'a str,
        /// The query of the page.
        query: Option<&'a str>,
    },
    /// The host is known, as one side or both.
    Host {
        /// The host as it was matched.
        host: &'a str,
        /// Whether it is an origin.
        origin: bool,
        /// Whether it is a destination with a landing.
        landing: bool,
    },
    /// The path asks for a named link.
    Link(&'a str),
    /// The value of `to`, as it came.
    To(&'a str),
    /// The URL that the visitor asks for, as a browser reads it.
    Target(&'a str),
    /// There is no such URL.
    BadTarget(BadTarget),
    /// The allow-list admits it.
    Admitted(Pair<'a>),
    /// The allow-list does not admit it.
    NotAllowed(NotAllowed),
    /// The landing of this pair answers.
    Landing(Pair<'a>),
    /// The field in which a proxy says who the visitor is says nothing.
    HeaderAbsent(&'a str),
    /// That field does not count, whatever it says.
    HeaderUnheard(&'a str, Unheard),
    /// That field can't be used.
    HeaderUnusable(&'a str, Unusable),
    /// That field gave the identity.
    HeaderTaken(&'a str, &'a Identity<'a>),
    /// A cookie that was looked for is not there.
    CookieAbsent(&'a str),
    /// A cookie is there, but can't be used.
    CookieUnusable(&'a str, Unusable),
    /// A cookie gave the identity.
    CookieTaken(&'a str, &'a Identity<'a>),
    /// A cookie that was not needed any more.
    CookieNotNeeded(&'a str),
    /// An identity is made up, and kept in this cookie.
    Minted(&'a str, &'a Identity<'a>),
    /// None is made up for this cookie, because it is no browser that asks.
    NotMinted(&'a str),
    /// The identity in the URL.
    Arrived(&'a Identity<'a>),
    /// The identity in the URL can't be used.
    ArrivedUnusable(Unusable),
    /// More than one identity in the URL.
    ArrivedSeveral,
    /// A token in the URL that stays shut.
    Sealed(Sealed),
    /// Less is told of the visitor than might be.
    Untold(Untold),
}
