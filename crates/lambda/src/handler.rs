//! One invocation.

use std::time::Duration;

use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use events_core::plan::BatchResponse;
use events_core::source::dynamodb::decode_batch;
use events_processor::ports::{Queue, Store, Timer};
use events_processor::{BatchOutcome, DrainOutcome, Processor};
use events_telemetry::Telemetry;
use lambda_runtime::{Error, LambdaEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::in_flight::InFlight;

/// The payload of an invocation.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Payload")]
pub enum Invocation {
    /// A batch of stream records as raw JSON, in the order of their shard.
    Records(Vec<Box<RawValue>>),
    /// A request to drain the outbox: `{"action":"drain-outbox"}`, or any scheduled event of EventBridge.
    DrainOutbox,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "Records")]
    records: Option<Vec<Box<RawValue>>>,
    action: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
}

impl TryFrom<Payload> for Invocation {
    type Error = String;

    fn try_from(payload: Payload) -> Result<Self, String> {
        match payload {
            Payload { records: Some(records), .. } => Ok(Self::Records(records)),
            Payload { action: Some(action), .. } if action == "drain-outbox" => Ok(Self::DrainOutbox),
            Payload { action: None, detail_type: Some(kind), .. } if kind == "Scheduled Event" => {
                Ok(Self::DrainOutbox)
            }
            Payload { action, detail_type, .. } => Err(format!(
                "the payload has no `Records`, action {action:?} and detail-type {detail_type:?}; it accepts stream \
                 records (`Records`), {{\"action\":\"drain-outbox\"}} or a scheduled event of EventBridge"
            )),
        }
    }
}

/// The response of the function.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To a batch: the lowest failed record, or an empty list.
    Batch(DynamoDbEventResponse),
    /// To a request to drain the outbox.
    #[serde(rename_all = "camelCase")]
    Drain {
        /// Events sent.
        sent: u64,
        /// Events still waiting, where known.
        waiting: Option<u64>,
        /// True while another sandbox drains the outbox.
        busy: bool,
    },
}

/// Processes a batch or drains the outbox. Writes logs and metrics, then responds.
pub async fn handle<S: Store, Q: Queue, D: Queue, T: Timer>(
    processor: &Processor<S, Q, D, T>,
    telemetry: &Telemetry,
    in_flight: &InFlight,
    margin: Duration,
    event: LambdaEvent<Invocation>,
) -> Result<Response, Error> {
    let timer = processor.timer();
    let entered = timer.monotonic();
    let took = || timer.monotonic().saturating_sub(entered);
    let LambdaEvent { payload, context } = event;
    let deadline = processor.deadline(time_left(context.deadline, timer.now_ms()), margin);
    match payload {
        Invocation::Records(records) => {
            let records = decode_batch(records.iter().map(AsRef::as_ref), timer.now_ms());
            let work = async {
                let batch = processor.process(records, deadline).await;
                telemetry.invocation(&context.request_id, took(), &batch);
                batch_response(&batch).map(Response::Batch)
            };
            in_flight.track(&context.request_id, work).await
        }
        Invocation::DrainOutbox => {
            let work = async {
                let drain = processor.drain_outbox(deadline).await;
                telemetry.drain(&context.request_id, took(), &drain);
                drain_response(drain)
            };
            in_flight.track(&context.request_id, work).await
        }
    }
}

/// The time left until the deadline. Both arguments are in ms since 1970.
fn time_left(deadline_ms: u64, now_ms: i64) -> Duration {
    Duration::from_millis(deadline_ms.saturating_sub(u64::try_from(now_ms).unwrap_or_default()))
}

/// The response to a drain. While SQS is down this is a success: the next drain continues. While Redis is down it is an
/// error: the number of waiting events is unknown.
fn drain_response(drain: DrainOutcome) -> Result<Response, Error> {
    match drain {
        DrainOutcome { waiting: None, problem: Some(problem), .. } => Err(problem.into()),
        DrainOutcome { sent, waiting, busy, .. } => Ok(Response::Drain { sent, waiting, busy }),
    }
}

/// The partial batch response: the lowest failed record, or an empty list.
fn batch_response(batch: &BatchOutcome) -> Result<DynamoDbEventResponse, Error> {
    let mut response = DynamoDbEventResponse::default();
    match &batch.response {
        BatchResponse::AllDone => {}
        BatchResponse::RetryFrom(identifier) => {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = Some(identifier.clone());
            response.batch_item_failures.push(failure);
        }
        // Lambda retries the whole batch, as after a null identifier. An error also states the reason.
        BatchResponse::RetryAll => {
            return Err(
                "no failed record has a readable sequence number; Lambda retries the whole batch".into()
            );
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response_json(response: BatchResponse) -> Result<String, String> {
        let batch = BatchOutcome {
            response,
            records: Vec::new(),
            rejected: Vec::new(),
            failures: std::collections::BTreeMap::new(),
            drain: None,
            tally: events_processor::Tally::default(),
        };
        batch_response(&batch)
            .map(|response| serde_json::to_string(&response).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_response_has_the_bytes_that_lambda_reads() {
        assert_eq!(response_json(BatchResponse::AllDone).unwrap(), r#"{"batchItemFailures":[]}"#);
        let first = BatchResponse::RetryFrom("111111100000000000137".into());
        assert_eq!(
            response_json(first).unwrap(),
            r#"{"batchItemFailures":[{"itemIdentifier":"111111100000000000137"}]}"#
        );
        assert!(response_json(BatchResponse::RetryAll).unwrap_err().contains("readable sequence number"));
    }

    #[test]
    fn no_time_is_left_after_the_deadline() {
        assert_eq!(time_left(1_800_000_001_000, 1_800_000_000_000), Duration::from_secs(1));
        assert_eq!(time_left(1_800_000_000_000, 1_800_000_000_001), Duration::ZERO);
    }

    #[test]
    fn another_payload_is_refused_with_what_is_accepted() {
        for payload in ["{}", r#"{"action":"drain"}"#, r#"{"detail-type":"EC2 Instance State-change"}"#] {
            let error = serde_json::from_str::<Invocation>(payload).unwrap_err().to_string();
            assert!(error.contains("it accepts stream records (`Records`)"), "{error}");
        }
    }

    #[test]
    fn the_outbox_is_drained_on_request_and_on_schedule() {
        let scheduled = r#"{"version":"0","id":"5","detail-type":"Scheduled Event","source":"aws.events",
            "time":"2026-01-01T00:00:00Z","region":"eu-central-1","resources":["arn:aws:events:rule/x"],"detail":{}}"#;
        for payload in [r#"{"action":"drain-outbox"}"#, scheduled] {
            let invocation = serde_json::from_str(payload).unwrap();
            assert!(matches!(invocation, Invocation::DrainOutbox), "{invocation:?}");
        }
        let batch = serde_json::from_str(r#"{"Records":[{"a":1.10}]}"#).unwrap();
        let Invocation::Records(records) = batch else { panic!("{batch:?}") };
        assert_eq!(records[0].get(), r#"{"a":1.10}"#, "byte for byte");
    }

    #[test]
    fn a_drain_fails_only_if_the_number_of_waiting_events_is_unknown() {
        let response_json =
            |drain| drain_response(drain).map(|response| serde_json::to_string(&response).unwrap());
        let down = DrainOutcome { waiting: Some(3), problem: Some("sqs".into()), ..DrainOutcome::default() };
        assert_eq!(response_json(down).unwrap(), r#"{"sent":0,"waiting":3,"busy":false}"#);
        let lost = DrainOutcome { problem: Some("redis is down".into()), ..DrainOutcome::default() };
        assert_eq!(response_json(lost).unwrap_err().to_string(), "redis is down");
    }
}
