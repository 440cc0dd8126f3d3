//! Whether a visitor's identity may be carried at all: his consent, his opt-out, and whether it is a visit.

use super::cookie::{CookieName, read};
use super::visit::{Method, Visit};

/// What a pair asks of a visitor before it carries his identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// The cookie in which the origin keeps the visitor's consent; asked on the origin only.
    pub require_cookie: Option<ConsentCookie>,
    /// What `Sec-GPC: 1` means, on both sides.
    pub gpc: Gpc,
}

/// A cookie that is there and says the right thing once the visitor has consented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentCookie {
    /// Its name.
    pub name: CookieName,
    /// What its value must contain, as it stands in the cookie, not unescaped.
    pub contains: String,
}

/// What to do about Global Privacy Control, the opt-out that a browser sends with each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gpc {
    /// Nothing about the identity is carried, set or logged.
    #[default]
    Honour,
    /// As if it were not there.
    Ignore,
}

/// Why a visitor's identity is not carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// It is no visit.
    NotNavigation,
    /// He opted out.
    Gpc,
    /// He has not consented.
    NoConsent,
}

impl Consent {
    /// Why nothing may be carried from the origin, if so.
    pub(super) fn refuses_to_carry(&self, visit: &Visit<'_>) -> Option<Withheld> {
        if !is_navigation(visit) {
            return Some(Withheld::NotNavigation);
        }
        if self.opted_out(visit) {
            return Some(Withheld::Gpc);
        }
        (!self.is_given(visit)).then_some(Withheld::NoConsent)
    }

    /// Whether the visitor has consented, as far as his cookies for this host say, or need not.
    pub(super) fn is_given(&self, visit: &Visit<'_>) -> bool {
        let says_so = |asked: &ConsentCookie| {
            read(visit.cookies, &asked.name).is_some_and(|value| contains(value, asked.contains.as_bytes()))
        };
        self.require_cookie.as_ref().is_none_or(says_so)
    }

    /// Whether the visitor's browser opted out, and that counts.
    pub(super) fn opted_out(&self, visit: &Visit<'_>) -> bool {
        self.gpc == Gpc::Honour && visit.gpc.is_some_and(is_opt_out)
    }
}

/// Whether somebody goes there, as far as the browser says: a missing header proves nothing, since older browsers send
/// none (Fetch Metadata, 2).
pub(super) fn is_navigation(visit: &Visit<'_>) -> bool {
    let is_one_of =
        |value: Option<&[u8]>, words: &[&[u8]]| value.is_none_or(|value| words.contains(&value.trim_ascii()));
    matches!(visit.method, Method::Get | Method::Post)
        && is_one_of(visit.fetch_mode, &[b"navigate"])
        && is_one_of(visit.fetch_dest, &[b"document", b"iframe"])
}

fn contains(value: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || value.windows(wanted.len()).any(|part| part == wanted)
}

/// Whether a value of `Sec-GPC` says no. A proxy may have joined two fields with a comma (RFC 9110, 5.3).
#[must_use]
pub fn is_opt_out(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii() == b"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISIT: Visit<'static> = Visit::of("www.yoursite.com", "/");

    #[test]
    fn only_a_navigation_carries() {
        for (mode, dest, expected) in [
            (None, None, true),
            (Some("navigate"), Some("document"), true),
            (Some("navigate"), Some("iframe"), true),
            (Some("navigate"), None, true),
            (Some("no-cors"), Some("image"), false),
            (Some("navigate"), Some("empty"), false),
            (Some("cors"), None, false),
        ] {
            let visit = Visit { fetch_mode: mode.map(str::as_bytes), fetch_dest: dest.map(str::as_bytes), ..VISIT };
            assert_eq!(is_navigation(&visit), expected, "{mode:?} {dest:?}");
        }
        assert!(!is_navigation(&Visit { method: Method::Head, ..VISIT }));
    }

    #[test]
    fn consent_is_what_the_cookie_says() {
        let consent = Consent {
            require_cookie: Some(ConsentCookie { name: CookieName::new("consent"), contains: "analytics".to_owned() }),
            gpc: Gpc::Honour,
        };
        for (cookies, expected) in [
            (&b"consent=ads,analytics"[..], None),
            (b"consent=ads", Some(Withheld::NoConsent)),
            (b"consent=", Some(Withheld::NoConsent)),
            (b"other=analytics", Some(Withheld::NoConsent)),
        ] {
            let visit = Visit { cookies: &[cookies], ..VISIT };
            assert_eq!(consent.refuses_to_carry(&visit), expected, "{cookies:?}");
        }
    }

    #[test]
    fn an_opt_out_is_honoured_unless_told_otherwise() {
        let opted_out = Visit { gpc: Some(b"1"), ..VISIT };
        assert_eq!(Consent::default().refuses_to_carry(&opted_out), Some(Withheld::Gpc));
        assert!(Consent::default().opted_out(&Visit { gpc: Some(b"0, 1"), ..VISIT }));
        assert_eq!(Consent { gpc: Gpc::Ignore, ..Consent::default() }.refuses_to_carry(&opted_out), None);
        assert_eq!(Consent::default().refuses_to_carry(&Visit { gpc: Some(b"0"), ..VISIT }), None);
    }
}
