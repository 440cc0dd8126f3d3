//! Who a visitor is: the keys of `identity` and `mint`.

use ipnet::IpNet;

use super::cookie_name::{self, check_prefix, is_token};
use super::fault::Faults;
use super::raw::{RawConfig, RawIdentity, RawMint};
use super::text::Text;
use super::value::word;
use crate::link::{CookieName, Mint, Settings};

pub(super) fn cookies(raw: Option<&RawIdentity>, faults: &mut Faults) -> Vec<CookieName> {
    let Some(cookies) = raw.and_then(|raw| raw.cookies.as_ref()) else {
        return ["km_ni", "km_ai"].map(CookieName::new).to_vec();
    };
    if cookies.value.is_empty() {
        faults.add(cookies, "no cookie to read an identity from", "name one, or leave the key out");
    }
    cookies.value.iter().map(|name| cookie_name::check(name, faults)).collect()
}

/// The header in which a proxy says who the visitor is, in lower case.
pub(super) fn header(raw: Option<&RawIdentity>, faults: &mut Faults) -> Option<Box<str>> {
    let text = raw?.header.as_ref()?;
    let name = text.value.to_ascii_lowercase();
    let hint = "name the header in which your proxy says who has logged in, such as `X-Auth-Request-Email`";
    if !is_token(&name) {
        faults.add(text, format!("`{}` is no name for a header", text.value), hint);
    } else if means_something_else(&name) {
        faults.add(text, format!("the header `{}` says something else", text.value), hint);
    }
    Some(name.into())
}

/// Whether a header, in lower case, never holds the name of a visitor, or a secret beside it.
fn means_something_else(name: &str) -> bool {
    OTHER_STARTS.iter().any(|start| name.starts_with(start)) || name.ends_with("-token") || OTHERS.contains(&name)
}

/// The identity that a visitor gets who has none. `settings` are those of the same pair.
pub(super) fn mint(raw: &RawMint, settings: &Settings, faults: &mut Faults) -> Mint {
    let RawMint { cookie: text, secure } = raw;
    let name = text.value.as_str();
    let is = |cookie: &CookieName| cookie.as_str() == name;
    let taken = if OF_THE_SCRIPT.contains(&name) {
        Some("belongs to the KISSmetrics script, which takes what it holds for its own")
    } else if settings.cookies.iter().any(is) {
        Some("is one of `identity.cookies` already")
    } else if settings.consent.require_cookie.as_ref().is_some_and(|cookie| is(&cookie.name)) {
        Some("says whether a visitor agreed")
    } else {
        let landing = settings.landing.as_ref();
        let set = landing.into_iter().flat_map(|landing| [Some(&landing.cookie), landing.anonymous_cookie.as_ref()]);
        set.flatten().any(is).then_some("is set by the `landing` of this pair")
    };
    if let Some(taken) = taken {
        faults.add(text, format!("the cookie `{name}` {taken}"), "name one that nothing else uses, such as `visitor`");
    }
    let secure = word(secure.as_ref(), true, &[("true", true), ("false", false)], faults);
    check_prefix(text, secure, false, "choose another name: this cookie is valid on the whole site", faults);
    Mint::new(cookie_name::check(text, faults), secure)
}

/// Somebody must be trusted to say who a visitor is, and not everybody.
pub(super) fn check_trust(raw: &RawConfig, trusted: &[IpNet], faults: &mut Faults) {
    let of_pairs = raw.pairs.value.iter().filter_map(|pair| pair.value.identity.as_deref());
    let by_default = raw.defaults.as_ref().and_then(|defaults| defaults.identity.as_ref());
    let headers: Vec<&Text> = by_default.into_iter().chain(of_pairs).filter_map(|raw| raw.header.as_ref()).collect();
    let Some(proxies) = raw.trusted_proxies.as_ref().filter(|proxies| proxies.value.len() > 0) else {
        for header in headers {
            faults.add(
                header,
                "nobody is trusted to say who a visitor is, so this header could never count",
                "name the proxies that set it: `trusted_proxies: [127.0.0.1]`",
            );
        }
        return;
    };
    if !headers.is_empty() && trusted.iter().any(|network| network.prefix_len() == 0) {
        faults.warn(
            proxies,
            "everybody is trusted to say who he is, in the header that `identity` names",
            "name the addresses of your proxies alone",
        );
    }
}

/// The cookies of the KISSmetrics script. Its makers ask others not to set `km_ai`; and `km_ni` says to the script that
/// the visitor is known by that name: it would never join what he does then with the name under which he logs in.
const OF_THE_SCRIPT: [&str; 6] = ["km_ai", "km_ni", "km_vs", "km_lv", "km_uq", "kvcd"];

/// What headers begin with that are about the request, the connection or the browser.
const OTHER_STARTS: [&str; 6] = ["sec-", "proxy-", "accept", "content-", "if-", "access-control-"];

/// Other such headers, and those that hold secrets.
const OTHERS: [&str; 44] = [
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-amzn-trace-id",
    "x-api-key",
    "x-correlation-id",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
];
