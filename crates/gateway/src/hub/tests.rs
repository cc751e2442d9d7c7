//! The hub beside a model: a list of all events, and for each client what it has been told.

use std::collections::BTreeSet;

use events_core::delivery::LogEntry;
use proptest::prelude::*;

use super::*;

fn position(n: u64) -> Position {
    Position { ms: n, number: 0 }
}

fn event(n: u64, protocol: u64, chain: Option<u64>) -> LogEvent {
    let chain = chain.map_or(String::new(), |chain| format!(r#","chain":"c{chain}""#));
    let event = format!(
        r#"{{"eventId":"{n}","eventType":"tvl_change","metadata":{{"priority":"low"}},"data":{{"protocolId":"{protocol}"{chain}}}}}"#
    );
    LogEvent::read(&LogEntry { position: position(n), event }).unwrap()
}

fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|text| Name::new(text)).collect()
}

fn connect(hub: &mut Hub) -> ClientId {
    hub.connect(Rc::new(Notify::new()))
}

/// Takes all that there is. Returns the positions of the events.
fn take_all(hub: &mut Hub, id: ClientId) -> Vec<u64> {
    let mut positions = Vec::new();
    loop {
        let taken = hub.take(id);
        assert!(taken.lost.is_none() && dropped(&taken).is_none(), "{taken:?}");
        positions.extend(taken.items.iter().filter_map(|item| match item {
            Item::Event(event) => Some(event.position.ms),
            Item::Message(_) | Item::Dropped(_) => None,
        }));
        if !taken.more {
            return positions;
        }
    }
}

#[test]
fn an_event_on_several_channels_of_a_client_comes_once() {
    let mut hub = Hub::new(10);
    let id = connect(&mut hub);
    let wanted = names(&["events:tvl", "events:protocol:1", "events:*", "*", "events:protocol:*"]);
    hub.subscribe(id, &wanted, &Rc::default(), Position::START).unwrap();
    hub.append(event(1, 1, None));
    hub.append(event(2, 2, None));
    assert_eq!(take_all(&mut hub, id), [1, 2]);
    assert_eq!(hub.unsubscribe(id, &wanted).len(), 5);
    hub.append(event(3, 1, None));
    assert!(take_all(&mut hub, id).is_empty());
}

/// What a client is told was dropped.
fn dropped(taken: &Taken) -> Option<Dropped> {
    taken.items.iter().find_map(|item| if let Item::Dropped(dropped) = item { Some(*dropped) } else { None })
}

/// A client that reads that events after a position were dropped may come back with this position: it must have had the
/// snapshot that brings it there.
#[test]
fn what_was_dropped_is_told_after_the_snapshot_before_it() {
    let mut hub = Hub::new(10_000);
    let id = connect(&mut hub);
    hub.message_at(id, "snapshot", "{}", position(5));
    hub.append(event(5, 1, None));
    hub.subscribe(id, &names(&["events:*"]), &Rc::default(), position(5)).unwrap();
    (6..=6 + MOST_WAITING as u64).for_each(|n| hub.append(event(n, n, None)));
    let items = hub.take(id).items;
    assert!(matches!(
        items[..3],
        [Item::Message(_), Item::Dropped(Dropped { count: 1, since }), Item::Event(_)] if since == position(5)
    ));
}

#[test]
fn a_slow_client_is_told_how_many_it_missed_and_since_when() {
    let mut hub = Hub::new(10_000);
    let (slow, quick) = (connect(&mut hub), connect(&mut hub));
    for id in [slow, quick] {
        hub.subscribe(id, &names(&["events:*"]), &Rc::default(), Position::START).unwrap();
    }
    hub.append(event(1, 0, None));
    assert_eq!((take_all(&mut hub, slow), take_all(&mut hub, quick)), (vec![1], vec![1]));
    let count = MOST_WAITING as u64 + 100;
    for n in 2..2 + count {
        // Each of another protocol: none replaces another.
        hub.append(event(n, n, None));
        assert_eq!(take_all(&mut hub, quick), [n]);
    }
    let taken = hub.take(slow);
    assert_eq!(dropped(&taken), Some(Dropped { count: 100, since: position(1) }));
    assert_eq!(taken.items.len(), MOST_WAITING + 1);
    assert_eq!((dropped(&hub.take(slow)), hub.figures().dropped), (None, 100));
}

/// After a gap, subscriptions with different filters are made anew one after the other, before any of them is replayed.
#[test]
fn a_subscription_before_the_replay_of_another_takes_nothing_from_it() {
    let mut hub = Hub::new(100);
    let id = connect(&mut hub);
    (1..=4).for_each(|n| hub.append(event(n, n % 2, None)));
    hub.subscribe(id, &names(&["events:protocol:0"]), &Rc::default(), position(1)).unwrap();
    hub.append(event(5, 0, None));
    hub.subscribe(id, &names(&["events:protocol:1"]), &Rc::default(), position(4)).unwrap();
    hub.append(event(6, 0, None));
    hub.append(event(7, 1, None));
    hub.subscribe(id, &names(&["events:protocol:2"]), &Rc::default(), position(7)).unwrap();
    hub.append(event(8, 2, None));
    assert_eq!(take_all(&mut hub, id), [2, 4, 5, 6, 7, 8]);
    hub.append(event(9, 1, None));
    assert_eq!(take_all(&mut hub, id), [9]);
}

/// A client that has got nothing but a snapshot knows the position of the snapshot.
#[test]
fn what_is_dropped_or_lost_first_is_told_with_the_position_of_the_subscription() {
    let mut hub = Hub::new(10_000);
    hub.append(event(5, 1, None));
    let (slow, lost) = (connect(&mut hub), connect(&mut hub));
    for id in [slow, lost] {
        hub.subscribe(id, &names(&["events:*"]), &Rc::default(), position(5)).unwrap();
    }
    (6..=6 + MOST_WAITING as u64).for_each(|n| hub.append(event(n, n, None)));
    assert_eq!(dropped(&hub.take(slow)), Some(Dropped { count: 1, since: position(5) }));
    hub.reset(position(9_999), false, "test");
    assert_eq!(hub.take(lost).lost.unwrap().since, position(5));
}

#[test]
fn of_a_slow_client_newer_values_replace_older_ones() {
    let mut hub = Hub::new(10_000);
    let id = connect(&mut hub);
    hub.subscribe(id, &names(&["events:*"]), &Rc::default(), Position::START).unwrap();
    hub.append(event(1, 7, None));
    for n in 2..=MOST_WAITING as u64 {
        hub.append(event(n, 100 + n, None));
    }
    hub.append(event(1_000, 7, None));
    let taken = hub.take(id);
    assert_eq!(dropped(&taken), Some(Dropped { count: 1, since: Position::START }));
    let positions: Vec<u64> = taken
        .items
        .iter()
        .filter_map(|item| if let Item::Event(event) = item { Some(event.position.ms) } else { None })
        .collect();
    let expected: Vec<u64> = (2..=MOST_WAITING as u64).chain([1_000]).collect();
    assert_eq!(positions, expected);
}

#[test]
fn a_client_that_falls_out_of_memory_while_it_resumes_is_lost_and_not_silent() {
    let mut hub = Hub::new(1_000);
    let id = connect(&mut hub);
    (1..=1_000).for_each(|n| hub.append(event(n, n, None)));
    hub.subscribe(id, &names(&["events:tvl"]), &Rc::default(), Position::START).unwrap();
    assert!(hub.take(id).more);
    (1_001..=3_000).for_each(|n| hub.append(event(n, n, None)));
    let lost = hub.take(id).lost.unwrap();
    assert_eq!((lost.since, lost.subscriptions.len()), (position(256), 1));
    hub.append(event(3_001, 1, None));
    assert!(take_all(&mut hub, id).is_empty(), "nothing comes before the new snapshot");
}

#[test]
fn a_reset_loses_every_place_and_old_positions_are_not_covered() {
    let mut hub = Hub::new(10);
    let (one, idle) = (connect(&mut hub), connect(&mut hub));
    hub.subscribe(one, &names(&["events:tvl"]), &Rc::default(), Position::START).unwrap();
    hub.append(event(5, 1, None));
    assert_eq!(take_all(&mut hub, one), [5]);
    hub.append(event(6, 1, None));
    hub.reset(position(100), false, "test");
    let taken = hub.take(one);
    assert!(taken.items.is_empty());
    assert_eq!(taken.lost.unwrap().since, position(5));
    assert!(hub.take(idle).lost.is_none());
    assert_eq!(hub.subscribe(one, &names(&["events:tvl"]), &Rc::default(), position(5)), Err(NotCovered));
    // A position from the future of another log is not covered either.
    assert_eq!(hub.subscribe(one, &names(&["events:tvl"]), &Rc::default(), position(101)), Err(NotCovered));
    assert!(hub.subscribe(one, &names(&["events:tvl"]), &Rc::default(), position(100)).is_ok());
}

/// The log was deleted and began anew: positions of the old log lie before its first entry.
#[test]
fn a_position_of_a_log_that_was_deleted_is_not_covered() {
    let mut hub = Hub::new(10);
    hub.append(event(5, 1, None));
    hub.reset(Position::START, true, "test");
    assert!(hub.covers(Position::START) && !hub.covers(position(5)));
    hub.append(event(9, 1, None));
    assert!(!hub.covers(position(5)) && !hub.covers(position(7)));
    assert!(hub.covers(Position::START) && hub.covers(position(9).before()) && hub.covers(position(9)));
}

#[test]
fn a_client_that_is_gone_leaves_nothing_behind() {
    let mut hub = Hub::new(10);
    for _ in 0..3 {
        let id = connect(&mut hub);
        hub.subscribe(id, &names(&["events:tvl", "events:*"]), &Rc::default(), Position::START).unwrap();
        hub.disconnect(id);
    }
    assert!(hub.index.is_empty() && hub.clients.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        protocol: u64,
        chain: Option<u64>,
    },
    /// A snapshot so many events before the newest: the cut of the hot keys can be older than the hub.
    Snapshot {
        client: usize,
        names: Vec<usize>,
        filter: bool,
        before: u64,
    },
    Resume {
        client: usize,
        names: Vec<usize>,
        before: u64,
    },
    Unsubscribe {
        client: usize,
        name: usize,
    },
    Take {
        client: usize,
    },
}

const NAMES: [&str; 6] = [
    "events:tvl",
    "events:protocol:1",
    "events:protocol:2",
    "events:chain:c1:tvl",
    "events:protocol:*",
    "events:*",
];
const CLIENTS: usize = 2;

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let some = || prop::collection::vec(0..NAMES.len(), 1..3);
    prop_oneof![
        6 => (0..4u64, prop::option::of(0..2u64)).prop_map(|(protocol, chain)| Step::Append { protocol, chain }),
        2 => (client(), some(), any::<bool>(), 0..4u64)
            .prop_map(|(client, names, filter, before)| Step::Snapshot { client, names, filter, before }),
        2 => (client(), some(), 0..8u64)
            .prop_map(|(client, names, before)| Step::Resume { client, names, before }),
        1 => (client(), 0..NAMES.len()).prop_map(|(client, name)| Step::Unsubscribe { client, name }),
        3 => client().prop_map(|client| Step::Take { client }),
    ]
}

/// What a client must get, from first principles: for each of its subscriptions, every event after its beginning.
#[derive(Default)]
struct Model {
    /// Name, filter, and the number of the event after which it begins.
    subscriptions: Vec<(usize, bool, u64)>,
    /// Events that it must get before the next step, in any order of subscriptions.
    owed: BTreeSet<u64>,
    /// Events that it got, or whose subscription was covered when a snapshot was made.
    had: BTreeSet<u64>,
}

fn matches(name: usize, filter: bool, (protocol, chain): (u64, Option<u64>)) -> bool {
    let on = match name {
        0 | 4 | 5 => true,
        1 => protocol == 1,
        2 => protocol == 2,
        _ => chain == Some(1),
    };
    on && (!filter || protocol == 1 || protocol == 2)
}

proptest! {
    /// No gap, nothing twice, in order: whatever clients subscribe to and give up, and whenever they take.
    #[test]
    fn a_client_gets_what_its_subscriptions_owe_it(steps in prop::collection::vec(step(), 1..80)) {
        let mut hub = Hub::new(10_000);
        let ids: Vec<ClientId> = (0..CLIENTS).map(|_| connect(&mut hub)).collect();
        let mut models: Vec<Model> = (0..CLIENTS).map(|_| Model::default()).collect();
        let mut log: Vec<(u64, Option<u64>)> = Vec::new();
        let filters = |filter: bool| {
            let protocol_ids = if filter { vec!["1".to_owned(), "2".to_owned()] } else { vec![] };
            Rc::new(Filters { protocol_ids, ..Filters::default() })
        };
        for step in steps {
            match step {
                Step::Append { protocol, chain } => {
                    log.push((protocol, chain));
                    let n = log.len() as u64;
                    hub.append(event(n, protocol, chain));
                    for model in &mut models {
                        if model.subscriptions.iter().any(|(name, filter, _)| matches(*name, *filter, (protocol, chain))) {
                            model.owed.insert(n);
                        }
                    }
                }
                Step::Snapshot { client, names: wanted, filter, before } => {
                    let (id, model) = (ids[client], &mut models[client]);
                    // As a session does: what waits is sent first.
                    let got = take_all(&mut hub, id);
                    prop_assert_eq!(got, model.owed.iter().copied().collect::<Vec<_>>());
                    model.had.append(&mut model.owed);
                    let cut = (log.len() as u64).saturating_sub(before);
                    let list: Vec<Name> = wanted.iter().map(|name| Name::new(NAMES[*name])).collect();
                    let filters = filters(filter);
                    let snapshot = hub.snapshot_events(id, &list, &filters, position(cut));
                    let others: Vec<_> = model.subscriptions.iter().filter(|one| !wanted.contains(&one.0)).copied().collect();
                    let covered = |event| others.iter().any(|(name, filter, _)| matches(*name, *filter, event));
                    let expected: Vec<u64> = (1..=cut)
                        .filter(|n| {
                            let event = log[*n as usize - 1];
                            wanted.iter().any(|name| matches(*name, filter, event)) && !covered(event)
                        })
                        .collect();
                    let skipped = expected.len().saturating_sub(SNAPSHOT_EVENTS);
                    let snapshot: Vec<u64> = snapshot.iter().map(|event| event.position.ms).collect();
                    prop_assert_eq!(snapshot, expected[skipped..].to_vec());
                    hub.subscribe(id, &list, &filters, position(cut)).unwrap();
                    subscribed(model, &wanted, filter, cut, &log);
                }
                Step::Resume { client, names: wanted, before } => {
                    let (id, model) = (ids[client], &mut models[client]);
                    let got = take_all(&mut hub, id);
                    prop_assert_eq!(got, model.owed.iter().copied().collect::<Vec<_>>());
                    model.had.append(&mut model.owed);
                    let since = (log.len() as u64).saturating_sub(before);
                    let list: Vec<Name> = wanted.iter().map(|name| Name::new(NAMES[*name])).collect();
                    hub.subscribe(id, &list, &filters(false), position(since)).unwrap();
                    subscribed(model, &wanted, false, since, &log);
                }
                Step::Unsubscribe { client, name } => {
                    let (id, model) = (ids[client], &mut models[client]);
                    let got = take_all(&mut hub, id);
                    prop_assert_eq!(got, model.owed.iter().copied().collect::<Vec<_>>());
                    model.had.append(&mut model.owed);
                    hub.unsubscribe(id, &[Name::new(NAMES[name])]);
                    model.subscriptions.retain(|one| one.0 != name);
                }
                Step::Take { client } => {
                    let (id, model) = (ids[client], &mut models[client]);
                    let got = take_all(&mut hub, id);
                    prop_assert_eq!(got, model.owed.iter().copied().collect::<Vec<_>>());
                    model.had.append(&mut model.owed);
                }
            }
        }
        for (id, model) in ids.into_iter().zip(models) {
            prop_assert_eq!(take_all(&mut hub, id), model.owed.into_iter().collect::<Vec<_>>());
        }
    }
}

/// Adds subscriptions to the model: it owes their events after `since`, without those that another subscription gave.
fn subscribed(model: &mut Model, wanted: &[usize], filter: bool, since: u64, log: &[(u64, Option<u64>)]) {
    model.subscriptions.retain(|one| !wanted.contains(&one.0));
    let others = model.subscriptions.clone();
    for name in wanted {
        if !model.subscriptions.iter().any(|one| one.0 == *name) {
            model.subscriptions.push((*name, filter, since));
        }
    }
    for n in since + 1..=log.len() as u64 {
        let event = log[n as usize - 1];
        let given = others.iter().any(|(name, filter, after)| n > *after && matches(*name, *filter, event));
        if wanted.iter().any(|name| matches(*name, filter, event)) && !given {
            model.owed.insert(n);
        }
    }
}
