//! What is refused, and the one line that says why.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use super::{WorkDir, assert_refused, lines, stderr, stdout, stream};

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
