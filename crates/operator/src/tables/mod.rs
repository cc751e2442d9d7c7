//! Rows of the tables, for the commands that read them: which ones, how fast, and as records.
//!
//! A row becomes the stream record that the decoder of the processor reads, so no rule of rows is written twice.

mod reader;
mod record;
mod selection;

pub(crate) use reader::TableReader;
pub(crate) use record::{Newest, TableRow, newest_record};
pub use selection::Selection;
pub(crate) use selection::{Key, Kind};
