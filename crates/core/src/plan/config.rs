//! The configuration of a plan, as plain values. A program reads it from its settings once.

use crate::change::ChangeRules;
use crate::delivery::KeyStyle;
use crate::event::{Priority, PriorityRule};
use crate::source::Row;

/// Times to live of the keys, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttls {
    /// `price:{tokenId}`.
    pub price: u64,
    /// `tvl:{protocolId}` and `tvl:{protocolId}:{chain}`.
    pub tvl: u64,
    /// `protocol:{protocolId}:meta`, and its baseline `cache:protocol#{protocolId}`.
    pub meta: u64,
    /// `event:{eventId}`.
    pub event: u64,
    /// `cache:{pk}` of any other row. It lives longer than the hot keys: half of the real hourly rows arrive more than an
    /// hour after the previous row.
    pub baseline: u64,
}

impl Ttls {
    /// The time to live of a row's baseline, s. The metadata of a protocol rarely changes, so its baseline lives as long
    /// as its hot key.
    pub fn baseline_of(&self, row: &Row) -> u64 {
        match row {
            Row::Tvl(_) | Row::Price(_) => self.baseline,
            Row::Protocol(_) => self.meta,
        }
    }
}

/// Which signals are made, and where they count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// What decides the priority of a change.
    pub priority: PriorityRule,
    /// True if signals without an event of their own are queued too.
    pub queued: bool,
}

/// What to detect, and what to write, publish and queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which changes become events.
    pub rules: ChangeRules,
    /// How signals are made; `None` makes none, and keeps no meters.
    pub signals: Option<Signals>,
    /// Times to live.
    pub ttls: Ttls,
    /// How Redis keys are written.
    pub keys: KeyStyle,
    /// True if hot keys are written.
    pub caching: bool,
    /// True if events are published.
    pub pubsub: bool,
    /// About how many events stay in the log of all events. With 0 there is no log. In a cluster there can be none, because
    /// the log and the rows are in different slots.
    pub event_log_max_length: u64,
    /// True if events are queued.
    pub queueing: bool,
    /// The lowest priority that is queued.
    pub min_priority: Priority,
    /// True if events can wait in the outbox. In a cluster they cannot, because the outbox and the rows are in
    /// different slots.
    pub outbox: bool,
    /// The largest message that the queue accepts: bytes of body and attributes together. A request has the same limit.
    pub max_message_bytes: usize,
}

impl Default for Config {
    /// The defaults of the specification, section 7.
    fn default() -> Self {
        Self {
            rules: ChangeRules::default(),
            signals: None,
            ttls: Ttls { price: 3_600, tvl: 3_600, meta: 604_800, event: 300, baseline: 90_000 },
            keys: KeyStyle::default(),
            caching: true,
            pubsub: true,
            event_log_max_length: 50_000,
            queueing: true,
            min_priority: Priority::Low,
            outbox: true,
            max_message_bytes: 1_048_576,
        }
    }
}
