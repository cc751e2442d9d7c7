//! The change from one number to another.

use std::cmp::Ordering;

use super::{Exact, Number};

/// The change from one number to another. Comparisons are exact. Output is rounded once.
#[derive(Clone, Debug)]
pub struct Change {
    previous: Exact,
    difference: Exact,
}

impl Change {
    /// The change from `previous` to `current`.
    pub fn between(previous: &Number, current: &Number) -> Self {
        Self::of(previous.exact(), &current.exact())
    }

    pub(super) fn of(previous: Exact, current: &Exact) -> Self {
        let difference = current.minus(&previous);
        Self { previous, difference }
    }

    /// True if both numbers are equal.
    pub fn is_zero(&self) -> bool {
        self.difference.is_zero()
    }

    /// `(current − previous) / |previous| × 100`; from 0 it is 100 or −100.
    pub fn percent(&self) -> f64 {
        if self.previous.is_zero() {
            return match self.difference.sign() {
                Ordering::Greater => 100.0,
                Ordering::Less => -100.0,
                Ordering::Equal => 0.0,
            };
        }
        self.difference.times(&Exact::from(100)).to_f64() / self.previous.to_f64().abs()
    }

    /// `current − previous`.
    pub fn absolute(&self) -> f64 {
        self.difference.to_f64()
    }

    /// True if the change is at least `percent` per cent. Compares without division. A change from 0 counts as 100 %.
    pub fn reaches_percent(&self, percent: &Number) -> bool {
        self.compare_percent(&percent.exact()) != Ordering::Less
    }

    /// True if the change is more than `percent` per cent.
    pub fn exceeds_percent(&self, percent: u32) -> bool {
        self.compare_percent(&Exact::from(percent)) == Ordering::Greater
    }

    /// True if the change is at least `amount`, up or down.
    pub fn reaches_absolute(&self, amount: &Number) -> bool {
        self.difference.abs().compare(&amount.exact()) != Ordering::Less
    }

    /// Compares `|current − previous| × 100` with `percent × |previous|`.
    fn compare_percent(&self, percent: &Exact) -> Ordering {
        if !self.previous.is_zero() {
            let scaled = self.difference.abs().times(&Exact::from(100));
            return scaled.compare(&percent.times(&self.previous.abs()));
        }
        // A change from 0 counts as 100 % of 1.
        let scaled = if self.is_zero() { 0 } else { 100 };
        Exact::from(scaled).compare(percent)
    }
}
