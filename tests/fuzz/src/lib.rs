//! What must hold of any input, however hostile, said once: the fuzz targets in `libfuzzer` and the test that replays
//! their corpora on a stable compiler call the same functions.
//!
//! | module | what must hold |
//! |---|---|
//! | [`batch`] | records: the pure part from the decoder to the commit |
//! | [`names`] | keys, channels, groups: each reads back as what it was made of, so no two things share one |
//! | [`messages`] | what goes to SQS is what SQS accepts |
//! | [`reader`] | the reader of `make local-stream` against a plain reading of the same text |
//! | [`tree`], [`pool`] | bytes to rows: odd ids, numbers at the limits, deep attributes |
//!
//! Each of the functions below takes the bytes that libFuzzer makes up, and panics where something does not hold.
#![allow(clippy::expect_used, clippy::panic, reason = "test code: a panic is how a test fails")]

pub mod batch;
pub mod messages;
pub mod names;
pub mod pool;
pub mod reader;
pub mod tree;

/// Records of a batch, at most: more find nothing new and cost time.
const MOST_RECORDS: usize = 6;
/// Ids of [`group_id`] that become rows, at most: each makes ten records.
const MOST_ROWS: usize = 2;

/// What a fuzz target calls with the bytes it makes up.
pub type Target = fn(&[u8]);

/// The targets by name: also the names of the folders of their seeds and corpora.
pub const TARGETS: [(&str, Target); 4] = [
    ("record_decoder", record_decoder),
    ("record_tree", record_tree),
    ("group_id", group_id),
    ("fixture_reader", fixture_reader),
];

/// Each line is a record, as it came.
pub fn record_decoder(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let records: Vec<&str> = text.lines().take(MOST_RECORDS).collect();
    batch::check(&records);
}

/// The bytes decide what rows there are: [`tree::records`].
pub fn record_tree(data: &[u8]) {
    let records = tree::records(data, MOST_RECORDS);
    batch::check(&records.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Ids and chains, parted by line feeds or, where the first byte is one, by NULs.
pub fn group_id(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts: Vec<&str> = match text.strip_prefix('\n') {
        Some(rest) => rest.split('\0').collect(),
        None => text.split('\n').collect(),
    };
    parts.truncate(MOST_RECORDS);
    names::check(&parts);
    batch::check_ids(&parts[..parts.len().min(MOST_ROWS)]);
}

/// A file for `make local-stream`.
pub fn fixture_reader(data: &[u8]) {
    reader::check(data);
}
