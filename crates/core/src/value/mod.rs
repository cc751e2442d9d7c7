//! Exact numbers, metadata fields, and ids derived from text.

mod field;
mod id;
mod number;
mod text;

pub use field::{Field, Fields, PlainField, canonical_json};
pub use id::{EventName, of_event, of_text};
pub use number::{Change, Number, NumberError};
pub use text::Text;
