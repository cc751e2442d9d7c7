//! Fields of a protocol's metadata, with exact numbers.
//!
//! Fields are compared as DynamoDB holds them, with numbers to the last digit. The doubles of JSON are for output only:
//! a baseline stored as doubles would differ from the row that it was made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::number::Number;

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
