//! A client that was written without any code of this project: `tests/gateway/client.py`.

use std::io::{BufRead, BufReader};
use std::process::ChildStdout;

use events_harness::servers::process::{Process, Spec, workspace};
use serde_json::Value;

use super::{Writer, assert_same, log, subscribed, text, world};

/// What the program prints next, a message on each line.
fn next(lines: &mut impl Iterator<Item = std::io::Result<String>>, process: &Process) -> Value {
    let line = lines.next().unwrap_or_else(|| panic!("it ended: {}", process.stderr())).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_python_gets_the_same_events() {
    let (redis, gateway) = world(&[]).await;
    let mut writer = Writer::open(&redis).await;
    writer.add_many(5).await;
    // A snapshot with values comes only when the gateway has read the log up to them.
    subscribed(gateway.port(), &["events:protocol:1"]).await;
    let python = workspace().join(".tools/venv/bin/python3");
    assert!(python.is_file(), "{} is missing: run `make tools`", python.display());
    let script = workspace().join("tests/gateway/client.py");
    let script = std::path::absolute(script).unwrap().display().to_string();
    let url = format!("ws://127.0.0.1:{}/ws", gateway.port());
    let mut spec = Spec::new(&python, &[&script, &url, "events:tvl", "25"]);
    spec.pipe_stdout = true;
    let mut process = Process::start(&spec);
    let stdout: ChildStdout = process.take_stdout().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    let snapshot = next(&mut lines, &process);
    assert_eq!(snapshot["type"], "snapshot");
    writer.add_many(25).await;
    let mut events = snapshot["events"].as_array().unwrap().clone();
    // The client breaks its connection on the way, and asks for what it missed.
    while events.len() < 30 {
        events.push(next(&mut lines, &process));
    }
    assert_same(&events, &log(&redis).await, "the client in Python");
    assert_eq!(text(&next(&mut lines, &process), "resumed"), "after each 10 events");
    let exit = process.wait(super::SOON).await.expect("it ends");
    assert!(exit.success(), "{}", process.stderr());
}
