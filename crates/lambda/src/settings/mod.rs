//! Every setting, read once at start from the environment.
//!
//! A wrong one stops the start: the message names it, its value and what it accepts, and all wrong ones are named at
//! once. An empty value is an unset one.

mod read;
mod secret;

pub use read::SettingsError;
pub use secret::RedisSecret;

use std::time::Duration;

use events_adapters::aws::{AwsCredentials, AwsSettings};
use events_adapters::redis::{RedisSettings, check_ca_file, check_url};
use events_core::breaker::BreakerSettings;
use events_core::config::{ChangeBaseline, Config, Threshold, Ttls};
use events_core::event::Priority;
use events_core::keys::KeyStyle;
use events_processor::Outage;
use read::Reader;

/// Requests to a queue under way at once. FIFO queues answer in some 10 ms; more would only find throttling sooner.
const MAX_REQUESTS_IN_FLIGHT: usize = 16;
/// What SQS takes at most in a message, bytes.
const SQS_MOST_BYTES: usize = 1_048_576;
/// Room for a dead letter's own words, bytes.
const SQS_LEAST_BYTES: usize = 16_384;
/// Longest time of any one call, ms: Lambda ends an invocation after 15 minutes.
const LONGEST_MS: u64 = 900_000;
/// Longest time to live, s.
const LONGEST_TTL: u64 = 31_536_000;

/// Everything the processor can be told from outside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to compare, what to make of it, and how often to retry.
    pub processor: events_processor::Settings,
    /// Redis, where `REDIS_URL` is set.
    pub redis: Option<RedisSettings>,
    /// SQS, where a queue is set.
    pub sqs: Option<AwsSettings>,
    /// `EVENTS_QUEUE_URL`.
    pub events_queue_url: Option<String>,
    /// `EVENTS_DLQ_URL`.
    pub events_dlq_url: Option<String>,
    /// `BATCH_SIZE`: records in a batch, of the replay and the event source mapping.
    pub batch_size: usize,
    /// `DEADLINE_MARGIN_MS`: how long before the invocation's deadline no more work is started.
    pub deadline_margin: Duration,
    /// `LOG_LEVEL`.
    pub log_level: tracing::Level,
    /// `METRICS_STAGE`: dimension of every metric.
    pub metrics_stage: Option<String>,
}

impl Settings {
    /// Reads the process's environment for the Lambda, which needs Redis, and the queue unless it is turned off.
    /// `redis_url` is the Redis URL where it came from a secret.
    pub fn for_lambda(redis_url: Option<&str>) -> Result<Self, SettingsError> {
        let environment = |name: &str| match name {
            "REDIS_URL" => redis_url.map(str::to_owned).or_else(|| variable(name)),
            _ => variable(name),
        };
        Self::read(environment, Needs::Everything)
    }

    /// The secret that holds the Redis URL, where `REDIS_URL_SECRET_ARN` names one.
    pub fn redis_secret() -> Result<Option<RedisSecret>, SettingsError> {
        RedisSecret::from(variable)
    }

    /// Reads the process's environment for a replay, where what is not set is played in memory.
    pub fn for_replay() -> Result<Self, SettingsError> {
        Self::read(variable, Needs::Nothing)
    }

    /// Reads settings from any source of texts by name.
    pub fn read(get: impl Fn(&str) -> Option<String>, needs: Needs) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&get);
        let settings = settings(&mut reader, needs);
        reader.finish(settings)
    }
}

/// A variable of the environment. What is no UTF-8 is not passed over: it becomes a text that no setting accepts.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// What must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Redis, and the queue unless it is turned off.
    Everything,
    /// Nothing.
    Nothing,
}

fn settings(reader: &mut Reader<'_>, needs: Needs) -> Settings {
    let mut core = core(reader);
    let max_retries = reader.whole("MAX_RETRIES", 3, 0..=10);
    let redis = redis(reader);
    core.outbox = !redis.as_ref().is_some_and(|redis| is_cluster(&redis.url));
    let events_queue_url = reader.fifo_queue("EVENTS_QUEUE_URL");
    let events_dlq_url = reader.fifo_queue("EVENTS_DLQ_URL");
    if needs == Needs::Everything {
        reader.require("REDIS_URL", "redis://HOST:PORT, rediss://…, redis-cluster://… or rediss-cluster://…");
        if core.queueing {
            reader.require("EVENTS_QUEUE_URL", "the URL of a FIFO queue (or ENABLE_SQS=false)");
        }
    }
    let queues = events_queue_url.is_some() || events_dlq_url.is_some();
    let sqs = queues.then(|| sqs(reader, needs));
    let open_secs = reader.whole("BREAKER_OPEN_SECS", 10, 1..=3_600);
    let usual = BreakerSettings::default();
    let breaker = BreakerSettings { open_ms: i64::try_from(open_secs * 1_000).unwrap_or(i64::MAX), ..usual };
    let outage = reader.one_of("SQS_OUTAGE", &OUTAGES, Outage::default());
    if outage == Outage::Spill && !core.outbox {
        reader.demand("SQS_OUTAGE", "block", "in a cluster the outbox shares no slot with the rows");
    }
    Settings {
        processor: events_processor::Settings {
            core,
            max_retries: u32::try_from(max_retries).unwrap_or(u32::MAX),
            max_requests_in_flight: MAX_REQUESTS_IN_FLIGHT,
            outage,
            breaker,
        },
        redis,
        sqs,
        events_queue_url,
        events_dlq_url,
        batch_size: usize::try_from(reader.whole("BATCH_SIZE", 100, 1..=10_000)).unwrap_or(usize::MAX),
        deadline_margin: reader.millis("DEADLINE_MARGIN_MS", 1_000, 0..=LONGEST_MS),
        log_level: reader.one_of("LOG_LEVEL", &LOG_LEVELS, tracing::Level::INFO),
        metrics_stage: reader.text("METRICS_STAGE"),
    }
}

const LOG_LEVELS: [(&str, tracing::Level); 5] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];

const PRIORITIES: [(&str, Priority); 3] =
    [("low", Priority::Low), ("medium", Priority::Medium), ("high", Priority::High)];

const OUTAGES: [(&str, Outage); 2] = [("block", Outage::Block), ("spill", Outage::Spill)];

const CHANGE_BASELINES: [(&str, ChangeBaseline); 2] =
    [("previous", ChangeBaseline::Previous), ("last_event", ChangeBaseline::LastEvent)];

fn core(reader: &mut Reader<'_>) -> Config {
    let usual = Config::default();
    let ttl = |reader: &mut Reader<'_>, name, usual| reader.whole(name, usual, 1..=LONGEST_TTL);
    Config {
        tvl: Threshold {
            percent: reader.threshold("TVL_MIN_CHANGE_PERCENT", usual.tvl.percent),
            absolute: reader.threshold("TVL_MIN_CHANGE_ABSOLUTE", usual.tvl.absolute),
        },
        price: Threshold {
            percent: reader.threshold("PRICE_MIN_CHANGE_PERCENT", usual.price.percent),
            absolute: reader.threshold("PRICE_MIN_CHANGE_ABSOLUTE", usual.price.absolute),
        },
        protocol_always: reader.flag("PROTOCOL_ALWAYS_TRIGGER", true),
        change_baseline: reader.one_of("CHANGE_BASELINE", &CHANGE_BASELINES, usual.change_baseline),
        ttls: Ttls {
            price: ttl(reader, "PRICE_TTL_SECS", usual.ttls.price),
            tvl: ttl(reader, "TVL_TTL_SECS", usual.ttls.tvl),
            meta: ttl(reader, "PROTOCOL_META_TTL_SECS", usual.ttls.meta),
            event: ttl(reader, "EVENT_TTL_SECS", usual.ttls.event),
            baseline: ttl(reader, "BASELINE_TTL_SECS", usual.ttls.baseline),
        },
        keys: KeyStyle {
            prefix: reader.text("REDIS_KEY_PREFIX").unwrap_or_default(),
            hashtag: reader.flag("REDIS_KEY_HASHTAG", false),
        },
        caching: reader.flag("ENABLE_CACHING", true),
        pubsub: reader.flag("ENABLE_PUBSUB", true),
        queueing: reader.flag("ENABLE_SQS", true),
        outbox: usual.outbox,
        min_priority: reader.one_of("SQS_MIN_PRIORITY", &PRIORITIES, usual.min_priority),
        max_message_bytes: usize::try_from(reader.whole(
            "SQS_MAX_MESSAGE_BYTES",
            SQS_MOST_BYTES as u64,
            SQS_LEAST_BYTES as u64..=SQS_MOST_BYTES as u64,
        ))
        .unwrap_or(SQS_MOST_BYTES),
    }
}

fn redis(reader: &mut Reader<'_>) -> Option<RedisSettings> {
    let usual = RedisSettings::new("");
    let settings = RedisSettings {
        url: String::new(),
        ca_file: reader.file("REDIS_CA_FILE", "a PEM file with at least one certificate", check_ca_file),
        connect_timeout: reader.millis("REDIS_CONNECT_TIMEOUT_MS", ms(usual.connect_timeout), 1..=LONGEST_MS),
        command_timeout: reader.millis("REDIS_COMMAND_TIMEOUT_MS", ms(usual.command_timeout), 8..=LONGEST_MS),
        probe_after: reader.millis("REDIS_PROBE_AFTER_MS", ms(usual.probe_after), 1..=LONGEST_MS),
        probe_timeout: reader.millis("REDIS_PROBE_TIMEOUT_MS", ms(usual.probe_timeout), 1..=LONGEST_MS),
    };
    let url = reader.secret("REDIS_URL", |url| check_url(url).map_err(|error| error.to_string()))?;
    if is_cluster(&url) {
        reader.demand("REDIS_KEY_HASHTAG", "true", "a cluster takes the keys of one row only from one slot");
    }
    Some(RedisSettings { url, ..settings })
}

fn is_cluster(url: &str) -> bool {
    url.starts_with("redis-cluster://") || url.starts_with("rediss-cluster://")
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn sqs(reader: &mut Reader<'_>, needs: Needs) -> AwsSettings {
    let settings = aws(reader, "AWS_ENDPOINT_URL_SQS", needs);
    AwsSettings {
        attempt_timeout: reader.millis(
            "SQS_ATTEMPT_TIMEOUT_MS",
            ms(settings.attempt_timeout),
            1..=LONGEST_MS,
        ),
        connect_timeout: reader.millis(
            "SQS_CONNECT_TIMEOUT_MS",
            ms(settings.connect_timeout),
            1..=LONGEST_MS,
        ),
        ..settings
    }
}

/// How to reach a service of AWS whose endpoint `endpoint` may override.
fn aws(reader: &mut Reader<'_>, endpoint: &str, needs: Needs) -> AwsSettings {
    let endpoint = reader.url(endpoint).or_else(|| reader.url("AWS_ENDPOINT_URL"));
    // An emulator takes any key; a replay against one is not to fail for want of some.
    if needs == Needs::Everything || endpoint.is_none() {
        let key = "an AWS access key (Lambda sets it; for a profile: aws configure export-credentials --format env)";
        reader.require("AWS_ACCESS_KEY_ID", key);
        reader.require("AWS_SECRET_ACCESS_KEY", "its secret");
    }
    let mut key = |name| reader.text(name).unwrap_or_else(|| "local".to_owned());
    let (id, secret) = (key("AWS_ACCESS_KEY_ID"), key("AWS_SECRET_ACCESS_KEY"));
    AwsSettings {
        region: reader.text("AWS_REGION").unwrap_or_else(|| "eu-central-1".to_owned()),
        endpoint,
        credentials: AwsCredentials::Static {
            access_key_id: id,
            secret_access_key: secret,
            session_token: reader.text("AWS_SESSION_TOKEN"),
        },
        attempt_timeout: Duration::from_millis(2_000),
        connect_timeout: Duration::from_millis(1_000),
        renew_after: AwsSettings::RENEW_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("REDIS_URL", "redis://h:1"),
        ("EVENTS_QUEUE_URL", "https://sqs.example/0/events.fifo"),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];

    fn read(extra: &[(&str, &str)], needs: Needs) -> Result<Settings, String> {
        let get = |name: &str| {
            let value = |pairs: &[(&str, &str)]| {
                pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())
            };
            value(extra).or_else(|| value(&GOOD))
        };
        Settings::read(get, needs).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_set_has_the_value_of_the_specification() {
        let settings = read(&[], Needs::Everything).unwrap();
        assert_eq!(settings.processor.core, Config::default());
        assert_eq!((settings.processor.max_retries, settings.batch_size), (3, 100));
        assert_eq!(settings.sqs.unwrap().region, "eu-central-1");
    }

    #[test]
    fn every_setting_is_taken() {
        let extra = [
            ("TVL_MIN_CHANGE_PERCENT", "2.5"),
            ("PRICE_MIN_CHANGE_ABSOLUTE", "0"),
            ("PROTOCOL_ALWAYS_TRIGGER", "false"),
            ("CHANGE_BASELINE", "last_event"),
            ("BASELINE_TTL_SECS", "60"),
            ("REDIS_KEY_PREFIX", "rt:"),
            ("REDIS_KEY_HASHTAG", "TRUE"),
            ("ENABLE_CACHING", "0"),
            ("ENABLE_PUBSUB", "1"),
            ("SQS_MIN_PRIORITY", "high"),
            ("SQS_OUTAGE", "spill"),
            ("SQS_MAX_MESSAGE_BYTES", "262144"),
            ("BATCH_SIZE", "7"),
            ("LOG_LEVEL", "debug"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("REDIS_COMMAND_TIMEOUT_MS", "500"),
        ];
        let settings = read(&extra, Needs::Everything).unwrap();
        assert_eq!(settings.processor.outage, Outage::Spill);
        let core = settings.processor.core;
        assert_eq!((core.tvl.percent.to_f64(), core.price.absolute.to_f64()), (2.5, 0.0));
        assert_eq!(
            (core.protocol_always, core.caching, core.pubsub, core.keys.hashtag),
            (false, false, true, true)
        );
        assert_eq!((core.change_baseline, core.min_priority), (ChangeBaseline::LastEvent, Priority::High));
        assert_eq!(
            (core.ttls.baseline, core.keys.prefix.as_str(), core.max_message_bytes),
            (60, "rt:", 262_144)
        );
        assert_eq!((settings.batch_size, settings.log_level), (7, tracing::Level::DEBUG));
        assert_eq!(settings.sqs.unwrap().endpoint.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(settings.redis.unwrap().command_timeout, Duration::from_millis(500));
    }

    #[test]
    fn a_wrong_one_is_named_with_its_value_and_what_it_accepts() {
        for (name, value, accepts) in [
            ("BATCH_SIZE", "0", "a whole number from 1 to 10000"),
            ("MAX_RETRIES", "many", "a whole number from 0 to 10"),
            ("TVL_MIN_CHANGE_PERCENT", "-1", "a decimal number from 0 up"),
            ("PRICE_MIN_CHANGE_PERCENT", "NaN", "a decimal number from 0 up"),
            ("ENABLE_SQS", "yes!", "true or false"),
            ("CHANGE_BASELINE", "first", "previous or last_event"),
            ("SQS_MIN_PRIORITY", "urgent", "low, medium or high"),
            ("SQS_OUTAGE", "drop", "block or spill"),
            ("EVENTS_QUEUE_URL", "https://sqs.example/0/events", "an http(s) URL that ends in .fifo"),
            ("AWS_ENDPOINT_URL_SQS", "localhost", "an http(s) URL"),
            ("REDIS_KEY_PREFIX", "a\nb", "text without control characters"),
        ] {
            let error = read(&[(name, value)], Needs::Everything).unwrap_err();
            assert!(error.contains(&format!("{name} is {value:?}; it accepts {accepts}")), "{error}");
        }
    }

    #[test]
    fn all_wrong_ones_are_named_at_once_and_no_secret_is() {
        let extra = [("BATCH_SIZE", "x"), ("REDIS_URL", "http://:hunter2@h"), ("LOG_LEVEL", "loud")];
        let error = read(&extra, Needs::Everything).unwrap_err();
        for name in ["BATCH_SIZE", "REDIS_URL", "LOG_LEVEL"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_needed_and_missing_is_named() {
        let missing = [("REDIS_URL", ""), ("EVENTS_QUEUE_URL", "")];
        let error = read(&missing, Needs::Everything).unwrap_err();
        assert!(
            error.contains("REDIS_URL is not set") && error.contains("EVENTS_QUEUE_URL is not set"),
            "{error}"
        );
        let without_queue = [("EVENTS_QUEUE_URL", ""), ("ENABLE_SQS", "false")];
        assert!(read(&without_queue, Needs::Everything).unwrap().sqs.is_none());
        let in_memory = read(&missing, Needs::Nothing).unwrap();
        assert!(in_memory.redis.is_none() && in_memory.sqs.is_none());
        let error = read(&[("AWS_ACCESS_KEY_ID", "")], Needs::Everything).unwrap_err();
        assert!(error.contains("AWS_ACCESS_KEY_ID is not set"), "{error}");
    }

    /// Every setting that can be wrong, with a wrong value: a name misspelt in the code would go unnoticed otherwise.
    #[test]
    fn every_name_is_read() {
        let whole = [
            "MAX_RETRIES",
            "BATCH_SIZE",
            "DEADLINE_MARGIN_MS",
            "BREAKER_OPEN_SECS",
            "SQS_MAX_MESSAGE_BYTES",
            "PRICE_TTL_SECS",
            "TVL_TTL_SECS",
            "PROTOCOL_META_TTL_SECS",
            "EVENT_TTL_SECS",
            "BASELINE_TTL_SECS",
            "REDIS_CONNECT_TIMEOUT_MS",
            "REDIS_COMMAND_TIMEOUT_MS",
            "REDIS_PROBE_AFTER_MS",
            "REDIS_PROBE_TIMEOUT_MS",
            "SQS_CONNECT_TIMEOUT_MS",
            "SQS_ATTEMPT_TIMEOUT_MS",
        ];
        let others = [
            "TVL_MIN_CHANGE_PERCENT",
            "TVL_MIN_CHANGE_ABSOLUTE",
            "PRICE_MIN_CHANGE_PERCENT",
            "PRICE_MIN_CHANGE_ABSOLUTE",
            "PROTOCOL_ALWAYS_TRIGGER",
            "CHANGE_BASELINE",
            "ENABLE_CACHING",
            "ENABLE_PUBSUB",
            "ENABLE_SQS",
            "SQS_MIN_PRIORITY",
            "SQS_OUTAGE",
            "LOG_LEVEL",
            "REDIS_KEY_HASHTAG",
            "EVENTS_QUEUE_URL",
            "EVENTS_DLQ_URL",
            "AWS_ENDPOINT_URL_SQS",
            "AWS_ENDPOINT_URL",
            "REDIS_CA_FILE",
        ];
        let texts = ["REDIS_KEY_PREFIX", "AWS_REGION", "AWS_SESSION_TOKEN", "METRICS_STAGE"];
        let values = [(&whole[..], "1.5"), (&others[..], "/nowhere"), (&texts[..], "a\nb")];
        for (name, wrong) in
            values.iter().flat_map(|(names, wrong)| names.iter().map(move |name| (*name, *wrong)))
        {
            let error = read(&[(name, wrong)], Needs::Everything).unwrap_err();
            assert!(error.contains(&format!("{name} is {wrong:?}; it accepts ")), "{name}: {error}");
        }
    }

    #[test]
    fn a_replay_against_an_emulator_needs_no_key() {
        let emulator = [
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_ENDPOINT_URL_SQS", "http://h:1"),
        ];
        assert!(read(&emulator, Needs::Nothing).unwrap().sqs.is_some());
        assert!(read(&emulator, Needs::Everything).is_err());
        assert!(read(&emulator[..2], Needs::Nothing).is_err());
    }

    #[test]
    fn a_cluster_needs_hash_tags() {
        let cluster = [("REDIS_URL", "redis-cluster://h:1")];
        let error = read(&cluster, Needs::Everything).unwrap_err();
        assert!(error.contains("REDIS_KEY_HASHTAG") && error.contains("one slot"), "{error}");
        let tagged = [cluster[0], ("REDIS_KEY_HASHTAG", "true")];
        assert!(!read(&tagged, Needs::Everything).unwrap().processor.core.outbox);
        let spilling = [tagged[0], tagged[1], ("SQS_OUTAGE", "spill")];
        let error = read(&spilling, Needs::Everything).unwrap_err();
        assert!(error.contains("SQS_OUTAGE is \"spill\"; it must be block: in a cluster"), "{error}");
    }
}
