//! What is answered, as plain data: no status code, no header, no type of any HTTP library.

use super::allow_list::Destination;
use super::consent::Withheld;
use super::identity::Class;
use super::pair::Pair;
use super::scripts::PairsList;
use super::tell::Tell;
use super::token::TokenId;

/// An enum of words that stand in bodies, logs and metrics.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident: $word:ident { $($(#[$each:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            /// All of them, each at the place of its number (`as usize`).
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable word for bodies, logs and metrics.
            #[must_use]
            pub const fn $word(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

/// What to do with a request.
#[derive(Clone)]
pub enum Decision<'l> {
    /// Send the visitor to the destination.
    HandOff(HandOff<'l>),
    /// Take the identity out of the URL, and adopt it if it can be.
    Land(Land<'l>),
    /// Let the proxy that asks serve the page itself, with a cookie if the identity in its URL is adopted.
    Identify(Identify<'l>),
    /// End the identity cookies that are set here.
    Forget(Forget),
    /// Say that this origin honours Global Privacy Control.
    HonoursGpc,
    /// Give the script that sends the links of this origin's pages here.
    Script,
    /// Tell that script what this origin's pairs admit: a list in JSON.
    Pairs(PairsList),
    /// Serve nothing.
    Refuse(Refusal, Role),
}

/// A visitor goes from an origin to a destination.
#[derive(Clone)]
pub struct HandOff<'l> {
    /// The pair that admits the destination.
    pub pair: Pair<'l>,
    /// Where to; admitted by the allow-list as it stands here, decoration included.
    pub destination: Destination,
    /// The class of the identity that goes along, or why none does.
    pub carried: Result<Class, NotCarried>,
    /// The value of a `Set-Cookie` field, if that identity was made up just now.
    pub set_cookie: Option<String>,
    /// Whether a form was sent, which goes along: method and body stay what they are.
    pub posted: bool,
    /// Why a header that names the visitor did not count, if there was one that didn't.
    pub unheard: Option<Unheard>,
    /// What is to be told of it, if something is.
    pub tell: Option<Box<Tell<'l>>>,
}

/// A visitor arrives on a destination with an identity in the URL.
#[derive(Clone)]
pub struct Land<'l> {
    /// The pair whose landing it is.
    pub pair: Pair<'l>,
    /// The same URL without the identity: absolute, on the host that was asked, visible ASCII.
    pub location: String,
    /// What became of the identity.
    pub outcome: Outcome,
    /// The class of the arriving identity, if it could be read.
    pub class: Option<Class>,
    /// The value of a `Set-Cookie` field, if the identity is adopted.
    pub set_cookie: Option<String>,
    /// The token whose first use must be proven, and is then remembered, before the cookie is set; whoever can't prove
    /// it calls [`Land::not_first`].
    pub first_use: Option<FirstUse>,
    /// Whether a form was sent, which goes along: method and body stay what they are.
    pub posted: bool,
    /// Why a header that names the visitor did not count, if there was one that didn't.
    pub unheard: Option<Unheard>,
    /// What is to be told of it, if something is, once the first use is proven.
    pub tell: Option<Box<Tell<'l>>>,
}

/// What a proxy learns that asks before it serves a page itself. Whatever it is, the visitor gets the page.
#[derive(Clone)]
pub enum Identify<'l> {
    /// The page's URL names an identity: a landing whose cookie goes along, and whose redirect nobody needs.
    Landed(Land<'l>),
    /// The page's URL names none.
    Nothing,
    /// The page's URL would be refused as a landing, or no landing is there: a mistake of the proxy's operator,
    /// perhaps.
    Refused(Refusal, Role),
}

/// A visitor leaves.
#[derive(Clone)]
pub struct Forget {
    /// The side that he leaves, the origin if it is both.
    pub role: Role,
    /// The values of the `Set-Cookie` fields that end each identity cookie which is set on this host.
    pub set_cookies: Vec<String>,
    /// Whether a browser waits for the next page, and not a script for an answer.
    pub navigates: bool,
}

/// A token that may be used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstUse {
    /// Which token.
    pub id: TokenId,
    /// How long its use must be remembered, in seconds since 1970.
    pub forget_at: u64,
}

/// Why a token is not adopted although it is genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFirst {
    /// It was used before.
    Used,
    /// Whether it was used before could not be found out.
    Unproven,
}

impl Land<'_> {
    /// The same landing for a token that is perhaps not on its first use: the clean URL, and no cookie. Only a browser
    /// that has the identity already keeps it: it has reloaded. Where another identity stays, nothing changes. In no
    /// case is anything told.
    #[must_use]
    pub fn not_first(self, why: NotFirst) -> Self {
        if matches!(self.outcome, Outcome::Same | Outcome::Kept) {
            return Self { tell: None, ..self };
        }
        let outcome = match why {
            NotFirst::Used => Outcome::Replayed,
            NotFirst::Unproven => Outcome::Unproven,
        };
        Self { outcome, set_cookie: None, tell: None, ..self }
    }
}

words! {
    /// What became of an arriving identity; the words are those of logs and metrics.
    pub enum Outcome: as_str {
        /// Adopted by a visitor who had none here.
        Set => "set",
        /// The visitor had it already; set again to renew its life.
        Same => "same",
        /// Adopted in place of another.
        Replaced => "replaced",
        /// Not adopted: the visitor has another that stays.
        Kept => "kept",
        /// Not adopted: unreadable, more than one, or a token that nothing here can open.
        Invalid => "invalid",
        /// Not adopted: the token's time is over.
        Expired => "expired",
        /// Not adopted: the token was changed, or made for another destination or browser.
        Forged => "forged",
        /// Not adopted: it came in plain text, where only sealed identities are accepted.
        Unsealed => "unsealed",
        /// Not adopted: the token was used before, by another browser.
        Replayed => "replayed",
        /// Not adopted: whether the token was used before could not be found out.
        Unproven => "unproven",
        /// Not adopted: the visitor opted out.
        Gpc => "gpc",
        /// Not adopted: not a visit, but a `HEAD`, an image or a script.
        NotNavigation => "not_navigation",
    }
}

words! {
    /// Why no identity goes along; the words are those of logs and metrics.
    pub enum NotCarried: as_str {
        /// No identity cookie.
        Absent => "absent",
        /// Identity cookies, but none with a usable value.
        Unusable => "unusable",
        /// The visitor opted out.
        Gpc => "gpc",
        /// The visitor has not consented.
        NoConsent => "no_consent",
        /// Not a visit, but a `HEAD`, an image or a script.
        NotNavigation => "not_navigation",
        /// The URL would be over 8,192 bytes.
        TooLong => "too_long",
        /// The decorated URL did not read back as an allowed one.
        Failed => "failed",
    }
}

words! {
    /// Why a header that names the visitor does not count; the words are those of logs and metrics.
    pub enum Unheard: as_str {
        /// It came from somebody who is no trusted proxy.
        Untrusted => "untrusted",
        /// It stands there more than once.
        Repeated => "repeated",
        /// Its value is no usable identity.
        Unusable => "unusable",
    }
}

words! {
    /// A request that is not served; the fault is the visitor's, or of whoever made the link.
    pub enum Refusal: code {
        /// No `Host`, two, a malformed one, one that differs from the target's, or a target that is no path.
        BadHost => "bad_host",
        /// A `Host` that is neither origin nor destination.
        UnknownHost => "unknown_host",
        /// Neither a hand-off nor a landing.
        NotFound => "not_found",
        /// A method other than `GET`, `HEAD` and `POST`; or `POST` where it is refused.
        MethodNotAllowed => "method_not_allowed",
        /// A method other than `POST`, for what must be done on purpose.
        PostOnly => "post_only",
        /// A page of another site asks for what only a page of this one may.
        CrossSite => "cross_site",
        /// A browser that only fetches ahead; it loads normally at the click.
        Prefetch => "prefetch",
        /// No link of that name on this origin.
        UnknownLink => "unknown_link",
        /// No `to`.
        MissingTo => "missing_to",
        /// More than one `to`.
        RepeatedTo => "repeated_to",
        /// A `to`, or a path behind a link, that is no plain http or https URL.
        BadTo => "bad_to",
        /// A URL that the allow-list does not admit.
        NotAllowed => "not_allowed",
    }
}

words! {
    /// Which side of a pair a request was for.
    pub enum Role: as_str {
        /// The side that visitors leave.
        Origin => "origin",
        /// The side where they arrive.
        Destination => "destination",
        /// Neither.
        None => "none",
    }
}

impl Decision<'_> {
    /// Which side of a pair the request was for.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::HandOff(_) | Self::HonoursGpc | Self::Script | Self::Pairs(_) => Role::Origin,
            Self::Land(_) | Self::Identify(Identify::Landed(_) | Identify::Nothing) => Role::Destination,
            Self::Refuse(_, role) | Self::Identify(Identify::Refused(_, role)) | Self::Forget(Forget { role, .. }) => {
                *role
            }
        }
    }

    /// The token whose first use must be proven before the answer goes out.
    #[must_use]
    pub fn first_use(&self) -> Option<FirstUse> {
        match self {
            Self::Land(land) | Self::Identify(Identify::Landed(land)) => land.first_use,
            _ => None,
        }
    }

    /// The same decision for a token that is perhaps not on its first use ([`Land::not_first`]).
    #[must_use]
    pub fn not_first(self, why: NotFirst) -> Self {
        match self {
            Self::Land(land) => Self::Land(land.not_first(why)),
            Self::Identify(Identify::Landed(land)) => Self::Identify(Identify::Landed(land.not_first(why))),
            other => other,
        }
    }

    /// Why a header that names the visitor did not count, if there was one that didn't.
    #[must_use]
    pub fn unheard(&self) -> Option<Unheard> {
        match self {
            Self::HandOff(hand_off) => hand_off.unheard,
            Self::Land(land) | Self::Identify(Identify::Landed(land)) => land.unheard,
            _ => None,
        }
    }

    /// What is to be told of the visit, if something is.
    #[must_use]
    pub fn tell(&self) -> Option<&Tell<'_>> {
        match self {
            Self::HandOff(hand_off) => hand_off.tell.as_deref(),
            Self::Land(land) | Self::Identify(Identify::Landed(land)) => land.tell.as_deref(),
            _ => None,
        }
    }

    /// Why nothing is served, or, to a proxy that asks, why nothing could land.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refuse(refusal, _) | Self::Identify(Identify::Refused(refusal, _)) => Some(*refusal),
            _ => None,
        }
    }
}

impl From<Withheld> for NotCarried {
    fn from(why: Withheld) -> Self {
        match why {
            Withheld::NotNavigation => Self::NotNavigation,
            Withheld::Gpc => Self::Gpc,
            Withheld::NoConsent => Self::NoConsent,
        }
    }
}
