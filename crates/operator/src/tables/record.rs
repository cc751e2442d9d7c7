//! A row as the record of a stream.
//!
//! A table does not hold when a row was written. The writers put this second into `SK` (of a price: into the `SK` of its
//! history, and into `timestamp`), so it stands for the creation time of the record.

use events_adapters::dynamodb::Item;
use events_core::source::{Record, RecordContent, Row, SourceRow, dynamodb};
use serde_json::{Value, json};

use super::selection::{Key, Kind};

/// Attributes of the current price that a row of its history can lack.
const LASTING: [&str; 2] = ["symbol", "decimals"];

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableRow {
    /// `SK`.
    pub(crate) sk: i64,
    /// What the row is.
    pub(crate) kind: Kind,
    pk: String,
    item: Item,
}

impl TableRow {
    /// A row that was read under a key.
    pub(crate) fn new(key: &Key, item: Item) -> Self {
        let number = item.get("SK").and_then(|sk| sk.get("N")).and_then(Value::as_str).unwrap_or_default();
        // `SK` is a whole number in every row that is handled. A fraction is cut off.
        let sk = number.parse::<f64>().map_or(0, |sk| sk as i64);
        Self { sk, kind: key.kind, pk: key.pk.clone(), item }
    }

    /// Makes a row of a token's history what the current price was then: under `SK` 0, with what does not change.
    pub(crate) fn into_current(mut self, current: Option<&Self>) -> Self {
        for name in LASTING {
            let value = current.and_then(|current| current.item.get(name));
            if let (None, Some(value)) = (self.item.get(name), value) {
                self.item.insert(name.to_owned(), value.clone());
            }
        }
        if !self.item.contains_key("timestamp") {
            self.item.insert("timestamp".to_owned(), json!({ "N": self.sk.to_string() }));
        }
        self.item.insert("SK".to_owned(), json!({ "N": "0" }));
        self
    }

    /// The row as a record of `stream` that was created in the second in `SK`, or later if the row itself says so.
    pub(crate) fn record(&self, stream: &str, sequence: u64, now_ms: i64) -> Record {
        let decoded = |created| dynamodb::decode_text(&self.json(stream, sequence, created), now_ms);
        let mut record = decoded(None);
        if matches!(record.content, RecordContent::Undecodable(_)) {
            // A row without any time. The oldest one never goes before a row with a time.
            record = decoded(Some(1));
        } else if let RecordContent::Row(row) = &mut record.content {
            row.created_ms = Some(row.data_time_ms.max(self.sk.saturating_mul(1_000)));
        }
        record
    }

    /// The same of a table in which `SK` is when the row was written: a later data time counts as this second, as live. A price
    /// has no such `SK`.
    pub(crate) fn record_written_at_sk(&self, stream: &str, sequence: u64, now_ms: i64) -> Record {
        match (self.kind, u64::try_from(self.sk)) {
            (Kind::Metadata | Kind::Tvl, Ok(written @ 1..)) => {
                dynamodb::decode_text(&self.json(stream, sequence, Some(written)), now_ms)
            }
            _ => self.record(stream, sequence, now_ms),
        }
    }

    fn json(&self, stream: &str, sequence: u64, created: Option<u64>) -> String {
        let mut change = json!({
            "Keys": { "PK": { "S": self.pk }, "SK": self.item.get("SK") },
            "NewImage": self.item,
            "SequenceNumber": sequence.to_string(),
        });
        if let Some(created) = created {
            change["ApproximateCreationDateTime"] = created.into();
        }
        let record = json!({
            "eventName": "INSERT", "eventSource": "aws:dynamodb", "eventSourceARN": stream, "dynamodb": change,
        });
        record.to_string()
    }
}

/// The newest row of a key, as a record that any record of the stream follows.
#[derive(Debug)]
pub(crate) enum Newest {
    /// A row that can be a baseline.
    Row(Record),
    /// Its baseline would have expired.
    TooOld,
    /// The processor does not handle it, or cannot read it.
    Unusable,
}

/// Makes a record of the newest row. Its number is below all of the stream, so whatever the stream has had of the same data
/// time is not replaced.
pub(crate) fn newest_record(
    row: &TableRow,
    stream: &str,
    now_ms: i64,
    ttl_of: impl Fn(&Row) -> u64,
) -> Newest {
    let record = row.record(stream, 0, now_ms);
    match &record.content {
        RecordContent::Row(source) if is_expired(source, now_ms, ttl_of) => Newest::TooOld,
        RecordContent::Row(_) => Newest::Row(record),
        RecordContent::Skipped(_) | RecordContent::Undecodable(_) => Newest::Unusable,
    }
}

/// Metadata lives as long as its protocol has TVL rows, however old it is.
fn is_expired(row: &SourceRow, now_ms: i64, ttl_of: impl Fn(&Row) -> u64) -> bool {
    let ttl_ms = i64::try_from(ttl_of(&row.row)).unwrap_or(i64::MAX).saturating_mul(1_000);
    let created = row.created_ms.unwrap_or(row.data_time_ms);
    !matches!(row.row, Row::Protocol(_)) && now_ms - created > ttl_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn row(pk: &str, kind: Kind, item: &Value) -> TableRow {
        let key = Key { table: "t".to_owned(), pk: pk.to_owned(), kind };
        TableRow::new(&key, item.as_object().unwrap().clone())
    }

    fn source(record: Record) -> SourceRow {
        match record.content {
            RecordContent::Row(row) => *row,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_sort_key_stands_for_the_creation_time() {
        let item = json!({"SK": {"N": "1767225600"}, "SK_ORIGNAL": {"N": "1767225591"}, "tvl": {"N": "1"}});
        let row = source(row("hourlyTvl#1", Kind::Tvl, &item).record("s", 3, NOW));
        assert_eq!((row.created_ms, row.data_time_ms), (Some(1_767_225_600_000), 1_767_225_591_000));
    }

    #[test]
    fn a_data_time_after_the_writing_counts_as_the_writing() {
        let item = json!({"SK": {"N": "1767225600"}, "SK_ORIGNAL": {"N": "1767225609"}, "tvl": {"N": "1"}});
        let row = row("hourlyTvl#1", Kind::Tvl, &item);
        let times = |record| {
            let row = source(record);
            (row.created_ms, row.data_time_ms)
        };
        let (writing, later) = (1_767_225_600_000, 1_767_225_609_000);
        assert_eq!(times(row.record("s", 3, NOW)), (Some(later), later));
        assert_eq!(times(row.record_written_at_sk("s", 3, NOW)), (Some(writing), writing));
    }

    #[test]
    fn a_row_of_history_is_what_the_price_was() {
        let now = row("coingecko#a", Kind::Price, &json!({"SK": {"N": "0"}, "symbol": {"S": "A"}}));
        let then = row("coingecko#a", Kind::Price, &json!({"SK": {"N": "1767225600"}, "price": {"N": "2"}}));
        let row = source(then.into_current(Some(&now)).record("s", 1, NOW));
        assert_eq!((row.created_ms, row.data_time_ms), (Some(1_767_225_600_000), 1_767_225_600_000));
        assert!(matches!(row.row, Row::Price(price) if price.symbol.as_deref() == Some("A")));
    }

    #[test]
    fn metadata_without_a_time_is_the_oldest() {
        let item = json!({"SK": {"N": "0"}, "name": {"S": "A"}});
        let row = row("protocol#1", Kind::Metadata, &item);
        assert_eq!(source(row.record("s", 0, NOW)).data_time_ms, 1_000);
        assert!(matches!(newest_record(&row, "s", NOW, |_| 60), Newest::Row(_)));
    }

    #[test]
    fn what_would_have_expired_is_no_baseline() {
        let at = |secs: i64| {
            let item = json!({"SK": {"N": secs.to_string()}, "tvl": {"N": "1"}});
            newest_record(&row("hourlyTvl#1", Kind::Tvl, &item), "s", NOW, |_| 60)
        };
        assert!(matches!(at(NOW / 1_000 - 60), Newest::Row(_)));
        assert!(matches!(at(NOW / 1_000 - 61), Newest::TooOld));
        let broken = row("hourlyTvl#1", Kind::Tvl, &json!({"SK": {"N": "5"}, "tvl": {"X": "1"}}));
        assert!(matches!(newest_record(&broken, "s", NOW, |_| 60), Newest::Unusable));
    }
}
