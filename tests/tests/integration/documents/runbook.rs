//! The filter of the runbook ([`OPERATIONS`], section "Filters") finds what the function writes when something is wrong.

use events_harness::lambda::bootstrap::bootstrap_path;
use std::process::Command;

use super::{OPERATIONS, read};

/// The alternatives of the first filter.
fn words() -> Vec<String> {
    let text = read(OPERATIONS);
    let (_, after) = text.split_once("--filter-pattern '?").expect("a filter of alternatives");
    let (pattern, _) = after.split_once('\'').expect("the end of the filter");
    pattern.split(" ?").map(|word| word.trim_matches('"').to_owned()).collect()
}

/// What the function writes with these settings and without Lambda.
fn output(settings: &[(&str, &str)]) -> String {
    let mut function = Command::new(bootstrap_path());
    let output = function.env_clear().envs(settings.iter().copied()).output().expect("the function ends");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn the_filter_finds_warnings_errors_and_panics() {
    let words = words();
    // Lambda writes the last one itself: `… Task timed out after 120.00 seconds`.
    assert_eq!(words, ["WARN", "ERROR", "panicked", "Task timed out"]);
    let refused = output(&[]);
    assert!(refused.contains("wrong settings") && refused.contains(&words[1]), "{refused}");
    // POISON=drop is worth a warning. Then the library of the runtime panics, because there is no Lambda.
    let panicked = output(&[
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("EVENTS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/000000000000/events.fifo"),
        ("POISON", "drop"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ]);
    let has_line = |word: &str| panicked.lines().any(|line| line.contains(word));
    assert!(has_line(&words[0]) && has_line(&words[2]), "{panicked}");
}
