//! Runs the built binary without AWS credentials in the environment, and checks where it finds them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also where it runs the binary")]
#![expect(clippy::disallowed_methods, reason = "a coverage run names its file in the environment")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

const RECORD: &str = r#"{"eventID":"e","eventName":"INSERT","eventSourceARN":"arn:s","dynamodb":{"SequenceNumber":"1",
    "Keys":{"PK":{"S":"hourlyTvl#1"},"SK":{"N":"1700000000"}},"NewImage":{"tvl":{"N":"1"}}}}"#;

/// Replays one record with a queue in AWS, and without the caller's environment. Nothing is sent, because `ENABLE_SQS`
/// is false.
fn replay(variables: &[(&str, &str)]) -> Output {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("in"), RECORD).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-stream"));
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "LLVM_PROFILE_FILE"));
    command.args(["in", "--quiet"]).current_dir(home.path()).env("HOME", home.path()).stdin(Stdio::null());
    command.env("EVENTS_QUEUE_URL", "https://sqs.example/0/events.fifo").env("ENABLE_SQS", "false");
    command.envs(variables.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn without_credentials_the_replay_does_not_begin() {
    let output = replay(&[("AWS_EC2_METADATA_DISABLED", "true")]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("local-stream: no AWS credentials were found; set AWS_ACCESS_KEY_ID"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_access_key_without_its_secret_is_a_wrong_setting() {
    let output = replay(&[("AWS_ACCESS_KEY_ID", "k")]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.starts_with("local-stream: AWS_SECRET_ACCESS_KEY is not set; it takes its secret"),
        "{said}"
    );
}

#[test]
fn credentials_are_found_in_a_profile() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    fs::write(&file, "[other]\naws_access_key_id = k\naws_secret_access_key = s\n").unwrap();
    let profile = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
        ("AWS_PROFILE", "other"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let output = replay(&profile);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn credentials_are_found_in_a_container_role() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/role", listener.local_addr().unwrap());
    let (requests, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let body = r#"{"AccessKeyId":"k","SecretAccessKey":"s","Token":"t","Expiration":"2100-01-01T00:00:00Z"}"#;
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            requests.send(line).unwrap();
        }
    });
    let output =
        replay(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url), ("AWS_EC2_METADATA_DISABLED", "true")]);
    assert!(output.status.success(), "{}", stderr(&output));
    let line = received.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(line.starts_with("GET /role "), "{line}");
}
