//! The tables: rows of DynamoDB through the AWS SDK, read and never written.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::StalledStreamProtectionConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity};
use aws_smithy_runtime_api::http::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events_processor::ports::PortError;
use serde_json::{Map, Value, json};

use crate::aws::{AwsSettings, error_kind, error_text};

/// A row, in the form of an image of a stream record: `{"PK": {"S": …}, …}`.
pub type Item = Map<String, Value>;

/// Rows of one partition key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The table.
    pub table: String,
    /// `PK`.
    pub pk: String,
    /// The lowest `SK`.
    pub first: i64,
    /// The highest `SK`.
    pub last: i64,
    /// True if the row with the highest `SK` comes first.
    pub newest_first: bool,
    /// Most rows of a page.
    pub limit: Option<i32>,
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Next(HashMap<String, AttributeValue>);

/// Some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The rows.
    pub items: Vec<Item>,
    /// The read capacity units that they have cost, if DynamoDB says it.
    pub capacity: Option<f64>,
    /// Where the next page begins. `None` after the last one.
    pub next: Option<Next>,
}

/// The tables of a region.
pub struct Tables {
    client: Client,
    settings: AwsSettings,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tables {
    /// Prepares connections to DynamoDB. They are made with the first request.
    pub fn new(settings: &AwsSettings) -> Self {
        let config = aws_sdk_dynamodb::config::Builder::from(&settings.sdk_config())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Self { client: Client::from_conf(config.build()), settings: settings.clone() }
    }

    /// A page of a range. Reads may be some ms behind the newest write, which costs half the capacity.
    pub async fn query(&self, range: &Range, after: Option<Next>) -> Result<Page, PortError> {
        let number = |number: i64| AttributeValue::N(number.to_string());
        let call = self
            .client
            .query()
            .table_name(&range.table)
            .key_condition_expression("PK = :pk AND SK BETWEEN :first AND :last")
            .expression_attribute_values(":pk", AttributeValue::S(range.pk.clone()))
            .expression_attribute_values(":first", number(range.first))
            .expression_attribute_values(":last", number(range.last))
            .scan_index_forward(!range.newest_first)
            .set_limit(range.limit)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_exclusive_start_key(after.map(|next| next.0));
        let output = call.send().await.map_err(|error| self.port_error(&error))?;
        Ok(page(output.items, output.consumed_capacity.as_ref(), output.last_evaluated_key))
    }

    /// The ARN of the table's stream. `None` if it has none.
    pub async fn stream_of(&self, table: &str) -> Result<Option<String>, PortError> {
        let call = self.client.describe_table().table_name(table);
        let output = call.send().await.map_err(|error| self.port_error(&error))?;
        Ok(output.table.and_then(|table| table.latest_stream_arn))
    }

    /// An error without credentials.
    fn port_error<E>(&self, error: &SdkError<E, Response>) -> PortError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let text = format!("dynamodb: {}", error_text(error));
        PortError::new(error_kind(error), self.settings.credentials.removed_from(&text))
    }
}

fn page(
    items: Option<Vec<HashMap<String, AttributeValue>>>,
    consumed: Option<&ConsumedCapacity>,
    next: Option<HashMap<String, AttributeValue>>,
) -> Page {
    let items = items.unwrap_or_default().into_iter().map(item).collect();
    let capacity = consumed.and_then(ConsumedCapacity::capacity_units);
    Page { items, capacity, next: next.filter(|key| !key.is_empty()).map(Next) }
}

fn item(attributes: HashMap<String, AttributeValue>) -> Item {
    attributes.into_iter().map(|(name, value)| (name, attribute(value))).collect()
}

/// An attribute in the JSON of stream records. Numbers stay text, so no digit is lost.
fn attribute(value: AttributeValue) -> Value {
    let base64 = |bytes: &aws_sdk_dynamodb::primitives::Blob| STANDARD.encode(bytes.as_ref());
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(text) => json!({ "N": text }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::Null(value) => json!({ "NULL": value }),
        AttributeValue::B(bytes) => json!({ "B": base64(&bytes) }),
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        AttributeValue::Ns(texts) => json!({ "NS": texts }),
        AttributeValue::Bs(values) => json!({ "BS": values.iter().map(base64).collect::<Vec<_>>() }),
        AttributeValue::L(list) => json!({ "L": list.into_iter().map(attribute).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": item(map) }),
        // A type that DynamoDB adds one day: the decoder says what it cannot read.
        _ => json!({ "UNKNOWN": true }),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;

    #[test]
    fn attributes_are_those_of_stream_records() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = "12345678901234567890.123456789012345678";
        let map = [("k".to_owned(), AttributeValue::L(vec![text("a"), AttributeValue::Bool(true)]))];
        let all = [
            ("n", AttributeValue::N(number.to_owned()), json!({ "N": number })),
            ("b", AttributeValue::B(Blob::new([1, 2])), json!({ "B": "AQI=" })),
            ("bs", AttributeValue::Bs(vec![Blob::new([1, 2])]), json!({ "BS": ["AQI="] })),
            (
                "m",
                AttributeValue::M(map.into()),
                json!({ "M": { "k": { "L": [{"S": "a"}, {"BOOL": true}] } } }),
            ),
            ("ss", AttributeValue::Ss(vec!["x".to_owned()]), json!({ "SS": ["x"] })),
            ("ns", AttributeValue::Ns(vec!["1".to_owned()]), json!({ "NS": ["1"] })),
            ("z", AttributeValue::Null(true), json!({ "NULL": true })),
        ];
        for (name, value, expected) in all {
            assert_eq!(item([(name.to_owned(), value)].into())[name], expected);
        }
    }
}
