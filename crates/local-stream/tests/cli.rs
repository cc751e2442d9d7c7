//! Runs the built binary as a user does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also where it runs the binary")]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Variables of the caller's environment that would change the tests.
const SETTINGS: [&str; 17] = [
    "YES",
    "POISON",
    "REDIS_URL",
    "EVENTS_QUEUE_URL",
    "EVENTS_DLQ_URL",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "BATCH_SIZE",
    "RUST_LOG",
    "LOG_LEVEL",
    "ENABLE_SQS",
    "TVL_MIN_CHANGE_PERCENT",
    "TVL_MIN_CHANGE_ABSOLUTE",
    "CHANGE_BASELINE",
];

/// A working directory for the binary.
struct WorkDir {
    dir: TempDir,
}

impl WorkDir {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-stream"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        SETTINGS.iter().for_each(|name| _ = command.env_remove(name));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn run_with_stdin(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that it failed with status 2 and one line of error, which begins with `expected`.
#[track_caller]
fn assert_refused(output: &Output, expected: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with(&format!("local-stream: {expected}")), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
}

fn record(stream: &str, sequence: usize, protocol: &str, tvl: f64) -> String {
    let time = 1_700_000_000 + 3_600 * sequence;
    json!({
        "eventID": format!("{stream}{sequence}"), "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "eventSourceARN": format!("arn:{stream}"), "expect": {"why": "an unknown key"},
        "dynamodb": {
            "ApproximateCreationDateTime": time, "SequenceNumber": format!("{}", 1_000 + sequence),
            "Keys": {"PK": {"S": format!("hourlyTvl#{protocol}")}, "SK": {"N": time.to_string()}},
            "NewImage": {"tvl": {"N": tvl.to_string()}, "ethereum": {"N": tvl.to_string()}},
        },
    })
    .to_string()
}

/// `count` records of two streams in turn. Every second value of a protocol is twice the first.
fn stream(count: usize) -> Vec<String> {
    let record = |number: usize| {
        let tvl = 1e6 * (1 + number / 6 % 2) as f64;
        record(["a", "b"][number % 2], number, &(number % 6).to_string(), tvl)
    };
    (0..count).map(record).collect()
}

fn lines(records: &[String]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

#[test]
fn bad_input_is_one_clear_line() {
    let work_dir = WorkDir::new();
    assert_refused(&work_dir.run(&["none.jsonl"]), "none.jsonl: no such file\n");
    assert_refused(
        &work_dir.run(&[]),
        "tests/fixtures/stream.jsonl: no such file (the default, relative to the",
    );
    assert_refused(&work_dir.run(&["."]), ".: is a directory; accepted are DynamoDB stream records");
    work_dir.file("empty", "");
    assert_refused(&work_dir.run(&["empty"]), "empty: is empty; accepted are");
    work_dir.file("blank", " \n\n");
    assert_refused(&work_dir.run(&["blank"]), "blank: holds no record; accepted are");
    let program = fs::read(env!("CARGO_BIN_EXE_local-stream")).unwrap();
    work_dir.file("program", &program[..100_000]);
    assert_refused(&work_dir.run(&["program"]), "program: is binary, not JSON; accepted are");
    work_dir.file("packed.gz", b"\x1f\x8b\x08\x00\x00\x00");
    assert_refused(&work_dir.run(&["packed.gz"]), "packed.gz: is gzip, not JSON; unpack it first: gunzip -c");
    work_dir.file("package.json", "{\n  \"name\": \"x\"\n}\n");
    assert_refused(
        &work_dir.run(&["package.json"]),
        "package.json, line 1: JSON, but no stream record; accepted are",
    );
    assert_refused(&work_dir.run_with_stdin(&["-"], b"no JSON"), "standard input, line 1: not JSON: ");
}

#[test]
fn a_line_that_is_not_json_is_named_and_the_records_before_it_are_replayed() {
    let work_dir = WorkDir::new();
    let mut records = stream(40);
    records[16] = "{\"oops\": }".to_owned();
    work_dir.file("broken.jsonl", lines(&records));
    let output = work_dir.run(&["broken.jsonl", "--events", "events"]);
    let problem = "broken.jsonl, line 17: not JSON: expected value at column 10: `{\"oops\": }`; accepted";
    let said = stderr(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.starts_with(&format!("local-stream: {problem}")), "{said}");
    assert!(said.ends_with("; the 16 records before it were replayed\n"));
    let text = stdout(&output);
    assert!(text.starts_with("Replayed 16 records of broken.jsonl in "), "{text}");
    assert!(text.contains("Ended early: broken.jsonl, line 17: not JSON: "), "{text}");
    assert!(!fs::read_to_string(work_dir.path("events")).unwrap().is_empty());
    let cut = lines(&stream(20));
    work_dir.file("cut.jsonl", &cut[..cut.len() - 100]);
    let output = work_dir.run(&["cut.jsonl", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("local-stream: cut.jsonl, line 20: not JSON: EOF while parsing"));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["records"]["total"], 19);
    assert!(summary["ended"].as_str().unwrap().starts_with("cut.jsonl, line 20: not JSON: EOF"));
}

#[test]
fn bad_output_is_one_clear_line() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(4)));
    assert_refused(
        &work_dir.run(&["in", "--events", "no/dir/events"]),
        "--events no/dir/events: cannot be written: ",
    );
    assert_refused(&work_dir.run(&["in", "--events", "."]), "--events .: cannot be written: ");
    assert_refused(&work_dir.run(&["in", "--events", "./in"]), "--events ./in: is the input itself");
    assert!(!fs::read(work_dir.path("in")).unwrap().is_empty());
    work_dir.run(&["none", "--events", "kept"]);
    assert!(!work_dir.path("kept").exists(), "nothing is written for an input that cannot be read");
    if Path::new("/dev/full").exists() {
        work_dir.file("in", lines(&stream(40)));
        assert_refused(&work_dir.run(&["in", "-e", "/dev/full"]), "the events could not be written: ");
    }
}

#[test]
fn bad_usage_and_settings_are_refused() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(4)));
    for args in [
        &["--nonsense"][..],
        &["in", "-b", "0"],
        &["in", "--batch-size", "x"],
        &["in", "--max-attempts", "0"],
    ] {
        let output = work_dir.run(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).starts_with("error: ") && output.stdout.is_empty());
    }
    let output = work_dir.command(&["in"]).env("BATCH_SIZE", "0").output().unwrap();
    assert_refused(&output, "BATCH_SIZE is \"0\"; it accepts a whole number");
    let output = work_dir.command(&["in"]).env("REDIS_URL", "http://:hunter2@x").output().unwrap();
    assert_refused(&output, "REDIS_URL ");
    assert!(!stderr(&output).contains("hunter2"));
}

#[test]
fn an_unreachable_redis_is_named_without_its_password() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(4)));
    let output = work_dir
        .command(&["in"])
        .env("REDIS_URL", "redis://:hunter2@127.0.0.1:1")
        .env("REDIS_CONNECT_TIMEOUT_MS", "100")
        .env("REDIS_COMMAND_TIMEOUT_MS", "100")
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "local-stream: writes to Redis 127.0.0.1:1");
    assert!(lines[1].starts_with("local-stream: REDIS_URL (redis://127.0.0.1:1) cannot be used: "), "{said}");
    assert!(lines.len() == 2 && !said.contains("hunter2"), "{said}");
}

/// `0.0.0.0` is no name of this machine for the replay, but connections to it arrive here.
#[test]
fn other_machines_are_written_to_only_with_yes() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(4)));
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let run = |yes: &str| {
        let mut command = work_dir.command(&["in", "--events", "events"]);
        command.env("REDIS_URL", format!("redis://user:hunter2@0.0.0.0:{port}")).env("YES", yes);
        command.env("REDIS_CONNECT_TIMEOUT_MS", "100").env("REDIS_COMMAND_TIMEOUT_MS", "100");
        command.output().unwrap()
    };
    for yes in ["", "0", "no"] {
        let output = run(yes);
        assert_refused(
            &output,
            &format!("the settings name services that are not on this machine: Redis 0.0.0.0:{port}; "),
        );
        assert!(stderr(&output).contains("set YES=1") && !stderr(&output).contains("hunter2"));
        assert!(listener.accept().is_err(), "nothing connected");
        assert!(!work_dir.path("events").exists());
    }
    let output = run("1");
    assert_eq!(output.status.code(), Some(1), "the listener is no Redis");
    assert!(stderr(&output).starts_with(&format!("local-stream: writes to Redis 0.0.0.0:{port}\n")));
    assert!(listener.accept().is_ok(), "it connected");
}

#[test]
fn a_queue_elsewhere_wants_yes_and_an_emulator_here_does_not() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(4)));
    let run = |variables: &[(&str, &str)]| {
        let mut command = work_dir.command(&["in", "-q", "-a", "1"]);
        command.env("EVENTS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/1/events.fifo");
        command
            .env("EVENTS_DLQ_URL", "https://sqs.eu-central-1.amazonaws.com/1/dlq.fifo")
            .env("MAX_RETRIES", "0");
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let output = run(&[]);
    assert_refused(
        &output,
        "the settings name services that are not on this machine: events queue events.fifo at Amazon SQS in ",
    );
    assert!(stderr(&output).contains("dead letter queue dlq.fifo at Amazon SQS in eu-central-1"));
    let output = run(&[("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1")]);
    assert!(output.status.success(), "nothing changed enough to be sent: {}", stderr(&output));
    assert!(stderr(&output).starts_with("local-stream: writes to events queue events.fifo at 127.0.0.1:1, "));
}

#[test]
fn a_queue_without_a_place_for_poison_is_refused() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(4)));
    let queue = ("EVENTS_QUEUE_URL", "http://127.0.0.1:1/0/events.fifo");
    let output = work_dir.command(&["in"]).envs([queue, ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]).output();
    assert_refused(
        &output.unwrap(),
        "EVENTS_DLQ_URL is not set; it takes the URL of a FIFO queue (or POISON=drop",
    );
}

#[test]
fn help_names_options_settings_and_exit_statuses() {
    let output = WorkDir::new().run(&["--help"]);
    assert!(output.status.success());
    for word in [
        "FIXTURE=",
        "--events",
        "REDIS_URL",
        "YES=1",
        "Exit status",
        "{\"Records\":[…]}",
        "BATCH_SIZE",
        "Ctrl-C",
    ] {
        assert!(stdout(&output).contains(word), "{word}");
    }
}

#[test]
fn every_form_of_the_same_records_gives_the_same_events() {
    let work_dir = WorkDir::new();
    let records = stream(30);
    let pretty = |record: &String| {
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(record).unwrap()).unwrap()
    };
    let forms = [
        work_dir.file("lines", lines(&records)),
        work_dir.file("array", format!("[{}]", records.join(","))),
        work_dir.file("event", format!("{{\"Records\":[{}]}}", records.join(","))),
        work_dir.file(
            "events",
            format!(
                "{{\"Records\":[{}]}}\n{{\"Records\":[{}]}}",
                records[..7].join(","),
                records[7..].join(",")
            ),
        ),
        work_dir.file("pretty", records.iter().map(pretty).collect::<Vec<_>>().join("\n")),
    ];
    let ids = |args: &[&str]| {
        let output = work_dir.run(&[args, &["--events", "-", "-q"]].concat());
        assert!(output.status.success() && stderr(&output).starts_with("Replayed 30 records of "));
        let id =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["eventId"].as_str().unwrap().to_owned();
        stdout(&output).lines().map(id).collect::<Vec<_>>()
    };
    let expected = ids(&["lines"]);
    assert_eq!(expected.len(), 48, "24 records, total and chain");
    for form in &forms {
        for batch_size in ["1", "7", "10000"] {
            assert_eq!(ids(&[form.to_str().unwrap(), "-b", batch_size]), expected, "{form:?} {batch_size}");
        }
    }
}

#[test]
fn the_json_summary_has_the_numbers() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(30)));
    let summary = work_dir.json(&["in", "-b", "4"]);
    let records = json!({"total": 30, "withEvents": 24, "firstSeen": 6, "unchanged": 0, "late": 0, "alreadyApplied": 0,
        "skipped": 0, "deadLetters": 0, "givenUp": 0});
    assert_eq!(summary["records"], records);
    assert_eq!(summary["events"], json!({"total": 48, "byType": {"tvl_change": {"high": 24, "medium": 24}}}));
    assert_eq!((&summary["batches"], &summary["shards"]), (&json!(8), &json!(["arn:a", "arn:b"])));
    assert_eq!(summary["delivered"]["messages"], 48);
    assert_eq!(summary["movers"]["tvlByUsd"].as_array().unwrap().len(), 5);
    assert_eq!((&summary["ended"], &summary["places"]["store"]), (&json!("complete"), &json!("memory")));
    assert!(summary["latency"]["batchMs"]["p99"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_batch_size_comes_from_the_environment_and_the_option_wins() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(30)));
    let batches = |args: &[&str]| {
        let output =
            work_dir.command(&[args, &["in", "-j"]].concat()).env("BATCH_SIZE", "5").output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["batches"].clone()
    };
    assert_eq!((batches(&[]), batches(&["-b", "15"])), (json!(6), json!(2)));
}

#[test]
fn events_are_written_in_the_order_of_the_input() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(30)));
    work_dir.file("events.jsonl", "what was there before");
    let output = work_dir.run(&["in", "-b", "4", "--events", "events.jsonl"]);
    assert!(output.status.success() && stderr(&output).is_empty());
    assert!(stdout(&output).contains("Replayed 30 records of in in "), "{}", stdout(&output));
    let events: Vec<Value> = fs::read_to_string(work_dir.path("events.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let times: Vec<_> = events.iter().map(|event| event["timestamp"].as_i64().unwrap()).collect();
    assert!(times.len() == 48 && times.is_sorted(), "{times:?}");
    assert_eq!(events[0]["eventType"], "tvl_change");
    assert_eq!(
        (&events[0]["data"]["chain"], &events[1]["data"]["chain"]),
        (&Value::Null, &json!("ethereum"))
    );
}

#[test]
fn standard_input_is_read() {
    let output = WorkDir::new().run_with_stdin(&["-", "--json"], lines(&stream(30)).as_bytes());
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["input"], &summary["records"]["total"]), (&json!("standard input"), &json!(30)));
}

#[test]
fn the_same_input_twice_makes_no_second_event() {
    let work_dir = WorkDir::new();
    let once = lines(&stream(30));
    work_dir.file("once", &once);
    work_dir.file("twice", format!("{once}{once}"));
    for batch_size in ["1", "7", "100"] {
        let (first, second) =
            (work_dir.json(&["once", "-b", batch_size]), work_dir.json(&["twice", "-b", batch_size]));
        assert_eq!(first["events"], second["events"]);
        let records = &second["records"];
        assert_eq!(records["late"].as_u64().unwrap() + records["alreadyApplied"].as_u64().unwrap(), 30);
    }
}

#[test]
fn a_closed_output_pipe_is_not_an_error() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(3_000)));
    for args in [&["in", "-q"][..], &["in", "-q", "-e", "-"], &["--help"]] {
        let mut child = work_dir.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?} {}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    }
}

#[test]
fn progress_is_shown_unless_quiet() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(20_100)));
    let said = stderr(&work_dir.run(&["in"]));
    // A slow machine prints more lines than these.
    for records in ["10,000 records, ", "20,000 records, "] {
        assert!(said.lines().any(|line| line.starts_with(records)), "{said}");
    }
    assert_eq!(stderr(&work_dir.run(&["in", "--quiet"])), "");
}

/// A replay of standard input that still runs.
struct Running {
    child: Child,
    input: ChildStdin,
    progress: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(work_dir: &WorkDir) -> Self {
        let mut command = work_dir.command(&["-"]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let progress = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, input, progress }
    }

    /// Writes `count` records, a multiple of 10,000, and waits until they are delivered.
    fn replay(&mut self, count: usize) {
        for at in (0..count).step_by(10_000) {
            let records: Vec<String> = (at..at + 10_000).map(numbered).collect();
            self.input.write_all(lines(&records).as_bytes()).unwrap();
            let done = (at + 10_000).to_string();
            let says_so = |line: &str| line.split(' ').next().unwrap().replace(',', "") == done;
            assert!(self.progress.any(|line| says_so(&line.unwrap())));
        }
    }

    /// Its memory at its highest, KiB.
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn kill(self, signal: &str) -> Output {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let output = self.child.wait_with_output().unwrap();
        drop(self.input);
        output
    }
}

/// A record of one of 1,000 protocols. Each row after the first of its protocol makes two events.
fn numbered(number: usize) -> String {
    let tvl = 1e6 * (1 + number / 1_000 % 2) as f64;
    record("a", number, &(number % 1_000).to_string(), tvl)
}

#[test]
fn a_signal_prints_the_summary_so_far() {
    let work_dir = WorkDir::new();
    for (signal, status, ended) in [("-INT", 130, "interrupted"), ("-TERM", 143, "terminated")] {
        let mut running = Running::start(&work_dir);
        running.replay(10_000);
        let output = running.kill(signal);
        assert_eq!(output.status.code(), Some(status));
        let text = stdout(&output);
        assert!(
            text.starts_with("Replayed 10,000 records of standard input")
                && text.contains(&format!("Ended early: {ended}\n")),
            "{text}"
        );
    }
}

/// `REPLAY_RECORDS=1000000` replays so many.
#[cfg(target_os = "linux")]
#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is for this test alone")]
fn memory_is_flat_however_many_records_there_are() {
    let most = std::env::var("REPLAY_RECORDS").map_or(100_000, |number| number.parse().unwrap());
    let work_dir = WorkDir::new();
    let peak = |records: usize| {
        let mut running = Running::start(&work_dir);
        running.replay(records);
        let peak = running.peak_memory();
        assert_eq!(running.kill("-TERM").status.code(), Some(143));
        println!("{records} records: {peak} KiB at most");
        peak
    };
    peak(10_000);
    // What is bounded is full by then: the store in memory remembers the ids of 50,000 events.
    let (full, last) = (peak(40_000), peak(most));
    assert!(last < full + 4 * 1024, "{full} KiB, {last} KiB");
}

#[test]
fn names_come_from_a_file() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(30)));
    work_dir.file("names.csv", "id,name\n0,\"Zero, the first\"\n1,One\n");
    work_dir.file("names.json", r#"{"0":"Zero, the first","1":"One"}"#);
    for names in ["names.csv", "names.json"] {
        let text = stdout(&work_dir.run(&["in", "--names", names]));
        assert!(text.contains("  Zero, the first (0)  ") && text.contains("  protocol 2  "), "{text}");
        let summary = work_dir.json(&["in", "--names", names]);
        assert_eq!(summary["movers"]["tvlByUsd"][0]["name"], "Zero, the first");
        let filtered = work_dir.json(&["in", "--names", names, "--protocol", "one"]);
        assert_eq!((&filtered["events"]["total"], &filtered["hiddenEvents"]), (&json!(8), &json!(40)));
    }
    assert_refused(&work_dir.run(&["in", "--names", "none"]), "--names none: cannot be read: No such file");
    work_dir.file("bad", "0,Zero\n1\n");
    assert_refused(&work_dir.run(&["in", "--names", "bad"]), "--names bad: line 2 is not id,name (a comma");
}

#[test]
fn a_filter_decides_what_is_shown_and_written_and_not_what_is_processed() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(30)));
    let all = work_dir.json(&["in"]);
    let run = |filter: &[&str]| {
        let summary = work_dir.json(&[&["in", "--events", "events"], filter].concat());
        assert_eq!((&summary["records"], &summary["delivered"]), (&all["records"], &all["delivered"]));
        let written = fs::read_to_string(work_dir.path("events")).unwrap();
        assert_eq!(summary["events"]["total"].as_u64().unwrap(), written.lines().count() as u64);
        written
    };
    let chain = run(&["--chain", "ethereum", "--protocol=1,2"]);
    assert_eq!(chain.lines().count(), 8);
    assert!(chain.lines().all(|line| line.contains(r#""chain":"ethereum""#)));
    assert_eq!(run(&["--type", "price_update,protocol_update"]), "");
    let (high, medium) = (run(&["--priority", "high"]), run(&["--priority=medium"]));
    assert_eq!((high.lines().count(), medium.lines().count()), (24, 24));
    let text = stdout(&work_dir.run(&["in", "--priority", "low"]));
    let line = "Shown are only events of priority low: 0 of 48 events. All records were processed.\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_paced_replay_takes_its_time() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(3)));
    let summary = work_dir.json(&["in", "--speed", "14400"]);
    assert!(summary["seconds"].as_f64().unwrap() >= 0.5, "two hours");
}

#[test]
fn a_typo_is_answered_with_the_nearest_option_or_value() {
    let work_dir = WorkDir::new();
    for (args, nearest) in [
        (["--evnets", "x"], "a similar argument exists: '--events'"),
        (["--prioritty", "high"], "a similar argument exists: '--priority'"),
        (["--type", "tvl_chnage"], "a similar value exists: 'tvl_change'"),
        (["--priority", "hihg"], "a similar value exists: 'high'"),
    ] {
        let output = work_dir.run(&args);
        let said = stderr(&output);
        assert!(output.status.code() == Some(2) && said.contains(nearest), "{said}");
    }
}

/// Python gives the replay a terminal, which a test does not have.
#[test]
fn colours_are_for_terminals_and_not_with_no_color() {
    let work_dir = WorkDir::new();
    work_dir.file("in", lines(&stream(30)));
    assert!(!stdout(&work_dir.run(&["in"])).contains('\u{1b}'));
    let on_terminal = |no_color: &str| {
        let mut command = Command::new("python3");
        let spawn = "import pty, sys; pty.spawn(sys.argv[1:])";
        command.args(["-c", spawn, env!("CARGO_BIN_EXE_local-stream"), "-q", "in"]);
        SETTINGS.iter().for_each(|name| _ = command.env_remove(name));
        command.current_dir(work_dir.dir.path()).env("NO_COLOR", no_color).env("TERM", "xterm");
        stdout(&command.stdin(Stdio::null()).output().unwrap())
    };
    let (coloured, plain) = (on_terminal(""), on_terminal("1"));
    assert!(coloured.contains("\u{1b}[32m+$1.00M\u{1b}[0m"), "{coloured}");
    assert!(plain.contains("+$1.00M") && !plain.contains('\u{1b}'), "{plain}");
}
