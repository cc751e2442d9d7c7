//! Tests of [`super`].

use super::*;
use crate::source::{ChangeSource, RecordContent, SkipReason, SourceRow};

/// A time after every time in these tests, ms since 1970.
const NOW_MS: i64 = 2_000_000_000_000;

/// A TVL record with `extra` added to its `dynamodb` part.
fn record(extra: &str) -> String {
    format!(
        r#"{{"eventID":"e1","eventName":"INSERT","eventSource":"aws:dynamodb","eventSourceARN":"arn:s","dynamodb":{{
        "Keys":{{"PK":{{"S":"hourlyTvl#1"}},"SK":{{"N":"1700000000"}}}},"SequenceNumber":"111111100000000000000",
        "NewImage":{{"PK":{{"S":"hourlyTvl#1"}},"SK":{{"N":"1700000000"}},"tvl":{{"N":"5"}}}}{extra}}}}}"#
    )
}

fn row(text: &str) -> SourceRow {
    match decode_text(text, NOW_MS).content {
        RecordContent::Row(row) => *row,
        other => panic!("{other:?}"),
    }
}

fn reason(text: &str) -> String {
    match decode_text(text, NOW_MS).content {
        RecordContent::Undecodable(broken) => broken.reason,
        other => panic!("{other:?}"),
    }
}

fn skipped(text: &str) -> SkipReason {
    match decode_text(text, NOW_MS).content {
        RecordContent::Skipped(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_needs_no_size_and_no_creation_time() {
    let row = row(&record(""));
    assert_eq!((row.created_ms, row.data_time_ms), (None, 1_700_000_000_000));
    assert_eq!((row.stream.as_str(), row.source), ("arn:s", ChangeSource::Dynamodb));
}

#[test]
fn creation_times_come_in_four_forms() {
    for (text, ms) in [
        ("1700000001", Some(1_700_000_001_000)),
        ("1700000001.25", Some(1_700_000_001_250)),
        ("1.700000001E9", Some(1_700_000_001_000)),
        ("1700000001250", Some(1_700_000_001_250)),
        ("\"1700000001\"", Some(1_700_000_001_000)),
        ("null", None),
        ("0", None),
        ("\"yesterday\"", None),
    ] {
        let row = row(&record(&format!(r#","ApproximateCreationDateTime":{text}"#)));
        assert_eq!(row.created_ms, ms, "{text}");
    }
}

#[test]
fn the_data_time_comes_from_the_row_but_is_never_after_the_creation_time() {
    let with = |attributes: &str, created: &str| {
        let text = record(&format!(r#","ApproximateCreationDateTime":{created}"#));
        row(&text.replace(r#""tvl":"#, &format!(r#"{attributes}"tvl":"#))).data_time_ms
    };
    assert_eq!(with(r#""SK_ORIGNAL":{"N":"1600000000"},"#, "1700000009"), 1_600_000_000_000);
    assert_eq!(with(r#""SK_ORIGNAL":{"S":"1600000000"},"#, "1700000009"), 1_600_000_000_000);
    assert_eq!(
        with(r#""SK_ORIGNAL":{"S":"soon"},"timestamp":{"N":"1650000000"},"#, "1700000009"),
        1_650_000_000_000
    );
    assert_eq!(with("", "1700000009"), 1_700_000_000_000);
    assert_eq!(with(r#""SK_ORIGNAL":{"N":"1900000000"},"#, "1700000009"), 1_700_000_009_000);
}

#[test]
fn without_a_creation_time_the_data_time_is_never_after_now() {
    let text = record(r#","OldImage":{"tvl":{"N":"4"}}"#);
    for (now_ms, expected) in [(1_700_000_000_001, 1_700_000_000_000), (1_699_999_999_999, 1_699_999_999_999)]
    {
        let RecordContent::Row(row) = decode_text(&text, now_ms).content else { panic!() };
        assert_eq!((row.created_ms, row.data_time_ms), (None, expected));
        assert_eq!(row.previous.unwrap().data_time_ms, Some(expected));
    }
}

#[test]
fn the_data_time_of_the_old_image_is_clamped_as_that_of_the_row_is() {
    let old = |created: &str| {
        let old = r#""OldImage":{"tvl":{"N":"4"},"SK_ORIGNAL":{"N":"1700000099"}}"#;
        row(&record(&format!(r#",{old},"ApproximateCreationDateTime":{created}"#)))
            .previous
            .unwrap()
            .data_time_ms
    };
    assert_eq!(old("1700000009"), Some(1_700_000_009_000));
    assert_eq!(old("1700000100"), Some(1_700_000_099_000));
}

#[test]
fn every_record_keeps_its_text() {
    for text in [record(""), record("").replace("hourlyTvl", "daily"), "7".to_owned(), "no JSON".to_owned()] {
        assert_eq!(&*decode_text(&text, NOW_MS).raw, text);
    }
}

#[test]
fn records_that_are_not_handled_are_skipped_with_their_images_unread() {
    let with_pk = |pk: &str| record(r#","OldImage":{"x":{"WAT":1}}"#).replace("hourlyTvl#1", pk);
    assert_eq!(skipped(&with_pk("daily#fees#1")), SkipReason::OtherRow);
    assert_eq!(skipped(&with_pk("dailyTvl#1")), SkipReason::DailyTvl);
    assert_eq!(skipped(&with_pk("coingecko#a")), SkipReason::PriceHistory);
    assert_eq!(skipped(&record("").replace("INSERT", "REMOVE")), SkipReason::Removed);
    let ttl = record("").replace(
        r#""INSERT","#,
        r#""REMOVE","userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"#,
    );
    assert_eq!(skipped(&ttl), SkipReason::RemovedByTtl);
    assert_eq!(skipped(&record("").replace(r#""tvl""#, r#""tvl-x""#)), SkipReason::NoValue);
}

#[test]
fn an_unreadable_record_states_what_is_wrong() {
    for (text, expected) in [
        ("7".to_owned(), "not a stream record"),
        ("{}".to_owned(), "no \"dynamodb\""),
        (record("").replace("SequenceNumber", "Sequence"), "no SequenceNumber"),
        (record("").replace("111111100000000000000", "x1"), "SequenceNumber \"x1\" is not 1 to 40"),
        (record("").replace("INSERT", "UPSERT"), "eventName is \"UPSERT\""),
        (record("").replace("\"Keys\"", "\"Kees\""), "no Keys"),
        (record("").replace(r#""PK":{"S""#, r#""PK":{"B""#), "Keys: missing field `S`"),
        (record("").replace(r#""N":"1700000000""#, r#""N":"soon""#), "SK \"soon\" is not a number"),
        (record("").replace("NewImage", "NoImage"), "no NewImage"),
        (record("").replace(r#"{"N":"5"}"#, r#"{"X":"5"}"#), "NewImage: "),
        (record("").replace("1700000000", "0"), "no time"),
    ] {
        let reason = reason(&text);
        assert!(reason.contains(expected), "{reason} should contain: {expected}");
    }
}

#[test]
fn an_unreadable_old_image_counts_as_missing() {
    let old = |image: &str| row(&record(&format!(r#","OldImage":{image}"#))).previous;
    assert!(old(r#"{"tvl":{"N":"4"}}"#).is_some());
    for image in
        [r#"{"tvl":{"X":"5"}}"#, r#"{"tvl":{"N":"1E999"}}"#, r#"{"redirect":{"S":"a"}}"#, "{}", "null"]
    {
        assert_eq!(old(image), None, "{image}");
    }
}

#[test]
fn a_record_from_postgres_states_its_source() {
    assert_eq!(row(&record("").replace("aws:dynamodb", "postgres")).source, ChangeSource::Postgres);
}

#[test]
fn a_broken_record_keeps_its_identifier_if_readable() {
    let broken = decode_text(r#"{"eventID":7,"dynamodb":{"SequenceNumber":"42"}}"#, NOW_MS);
    assert_eq!(broken.identifier.as_deref(), Some("42"));
    assert_eq!(decode_text("[]", NOW_MS).identifier, None);
}

#[test]
fn skip_reasons_have_the_same_name_in_json() {
    for reason in SkipReason::ALL {
        assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
    }
}

#[test]
fn the_id_of_an_unreadable_record_is_its_event_id_or_its_position_in_the_stream() {
    let unreadable = record("").replace("INSERT", "UPSERT");
    let id = |with: &str| match decode_text(&unreadable.replace(r#""eventID":"e1","#, with), NOW_MS).content {
        RecordContent::Undecodable(broken) => broken.record_id,
        other => panic!("{other:?}"),
    };
    assert_eq!(id(r#""eventID":"e2","#), "e2");
    for without in [r#""eventID":"","#, r#""eventID":null,"#, ""] {
        assert_eq!(id(without), "arn:s#111111100000000000000", "{without}");
    }
}

#[test]
fn the_largest_time_in_seconds_is_read_as_seconds() {
    let created = |text: &str| row(&record(&format!(r#","ApproximateCreationDateTime":{text}"#))).created_ms;
    assert_eq!(created("100000000000"), Some(100_000_000_000_000));
    assert_eq!(created("100000000001"), Some(100_000_000_001));
}

#[test]
fn each_record_of_a_batch_is_decoded_on_its_own_and_in_order() {
    let raw = |text: String| serde_json::value::RawValue::from_string(text).unwrap();
    let batch = [raw(record("")), raw("7".to_owned()), raw(record(""))];
    let records = decode_batch(batch.iter().map(AsRef::as_ref), NOW_MS);
    let is_row = |record: &crate::source::Record| matches!(record.content, RecordContent::Row(_));
    assert_eq!(records.iter().map(is_row).collect::<Vec<_>>(), [true, false, true]);
}
