//! Records, and the rows in them.
//!
//! The processor takes [`Record`]s. Each source has a module that decodes the source's format into records:
//! [`dynamodb`] decodes stream records, [`postgres`] the rows of an outbox. A new source becomes another module here. No code outside this folder knows the
//! format of a source.

pub mod dynamodb;
pub mod postgres;
mod record;
mod row;
mod row_key;
mod sequence;
mod subject;

pub use record::{
    ChangeSource, Judgement, PreviousRow, Record, RecordContent, SkipReason, SourceRow, UndecodableRecord,
};
pub use row::{PriceRow, ProtocolRow, Row, TvlRow};
pub use row_key::RowKey;
pub use sequence::SequenceNumber;
pub use subject::Subject;
pub use subject::escape;
pub(crate) use subject::{segment, unescape_segment};
