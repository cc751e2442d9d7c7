//! What Lambda's event source mapping makes of a function's answer to a batch, as validated against AWS.
//!
//! The rules are here once, for everything that plays Lambda: the simulation, the chaos runs, the rehearsal and the
//! replay. [`progress`] is the only function with a decision in it; [`Response::from_json`] reads an answer's bytes.

use serde_json::Value;

/// What a function answers to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The identifiers in `batchItemFailures`. `None` stands for a list, or for an identifier, that is null or missing.
    Failures(Option<Vec<Option<String>>>),
    /// No answer of use: an error, a timeout, a death, or bytes that are no JSON.
    Error,
}

/// Where Lambda goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The whole batch is done.
    AllDone,
    /// The records before this position are done. Those from it on come again.
    RetryFrom(usize),
    /// No record is done. The batch comes again, or its halves do.
    RetryAll,
}

impl Response {
    /// Reads the JSON that a function answers.
    pub fn from_json(bytes: &[u8]) -> Self {
        let Ok(answer) = serde_json::from_slice::<Value>(bytes) else { return Self::Error };
        let identifier = |failure: &Value| failure["itemIdentifier"].as_str().map(str::to_owned);
        let failures = answer["batchItemFailures"].as_array();
        Self::Failures(failures.map(|failures| failures.iter().map(identifier).collect()))
    }
}

/// Where Lambda goes on after a response to a batch whose records have these identifiers, in order.
///
/// An empty list, an empty object and null mean success. An identifier that is null, empty or not of the batch means that
/// the whole batch failed. Of several identifiers the lowest position counts.
pub fn progress(response: &Response, identifiers: &[Option<&str>]) -> Progress {
    let Response::Failures(failures) = response else { return Progress::RetryAll };
    let mut lowest: Option<usize> = None;
    for failure in failures.iter().flatten() {
        let named = failure.as_deref().filter(|failure| !failure.is_empty());
        let position = named.and_then(|named| identifiers.iter().position(|id| *id == Some(named)));
        let Some(position) = position else { return Progress::RetryAll };
        lowest = Some(lowest.map_or(position, |lowest| lowest.min(position)));
    }
    lowest.map_or(Progress::AllDone, Progress::RetryFrom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_answers_mean_what_they_mean_to_aws() {
        let batch = [Some("10"), Some("11"), None, Some(""), Some("12")];
        for (answer, expected) in [
            (r#"{"batchItemFailures":[]}"#, Progress::AllDone),
            (r#"{"batchItemFailures":null}"#, Progress::AllDone),
            ("{}", Progress::AllDone),
            ("null", Progress::AllDone),
            (r#"{"batchItemFailures":[{"itemIdentifier":"10"}]}"#, Progress::RetryFrom(0)),
            (r#"{"batchItemFailures":[{"itemIdentifier":"11"}]}"#, Progress::RetryFrom(1)),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"12"},{"itemIdentifier":"11"}]}"#,
                Progress::RetryFrom(1),
            ),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Progress::RetryAll),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Progress::RetryAll),
            (r#"{"batchItemFailures":[{"itemIdentifier":11}]}"#, Progress::RetryAll),
            (r#"{"batchItemFailures":[{}]}"#, Progress::RetryAll),
            (r#"{"batchItemFailures":[{"itemIdentifier":"99"}]}"#, Progress::RetryAll),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"10"},{"itemIdentifier":"99"}]}"#,
                Progress::RetryAll,
            ),
            ("", Progress::RetryAll),
            ("no JSON", Progress::RetryAll),
        ] {
            assert_eq!(progress(&Response::from_json(answer.as_bytes()), &batch), expected, "{answer}");
        }
        assert_eq!(progress(&Response::Error, &batch), Progress::RetryAll);
    }
}
