//! Compares the documents in `docs` with the code: names of tests, settings, metrics, keys and channels.
//!
//! | table | document | its first column | compared with |
//! |---|---|---|---|
//! | failures | [`OPERATIONS`] | `what fails`; the column `shown by` names the tests | the tests in the sources ([`libtest`]) |
//! | metrics | [`OPERATIONS`] | `metric` | [`METRICS_SOURCES`] |
//! | settings | [`SETTINGS`] | `setting` | [`SETTINGS_SOURCES`] |
//! | Redis keys | [`EVENTS`] | `key` | the keys of `KeyStyle` |
//! | channels | [`EVENTS`] | `channel` | the channels of the fixture's events |
//!
//! [`dead_letters`] compares the advice on dead letters with the letters that the processor writes.
//!
//! [`runbook`] compares the filter of the log with what the function writes.
//!
//! [`schemas`] compares the JSON Schema and the AsyncAPI document with the types and the messages.
//!
//! A table may be split under several headings. All tables of a document with the same first column count as one.

mod dead_letters;
mod libtest;
mod markdown;
mod runbook;
mod schemas;
mod sources;

use events_core::delivery::KeyStyle;
use events_core::plan::{Config, Signals};
use events_core::source::Subject;
use events_harness::processors::{fixture_records, in_memory, process};
use events_harness::servers::process::{read_workspace_file as read, workspace};
use markdown::Table;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const OPERATIONS: &str = "docs/operations.md";
const SETTINGS: &str = "docs/settings.md";
const EVENTS: &str = "docs/events.md";
/// Files and folders whose code reads settings by name.
const SETTINGS_SOURCES: [&str; 4] = [
    "crates/settings/src",
    "crates/gateway/src/settings.rs",
    "crates/local-stream/src/app.rs",
    "crates/relay/src/settings.rs",
];
/// Files and folders whose code writes metrics by name.
const METRICS_SOURCES: [&str; 1] = ["crates/telemetry/src/metrics.rs"];

/// The tables of a document whose first column has this heading, as one.
fn table(document: &str, first: &str) -> Table {
    markdown::table(&read(document), first)
        .unwrap_or_else(|| panic!("{document} has no table whose first column is {first:?}"))
}

/// The texts in backticks in the first column.
fn documented(document: &str, first: &str) -> BTreeSet<String> {
    let table = table(document, first);
    table.rows.iter().flat_map(|row| markdown::code(&row[0])).collect()
}

fn assert_same(document: &str, what: &str, documented: &BTreeSet<String>, real: &BTreeSet<String>) {
    let missing: Vec<_> = real.difference(documented).collect();
    let unknown: Vec<_> = documented.difference(real).collect();
    assert!(missing.is_empty(), "{document} lacks {what} {missing:?}");
    assert!(unknown.is_empty(), "{document} names {what} that the code does not have: {unknown:?}");
}

/// Checks that a name can be run: `make TARGET`, or `PACKAGE: TEST` for `cargo test -p PACKAGE -- TEST`.
fn can_be_run(name: &str) -> Result<(), String> {
    if let Some(command) = name.strip_prefix("make ") {
        let target = format!("{}:", command.split(' ').next().unwrap_or_default());
        let found = read("Makefile").lines().any(|line| line.starts_with(&target));
        return if found { Ok(()) } else { Err(format!("the Makefile has no target {target}")) };
    }
    let (package, test) = name.split_once(": ").ok_or("it is neither `make TARGET` nor `PACKAGE: TEST`")?;
    let folder = libtest::package(&workspace(), package).ok_or("there is no such package")?;
    libtest::find(&libtest::tests_of(&folder), test)
}

#[test]
fn every_row_of_what_fails_names_tests_that_exist() {
    let table = table(OPERATIONS, "what fails");
    let shown_by = table.column("shown by").expect("a column `shown by`");
    let mut names = 0;
    for row in &table.rows {
        let named = markdown::code(&row[shown_by]);
        assert!(!named.is_empty(), "{OPERATIONS} names no test in the row {:?}", row[0]);
        for name in &named {
            let found = can_be_run(name);
            assert!(found.is_ok(), "{OPERATIONS}, row {:?}: {name}: {}", row[0], found.unwrap_err());
        }
        names += named.len();
    }
    assert!(names > 30, "only {names} names");
}

/// The files of a folder with this ending.
fn files_of(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect()
}

/// The documents name tests and planted bugs outside the table of failures too.
#[test]
fn every_test_and_planted_bug_that_a_document_names_exists() {
    let (mut tests, mut planted) = (0, BTreeSet::new());
    for path in files_of("docs", "md") {
        let document = path.display();
        for name in markdown::code(&fs::read_to_string(&path).unwrap()) {
            let is_test = name.split_once(": ").is_some_and(|(package, _)| package.starts_with("events-"));
            if is_test {
                let found = can_be_run(&name);
                assert!(found.is_ok(), "{document}: {name}: {}", found.unwrap_err());
                tests += 1;
            }
            if workspace().join(format!("tests/simulation/planted/{name}.patch")).is_file() {
                planted.insert(name);
            }
        }
    }
    assert!(tests > 60, "only {tests} tests are named");
    let all: BTreeSet<String> = files_of("tests/simulation/planted", "patch")
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(planted, all, "docs/testing.md names every planted bug");
}

#[test]
fn names_that_do_not_exist_are_found() {
    for name in [
        "redis::failures::a_server_that_refuses_writes_leaves_nothing_half_written",
        "events-tests: redis::failures::no_such_test",
        "events-tests: redis::sandbox",
        "events-tests: a_lost_reply",
        "events-processor: bounds",
        "no-such-package: bounds",
        "make nothing",
    ] {
        assert!(can_be_run(name).is_err(), "{name}");
    }
    for name in ["make chaos MODE=empty", "events-tests: redis::failures", "events-tests: fixture"] {
        assert_eq!(can_be_run(name), Ok(()), "{name}");
    }
}

/// The code of these files and folders, without their unit tests.
fn code_of(sources: &[&str]) -> String {
    let files = sources.iter().flat_map(|path| sources::files(&workspace().join(path)));
    let texts: Vec<String> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(!texts.is_empty(), "{sources:?} have no source files");
    texts.iter().map(|text| sources::without_tests(text)).collect()
}

#[test]
fn every_setting_that_is_read_is_documented_and_no_other() {
    let documented = documented(SETTINGS, "setting");
    let documented = documented.into_iter().filter(|name| sources::is_setting(name)).collect();
    assert_same(SETTINGS, "settings", &documented, &sources::settings(&code_of(&SETTINGS_SOURCES)));
}

#[test]
fn every_metric_that_is_written_is_documented_and_no_other() {
    let real = sources::metrics(&code_of(&METRICS_SOURCES));
    assert_same(OPERATIONS, "metrics", &documented(OPERATIONS, "metric"), &real);
}

#[test]
fn the_documented_keys_are_those_the_code_makes() {
    let keys = KeyStyle::default();
    let (token, protocol) = (Subject::Token("{tokenId}".into()), Subject::Protocol("{protocolId}".into()));
    let real = [
        keys.price(&token),
        keys.tvl(&protocol),
        keys.chain_tvl(&protocol, "{chain}"),
        keys.meta(&protocol),
        keys.event(&protocol, "{eventId}"),
        keys.baseline(&protocol, "{pk}"),
        keys.write_check(&protocol),
        keys.event_log(),
        keys.outbox(),
        keys.outbox_lease(),
    ];
    assert_same(EVENTS, "keys", &documented(EVENTS, "key"), &real.into());
}

/// A channel in which the values of the event are replaced with the names of its fields.
fn pattern(channel: &str, event: &Value) -> String {
    let names = [
        ("tokenId", "{tokenId}"),
        ("protocolId", "{protocolId}"),
        ("protocolSlug", "{slug}"),
        ("chain", "{chain}"),
    ];
    let pattern = |(field, name): (&str, &str)| {
        let value = event["data"][field].as_str()?;
        let (before, after) = channel.split_once(&format!(":{value}"))?;
        (after.is_empty() || after.starts_with(':')).then(|| format!("{before}:{name}{after}"))
    };
    names.into_iter().find_map(pattern).unwrap_or_else(|| channel.to_owned())
}

#[test]
fn values_in_a_channel_are_replaced_with_field_names() {
    let event = serde_json::json!({"data": {"tokenId": "base:0x1", "chain": "base"}});
    assert_eq!(pattern("events:token:base:0x1", &event), "events:token:{tokenId}");
    assert_eq!(pattern("events:chain:base:prices", &event), "events:chain:{chain}:prices");
    assert_eq!(pattern("events:prices", &event), "events:prices");
}

#[tokio::test]
async fn the_documented_channels_are_those_the_code_publishes_on() {
    let processor = in_memory(Config { signals: Some(Signals::default()), ..Config::default() });
    let records: Vec<_> = fixture_records();
    process(&processor, &records).await;
    let published = processor.store().published();
    let real =
        published.iter().map(|(channel, event)| pattern(channel, &serde_json::from_str(event).unwrap()));
    assert_same(EVENTS, "channels", &documented(EVENTS, "channel"), &real.collect());
}
