//! The parameter that carries an identity goes onto a URL and comes off again; every other byte stays as it is.

use super::query;

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
        self.is_plain(pair) || query::is_named(pair, TOKEN)
    }

    /// Whether a pair carries an identity in plain text.
    fn is_plain(&self, pair: &str) -> bool {
        let is_kissmetrics = [KMI, KMI_TWIN].contains(&self.name.as_str());
        query::is_named(pair, &self.name)
            || (is_kissmetrics && (query::is_named(pair, KMI) || query::is_named(pair, KMI_TWIN)))
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

/// What is put onto a URL, escaped already.
#[derive(Clone, Copy)]
pub enum Decoration<'a> {
    /// The identity in plain text, under the parameter's name.
    Plain(&'a str),
    /// A token, as `kmt`.
    Token(&'a str),
    /// Nothing.
    Nothing,
}

/// Puts one `name=value` behind the query of a URL and before its fragment. Whatever named an identity there before is
/// removed first, also when nothing is put in its place. The rest of the URL is copied byte for byte.
#[must_use]
pub fn decorate(url: &str, parameter: &Parameter, decoration: Decoration<'_>) -> String {
    let (target, fragment) = split_before(url, '#');
    let (mut decorated, had_query) = strip(target, parameter);
    let named = match decoration {
        Decoration::Plain(value) => Some((parameter.name.as_str(), value)),
        Decoration::Token(value) => Some((TOKEN, value)),
        Decoration::Nothing => None,
    };
    if let Some((name, value)) = named {
        decorated.push(if had_query { '&' } else { '?' });
        decorated.push_str(name);
        decorated.push('=');
        decorated.push_str(value);
    }
    decorated.push_str(fragment);
    decorated
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
    let (target, fragment) = split_before(url, '#');
    let (mut clean, _) = strip(target, parameter);
    clean.push_str(fragment);
    let (_, query) = split_before(target, '?');
    let mut arrived = Arrived::Nothing;
    for pair in query::pairs(query.strip_prefix('?').unwrap_or_default()) {
        if parameter.claims(pair) {
            arrived = match arrived {
                Arrived::Nothing if parameter.is_plain(pair) => Arrived::Plain(query::value(pair)),
                Arrived::Nothing => Arrived::Token(query::value(pair)),
                _ => Arrived::Several,
            };
        }
    }
    Undecorated { clean, arrived }
}

/// The text without the pairs that name an identity, and whether a query, even an empty one, is left.
fn strip(target: &str, parameter: &Parameter) -> (String, bool) {
    let (path, query) = split_before(target, '?');
    let Some(query) = query.strip_prefix('?') else {
        return (path.to_owned(), false);
    };
    let mut text = String::with_capacity(target.len() + 64);
    text.push_str(path);
    let mut has_query = false;
    for pair in query::pairs(query).filter(|pair| !parameter.claims(pair)) {
        text.push(if has_query { '&' } else { '?' });
        text.push_str(pair);
        has_query = true;
    }
    (text, has_query)
}

/// Splits before the first `mark`; without one the second part is empty.
fn split_before(text: &str, mark: char) -> (&str, &str) {
    text.find(mark).and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

const KMI: &str = "kmi";
/// The other name under which the KISSmetrics script reads an identity from a URL.
const KMI_TWIN: &str = "km_i";
/// The name of a sealed identity.
const TOKEN: &str = "kmt";

#[cfg(test)]
mod tests {
    use super::*;

    fn decorated(url: &str, value: &str) -> String {
        decorate(url, &Parameter::default(), Decoration::Plain(value))
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
        assert_eq!(decorate("https://ok/?kmi=evil#f", &Parameter::default(), Decoration::Nothing), "https://ok/#f");
    }

    #[test]
    fn another_parameter_leaves_km_i_alone() {
        let parameter = Parameter::parse("ajs_aid").unwrap();
        let url = "https://ok/?km_i=1&kmi=2&ajs_aid=3&kmt=4";
        assert_eq!(decorate(url, &parameter, Decoration::Plain("x")), "https://ok/?km_i=1&kmi=2&ajs_aid=x");
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
