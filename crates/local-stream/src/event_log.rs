//! Writes every event as one line of JSON, in the order of the input.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use events_core::event::Event;

/// Size of the write buffer, bytes.
const BUFFER_SIZE: usize = 256 * 1024;

/// Writes the events, if a file was named.
///
/// Batches of several shards do not finish in the order of the input. So the lines of a record wait until every earlier
/// record is done or given up.
#[derive(Default)]
pub(crate) struct EventLog {
    out: Option<BufWriter<Box<dyn Write>>>,
    /// Lines that wait for an earlier record, by record number.
    waiting: BTreeMap<u64, Vec<String>>,
    /// The number of the next record to write.
    next: u64,
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("next", &self.next).finish_non_exhaustive()
    }
}

impl EventLog {
    /// Checks that the file can be written. Keeps its content.
    pub(crate) fn check(path: &Path) -> io::Result<()> {
        if path.as_os_str() != "-" {
            File::options().append(true).create(true).open(path)?;
        }
        Ok(())
    }

    /// Writes to a file, replacing its content, or to standard output for `-`.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let out: Box<dyn Write> =
            if path.as_os_str() == "-" { Box::new(io::stdout()) } else { Box::new(File::create(path)?) };
        Ok(Self::new(out))
    }

    /// Writes to anything.
    pub(crate) fn new(out: Box<dyn Write>) -> Self {
        Self { out: Some(BufWriter::with_capacity(BUFFER_SIZE, out)), ..Self::default() }
    }

    /// Takes the events of record `number`, which is done or given up.
    pub(crate) fn add_record<'a>(
        &mut self,
        number: u64,
        events: impl Iterator<Item = &'a Event>,
    ) -> io::Result<()> {
        if self.out.is_none() {
            return Ok(());
        }
        let lines: Result<Vec<String>, _> = events.map(Event::to_json).collect();
        self.add_lines(number, lines.map_err(io::Error::other)?)
    }

    fn add_lines(&mut self, number: u64, lines: Vec<String>) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        self.waiting.insert(number, lines);
        while let Some(lines) = self.waiting.remove(&self.next) {
            self.next += 1;
            write_lines(out, &lines)?;
        }
        Ok(())
    }

    /// Writes the lines that still wait. They wait for a record that was neither done nor given up.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        for lines in std::mem::take(&mut self.waiting).values() {
            write_lines(out, lines)?;
        }
        out.flush()
    }
}

fn write_lines(out: &mut impl Write, lines: &[String]) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::SharedBuffer;

    #[test]
    fn lines_are_in_the_order_of_the_input() {
        let written = SharedBuffer::default();
        let mut log = EventLog::new(Box::new(written.clone()));
        for (number, lines) in [(2, vec!["c"]), (0, vec!["a1", "a2"]), (1, vec![]), (4, vec!["e"])] {
            log.add_lines(number, lines.into_iter().map(str::to_owned).collect()).unwrap();
        }
        log.finish().unwrap();
        assert_eq!(String::from_utf8(written.0.take()).unwrap(), "a1\na2\nc\ne\n");
    }

    #[test]
    fn without_a_file_nothing_is_kept() {
        let mut log = EventLog::default();
        log.add_record(5, std::iter::empty()).unwrap();
        assert!(log.waiting.is_empty());
        log.finish().unwrap();
    }
}
