//! Cuts a stream of bytes into JSON values: any number of them, one a line, several a line, or over several lines.

use std::fmt;
use std::io::{self, BufRead};

use serde_json::value::RawValue;

/// Bytes of an unfinished value after which it is looked at for the first time, so that a file that went wrong on
/// line 17 is not read to its end first.
const FIRST_LOOK: usize = 16 * 1024;
/// Characters shown of a text that is no JSON.
const EXCERPT: usize = 40;

/// One value, as it was written.
#[derive(Debug)]
pub struct Value {
    /// Its text: valid JSON, without white space around it.
    pub raw: Box<RawValue>,
    /// The line it begins on, from 1.
    pub line: u64,
    /// Bytes read through its end.
    pub end: u64,
}

/// Why there is no next value.
#[derive(Debug)]
pub struct Broken {
    /// The line of the fault; `None` where the input could not be read at all.
    pub line: Option<u64>,
    /// What is wrong, for a person.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The values of an input, in order.
#[derive(Debug)]
pub struct Values<R> {
    input: R,
    buffer: Vec<u8>,
    /// How much of the buffer is done with.
    used: usize,
    at: Position,
}

/// Where `used` is in the input.
#[derive(Clone, Copy, Debug)]
struct Position {
    line: u64,
    /// Bytes of that line before it.
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
    pub fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), used: 0, at: Position { line: 1, column: 0, offset: 0 } }
    }

    /// The next value; `None` at the end.
    pub fn read(&mut self) -> Result<Option<Value>, Broken> {
        if !self.skip_blanks()? {
            return Ok(None);
        }
        let mut scanner = Scanner::default();
        let (mut length, mut next_look) = (0, FIRST_LOOK);
        loop {
            if let Some(end) = scanner.scan(&self.buffer[self.used + length..]) {
                return self.take(length + end).map(Some);
            }
            length = self.buffer.len() - self.used;
            if length >= next_look {
                next_look = 2 * length;
                self.look()?;
            }
            if !self.more()? {
                return self.take(length).map(Some);
            }
        }
    }

    /// Reads one more line; `false` at the end.
    fn more(&mut self) -> Result<bool, Broken> {
        let read = self.input.read_until(b'\n', &mut self.buffer).map_err(|error| unreadable(&error))?;
        Ok(read > 0)
    }

    /// Goes to the next byte that is no white space; `false` when there is none.
    fn skip_blanks(&mut self) -> Result<bool, Broken> {
        loop {
            let rest = &self.buffer[self.used..];
            let blanks = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
            self.at.advance(&rest[..blanks]);
            self.used += blanks;
            if self.used < self.buffer.len() {
                return Ok(true);
            }
            self.buffer.clear();
            self.used = 0;
            if !self.more()? {
                return Ok(false);
            }
        }
    }

    /// Takes the next `length` bytes as a value.
    fn take(&mut self, length: usize) -> Result<Value, Broken> {
        let bytes = &self.buffer[self.used..self.used + length];
        let raw = parse(bytes).map_err(|fault| self.broken(bytes, &fault))?.to_owned();
        let line = self.at.line;
        self.at.advance(bytes);
        self.used += length;
        Ok(Value { raw, line, end: self.at.offset })
    }

    /// Checks what there is of an unfinished value.
    fn look(&self) -> Result<(), Broken> {
        let bytes = &self.buffer[self.used..];
        match parse(bytes) {
            Err(fault) if !fault.unfinished => Err(self.broken(bytes, &fault)),
            _ => Ok(()),
        }
    }

    fn broken(&self, bytes: &[u8], fault: &Fault) -> Broken {
        let (lines, column) = (fault.line as u64 - 1, fault.column);
        let column = if lines == 0 { self.at.column + column } else { column };
        let mut what = format!("{} at column {column}: {}", fault.what, excerpt(bytes, fault.line));
        if lines > 0 {
            what += &format!(", in the value that begins on line {}", self.at.line);
        }
        Broken { line: Some(self.at.line + lines), what }
    }
}

/// White space of JSON: no form feed.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn unreadable(error: &io::Error) -> Broken {
    Broken { line: None, what: format!("cannot be read: {error}") }
}

/// What is wrong with a text; lines and columns from 1.
struct Fault {
    what: String,
    line: usize,
    column: usize,
    unfinished: bool,
}

fn parse(bytes: &[u8]) -> Result<&RawValue, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Fault {
            what: "not UTF-8 text".to_owned(),
            line: 1 + good.iter().filter(|byte| **byte == b'\n').count(),
            column: good.len() - line_start + 1,
            unfinished: error.error_len().is_none(),
        }
    })?;
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line().max(1), error.column());
        let said = error.to_string();
        let reason = said.rsplit_once(" at line ").map_or(said.as_str(), |(reason, _)| reason);
        Fault { what: format!("not JSON: {reason}"), line, column, unfinished: error.is_eof() }
    })
}

/// The beginning of a line of a text, fit for a terminal.
fn excerpt(bytes: &[u8], line: usize) -> String {
    let line = bytes.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default();
    let text = String::from_utf8_lossy(&line[..line.len().min(4 * EXCERPT)]);
    let text = text.trim();
    let shown: String = text.chars().take(EXCERPT).flat_map(char::escape_debug).collect();
    let more = if text.chars().count() > EXCERPT { "…" } else { "" };
    format!("`{}{more}`", shown.replace("\\\"", "\""))
}

/// Finds where a value ends by its brackets and quotes alone; whether it is JSON is for the parser to say.
#[derive(Default)]
struct Scanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    in_word: bool,
}

impl Scanner {
    /// The position behind the value's end, if that is in `bytes`; they follow on the bytes of the call before.
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
            // No string goes beyond its line: the parser is to see that now, not at the end of the file.
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

    fn all(text: &[u8]) -> Result<Vec<(u64, String)>, Broken> {
        let mut values = Values::new(text);
        let mut found = Vec::new();
        while let Some(value) = values.read()? {
            found.push((value.line, value.raw.get().to_owned()));
        }
        assert_eq!(values.at.offset, text.len() as u64);
        Ok(found)
    }

    fn fault(text: &[u8]) -> (Option<u64>, String) {
        let broken = all(text).unwrap_err();
        (broken.line, broken.what)
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
    fn a_fault_is_named_by_its_line_and_column() {
        let (line, what) = fault(b"{}\n{}\nhello world\n{}\n");
        assert_eq!((line, what.as_str()), (Some(3), "not JSON: expected value at column 1: `hello`"));
        let (line, what) = fault(b"{}\n{} {\"a\":,}\n");
        assert_eq!((line, what.as_str()), (Some(2), "not JSON: expected value at column 9: `{\"a\":,}`"));
        assert_eq!(fault(b"{}\n}\n").0, Some(2));
        assert_eq!(fault(b"{}\n\x0c{}\n").0, Some(2), "a form feed is no white space of JSON");
        assert_eq!(fault(b"{\"a\":1},\n{\"a\":1}\n").0, Some(1));
    }

    #[test]
    fn a_value_that_is_cut_off_is_named() {
        let (line, what) = fault(b"{}\n{\"a\":\n{\"b\":1}\n");
        assert_eq!(line, Some(4));
        assert!(what.contains("EOF") && what.contains("begins on line 2"), "{what}");
        let (line, what) = fault(b"{}\n{\"a\":1\n{\"b\":1}\n");
        assert_eq!(line, Some(3));
        assert!(what.contains("expected `,` or `}` at column 1"), "{what}");
    }

    #[test]
    fn a_string_cut_off_does_not_swallow_what_follows() {
        let (line, what) = fault(b"{\"a\":\"b\n{\"c\":\"d\"}\n");
        assert!(line == Some(1) || what.contains("begins on line 1"), "{line:?} {what}");
        assert!(what.contains("control character"), "{what}");
    }

    #[test]
    fn a_broken_value_is_noticed_long_before_the_end() {
        let endless = b"{\"cut\":1\n".iter().chain(b"{\"a\":1}\n".iter().cycle()).take(100 * FIRST_LOOK);
        let bytes: Vec<u8> = endless.copied().collect();
        let mut values = Values::new(bytes.as_slice());
        assert_eq!(values.read().unwrap_err().line, Some(2));
        assert!(values.buffer.len() < 2 * FIRST_LOOK);
    }

    #[test]
    fn what_is_no_text_is_named() {
        let (line, what) = fault(b"{}\n{\"a\":\"\xff\xfe\"}\n");
        assert_eq!(line, Some(2));
        assert!(what.starts_with("not UTF-8 text at column 7"), "{what}");
    }

    #[test]
    fn an_excerpt_fits_a_terminal() {
        assert_eq!(excerpt(b"a\n\x1b[31m\"red\"\t\n", 2), "`\\u{1b}[31m\"red\"`");
        assert_eq!(excerpt("é".repeat(90).as_bytes(), 1), format!("`{}…`", "é".repeat(40)));
    }
}
