//! Where commands and replies end in a stream of RESP bytes.

/// The position after the value that begins at `at`; `None` while the value is incomplete.
pub(crate) fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut position, mut open) = (at, 1_usize);
    while open > 0 {
        let rest = bytes.get(position..)?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &rest[..end];
        position += end + 2;
        open -= 1;
        let length = || std::str::from_utf8(&line[1..]).ok()?.parse::<i64>().ok();
        match line.first()? {
            // A negative length means null.
            b'$' | b'=' => position += usize::try_from(length()?).map_or(0, |length| length + 2),
            b'*' | b'~' | b'>' => open += usize::try_from(length()?).unwrap_or(0),
            b'%' => open += 2 * usize::try_from(length()?).unwrap_or(0),
            _ => {}
        }
    }
    (position <= bytes.len()).then_some(position)
}

/// Counts complete values in a growing buffer, without reading any byte twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counter {
    position: usize,
    /// The complete values so far.
    pub(crate) values: usize,
}

impl Counter {
    /// Counts what has been appended to the buffer. True if it now ends with a complete value.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> bool {
        while let Some(next) = skip(bytes, self.position).filter(|next| *next > self.position) {
            self.position = next;
            self.values += 1;
        }
        self.position == bytes.len()
    }
}

/// The names of the commands in a request.
pub(crate) fn names(bytes: &[u8]) -> Vec<String> {
    let (mut at, mut names) = (0, Vec::new());
    while at < bytes.len() {
        let Some(next) = skip(bytes, at) else { break };
        let name = bytes[at..next].split(|byte| *byte == b'\n').nth(2).unwrap_or_default();
        names.push(String::from_utf8_lossy(name).trim().to_uppercase());
        at = next;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*-1\r\n$-1\r\n:12\r\n";
        let mut counter = Counter::default();
        assert!(!counter.advance(&bytes[..18]));
        assert_eq!(counter.values, 0);
        assert!(counter.advance(bytes));
        assert_eq!(counter.values, 4);
        assert_eq!(names(&bytes[..20]), ["GET"]);
    }
}
