//! How messages are delivered: queues, retries, the breaker, the policy for an outage, the deadline.

use std::time::Duration;

use events_core::delivery::BreakerSettings;
use events_core::plan::Config;
use events_processor::{OutagePolicy, Settings};

use crate::{Needs, Reader};

/// Longest time for which a failure of one key may be reported: ten years, because a replay can have old records.
const MAX_KEY_FAILURE_AGE_SECS: u64 = 10 * 365 * 86_400;

const OUTAGES: [(&str, OutagePolicy); 2] = [("block", OutagePolicy::Block), ("spill", OutagePolicy::Spill)];

/// What becomes of a record or an event that can never succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poison {
    /// It goes to the dead letter queue.
    #[default]
    Dlq,
    /// It is logged and dropped.
    Drop,
}

const POISON: [(&str, Poison); 2] = [("dlq", Poison::Dlq), ("drop", Poison::Drop)];

/// The queues, the batch size and the margin before the deadline.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// `EVENTS_QUEUE_URL`.
    pub events_queue_url: Option<String>,
    /// `EVENTS_DLQ_URL`.
    pub events_dlq_url: Option<String>,
    /// `POISON`.
    pub poison: Poison,
    /// `BATCH_SIZE`: most records in a batch, in the replay and in the event source mapping.
    pub batch_size: usize,
    /// `DEADLINE_MARGIN_MS`: this long before the invocation's deadline, no more work is started.
    pub deadline_margin: Duration,
}

impl DeliverySettings {
    /// Reads the section. With `queueing`, events are sent to the queue: then `needs` may require its URL.
    pub fn read(reader: &mut Reader<'_>, queueing: bool, needs: Needs) -> Self {
        if needs == Needs::Everything && queueing {
            reader.require_set("EVENTS_QUEUE_URL", "the URL of a FIFO queue (or ENABLE_SQS=false)");
        }
        let events_queue_url = reader.fifo_queue("EVENTS_QUEUE_URL");
        let sends = queueing && reader.is_set("EVENTS_QUEUE_URL");
        let (poison, events_dlq_url) = poison(reader, sends || needs == Needs::Everything);
        Self {
            events_queue_url,
            events_dlq_url,
            poison,
            batch_size: usize::try_from(reader.whole("BATCH_SIZE", 100, 1..=10_000)).unwrap_or(usize::MAX),
            deadline_margin: reader.millis("DEADLINE_MARGIN_MS", Duration::from_millis(1_000), 0),
        }
    }

    /// True if at least one queue is set.
    pub fn has_queues(&self) -> bool {
        self.events_queue_url.is_some() || self.events_dlq_url.is_some()
    }
}

/// Reads what becomes of poison, and the URL of the dead letter queue. With `required`, one of the two must be said:
/// without a decision, the first poison record would stop its shard.
fn poison(reader: &mut Reader<'_>, required: bool) -> (Poison, Option<String>) {
    let poison = reader.one_of("POISON", &POISON, Poison::default());
    match poison {
        Poison::Drop => reader.refuse_beside("EVENTS_DLQ_URL", "POISON=drop"),
        Poison::Dlq if required => reader.require_set(
            "EVENTS_DLQ_URL",
            "the URL of a FIFO queue (or POISON=drop: what can never succeed is then logged and dropped)",
        ),
        Poison::Dlq => {}
    }
    (poison, reader.fifo_queue("EVENTS_DLQ_URL"))
}

/// Reads how the processor retries and what it does in an outage of SQS. `core` becomes part of the result.
pub fn processor(reader: &mut Reader<'_>, core: Config) -> Settings {
    let max_retries = reader.whole("MAX_RETRIES", 3, 0..=10);
    let open_secs = reader.whole("BREAKER_OPEN_SECS", 10, 1..=3_600);
    let default = BreakerSettings::default();
    let breaker =
        BreakerSettings { open_ms: i64::try_from(open_secs * 1_000).unwrap_or(i64::MAX), ..default };
    let key_failure_max_age_secs =
        reader.whole("KEY_FAILURE_MAX_AGE_SECS", 900, 1..=MAX_KEY_FAILURE_AGE_SECS);
    let outage = reader.one_of("SQS_OUTAGE", &OUTAGES, OutagePolicy::default());
    if outage == OutagePolicy::Spill && !core.outbox {
        reader.require_value("SQS_OUTAGE", "block", "in a cluster the outbox shares no slot with the rows");
    }
    Settings {
        core,
        max_retries: u32::try_from(max_retries).unwrap_or(u32::MAX),
        max_requests_in_flight: Settings::default().max_requests_in_flight,
        outage,
        breaker,
        key_failure_max_age_ms: i64::try_from(key_failure_max_age_secs * 1_000).unwrap_or(i64::MAX),
    }
}
