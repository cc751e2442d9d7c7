//! Properties that hold for any stream of records.
#![allow(clippy::needless_pass_by_value, clippy::unwrap_used, reason = "test code")]

mod common;

use common::{TIMES, events, n, plan_batch, plan_in_batches, record, tvl};
use events_core::delivery::Snapshot;
use events_core::plan::{Config, RecordOutcome, RecordPlan, plan};
use events_core::source::dynamodb::decode_text;
use proptest::prelude::*;
use serde_json::json;

/// A short stream with few keys. Times and sequence numbers rise and fall, and values repeat.
fn any_stream() -> impl Strategy<Value = Vec<String>> {
    let row = (
        0..3_u8,
        0..40_u32,
        0..6_i64,
        prop::sample::select(vec!["0", "1", "100", "101", "1E+21", "-5", "0.5"]),
    );
    prop::collection::vec(row, 1..40).prop_map(|rows| {
        let one = |(key, sequence, hour, value): (u8, u32, i64, &str)| {
            let at = 1_000_000 + 3_600 * hour;
            match key {
                0 => record("hourlyTvl#1", sequence, at, &json!({"tvl": n(value), "base": n(value)}), None),
                1 => record("hourlyTvl#2", sequence, at, &json!({"tvl": n(value)}), None),
                _ => record("protocol#1", sequence, at, &json!({"name": {"S": value}}), None),
            }
        };
        rows.into_iter().map(one).collect()
    })
}

/// The outcomes, messages and commits of plans, as text.
fn printed(plans: &[RecordPlan]) -> String {
    plans.iter().map(|plan| format!("{:?} {:?} {:?}\n", plan.outcome, plan.messages, plan.commit)).collect()
}

proptest! {
    #[test]
    fn the_same_input_gives_the_same_bytes(stream in any_stream()) {
        prop_assert_eq!(printed(&plan_batch(&stream, &Config::default())), printed(&plan_batch(&stream, &Config::default())));
    }

    #[test]
    fn the_size_of_batches_does_not_matter(stream in any_stream(), size in 1usize..9) {
        let bodies = |plans: &[RecordPlan]| {
            plans.iter().map(|plan| (plan.outcome.clone(), plan.messages.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(bodies(&plan_in_batches(&stream, size)), bodies(&plan_batch(&stream, &Config::default())));
    }

    #[test]
    fn a_redelivery_of_everything_changes_nothing(stream in any_stream(), size in 1usize..9) {
        let twice: Vec<String> = stream.iter().chain(&stream).cloned().collect();
        let plans = plan_in_batches(&twice, size);
        for plan in &plans[stream.len()..] {
            prop_assert!(plan.commit.is_none() && plan.messages.is_empty(), "{:?}", plan);
            prop_assert!(matches!(plan.outcome, RecordOutcome::Late | RecordOutcome::AlreadyApplied));
        }
    }

    #[test]
    fn a_text_that_is_no_record_becomes_a_dead_letter(text in "\\PC{0,80}") {
        let record = decode_text(&text, TIMES.now_ms);
        let plans = plan(vec![record], &Snapshot::default(), &Config::default(), TIMES);
        prop_assert_eq!(plans[0].dead_letters.len(), 1);
    }

    #[test]
    fn events_contain_only_finite_numbers(from in "-?[0-9]{1,19}(E[+-]?[0-9]{1,2})?", to in "-?[0-9]{1,19}(E[+-]?[0-9]{1,2})?") {
        for event in events(&[tvl(1, 1_000_000, &from), tvl(2, 2_000_000, &to)], &Config::default()) {
            prop_assert_eq!(event.validate(), Ok(()));
            let json = event.to_json().unwrap();
            prop_assert!(!json.contains("null"), "{}", json);
        }
    }
}
