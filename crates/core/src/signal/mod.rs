//! Signals: which changes a trader would look at, and why.
//!
//! The thresholds of [`crate::change`] find every change. Most of them are ordinary for their value, or errors of the
//! data: a wrong unit, a chain whose data fails and comes back, a spike that reverts. A signal says how unusual a move is
//! for this value, names its kind, and follows it: confirmed or reverted. Signals annotate events. They suppress none.
//!
//! [`step`] is the whole rule for one value: a pure function of the [`Meter`] of the value, its last and its new amount,
//! and the time between them. It uses whole numbers only, so that every platform and the mirror in Python
//! (`tests/signals/mirror.py`) give the same bits. [`observe`] applies it to a row: the total and each chain, or the
//! price. The text of a meter is stored with the baseline, in the same commit.
//!
//! Source of the formulas: the study of DeFiLlama's hourly data. Series are flat, then jump, so a median deviation is
//! tiny; an exponentially weighted deviation over 48 rows, with 0.5 % added, finds the jumps that matter.

mod amount;
mod meter;
mod observe;
mod reason;
mod rule;

pub use amount::Amount;
pub use meter::{Anchor, Jump, JumpState, Meter};
pub use observe::{EventIds, ValueSignal, keep_meters, observe};
pub use rule::{Facts, Hint, Step, Unit, step};

use serde::{Deserialize, Serialize};

/// What a move looks like. The first kind that fits, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// TVL below $10,000 before and after.
    Dust,
    /// A token that keeps to $1 has left it.
    Depeg,
    /// Back and forth between levels where the value has been within 48 rows.
    Flap,
    /// A value below zero, before or after.
    Negative,
    /// At least 50 times the last value, or a thousandth or less of it by a power of ten.
    UnitError,
    /// A chain reports nothing any more: less than $1.
    ChainOutage,
    /// A chain reports values again, or for the first time.
    ChainBack,
    /// All chains moved alike: a price moved, not deposits.
    Proportional,
    /// TVL fell by at least 30 %.
    Drain,
    /// A price fell by at least 30 %.
    Crash,
    /// A value rose by at least 30 %.
    Surge,
    /// A smaller move, unusual for the value.
    Move,
    /// Small moves in one direction that add up.
    Drift,
    /// The value is back at the level that it had before a signal.
    Reverted,
}

impl Kind {
    /// All kinds, in the order of the declaration.
    pub const ALL: [Self; 14] = [
        Self::Dust,
        Self::Depeg,
        Self::Flap,
        Self::Negative,
        Self::UnitError,
        Self::ChainOutage,
        Self::ChainBack,
        Self::Proportional,
        Self::Drain,
        Self::Crash,
        Self::Surge,
        Self::Move,
        Self::Drift,
        Self::Reverted,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dust => "dust",
            Self::Depeg => "depeg",
            Self::Flap => "flap",
            Self::Negative => "negative",
            Self::UnitError => "unit-error",
            Self::ChainOutage => "chain-outage",
            Self::ChainBack => "chain-back",
            Self::Proportional => "proportional",
            Self::Drain => "drain",
            Self::Crash => "crash",
            Self::Surge => "surge",
            Self::Move => "move",
            Self::Drift => "drift",
            Self::Reverted => "reverted",
        }
    }

    /// How far moves of this kind are to be trusted, per cent.
    fn credibility(self) -> u64 {
        match self {
            Self::Dust | Self::Reverted => 0,
            Self::Flap => 8,
            Self::Negative | Self::UnitError => 15,
            Self::ChainBack => 30,
            Self::ChainOutage => 40,
            Self::Proportional => 60,
            Self::Drift => 80,
            Self::Surge => 85,
            Self::Depeg | Self::Drain | Self::Crash | Self::Move => 100,
        }
    }
}

/// How far a signal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The move has just happened.
    New,
    /// Three rows later the value is still there.
    Confirmed,
    /// The value is back where it was.
    Reverted,
}

impl Stage {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Confirmed => "confirmed",
            Self::Reverted => "reverted",
        }
    }
}

/// What an event says of how unusual its change is: `metadata.signal`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// 0 to 100: how much a trader should care. 60 and above deserve an alert.
    pub score: u8,
    /// What the move looks like.
    pub kind: Kind,
    /// How far the signal has come.
    pub stage: Stage,
    /// The facts in one sentence.
    pub reason: String,
    /// The typical move of this value in the time since its last row, per cent, without sign.
    pub typical_move: f64,
    /// The move, in typical moves; 0.5 % (drift: 1 %) is added to the typical move.
    pub z: f64,
    /// `eventId` of the signal that this one follows: that of the first move. Absent on a first signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

#[cfg(test)]
mod tests;
