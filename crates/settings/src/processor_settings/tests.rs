use std::time::Duration;

use events_core::change::ChangeBaseline;
use events_core::event::{Priority, PriorityRule};
use events_core::plan::{Config, Signals};
use events_processor::OutagePolicy;

use crate::Poison;

use super::*;

const GOOD: [(&str, &str); 5] = [
    ("REDIS_URL", "redis://h:1"),
    ("EVENTS_QUEUE_URL", "https://sqs.example/0/events.fifo"),
    ("EVENTS_DLQ_URL", "https://sqs.example/0/dlq.fifo"),
    ("AWS_ACCESS_KEY_ID", "k"),
    ("AWS_SECRET_ACCESS_KEY", "s"),
];

/// The good settings. Those of `extra` come first.
fn good_with(extra: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    |name: &str| {
        let value =
            |pairs: &[(&str, &str)]| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        value(extra).or_else(|| value(&GOOD))
    }
}

fn read(extra: &[(&str, &str)], needs: Needs) -> Result<ProcessorSettings, String> {
    let read = ProcessorSettings::read(good_with(extra), needs, CredentialSource::Environment);
    read.map_err(|error| error.to_string())
}

#[test]
fn unset_settings_have_the_defaults_of_the_specification() {
    let settings = read(&[], Needs::Everything).unwrap();
    assert_eq!(settings.processor.core, Config::default());
    assert_eq!((settings.processor.max_retries, settings.delivery.batch_size), (3, 100));
    assert_eq!(settings.sqs.unwrap().region, "eu-central-1");
}

#[test]
fn settings_that_are_set_are_used() {
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
    assert_eq!(settings.processor.outage, OutagePolicy::Spill);
    let core = settings.processor.core;
    assert_eq!((core.rules.tvl.percent.to_f64(), core.rules.price.absolute.to_f64()), (2.5, 0.0));
    assert_eq!(
        (core.rules.protocol_always, core.caching, core.pubsub, core.keys.hashtag),
        (false, false, true, true)
    );
    assert_eq!((core.rules.baseline, core.min_priority), (ChangeBaseline::LastEvent, Priority::High));
    assert_eq!((core.ttls.baseline, core.keys.prefix.as_str(), core.max_message_bytes), (60, "rt:", 262_144));
    assert_eq!((settings.delivery.batch_size, settings.telemetry.log_level), (7, tracing::Level::DEBUG));
    assert_eq!(settings.sqs.unwrap().endpoint.as_deref(), Some("http://127.0.0.1:1"));
    assert_eq!(settings.redis.unwrap().command_timeout, Duration::from_millis(500));
}

#[test]
fn a_wrong_setting_is_named_with_its_value_and_what_it_accepts() {
    for (name, value, accepts) in [
        ("BATCH_SIZE", "0", "a whole number from 1 to 10000"),
        ("MAX_RETRIES", "many", "a whole number from 0 to 10"),
        ("TVL_MIN_CHANGE_PERCENT", "-1", "a decimal number from 0 up"),
        ("PRICE_MIN_CHANGE_PERCENT", "NaN", "a decimal number from 0 up"),
        ("ENABLE_SQS", "yes!", "true or false"),
        ("CHANGE_BASELINE", "first", "previous or last_event"),
        ("SQS_MIN_PRIORITY", "urgent", "low, medium or high"),
        ("SIGNALS", "true", "off or on"),
        ("PRIORITY", "score", "percent or signal"),
        ("SQS_OUTAGE", "drop", "block or spill"),
        ("POISON", "log", "dlq or drop"),
        ("EVENTS_QUEUE_URL", "https://sqs.example/0/events", "an http(s) URL that ends in .fifo"),
        ("REDIS_KEY_PREFIX", "a\nb", "text without control characters"),
    ] {
        let error = read(&[(name, value)], Needs::Everything).unwrap_err();
        assert!(error.contains(&format!("{name} is {value:?}; it accepts {accepts}")), "{error}");
    }
}

#[test]
fn all_wrong_settings_are_named_at_once_and_no_secret_is_shown() {
    let extra = [("BATCH_SIZE", "x"), ("REDIS_URL", "http://:hunter2@h"), ("LOG_LEVEL", "loud")];
    let error = read(&extra, Needs::Everything).unwrap_err();
    for name in ["BATCH_SIZE", "REDIS_URL", "LOG_LEVEL"] {
        assert!(error.contains(name), "{error}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_required_setting_that_is_missing_is_named() {
    let missing = [("REDIS_URL", ""), ("EVENTS_QUEUE_URL", "")];
    let error = read(&missing, Needs::Everything).unwrap_err();
    assert!(
        error.contains("REDIS_URL is not set") && error.contains("EVENTS_QUEUE_URL is not set"),
        "{error}"
    );
    let without_queue = [("EVENTS_QUEUE_URL", ""), ("ENABLE_SQS", "false"), ("EVENTS_DLQ_URL", ""), DROP];
    assert!(read(&without_queue, Needs::Everything).unwrap().sqs.is_none());
    let in_memory = read(&[missing[0], missing[1], ("EVENTS_DLQ_URL", "")], Needs::Nothing).unwrap();
    assert!(in_memory.redis.is_none() && in_memory.sqs.is_none());
    let error = read(&[("AWS_ACCESS_KEY_ID", "")], Needs::Everything).unwrap_err();
    assert!(error.contains("AWS_ACCESS_KEY_ID is not set"), "{error}");
}

const DROP: (&str, &str) = ("POISON", "drop");
const NO_DLQ: (&str, &str) = ("EVENTS_DLQ_URL", "");

#[test]
fn what_becomes_of_poison_must_be_said() {
    for needs in [Needs::Everything, Needs::Nothing] {
        for extra in [&[NO_DLQ][..], &[NO_DLQ, ("POISON", "dlq")]] {
            let error = read(extra, needs).unwrap_err();
            assert!(error.contains("EVENTS_DLQ_URL is not set") && error.contains("POISON=drop"), "{error}");
        }
        let drop = read(&[NO_DLQ, DROP], needs).unwrap().delivery;
        assert_eq!((drop.poison, drop.events_dlq_url), (Poison::Drop, None));
        let dlq = read(&[], needs).unwrap().delivery;
        assert_eq!((dlq.poison, dlq.events_dlq_url.is_some()), (Poison::Dlq, true));
        let error = read(&[DROP], needs).unwrap_err();
        assert!(error.contains("EVENTS_DLQ_URL") && error.contains("POISON=drop"), "{error}");
        assert!(error.contains("are both set"), "{error}");
    }
}

#[test]
fn poison_needs_no_word_where_no_real_queue_is_used() {
    let off = ("ENABLE_SQS", "false");
    for extra in [&[NO_DLQ, ("EVENTS_QUEUE_URL", "")][..], &[NO_DLQ, off]] {
        assert_eq!(read(extra, Needs::Nothing).unwrap().delivery.poison, Poison::Dlq);
    }
    assert!(read(&[NO_DLQ, off], Needs::Everything).is_err(), "an undecodable record needs a place too");
}

/// Gives every setting that can be wrong a wrong value. Otherwise nothing would notice a name misspelt in the code.
#[test]
fn every_name_is_read() {
    let whole = [
        "MAX_RETRIES",
        "BATCH_SIZE",
        "DEADLINE_MARGIN_MS",
        "BREAKER_OPEN_SECS",
        "KEY_FAILURE_MAX_AGE_SECS",
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
        "SIGNALS",
        "PRIORITY",
        "QUEUE_SIGNALS",
        "SQS_OUTAGE",
        "POISON",
        "LOG_LEVEL",
        "REDIS_KEY_HASHTAG",
        "REDIS_CA_FILE",
    ];
    let texts = ["REDIS_KEY_PREFIX", "AWS_REGION", "METRICS_STAGE"];
    let hidden = ["EVENTS_QUEUE_URL", "EVENTS_DLQ_URL", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"];
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "REDIS_URL"];
    for name in hidden.iter().chain(&keys) {
        let error = read(&[(name, "{a b}")], Needs::Everything).unwrap_err();
        assert!(error.contains(&format!("{name} (its value is not shown) looks like JSON")), "{error}");
    }
    let values = [(&whole[..], "1.5"), (&others[..], "/nowhere"), (&texts[..], "a\nb")];
    for (name, wrong) in
        values.iter().flat_map(|(names, wrong)| names.iter().map(move |name| (*name, *wrong)))
    {
        let error = read(&[(name, wrong)], Needs::Everything).unwrap_err();
        assert!(error.contains(&format!("{name} is {wrong:?}; it accepts ")), "{name}: {error}");
    }
}

#[cfg(feature = "credential-chain")]
#[test]
fn a_replay_against_an_emulator_needs_no_key() {
    let keys = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let emulator = [keys[0], keys[1], ("AWS_ENDPOINT_URL_SQS", "http://h:1")];
    let read =
        |extra: &[(&str, &str)], needs, source| ProcessorSettings::read(good_with(extra), needs, source);
    let chain = CredentialSource::EnvironmentOrChain;
    assert!(read(&emulator, Needs::Nothing, chain).unwrap().sqs.is_some());
    assert!(read(&emulator, Needs::Everything, CredentialSource::Environment).is_err());
    assert!(read(&keys, Needs::Nothing, CredentialSource::Environment).is_err());
    let sqs = read(&keys, Needs::Nothing, chain).unwrap().sqs.unwrap();
    assert!(matches!(sqs.credentials, events_adapters::aws::AwsCredentials::Chain));
}

#[test]
fn signals_are_off_unless_they_are_switched_on() {
    let signals =
        |extra: &[(&str, &str)]| read(extra, Needs::Everything).map(|read| read.processor.core.signals);
    let on = |priority, queued| Ok(Some(Signals { priority, queued }));
    assert_eq!(signals(&[]), Ok(None));
    assert_eq!(signals(&[("SIGNALS", "on")]), on(PriorityRule::Percent, false));
    let all = [("SIGNALS", "on"), ("PRIORITY", "signal"), ("QUEUE_SIGNALS", "true")];
    assert_eq!(signals(&all), on(PriorityRule::Signal, true));
    for (name, value, must_be) in [("PRIORITY", "signal", "percent"), ("QUEUE_SIGNALS", "true", "false")] {
        let error = signals(&[(name, value)]).unwrap_err();
        let expected =
            format!("{name} is {value:?}; it must be {must_be}: there are no signals without SIGNALS=on");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_cluster_needs_hash_tags() {
    let cluster = [("REDIS_URL", "redis-cluster://h:1")];
    let error = read(&cluster, Needs::Everything).unwrap_err();
    assert!(error.contains("REDIS_KEY_HASHTAG") && error.contains("one slot"), "{error}");
    let tagged = [cluster[0], ("REDIS_KEY_HASHTAG", "true")];
    let core = read(&tagged, Needs::Everything).unwrap().processor.core;
    assert_eq!((core.outbox, core.event_log_max_length), (false, 0));
    let logging = [tagged[0], tagged[1], ("EVENT_LOG_MAX_LENGTH", "5")];
    let error = read(&logging, Needs::Everything).unwrap_err();
    assert!(error.contains("EVENT_LOG_MAX_LENGTH is \"5\"; it must be 0: in a cluster"), "{error}");
    let spilling = [tagged[0], tagged[1], ("SQS_OUTAGE", "spill")];
    let error = read(&spilling, Needs::Everything).unwrap_err();
    assert!(error.contains("SQS_OUTAGE is \"spill\"; it must be block: in a cluster"), "{error}");
}
