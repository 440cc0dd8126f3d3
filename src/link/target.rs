//! The URL that a visitor wants to go to, before anybody asks whether it is allowed.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::entry::Scheme;
use super::plain_url::{self, Known};
use super::suspect::{self, is_plain_path};
use super::unescape::{SPARE, unescape};

/// An absolute `http` or `https` URL exactly as the WHATWG parser prints it, without a user name, and where its parts
/// are.
///
/// It is read in two ways that never differ: most texts are proven to be printed as they stand (`plain_url.rs`), and
/// the parser reads the others. Whoever has a `Target` can't tell which way it was read.
#[derive(Clone)]
pub struct Target {
    text: String,
    parts: Parts,
    /// Whether there was a proof.
    proven: bool,
}

/// Where the parts of a URL end and begin in its text, and what it says without a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub scheme: Scheme,
    /// The end of the host, which begins behind `://`.
    pub host_end: usize,
    /// The port in force.
    pub port: u16,
    /// The slash of the path.
    pub path: usize,
    /// The question mark of the query; without one where it would stand.
    pub query: usize,
    /// The `#` of the fragment; without one the end.
    pub fragment: usize,
}

/// Why `to`, or a path behind a link, is no URL that a visitor is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTarget {
    /// Empty, or over 4,096 bytes.
    Length,
    /// The bytes are not UTF-8.
    NotUtf8,
    /// A control character or a space, which parsers drop or trim in different ways.
    ControlOrSpace,
    /// `\` before the query, which browsers read as `/`.
    Backslash,
    /// It does not begin with `http://` or `https://` and a host.
    Scheme,
    /// `user@` before the host.
    UserInfo,
    /// The WHATWG parser fails on it.
    Unparsable,
    /// The host ends in a dot.
    TrailingDot,
    /// A path with a dot segment, an empty segment, `\`, `%2f`, `%5c` or `;`, behind a link or beside a segment like
    /// `c:`.
    Path,
    /// Over 8,192 bytes once it is written out.
    LongLocation,
    /// What was written out does not read back as the same allowed URL.
    Ambiguous,
}

impl Target {
    /// Reads the value of `to`: percent-decoded once (`+` stays a plus) and parsed as a browser would. There is room
    /// for so many bytes that are added later. Whoever knows a host knows that the parser has printed it.
    ///
    /// # Errors
    /// [`BadTarget`] says why.
    pub(super) fn decode(raw: &str, room: usize, is_known: Known<'_>) -> Result<Self, BadTarget> {
        let mut decoded = vec![0; raw.len() + SPARE.max(room)];
        match unescape(raw.as_bytes(), &mut decoded) {
            Some(length) => decoded.truncate(length),
            // What is no escape stays as it is.
            None => decoded = percent_decode_str(raw).collect(),
        }
        Self::read(String::from_utf8(decoded).map_err(|_| BadTarget::NotUtf8)?, is_known)
    }

    /// Reads an absolute URL that is not escaped, such as that of a link in the configuration.
    ///
    /// Nearly every open redirect validated one reading of a URL and sent another, so what only attackers write is
    /// refused before the parser, which repairs much, gets to see it. What is proven to need no repair has none of it.
    ///
    /// # Errors
    /// [`BadTarget`] as for `to`.
    pub fn parse(text: String) -> Result<Self, BadTarget> {
        Self::read(text, &|_| false)
    }

    fn read(mut text: String, is_known: Known<'_>) -> Result<Self, BadTarget> {
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err(BadTarget::Length);
        }
        let parts = plain_url::prove(&text, is_known).or_else(|| {
            // Also where there is no proof of the rest, the parser does nothing else here.
            text.insert(plain_url::missing_path(&text, is_known)?, '/');
            plain_url::prove(&text, is_known)
        });
        if let Some(parts) = parts {
            return Ok(Self { text, parts, proven: true });
        }
        suspect::check(&text)?;
        let url = Url::parse(&text).map_err(|_| BadTarget::Unparsable)?;
        if url.host_str().is_none_or(|host| host.ends_with('.')) {
            return Err(BadTarget::TrailingDot);
        }
        Self::of(url)
    }

    /// Takes a URL that the parser has read.
    ///
    /// # Errors
    /// [`BadTarget`] if it is no `http` or `https` one, or has a user name or a password.
    pub fn of(url: Url) -> Result<Self, BadTarget> {
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(BadTarget::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadTarget::UserInfo);
        }
        let parts = Parts {
            scheme,
            host_end: url[..Position::AfterHost].len(),
            port: url.port().unwrap_or(scheme.default_port()),
            path: url[..Position::BeforePath].len(),
            query: url[..Position::AfterPath].len(),
            fragment: url[..Position::AfterQuery].len(),
        };
        Ok(Self { text: url.into(), parts, proven: false })
    }

    /// Reads a finished Location once more, as the browser will that gets it.
    ///
    /// # Errors
    /// [`BadTarget::Ambiguous`] unless it is of visible ASCII and the parser prints it as it stands.
    pub(super) fn read_back(text: String) -> Result<Self, BadTarget> {
        if let Some(parts) = plain_url::prove(&text, &|_| false) {
            return Ok(Self { text, parts, proven: true });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadTarget::Ambiguous);
        }
        let url = Url::parse(&text).map_err(|_| BadTarget::Ambiguous)?;
        if url.as_str() != text {
            return Err(BadTarget::Ambiguous);
        }
        Self::of(url)
    }

    /// The URL that a text is, if it is proven to be this one but for the query and the fragment; else gives it back.
    pub(super) fn with_another_query(&self, text: String) -> Result<Self, String> {
        let same = self.proven && text.as_bytes().starts_with(self.up_to_query().as_bytes());
        let parts = if same { plain_url::prove_behind_path(&text, self.parts) } else { None };
        match parts {
            Some(parts) => Ok(Self { text, parts, proven: true }),
            None => Err(text),
        }
    }

    /// The same with room for so many bytes that are added later.
    pub(super) fn with_room(&self, room: usize) -> Self {
        let mut text = String::with_capacity(self.text.len() + room);
        text.push_str(&self.text);
        Self { text, parts: self.parts, proven: self.proven }
    }

    /// The whole URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// The host: lower-case A-labels, or an address as the URL Standard writes it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.between(self.parts.scheme.as_str().len() + "://".len(), self.parts.host_end)
    }

    /// The port in force, written or the scheme's own.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.parts.port
    }

    /// `scheme://host[:port]`.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.between(0, self.parts.path)
    }

    /// The path, which is never empty.
    #[must_use]
    pub fn path(&self) -> &str {
        self.between(self.parts.path, self.parts.query)
    }

    /// The query without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.between(self.parts.query, self.parts.fragment).strip_prefix('?')
    }

    /// The fragment without its `#`.
    #[must_use]
    pub fn fragment(&self) -> Option<&str> {
        self.marked_fragment().strip_prefix('#')
    }

    /// All that stands before the question mark of the query.
    pub(super) fn up_to_query(&self) -> &str {
        self.between(0, self.parts.query)
    }

    /// All that stands before the fragment.
    pub(super) fn up_to_fragment(&self) -> &str {
        self.between(0, self.parts.fragment)
    }

    /// The fragment with its `#`; nothing if there is none.
    pub(super) fn marked_fragment(&self) -> &str {
        self.between(self.parts.fragment, self.text.len())
    }

    /// Adds a path behind its own, with one `/` between them.
    ///
    /// # Errors
    /// [`BadTarget::Path`] for whatever two programs may read in two ways.
    pub(super) fn add_path(&mut self, more: &str) -> Result<(), BadTarget> {
        if !is_plain_path(more) || more.starts_with('/') {
            return Err(BadTarget::Path);
        }
        let own = self.path().trim_end_matches('/');
        if !plain_url::is_plain_path(more) {
            let path = format!("{own}/{more}");
            return self.change(|url| url.set_path(&path));
        }
        // Nothing in it is for the parser to escape, and what it would resolve was refused above.
        let end = self.parts.path + own.len();
        self.text.replace_range(end..self.parts.query, "/");
        self.text.insert_str(end + 1, more);
        self.parts.fragment = self.parts.fragment - self.parts.query + end + 1 + more.len();
        self.parts.query = end + 1 + more.len();
        Ok(())
    }

    /// Adds a query behind its own; an empty one changes nothing.
    ///
    /// # Errors
    /// None that is known: the parser reads what it has printed.
    pub(super) fn add_query(&mut self, more: &str) -> Result<(), BadTarget> {
        if more.is_empty() {
            return Ok(());
        }
        if !plain_url::is_plain_query(more) {
            let query = self.query().map_or_else(|| more.to_owned(), |own| format!("{own}&{more}"));
            return self.change(|url| url.set_query(Some(&query)));
        }
        let mark = if self.query().is_some() { '&' } else { '?' };
        self.text.insert(self.parts.fragment, mark);
        self.text.insert_str(self.parts.fragment + 1, more);
        self.parts.fragment += 1 + more.len();
        Ok(())
    }

    /// Lets the parser change it.
    fn change(&mut self, change: impl FnOnce(&mut Url)) -> Result<(), BadTarget> {
        let mut url = Url::parse(&self.text).map_err(|_| BadTarget::Ambiguous)?;
        change(&mut url);
        *self = Self::of(url)?;
        Ok(())
    }

    fn between(&self, from: usize, to: usize) -> &str {
        self.text.get(from..to).unwrap_or_default()
    }
}

/// However they were read.
impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.parts == other.parts
    }
}

impl Eq for Target {}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.text
    }
}

impl fmt::Debug for Target {
    /// Only where it goes: what stands behind may name somebody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.origin())
    }
}

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "it is empty or over 4096 bytes",
            Self::NotUtf8 => "it is not UTF-8",
            Self::ControlOrSpace => "it has a control character or a space",
            Self::Backslash => "it has a backslash before its query",
            Self::Scheme => "it does not begin with https:// or http:// and a host",
            Self::UserInfo => "it has a user name before its host",
            Self::Unparsable => "no browser can read it as a URL",
            Self::TrailingDot => "its host ends in a dot",
            Self::Path => "its path reads in two ways: a dot segment, an empty segment, a backslash, %2f, %5c or `;`",
            Self::LongLocation => "it is over 8192 bytes",
            Self::Ambiguous => "written out it does not read back as the same allowed URL",
        })
    }
}

/// The most bytes of `to` after decoding.
const MAX_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Target {
        Target::decode(raw, 0, &|_| false).ok().unwrap()
    }

    fn parsed(text: &str) -> Target {
        Target::parse(text.to_owned()).ok().unwrap()
    }

    #[test]
    fn what_only_attackers_write_is_refused() {
        for (raw, expected) in [
            ("", BadTarget::Length),
            ("//evil.example", BadTarget::Scheme),
            ("/path", BadTarget::Scheme),
            ("https:evil.example", BadTarget::Scheme),
            ("https:/evil.example", BadTarget::Scheme),
            ("https:////evil.example", BadTarget::Scheme),
            ("javascript:alert(1)", BadTarget::Scheme),
            ("javascript://ok.example/%250aalert(1)", BadTarget::Scheme),
            ("blob:https://ok.example", BadTarget::Scheme),
            ("https:\\\\evil.example", BadTarget::Backslash),
            ("https://evil.example\\@ok.example", BadTarget::Backslash),
            ("https://ok.example%5c@evil.example", BadTarget::Backslash),
            ("https://ok.example@evil.example", BadTarget::UserInfo),
            ("https://@ok.example", BadTarget::UserInfo),
            ("https://a%40b@ok.example", BadTarget::UserInfo),
            ("%01https://ok.example", BadTarget::ControlOrSpace),
            ("https://ok.example/%0d%0aSet-Cookie:x", BadTarget::ControlOrSpace),
            ("https://ok.example/%20x", BadTarget::ControlOrSpace),
            ("https://ok.example/x/a:/../b", BadTarget::Path),
            ("https://ok.example/shop/C%7C/%252E./b", BadTarget::Path),
            ("https://ok.example/%7f", BadTarget::ControlOrSpace),
            ("%C2%A0https://ok.example", BadTarget::Scheme),
            ("%EF%BB%BFhttps://ok.example", BadTarget::Scheme),
            ("https://ok.example/%ff", BadTarget::NotUtf8),
            ("https://ok.example.", BadTarget::TrailingDot),
            ("https://ok.example.:443/", BadTarget::TrailingDot),
            ("https://127.0.0.1./", BadTarget::TrailingDot),
            ("https://ok.example%E3%80%82", BadTarget::TrailingDot),
            ("https://?x", BadTarget::Unparsable),
            ("https://ok.example:99999/", BadTarget::Unparsable),
            ("https://[::1", BadTarget::Unparsable),
        ] {
            assert!(Target::decode(raw, 0, &|_| false) == Err(expected), "{raw}");
        }
        let long = format!("https://ok.example/{}", "a".repeat(MAX_BYTES));
        assert!(Target::decode(&long, 0, &|_| false) == Err(BadTarget::Length));
    }

    #[test]
    fn an_honest_url_is_decoded_once() {
        for (raw, expected) in [
            ("https%3A%2F%2Fok.example%2Fa%3Fb%3D%252B", "https://ok.example/a?b=%2B"),
            ("https://ok.example/a+b", "https://ok.example/a+b"),
            ("https://ok.example/%zz%C3%a9%4", "https://ok.example/%zz%C3%A9%4"),
            ("https://ok.example/%%34%", "https://ok.example/%4%"),
            ("HTTPS://OK.example", "https://ok.example/"),
            ("https://ok.example/?a=\\b", "https://ok.example/?a=\\b"),
            ("https://ok.example/?q=user@host", "https://ok.example/?q=user@host"),
        ] {
            assert_eq!(read(raw).as_str(), expected, "{raw}");
        }
    }

    #[test]
    fn another_query_may_stand_only_behind_the_same_path() {
        let target = parsed("https://ok.example/cart?a=1#f");
        for (text, expected) in [
            ("https://ok.example/cart?a=1&kmi=x#f", true),
            ("https://ok.example/cart?a=1#f", true),
            ("https://ok.example/cart", true),
            ("https://ok.example/cart#?", true),
            ("https://ok.example/cartoon", false),
            ("https://ok.example/cart/x", false),
            ("https://ok.example/", false),
            ("https://evil.example/cart?a=1", false),
            ("http://ok.example/cart", false),
            ("https://ok.example/cart?a b", false),
            ("https://ok.example/cart?\u{e9}", false),
            ("https://ok.example/cart#`", false),
            ("", false),
        ] {
            let another = target.with_another_query(text.to_owned());
            assert_eq!(another.is_ok(), expected, "{text}");
            assert!(another.map_or_else(|same| same == text, |another| another == parsed(text)), "{text}");
        }
        // What the parser has changed is read by it again.
        assert!(parsed("https://OK.example/cart").with_another_query("https://ok.example/cart".to_owned()).is_err());
    }

    #[test]
    fn a_path_is_added_with_one_slash() {
        for (base, more, expected) in [
            ("https://ok.example/cart", "a/b", "https://ok.example/cart/a/b"),
            ("https://ok.example/cart/", "a/", "https://ok.example/cart/a/"),
            ("https://ok.example/?x=1", "a%20b", "https://ok.example/a%20b?x=1"),
            ("https://ok.example/#f", "é", "https://ok.example/%C3%A9#f"),
            ("https://ok.example/a//?x#f", "b?c#d", "https://ok.example/a/b%3Fc%23d?x#f"),
            ("https://ok.example/a//?x#f", "b", "https://ok.example/a/b?x#f"),
            ("https://ok.example/?x#f", "...", "https://ok.example/...?x#f"),
        ] {
            let mut target = parsed(base);
            target.add_path(more).ok().unwrap();
            assert_eq!(target.as_str(), expected, "{more}");
            assert!(target == parsed(expected), "{more}");
        }
        for more in ["..", "a/../b", "%2e%2E", ".%2e/x", "a//b", "/a", "a%2fb", "a%5Cb", "a\\b", "a;b", "."] {
            assert!(parsed("https://ok.example/cart").add_path(more) == Err(BadTarget::Path), "{more}");
        }
    }

    #[test]
    fn a_query_is_added_behind_the_own_one() {
        for (base, more, expected) in [
            ("https://ok.example/", "a=%2B&b", "https://ok.example/?a=%2B&b"),
            ("https://ok.example/?x=1#f", "a", "https://ok.example/?x=1&a#f"),
            ("https://ok.example/?", "a", "https://ok.example/?&a"),
            ("https://ok.example/?x", "", "https://ok.example/?x"),
            ("https://ok.example/", "q=é", "https://ok.example/?q=%C3%A9"),
            ("https://ok.example/?#f", "q='#", "https://ok.example/?&q=%27%23#f"),
            ("https://ok.example#f?g", "a", "https://ok.example/?a#f?g"),
        ] {
            let mut target = parsed(base);
            target.add_query(more).ok().unwrap();
            assert_eq!(target.as_str(), expected, "{more}");
            assert!(target == parsed(expected), "{more}");
        }
    }
}
