//! The parameter that carries an identity goes onto a URL and comes off again; every other byte stays as it is.

use memchr::memchr;

use super::identity::Identity;
use super::query;
use super::target::Target;

/// The query parameter of a pair, `kmi` unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    name: String,
}

/// Why a text can't be a parameter's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadParameter {
    /// `to` and `kmt` have a meaning of their own.
    Reserved,
    /// Something else than 1 to 64 of `A-Z a-z 0-9 . _ -`.
    Malformed,
}

impl Parameter {
    /// Takes a name of 1 to 64 of `A-Z a-z 0-9 . _ -`.
    ///
    /// # Errors
    /// [`BadParameter`] if it is malformed or reserved.
    pub fn parse(name: &str) -> Result<Self, BadParameter> {
        if [TOKEN, super::TO].contains(&name) {
            return Err(BadParameter::Reserved);
        }
        if !super::is_plain_name(name) {
            return Err(BadParameter::Malformed);
        }
        Ok(Self { name: name.to_owned() })
    }

    /// The name as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Whether a pair of a query names an identity: this parameter, `kmi` and `km_i` beside each other (the KISSmetrics
    /// script takes both), or the token `kmt`.
    fn claims(&self, pair: &str) -> bool {
        match self.twin() {
            Some(twin) => query::is_one_of(pair, &[&self.name, twin, TOKEN]),
            None => query::is_one_of(pair, &[&self.name, TOKEN]),
        }
    }

    /// Whether a pair carries an identity in plain text.
    fn is_plain(&self, pair: &str) -> bool {
        query::is_one_of(pair, &[&self.name, self.twin().unwrap_or(&self.name)])
    }

    /// The other name under which the KISSmetrics script reads the parameter.
    fn twin(&self) -> Option<&'static str> {
        match self.name.as_str() {
            KMI => Some(KMI_TWIN),
            KMI_TWIN => Some(KMI),
            _ => None,
        }
    }

    /// Whether a query names an identity at all, which makes a request on a destination a landing.
    #[must_use]
    pub fn is_in(&self, query: &str) -> bool {
        query::pairs(query).any(|pair| self.claims(pair))
    }
}

impl Default for Parameter {
    fn default() -> Self {
        Self { name: KMI.to_owned() }
    }
}

/// What is put onto a URL.
#[derive(Clone, Copy)]
pub enum Decoration<'a> {
    /// The identity in plain text, escaped, under the parameter's name.
    Plain(&'a Identity<'a>),
    /// A token, as `kmt`; it needs no escaping.
    Token(&'a str),
    /// Nothing.
    Nothing,
}

/// Puts one `name=value` behind the query of a URL and before its fragment. Whatever named an identity there before is
/// removed first, also when nothing is put in its place. The rest of the URL is copied byte for byte.
#[must_use]
pub fn decorate(url: &Target, parameter: &Parameter, decoration: Decoration<'_>) -> String {
    let kept = Kept::of(url.up_to_query(), url.query(), parameter);
    // Measured first, then written: such a text becomes a field of the answer without another copy.
    let mut length = 0;
    each_piece(url, &kept, decoration, &mut |piece| length += piece.len());
    let mut decorated = String::with_capacity(length);
    each_piece(url, &kept, decoration, &mut |piece| decorated.push_str(piece));
    decorated
}

/// Each piece of a decorated URL.
fn each_piece(url: &Target, kept: &Kept<'_, '_>, decoration: Decoration<'_>, piece: &mut impl FnMut(&str)) {
    if kept.has_claim {
        kept.each(piece);
    } else {
        piece(url.up_to_fragment());
    }
    kept.each_added(decoration, piece);
    piece(url.marked_fragment());
}

/// What was taken off a URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Undecorated<'a> {
    /// The URL without the parameter, its twin and the token; every other byte as it was.
    pub clean: String,
    /// The raw value that stood there.
    pub arrived: Arrived<'a>,
}

/// What named an identity in a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Arrived<'a> {
    /// Nothing.
    Nothing,
    /// One identity in plain text, still escaped.
    Plain(&'a str),
    /// One token.
    Token(&'a str),
    /// More than one; none of them can be believed.
    Several,
}

/// Takes off what [`decorate`] put on, wherever in the query it stands and however its name is escaped.
#[must_use]
pub fn undecorate<'a>(url: &'a str, parameter: &Parameter) -> Undecorated<'a> {
    let (target, fragment) = split_before(url, b'#');
    let (path, query) = query::cut(target, b'?');
    let kept = Kept::of(path, query, parameter);
    let mut clean = String::with_capacity(url.len());
    kept.each(&mut |piece| clean.push_str(piece));
    clean.push_str(fragment);
    Undecorated { clean, arrived: kept.arrived() }
}

/// A URL before its fragment, of which the pairs are kept that name no identity.
pub(super) struct Kept<'a, 'p> {
    parameter: &'p Parameter,
    path: &'a str,
    query: Option<&'a str>,
    /// Whether a pair, be it an empty one, is kept.
    has_query: bool,
    /// Whether a pair names an identity.
    has_claim: bool,
}

impl<'a, 'p> Kept<'a, 'p> {
    /// Of a path and the query behind it.
    pub(super) fn of(path: &'a str, query: Option<&'a str>, parameter: &'p Parameter) -> Self {
        let (mut has_query, mut has_claim) = (false, false);
        for pair in query.into_iter().flat_map(query::pairs) {
            *(if parameter.claims(pair) { &mut has_claim } else { &mut has_query }) = true;
        }
        Self { parameter, path, query, has_query, has_claim }
    }

    /// Each piece of what is kept.
    pub(super) fn each(&self, piece: &mut impl FnMut(&str)) {
        piece(self.path);
        let Some(query) = self.query else { return };
        if !self.has_claim {
            piece("?");
            return piece(query);
        }
        let mut mark = "?";
        for pair in query::pairs(query).filter(|pair| !self.parameter.claims(pair)) {
            piece(mark);
            piece(pair);
            mark = "&";
        }
    }

    /// What named an identity.
    pub(super) fn arrived(&self) -> Arrived<'a> {
        let mut arrived = Arrived::Nothing;
        for pair in self.query.into_iter().flat_map(query::pairs).filter(|pair| self.parameter.claims(pair)) {
            arrived = match arrived {
                Arrived::Nothing if self.parameter.is_plain(pair) => Arrived::Plain(query::value(pair)),
                Arrived::Nothing => Arrived::Token(query::value(pair)),
                _ => Arrived::Several,
            };
        }
        arrived
    }

    /// Each piece of what is put behind it.
    fn each_added(&self, decoration: Decoration<'_>, piece: &mut impl FnMut(&str)) {
        let mut named = |name| {
            piece(if self.has_query { "&" } else { "?" });
            piece(name);
            piece("=");
        };
        match decoration {
            Decoration::Plain(identity) => {
                named(&self.parameter.name);
                identity.escaped().for_each(piece);
            }
            Decoration::Token(token) => {
                named(TOKEN);
                piece(token);
            }
            Decoration::Nothing => {}
        }
    }
}

/// Splits before the first `mark`; without one the second part is empty.
fn split_before(text: &str, mark: u8) -> (&str, &str) {
    let end = memchr(mark, text.as_bytes()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

const KMI: &str = "kmi";
/// The other name under which the KISSmetrics script reads an identity from a URL.
const KMI_TWIN: &str = "km_i";
/// The name of a sealed identity.
const TOKEN: &str = "kmt";

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url.to_owned()).ok().unwrap()
    }

    fn decorated(url: &str, value: &str) -> String {
        let identity = Identity::from_cookie(value.as_bytes()).unwrap();
        let decorated = decorate(&target(url), &Parameter::default(), Decoration::Plain(&identity));
        assert_eq!(decorated.capacity(), decorated.len(), "{url}");
        decorated
    }

    #[test]
    fn the_parameter_goes_behind_the_query_and_before_the_fragment() {
        for (url, expected) in [
            ("https://ok/", "https://ok/?kmi=x"),
            ("https://ok/p?a=1", "https://ok/p?a=1&kmi=x"),
            ("https://ok/p?", "https://ok/p?&kmi=x"),
            ("https://ok/p#f?g", "https://ok/p?kmi=x#f?g"),
            ("https://ok/p?a=%2B+;b#/route", "https://ok/p?a=%2B+;b&kmi=x#/route"),
            ("https://ok/?a=1&a=2&&b=", "https://ok/?a=1&a=2&&b=&kmi=x"),
        ] {
            assert_eq!(decorated(url, "x"), expected, "{url}");
        }
    }

    #[test]
    fn whatever_named_an_identity_before_is_replaced() {
        for url in [
            "https://ok/?a=1&kmi=evil",
            "https://ok/?kmi=evil&a=1",
            "https://ok/?%6bmi=evil&a=1&km_i=evil&kmt=evil",
            "https://ok/?kmi&a=1&kmi=&%6B%6D%74=z",
        ] {
            assert_eq!(decorated(url, "x"), "https://ok/?a=1&kmi=x", "{url}");
        }
        assert_eq!(
            decorate(&target("https://ok/?kmi=evil#f"), &Parameter::default(), Decoration::Nothing),
            "https://ok/#f"
        );
    }

    #[test]
    fn another_parameter_leaves_km_i_alone() {
        let parameter = Parameter::parse("ajs_aid").unwrap();
        let url = "https://ok/?km_i=1&kmi=2&ajs_aid=3&kmt=4";
        let identity = Identity::from_cookie(b"x").unwrap();
        assert_eq!(
            decorate(&target(url), &parameter, Decoration::Plain(&identity)),
            "https://ok/?km_i=1&kmi=2&ajs_aid=x"
        );
    }

    #[test]
    fn undecorating_tells_what_arrived() {
        for (url, clean, arrived) in [
            ("/cart?kmi=bob%40bob.com", "/cart", Arrived::Plain("bob%40bob.com")),
            ("/cart?a=1&km_i=x&b=2", "/cart?a=1&b=2", Arrived::Plain("x")),
            ("/cart?&kmi=x", "/cart?", Arrived::Plain("x")),
            ("/cart?kmi", "/cart", Arrived::Plain("")),
            ("/cart?kmt=v4.local.x", "/cart", Arrived::Token("v4.local.x")),
            ("/cart?kmi=x&kmi=x", "/cart", Arrived::Several),
            ("/cart?kmi=x&%6bm_i=y", "/cart", Arrived::Several),
            ("/cart?kmi=x&kmt=y", "/cart", Arrived::Several),
            ("/cart?a=1", "/cart?a=1", Arrived::Nothing),
            ("//evil/?kmi=x", "//evil/", Arrived::Plain("x")),
        ] {
            let parameter = Parameter::default();
            let undecorated = undecorate(url, &parameter);
            assert_eq!(undecorated.clean, clean, "{url}");
            assert!(undecorated.arrived == arrived, "{url}");
        }
    }

    #[test]
    fn reserved_and_malformed_names_are_told_apart() {
        assert_eq!(Parameter::parse("to"), Err(BadParameter::Reserved));
        assert_eq!(Parameter::parse("kmt"), Err(BadParameter::Reserved));
        assert_eq!(Parameter::parse(""), Err(BadParameter::Malformed));
        assert_eq!(Parameter::parse("a&b"), Err(BadParameter::Malformed));
    }
}
