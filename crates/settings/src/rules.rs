//! What is compared, how, and what is made of a change.

use events_core::change::{ChangeBaseline, ChangeRules, Threshold};
use events_core::delivery::KeyStyle;
use events_core::event::{Priority, PriorityRule};
use events_core::plan::{Config, Signals, Ttls};

use crate::Reader;

/// Largest message that SQS accepts, bytes.
const MAX_MESSAGE_BYTES: usize = 1_048_576;
/// Smallest limit, bytes: a dead letter needs room for its own fields.
const MIN_MESSAGE_BYTES: usize = 16_384;
/// Longest log, events: more than a gateway could keep in memory.
const LONGEST_EVENT_LOG: u64 = 10_000_000;
/// Longest time to live, s: a year.
const LONGEST_TTL: u64 = 31_536_000;

const PRIORITIES: [(&str, Priority); 3] =
    [("low", Priority::Low), ("medium", Priority::Medium), ("high", Priority::High)];

const CHANGE_BASELINES: [(&str, ChangeBaseline); 2] =
    [("previous", ChangeBaseline::Previous), ("last_event", ChangeBaseline::LastEvent)];

const SWITCH: [(&str, bool); 2] = [("off", false), ("on", true)];

const PRIORITY_RULES: [(&str, PriorityRule); 2] =
    [("percent", PriorityRule::Percent), ("signal", PriorityRule::Signal)];

/// Reads thresholds, times to live, keys and switches.
pub fn rules(reader: &mut Reader<'_>) -> Config {
    let default = Config::default();
    Config {
        rules: change_rules(reader, &default.rules),
        signals: signals(reader),
        ttls: ttls(reader, &default.ttls),
        keys: key_style(reader),
        caching: reader.flag("ENABLE_CACHING", true),
        pubsub: reader.flag("ENABLE_PUBSUB", true),
        event_log_max_length: reader.whole(
            "EVENT_LOG_MAX_LENGTH",
            default.event_log_max_length,
            0..=LONGEST_EVENT_LOG,
        ),
        queueing: reader.flag("ENABLE_SQS", true),
        outbox: default.outbox,
        min_priority: reader.one_of("SQS_MIN_PRIORITY", &PRIORITIES, default.min_priority),
        max_message_bytes: usize::try_from(reader.whole(
            "SQS_MAX_MESSAGE_BYTES",
            MAX_MESSAGE_BYTES as u64,
            MIN_MESSAGE_BYTES as u64..=MAX_MESSAGE_BYTES as u64,
        ))
        .unwrap_or(MAX_MESSAGE_BYTES),
    }
}

/// The settings of signals mean nothing without them, so they are refused where signals are off.
fn signals(reader: &mut Reader<'_>) -> Option<Signals> {
    let on = reader.one_of("SIGNALS", &SWITCH, false);
    let priority = reader.one_of("PRIORITY", &PRIORITY_RULES, PriorityRule::default());
    let queued = reader.flag("QUEUE_SIGNALS", false);
    if !on && priority == PriorityRule::Signal {
        reader.require_value("PRIORITY", "percent", "there are no signals without SIGNALS=on");
    }
    if !on && queued {
        reader.require_value("QUEUE_SIGNALS", "false", "there are no signals without SIGNALS=on");
    }
    on.then_some(Signals { priority, queued })
}

fn change_rules(reader: &mut Reader<'_>, default: &ChangeRules) -> ChangeRules {
    ChangeRules {
        tvl: threshold(reader, ["TVL_MIN_CHANGE_PERCENT", "TVL_MIN_CHANGE_ABSOLUTE"], default.tvl),
        price: threshold(reader, ["PRICE_MIN_CHANGE_PERCENT", "PRICE_MIN_CHANGE_ABSOLUTE"], default.price),
        protocol_always: reader.flag("PROTOCOL_ALWAYS_TRIGGER", default.protocol_always),
        baseline: reader.one_of("CHANGE_BASELINE", &CHANGE_BASELINES, default.baseline),
    }
}

fn threshold(reader: &mut Reader<'_>, [percent, absolute]: [&str; 2], default: Threshold) -> Threshold {
    Threshold {
        percent: reader.threshold(percent, default.percent),
        absolute: reader.threshold(absolute, default.absolute),
    }
}

fn ttls(reader: &mut Reader<'_>, default: &Ttls) -> Ttls {
    let mut ttl = |name, default| reader.whole(name, default, 1..=LONGEST_TTL);
    Ttls {
        price: ttl("PRICE_TTL_SECS", default.price),
        tvl: ttl("TVL_TTL_SECS", default.tvl),
        meta: ttl("PROTOCOL_META_TTL_SECS", default.meta),
        event: ttl("EVENT_TTL_SECS", default.event),
        baseline: ttl("BASELINE_TTL_SECS", default.baseline),
    }
}

/// Reads how Redis keys are written.
pub fn key_style(reader: &mut Reader<'_>) -> KeyStyle {
    KeyStyle {
        prefix: reader.text("REDIS_KEY_PREFIX").unwrap_or_default(),
        hashtag: reader.flag("REDIS_KEY_HASHTAG", false),
    }
}
