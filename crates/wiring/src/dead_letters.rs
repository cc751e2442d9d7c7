//! Where dead letters go: to a queue in SQS, or, with `POISON=drop`, only into the log.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use events_adapters::sqs::SqsQueue;
use events_core::delivery::{Message, SendResult};
use events_processor::ports::{PortError, Queue};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Ids that are remembered. A record is delivered again when its neighbours fail, and is then not logged again.
const MAX_REMEMBERED: usize = 1_000;
/// Most characters of an id, a key or a reason in the log.
const MAX_CHARACTERS: usize = 200;

/// The dead letter queue of the Lambda.
#[derive(Debug)]
pub enum DeadLetterQueue {
    /// At `EVENTS_DLQ_URL`.
    Sqs(SqsQueue),
    /// With `POISON=drop`.
    Dropped(DropQueue),
}

impl Queue for DeadLetterQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        match self {
            Self::Sqs(queue) => queue.send(messages).await,
            Self::Dropped(queue) => queue.send(messages).await,
        }
    }
}

/// Accepts every dead letter and keeps none. Logs each one at level `warn`, without its payload.
#[derive(Debug, Default)]
pub struct DropQueue {
    /// The ids of the last dead letters, the oldest first.
    logged: RefCell<VecDeque<String>>,
}

impl Queue for DropQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        for message in messages.iter().filter(|message| self.is_new(&message.dedup_id)) {
            let Summary { id, key, reason } = Summary::of(&message.body);
            tracing::warn!(%id, %key, %reason, "dropped what can never succeed; POISON is drop");
        }
        Ok(vec![SendResult::Accepted; messages.len()])
    }
}

impl DropQueue {
    /// True the first time that an id is seen. Then remembers it.
    fn is_new(&self, id: &str) -> bool {
        let mut logged = self.logged.borrow_mut();
        if logged.iter().any(|other| other == id) {
            return false;
        }
        if logged.len() == MAX_REMEMBERED {
            logged.pop_front();
        }
        logged.push_back(id.to_owned());
        true
    }
}

/// What the log says of a dead letter.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    /// The id of the stream record or of the event.
    id: String,
    /// The row key of the record, or the subject of the event.
    key: String,
    reason: String,
}

#[derive(Deserialize)]
struct DeadLetter<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    error: DeadLetterError,
}

#[derive(Deserialize)]
struct DeadLetterError {
    message: String,
}

/// Where a record or an event has its id and its key, the first that is there.
const IDS: [&[&str]; 3] = [&["eventID"], &["eventId"], &["dynamodb", "SequenceNumber"]];
const KEYS: [&[&str]; 3] = [&["dynamodb", "Keys", "PK", "S"], &["data", "protocolId"], &["data", "tokenId"]];

impl Summary {
    fn of(body: &str) -> Self {
        let unknown = || "unknown".to_owned();
        let Ok(letter) = serde_json::from_str::<DeadLetter<'_>>(body) else {
            return Self { id: unknown(), key: unknown(), reason: unknown() };
        };
        let content = letter.record.or(letter.event);
        let first = |paths: [&[&str]; 3]| paths.iter().find_map(|path| text_at(content?, path));
        Self {
            id: first(IDS).map_or_else(unknown, |id| shortened(&id)),
            key: first(KEYS).map_or_else(unknown, |key| shortened(&key)),
            reason: shortened(&letter.error.message),
        }
    }
}

/// The text at a path of object keys. Each level is parsed on its own: a record may be nested too deeply for a parser of
/// the whole.
fn text_at(json: &RawValue, path: &[&str]) -> Option<String> {
    let Some((name, rest)) = path.split_first() else { return serde_json::from_str(json.get()).ok() };
    let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(json.get()).ok()?;
    text_at(fields.get(*name)?, rest)
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use events_core::delivery::{DeadLetterWriter, Undeliverable};

    const WRITER: DeadLetterWriter = DeadLetterWriter { now_ms: 7, max_bytes: 10_000 };

    fn summary(failed: Undeliverable<'_>) -> (String, String, String) {
        let Summary { id, key, reason } =
            Summary::of(&WRITER.write(failed, "r", None, "no SequenceNumber", "decode").body);
        (id, key, reason)
    }

    fn texts(id: &str, key: &str) -> (String, String, String) {
        (id.to_owned(), key.to_owned(), "no SequenceNumber".to_owned())
    }

    #[test]
    fn a_record_is_named_by_its_id_and_its_key() {
        let record =
            r#"{"eventID":"e1","dynamodb":{"Keys":{"PK":{"S":"hourlyTvl#1"}},"NewImage":{"tvl":{"N":"x"}}}}"#;
        assert_eq!(summary(Undeliverable::Record(record)), texts("e1", "hourlyTvl#1"));
        let event = r#"{"eventId":"e2","data":{"protocolId":"7"}}"#;
        assert_eq!(summary(Undeliverable::Event(event)), texts("e2", "7"));
    }

    #[test]
    fn a_record_of_any_shape_is_named() {
        for record in ["1", "not json", "[]", r#"{"eventID":{},"dynamodb":7}"#] {
            assert_eq!(summary(Undeliverable::Record(record)), texts("unknown", "unknown"), "{record}");
        }
        let deep = format!(r#"{{"eventID":"e3","a":{}1{}}}"#, "[".repeat(4_000), "]".repeat(4_000));
        assert_eq!(summary(Undeliverable::Record(&deep)), texts("e3", "unknown"));
        assert_eq!(Summary::of("{").reason, "unknown");
    }

    #[test]
    fn a_dead_letter_is_logged_once() {
        let queue = DropQueue::default();
        assert!(queue.is_new("a") && !queue.is_new("a") && queue.is_new("b"));
        (0..MAX_REMEMBERED).for_each(|number| assert!(queue.is_new(&number.to_string())));
        assert!(queue.is_new("a"), "what is logged is remembered in bounded memory");
    }
}
