//! The scenario through the processor: what a viewer sees.

use std::collections::BTreeMap;

use events_core::event::{EventType, Priority};
use events_core::plan::RecordOutcome;

use super::*;
use crate::play::{memory_processor, process};

#[test]
fn every_act_names_a_protocol_or_token_of_the_world() {
    for act in drama::of_round(0).iter().chain(&drama::of_round(1)) {
        let (id, is_token) = drama::named(act);
        let known = if is_token {
            TOKENS.iter().any(|one| one.id == id)
        } else {
            PROTOCOLS.iter().any(|one| one.id == id)
        };
        assert!(known, "{act:?}");
    }
}

/// Two rounds: events of every kind, at a pace that a person can follow.
#[tokio::test]
async fn the_scenario_shows_every_kind_of_event_and_drops_nothing() {
    let (processor, mut scenario) = (memory_processor(), Scenario::new(1));
    let begin = 1_764_237_600_000;
    let opening = process(&processor, &scenario.opening(begin)).await;
    assert_eq!(opening.tally.events, 0, "the opening is no news");
    let (mut kinds, mut high, mut late, mut events) = (BTreeMap::new(), 0, 0, 0);
    let steps = 2 * 240_000 / STEP_MS;
    for step in 0..steps {
        let batch = process(&processor, &scenario.step(begin + (step * STEP_MS) as i64)).await;
        assert!(batch.failures.is_empty(), "{:?}", batch.failures);
        for record in &batch.records {
            assert!(!matches!(record.outcome, RecordOutcome::DeadLetter(_)), "{:?}", record.outcome);
            late += u64::from(record.outcome == RecordOutcome::Late);
            for event in &record.events {
                events += 1;
                *kinds.entry(event.event_type).or_insert(0) += 1;
                high += u64::from(event.metadata.priority == Priority::High);
                assert!(event.name().is_some(), "{event:?}");
            }
        }
    }
    let per_second = events as f64 / 480.0;
    assert!((1.0..12.0).contains(&per_second), "{per_second} events a second");
    for kind in [EventType::PriceUpdate, EventType::TvlChange, EventType::ProtocolUpdate] {
        assert!(kinds.get(&kind).is_some_and(|count| *count > 3), "{kinds:?}");
    }
    assert!(high > 3, "{high}");
    assert_eq!(late, 4 * 72, "the refills are history");
}
