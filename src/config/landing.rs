//! What happens on the destination: the keys of `landing`.

use std::time::Duration;

use super::cookie_name::{self, check_prefix};
use super::fault::{Faults, Place};
use super::raw::RawLanding;
use super::text::{Placed, Text};
use super::trust::seal;
use super::value::{duration, word};
use crate::link::{
    Attributes, CookieDomain, CookieName, Domain, Entry, Existing, Keys, Landing, MAX_AGE, Parameter, SameSite, Scheme,
    Seal,
};

/// What a landing needs to know of its pair.
pub(super) struct Of<'a> {
    pub destinations: &'a [Entry],
    pub parameter: &'a Parameter,
    pub keys: &'a Keys,
}

/// The landing of a pair; what it leaves out comes from `defaults`.
pub(super) fn landing(
    raw: Option<&Placed<Option<RawLanding>>>,
    defaults: &RawLanding,
    of: &Of<'_>,
    faults: &mut Faults,
) -> Option<Landing> {
    let raw = raw?;
    let Of { destinations, parameter, keys } = of;
    let at = Place::from(raw);
    let Some(own) = &raw.value else {
        faults.add(
            at,
            "`landing` has nothing behind it",
            "write `landing: {}` for the defaults, or leave the key out where crosslink does not answer",
        );
        return None;
    };
    let same_sites = [("lax", SameSite::Lax), ("none", SameSite::None)];
    let existing = [("keep_named", Existing::KeepNamed), ("replace", Existing::Replace), ("keep", Existing::Keep)];
    let same_site = own.same_site.as_deref().or(defaults.same_site.as_deref());
    let accept = own.accept.as_deref().or(defaults.accept.as_deref());
    let by_default = if keys.is_empty() { Seal::Plain } else { Seal::Sealed };
    let anonymous = own.anonymous_cookie.as_deref().or(defaults.anonymous_cookie.as_deref());
    let named = own.cookie.as_deref().or(defaults.cookie.as_deref());
    let cookie = cookie(named, faults);
    let existing_text = own.existing.as_deref().or(defaults.existing.as_deref());
    let landing = Landing {
        accept: seal(accept, by_default, keys, faults),
        anonymous_cookie: anonymous.map(|text| anonymous_cookie(text, &cookie, faults)),
        cookie,
        domain: domain(own.domain.as_deref().or(defaults.domain.as_deref()), destinations, faults),
        attributes: Attributes::new(
            max_age(own.max_age.as_deref().or(defaults.max_age.as_deref()), faults),
            word(same_site, SameSite::Lax, &same_sites, faults),
        ),
        existing: existing_text.map(|text| word(Some(text), Existing::KeepNamed, &existing, faults)),
    };
    let has_http = destinations.iter().any(|entry| entry.scheme() == Scheme::Http);
    if landing.attributes.same_site() == SameSite::None && has_http {
        faults.add(
            same_site.map_or(at, Place::from),
            "`same_site: none` needs https: browsers take such a cookie only with Secure",
            "make the destination https, or write `same_site: lax`",
        );
    }
    for name in [named, anonymous].into_iter().flatten() {
        let hint = "write `domain: host`, or choose another name";
        check_prefix(name, !has_http, landing.domain == CookieDomain::Host, hint, faults);
    }
    if landing.accept == Seal::Plain {
        faults.warn(
            at,
            format!("this landing accepts a plain `{}`, which anyone can write into a link", parameter.as_str()),
            "read \"Privacy\" in the README before you rely on who arrives here",
        );
    }
    Some(landing)
}

fn cookie(text: Option<&Text>, faults: &mut Faults) -> CookieName {
    let Some(text) = text else { return CookieName::new("km_ni") };
    if text.value == "km_ai" {
        faults.add(
            text,
            "`km_ai` belongs to the KISSmetrics script, whose makers ask others not to set it",
            "write `cookie: km_ni`, or leave the key out",
        );
        return CookieName::new(&text.value);
    }
    cookie_name::check(text, faults)
}

fn anonymous_cookie(text: &Text, cookie: &CookieName, faults: &mut Faults) -> CookieName {
    if text.value == cookie.as_str() {
        faults.add(
            text,
            format!("`{cookie}` is the `cookie` of this landing already"),
            "leave `anonymous_cookie` out, or name another one",
        );
    }
    cookie_name::check(text, faults)
}

fn max_age(text: Option<&Text>, faults: &mut Faults) -> Duration {
    let longest = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let max_age = duration(text, MAX_AGE, Duration::from_secs(1)..=longest, faults);
    if let Some(text) = text.filter(|_| max_age > MAX_AGE) {
        faults.warn(text, "browsers cut the life of a cookie to 400 days", "write `400d`, or less");
    }
    max_age
}

fn domain(text: Option<&Text>, destinations: &[Entry], faults: &mut Faults) -> CookieDomain {
    let Some(text) = text else { return CookieDomain::Site };
    match text.value.as_str() {
        "site" => return CookieDomain::Site,
        "host" => return CookieDomain::Host,
        _ => {}
    }
    let Ok(domain) = Domain::parse(text.value.strip_prefix('.').unwrap_or(&text.value)) else {
        faults.add(text, format!("`{}` is no cookie domain", text.value), "write `site`, `host` or a domain");
        return CookieDomain::Site;
    };
    if domain.is_public_suffix() {
        faults.add(
            text,
            format!("{domain} is a public suffix, for which browsers take no cookie"),
            "write a domain below it, or `site`",
        );
    } else if let Some(entry) = destinations.iter().find(|entry| !entry.domain().is_within(&domain)) {
        faults.add(
            text,
            format!("{domain} is neither the destination {entry} nor a parent of it"),
            "write `site`, `host` or a parent of every destination of this pair",
        );
    }
    CookieDomain::Given(domain)
}
