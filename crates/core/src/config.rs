//! Everything the pure part can be told. Read once at start, by others; here it is only values.

use crate::event::Priority;
use crate::keys::KeyStyle;
use crate::number::Number;

/// When a change of a value is significant: either threshold reached, inclusive.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Least change in per cent of the previous value.
    pub percent: Number,
    /// Least change in USD.
    pub absolute: Number,
}

/// What a new value is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeBaseline {
    /// The row before.
    #[default]
    Previous,
    /// The value last announced, so that slow drift adds up.
    LastEvent,
}

/// Times to live of the keys, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttls {
    /// `price:{tokenId}`.
    pub price: u64,
    /// `tvl:{protocolId}` and `tvl:{protocolId}:{chain}`.
    pub tvl: u64,
    /// `protocol:{protocolId}:meta`.
    pub meta: u64,
    /// `event:{eventId}`.
    pub event: u64,
    /// `cache:{pk}`: real hourly rows come more than an hour apart half of the time, hence longer than the seed's hour.
    pub baseline: u64,
}

/// What is compared, how, and what is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Thresholds of TVL, total and each chain.
    pub tvl: Threshold,
    /// Thresholds of prices.
    pub price: Threshold,
    /// Whether any change of metadata makes an event, or only status, category and chains.
    pub protocol_always: bool,
    /// What values are compared with.
    pub change_baseline: ChangeBaseline,
    /// Times to live.
    pub ttls: Ttls,
    /// How Redis keys are spelt.
    pub keys: KeyStyle,
    /// Whether the hot keys are written.
    pub caching: bool,
    /// Whether events are published.
    pub pubsub: bool,
    /// Whether events are queued.
    pub queueing: bool,
    /// The least priority that is queued.
    pub min_priority: Priority,
    /// Whether events can wait in the outbox: not in a cluster, where it shares no slot with the rows.
    pub outbox: bool,
    /// The largest message the queue takes, bytes of body and attributes together; also the largest request.
    pub max_message_bytes: usize,
}

impl Default for Config {
    /// The defaults of the specification, section 7.
    fn default() -> Self {
        let tenth = |n: u32| Number::from(n).tenth();
        Self {
            tvl: Threshold { percent: Number::from(1), absolute: Number::from(10_000) },
            price: Threshold { percent: tenth(1), absolute: tenth(1).tenth() },
            protocol_always: true,
            change_baseline: ChangeBaseline::Previous,
            ttls: Ttls { price: 3_600, tvl: 3_600, meta: 604_800, event: 300, baseline: 90_000 },
            keys: KeyStyle::default(),
            caching: true,
            pubsub: true,
            queueing: true,
            min_priority: Priority::Low,
            outbox: true,
            max_message_bytes: 1_048_576,
        }
    }
}
