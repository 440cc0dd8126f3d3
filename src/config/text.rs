//! What values are before their sections read them: texts, each with its place.

use std::fmt;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::fault::Place;

/// A value and its place. It is the YAML library's `Spanned` in a third of the bytes: of these there may be a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub value: T,
    pub at: Place,
}

/// A text and its place.
pub(super) type Text = Placed<String>;

/// What stands behind a key, if the key is there. With nothing behind it, it is a mistake and not its default: `keys:`
/// above items that somebody has commented out would open every landing.
///
/// It is a type, and not a function for each field, so that fields of one kind share the code that reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given<T>(pub Option<T>);

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for Given<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}

/// One text, or a list of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<Text>),
}

/// The texts of a [`OneOrMany`], each with its place.
pub(super) fn texts(value: &Placed<OneOrMany>) -> impl Iterator<Item = Placed<&str>> {
    let (one, many) = match &value.value {
        OneOrMany::One(text) => (Some(Placed { value: text.as_str(), at: value.at }), [].as_slice()),
        OneOrMany::Many(texts) => (None, texts.as_slice()),
    };
    one.into_iter().chain(many.iter().map(|text| Placed { value: text.value.as_str(), at: text.at }))
}

impl OneOrMany {
    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(texts) => texts.len(),
        }
    }
}

/// A text that holds several words, written as the list that was probably meant. With an `@` it may hold a password,
/// which is not to be said again.
pub(super) fn as_list(text: &str) -> Option<String> {
    if text.contains('@') {
        return None;
    }
    let separates = |c: char| c.is_whitespace() || c == ',';
    let words = text.split(separates).map(|word| word.trim_end_matches(';'));
    let words: Vec<String> = words.filter(|word| !word.is_empty()).map(in_list).collect();
    (words.len() > 1).then(|| format!("[{}]", words.join(", ")))
}

/// A word as it stands in a list: some begin as YAML begins something else.
fn in_list(word: &str) -> String {
    if word.starts_with(|first: char| first.is_ascii_alphanumeric()) { word.to_owned() } else { format!("\"{word}\"") }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { value, at: referenced.into() })
    }
}

impl<T> From<&Placed<T>> for Place {
    fn from(value: &Placed<T>) -> Self {
        value.at
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;

        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one text, or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            // A number, a truth or nothing is taken as it is written; the section that reads it says what it wants.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(number.to_string()))
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(truth.to_string()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(String::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany::Many(texts))
            }
        }

        deserializer.deserialize_any(OneOrManyVisitor)
    }
}
