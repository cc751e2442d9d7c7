//! The advice on dead letters ([`OPERATIONS`], section "Dead letters"; the alarm) depends on the form of the letters.

use events_core::delivery::Message;
use events_core::plan::Config;
use events_harness::processors::{MemoryProcessor, fixture_records, in_memory, process, raw};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use super::{OPERATIONS, read};

/// Texts that say what to do with dead letters.
const ADVICE: [&str; 4] = [OPERATIONS, super::EVENTS, "infra/README.md", "infra/alarms.tf"];

async fn dead_letters(records: &[Box<RawValue>]) -> Vec<Message> {
    let processor: MemoryProcessor = in_memory(Config::default());
    process(&processor, records).await;
    processor.dead_letter_queue().messages()
}

/// The fields of an object, each as it is written.
fn fields(json: &str) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_str(json).unwrap()
}

/// As the documented command does: the `record` of each letter that is complete and comes from a stream.
fn replayable(letters: &[Message]) -> Vec<Box<RawValue>> {
    let record = |letter: &Message| {
        let body: Value = serde_json::from_str(&letter.body).unwrap();
        let is_complete = body["error"]["stack"] != "outbox" && body.get("truncatedFrom").is_none();
        let mut fields = fields(&letter.body);
        fields.remove("record").filter(|record| is_complete && record.get().starts_with('{'))
    };
    letters.iter().filter_map(record).collect()
}

#[tokio::test]
async fn the_record_of_a_dead_letter_can_be_replayed() {
    let records = fixture_records();
    let letters = dead_letters(&records).await;
    assert!(letters.len() >= 10, "{} letters", letters.len());
    let replayable = replayable(&letters);
    assert_eq!(replayable.len(), letters.len(), "each record is there, as an object");
    for (record, letter) in replayable.iter().zip(&letters) {
        assert!(records.iter().any(|original| original.get() == record.get()), "as received: {record}");
        assert_eq!(letter.group_id, "undecodable", "one group, so the order of the letters is kept");
    }
    let reasons = |letters: &[Message]| -> Vec<String> {
        letters.iter().map(|letter| fields(&letter.body)["error"].get().to_owned()).collect()
    };
    assert_eq!(
        reasons(&dead_letters(&replayable).await),
        reasons(&letters),
        "the processor reads the same records again"
    );
}

#[tokio::test]
async fn a_record_that_was_cut_is_not_replayed() {
    let record = format!(r#"{{"eventName":"INSERT","dynamodb":{{"a":"{}"}}}}"#, "x".repeat(2 << 20));
    let letters = dead_letters(&[raw(record)]).await;
    assert!(letters.len() == 1 && letters[0].body.contains("truncatedFrom"));
    assert!(replayable(&letters).is_empty());
}

/// SQS's redrive would put `{record | event, error, timestamp}` into the events queue.
#[test]
fn no_text_advises_the_redrive_of_sqs() {
    for path in ADVICE {
        let text = read(path);
        for paragraph in text.split("\n\n").filter(|paragraph| {
            ["start-message-move-task", "SQS's redrive", "then redrive"]
                .iter()
                .any(|word| paragraph.contains(word))
        }) {
            assert!(paragraph.contains("Never use"), "{path}: {paragraph}");
        }
        assert!(text.contains("Never use"), "{path} does not warn of SQS's redrive");
    }
}
