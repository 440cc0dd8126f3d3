//! The forms that values have for an editor; the JSON Schema is made of them, and nothing else.

use schemars::JsonSchema;

/// One value, or a list of them.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) enum OneOr<T> {
    One(T),
    Many(#[schemars(length(min = 1))] Vec<T>),
}

/// As above, or none.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) enum AnyNumber<T> {
    One(T),
    Many(Vec<T>),
}

/// An IP address and a port.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) struct Address(#[schemars(regex(pattern = r"^([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"))] String);

/// An IP address and a port, or `off`.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) struct AddressOrOff(
    #[schemars(regex(pattern = r"^([Oo][Ff][Ff]|([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})$"))] String,
);

/// A text that YAML may take for a number or a truth.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is of use")]
pub(super) struct Word(#[schemars(extend("type" = ["string", "number", "boolean"]))] String);

/// A time, such as `10s` or `400d`.
pub(super) const TIME: &str = "^([0-9]+ *[A-Za-z]+ *)+$";
/// The name of a header.
pub(super) const HEADER: &str = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$";
/// A name in a query.
pub(super) const NAME: &str = "^[A-Za-z0-9._-]{1,64}$";
