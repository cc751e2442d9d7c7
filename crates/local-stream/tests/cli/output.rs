//! What is read, and what is written.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{SETTINGS, WorkDir, assert_refused, lines, stderr, stdout, stream};

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
