//! Splits a stream of bytes into JSON values. A line may have several values, and a value may have several lines.

use std::io::{self, BufRead};

use serde_json::value::RawValue;

/// An unfinished value is checked for the first time after this many bytes. So a missing bracket on line 17 is reported
/// without reading the file to its end.
const FIRST_CHECK: usize = 16 * 1024;
/// Most characters of an excerpt in an error message.
const MAX_EXCERPT: usize = 40;

/// One value, as it was written.
#[derive(Debug)]
pub(crate) struct Value {
    /// Its text: valid JSON, without white space around it.
    pub(crate) raw: Box<RawValue>,
    /// The line on which it begins, from 1.
    pub(crate) line: u64,
    /// Bytes from the start of the input to its end.
    pub(crate) end: u64,
}

/// Why there is no next value.
#[derive(Debug)]
pub(crate) struct InvalidInput {
    /// The line of the error. `None` if the input could not be read.
    pub(crate) line: Option<u64>,
    /// What is wrong.
    pub(crate) problem: String,
}

/// The values of an input, in order.
#[derive(Debug)]
pub(crate) struct Values<R> {
    input: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that belong to earlier values.
    used: usize,
    /// The position of the next byte in the input.
    position: Position,
}

/// A position in the input.
#[derive(Clone, Copy, Debug)]
struct Position {
    line: u64,
    /// Bytes before it in its line.
    column: usize,
    offset: u64,
}

impl Position {
    fn advance(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            None => self.column += bytes.len(),
            Some(last) => {
                self.line += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.column = bytes.len() - last - 1;
            }
        }
    }
}

impl<R: BufRead> Values<R> {
    /// The values of `input`.
    pub(crate) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), used: 0, position: Position { line: 1, column: 0, offset: 0 } }
    }

    /// The next value. `None` at the end.
    pub(crate) fn read(&mut self) -> Result<Option<Value>, InvalidInput> {
        if !self.skip_blanks()? {
            return Ok(None);
        }
        let mut scanner = Scanner::default();
        let (mut length, mut next_check) = (0, FIRST_CHECK);
        loop {
            if let Some(end) = scanner.scan(&self.buffer[self.used + length..]) {
                return self.take(length + end).map(Some);
            }
            length = self.buffer.len() - self.used;
            if length >= next_check {
                next_check = 2 * length;
                self.check_unfinished()?;
            }
            if !self.read_line()? {
                return self.take(length).map(Some);
            }
        }
    }

    /// Reads one more line into the buffer. False at the end of the input.
    fn read_line(&mut self) -> Result<bool, InvalidInput> {
        let read = self.input.read_until(b'\n', &mut self.buffer).map_err(|error| unreadable(&error))?;
        Ok(read > 0)
    }

    /// Goes to the next byte that is not white space. False if there is none.
    fn skip_blanks(&mut self) -> Result<bool, InvalidInput> {
        loop {
            let rest = &self.buffer[self.used..];
            let blanks = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
            self.position.advance(&rest[..blanks]);
            self.used += blanks;
            if self.used < self.buffer.len() {
                return Ok(true);
            }
            self.buffer.clear();
            self.used = 0;
            if !self.read_line()? {
                return Ok(false);
            }
        }
    }

    /// Takes the next `length` bytes as a value.
    fn take(&mut self, length: usize) -> Result<Value, InvalidInput> {
        let bytes = &self.buffer[self.used..self.used + length];
        let raw = parse(bytes).map_err(|error| self.invalid(bytes, &error))?.to_owned();
        let line = self.position.line;
        self.position.advance(bytes);
        self.used += length;
        Ok(Value { raw, line, end: self.position.offset })
    }

    /// Fails if the value cannot become valid JSON, whatever follows.
    fn check_unfinished(&self) -> Result<(), InvalidInput> {
        let bytes = &self.buffer[self.used..];
        match parse(bytes) {
            Err(error) if !error.unfinished => Err(self.invalid(bytes, &error)),
            _ => Ok(()),
        }
    }

    /// The error with its line and column in the input, and an excerpt.
    fn invalid(&self, bytes: &[u8], error: &ParseError) -> InvalidInput {
        let (lines, column) = (error.line as u64 - 1, error.column);
        let column = if lines == 0 { self.position.column + column } else { column };
        let mut problem = format!("{} at column {column}: {}", error.problem, excerpt(bytes, error.line));
        if lines > 0 {
            problem += &format!(", in the value that begins on line {}", self.position.line);
        }
        InvalidInput { line: Some(self.position.line + lines), problem }
    }
}

/// White space in JSON. A form feed is none.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn unreadable(error: &io::Error) -> InvalidInput {
    InvalidInput { line: None, problem: format!("cannot be read: {error}") }
}

/// Why a text is not JSON. Lines and columns count from 1, from the start of the text.
struct ParseError {
    problem: String,
    line: usize,
    column: usize,
    /// True if more text could make it valid.
    unfinished: bool,
}

fn parse(bytes: &[u8]) -> Result<&RawValue, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = &bytes[..error.valid_up_to()];
        let line_start = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
        ParseError {
            problem: "not UTF-8 text".to_owned(),
            line: 1 + valid.iter().filter(|byte| **byte == b'\n').count(),
            column: valid.len() - line_start + 1,
            unfinished: error.error_len().is_none(),
        }
    })?;
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line().max(1), error.column());
        let message = error.to_string();
        let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
        ParseError { problem: format!("not JSON: {reason}"), line, column, unfinished: error.is_eof() }
    })
}

/// The beginning of a line, with control characters escaped for the terminal.
fn excerpt(bytes: &[u8], line: usize) -> String {
    let line = bytes.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default();
    let text = String::from_utf8_lossy(&line[..line.len().min(4 * MAX_EXCERPT)]);
    let text = text.trim();
    let shown: String = text.chars().take(MAX_EXCERPT).flat_map(char::escape_debug).collect();
    let more = if text.chars().count() > MAX_EXCERPT { "…" } else { "" };
    format!("`{}{more}`", shown.replace("\\\"", "\""))
}

/// Finds the end of a value by its brackets and quotes alone. The parser then checks whether it is JSON.
#[derive(Default)]
struct Scanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// In a number, `true`, `false` or `null`.
    in_word: bool,
}

impl Scanner {
    /// The position after the end of the value, if the end is in `bytes`. `bytes` must continue where the previous
    /// call stopped.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        bytes.iter().enumerate().find_map(|(at, byte)| self.step(at, *byte))
    }

    fn step(&mut self, at: usize, byte: u8) -> Option<usize> {
        if self.in_string {
            return self.in_string(at, byte);
        }
        match byte {
            b'"' | b'{' | b'[' if self.in_word => return Some(at),
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth <= 1 => return Some(at + 1),
            b'}' | b']' => self.depth -= 1,
            _ if self.depth > 0 => {}
            _ if is_blank(byte) => return Some(at),
            _ => self.in_word = true,
        }
        None
    }

    fn in_string(&mut self, at: usize, byte: u8) -> Option<usize> {
        match byte {
            // JSON allows no line break in a string. End the value here, so that the parser reports it now and not at
            // the end of the file.
            b'\n' => return Some(at + 1),
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                return (self.depth == 0).then_some(at + 1);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<(u64, String)>, InvalidInput> {
        let mut values = Values::new(text);
        let mut found = Vec::new();
        while let Some(value) = values.read()? {
            found.push((value.line, value.raw.get().to_owned()));
        }
        assert_eq!(values.position.offset, text.len() as u64);
        Ok(found)
    }

    fn error_of(text: &[u8]) -> (Option<u64>, String) {
        let error = all(text).unwrap_err();
        (error.line, error.problem)
    }

    #[test]
    fn values_come_in_any_layout() {
        let text = b"{\"a\":1}\r\n\n  [1,\n 2]\n{\n\"b\": \"}\\\"]\"\n} {}[]\"x y\" 12 null\n\"z\"";
        let expected = [
            (1, "{\"a\":1}"),
            (3, "[1,\n 2]"),
            (5, "{\n\"b\": \"}\\\"]\"\n}"),
            (7, "{}"),
            (7, "[]"),
            (7, "\"x y\""),
            (7, "12"),
            (7, "null"),
            (8, "\"z\""),
        ];
        let found = all(text).unwrap();
        assert_eq!(found.iter().map(|(line, text)| (*line, text.as_str())).collect::<Vec<_>>(), expected);
        assert!(all(b"").unwrap().is_empty() && all(b" \n\t\r\n").unwrap().is_empty());
    }

    #[test]
    fn an_error_has_its_line_and_column() {
        let (line, what) = error_of(b"{}\n{}\nhello world\n{}\n");
        assert_eq!((line, what.as_str()), (Some(3), "not JSON: expected value at column 1: `hello`"));
        let (line, what) = error_of(b"{}\n{} {\"a\":,}\n");
        assert_eq!((line, what.as_str()), (Some(2), "not JSON: expected value at column 9: `{\"a\":,}`"));
        assert_eq!(error_of(b"{}\n}\n").0, Some(2));
        assert_eq!(error_of(b"{}\n\x0c{}\n").0, Some(2), "a form feed is no white space of JSON");
        assert_eq!(error_of(b"{\"a\":1},\n{\"a\":1}\n").0, Some(1));
    }

    #[test]
    fn a_value_that_is_cut_off_is_reported() {
        let (line, what) = error_of(b"{}\n{\"a\":\n{\"b\":1}\n");
        assert_eq!(line, Some(4));
        assert!(what.contains("EOF") && what.contains("begins on line 2"), "{what}");
        let (line, what) = error_of(b"{}\n{\"a\":1\n{\"b\":1}\n");
        assert_eq!(line, Some(3));
        assert!(what.contains("expected `,` or `}` at column 1"), "{what}");
    }

    #[test]
    fn a_string_cut_off_does_not_swallow_what_follows() {
        let (line, what) = error_of(b"{\"a\":\"b\n{\"c\":\"d\"}\n");
        assert!(line == Some(1) || what.contains("begins on line 1"), "{line:?} {what}");
        assert!(what.contains("control character"), "{what}");
    }

    #[test]
    fn a_broken_value_is_reported_long_before_the_end() {
        let endless = b"{\"cut\":1\n".iter().chain(b"{\"a\":1}\n".iter().cycle()).take(100 * FIRST_CHECK);
        let bytes: Vec<u8> = endless.copied().collect();
        let mut values = Values::new(bytes.as_slice());
        assert_eq!(values.read().unwrap_err().line, Some(2));
        assert!(values.buffer.len() < 2 * FIRST_CHECK);
    }

    #[test]
    fn text_that_is_not_utf_8_is_reported() {
        let (line, what) = error_of(b"{}\n{\"a\":\"\xff\xfe\"}\n");
        assert_eq!(line, Some(2));
        assert!(what.starts_with("not UTF-8 text at column 7"), "{what}");
    }

    #[test]
    fn an_excerpt_fits_a_terminal() {
        assert_eq!(excerpt(b"a\n\x1b[31m\"red\"\t\n", 2), "`\\u{1b}[31m\"red\"`");
        assert_eq!(excerpt("é".repeat(90).as_bytes(), 1), format!("`{}…`", "é".repeat(40)));
    }
}
