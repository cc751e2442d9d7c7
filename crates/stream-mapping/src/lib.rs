//! Where Lambda's event source mapping goes on after a function's response to a batch. Validated against AWS.
//!
//! The one design decision: everything that stands in for Lambda (the simulation, the chaos runs, the rehearsal and the
//! replay) uses these rules, and knows no others.
//!
//! There are no modules. [`next_delivery`] is the only function that decides. [`Response::from_json`] reads the bytes of a
//! response.

use serde_json::Value;

/// A function's response to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The identifiers in `batchItemFailures`. The list, or an identifier, is `None` if it is null or missing.
    Failures(Option<Vec<Option<String>>>),
    /// No usable response: an error, a timeout, a crash, or bytes that are not JSON.
    Error,
}

/// Where Lambda goes on after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextDelivery {
    /// The whole batch is done.
    AllDone,
    /// The records before this position are done. Lambda delivers the others again.
    RetryFrom(usize),
    /// No record is done. Lambda delivers the batch again, whole or in halves.
    RetryAll,
}

impl Response {
    /// Reads the bytes of a response.
    pub fn from_json(bytes: &[u8]) -> Self {
        let Ok(response) = serde_json::from_slice::<Value>(bytes) else { return Self::Error };
        let identifier = |failure: &Value| failure["itemIdentifier"].as_str().map(str::to_owned);
        let failures = response["batchItemFailures"].as_array();
        Self::Failures(failures.map(|failures| failures.iter().map(identifier).collect()))
    }
}

/// Where Lambda goes on after a response. `identifiers` are those of the batch's records, in order.
///
/// An empty list, an empty object and null mean success. If an identifier is null, empty or not in the batch, the whole
/// batch failed. Of several identifiers, the one with the lowest position counts.
pub fn next_delivery(response: &Response, identifiers: &[Option<&str>]) -> NextDelivery {
    let Response::Failures(failures) = response else { return NextDelivery::RetryAll };
    let mut lowest: Option<usize> = None;
    for failure in failures.iter().flatten() {
        let identifier = failure.as_deref().filter(|failure| !failure.is_empty());
        let position = identifier.and_then(|failed| identifiers.iter().position(|id| *id == Some(failed)));
        let Some(position) = position else { return NextDelivery::RetryAll };
        lowest = Some(lowest.map_or(position, |lowest| lowest.min(position)));
    }
    lowest.map_or(NextDelivery::AllDone, NextDelivery::RetryFrom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_responses_are_read_as_aws_reads_them() {
        let batch = [Some("10"), Some("11"), None, Some(""), Some("12")];
        for (response, expected) in [
            (r#"{"batchItemFailures":[]}"#, NextDelivery::AllDone),
            (r#"{"batchItemFailures":null}"#, NextDelivery::AllDone),
            ("{}", NextDelivery::AllDone),
            ("null", NextDelivery::AllDone),
            (r#"{"batchItemFailures":[{"itemIdentifier":"10"}]}"#, NextDelivery::RetryFrom(0)),
            (r#"{"batchItemFailures":[{"itemIdentifier":"11"}]}"#, NextDelivery::RetryFrom(1)),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"12"},{"itemIdentifier":"11"}]}"#,
                NextDelivery::RetryFrom(1),
            ),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, NextDelivery::RetryAll),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, NextDelivery::RetryAll),
            (r#"{"batchItemFailures":[{"itemIdentifier":11}]}"#, NextDelivery::RetryAll),
            (r#"{"batchItemFailures":[{}]}"#, NextDelivery::RetryAll),
            (r#"{"batchItemFailures":[{"itemIdentifier":"99"}]}"#, NextDelivery::RetryAll),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"10"},{"itemIdentifier":"99"}]}"#,
                NextDelivery::RetryAll,
            ),
            ("", NextDelivery::RetryAll),
            ("no JSON", NextDelivery::RetryAll),
        ] {
            assert_eq!(
                next_delivery(&Response::from_json(response.as_bytes()), &batch),
                expected,
                "{response}"
            );
        }
        assert_eq!(next_delivery(&Response::Error, &batch), NextDelivery::RetryAll);
    }
}
