//! The deadline of an invocation.

use std::time::Duration;

use crate::ports::{ErrorKind, PortError};

/// When each kind of work must end, in the timer's monotonic time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When the invocation began.
    pub(crate) started: Duration,
    /// No request to a queue begins after this time.
    pub(crate) begin_sends: Duration,
    /// Reads and sends end at this time.
    pub(crate) end_sends: Duration,
    /// Commits end at this time, later than sends. The rows of sent events must be committed: otherwise a batch that is
    /// too large for its time would never make progress.
    pub(crate) end_commits: Duration,
    /// Sends of the whole invocation end at this time. If a shorter limit cuts off a call before this time, the queue
    /// was too slow.
    invocation_end_sends: Duration,
}

impl Deadline {
    /// The deadline of an invocation that began at `now` and has `time_left`. Nothing is sent within `margin` of the
    /// end, and the last quarter of the margin is left for the response.
    ///
    /// A margin above half of `time_left` is cut to half of it. A longer margin could leave no time to work.
    pub fn after(now: Duration, time_left: Duration, margin: Duration) -> Self {
        let (end, margin) = (now + time_left, margin.min(time_left / 2));
        let end_sends = end.saturating_sub(margin);
        Self {
            started: now,
            begin_sends: end_sends,
            end_sends,
            end_commits: end.saturating_sub(margin / 4),
            invocation_end_sends: end_sends,
        }
    }

    /// A shorter deadline: no request begins later than `time` after `now`. Requests in flight then have another `time`
    /// to end, and commits another `time` after that.
    pub(crate) fn limited_to(self, now: Duration, time: Duration) -> Self {
        Self {
            begin_sends: self.begin_sends.min(now + time),
            end_sends: self.end_sends.min(now + 2 * time),
            end_commits: self.end_commits.min(now + 3 * time),
            ..self
        }
    }

    /// The same deadline, but requests may begin until sends end.
    pub(crate) fn begin_until_sends_end(self) -> Self {
        Self { begin_sends: self.end_sends, ..self }
    }

    /// Decides whether a cut-off call counts against the queue. If a call was cut off while the invocation still
    /// had time to send, the queue was too slow: the error becomes a timeout.
    pub(crate) fn attribute(&self, now: Duration, error: PortError) -> PortError {
        if error.kind == ErrorKind::Deadline && now < self.invocation_end_sends {
            return PortError::new(ErrorKind::Timeout, "sqs gave no answer in time");
        }
        error
    }
}
