//! An event source mapping: reads a table's stream and invokes a function, as Lambda does for a stream of one shard.
//!
//! Emulators poll streams too, but leave out filters, partial batch responses, bisecting and giving up. What is not
//! modelled here is refused: more than one batch of a shard at once, tumbling windows, other starting positions.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stream_mapping::{Progress, Response, progress};
use tokio::task::JoinHandle;

use crate::lambda::event_filter::passes;
use crate::lambda::runtime_api::{Invocation, Outcome, RuntimeApi};
use crate::probes::wait::eventually;
use crate::servers::aws_client::Connection;

/// Between two looks at an idle stream. Lambda looks four times a second; here that would only blur the figures.
const POLL: Duration = Duration::from_millis(10);
/// Between two attempts, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How a mapping was set up.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Records in a batch, at most.
    pub batch_size: usize,
    /// How long a batch that is not full waits for more.
    pub window: Duration,
    /// Retries of a batch; `None` for no limit.
    pub retries: Option<u64>,
    /// Age at which a record is given up; `None` for no limit.
    pub age: Option<Duration>,
    /// Halves a batch that failed as a whole.
    pub bisect: bool,
    /// `ReportBatchItemFailures`.
    pub partial: bool,
    /// The filters' patterns.
    pub patterns: Vec<Value>,
}

impl Mapping {
    /// Reads the values of an `aws_lambda_event_source_mapping`.
    pub fn from_plan(values: &Value) -> Self {
        let whole = |name: &str| values[name].as_i64();
        assert_eq!(values["starting_position"], "TRIM_HORIZON", "another starting position is not modelled");
        assert_eq!(
            whole("parallelization_factor").unwrap_or(1),
            1,
            "above 1 rows of a protocol overtake each other"
        );
        assert_eq!(whole("tumbling_window_in_seconds").unwrap_or(0), 0, "windows are not modelled");
        let limit = |name: &str| whole(name).and_then(|value| u64::try_from(value).ok());
        let filters = values["filter_criteria"][0]["filter"].as_array().into_iter().flatten();
        let pattern = |filter: &Value| {
            serde_json::from_str(filter["pattern"].as_str().expect("a pattern")).expect("a pattern in JSON")
        };
        let responses = values["function_response_types"].as_array().into_iter().flatten();
        Self {
            batch_size: limit("batch_size").unwrap_or(100) as usize,
            window: Duration::from_secs(limit("maximum_batching_window_in_seconds").unwrap_or(0)),
            retries: limit("maximum_retry_attempts"),
            age: limit("maximum_record_age_in_seconds").map(Duration::from_secs),
            bisect: values["bisect_batch_on_function_error"] == true,
            partial: responses.into_iter().any(|kind| kind == "ReportBatchItemFailures"),
            patterns: filters.into_iter().map(pattern).collect(),
        }
    }
}

/// A batch that was handed to the function once.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The sequence numbers of its records.
    pub records: Vec<String>,
    /// When it was handed over.
    pub at: Instant,
    /// What came of it.
    pub progress: Progress,
}

/// What a mapping has done so far.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Every record of the stream, in the form in which a function gets it, and when it was first seen.
    pub seen: Vec<(Instant, Value)>,
    /// How many of them no filter let pass.
    pub filtered: usize,
    /// How many of them the function has done.
    pub done: usize,
    /// Those given up: what goes to the on-failure destination.
    pub given_up: Vec<Value>,
    /// Every invocation.
    pub attempts: Vec<Attempt>,
}

impl Log {
    /// How many records need nothing more.
    pub fn settled(&self) -> usize {
        self.filtered + self.done + self.given_up.len()
    }
}

/// A running mapping; ends on drop.
#[derive(Debug)]
pub struct EventSource {
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

impl EventSource {
    /// Starts to read a stream from its oldest record, and to invoke the function behind `api`.
    pub fn start(
        aws: Connection,
        stream: &str,
        mapping: Mapping,
        api: Arc<RuntimeApi>,
        timeout: Duration,
    ) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let poller = Poller { stream: stream.to_owned(), mapping, api, timeout, log: Arc::clone(&log) };
        Self { log, task: tokio::spawn(poller.run(aws)) }
    }

    /// What it has done so far.
    pub fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }

    /// Stops reading; the function finishes what it has.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Waits until `n` records of the stream need nothing more.
    pub async fn settled(&self, n: usize, timeout: Duration) -> Log {
        eventually(timeout, || async {
            assert!(!self.task.is_finished(), "the mapping has died");
            let log = self.log();
            let text = format!("{} of {n} records settled: {:#?}", log.settled(), log.attempts.last());
            if log.settled() >= n { Ok(log) } else { Err(text) }
        })
        .await
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Poller {
    stream: String,
    mapping: Mapping,
    api: Arc<RuntimeApi>,
    timeout: Duration,
    log: Arc<Mutex<Log>>,
}

impl Poller {
    async fn run(self, mut aws: Connection) {
        let mut iterator = self.iterator(&mut aws).await;
        let mut pending: Vec<Value> = Vec::new();
        let mut first = Instant::now();
        loop {
            let (records, next) = page(&mut aws, &iterator).await;
            iterator = next;
            let came = !records.is_empty();
            if pending.is_empty() {
                first = Instant::now();
            }
            pending.extend(self.filter(records));
            while pending.len() >= self.mapping.batch_size
                || (!came && !pending.is_empty() && first.elapsed() >= self.mapping.window)
            {
                let rest = pending.split_off(pending.len().min(self.mapping.batch_size));
                self.deliver(std::mem::replace(&mut pending, rest)).await;
                first = Instant::now();
            }
            if !came {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// An iterator at the oldest record of the one shard.
    async fn iterator(&self, aws: &mut Connection) -> String {
        let description =
            aws.call("dynamodbstreams", "describe_stream", json!({ "StreamArn": self.stream })).await;
        let description = &description["StreamDescription"];
        assert_eq!(description["StreamViewType"], "NEW_AND_OLD_IMAGES");
        let shards = description["Shards"].as_array().expect("a list of shards");
        assert_eq!(shards.len(), 1, "more than one shard is not modelled");
        let place = json!({
            "StreamArn": self.stream,
            "ShardId": shards[0]["ShardId"],
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let iterator = aws.call("dynamodbstreams", "get_shard_iterator", place).await;
        iterator["ShardIterator"].as_str().expect("an iterator").to_owned()
    }

    /// Writes records down, and returns those that a filter lets pass.
    fn filter(&self, records: Vec<Value>) -> Vec<Value> {
        let mut log = self.log.lock().unwrap();
        let now = Instant::now();
        let mut passed = Vec::new();
        for mut record in records {
            record["eventSourceARN"] = json!(self.stream);
            log.seen.push((now, record.clone()));
            if passes(&self.mapping.patterns, &record) {
                passed.push(record);
            } else {
                log.filtered += 1;
            }
        }
        passed
    }

    /// Hands a batch over until nothing of it is left.
    async fn deliver(&self, batch: Vec<Value>) {
        // The last is the next; with each batch the retries it has behind it.
        let mut work = vec![(batch, 0)];
        let mut pause = PAUSE.0;
        while let Some((records, retries)) = work.pop() {
            let (old, mut records): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|record| self.is_old(record));
            self.log.lock().unwrap().given_up.extend(old);
            if self.mapping.retries.is_some_and(|most| retries > most) {
                self.log.lock().unwrap().given_up.append(&mut records);
            }
            if records.is_empty() {
                continue;
            }
            let at = Instant::now();
            let event = json!({ "Records": records }).to_string();
            let invocation = self.api.invoke_with_deadline(event, self.timeout).await;
            let numbers: Vec<String> = records.iter().map(|record| sequence(record).to_owned()).collect();
            let progress = progress_of(&invocation, &numbers, self.mapping.partial);
            let done = match progress {
                Progress::AllDone => records.len(),
                Progress::RetryFrom(position) => position,
                Progress::RetryAll => 0,
            };
            {
                let mut log = self.log.lock().unwrap();
                log.done += done;
                log.attempts.push(Attempt { records: numbers, at, progress });
            }
            let mut rest = records.split_off(done);
            match progress {
                Progress::AllDone => {
                    pause = PAUSE.0;
                    continue;
                }
                // Halving is no retry.
                Progress::RetryAll if self.mapping.bisect && rest.len() > 1 => {
                    let second = rest.split_off(rest.len() / 2);
                    work.extend([(second, retries), (rest, retries)]);
                }
                Progress::RetryFrom(_) | Progress::RetryAll => work.push((rest, retries + 1)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn is_old(&self, record: &Value) -> bool {
        let made = record["dynamodb"]["ApproximateCreationDateTime"].as_f64().unwrap_or(f64::MAX);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.mapping.age.is_some_and(|most| now - made > most.as_secs_f64())
    }
}

/// Reads on: the records, and where to go on next.
async fn page(aws: &mut Connection, iterator: &str) -> (Vec<Value>, String) {
    let mut page = aws.call("dynamodbstreams", "get_records", json!({ "ShardIterator": iterator })).await;
    let next = page["NextShardIterator"].as_str().expect("an open shard").to_owned();
    let Value::Array(records) = page["Records"].take() else { panic!("no list of records") };
    (records, next)
}

fn sequence(record: &Value) -> &str {
    record["dynamodb"]["SequenceNumber"].as_str().expect("a sequence number")
}

/// How far a batch of records with these sequence numbers got. Without `ReportBatchItemFailures` any answer means that
/// all of it is done.
pub(crate) fn progress_of(invocation: &Invocation, numbers: &[String], partial: bool) -> Progress {
    let Outcome::Ok(bytes) = &invocation.outcome else { return Progress::RetryAll };
    if !partial {
        return Progress::AllDone;
    }
    let identifiers: Vec<Option<&str>> = numbers.iter().map(|number| Some(number.as_str())).collect();
    progress(&Response::from_json(bytes), &identifiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mapping_with_partial_answers_reads_them() {
        let numbers = ["7", "8", "9"].map(String::from);
        let read = |outcome, partial| {
            let invocation = Invocation { request_id: String::new(), outcome, duration: Duration::ZERO };
            progress_of(&invocation, &numbers, partial)
        };
        let answer = || Outcome::Ok(br#"{"batchItemFailures":[{"itemIdentifier":"8"}]}"#.to_vec());
        assert_eq!(read(answer(), true), Progress::RetryFrom(1));
        assert_eq!(read(answer(), false), Progress::AllDone);
        assert_eq!(read(Outcome::TimedOut, true), Progress::RetryAll);
        assert_eq!(read(Outcome::TimedOut, false), Progress::RetryAll);
    }
}
