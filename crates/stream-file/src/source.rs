//! Where records come from: a file or standard input, in any of the forms people have them in.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::values::{Broken, Value, Values};

/// What is accepted, for messages.
pub const ACCEPTED: &str = r#"accepted are DynamoDB stream records as JSON lines, a Lambda event {"Records":[…]}, or an array of records"#;
/// The name of standard input.
const STDIN: &str = "-";
/// Bytes read at once.
const CHUNK: usize = 256 * 1024;
/// Values that look like no record at the beginning before the input is given up.
const MOST_ODD: usize = 100;
/// First bytes of what people have compressed, with how to read it.
const PACKED: [(&[u8], &str, &str); 5] = [
    (b"\x1f\x8b", "gzip", "gunzip -c"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
    (b"BZh", "bzip2", "bunzip2 -c"),
    (b"\xfd7zXZ", "xz", "xz -dc"),
    (b"PK\x03\x04", "zip", "unzip -p"),
];

/// One record, not decoded, and where it stands.
#[derive(Debug)]
pub struct SourceRecord {
    /// Its place in the input, from 0.
    pub number: u64,
    /// The line it begins on, from 1.
    pub line: u64,
    /// Its stream: `eventSourceARN`, empty where it has none.
    pub shard: String,
    /// The record as it came.
    pub raw: Box<RawValue>,
    /// Bytes of input read through the value that holds it.
    pub end: u64,
}

/// Why the input cannot be replayed, or no further.
#[derive(Debug)]
pub struct SourceError {
    name: String,
    line: Option<u64>,
    what: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.name, self.what),
            None => write!(f, "{}: {}", self.name, self.what),
        }
    }
}

impl std::error::Error for SourceError {}

/// The records of an input, in order.
pub struct Source {
    name: String,
    values: Values<Box<dyn BufRead + Send>>,
    ready: VecDeque<SourceRecord>,
    /// What came before the first value that looks like a record.
    odd: VecDeque<SourceRecord>,
    recognised: bool,
    numbered: u64,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How the input is called in messages and summaries.
pub fn name(path: &Path) -> String {
    if path.as_os_str() == STDIN { "standard input".to_owned() } else { path.display().to_string() }
}

/// The size of the input in bytes, where it has one.
pub fn size(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|file| file.len())
}

impl Source {
    /// Opens `path`, or standard input for `-`, and looks at its first bytes.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let reader: Box<dyn Read + Send> =
            if path.as_os_str() == STDIN { Box::new(io::stdin()) } else { Box::new(open_file(path)?) };
        Self::new(name(path), reader)
    }

    /// The records of anything that can be read; `name` is what messages call it.
    pub fn new(name: String, reader: impl Read + Send + 'static) -> Result<Self, SourceError> {
        let mut reader = BufReader::with_capacity(CHUNK, reader);
        let first = reader.fill_buf().map_err(|error| SourceError {
            name: name.clone(),
            line: None,
            what: format!("cannot be read: {error}"),
        })?;
        if let Some(what) = not_text(first) {
            return Err(SourceError { name, line: None, what });
        }
        let mark = if first.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        reader.consume(mark);
        Ok(Self {
            name,
            values: Values::new(Box::new(reader)),
            ready: VecDeque::new(),
            odd: VecDeque::new(),
            recognised: false,
            numbered: 0,
        })
    }

    fn error(&self, line: Option<u64>, what: impl fmt::Display) -> SourceError {
        SourceError { name: self.name.clone(), line, what: format!("{what}; {ACCEPTED}") }
    }

    /// Reads one more value; `false` at the end.
    fn read(&mut self) -> Result<bool, SourceError> {
        let value = match self.values.read() {
            Ok(Some(value)) => value,
            Ok(None) if self.recognised => return Ok(false),
            Ok(None) => return Err(self.nothing_found()),
            Err(Broken { line: None, what }) => {
                return Err(SourceError { name: self.name.clone(), line: None, what });
            }
            Err(Broken { line, what }) => return Err(self.error(line, what)),
        };
        self.unpack(&value)?;
        if self.recognised {
            self.ready.extend(self.odd.drain(..));
        } else if self.odd.len() >= MOST_ODD {
            return Err(self.nothing_found());
        }
        Ok(true)
    }

    fn nothing_found(&self) -> SourceError {
        match self.odd.front() {
            Some(odd) => self.error(Some(odd.line), "JSON, but no stream record"),
            None => self.error(None, "holds no record"),
        }
    }

    fn unpack(&mut self, value: &Value) -> Result<(), SourceError> {
        let text = value.raw.get();
        let mut place = Place { text, counted: 0, line: value.line, end: value.end };
        if !text.starts_with('[') {
            return self.unpack_object(&value.raw, &mut place);
        }
        let elements: Vec<&RawValue> = elements(text).unwrap_or_default();
        elements.into_iter().try_for_each(|element| self.unpack_object(element, &mut place))
    }

    /// Takes a record, or the records of a Lambda event.
    fn unpack_object(&mut self, raw: &RawValue, place: &mut Place<'_>) -> Result<(), SourceError> {
        let probe = Probe::of(raw.get());
        let Some(records) = probe.records else {
            self.push(raw, &probe, place);
            return Ok(());
        };
        let Some(records) = elements(records.get()) else {
            return Err(self.error(Some(place.line_of(records)), "\"Records\" is no array"));
        };
        for record in records {
            // In a Lambda event everything is a record, however odd.
            self.recognised = true;
            self.push(record, &Probe::of(record.get()), place);
        }
        Ok(())
    }

    fn push(&mut self, raw: &RawValue, probe: &Probe<'_>, place: &mut Place<'_>) {
        let number = self.numbered;
        self.numbered += 1;
        let record = SourceRecord {
            number,
            line: place.line_of(raw),
            shard: probe.shard(),
            raw: raw.to_owned(),
            end: place.end,
        };
        self.recognised |= probe.looks_like_a_record();
        self.odd.push_back(record);
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

/// The value that is being unpacked: gives the lines of its parts, which must be asked for in order.
struct Place<'a> {
    text: &'a str,
    counted: usize,
    line: u64,
    end: u64,
}

impl Place<'_> {
    fn line_of(&mut self, part: &RawValue) -> u64 {
        // The part is borrowed from the text, so its address tells where in the text it stands.
        let at = (part.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        if let Some(between) = self.text.as_bytes().get(self.counted..at) {
            self.line += between.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.counted = at;
        }
        self.line
    }
}

/// What must be known of a record before it is decoded.
#[derive(Default, Deserialize)]
struct Probe<'a> {
    #[serde(rename = "Records", borrow)]
    records: Option<&'a RawValue>,
    #[serde(rename = "eventSourceARN", borrow)]
    shard: Option<&'a RawValue>,
    #[serde(rename = "eventName", borrow)]
    event_name: Option<&'a RawValue>,
    #[serde(borrow)]
    dynamodb: Option<&'a RawValue>,
}

impl<'a> Probe<'a> {
    fn of(text: &'a str) -> Self {
        // An array would be read as the fields in their order.
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
    let error = |what: String| SourceError { name: path.display().to_string(), line: None, what };
    let file = File::open(path).map_err(|failed| match failed.kind() {
        io::ErrorKind::NotFound => error("no such file".to_owned()),
        _ => error(format!("cannot be opened: {failed}")),
    })?;
    match file.metadata() {
        Ok(found) if found.is_dir() => Err(error(format!("is a directory; {ACCEPTED}"))),
        _ => Ok(file),
    }
}

/// What the input is where it is no text, by its first bytes.
fn not_text(first: &[u8]) -> Option<String> {
    if first.is_empty() {
        return Some(format!("is empty; {ACCEPTED}"));
    }
    if let Some((_, packed, unpack)) = PACKED.iter().find(|(magic, ..)| first.starts_with(magic)) {
        return Some(format!("is {packed}, not JSON; unpack it first: {unpack} FILE | local-stream -"));
    }
    if first.starts_with(b"\xff\xfe") || first.starts_with(b"\xfe\xff") {
        return Some(format!("is UTF-16, not UTF-8; {ACCEPTED}"));
    }
    let sample = &first[..first.len().min(1024)];
    let begins_odd =
        !sample[0].is_ascii() && std::str::from_utf8(sample).is_err_and(|error| error.valid_up_to() == 0);
    let begins_with_control = sample[0].is_ascii_control() && !sample[0].is_ascii_whitespace();
    (sample.contains(&0) || begins_odd || begins_with_control)
        .then(|| format!("is binary, not JSON; {ACCEPTED}"))
}

#[cfg(test)]
mod tests;
