//! The command line.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use events_core::event::{EventType, Priority};

use crate::view::{Filter, PRIORITIES, TYPES};

/// The input if no file is named.
pub(crate) const DEFAULT_INPUT: &str = "tests/fixtures/stream.jsonl";

/// Replays DynamoDB stream records through the event processor, on this machine.
///
/// Plays the part of Lambda's event source mapping: delivers the records of one shard in order, in batches. After a
/// partial failure it retries from the reported record. No server is needed: a store and queues in memory stand in for
/// Redis and SQS, unless the environment names real ones.
#[derive(Clone, Debug, Parser)]
#[command(name = "local-stream", version, after_long_help = AFTER_HELP, max_term_width = 110)]
pub struct Args {
    /// The records to replay; `-` is standard input
    #[arg(value_name = "FILE", default_value = DEFAULT_INPUT)]
    pub input: PathBuf,

    /// Records in a batch at most, 1 to 10000 [default: BATCH_SIZE, else 100]
    #[arg(short, long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub batch_size: Option<usize>,

    /// How often a batch is delivered before what still fails of it is given up
    #[arg(short = 'a', long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub max_attempts: usize,

    /// Write every event as a line of JSON, in the order of the input; `-` is standard output (the summary then goes to
    /// standard error)
    #[arg(short, long, value_name = "FILE")]
    pub events: Option<PathBuf>,

    /// Show only events of these protocols: ids, slugs or names
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', help_heading = FILTERS)]
    pub protocol: Vec<String>,

    /// Show only events that concern these chains
    #[arg(long, value_name = "CHAIN,…", value_delimiter = ',', help_heading = FILTERS)]
    pub chain: Vec<String>,

    /// Show only events of these types
    #[arg(long = "type", value_name = "TYPE,…", value_delimiter = ',', help_heading = FILTERS, value_parser = types())]
    pub types: Vec<EventType>,

    /// Show only events with these priorities
    #[arg(long, value_name = "PRIORITY,…", value_delimiter = ',', help_heading = FILTERS, value_parser = priorities())]
    pub priority: Vec<Priority>,

    /// Show the names in this file, by id: CSV (id,name) or JSON
    #[arg(long, value_name = "FILE")]
    pub names: Option<PathBuf>,

    /// Deliver the records with the pauses between their creation times, N times as fast, 0.01 to 1000000
    #[arg(long, value_name = "N", value_parser = speed)]
    pub speed: Option<f64>,

    /// Make signals, as with SIGNALS=on, and show what they raise beside what the plain rule raises
    #[arg(long)]
    pub signals: bool,

    /// Write a page with pictures of the signals, by kind (HTML); includes --signals
    #[arg(long, value_name = "FILE")]
    pub signal_report: Option<PathBuf>,

    /// Print the summary as JSON
    #[arg(short, long)]
    pub json: bool,

    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// The heading of the filters in the help.
const FILTERS: &str = "What is shown and written by --events (all records are processed, whatever is shown)";

impl Args {
    /// Which events are shown.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            protocols: self.protocol.clone(),
            chains: self.chain.clone(),
            types: self.types.clone(),
            priorities: self.priority.clone(),
        }
    }
}

/// A parser of the names of these values.
fn named<T: Clone + Send + Sync + 'static>(
    values: &'static [T],
    name: fn(&T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let find = move |text: String| values.iter().find(|value| name(value) == text).cloned().ok_or("unknown");
    PossibleValuesParser::new(values.iter().map(name)).try_map(find)
}

fn types() -> impl TypedValueParser<Value = EventType> {
    named(&TYPES, |kind| kind.name())
}

fn priorities() -> impl TypedValueParser<Value = Priority> {
    named(&PRIORITIES, |priority| priority.name())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (0.01..=1e6).contains(speed));
    speed.ok_or_else(|| "it accepts a number from 0.01 to 1000000".to_owned())
}

const AFTER_HELP: &str = r#"What FILE may hold, in UTF-8, also mixed, one value a line or over several lines:
  stream records              {"eventName":"INSERT","dynamodb":{…},"eventSourceARN":"…"}
  Lambda events               {"Records":[…]}
  arrays of records           […]
Keys that a stream record does not have are ignored. JSON lines are read as a stream, whatever their number.

Examples:
  local-stream                                  the repository's fixture, or: make local-stream
  local-stream records.jsonl --batch-size 25    or: make local-stream FIXTURE=records.jsonl BATCH_SIZE=25
  local-stream --events events.jsonl            or: make local-stream EVENTS=events.jsonl
  local-stream --json | jq .events              or: make local-stream JSON=1
  local-stream --signal-report signals.html     or: make signal-report STREAM=records.jsonl
  local-stream --chain base --priority high     or: make local-stream ARGS='--chain base --priority high'
  gunzip -c records.jsonl.gz | local-stream -
  local-stream -e - -q 2>/dev/null | jq 'select(.metadata.priority == "high")'

Real services, in place of those in memory, by environment variables:
  REDIS_URL                  redis://, rediss://, redis-cluster:// or rediss-cluster://HOST:PORT
  EVENTS_QUEUE_URL           a FIFO queue for the events
  EVENTS_DLQ_URL             a FIFO queue for what can never be processed; with EVENTS_QUEUE_URL, set it or POISON=drop
  AWS_ENDPOINT_URL_SQS       another SQS than Amazon's
  AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
                             without a key: of AWS_PROFILE, the container or the instance; an emulator needs none

The replay names these services before it writes to them. It writes to another host than localhost, 127.0.0.0/8 or ::1
only with YES=1 in the environment, or: make local-stream YES=1. Without AWS_ENDPOINT_URL_SQS or AWS_ENDPOINT_URL, a queue
is in AWS, whatever the host of its URL.

Settings, as of the Lambda (an empty one is an unset one):
  BATCH_SIZE (100), MAX_RETRIES (3), KEY_FAILURE_MAX_AGE_SECS (900), CHANGE_BASELINE (previous | last_event)
  TVL_MIN_CHANGE_PERCENT (1), TVL_MIN_CHANGE_ABSOLUTE (10000)
  PRICE_MIN_CHANGE_PERCENT (0.1), PRICE_MIN_CHANGE_ABSOLUTE (0.01)
  PROTOCOL_ALWAYS_TRIGGER (true), SQS_MIN_PRIORITY (low | medium | high)
  SIGNALS (off | on), PRIORITY (percent | signal), QUEUE_SIGNALS (false)
  ENABLE_CACHING, ENABLE_PUBSUB, ENABLE_SQS (true), EVENT_LOG_MAX_LENGTH (50000), REDIS_KEY_PREFIX, REDIS_KEY_HASHTAG, and the other REDIS_…,
  SQS_… and …_TTL_SECS ones
  RUST_LOG or LOG_LEVEL      logs on standard error; off when neither is set

Standard output has the summary only; progress, errors and logs go to standard error. The summary is as wide as the
terminal, from 40 to 200 columns; elsewhere as COLUMNS says, else 110. It has colours on a terminal only, and not with
NO_COLOR=1. The file of --names holds lines of id,name (quotes around a name with a comma), JSON {"ID":"NAME"}, or JSON
[{"id":"ID","name":"NAME"}] with any other keys, as https://api.llama.fi/protocols has it.

Exit status:
  0    every record is done
  1    records were given up after --max-attempts, or the services could not be reached
  2    wrong usage or settings, an input, --events or --signal-report file that cannot be used, or other machines without YES=1
  130  interrupted (Ctrl-C)
  143  ended by SIGTERM
Whatever ends a replay that has begun, the summary so far is printed, unless the events cannot be written."#;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["local-stream"]).unwrap();
        assert_eq!((args.input.to_str(), args.max_attempts), (Some(DEFAULT_INPUT), 5));
        assert!(Args::try_parse_from(["local-stream", "--batch-size", "0"]).is_err());
        for speed in ["0", "-1", "nan", "inf", "x"] {
            assert!(Args::try_parse_from(["local-stream", &format!("--speed={speed}")]).is_err(), "{speed}");
        }
        let args =
            Args::try_parse_from(["local-stream", "--type", "tvl_change,price_update", "--priority=high"]);
        let filter = args.unwrap().filter();
        assert_eq!(filter.to_string(), "type tvl_change or price_update, priority high");
        let args = Args::try_parse_from(["local-stream", "-", "-b", "7", "-e", "-", "-jq"]).unwrap();
        assert_eq!((args.input.to_str(), args.batch_size, args.json), (Some("-"), Some(7), true));
    }
}
