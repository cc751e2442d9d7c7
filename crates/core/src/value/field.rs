//! Fields of a protocol's metadata, with exact numbers.
//!
//! Fields are compared as DynamoDB holds them, with numbers to the last digit. The doubles of JSON are for output only:
//! a baseline stored as doubles would differ from the row that it was made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::number::Number;

/// The fields of a row as compact JSON, for event ids. Keys are in the order of their bytes. Each value has a tag for
/// its type: `{"s":"text"}`, `{"n":"12345e-1"}` (see [`Number::canonical`]), `{"b":true}`, `"z"` for null, `{"l":[…]}`,
/// `{"m":{…}}`. Strings have only the escapes that JSON needs.
pub fn canonical_json(fields: &Fields) -> String {
    let fields: BTreeMap<&String, Canonical<'_>> = canonical_map(fields);
    // Maps with text keys and numbers as text always serialise.
    serde_json::to_string(&fields).unwrap_or_default()
}

/// A field with the tags of [`Field`]'s own JSON, and its numbers in canonical form.
#[derive(Serialize)]
enum Canonical<'a> {
    #[serde(rename = "s")]
    Text(&'a str),
    #[serde(rename = "n")]
    Number(String),
    #[serde(rename = "b")]
    Bool(bool),
    #[serde(rename = "z")]
    Null,
    #[serde(rename = "l")]
    List(Vec<Canonical<'a>>),
    #[serde(rename = "m")]
    Map(BTreeMap<&'a String, Canonical<'a>>),
}

impl<'a> From<&'a Field> for Canonical<'a> {
    fn from(field: &'a Field) -> Self {
        match field {
            Field::Text(text) => Self::Text(text),
            Field::Number(number) => Self::Number(number.canonical()),
            Field::Bool(value) => Self::Bool(*value),
            Field::Null => Self::Null,
            Field::List(list) => Self::List(list.iter().map(Self::from).collect()),
            Field::Map(map) => Self::Map(canonical_map(map)),
        }
    }
}

fn canonical_map(map: &BTreeMap<String, Field>) -> BTreeMap<&String, Canonical<'_>> {
    map.iter().map(|(name, field)| (name, Canonical::from(field))).collect()
}

/// An attribute's value. Sets are lists in a fixed order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Field {
    /// Text, or binary data in base64.
    #[serde(rename = "s")]
    Text(String),
    /// A number.
    #[serde(rename = "n")]
    Number(Number),
    /// True or false.
    #[serde(rename = "b")]
    Bool(bool),
    /// Null.
    #[serde(rename = "z")]
    Null,
    /// A list, or a set in order.
    #[serde(rename = "l")]
    List(Vec<Field>),
    /// A map.
    #[serde(rename = "m")]
    Map(BTreeMap<String, Field>),
}

/// Fields by name.
pub type Fields = BTreeMap<String, Field>;

impl Field {
    /// Sorts a list and removes repetitions. Leaves any other field unchanged.
    #[must_use]
    pub fn into_set(self) -> Self {
        let Self::List(mut list) = self else { return self };
        // Two fields have the same JSON if and only if they are equal.
        list.sort_by_cached_key(|field| serde_json::to_string(field).unwrap_or_default());
        list.dedup();
        Self::List(list)
    }

    /// The text; `None` if the field is empty or not a text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Plain JSON for events and hot keys. Whole numbers that fit become integers, other numbers doubles.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Number(number) => match number.to_i64() {
                Some(integer) => Value::from(integer),
                None => Value::from(number.to_f64()),
            },
            Self::Bool(value) => Value::Bool(*value),
            Self::Null => Value::Null,
            Self::List(list) => list.iter().map(Self::to_json).collect(),
            Self::Map(map) => map.iter().map(|(key, field)| (key.clone(), field.to_json())).collect(),
        }
    }
}

/// A field that is written in the form of [`Field::to_json`].
#[derive(Clone, Copy, Debug)]
pub struct PlainField<'a>(pub &'a Field);

impl Serialize for PlainField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Field::Text(text) => serializer.serialize_str(text),
            Field::Number(number) => match number.to_i64() {
                Some(integer) => serializer.serialize_i64(integer),
                None => serializer.serialize_f64(number.to_f64()),
            },
            Field::Bool(value) => serializer.serialize_bool(*value),
            Field::Null => serializer.serialize_unit(),
            Field::List(list) => serializer.collect_seq(list.iter().map(PlainField)),
            Field::Map(map) => {
                serializer.collect_map(map.iter().map(|(name, field)| (name, PlainField(field))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_tag_and_numbers_are_canonical() {
        let text = |text: &str| Field::Text(text.into());
        let number = |text: &str| Field::Number(text.parse().unwrap());
        let fields: Fields = [
            ("b", Field::Bool(false)),
            ("a", text("\"é\u{1f}\\\n/\0")),
            ("é", Field::Null),
            ("Z", number("1234.50")),
            ("l", Field::List(vec![text(""), number("-100"), Field::Null, Field::Bool(true)])),
            ("m", Field::Map([("k\"".to_owned(), Field::List(vec![]))].into())),
        ]
        .map(|(name, field)| (name.to_owned(), field))
        .into();
        let expected = r#"{"Z":{"n":"12345e-1"},"a":{"s":"\"é\u001f\\\n/\u0000"},"b":{"b":false},"l":{"l":[{"s":""},{"n":"-1e2"},"z",{"b":true}]},"m":{"m":{"k\"":{"l":[]}}},"é":"z"}"#;
        assert_eq!(canonical_json(&fields), expected);
        assert_eq!(canonical_json(&Fields::new()), "{}");
        // The tags are those of the baseline: only numbers are written in another form.
        let stored = serde_json::to_string(&fields).unwrap();
        assert_eq!(stored.replace("1234.5", "12345e-1").replace("-100", "-1e2"), expected);
    }
}
