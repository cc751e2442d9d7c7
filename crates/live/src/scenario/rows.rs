//! Stream records, in the form of DynamoDB.

use serde_json::{Map, Value, json};

use super::world::{Protocol, Token};

const EVENT_TABLE: &str =
    "arn:aws:dynamodb:eu-central-1:000000000000:table/prod-event-table/stream/2026-01-01T00:00:00.000";
const COINS_TABLE: &str =
    "arn:aws:dynamodb:eu-central-1:000000000000:table/coins/stream/2026-01-01T00:00:00.000";

/// Makes records, and numbers them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    sequence: u64,
}

impl Rows {
    fn record(
        &mut self,
        table: &str,
        pk: &str,
        sk: i64,
        now_ms: i64,
        mut image: Map<String, Value>,
    ) -> Value {
        self.sequence += 1;
        let keys = json!({"PK": {"S": pk}, "SK": {"N": sk.to_string()}});
        image.insert("PK".to_owned(), keys["PK"].clone());
        image.insert("SK".to_owned(), keys["SK"].clone());
        json!({
            "eventID": format!("live-{}", self.sequence),
            "eventName": "INSERT",
            "eventSource": "aws:dynamodb",
            "eventSourceARN": table,
            "dynamodb": {
                "ApproximateCreationDateTime": now_ms,
                "Keys": keys,
                "NewImage": image,
                "SequenceNumber": format!("{:021}", self.sequence),
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        })
    }

    /// A row of `hourlyTvl#`. A refill has a data time long before now.
    pub(super) fn tvl(&mut self, protocol: &Protocol, data_time_ms: i64, now_ms: i64) -> Value {
        let usd = |usd: f64| json!({"N": format!("{usd:.4}")});
        let mut image: Map<String, Value> =
            protocol.chains.iter().map(|(chain, value)| ((*chain).to_owned(), usd(*value))).collect();
        image.insert("tvl".to_owned(), usd(protocol.chains.values().sum()));
        let pk = format!("hourlyTvl#{}", protocol.id);
        self.record(EVENT_TABLE, &pk, data_time_ms / 1_000, now_ms, image)
    }

    /// A row of `protocol#`.
    pub(super) fn metadata(&mut self, protocol: &Protocol, now_ms: i64) -> Value {
        let Protocol { id, name, slug, category, is_rugged, chains } = protocol;
        let chains: Vec<Value> = chains.keys().map(|chain| json!({"S": chain})).collect();
        let image = json!({
            "name": {"S": name}, "slug": {"S": slug}, "category": {"S": category}, "rugged": {"BOOL": is_rugged},
            "chains": {"L": chains}, "timestamp": {"N": (now_ms / 1_000).to_string()},
        });
        let Value::Object(image) = image else { return Value::Null };
        self.record(EVENT_TABLE, &format!("protocol#{id}"), 0, now_ms, image)
    }

    /// The current price of a token.
    pub(super) fn price(&mut self, token: &Token, now_ms: i64) -> Value {
        let kind = if token.id.contains(':') { "asset" } else { "coingecko" };
        let image = json!({
            "price": {"N": format!("{:.12}", token.price)}, "symbol": {"S": token.symbol}, "confidence": {"N": "0.99"},
            "mcap": {"N": format!("{:.0}", token.price * token.supply)}, "timestamp": {"N": (now_ms / 1_000).to_string()},
        });
        let Value::Object(image) = image else { return Value::Null };
        self.record(COINS_TABLE, &format!("{kind}#{}", token.id), 0, now_ms, image)
    }
}
