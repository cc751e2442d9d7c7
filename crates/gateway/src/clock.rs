//! The wall clock.

use events_adapters::time::SystemTimer;
use events_processor::ports::Timer;

/// Now, ms since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTimer::default().now_ms()
}
