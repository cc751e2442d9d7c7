//! The rule of significance in SQL and in Rust: the same cases, the same answers.

use std::collections::{BTreeMap, BTreeSet};

use events_core::plan::{Config, PlanTimes, RecordOutcome, plan};
use events_core::source::postgres::{OutboxEntry, decode};
use events_core::value::{Change, Number};
use events_harness::random::Random;
use serde_json::value::RawValue;

use super::outbox_entries;

/// Cases of the rule: previous, current, least per cent, least USD, significant. Both implementations are judged by them.
const CASES: &str = include_str!("../../../../infra/postgres/tests/significance.tsv");

fn number(text: &str) -> Number {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn is_significant(previous: &str, current: &str, percent: &str, absolute: &str) -> bool {
    let change = Change::between(&number(previous), &number(current));
    !change.is_zero()
        && (change.reaches_percent(&number(percent)) || change.reaches_absolute(&number(absolute)))
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_and_rust_are_judged_by_one_table_of_cases() {
    let database = super::database().await;
    let mut cases = 0;
    for line in CASES.lines().filter(|line| !line.starts_with('#')) {
        let [previous, current, percent, absolute, expected] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        let in_sql = database
            .text(&format!("realtime.is_significant({previous}, {current}, {percent}, {absolute})"))
            .await;
        assert_eq!(in_sql, expected, "SQL: {line}");
        assert_eq!(
            is_significant(previous, current, percent, absolute).to_string(),
            expected,
            "Rust: {line}"
        );
        cases += 1;
    }
    assert!(cases > 20, "{cases}");
}

/// A number with up to 38 digits, often near `near`.
fn value(random: &mut Random, near: Option<&str>) -> String {
    let digits = 1 + random.below(38);
    let mut text: String = (0..digits).map(|_| char::from(b'0' + random.below(10) as u8)).collect();
    let point = random.below(digits + 1);
    if point > 0 && point < digits {
        text.insert(point as usize, '.');
    }
    match (random.below(10), near) {
        (0, _) => "0".to_owned(),
        (1, Some(near)) => near.to_owned(),
        (2 | 3, _) => (random.below(2_000_000)).to_string(),
        _ => text,
    }
}

/// 100,000 tokens change in one statement. The outbox has exactly those that the rule in Rust calls significant, and each
/// entry of it makes exactly one event, with the values to the last digit.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_random_changes_are_judged_the_same() {
    const COUNT: usize = 100_000;
    let seed = 20_261_126;
    let mut random = Random::new(seed);
    let database = super::database().await;
    let (mut ids, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
    let mut expected = BTreeSet::new();
    for index in 0..COUNT {
        let (id, previous) = (format!("t{index}"), value(&mut random, None));
        // A third moves by exactly, just above or just below a threshold.
        let current = match random.below(6) {
            0 => near_threshold(&mut random, &previous),
            1 => value(&mut random, Some(&previous)),
            _ => value(&mut random, None),
        };
        if is_significant(&previous, &current, "0.1", "0.01") {
            expected.insert(id.clone());
        }
        ids.push(id);
        before.push(previous);
        after.push(current);
    }
    let all = "unnest($1::text[], $2::text[]) AS n(id, value)";
    let first = sqlx::query(sqlx::AssertSqlSafe(format!(
        "INSERT INTO realtime.prices (token_id, price) SELECT n.id, n.value::numeric FROM {all}"
    )));
    first.bind(&ids).bind(&before).execute(&database.pool).await.unwrap();
    let second = sqlx::query(sqlx::AssertSqlSafe(format!(
        "UPDATE realtime.prices AS p SET price = n.value::numeric FROM {all} WHERE p.token_id = n.id"
    )));
    second.bind(&ids).bind(&after).execute(&database.pool).await.unwrap();

    let entries = outbox_entries(&database).await.into_iter();
    let entries: BTreeMap<String, OutboxEntry> = entries.map(|entry| (entry.id.clone(), entry)).collect();
    let found: BTreeSet<String> = entries.keys().cloned().collect();
    let differ: Vec<_> = found.symmetric_difference(&expected).take(5).collect();
    assert!(differ.is_empty(), "seed {seed}: SQL and Rust differ in {differ:?}");
    assert!(found.len() > COUNT / 3 && found.len() < COUNT, "{}", found.len());

    let times = PlanTimes { now_ms: 0, processing_ms: 0.0 };
    for (index, id) in ids.iter().enumerate() {
        let Some(entry) = entries.get(id) else { continue };
        let plans = plan(vec![decode(entry, "db")], &Default::default(), &Config::default(), times);
        let [planned] = plans.as_slice() else { panic!("{entry:?}") };
        assert_eq!((&planned.outcome, planned.events.len()), (&RecordOutcome::Events, 1), "{entry:?}");
        let body: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&entry.body).unwrap();
        let stored = (number(body["previous"].get()), number(body["value"].get()));
        assert_eq!(stored, (number(&before[index]), number(&after[index])), "{entry:?}");
    }
}

/// `previous` moved by 0.1 % or 0.01, give or take one unit of a late digit. At most 38 digits.
fn near_threshold(random: &mut Random, previous: &str) -> String {
    // In units of 1e-9, so that sums are exact.
    let units = previous.parse::<f64>().unwrap_or_default().abs().clamp(1.0, 1e15) as i128;
    let previous = units * 1_000_000_000;
    let by = if random.below(2) == 0 { previous / 1_000 } else { 10_000_000 };
    let moved = previous + by + random.below(3) as i128 - 1;
    format!("{}.{:09}", moved / 1_000_000_000, moved % 1_000_000_000)
}
