//! Replays stream records on this machine: `make local-stream`.
//!
//! The one design decision: the processor that ships does the work, on its usual traits. This crate only replaces what is
//! around it, such as Lambda's event source mapping. A replay therefore shows how retries and partial failures behave,
//! without AWS.
//!
//! The modules, in the order of the data:
//!
//! - `args`: the command line. `app`: connects the other modules and sets the exit status.
//! - `source`, from the crate `stream-file`: reads records in all accepted forms.
//! - `replay`: takes the records through to the end of the input. `batches` groups them into batches, and `delivery`
//!   delivers a batch with its retries.
//! - `destinations`: names Redis and SQS, or memory in their place, and checks that they can be reached.
//! - `event_log`: writes the events to a file.
//! - `pace`: when a record is due, in a paced replay.
//! - `summary`: counts, with `biggest_changes` and `latency`. `view` says which events are shown, and under which `names`.
//! - `signals`: the signals of a replay, as counts and as a page of pictures.
//! - `report`: the summary as text, with `format` for numbers and names, `table` for columns, and `layout` for width and
//!   colours.
//! - `progress`: shows how far the replay is.

mod app;
mod args;
mod batches;
mod biggest_changes;
mod delivery;
mod destinations;
mod event_log;
mod format;
mod latency;
mod layout;
mod names;
mod pace;
mod progress;
mod replay;
mod report;
mod signals;
mod summary;
mod table;
#[cfg(test)]
mod test_support;
mod view;

pub use app::run;
pub use args::Args;
use stream_file::source;
