//! Runs the built binary as a user does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also where it runs the binary")]

mod output;
mod refusals;
mod running;
mod signals;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Variables of the caller's environment that would change the tests.
const SETTINGS: [&str; 20] = [
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
    "SIGNALS",
    "PRIORITY",
    "QUEUE_SIGNALS",
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
