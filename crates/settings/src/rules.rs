//! What is compared, how, and what is made of it.

use events_core::change::{ChangeBaseline, ChangeRules, Threshold};
use events_core::delivery::KeyStyle;
use events_core::event::Priority;
use events_core::plan::{Config, Ttls};

use crate::Reader;

/// What SQS takes at most in a message, bytes.
const SQS_MOST_BYTES: usize = 1_048_576;
/// Room for a dead letter's own words, bytes.
const SQS_LEAST_BYTES: usize = 16_384;
/// Longest time to live, s.
const LONGEST_TTL: u64 = 31_536_000;

const PRIORITIES: [(&str, Priority); 3] =
    [("low", Priority::Low), ("medium", Priority::Medium), ("high", Priority::High)];

const CHANGE_BASELINES: [(&str, ChangeBaseline); 2] =
    [("previous", ChangeBaseline::Previous), ("last_event", ChangeBaseline::LastEvent)];

/// Reads thresholds, times to live, keys and switches.
pub fn rules(reader: &mut Reader<'_>) -> Config {
    let usual = Config::default();
    Config {
        rules: change_rules(reader, usual.rules),
        ttls: ttls(reader, &usual.ttls),
        keys: keys(reader),
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

fn change_rules(reader: &mut Reader<'_>, usual: ChangeRules) -> ChangeRules {
    ChangeRules {
        tvl: threshold(reader, ["TVL_MIN_CHANGE_PERCENT", "TVL_MIN_CHANGE_ABSOLUTE"], usual.tvl),
        price: threshold(reader, ["PRICE_MIN_CHANGE_PERCENT", "PRICE_MIN_CHANGE_ABSOLUTE"], usual.price),
        protocol_always: reader.flag("PROTOCOL_ALWAYS_TRIGGER", usual.protocol_always),
        baseline: reader.one_of("CHANGE_BASELINE", &CHANGE_BASELINES, usual.baseline),
    }
}

fn threshold(reader: &mut Reader<'_>, [percent, absolute]: [&str; 2], usual: Threshold) -> Threshold {
    Threshold {
        percent: reader.threshold(percent, usual.percent),
        absolute: reader.threshold(absolute, usual.absolute),
    }
}

fn ttls(reader: &mut Reader<'_>, usual: &Ttls) -> Ttls {
    let mut ttl = |name, usual| reader.whole(name, usual, 1..=LONGEST_TTL);
    Ttls {
        price: ttl("PRICE_TTL_SECS", usual.price),
        tvl: ttl("TVL_TTL_SECS", usual.tvl),
        meta: ttl("PROTOCOL_META_TTL_SECS", usual.meta),
        event: ttl("EVENT_TTL_SECS", usual.event),
        baseline: ttl("BASELINE_TTL_SECS", usual.baseline),
    }
}

fn keys(reader: &mut Reader<'_>) -> KeyStyle {
    KeyStyle {
        prefix: reader.text("REDIS_KEY_PREFIX").unwrap_or_default(),
        hashtag: reader.flag("REDIS_KEY_HASHTAG", false),
    }
}
