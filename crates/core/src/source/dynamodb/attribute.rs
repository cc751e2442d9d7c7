//! DynamoDB's JSON of items and attribute values, and its values as metadata fields.
//!
//! An image borrows its texts from the record, because most of them are only looked at. A text with escapes is copied.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::value::{Field, NumberError, Text};

/// An item image: attribute name → value. Ordered, so that the same image always reports the same error.
pub(super) type Image<'a> = BTreeMap<Text<'a>, Attribute<'a>>;

/// An attribute value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attribute<'a> {
    Text(Text<'a>),
    Number(Text<'a>),
    Bool(bool),
    Null,
    Binary(Vec<u8>),
    List(Vec<Attribute<'a>>),
    Map(Image<'a>),
    Texts(Vec<Text<'a>>),
    Numbers(Vec<Text<'a>>),
    Binaries(Vec<Vec<u8>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Attribute<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributeVisitor)
    }
}

/// Reads an object with one key, which names the type.
struct AttributeVisitor;

impl<'de> Visitor<'de> for AttributeVisitor {
    type Value = Attribute<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            r#"an object with a single key "N", "S", "BOOL", "B", "NULL", "M", "L", "SS", "NS", or "BS""#,
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attribute<'de>, A::Error> {
        let Some(name) = map.next_key::<Text<'de>>()? else {
            return Err(A::Error::custom("Expected exactly one key in the object, found none"));
        };
        let attribute = match name.as_str() {
            "N" => Attribute::Number(map.next_value()?),
            "S" => Attribute::Text(map.next_value()?),
            "BOOL" => Attribute::Bool(map.next_value()?),
            "B" => Attribute::Binary(binary(&map.next_value()?)?),
            "NULL" => map.next_value::<bool>().map(|_| Attribute::Null)?,
            "M" => Attribute::Map(map.next_value()?),
            "L" => Attribute::List(map.next_value()?),
            "SS" => Attribute::Texts(map.next_value()?),
            "NS" => Attribute::Numbers(map.next_value()?),
            "BS" => {
                let texts: Vec<Text<'de>> = map.next_value()?;
                Attribute::Binaries(texts.iter().map(binary).collect::<Result<_, _>>()?)
            }
            other => {
                let error = format!("The key '{other}' is not a known DynamoDB prefix");
                return Err(A::Error::custom(error));
            }
        };
        if map.next_key::<Text<'de>>()?.is_some() {
            return Err(A::Error::custom("Expected exactly one key in the object, found multiple keys"));
        }
        Ok(attribute)
    }
}

fn binary<E: Error>(text: &Text<'_>) -> Result<Vec<u8>, E> {
    STANDARD.decode(text.as_str()).map_err(|error| E::custom(format!("Failed to decode base64: {error}")))
}

/// Reads an attribute value. Sets become lists in a fixed order. Binary data becomes base64 text.
pub(super) fn field(value: &Attribute<'_>) -> Result<Field, NumberError> {
    let base64 = |bytes: &Vec<u8>| Field::Text(STANDARD.encode(bytes));
    let text = |text: &Text<'_>| Field::Text(text.as_str().to_owned());
    let number = |text: &Text<'_>| text.as_str().parse().map(Field::Number);
    Ok(match value {
        Attribute::Text(value) => text(value),
        Attribute::Number(value) => number(value)?,
        Attribute::Bool(value) => Field::Bool(*value),
        Attribute::Null => Field::Null,
        Attribute::Binary(bytes) => base64(bytes),
        Attribute::List(list) => Field::List(list.iter().map(field).collect::<Result<_, _>>()?),
        Attribute::Map(map) => {
            let read = |(key, value): (&Text<'_>, _)| Ok((key.as_str().to_owned(), field(value)?));
            Field::Map(map.iter().map(read).collect::<Result<_, NumberError>>()?)
        }
        Attribute::Texts(texts) => Field::List(texts.iter().map(text).collect()).into_set(),
        Attribute::Numbers(texts) => {
            Field::List(texts.iter().map(number).collect::<Result<_, _>>()?).into_set()
        }
        Attribute::Binaries(values) => Field::List(values.iter().map(base64).collect()).into_set(),
    })
}

/// How many levels of lists and maps a value has.
pub(super) fn nesting_depth(value: &Attribute<'_>) -> usize {
    match value {
        Attribute::List(list) => 1 + list.iter().map(nesting_depth).max().unwrap_or(0),
        Attribute::Map(map) => 1 + map.values().map(nesting_depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::PlainField;
    use proptest::prelude::*;

    fn read(json: &str) -> Field {
        field(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn fields_are_equal_if_they_mean_the_same() {
        assert_eq!(read(r#"{"N":"1.0"}"#), read(r#"{"N":"1"}"#));
        assert_ne!(read(r#"{"N":"12345678901234567890.1"}"#), read(r#"{"N":"12345678901234567890.2"}"#));
        assert_eq!(read(r#"{"NS":["10","2","10.0"]}"#), read(r#"{"NS":["2.00","10"]}"#));
        assert_eq!(read(r#"{"SS":["b","a"]}"#), read(r#"{"SS":["a","b"]}"#));
        assert_ne!(read(r#"{"L":[{"S":"b"},{"S":"a"}]}"#), read(r#"{"L":[{"S":"a"},{"S":"b"}]}"#));
        assert_ne!(read(r#"{"S":"1"}"#), read(r#"{"N":"1"}"#));
    }

    #[test]
    fn an_empty_text_is_none() {
        let text = |text: &str| Field::Text(text.into());
        assert_eq!((text("").as_text(), text("a").as_text(), Field::Null.as_text()), (None, Some("a"), None));
    }

    #[test]
    fn every_attribute_type_becomes_json() {
        let all = r#"{"M":{"b":{"B":"AQI="},"bs":{"BS":["AQI="]},"ns":{"NS":["2","10"]},"z":{"NULL":true},"t":{"BOOL":true},
            "m":{"M":{"k":{"L":[{"N":"1.5e3"},{"N":"0.1"},{"N":"1E+30"}]}}}}}"#;
        let expected =
            r#"{"b":"AQI=","bs":["AQI="],"m":{"k":[1500,0.1,1e+30]},"ns":[10,2],"t":true,"z":null}"#;
        assert_eq!(read(all).to_json().to_string(), expected);
        assert_eq!(serde_json::to_string(&PlainField(&read(all))).unwrap(), expected);
    }

    /// Attribute values as JSON, with mistakes: wrong types, no key, two keys, unknown keys, escapes.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            r#"{"S":"a"}"#,
            r#"{"S":"\u00e9\n"}"#,
            r#"{"N":"1.50"}"#,
            r#"{"BOOL":true}"#,
            r#"{"NULL":true}"#,
            r#"{"B":"AQI="}"#,
            r#"{"SS":["b","\ta"]}"#,
            r#"{"NS":["2","1"]}"#,
            r#"{"BS":["AQI=",""]}"#,
            r#"{"S":5}"#,
            r#"{"N":null}"#,
            r#"{"BOOL":"x"}"#,
            r#"{"L":{}}"#,
            r#"{"M":[]}"#,
            r#"{"SS":"a"}"#,
            "{}",
            "7",
            r#"{"X":1}"#,
            r#"{"S":"a","N":"1"}"#,
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(3, 12, 4, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4);
            let map = prop::collection::vec(("[abc]", inner), 0..4);
            let entry = |(name, value): (String, String)| format!(r#""{name}":{value}"#);
            prop_oneof![
                list.prop_map(|list| format!(r#"{{"L":[{}]}}"#, list.join(","))),
                map.prop_map(move |map| {
                    let entries: Vec<String> = map.into_iter().map(entry).collect();
                    format!(r#"{{"M":{{{}}}}}"#, entries.join(","))
                }),
            ]
        })
    }

    /// The attribute as the library for DynamoDB's types reads it.
    fn of_library(value: serde_dynamo::AttributeValue) -> Attribute<'static> {
        use serde_dynamo::AttributeValue as Library;
        // A leak, but of tests only.
        let text = |text: String| Text::from(&*text.leak());
        match value {
            Library::S(value) => Attribute::Text(text(value)),
            Library::N(value) => Attribute::Number(text(value)),
            Library::Bool(value) => Attribute::Bool(value),
            Library::Null(_) => Attribute::Null,
            Library::B(bytes) => Attribute::Binary(bytes),
            Library::L(list) => Attribute::List(list.into_iter().map(of_library).collect()),
            Library::M(map) => {
                Attribute::Map(map.into_iter().map(|(name, value)| (text(name), of_library(value))).collect())
            }
            Library::Ss(texts) => Attribute::Texts(texts.into_iter().map(text).collect()),
            Library::Ns(texts) => Attribute::Numbers(texts.into_iter().map(text).collect()),
            Library::Bs(values) => Attribute::Binaries(values),
        }
    }

    proptest! {
        /// Values and errors are those of the library for DynamoDB's types.
        #[test]
        fn attributes_are_those_of_the_library(json in any_json()) {
            let library = serde_json::from_str::<serde_dynamo::AttributeValue>(&json).map(of_library);
            let ours = serde_json::from_str::<Attribute<'_>>(&json);
            prop_assert_eq!(ours.map_err(|error| error.to_string()), library.map_err(|error| error.to_string()));
        }

        /// A field read from a baseline equals the stored field, so rewriting the same value is no change.
        #[test]
        fn a_field_survives_the_cache(digits in "-?[1-9][0-9]{0,16}(\\.[0-9]{1,17})?(E[+-]?[0-9]{1,2})?", text in "\\PC{0,9}") {
            let list = Field::List(vec![read(&format!(r#"{{"N":"{digits}"}}"#)), Field::Text(text), Field::Null]);
            let json = serde_json::to_string(&list).unwrap();
            prop_assert_eq!(serde_json::from_str::<Field>(&json).unwrap(), list);
        }
    }
}
