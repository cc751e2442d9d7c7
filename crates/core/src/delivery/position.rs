//! Positions in the log of all events.

use std::fmt;
use std::str::FromStr;

/// The id of an entry of the log: the time of the server, and a number within the same ms. Ids of one log only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The time of the server, ms since 1970.
    pub ms: u64,
    /// Which of the entries of that ms, from 0.
    pub number: u64,
}

impl Position {
    /// Before the first entry of any log.
    pub const START: Self = Self { ms: 0, number: 0 };

    /// The position just before this one.
    pub fn before(self) -> Self {
        match self.number.checked_sub(1) {
            Some(number) => Self { number, ..self },
            None => Self { ms: self.ms.saturating_sub(1), number: u64::MAX },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// The text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPosition;

impl fmt::Display for NoPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position, such as 1764237600123-0")
    }
}

impl std::error::Error for NoPosition {}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let digits = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().map_err(|_| NoPosition),
            false => Err(NoPosition),
        };
        let (ms, number) = text.split_once('-').ok_or(NoPosition)?;
        Ok(Self { ms: digits(ms)?, number: digits(number)? })
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it is.
    pub position: Position,
    /// The event, JSON.
    pub event: String,
}

/// A part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The oldest entry that the log has; `None` if it has none.
    pub oldest: Option<Position>,
    /// The newest position that the log ever had: it stays when entries are removed.
    pub newest: Position,
    /// True if the log has the entry after which was asked.
    pub has_after: bool,
    /// True if the log has ever given up an entry, or if that is unknown.
    pub trimmed: bool,
    /// The entries, oldest first.
    pub entries: Vec<LogEntry>,
}

/// Values of keys, as of one position of the log: every event up to it is in the values, and none after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The values, in the order of the keys.
    pub values: Vec<Option<String>>,
    /// The position.
    pub position: Position,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_ids_of_a_stream_are_positions() {
        for text in ["", "1", "-", "1-", "-1", "1-+1", "1-2-3", "x-1", " 1-1", "99999999999999999999999-0"] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
        assert_eq!("0-0".parse(), Ok(Position::START));
    }

    proptest! {
        #[test]
        fn a_position_is_read_back(ms: u64, number: u64) {
            let position = Position { ms, number };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }
    }
}
