//! Arguments of commands and scripts.

use fred::types::Value;

/// A text argument.
pub(super) fn text(text: &str) -> Value {
    Value::from(text)
}

/// A number as text, because scripts receive only text.
pub(super) fn count(count: usize) -> Value {
    text(&count.to_string())
}
