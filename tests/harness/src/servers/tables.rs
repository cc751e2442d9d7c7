//! Tables of the emulator: it speaks DynamoDB too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, PutRequest,
    ScalarAttributeType, StreamSpecification, StreamViewType, WriteRequest,
};
use serde_json::Value;

use super::sqs::{SqsEmulator, sdk_config};

/// Most rows of one request.
const PAGE: usize = 25;

/// A table that belongs to one test.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The ARN of its stream.
    pub stream: String,
}

impl SqsEmulator {
    /// Creates a table of rows under `PK` and `SK`, with a stream, and with a name that no other test has.
    pub async fn create_table(&self, prefix: &str) -> Table {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{number}", std::process::id());
        let attribute = |name: &str, kind| {
            let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(kind);
            attribute.build().expect("an attribute")
        };
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("a key")
        };
        let stream = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewAndOldImages);
        let created = tables(self.endpoint())
            .create_table()
            .table_name(&name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("PK", ScalarAttributeType::S))
            .attribute_definitions(attribute("SK", ScalarAttributeType::N))
            .key_schema(key("PK", KeyType::Hash))
            .key_schema(key("SK", KeyType::Range))
            .stream_specification(stream.build().expect("a stream"))
            .send()
            .await;
        let table = created.expect("a new table").table_description.expect("its description");
        Table { name, stream: table.latest_stream_arn.expect("it has a stream") }
    }

    /// Puts rows into a table. They have the form of images of stream records, with texts, numbers and lists.
    pub async fn put_rows(&self, table: &Table, rows: &[Value]) {
        let client = tables(self.endpoint());
        for rows in rows.chunks(PAGE) {
            let requests = rows.iter().map(|row| {
                let put = PutRequest::builder().set_item(Some(item(row))).build().expect("a row");
                WriteRequest::builder().put_request(put).build()
            });
            let written =
                client.batch_write_item().request_items(&table.name, requests.collect()).send().await;
            let left = written.expect("rows are put").unprocessed_items.unwrap_or_default();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

fn tables(endpoint: &str) -> Client {
    Client::new(&sdk_config(endpoint))
}

fn item(row: &Value) -> HashMap<String, AttributeValue> {
    let attributes = row.as_object().expect("a row is an object");
    attributes.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().and_then(|value| value.iter().next()).expect("a typed value");
    let text = || value.as_str().expect("a text").to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "L" => AttributeValue::L(value.as_array().expect("a list").iter().map(attribute).collect()),
        kind => panic!("attributes of type {kind} are not needed yet"),
    }
}
