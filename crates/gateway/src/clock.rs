//! The clocks.

use events_adapters::time::SystemTimer;
use events_processor::ports::Timer;
use tokio::time::Instant;

/// Now, ms since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTimer::default().now_ms()
}

/// A monotonic clock, which timers of the runtime use.
#[allow(clippy::disallowed_methods, reason = "sockets are not simulated; the hub, which is, has no clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
