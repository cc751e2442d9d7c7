use super::*;

const A: &str = r#"{"eventName":"INSERT","eventSourceARN":"arn:a","dynamodb":{"SequenceNumber":"1"}}"#;
const B: &str = r#"{"expect":{"why":"x"},"dynamodb":{"SequenceNumber":"2"},"eventSourceARN":"arn:b"}"#;

fn all(text: &[u8]) -> Result<Vec<(u64, u64, String)>, String> {
    let source = Source::new("in.json".to_owned(), io::Cursor::new(text.to_vec()))
        .map_err(|error| error.to_string())?;
    let seen = |record: SourceRecord| (record.number, record.line, record.shard);
    source.map(|record| record.map(seen).map_err(|error| error.to_string())).collect()
}

/// The lines and shards of a good input.
fn good(text: &str) -> Vec<(u64, String)> {
    let records = all(text.as_bytes()).unwrap();
    assert!(records.iter().enumerate().all(|(at, record)| record.0 == at as u64), "{records:?}");
    records.into_iter().map(|(_, line, shard)| (line, shard)).collect()
}

fn lines(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    expected.iter().map(|(line, shard)| (*line, (*shard).to_owned())).collect()
}

#[test]
fn records_come_from_every_form() {
    let two = lines(&[(1, "arn:a"), (2, "arn:b")]);
    assert_eq!(good(&format!("{A}\n{B}\n")), two, "JSON lines");
    assert_eq!(good(&format!("{A}\r\n{B}")), two, "no end of line at the end");
    assert_eq!(good(&format!("\u{feff}{A}\n{B}")), two, "with a byte order mark");
    assert_eq!(good(&format!("[{A},\n{B}]")), two, "an array");
    assert_eq!(good(&format!("{{\"Records\":[{A},\n{B}]}}")), two, "a Lambda event");
    assert_eq!(
        good(&format!("[{{\"Records\":[{A}]}},\n{{\"x\":1,\"Records\":[{B}]}}]")),
        two,
        "an array of events"
    );
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(A).unwrap()).unwrap();
    assert_eq!(good(&format!("{pretty}\n{B}")), lines(&[(1, "arn:a"), (8, "arn:b")]), "pretty-printed");
    assert_eq!(
        good(&format!("\n{A}{{\"Records\":[\n{B}]}}\n[]\n[{A}]")),
        lines(&[(2, "arn:a"), (3, "arn:b"), (5, "arn:a")])
    );
}

#[test]
fn other_values_among_records_are_passed_on_as_records() {
    let text = format!("7\n{{\"x\":1}}\n{A}\n\"text\"\n{{\"eventSourceARN\":5,\"dynamodb\":null}}\n[[1]]");
    let expected = [(1, ""), (2, ""), (3, "arn:a"), (4, ""), (5, ""), (6, "")];
    assert_eq!(good(&text), lines(&expected));
    assert_eq!(
        good("{\"Records\":[1,{}]}"),
        lines(&[(1, ""), (1, "")]),
        "in an event everything is a record"
    );
}

#[test]
fn an_input_without_records_is_refused() {
    for (text, expected) in [
        ("", "in.json: is empty; accepted are "),
        (" \n\n", "in.json: holds no record; accepted are "),
        ("[]", "in.json: holds no record; accepted are "),
        ("{\"Records\":[]}", "in.json: holds no record; accepted are "),
        ("\n{\"name\":\"x\"}", "in.json, line 2: JSON, but no stream record; accepted are "),
        ("null", "in.json, line 1: JSON, but no stream record; accepted are "),
        ("{\n\"Records\":{}}", "in.json, line 2: \"Records\" is no array; accepted are "),
    ] {
        let error = all(text.as_bytes()).unwrap_err();
        assert!(error.starts_with(expected) && error.lines().count() == 1, "{text}: {error}");
    }
    let many = "{\"a\":1}\n".repeat(1_000);
    let mut source = Source::new("x".to_owned(), io::Cursor::new(many.into_bytes())).unwrap();
    assert!(source.next().is_some_and(|first| first.is_err()));
    assert_eq!(source.count, MAX_UNRECOGNISED as u64, "the rest is not read");
}

#[test]
fn an_error_names_the_line_that_is_not_json() {
    let text = format!("{}oops\n{A}\n", format!("{A}\n").repeat(16));
    let error = all(text.as_bytes()).unwrap_err();
    assert!(
        error.starts_with("in.json, line 17: not JSON: expected value at column 1: `oops`; accepted"),
        "{error}"
    );
    let mut source = Source::new("x".to_owned(), io::Cursor::new(text.into_bytes())).unwrap();
    assert_eq!(source.by_ref().take_while(Result::is_ok).count(), 16, "the records before it come");
}

#[test]
fn an_input_that_is_not_text_is_recognised_by_its_first_bytes() {
    for (bytes, expected) in [
        (&b"\x1f\x8b\x08\x00"[..], "is gzip, not JSON; unpack it first: gunzip -c FILE | local-stream -"),
        (b"\x28\xb5\x2f\xfd..", "is zstd"),
        (b"PK\x03\x04..", "is zip"),
        (b"\xff\xfe{\0", "is UTF-16, not UTF-8"),
        (b"\x7fELF\x02", "is binary, not JSON"),
        (b"\x89PNG\r\n", "is binary, not JSON"),
        (b"{\"a\":\0\0\0", "is binary, not JSON"),
    ] {
        let error = all(bytes).unwrap_err();
        assert!(error.starts_with(&format!("in.json: {expected}")), "{error}");
    }
    assert!(all("é".as_bytes()).unwrap_err().contains("line 1: not JSON"));
}

#[test]
fn an_error_to_open_the_input_names_the_cause() {
    let open = |path: &str| Source::open(Path::new(path)).unwrap_err().to_string();
    assert_eq!(open("no/such/file"), "no/such/file: no such file");
    assert!(open("src").starts_with("src: is a directory; accepted are "));
}

#[test]
fn a_failed_read_is_not_reported_as_wrong_json() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => io::Cursor::new(format!("{A}\n")).read(buffer),
                _ => Err(io::Error::other("disk on fire")),
            }
        }
    }
    let mut source = Source::new("x".to_owned(), Failing(0)).unwrap();
    assert!(source.next().unwrap().is_ok());
    assert_eq!(source.next().unwrap().unwrap_err().to_string(), "x: cannot be read: disk on fire");
}
