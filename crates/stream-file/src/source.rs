//! The records of a file or of standard input, in all accepted forms.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::values::{InvalidInput, Value, Values};

/// What is accepted, for error messages.
pub const ACCEPTED: &str = r#"accepted are DynamoDB stream records as JSON lines, a Lambda event {"Records":[…]}, or an array of records"#;
/// The name of standard input.
const STDIN: &str = "-";
/// Size of the read buffer, bytes.
const BUFFER_SIZE: usize = 256 * 1024;
/// After this many values without a record, the input is refused.
const MAX_UNRECOGNISED: usize = 100;
/// Compressed forms: their first bytes, their name, and the command that unpacks them.
const COMPRESSED: [(&[u8], &str, &str); 5] = [
    (b"\x1f\x8b", "gzip", "gunzip -c"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
    (b"BZh", "bzip2", "bunzip2 -c"),
    (b"\xfd7zXZ", "xz", "xz -dc"),
    (b"PK\x03\x04", "zip", "unzip -p"),
];

/// One record, not decoded, and its position in the input.
#[derive(Debug)]
pub struct SourceRecord {
    /// Its number in the input, from 0.
    pub number: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its stream: `eventSourceARN`. Empty if it has none.
    pub shard: String,
    /// The record as it was read.
    pub raw: Box<RawValue>,
    /// Bytes from the start of the input to the end of the value that contains it.
    pub end: u64,
}

/// Why the input, or the rest of it, cannot be read.
#[derive(Debug)]
pub struct SourceError {
    name: String,
    line: Option<u64>,
    problem: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.name, self.problem),
            None => write!(f, "{}: {}", self.name, self.problem),
        }
    }
}

impl std::error::Error for SourceError {}

/// The records of an input, in order.
pub struct Source {
    name: String,
    values: Values<Box<dyn BufRead + Send>>,
    ready: VecDeque<SourceRecord>,
    /// Records held back until the input proves to contain stream records.
    unrecognised: VecDeque<SourceRecord>,
    /// True after the first value that looks like a record.
    recognised: bool,
    /// Number of records so far.
    count: u64,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The name of the input in messages and summaries.
pub fn name(path: &Path) -> String {
    if path.as_os_str() == STDIN { "standard input".to_owned() } else { path.display().to_string() }
}

/// The size of the input in bytes, if it is a file.
pub fn size(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|file| file.len())
}

impl Source {
    /// Opens `path`, or standard input for `-`, and checks its first bytes.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let reader: Box<dyn Read + Send> =
            if path.as_os_str() == STDIN { Box::new(io::stdin()) } else { Box::new(open_file(path)?) };
        Self::new(name(path), reader)
    }

    /// The records of any reader. `name` is its name in messages.
    pub fn new(name: String, reader: impl Read + Send + 'static) -> Result<Self, SourceError> {
        let mut reader = BufReader::with_capacity(BUFFER_SIZE, reader);
        let first = reader.fill_buf().map_err(|error| SourceError {
            name: name.clone(),
            line: None,
            problem: format!("cannot be read: {error}"),
        })?;
        if let Some(problem) = not_text(first) {
            return Err(SourceError { name, line: None, problem });
        }
        let byte_order_mark = if first.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        reader.consume(byte_order_mark);
        Ok(Self {
            name,
            values: Values::new(Box::new(reader)),
            ready: VecDeque::new(),
            unrecognised: VecDeque::new(),
            recognised: false,
            count: 0,
        })
    }

    fn error(&self, line: Option<u64>, problem: impl fmt::Display) -> SourceError {
        SourceError { name: self.name.clone(), line, problem: format!("{problem}; {ACCEPTED}") }
    }

    /// Reads one more value. False at the end of the input.
    fn read(&mut self) -> Result<bool, SourceError> {
        let value = match self.values.read() {
            Ok(Some(value)) => value,
            Ok(None) if self.recognised => return Ok(false),
            Ok(None) => return Err(self.nothing_found()),
            Err(InvalidInput { line: None, problem }) => {
                return Err(SourceError { name: self.name.clone(), line: None, problem });
            }
            Err(InvalidInput { line, problem }) => return Err(self.error(line, problem)),
        };
        self.unpack(&value)?;
        if self.recognised {
            self.ready.extend(self.unrecognised.drain(..));
        } else if self.unrecognised.len() >= MAX_UNRECOGNISED {
            return Err(self.nothing_found());
        }
        Ok(true)
    }

    fn nothing_found(&self) -> SourceError {
        match self.unrecognised.front() {
            Some(first) => self.error(Some(first.line), "JSON, but no stream record"),
            None => self.error(None, "holds no record"),
        }
    }

    /// Takes the records of a value: a record, a Lambda event, or an array of either.
    fn unpack(&mut self, value: &Value) -> Result<(), SourceError> {
        let text = value.raw.get();
        let mut lines = LineCounter { text, counted: 0, line: value.line, end: value.end };
        if !text.starts_with('[') {
            return self.unpack_object(&value.raw, &mut lines);
        }
        let elements: Vec<&RawValue> = elements(text).unwrap_or_default();
        elements.into_iter().try_for_each(|element| self.unpack_object(element, &mut lines))
    }

    /// Takes a record, or the records of a Lambda event.
    fn unpack_object(&mut self, raw: &RawValue, lines: &mut LineCounter<'_>) -> Result<(), SourceError> {
        let fields = TopLevelFields::of(raw.get());
        let Some(records) = fields.records else {
            self.push(raw, &fields, lines);
            return Ok(());
        };
        let Some(records) = elements(records.get()) else {
            return Err(self.error(Some(lines.line_of(records)), "\"Records\" is no array"));
        };
        for record in records {
            // Everything in a Lambda event counts as a record. The processor decides whether it is one.
            self.recognised = true;
            self.push(record, &TopLevelFields::of(record.get()), lines);
        }
        Ok(())
    }

    fn push(&mut self, raw: &RawValue, fields: &TopLevelFields<'_>, lines: &mut LineCounter<'_>) {
        let number = self.count;
        self.count += 1;
        let record = SourceRecord {
            number,
            line: lines.line_of(raw),
            shard: fields.shard(),
            raw: raw.to_owned(),
            end: lines.end,
        };
        self.recognised |= fields.looks_like_a_record();
        self.unrecognised.push_back(record);
    }
}

impl Iterator for Source {
    type Item = Result<SourceRecord, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(Ok(record));
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn elements(array: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(array).ok()
}

/// Finds the lines on which the parts of a value begin. Call it with the parts in their order.
struct LineCounter<'a> {
    text: &'a str,
    /// Bytes of the text in which lines are counted.
    counted: usize,
    /// The line at that position.
    line: u64,
    /// Bytes from the start of the input to the end of the value.
    end: u64,
}

impl LineCounter<'_> {
    fn line_of(&mut self, part: &RawValue) -> u64 {
        // The part is a slice of the text, so the difference of the addresses is its position.
        let position = (part.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        if let Some(between) = self.text.as_bytes().get(self.counted..position) {
            self.line += between.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.counted = position;
        }
        self.line
    }
}

/// The fields that decide what a value is, without decoding it.
#[derive(Default, Deserialize)]
struct TopLevelFields<'a> {
    #[serde(rename = "Records", borrow)]
    records: Option<&'a RawValue>,
    #[serde(rename = "eventSourceARN", borrow)]
    shard: Option<&'a RawValue>,
    #[serde(rename = "eventName", borrow)]
    event_name: Option<&'a RawValue>,
    #[serde(borrow)]
    dynamodb: Option<&'a RawValue>,
}

impl<'a> TopLevelFields<'a> {
    fn of(text: &'a str) -> Self {
        // Only for objects: serde would read the elements of an array as the fields in their order.
        if text.starts_with('{') { serde_json::from_str(text).unwrap_or_default() } else { Self::default() }
    }

    fn looks_like_a_record(&self) -> bool {
        self.event_name.is_some() || self.dynamodb.is_some()
    }

    fn shard(&self) -> String {
        self.shard.and_then(|shard| serde_json::from_str(shard.get()).ok()).unwrap_or_default()
    }
}

fn open_file(path: &Path) -> Result<File, SourceError> {
    let error = |problem: String| SourceError { name: path.display().to_string(), line: None, problem };
    let file = File::open(path).map_err(|failed| match failed.kind() {
        io::ErrorKind::NotFound => error("no such file".to_owned()),
        _ => error(format!("cannot be opened: {failed}")),
    })?;
    match file.metadata() {
        Ok(found) if found.is_dir() => Err(error(format!("is a directory; {ACCEPTED}"))),
        _ => Ok(file),
    }
}

/// Says why the input is not text, if its first bytes show that.
fn not_text(first: &[u8]) -> Option<String> {
    if first.is_empty() {
        return Some(format!("is empty; {ACCEPTED}"));
    }
    if let Some((_, form, unpack)) = COMPRESSED.iter().find(|(magic, ..)| first.starts_with(magic)) {
        return Some(format!("is {form}, not JSON; unpack it first: {unpack} FILE | local-stream -"));
    }
    if first.starts_with(b"\xff\xfe") || first.starts_with(b"\xfe\xff") {
        return Some(format!("is UTF-16, not UTF-8; {ACCEPTED}"));
    }
    let sample = &first[..first.len().min(1024)];
    let begins_without_text =
        !sample[0].is_ascii() && std::str::from_utf8(sample).is_err_and(|error| error.valid_up_to() == 0);
    let begins_with_control = sample[0].is_ascii_control() && !sample[0].is_ascii_whitespace();
    (sample.contains(&0) || begins_without_text || begins_with_control)
        .then(|| format!("is binary, not JSON; {ACCEPTED}"))
}

#[cfg(test)]
mod tests;
