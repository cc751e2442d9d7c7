//! Exact numbers, metadata fields, and ids derived from text.

mod field;
mod id;
mod number;

pub use field::{Field, Fields, canonical_json};
pub use id::{EventName, of_event, of_text};
pub use number::{Change, Number, NumberError};
