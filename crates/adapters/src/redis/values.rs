//! Arguments of commands and scripts.

use std::fmt::{self, Write};

use fred::bytes::Bytes;
use fred::types::Value;

/// A text argument.
pub(super) fn text(text: &str) -> Value {
    Value::from(text)
}

/// A number as text, because scripts receive only text.
pub(super) fn count(count: usize) -> Value {
    text(&count.to_string())
}

/// Arguments of one large call. All of them are written into one buffer, because a batch has thousands, and an
/// allocation for each costs more than all the rest of its way to the socket.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    buffer: String,
    /// Where each argument ends in the buffer.
    ends: Vec<usize>,
}

impl Arguments {
    /// Adds an argument.
    pub(super) fn push(&mut self, text: &str) {
        self.buffer.push_str(text);
        self.ends.push(self.buffer.len());
    }

    /// Adds a number, as text.
    pub(super) fn push_number(&mut self, number: impl fmt::Display) {
        // Writing to a `String` cannot fail.
        let _always_written = write!(self.buffer, "{number}");
        self.ends.push(self.buffer.len());
    }

    /// Number of arguments.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The arguments, in order. They share the buffer.
    pub(super) fn into_values(self) -> impl Iterator<Item = Value> {
        let buffer = Bytes::from(self.buffer);
        let mut start = 0;
        self.ends
            .into_iter()
            .map(move |end| Value::Bytes(buffer.slice(std::mem::replace(&mut start, end)..end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_their_bounds() {
        let mut arguments = Arguments::default();
        for text in ["", "é", "", "ab"] {
            arguments.push(text);
        }
        arguments.push_number(-7);
        assert_eq!(arguments.len(), 5);
        let texts: Vec<_> = arguments.into_values().filter_map(Value::into_string).collect();
        assert_eq!(texts, ["", "é", "", "ab", "-7"]);
    }
}
