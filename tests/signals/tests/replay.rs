//! The state of the signals, and the signals, depend on the rows alone: not on batches, redeliveries, or crashes.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;

use events_core::delivery::Snapshot;
use events_core::event::{Event, EventType};
use events_core::plan::Config;
use events_signals::play::{play_batch, with_signals};
use events_signals::random::Random;
use events_signals::stream::{Behaviour, Fault, Stream};

/// Every stream of the evaluation, of one seed.
fn streams(seed: u64) -> Vec<Stream> {
    let faults = Fault::ALL.map(|fault| Stream::with_fault(fault, seed));
    let keys = [Behaviour::Calm, Behaviour::Busy, Behaviour::Growing, Behaviour::Flapping];
    let keys = keys.map(|behaviour| Stream::ordinary(behaviour, seed));
    faults.into_iter().chain(keys).collect()
}

/// What subscribers have seen: each event once, in the order of its first delivery; and the stored baselines.
struct Seen {
    events: Vec<Event>,
    baselines: BTreeMap<String, String>,
}

/// Plays a stream in batches. With `faults`, some batches come again as a whole or in part, and some die after a part of
/// their commits and are delivered again from the first row that is not done, or from the start.
fn seen(stream: &Stream, batch: usize, config: &Config, mut faults: Option<Random>) -> Seen {
    let (mut snapshot, mut events) = (Snapshot::default(), Vec::<Event>::new());
    let mut from = 0;
    while from < stream.rows.len() {
        let to = (from + batch).min(stream.rows.len());
        // In a third of the batches, at most so many; else all.
        let mut some_of = |most: usize| match &mut faults {
            Some(random) => {
                if random.chance(0.3) {
                    random.below(most as u64 + 1) as usize
                } else {
                    most
                }
            }
            None => most,
        };
        let commits = some_of(to - from);
        for row in play_batch(stream, (from, to), commits, config, &mut snapshot) {
            for event in row.events {
                if !events.iter().any(|seen| seen.event_id == event.event_id) {
                    events.push(event);
                }
            }
        }
        from += some_of(commits);
    }
    let baselines = snapshot.baselines.into_iter().map(|(key, baseline)| (key, baseline.values)).collect();
    Seen { events, baselines }
}

/// Without what may differ: the processing time.
fn text(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| {
        let mut event = event.clone();
        event.metadata.processing_time = 0.0;
        event.to_json().unwrap()
    };
    events.iter().map(text).collect()
}

#[test]
fn batches_redeliveries_and_crashes_change_nothing() {
    let config = with_signals();
    let mut signals = 0;
    for seed in 1..=3 {
        for stream in streams(seed) {
            let alone = seen(&stream, 1, &config, None);
            signals += alone.events.iter().filter(|event| event.metadata.signal.is_some()).count();
            assert!(alone.baselines.values().all(|values| values.contains(r#""signal"#)));
            for batch in [1, 7, 100] {
                for faults in [None, Some(Random::new(seed, 300 + batch as u64))] {
                    let other = seen(&stream, batch, &config, faults);
                    assert_eq!(other.baselines, alone.baselines, "{} in batches of {batch}", stream.pk);
                    assert_eq!(
                        text(&other.events),
                        text(&alone.events),
                        "{} in batches of {batch}",
                        stream.pk
                    );
                }
            }
        }
    }
    assert!(signals > 250, "only {signals} signals: the streams show too little");
}

#[test]
fn without_signals_the_events_are_the_same_but_for_what_signals_add() {
    for stream in streams(7) {
        let on = seen(&stream, 7, &with_signals(), None).events;
        let off = seen(&stream, 7, &Config::default(), None);
        let changes = on.into_iter().filter(|event| event.event_type != EventType::Signal);
        let bare = changes.map(|mut event| {
            event.metadata.signal = None;
            event
        });
        assert_eq!(text(&bare.collect::<Vec<_>>()), text(&off.events), "{}", stream.pk);
        assert!(off.events.iter().all(|event| !event.to_json().unwrap().contains("signal")));
        assert!(off.baselines.values().all(|values| !values.contains("signal")));
    }
}

#[test]
fn a_baseline_with_signals_is_read_when_signals_are_off_and_the_other_way_round() {
    let stream = Stream::with_fault(Fault::Drain, 3);
    let at = stream.fault_at;
    let mut snapshot = Snapshot::default();
    play_batch(&stream, (0, at - 1), at - 1, &with_signals(), &mut snapshot);
    play_batch(&stream, (at - 1, at), 1, &Config::default(), &mut snapshot);
    assert!(snapshot.baselines.values().all(|baseline| !baseline.values.contains("signal")));
    // The meters begin anew, and a drain is seen at once.
    let rows = play_batch(&stream, (at, at + 1), 1, &with_signals(), &mut snapshot);
    assert!(
        rows[0].events.iter().any(|event| event
            .metadata
            .signal
            .as_ref()
            .is_some_and(|signal| signal.score >= 60))
    );
}
