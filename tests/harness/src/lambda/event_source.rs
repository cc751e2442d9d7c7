//! An event source mapping: reads a table's stream and invokes a function, as Lambda does for a stream of one shard.
//!
//! Emulators poll streams too, but they lack filters, partial batch responses, bisecting and the limits after which
//! Lambda discards records. Settings that are not modelled here cause a panic: more than one batch of a shard at once,
//! tumbling windows, other starting positions.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stream_mapping::{NextDelivery, Response, next_delivery};
use tokio::task::JoinHandle;

use crate::lambda::event_filter::passes;
use crate::lambda::runtime_api::{Invocation, Outcome, RuntimeApi};
use crate::probes::wait::eventually;
use crate::servers::aws_client::Connection;

/// The interval between polls of an idle stream. Lambda polls four times a second, but that would blur the measured
/// times.
const POLL: Duration = Duration::from_millis(10);
/// The pause between two attempts: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The settings of a mapping.
#[derive(Clone, Debug)]
pub struct MappingSettings {
    /// Most records in a batch.
    pub batch_size: usize,
    /// How long a batch that is not full waits for more records.
    pub window: Duration,
    /// Most retries of a batch; `None` for no limit.
    pub retries: Option<u64>,
    /// The age at which a record is discarded; `None` for no limit.
    pub age: Option<Duration>,
    /// Whether a batch that failed as a whole is halved.
    pub bisect: bool,
    /// `ReportBatchItemFailures`.
    pub partial: bool,
    /// The patterns of the filters.
    pub patterns: Vec<Value>,
}

impl MappingSettings {
    /// Reads the planned values of an `aws_lambda_event_source_mapping`.
    pub fn from_plan(values: &Value) -> Self {
        let whole = |name: &str| values[name].as_i64();
        assert_eq!(
            values["starting_position"], "TRIM_HORIZON",
            "the harness models no other starting position"
        );
        assert_eq!(
            whole("parallelization_factor").unwrap_or(1),
            1,
            "with a factor above 1, rows of one protocol overtake each other"
        );
        assert_eq!(
            whole("tumbling_window_in_seconds").unwrap_or(0),
            0,
            "the harness does not model tumbling windows"
        );
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

/// One invocation with a batch.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The sequence numbers of its records.
    pub records: Vec<String>,
    /// When the function was invoked.
    pub at: Instant,
    /// How much of the batch is done.
    pub progress: NextDelivery,
}

/// What a mapping has done so far.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Every record of the stream, in the form that a function receives, and when it was read.
    pub read: Vec<(Instant, Value)>,
    /// How many of them matched no filter.
    pub filtered: usize,
    /// How many of them the function has done.
    pub done: usize,
    /// The discarded records. Lambda sends these to the on-failure destination.
    pub discarded: Vec<Value>,
    /// Every invocation.
    pub attempts: Vec<Attempt>,
}

impl Log {
    /// How many records are finished: filtered, done or discarded.
    pub fn finished(&self) -> usize {
        self.filtered + self.done + self.discarded.len()
    }
}

/// A running mapping. Stops on drop.
#[derive(Debug)]
pub struct EventSource {
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

impl EventSource {
    /// Starts reading a stream from its oldest record and invoking the function behind `api`.
    pub fn start(
        aws: Connection,
        stream: &str,
        settings: MappingSettings,
        api: Arc<RuntimeApi>,
        timeout: Duration,
    ) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let poller = Poller { stream: stream.to_owned(), settings, api, timeout, log: Arc::clone(&log) };
        Self { log, task: tokio::spawn(poller.run(aws)) }
    }

    /// A copy of the log so far.
    pub fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }

    /// Stops reading. The function finishes its running invocation.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Waits until `n` records of the stream are finished.
    pub async fn finished(&self, n: usize, timeout: Duration) -> Log {
        eventually(timeout, || async {
            assert!(!self.task.is_finished(), "the task of the event source mapping has panicked");
            let log = self.log();
            let text = format!("{} of {n} records finished: {:#?}", log.finished(), log.attempts.last());
            if log.finished() >= n { Ok(log) } else { Err(text) }
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
    settings: MappingSettings,
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
            let idle = records.is_empty();
            if pending.is_empty() {
                first = Instant::now();
            }
            pending.extend(self.filter(records));
            // A full batch goes out at once, a smaller one when the stream is idle and the window is over.
            while pending.len() >= self.settings.batch_size
                || (idle && !pending.is_empty() && first.elapsed() >= self.settings.window)
            {
                let rest = pending.split_off(pending.len().min(self.settings.batch_size));
                self.deliver(std::mem::replace(&mut pending, rest)).await;
                first = Instant::now();
            }
            if idle {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// An iterator at the oldest record of the only shard.
    async fn iterator(&self, aws: &mut Connection) -> String {
        let description =
            aws.call("dynamodbstreams", "describe_stream", json!({ "StreamArn": self.stream })).await;
        let description = &description["StreamDescription"];
        assert_eq!(description["StreamViewType"], "NEW_AND_OLD_IMAGES");
        let shards = description["Shards"].as_array().expect("a list of shards");
        assert_eq!(shards.len(), 1, "the harness models streams of one shard only");
        let place = json!({
            "StreamArn": self.stream,
            "ShardId": shards[0]["ShardId"],
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let iterator = aws.call("dynamodbstreams", "get_shard_iterator", place).await;
        iterator["ShardIterator"].as_str().expect("an iterator").to_owned()
    }

    /// Logs records and returns those that match a filter.
    fn filter(&self, records: Vec<Value>) -> Vec<Value> {
        let mut log = self.log.lock().unwrap();
        let now = Instant::now();
        let mut passed = Vec::new();
        for mut record in records {
            record["eventSourceARN"] = json!(self.stream);
            log.read.push((now, record.clone()));
            if passes(&self.settings.patterns, &record) {
                passed.push(record);
            } else {
                log.filtered += 1;
            }
        }
        passed
    }

    /// Invokes the function with a batch until all of it is done or discarded.
    async fn deliver(&self, batch: Vec<Value>) {
        // A stack of batches, the next one last, each with the number of its retries so far.
        let mut work = vec![(batch, 0)];
        let mut pause = PAUSE.0;
        while let Some((records, retries)) = work.pop() {
            let (old, mut records): (Vec<_>, Vec<_>) =
                records.into_iter().partition(|record| self.is_old(record));
            self.log.lock().unwrap().discarded.extend(old);
            if self.settings.retries.is_some_and(|most| retries > most) {
                self.log.lock().unwrap().discarded.append(&mut records);
            }
            if records.is_empty() {
                continue;
            }
            let at = Instant::now();
            let event = json!({ "Records": records }).to_string();
            let invocation = self.api.invoke_with_deadline(event, self.timeout).await;
            let numbers: Vec<String> = records.iter().map(|record| sequence(record).to_owned()).collect();
            let progress = progress_of(&invocation, &numbers, self.settings.partial);
            let done = match progress {
                NextDelivery::AllDone => records.len(),
                NextDelivery::RetryFrom(position) => position,
                NextDelivery::RetryAll => 0,
            };
            {
                let mut log = self.log.lock().unwrap();
                log.done += done;
                log.attempts.push(Attempt { records: numbers, at, progress });
            }
            let mut rest = records.split_off(done);
            match progress {
                NextDelivery::AllDone => {
                    pause = PAUSE.0;
                    continue;
                }
                // Halving does not count as a retry.
                NextDelivery::RetryAll if self.settings.bisect && rest.len() > 1 => {
                    let second = rest.split_off(rest.len() / 2);
                    work.extend([(second, retries), (rest, retries)]);
                }
                NextDelivery::RetryFrom(_) | NextDelivery::RetryAll => work.push((rest, retries + 1)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn is_old(&self, record: &Value) -> bool {
        let made = record["dynamodb"]["ApproximateCreationDateTime"].as_f64().unwrap_or(f64::MAX);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.settings.age.is_some_and(|most| now - made > most.as_secs_f64())
    }
}

/// Reads the next page: its records, and the iterator after it.
async fn page(aws: &mut Connection, iterator: &str) -> (Vec<Value>, String) {
    let mut page = aws.call("dynamodbstreams", "get_records", json!({ "ShardIterator": iterator })).await;
    let next = page["NextShardIterator"].as_str().expect("an open shard").to_owned();
    let Value::Array(records) = page["Records"].take() else { panic!("no list of records") };
    (records, next)
}

fn sequence(record: &Value) -> &str {
    record["dynamodb"]["SequenceNumber"].as_str().expect("a sequence number")
}

/// How much of a batch with these sequence numbers is done. Without `ReportBatchItemFailures` any response means all of
/// it.
pub(crate) fn progress_of(invocation: &Invocation, numbers: &[String], partial: bool) -> NextDelivery {
    let Outcome::Ok(bytes) = &invocation.outcome else { return NextDelivery::RetryAll };
    if !partial {
        return NextDelivery::AllDone;
    }
    let identifiers: Vec<Option<&str>> = numbers.iter().map(|number| Some(number.as_str())).collect();
    next_delivery(&Response::from_json(bytes), &identifiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mapping_with_partial_batch_responses_reads_them() {
        let numbers = ["7", "8", "9"].map(String::from);
        let read = |outcome, partial| {
            let invocation = Invocation { request_id: String::new(), outcome, duration: Duration::ZERO };
            progress_of(&invocation, &numbers, partial)
        };
        let response = || Outcome::Ok(br#"{"batchItemFailures":[{"itemIdentifier":"8"}]}"#.to_vec());
        assert_eq!(read(response(), true), NextDelivery::RetryFrom(1));
        assert_eq!(read(response(), false), NextDelivery::AllDone);
        assert_eq!(read(Outcome::TimedOut, true), NextDelivery::RetryAll);
        assert_eq!(read(Outcome::TimedOut, false), NextDelivery::RetryAll);
    }
}
