//! Durations and their percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest duration, µs: an hour. Longer ones count as an hour.
const LONGEST_US: u64 = 3_600_000_000;
/// Significant digits kept.
const DIGITS: u8 = 3;

/// A histogram of durations.
#[derive(Debug)]
pub(crate) struct Latency {
    /// `None` only if the constants above were invalid. A test excludes that.
    times: Option<Histogram<u64>>,
}

/// Percentiles, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Percentiles {
    /// Half were faster.
    pub p50: f64,
    /// 95 of 100 were faster.
    pub p95: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { times: Histogram::new_with_bounds(1, LONGEST_US, DIGITS).ok() }
    }
}

impl Latency {
    /// Adds `count` equal durations.
    pub(crate) fn add(&mut self, took: Duration, count: u64) {
        if let Some(times) = &mut self.times {
            // A duration below a microsecond counts as one.
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            times.saturating_record_n(micros.max(1), count);
        }
    }

    /// The percentiles. `None` if no duration was added.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let times = self.times.as_ref().filter(|times| !times.is_empty())?;
        let ms = |micros: u64| micros as f64 / 1e3;
        let quantile = |quantile| ms(times.value_at_quantile(quantile));
        Some(Percentiles {
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: ms(times.max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_added_durations() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentiles(), None);
        latency.add(Duration::from_millis(1), 98);
        latency.add(Duration::from_millis(10), 2);
        latency.add(Duration::from_nanos(1), 1);
        let found = latency.percentiles().unwrap();
        assert!((found.p50 - 1.0).abs() < 0.01 && (found.p99 - 10.0).abs() < 0.1, "{found:?}");
        assert!((found.max - 10.0).abs() < 0.1, "{found:?}");
        latency.add(Duration::from_secs(90_000), 1);
        assert!(latency.percentiles().unwrap().max > 3.5e6);
    }
}
