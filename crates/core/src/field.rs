//! Fields of a protocol's metadata, exact.
//!
//! They are compared as DynamoDB holds them, numbers to the last digit; JSON's doubles are for output only. A baseline
//! that went through doubles would differ from the very row it was made of.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;
use serde_json::Value;

use crate::number::{Number, NumberError};

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
    /// Reads an attribute.
    pub fn read(value: &AttributeValue) -> Result<Self, NumberError> {
        let base64 = |bytes: &Vec<u8>| Self::Text(base64::engine::general_purpose::STANDARD.encode(bytes));
        Ok(match value {
            AttributeValue::S(text) => Self::Text(text.clone()),
            AttributeValue::N(text) => Self::Number(text.parse()?),
            AttributeValue::Bool(value) => Self::Bool(*value),
            AttributeValue::Null(_) => Self::Null,
            AttributeValue::B(bytes) => base64(bytes),
            AttributeValue::L(list) => Self::List(list.iter().map(Self::read).collect::<Result<_, _>>()?),
            AttributeValue::M(map) => {
                let read = |(key, value): (&String, &AttributeValue)| Ok((key.clone(), Self::read(value)?));
                // In order, so that of several faults always the same one is told.
                let sorted: BTreeMap<_, _> = map.iter().collect();
                Self::Map(sorted.into_iter().map(read).collect::<Result<_, NumberError>>()?)
            }
            AttributeValue::Ss(texts) => {
                Self::List(texts.iter().cloned().map(Self::Text).collect()).into_set()
            }
            AttributeValue::Ns(texts) => {
                let read = |text: &String| Ok(Self::Number(text.parse()?));
                Self::List(texts.iter().map(read).collect::<Result<_, NumberError>>()?).into_set()
            }
            AttributeValue::Bs(values) => Self::List(values.iter().map(base64).collect()).into_set(),
        })
    }

    /// A list without order or repetition; anything else stays as it is.
    #[must_use]
    pub fn into_set(self) -> Self {
        let Self::List(mut list) = self else { return self };
        // The JSON of a field is canonical: equal fields, and no others, have equal JSON.
        list.sort_by_cached_key(|field| serde_json::to_string(field).unwrap_or_default());
        list.dedup();
        Self::List(list)
    }

    /// The text, when it is one and not empty.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// As plain JSON, for readers: whole numbers that fit as integers, other numbers as doubles.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Field {
        Field::read(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn equal_is_what_means_the_same() {
        assert_eq!(read(r#"{"N":"1.0"}"#), read(r#"{"N":"1"}"#));
        assert_ne!(read(r#"{"N":"12345678901234567890.1"}"#), read(r#"{"N":"12345678901234567890.2"}"#));
        assert_eq!(read(r#"{"NS":["10","2","10.0"]}"#), read(r#"{"NS":["2.00","10"]}"#));
        assert_eq!(read(r#"{"SS":["b","a"]}"#), read(r#"{"SS":["a","b"]}"#));
        assert_ne!(read(r#"{"L":[{"S":"b"},{"S":"a"}]}"#), read(r#"{"L":[{"S":"a"},{"S":"b"}]}"#));
        assert_ne!(read(r#"{"S":"1"}"#), read(r#"{"N":"1"}"#));
    }

    #[test]
    fn a_text_that_says_nothing_is_none() {
        let field = |text: &str| Field::Text(text.into());
        assert_eq!(
            (field("").as_text(), field("a").as_text(), Field::Null.as_text()),
            (None, Some("a"), None)
        );
    }

    #[test]
    fn every_attribute_type_becomes_json() {
        let all = r#"{"M":{"b":{"B":"AQI="},"bs":{"BS":["AQI="]},"ns":{"NS":["2","10"]},"z":{"NULL":true},"t":{"BOOL":true},
            "m":{"M":{"k":{"L":[{"N":"1.5e3"},{"N":"0.1"},{"N":"1E+30"}]}}}}}"#;
        let expected =
            r#"{"b":"AQI=","bs":["AQI="],"m":{"k":[1500,0.1,1e+30]},"ns":[10,2],"t":true,"z":null}"#;
        assert_eq!(read(all).to_json().to_string(), expected);
    }

    proptest! {
        /// What a baseline brings back is what went in: an equal rewrite is no change.
        #[test]
        fn a_field_survives_the_cache(digits in "-?[1-9][0-9]{0,16}(\\.[0-9]{1,17})?(E[+-]?[0-9]{1,2})?", text in "\\PC{0,9}") {
            let list = Field::List(vec![read(&format!(r#"{{"N":"{digits}"}}"#)), Field::Text(text), Field::Null]);
            let json = serde_json::to_string(&list).unwrap();
            prop_assert_eq!(serde_json::from_str::<Field>(&json).unwrap(), list);
        }
    }
}
