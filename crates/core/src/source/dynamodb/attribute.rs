//! Reads DynamoDB attribute values as metadata fields.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_dynamo::AttributeValue;

use crate::value::{Field, NumberError};

/// Reads an attribute value. Sets become lists in a fixed order. Binary data becomes base64 text.
pub(super) fn field(value: &AttributeValue) -> Result<Field, NumberError> {
    let base64 = |bytes: &Vec<u8>| Field::Text(base64::engine::general_purpose::STANDARD.encode(bytes));
    Ok(match value {
        AttributeValue::S(text) => Field::Text(text.clone()),
        AttributeValue::N(text) => Field::Number(text.parse()?),
        AttributeValue::Bool(value) => Field::Bool(*value),
        AttributeValue::Null(_) => Field::Null,
        AttributeValue::B(bytes) => base64(bytes),
        AttributeValue::L(list) => Field::List(list.iter().map(field).collect::<Result<_, _>>()?),
        AttributeValue::M(map) => {
            let read = |(key, value): (&String, &AttributeValue)| Ok((key.clone(), field(value)?));
            // A hash map has no order. Go by key, so that the same value always reports the same error.
            let sorted: BTreeMap<_, _> = map.iter().collect();
            Field::Map(sorted.into_iter().map(read).collect::<Result<_, NumberError>>()?)
        }
        AttributeValue::Ss(texts) => Field::List(texts.iter().cloned().map(Field::Text).collect()).into_set(),
        AttributeValue::Ns(texts) => {
            let read = |text: &String| Ok(Field::Number(text.parse()?));
            Field::List(texts.iter().map(read).collect::<Result<_, NumberError>>()?).into_set()
        }
        AttributeValue::Bs(values) => Field::List(values.iter().map(base64).collect()).into_set(),
    })
}

/// How many levels of lists and maps a value has.
pub(super) fn nesting_depth(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::L(list) => 1 + list.iter().map(nesting_depth).max().unwrap_or(0),
        AttributeValue::M(map) => 1 + map.values().map(nesting_depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    }

    proptest! {
        /// A field read from a baseline equals the stored field, so rewriting the same value is no change.
        #[test]
        fn a_field_survives_the_cache(digits in "-?[1-9][0-9]{0,16}(\\.[0-9]{1,17})?(E[+-]?[0-9]{1,2})?", text in "\\PC{0,9}") {
            let list = Field::List(vec![read(&format!(r#"{{"N":"{digits}"}}"#)), Field::Text(text), Field::Null]);
            let json = serde_json::to_string(&list).unwrap();
            prop_assert_eq!(serde_json::from_str::<Field>(&json).unwrap(), list);
        }
    }
}
