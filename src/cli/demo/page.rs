//! How the demo's pages are filled in and sent.

use std::fmt::Write;

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};

use crate::http::content::Content;

/// A page of HTML: each `{{name}}` of a template is filled in once, so that a value which looks like one stays a value.
pub(super) fn html(template: &str, values: &[(&str, &str)]) -> Response<Content> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        text.push_str(before);
        text.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    text.push_str(rest);
    sent(text.into(), "text/html; charset=utf-8")
}

/// What the pages load besides the script of crosslink.
pub(super) fn file(path: &str) -> Option<Response<Content>> {
    let (_, content, text) = FILES.iter().find(|(name, ..)| *name == path)?;
    Some(sent(Bytes::from_static(text.as_bytes()), content))
}

fn sent(body: Bytes, content: &'static str) -> Response<Content> {
    let mut response = Response::new(Content::from(body));
    let fields = [(CONTENT_TYPE, content), (CACHE_CONTROL, "no-store"), (CONTENT_SECURITY_POLICY, POLICY)];
    response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// Rows of a table; all cells are texts from outside.
pub(super) fn rows<const CELLS: usize>(rows: impl IntoIterator<Item = [String; CELLS]>) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str("<tr>");
        for cell in row {
            // Writing to a text does not fail.
            let _ = write!(text, "<td><code>{}</code></td>", escape(&cell));
        }
        text.push_str("</tr>");
    }
    if text.is_empty() {
        let _ = write!(text, "<tr><td colspan=\"{CELLS}\">There are none.</td></tr>");
    }
    text
}

/// Text for HTML, in elements and attributes.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// As strict as a shop's can be: no inline code. A form is sent to `/go`, and the browser follows it to the checkout.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src data:; \
                      form-action 'self' http://checkout.localhost:*; base-uri 'none'; frame-ancestors 'none'";

const FILES: [(&str, &str, &str); 3] = [
    ("/demo.css", "text/css; charset=utf-8", include_str!("demo.css")),
    ("/shop.js", "text/javascript; charset=utf-8", include_str!("shop.js")),
    ("/checkout.js", "text/javascript; charset=utf-8", include_str!("checkout.js")),
];
