//! The visitor's identity: opaque, bounded, and never shown by accident.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

use arrayvec::ArrayString;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use super::unescape::{SPARE, unescape};

/// One visitor's identity as the analytics script knows it, decoded.
///
/// Its `Debug` hides the value, so that no log line can hold it by mistake.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity<'a> {
    value: Value<'a>,
    class: Class,
}

/// The text of an identity. Most are borrowed from where they stand or, where they are escaped, short enough to be
/// decoded without memory of their own.
#[derive(Clone)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Short(ArrayString<SHORT>),
}

/// What kind of identity it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A person the site knows: an e-mail address, a user id.
    Named,
    /// An id that the script made up for a browser: base64 of 20 bytes.
    Anonymous,
}

/// How a cookie holds an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decode {
    /// Percent-escaped, as `encodeURIComponent` writes it.
    #[default]
    Percent,
    /// The same, and perhaps in the quotes of a JSON string, as Segment's script writes it.
    Json,
}

/// Why a value can't serve as an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Nothing, or nothing but white space.
    Empty,
    /// More than 255 characters.
    TooLong,
    /// A `%` without two hexadecimal digits behind it, on which the script itself stops.
    BadEscape,
    /// The decoded bytes are not UTF-8.
    NotUtf8,
    /// It begins with a quote, and is no JSON string.
    BadJson,
    /// A control character.
    Control,
    /// A word such as `null` or `guest`, under which all visitors would become one.
    Placeholder,
    /// The shape of the ids that the script makes up, where somebody is to be named.
    AnonymousShape,
}

impl<'a> Identity<'a> {
    /// Reads a cookie's value: percent-decoded once, `+` is a plus, as `decodeURIComponent` reads it.
    ///
    /// # Errors
    /// [`Unusable`] by the rules of docs/how-it-works.md, "Which identity".
    pub fn from_cookie(raw: &'a [u8]) -> Result<Self, Unusable> {
        if !raw.contains(&b'%') {
            let value = std::str::from_utf8(raw).map_err(|_| Unusable::NotUtf8)?;
            return Self::new(Value::Text(Cow::Borrowed(value)));
        }
        if raw.len() > SHORT {
            return Self::new(Value::Text(Cow::Owned(decoded(raw)?)));
        }
        let mut room = [0; SHORT + SPARE];
        let length = unescape(raw, &mut room).ok_or(Unusable::BadEscape)?;
        let text = room.get(..length).and_then(|bytes| str::from_utf8(bytes).ok());
        Self::new(Value::Short(text.and_then(|text| ArrayString::from(text).ok()).ok_or(Unusable::NotUtf8)?))
    }

    /// Reads a cookie's value as it is written there.
    ///
    /// # Errors
    /// As [`Identity::from_cookie`], and [`Unusable::BadJson`].
    pub fn from_cookie_as(decode: Decode, raw: &'a [u8]) -> Result<Self, Unusable> {
        if decode == Decode::Json {
            let text = decoded(raw)?;
            if text.starts_with('"') {
                let value = serde_json::from_str(&text).map_err(|_| Unusable::BadJson)?;
                return Self::new(Value::Text(Cow::Owned(value)));
            }
        }
        Self::from_cookie(raw)
    }

    /// Reads a query's value as the script reads it: like a cookie's, but `+` is a space.
    ///
    /// # Errors
    /// As [`Identity::from_cookie`].
    pub fn from_query(raw: &'a str) -> Result<Self, Unusable> {
        if raw.contains('+') {
            return Identity::from_cookie(raw.replace('+', " ").as_bytes()).map(Identity::into_owned);
        }
        Self::from_cookie(raw.as_bytes())
    }

    /// Reads what a trusted proxy says of whom it knows: plain text, in which nothing is escaped. It names somebody,
    /// and must look like it: the cookie that keeps it tells nothing but its shape.
    ///
    /// # Errors
    /// As [`Identity::from_cookie`], and [`Unusable::AnonymousShape`].
    pub fn from_header(raw: &'a [u8]) -> Result<Self, Unusable> {
        let identity = Self::new(Value::Text(Cow::Borrowed(str::from_utf8(raw).map_err(|_| Unusable::NotUtf8)?)))?;
        if identity.class == Class::Anonymous { Err(Unusable::AnonymousShape) } else { Ok(identity) }
    }

    /// Reads what a site's own program says: plain text, which names somebody whatever its shape.
    ///
    /// # Errors
    /// As [`Identity::from_cookie`].
    pub fn from_text(text: &'a str) -> Result<Self, Unusable> {
        Ok(Self { class: Class::Named, ..Self::new(Value::Text(Cow::Borrowed(text)))? })
    }

    /// Makes an identity of random bits, in a shape that the script's own never have: it is named.
    #[must_use]
    pub fn from_random(bits: [u8; 16]) -> Identity<'static> {
        let mut digits = ArrayString::new();
        for byte in bits {
            // There is room for 64 digits.
            let _ = write!(digits, "{byte:02x}");
        }
        Identity { value: Value::Short(digits), class: Class::Named }
    }

    /// Takes a value out of a token, with the class that the origin saw.
    ///
    /// # Errors
    /// As [`Identity::from_cookie`].
    pub(super) fn from_token(value: String, class: Class) -> Result<Self, Unusable> {
        Ok(Self { class, ..Self::new(Value::Text(Cow::Owned(value)))? })
    }

    fn new(value: Value<'a>) -> Result<Self, Unusable> {
        let text = value.as_str();
        // A character has a byte at the least, and nearly every identity has no others.
        if text.len() > MAX_CHARS && text.chars().count() > MAX_CHARS {
            return Err(Unusable::TooLong);
        }
        // What is visible ASCII, as nearly every identity is, has no control character and no blank around it.
        let bare = if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            text
        } else if text.chars().any(char::is_control) {
            return Err(Unusable::Control);
        } else {
            text.trim()
        };
        if bare.is_empty() {
            return Err(Unusable::Empty);
        }
        if is_placeholder(bare) {
            return Err(Unusable::Placeholder);
        }
        let class = if is_anonymous_shape(text.as_bytes()) { Class::Anonymous } else { Class::Named };
        Ok(Self { value, class })
    }

    /// The same, for whoever keeps it longer than the request that it came with.
    #[must_use]
    pub fn into_owned(self) -> Identity<'static> {
        let value = match self.value {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Short(text) => Value::Short(text),
        };
        Identity { value, class: self.class }
    }

    /// Whether it names a person or only a browser.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether it is the same text, whatever is known of its class.
    #[must_use]
    pub fn is_same(&self, other: &Identity<'_>) -> bool {
        self.value.as_str() == other.value.as_str()
    }

    /// The value escaped for a URL or a cookie: ASCII letters, digits and `- _ . ! ~ * ( )` stand for themselves,
    /// every other byte is `%XX`. That is JavaScript's `encodeURIComponent` without the apostrophe, which the URL
    /// Standard's serialiser would escape anyway.
    pub fn escaped(&self) -> impl fmt::Display + Iterator<Item = &str> {
        utf8_percent_encode(self.value.as_str(), ESCAPED)
    }

    /// The value itself, for whoever shows it to its owner on purpose.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.value.as_str()
    }
}

impl fmt::Debug for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.class.as_str())
    }
}

impl Value<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Short(text) => text,
        }
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Value<'_> {}

impl Hash for Value<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Class {
    /// The word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is over 255 characters",
            Self::BadEscape => "it has a `%` without two hexadecimal digits",
            Self::NotUtf8 => "its bytes are not UTF-8",
            Self::BadJson => "it begins with a quote and is no JSON string",
            Self::Control => "it has a control character",
            Self::Placeholder => "it is a word that all visitors would share, such as `null` or `guest`",
            Self::AnonymousShape => "it looks like an id that the KISSmetrics script makes up, and so names nobody",
        })
    }
}

/// A text without its escapes.
fn decoded(raw: &[u8]) -> Result<String, Unusable> {
    let mut bytes = vec![0; raw.len() + SPARE];
    let length = unescape(raw, &mut bytes).ok_or(Unusable::BadEscape)?;
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(|_| Unusable::NotUtf8)
}

/// Whether a cookie's value says to the script that nobody is known. Every other one, also where it is of no use here,
/// the script takes for the visitor's name.
pub(super) fn is_nobody(raw: &[u8]) -> bool {
    let text = percent_decode(raw).decode_utf8_lossy();
    QUOTED_PLACEHOLDERS.contains(&unquoted(&text))
}

fn unquoted(text: &str) -> &str {
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text)
}

fn is_placeholder(bare: &str) -> bool {
    let is_one_of = |text: &str, words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    is_one_of(unquoted(bare), QUOTED_PLACEHOLDERS) || is_one_of(bare, PLACEHOLDERS)
}

/// Base64 of 20 bytes: 27 characters, the last of which carries 4 bits and two zeros, and an optional `=`.
fn is_anonymous_shape(value: &[u8]) -> bool {
    let digits = value.strip_suffix(b"=").unwrap_or(value);
    let [body @ .., last] = digits else { return false };
    body.len() == 26 && body.iter().all(|b| is_base64(*b)) && b"AEIMQUYcgkosw048".contains(last)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// The most bytes, escapes included, of an identity that is decoded in place; an e-mail address is rarely longer.
const SHORT: usize = 64;

/// The most characters of a KISSmetrics person (its tracking API, `_p`).
const MAX_CHARS: usize = 255;

/// These clear the visitor's identity in the KISSmetrics script, in either kind of quotes or none; so do empty quotes.
const QUOTED_PLACEHOLDERS: &[&str] = &["", "null", "nil"];

/// What templates write when nobody is logged in.
const PLACEHOLDERS: &[&str] = &["anonymous", "guest", "visitor", "undefined", "[object Object]"];

/// What is escaped of an identity in a URL or a cookie: see [`Identity::escaped`].
pub const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'(')
    .remove(b')');

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(raw: &str) -> Result<String, Unusable> {
        Identity::from_cookie(raw.as_bytes()).map(|identity| identity.reveal().to_owned())
    }

    #[test]
    fn a_cookie_is_decoded_once_and_keeps_its_plus() {
        for (raw, expected) in [
            ("bob%40bob.com", "bob@bob.com"),
            ("bob@bob.com", "bob@bob.com"),
            ("a+b", "a+b"),
            ("a%2Bb", "a+b"),
            ("a%2540b", "a%40b"),
            ("%C3%A9", "é"),
            ("\"quoted\"", "\"quoted\""),
            ("nullable", "nullable"),
            ("Guests", "Guests"),
        ] {
            assert_eq!(cookie(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn a_json_string_loses_its_quotes_where_that_is_asked_for() {
        for (raw, expected) in [
            ("%229f1c%22", Ok("9f1c")),
            ("\"9f1c\"", Ok("9f1c")),
            ("9f1c", Ok("9f1c")),
            ("bob%40bob.com", Ok("bob@bob.com")),
            ("%22a%5C%22b%5Cu00e9%22", Ok("a\"b\u{e9}")),
            ("%229f1c", Err(Unusable::BadJson)),
            ("%22a%22b", Err(Unusable::BadJson)),
            ("%22a%0Ab%22", Err(Unusable::BadJson)),
            ("%22a%5Cnb%22", Err(Unusable::Control)),
            ("%22%22", Err(Unusable::Empty)),
            ("%22null%22", Err(Unusable::Placeholder)),
            ("%22a%2%22", Err(Unusable::BadEscape)),
            ("%ff", Err(Unusable::NotUtf8)),
        ] {
            let read = Identity::from_cookie_as(Decode::Json, raw.as_bytes());
            assert_eq!(read.as_ref().map(Identity::reveal).map_err(|why| *why), expected, "{raw}");
        }
        assert_eq!(Identity::from_cookie_as(Decode::Percent, b"%22a%22").unwrap().reveal(), "\"a\"");
    }

    #[test]
    fn a_header_is_plain_text_that_names_somebody() {
        for (raw, expected) in [
            (&b"bob@bob.com"[..], Ok("bob@bob.com")),
            (b"bob%40bob.com", Ok("bob%40bob.com")),
            (b"a+b %", Ok("a+b %")),
            ("Zo\u{eb}".as_bytes(), Ok("Zo\u{eb}")),
            (b"fTTEiDDx9uNZXWYzrFM8hVkBqQY=", Err(Unusable::AnonymousShape)),
            (b"", Err(Unusable::Empty)),
            (b" ", Err(Unusable::Empty)),
            (b"a\tb", Err(Unusable::Control)),
            (b"\xff", Err(Unusable::NotUtf8)),
            (b"anonymous", Err(Unusable::Placeholder)),
            (&[b'a'; 256], Err(Unusable::TooLong)),
        ] {
            let read = Identity::from_header(raw);
            assert_eq!(read.as_ref().map(Identity::reveal).map_err(|why| *why), expected, "{raw:?}");
            assert!(read.is_ok_and(|identity| identity.class() == Class::Named) == expected.is_ok(), "{raw:?}");
        }
    }

    #[test]
    fn the_script_knows_nobody_by_few_values() {
        for (raw, expected) in [
            ("", true),
            ("null", true),
            ("nil", true),
            ("%22nil%22", true),
            ("'null'", true),
            ("''", true),
            ("%22%22", true),
            ("NULL", false),
            ("%20", false),
            ("\"", false),
            ("guest", false),
            ("%zz", false),
            ("%ff", false),
        ] {
            assert_eq!(is_nobody(raw.as_bytes()), expected, "{raw}");
        }
    }

    #[test]
    fn a_query_value_reads_plus_as_space() {
        assert_eq!(Identity::from_query("a+b%2Bc").unwrap().reveal(), "a b+c");
        assert_eq!(Identity::from_query("a+b").unwrap(), Identity::from_cookie(b"a%20b").unwrap());
    }

    #[test]
    fn unusable_values_say_why() {
        for (raw, expected) in [
            ("", Unusable::Empty),
            ("%20", Unusable::Empty),
            ("%", Unusable::BadEscape),
            ("a%4", Unusable::BadEscape),
            ("%zz", Unusable::BadEscape),
            ("%C3", Unusable::NotUtf8),
            ("a%00b", Unusable::Control),
            ("a%0d%0ab", Unusable::Control),
            ("%7f", Unusable::Control),
            ("%C2%85", Unusable::Control),
            ("null", Unusable::Placeholder),
            ("NULL", Unusable::Placeholder),
            ("%22nil%22", Unusable::Placeholder),
            ("'null'", Unusable::Placeholder),
            ("''", Unusable::Placeholder),
            ("\"\"", Unusable::Placeholder),
            ("Anonymous", Unusable::Placeholder),
            ("guest", Unusable::Placeholder),
            ("VISITOR", Unusable::Placeholder),
            ("undefined", Unusable::Placeholder),
            ("[object%20object]", Unusable::Placeholder),
        ] {
            assert_eq!(cookie(raw), Err(expected), "{raw}");
        }
        for length in [1, 2, 21, 63, 64, 65, 66, 255] {
            assert_eq!(cookie(&"%41".repeat(length)), Ok("A".repeat(length)));
            assert_eq!(
                cookie(&format!("%C3%A9{}", "%41".repeat(length - 1))),
                Ok(format!("é{}", "A".repeat(length - 1)))
            );
        }
        assert_eq!(cookie(&format!("{}%C3", "A".repeat(63))), Err(Unusable::NotUtf8));
        assert_eq!(cookie(&format!("{}%C3%A9", "A".repeat(63))), Ok(format!("{}é", "A".repeat(63))));
        assert!(cookie(&"é".repeat(255)).is_ok());
        assert_eq!(cookie(&"é".repeat(256)), Err(Unusable::TooLong));
        assert_eq!(cookie(&"a".repeat(256)), Err(Unusable::TooLong));
    }

    #[test]
    fn the_shape_tells_the_class() {
        for (raw, expected) in [
            ("fTTEiDDx9uNZXWYzrFM8hVkBqQY=", Class::Anonymous),
            ("fTTEiDDx9uNZXWYzrFM8hVkBqQY", Class::Anonymous),
            ("fTTEi+Dx9uNZ/WYzrFM8hVkBqQY%3D", Class::Anonymous),
            ("fTTEiDDx9uNZXWYzrFM8hVkBqQZ=", Class::Named), // 20 bytes never end in that digit
            ("fTTEiDDx9uNZXWYzrFM8hVkBqQY==", Class::Named),
            ("fTTEiDDx9uNZXWYzrFM8hVkBqQYY=", Class::Named),
            ("bob%40bob.com", Class::Named),
        ] {
            assert_eq!(Identity::from_cookie(raw.as_bytes()).unwrap().class(), expected, "{raw}");
        }
    }

    #[test]
    fn a_made_up_identity_is_read_back_as_the_same() {
        for bits in [[0; 16], [0xff; 16], *b"0123456789abcdef"] {
            let made_up = Identity::from_random(bits);
            assert_eq!((made_up.reveal().len(), made_up.class()), (32, Class::Named));
            assert_eq!(Identity::from_cookie(made_up.escaped().to_string().as_bytes()).unwrap(), made_up);
        }
    }

    #[test]
    fn debug_hides_the_value() {
        let identity = Identity::from_cookie(b"bob%40bob.com").unwrap();
        assert_eq!(format!("{identity:?}"), "Identity(named)");
    }

    #[test]
    fn escaping_spares_only_the_unreserved() {
        let identity = Identity::from_cookie("a-_.!~*()'+/= é".as_bytes()).unwrap();
        assert_eq!(identity.escaped().to_string(), "a-_.!~*()%27%2B%2F%3D%20%C3%A9");
    }
}
