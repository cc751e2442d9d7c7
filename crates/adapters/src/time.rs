//! The machine's clock.
#![expect(clippy::disallowed_methods, reason = "the only clock of the programs that ship")]

use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

use events_processor::ports::Timer;

use crate::retry;

/// The machine's clock. Production code reads time only here.
#[derive(Debug)]
pub struct SystemTimer {
    started: Instant,
}

impl Default for SystemTimer {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Timer for SystemTimer {
    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, pause: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(pause)
    }

    fn backoff(&self, attempt: u32) -> Duration {
        retry::pause(attempt)
    }
}

/// Now, ms since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
