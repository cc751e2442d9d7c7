//! Plays a stream through the real planner, as a processor with signals does: decode, compare, commit.

use std::fmt::Write as _;

use events_core::delivery::Snapshot;
use events_core::event::{Event, Priority};
use events_core::plan::{Config, PlanTimes, RecordOutcome, Signals, plan};
use events_core::source::dynamodb::decode_batch;
use serde_json::value::RawValue;

use crate::stream::{Stream, StreamRow};

/// The events of a row of a stream.
#[derive(Clone, Debug)]
pub struct PlayedRow {
    /// The row.
    pub row: usize,
    /// Its events, with their signals.
    pub events: Vec<Event>,
}

/// A configuration with signals, and all else as by default.
pub fn with_signals() -> Config {
    Config { signals: Some(Signals::default()), ..Config::default() }
}

/// The stream record of a row.
pub fn record(stream: &Stream, index: usize) -> Box<RawValue> {
    let StreamRow { time_ms, created_ms, values } = &stream.rows[index];
    let (pk, sequence) = (&stream.pk, 100_000_000_000_000_000_000_000_u128 + index as u128);
    let is_price = values.contains_key("");
    let mut image = String::new();
    for (chain, value) in values.iter().filter(|(chain, _)| !chain.is_empty()) {
        // Text never fails to grow.
        let _ = write!(image, r#","{chain}":{{"N":"{value}"}}"#);
    }
    let name = if is_price { "MODIFY" } else { "INSERT" };
    let (key, own) = match values.get("") {
        Some(price) => (
            0,
            format!(
                r#","price":{{"N":"{price}"}},"symbol":{{"S":"USD"}},"timestamp":{{"N":"{}"}}"#,
                time_ms / 1_000
            ),
        ),
        None => (time_ms / 1_000, format!(r#","tvl":{{"N":"{}"}}"#, values.values().sum::<f64>())),
    };
    let keys = format!(r#""PK":{{"S":"{pk}"}},"SK":{{"N":"{key}"}}"#);
    let json = format!(
        r#"{{"eventName":"{name}","eventSourceARN":"arn:aws:dynamodb:eu-central-1:000000000000:table/t/stream/s","dynamodb":{{"ApproximateCreationDateTime":{},"SequenceNumber":"{sequence}","Keys":{{{keys}}},"NewImage":{{{keys}{own}{image}}}}}}}"#,
        created_ms / 1_000
    );
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Plays the records from `from` up to `to` as one batch, and commits the first `commits` of them. Returns what each
/// committed record made.
pub fn play_batch(
    stream: &Stream,
    (from, to): (usize, usize),
    commits: usize,
    config: &Config,
    snapshot: &mut Snapshot,
) -> Vec<PlayedRow> {
    let raw: Vec<_> = (from..to).map(|index| record(stream, index)).collect();
    let now_ms = stream.rows[to - 1].created_ms + 500;
    let records = decode_batch(raw.iter().map(AsRef::as_ref), now_ms);
    let times = PlanTimes { now_ms, processing_ms: 1.0 };
    let plans = plan(records, snapshot, config, times);
    let mut played = Vec::new();
    for (row, plan) in (from..).zip(plans).take(commits) {
        assert!(
            !matches!(plan.outcome, RecordOutcome::DeadLetter(_) | RecordOutcome::Skipped(_)),
            "row {row} of {} is no row: {:?}",
            stream.pk,
            plan.outcome
        );
        if let Some(commit) = plan.commit {
            snapshot.baselines.insert(commit.baseline_key.clone(), commit.baseline());
        }
        played.push(PlayedRow { row, events: plan.events });
    }
    played
}

/// Plays a whole stream, row by row.
pub fn play(stream: &Stream, config: &Config) -> Vec<PlayedRow> {
    let mut snapshot = Snapshot::default();
    let rows = 0..stream.rows.len();
    rows.flat_map(|row| play_batch(stream, (row, row + 1), 1, config, &mut snapshot)).collect()
}

/// True if the plain rule alerts: priority high by percentage.
pub fn is_plain_alert(event: &Event) -> bool {
    event.metadata.priority == Priority::High
}
