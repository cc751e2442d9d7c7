//! One invocation.

use std::time::{Duration, Instant, SystemTime};

use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use events_core::report::Verdict;
use events_processor::ports::{Queue, Store, Timer};
use events_processor::{Batch, Processor};
use lambda_runtime::{Error, LambdaEvent};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::telemetry::Telemetry;

/// A batch of stream records, each still raw.
#[derive(Debug, Deserialize)]
pub struct StreamBatch {
    /// The records, in the order of their shard.
    #[serde(rename = "Records")]
    pub records: Vec<Box<RawValue>>,
}

/// Processes a batch and answers Lambda.
pub async fn handle<S: Store, Q: Queue, D: Queue, T: Timer>(
    processor: &Processor<S, Q, D, T>,
    telemetry: &Telemetry,
    margin: Duration,
    event: LambdaEvent<StreamBatch>,
) -> Result<DynamoDbEventResponse, Error> {
    let entered = Instant::now();
    let LambdaEvent { payload, context } = event;
    let time_left = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    let records: Vec<&RawValue> = payload.records.iter().map(AsRef::as_ref).collect();
    let batch = processor.process(&records, time_left, margin).await;
    telemetry.invocation(&context.request_id, entered.elapsed(), &batch);
    respond(&batch)
}

/// The answer for a batch: the lowest failed record, or none.
pub fn respond(batch: &Batch) -> Result<DynamoDbEventResponse, Error> {
    let mut response = DynamoDbEventResponse::default();
    match &batch.verdict {
        Verdict::Done => {}
        Verdict::From(identifier) => {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = Some(identifier.clone());
            response.batch_item_failures.push(failure);
        }
        // To Lambda an error means what a null identifier would, and says why.
        Verdict::Everything => {
            return Err("no failed record of the batch has a legible sequence number".into());
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(verdict: Verdict) -> Result<String, String> {
        let batch = Batch {
            verdict,
            records: Vec::new(),
            failures: std::collections::BTreeMap::new(),
            tally: events_processor::tally::Tally::default(),
        };
        respond(&batch)
            .map(|answer| serde_json::to_string(&answer).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_answers_bytes_are_what_lambda_reads() {
        assert_eq!(answer(Verdict::Done).unwrap(), r#"{"batchItemFailures":[]}"#);
        let first = Verdict::From("111111100000000000137".into());
        assert_eq!(
            answer(first).unwrap(),
            r#"{"batchItemFailures":[{"itemIdentifier":"111111100000000000137"}]}"#
        );
        assert!(answer(Verdict::Everything).unwrap_err().contains("legible"));
    }

    #[test]
    fn what_is_no_batch_says_so() {
        let error = serde_json::from_str::<StreamBatch>("{}").unwrap_err().to_string();
        assert!(error.contains("missing field `Records`"), "{error}");
    }
}
