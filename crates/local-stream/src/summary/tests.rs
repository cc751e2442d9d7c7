use super::*;
use crate::biggest_changes::Change;
use crate::delivery::deliver;
use crate::destinations::MEMORY;
use crate::report;
use crate::test_support::{FakeProcessor, block_on, fake_processor, raw_record, records};

fn summary(processor: &FakeProcessor, batches: Vec<Vec<SourceRecord>>) -> Summary {
    let memory = || MEMORY.to_owned();
    let destinations = Destinations { store: memory(), queue: memory(), dead_letter_queue: memory() };
    let mut summary = Summary::new("input".to_owned(), 100, destinations, &processor.settings().core.rules);
    for batch in batches {
        summary.add(&block_on(deliver(processor, batch, 3, |_| {})));
    }
    summary.finish(Duration::from_millis(500), None);
    summary
}

#[test]
fn a_record_counts_once_however_many_attempts_it_takes() {
    let processor = fake_processor();
    processor.queue().refuse("protocol:1", 1);
    let summary = summary(&processor, vec![records("1=1e6 2=5 1=3e6 2=5"), records("1=7")]);
    let expected =
        Records { total: 5, with_events: 1, first_seen: 2, unchanged: 1, late: 1, ..Records::default() };
    assert_eq!(summary.records, expected);
    assert_eq!((summary.batches, summary.failures.batches, summary.failures.retries), (2, 1, 1));
    assert_eq!(
        (summary.failures.recovered, summary.delivered.messages, summary.delivered.publications),
        (1, 1, 1)
    );
    assert_eq!(summary.events.by_type[&EventType::TvlChange], BTreeMap::from([(Priority::High, 1)]));
    assert!((summary.records_per_second - 10.0).abs() < 1e-9);
    let change = &summary.biggest_changes.tvl_by_usd[0];
    assert_eq!((change.id.as_str(), change.change_absolute, change.change_percent), ("1", 2e6, 200.0));
}

#[test]
fn dust_is_not_among_the_biggest_changes_by_per_cent() {
    let summary = summary(
        &fake_processor(),
        vec![records("1=1e-18 1=0.05 2=1e6 2=1.01e6 3=1e6 3=1009999.99 4=5e4 4=4e4")],
    );
    let ids = |changes: &[Change]| changes.iter().map(|change| change.id.clone()).collect::<Vec<_>>();
    let biggest = &summary.biggest_changes;
    assert_eq!(ids(&biggest.tvl_by_percent), ["4", "2"], "changes of at least $10,000");
    assert_eq!(summary.records.with_events, 3, "a change of dust is an event all the same");
    let text = report::text(&summary);
    assert!(text.contains("Biggest TVL moves in per cent, of at least $10,000\n"), "{text}");
}

#[test]
fn records_that_were_given_up_are_listed() {
    let processor = fake_processor();
    processor.queue().refuse("protocol:1", u32::MAX);
    let summary = summary(&processor, vec![records("1=5 1=6 2=5")]);
    assert_eq!((summary.records.given_up, summary.records.first_seen, summary.failures.recovered), (1, 2, 0));
    let given_up = &summary.failures.given_up[0];
    assert_eq!((given_up.line, given_up.attempts), (2, 3));
    let text = report::text(&summary);
    assert!(text.contains("given up: line 2 after 3 attempts: "), "{text}");
    assert!(text.contains("1 batch with failed records; 2 retries, each"), "{text}");
}

#[test]
fn dead_letters_are_grouped_by_reason() {
    let odd = ["1", "2", "[]", r#"{"eventName":"INSERT","dynamodb":{}}"#];
    let batch = odd.iter().enumerate().map(|(number, json)| raw_record(number, json)).collect();
    let summary = summary(&fake_processor(), vec![batch]);
    assert_eq!((summary.records.dead_letters, summary.delivered.dead_letters), (4, 4));
    assert_eq!(summary.dead_letters["no SequenceNumber"], DeadLetterGroup { count: 1, first_line: 4 });
    assert!(
        summary.dead_letters.keys().all(|reason| !reason.contains("column")),
        "{:?}",
        summary.dead_letters
    );
}

#[test]
fn the_dead_letter_of_a_message_that_the_queue_rejects_is_listed() {
    let processor = fake_processor();
    processor.queue().rejected_group.set(Some("protocol:1"));
    let summary = summary(&processor, vec![records("1=5 2=5 1=1e9")]);
    assert_eq!((summary.records.with_events, summary.delivered.dead_letters), (1, 1));
    assert_eq!(summary.dead_letters["invalid content"], DeadLetterGroup { count: 1, first_line: 3 });
}

#[test]
fn the_number_of_distinct_reasons_is_limited() {
    let record = |number| {
        let json = format!(r#"{{"eventName":"X{number}","dynamodb":{{"SequenceNumber":"{number}"}}}}"#);
        raw_record(number, &json)
    };
    let summary = summary(&fake_processor(), vec![(0..3 * MAX_REASONS).map(record).collect()]);
    assert_eq!(summary.dead_letters.len(), MAX_REASONS + 1);
    assert_eq!(summary.dead_letters[OTHER_REASONS].count, 2 * MAX_REASONS as u64);
}

#[test]
fn an_empty_replay_has_a_summary() {
    let summary = summary(&fake_processor(), Vec::new());
    let text = report::text(&summary);
    assert!(text.starts_with("Replayed 0 records of input") && text.contains("Failures\n  none"), "{text}");
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["latency"]["batchMs"], serde_json::Value::Null);
    assert_eq!(json["records"]["total"], 0);
}

#[test]
fn the_text_has_no_line_that_ends_in_blanks_nor_two_empty_ones() {
    let text = report::text(&summary(&fake_processor(), vec![records("1=5 1=6 2=5 2=50000")]));
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    assert!(!text.contains("\n\n\n") && text.ends_with('\n'), "{text}");
}
