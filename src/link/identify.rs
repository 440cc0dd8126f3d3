//! A proxy asks on the way, before it serves a page itself: the landing's cookie without the landing's redirect.

use super::visit::Visit;

/// Where proxies ask (nginx `auth_request`, Caddy `forward_auth`, Envoy `ext_authz`).
const PATH: &str = "/-/identify";

/// What the visitor asked of the proxy, if this is a proxy's question: the same visit with the page's own target and
/// method. A target that is no path is left to whoever reads the visit.
///
/// nginx and Caddy say the target in a field; Envoy puts it behind the path, and so may anybody.
pub(super) fn page<'a>(visit: &Visit<'a>) -> Option<Visit<'a>> {
    let behind = visit.path.strip_prefix(PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let (path, query) = match visit.original_target {
        Some(target) => split(std::str::from_utf8(target).unwrap_or_default()),
        None => (if behind.is_empty() { "/" } else { behind }, visit.query),
    };
    // The more careful of the two methods counts: a proxy asks with `GET` for a `HEAD`, and Envoy with the visitor's.
    let method = visit.original_method.map_or(visit.method, |original| original.max(visit.method));
    Some(Visit { method, path, query, ..*visit })
}

/// The path and the query of a target. Some proxies keep a fragment that should never have been sent.
fn split(target: &str) -> (&str, Option<&str>) {
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::visit::Method;

    const VISIT: Visit<'static> = Visit::of("ok.example", "/");

    #[test]
    fn the_page_is_what_the_proxy_says_or_what_stands_behind_the_path() {
        let asked = |path, query, original: Option<&'static str>| {
            let original_target = original.map(str::as_bytes);
            page(&Visit { path, query, original_target, ..VISIT }).map(|page| (page.path, page.query))
        };
        for (path, query, original, expected) in [
            ("/-/identify", None, Some("/cart?kmi=x&b"), Some(("/cart", Some("kmi=x&b")))),
            ("/-/identify", Some("kmi=y"), Some("/cart"), Some(("/cart", None))),
            ("/-/identify/a", Some("kmi=y"), Some("//cart?"), Some(("//cart", Some("")))),
            ("/-/identify", None, Some("/a?b?c#d?e"), Some(("/a", Some("b?c")))),
            ("/-/identify", None, Some("/a#b?kmi=x"), Some(("/a", None))),
            ("/-/identify", None, Some(""), Some(("", None))),
            ("/-/identify", None, Some("https://ok.example/"), Some(("https://ok.example/", None))),
            ("/-/identify", Some("kmi=x"), None, Some(("/", Some("kmi=x")))),
            ("/-/identify/a%2fb/../c", Some("kmi=x"), None, Some(("/a%2fb/../c", Some("kmi=x")))),
            ("/-/identify/", None, None, Some(("/", None))),
            ("/-/identify//evil.example", None, None, Some(("//evil.example", None))),
            ("/-/identifyx", Some("kmi=x"), Some("/"), None),
            ("/-/", None, Some("/"), None),
            ("/%2d/identify", None, Some("/"), None),
            ("/a/-/identify", None, Some("/"), None),
        ] {
            assert_eq!(asked(path, query, original), expected, "{path} {query:?} {original:?}");
        }
        let not_utf8 = Visit { path: PATH, original_target: Some(b"/\xff?kmi=x"), ..VISIT };
        assert!(page(&not_utf8).is_some_and(|page| page.path.is_empty() && page.query.is_none()));
    }

    #[test]
    fn the_more_careful_method_counts() {
        for (own, original, expected) in [
            (Method::Get, None, Method::Get),
            (Method::Get, Some(Method::Get), Method::Get),
            (Method::Get, Some(Method::Head), Method::Head),
            (Method::Get, Some(Method::Other), Method::Other),
            (Method::Head, None, Method::Head),
            (Method::Head, Some(Method::Get), Method::Head),
            (Method::Other, Some(Method::Get), Method::Other),
        ] {
            let visit = Visit { path: PATH, method: own, original_method: original, ..VISIT };
            assert!(page(&visit).is_some_and(|page| page.method == expected), "{own:?} {original:?}");
        }
    }
}
