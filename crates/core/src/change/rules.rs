//! The thresholds, and the value that a new value is compared with.

use crate::value::Number;

/// A change is significant if it reaches at least one of these thresholds, inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Least change in per cent of the previous value.
    pub percent: Number,
    /// Least change in USD.
    pub absolute: Number,
}

/// What a new value is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeBaseline {
    /// The value of the previous row.
    #[default]
    Previous,
    /// The value of the last event, so that slow drift adds up.
    LastEvent,
}

/// Which changes become events.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeRules {
    /// Thresholds of TVL, for the total and for each chain.
    pub tvl: Threshold,
    /// Thresholds of prices.
    pub price: Threshold,
    /// True if every change of metadata makes an event. False if only changes of status, category and chains do.
    pub protocol_always: bool,
    /// The value that a new value is compared with.
    pub baseline: ChangeBaseline,
}

impl Default for ChangeRules {
    /// The defaults of the specification, section 2.
    fn default() -> Self {
        let tenth = |n: u32| Number::from(n).tenth();
        Self {
            tvl: Threshold { percent: Number::from(1), absolute: Number::from(10_000) },
            price: Threshold { percent: tenth(1), absolute: tenth(1).tenth() },
            protocol_always: true,
            baseline: ChangeBaseline::Previous,
        }
    }
}
