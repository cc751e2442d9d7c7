//! Delivers records at the pace at which they were created, or a multiple of it.

use std::time::Duration;

use events_core::source::RecordContent;
use events_core::source::dynamodb::decode;

use crate::source::SourceRecord;

/// Shorter waits are left out: each would end a batch, and timers are not that exact.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// When each record is due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// How many times as fast as in earnest. `None` is as fast as possible.
    speed: Option<f64>,
    /// The creation time of the first record, and the time when it was due.
    first: Option<(i64, Duration)>,
}

impl Pace {
    /// A pace. `None` is as fast as possible.
    pub(crate) fn new(speed: Option<f64>) -> Self {
        Self { speed, first: None }
    }

    /// How long the record has to wait, at the time `now` of the replay's clock. A record without a creation time does
    /// not wait.
    pub(crate) fn wait(&mut self, record: &SourceRecord, now: Duration) -> Duration {
        let Some(speed) = self.speed else { return Duration::ZERO };
        let Some(created) = created_ms(record) else { return Duration::ZERO };
        let (first, started) = *self.first.get_or_insert((created, now));
        let since_first = Duration::from_millis(u64::try_from(created - first).unwrap_or(0)).div_f64(speed);
        let wait = (started + since_first).saturating_sub(now);
        if wait < SHORTEST_WAIT { Duration::ZERO } else { wait }
    }
}

/// When the change was made, if the record is a row that says so. The current time matters only for a row's data time.
fn created_ms(record: &SourceRecord) -> Option<i64> {
    match decode(&record.raw, i64::MAX).content {
        RecordContent::Row(row) => row.created_ms,
        RecordContent::Skipped(_) | RecordContent::Undecodable(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{created_at, raw_record};

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn records_wait_for_their_time_divided_by_the_speed() {
        let mut pace = Pace::new(Some(10.0));
        let mut waits = |records: [(i64, u64); 4]| {
            records.map(|(created, now)| pace.wait(&created_at(1_700_000_000 + created), ms(now)))
        };
        let expected = [ms(0), ms(1_000), ms(400), ms(0)];
        assert_eq!(waits([(0, 5_000), (10, 5_000), (10, 5_600), (5, 5_700)]), expected);
    }

    #[test]
    fn without_a_speed_or_a_time_nothing_waits() {
        let mut pace = Pace::new(None);
        assert_eq!([0, 90].map(|created| pace.wait(&created_at(1_700_000_000 + created), ms(0))), [ms(0); 2]);
        let mut pace = Pace::new(Some(1.0));
        pace.wait(&created_at(1_700_000_000), ms(0));
        assert_eq!(pace.wait(&raw_record(1, "{}"), ms(0)), ms(0));
        assert_eq!(pace.wait(&created_at(1_700_000_001), ms(995)), ms(0), "too short to wait for");
    }
}
