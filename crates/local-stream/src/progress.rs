//! Shows how far the replay is: a progress bar on a terminal, otherwise a plain line from time to time.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::format::{count, count_of, truncated, without_control_characters};

/// A plain line is written after this many records, or earlier after [`TIME_PER_LINE`].
const RECORDS_PER_LINE: u64 = 10_000;
/// A plain line is written after this time if there are new records. Lines about failures are at least this time apart.
const TIME_PER_LINE: Duration = Duration::from_secs(5);
/// Most characters of a reason.
const MAX_REASON: usize = 80;
/// Redraws of the bar per second.
const REDRAWS_PER_SECOND: u8 = 10;

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Records done or given up.
    pub records: u64,
    /// Events made.
    pub events: u64,
    /// Batches delivered again.
    pub retries: u64,
    /// Bytes of input read.
    pub bytes: u64,
}

/// Where progress is shown.
pub(crate) enum Progress {
    /// Nowhere.
    Hidden,
    /// As a bar.
    Bar(ProgressBar),
    /// As plain lines.
    Plain {
        /// Where to.
        out: Box<dyn Write>,
        /// The time of the last line, by the replay's clock, and its number of records.
        last: (Duration, u64),
        /// The time of the last line about a failure.
        last_failure: Option<Duration>,
    },
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hidden => "Hidden",
            Self::Bar(_) => "Bar",
            Self::Plain { .. } => "Plain",
        })
    }
}

impl Progress {
    /// On standard error, unless `quiet`. `bytes` is the size of the input, if known.
    pub(crate) fn new(quiet: bool, bytes: Option<u64>) -> Self {
        if quiet {
            Self::Hidden
        } else if io::stderr().is_terminal() {
            Self::Bar(bar(bytes))
        } else {
            Self::plain(Box::new(io::stderr()))
        }
    }

    fn plain(out: Box<dyn Write>) -> Self {
        Self::Plain { out, last: (Duration::ZERO, 0), last_failure: None }
    }

    /// Shows the position that the replay has at the time `now` of its clock.
    pub(crate) fn update(&mut self, now: Duration, position: Position) {
        match self {
            Self::Hidden => {}
            Self::Bar(bar) => {
                bar.set_position(position.bytes);
                bar.set_message(describe(position));
            }
            Self::Plain { out, last, .. } => {
                let due = position.records >= last.1 + RECORDS_PER_LINE
                    || now.saturating_sub(last.0) >= TIME_PER_LINE;
                if due && position.records > last.1 {
                    *last = (now, position.records - position.records % RECORDS_PER_LINE);
                    // If progress cannot be written, the replay goes on.
                    let _unread = writeln!(out, "{}", describe(position));
                }
            }
        }
    }

    /// Shows that records failed and will be delivered again.
    pub(crate) fn show_retry(&mut self, now: Duration, reason: &str) {
        let reason = truncated(&without_control_characters(reason), MAX_REASON);
        match self {
            Self::Hidden => {}
            Self::Bar(bar) => bar.set_message(format!("failed, trying again: {reason}")),
            Self::Plain { out, last_failure, .. } => {
                if last_failure.is_none_or(|last| now.saturating_sub(last) >= TIME_PER_LINE) {
                    *last_failure = Some(now);
                    let _unread = writeln!(out, "failed, trying again: {reason}");
                }
            }
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn describe(position: Position) -> String {
    let mut text =
        format!("{}, {}", count_of(position.records, "record"), count_of(position.events, "event"));
    if position.retries > 0 {
        text += &format!(", {} retried", count(position.retries));
    }
    text
}

fn bar(bytes: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
    let template = match bytes {
        Some(_) => "{bar:30} {percent:>3} %  {msg}  {elapsed}",
        None => "{spinner} {msg}  {elapsed}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::SharedBuffer;

    #[test]
    fn a_plain_line_comes_every_ten_thousand_records() {
        let shown = SharedBuffer::default();
        let mut progress = Progress::plain(Box::new(shown.clone()));
        for records in (100..=25_000).step_by(100) {
            progress.update(
                Duration::ZERO,
                Position { records, events: 2 * records, retries: records / 20_000, bytes: 0 },
            );
        }
        let text = String::from_utf8(shown.0.take()).unwrap();
        assert_eq!(text, "10,000 records, 20,000 events\n20,000 records, 40,000 events, 1 retried\n");
    }

    #[test]
    fn lines_about_failures_are_limited_by_time() {
        let shown = SharedBuffer::default();
        let mut progress = Progress::plain(Box::new(shown.clone()));
        (0..9).for_each(|_| progress.show_retry(Duration::ZERO, "read: timed\nout"));
        let line = "failed, trying again: read: timed\u{fffd}out\n";
        assert_eq!(String::from_utf8(shown.0.take()).unwrap(), line);
        progress.show_retry(TIME_PER_LINE, "read: timed\nout");
        assert_eq!(String::from_utf8(shown.0.take()).unwrap(), line, "after a pause there is a line again");
    }

    #[test]
    fn the_bar_is_well_formed() {
        for bytes in [None, Some(1)] {
            assert_eq!(bar(bytes).length(), bytes);
        }
        assert!(matches!(Progress::new(true, None), Progress::Hidden));
    }
}
