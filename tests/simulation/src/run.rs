//! Runs one seed, reports what happened, and checks the invariants that can be checked only at the end.

use std::collections::BTreeMap;
use std::rc::Rc;

use events_processor::OutagePolicy;

use crate::ledger::{self, check, is_delivered};
use crate::mapping;
use crate::outbox;
use crate::promptness::{self, TimeLost};
use crate::reference::{ExpectedBaseline, ExpectedOutcome, expected_outcome};
use crate::rows::{Kind, Row, Table, Values};
use crate::scenario::{MINUTE, OutageKind, SECOND, Scenario};
use crate::sim::{Sim, Violation, World};

/// No run needs this many steps.
const MOST_STEPS: u64 = 300_000;

/// The result of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The first violated invariant.
    pub violation: Option<Violation>,
    /// Faults injected, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Checks made, by invariant.
    pub checked: BTreeMap<&'static str, u64>,
    /// Simulated time, µs.
    pub simulated: u64,
    /// Invocations.
    pub invocations: u64,
    /// Await points passed.
    pub await_points: u64,
    /// Records written.
    pub records: u64,
    /// Events in the queue.
    pub events: u64,
    /// Messages that entered the queue again, after the five minutes in which SQS drops duplicates.
    pub queued_again: u64,
    /// Events that are lost because Redis lost data.
    pub lost_with_redis: u64,
    /// How many requests to the events queue failed together, and how often.
    pub failed_together: BTreeMap<usize, u64>,
    /// Time lost after the end of a wave, by kind.
    pub time_lost: BTreeMap<(&'static str, bool), TimeLost>,
    /// Everything that happened, line by line, if tracing was requested.
    pub trace: Option<String>,
}

/// Runs a seed.
pub fn run(seed: u64, traced: bool) -> Report {
    run_scenario(Scenario::of(seed), traced)
}

/// Runs a scenario.
pub fn run_scenario(scenario: Scenario, traced: bool) -> Report {
    let world = Sim::new(scenario, traced);
    describe(&world);
    for outage in world.scenario.outages.clone() {
        world.after(outage.from, move |world| begin_outage(world, outage.kind));
    }
    for shard in 0..world.rows.shards.len() {
        world.after(0, move |world| mapping::tick(world, shard));
    }
    if world.scenario.settings.outage == OutagePolicy::Spill {
        world.after(MINUTE, outbox::tick);
    }
    world.run(MOST_STEPS);
    if world.violation().is_none() {
        check_end(&world);
        promptness::check_all(&world);
    }
    let report = report(&world);
    world.dismantle();
    report
}

fn describe(world: &World) {
    world.trace(|| format!("{:#?}", world.scenario));
    for (index, shard) in world.rows.shards.iter().enumerate() {
        world.trace(|| format!("shard {index}: {shard:?}"));
    }
    for row in &world.rows.rows {
        world.trace(|| {
            let (pk, at) = (&world.rows.keys[row.key].pk, row.at / SECOND);
            format!(
                "row {} {pk} shard {} at {at} s time {:?} created {:?} old {:?} sequence {} {:?}",
                row.index, row.shard, row.data_time, row.created_ms, row.old_time_ms, row.sequence, row.kind
            )
        });
    }
}

fn begin_outage(world: &World, kind: OutageKind) {
    world.trace(|| format!("outage: {kind:?}"));
    world.count_fault(kind.name());
    match kind {
        OutageKind::RedisLosesAll => world.redis.borrow_mut().lose_all(),
        OutageKind::RedisFailsOver => {
            let lost = world.span(1, 12);
            world.redis.borrow_mut().lose_last(lost);
        }
        _ => {}
    }
}

fn report(world: &World) -> Report {
    let (ledger, host) = (world.ledger.borrow(), world.host.borrow());
    Report {
        violation: world.violation(),
        faults: world.fault_counts(),
        checked: ledger.checked.clone(),
        simulated: world.now(),
        invocations: host.invocations(),
        await_points: host.await_points(),
        records: world.rows.rows.len() as u64,
        events: ledger.accepted.len() as u64,
        queued_again: world.queue.borrow().len() - ledger.accepted.len() as u64,
        lost_with_redis: if world.redis.borrow().lost_anything() { count_lost(world) } else { 0 },
        failed_together: ledger.failed_together.clone(),
        time_lost: if world.scenario.waves { promptness::time_lost(world) } else { BTreeMap::new() },
        trace: world.traced(),
    }
}

/// Applies the reference to all rows in order, as if no baseline was ever lost. Calls `each` with the expected outcome
/// of each row. Returns the last baseline of each key. Leaves out subjects of which a row has a data time that depends on
/// the time of decoding.
fn with_perfect_memory(
    world: &World,
    mut each: impl FnMut(&Row, &ExpectedOutcome),
) -> BTreeMap<usize, Rc<ExpectedBaseline>> {
    let mut states: BTreeMap<usize, Rc<ExpectedBaseline>> = BTreeMap::new();
    for row in world.rows.rows.iter().filter(|row| is_predictable(world, row.index)) {
        // No row that is left depends on the time of decoding.
        let (baseline, now_ms) = (states.get(&row.key).map(|state| &**state), 0);
        let outcome = expected_outcome(row, baseline, ledger::rules(world), now_ms);
        each(row, &outcome);
        if let ExpectedOutcome::Applied(_, next) = outcome {
            states.insert(row.key, next);
        }
    }
    states
}

fn is_predictable(world: &World, row: usize) -> bool {
    !world.rows.has_clock_ahead(&world.rows.keys[world.rows.rows[row].key].group)
}

fn count_lost(world: &World) -> u64 {
    let mut lost = 0;
    with_perfect_memory(world, |_, outcome| {
        if let ExpectedOutcome::Applied(events, _) = outcome {
            lost += events.iter().filter(|event| !is_delivered(world, event)).count() as u64;
        }
    });
    lost
}

fn check_end(world: &World) {
    let dropped = world.ledger.borrow().dropped.clone();
    for (index, shard) in world.rows.shards.iter().enumerate() {
        let next = world.host.borrow().readers[index].next;
        check(world, "the stream is drained", next == shard.rows.len(), || {
            format!("shard {index} is read only to position {next}")
        });
    }
    let waiting = world.redis.borrow().waiting();
    check(world, "the outbox is drained", waiting == 0, || {
        format!("{waiting} entries are still in the outbox")
    });
    check(world, "drops are allowed", dropped.is_empty() || world.scenario.may_drop(), || {
        format!("{dropped:?}")
    });
    for row in world.rows.rows.iter().filter(|row| matches!(row.kind, Kind::Poison(_))) {
        let there = dropped.contains(&row.index)
            || world.ledger.borrow().dead_letter_records.contains(&row.record_id);
        check(world, "nothing is lost", there, || {
            format!("poison row {} is not in the dead letter queue", row.index)
        });
    }
    // A lost baseline or a row that was dropped or put aside changes the expected events of later rows, which the ledger
    // checks at each commit.
    if world.ledger.borrow().given_up().next().is_none() && !world.redis.borrow().lost_anything() {
        check_every_event(world);
    }
}

fn check_every_event(world: &World) {
    let mut expected_ids = std::collections::BTreeSet::new();
    let states = with_perfect_memory(world, |row, outcome| {
        let ExpectedOutcome::Applied(events, _) = outcome else { return };
        for event in events {
            expected_ids.insert(event.id.clone());
            check(world, "nothing is lost", is_delivered(world, event), || {
                format!("event {} of row {} is in no queue", event.id, row.index)
            });
            let published = world.ledger.borrow().published.contains(&event.id);
            check(world, "nothing is lost", published, || {
                format!("event {} of row {} was not published", event.id, row.index)
            });
        }
    });
    let accepted = world.ledger.borrow().accepted.clone();
    let unexpected =
        accepted.into_iter().find(|(id, row)| is_predictable(world, *row) && !expected_ids.contains(id));
    check(world, "nothing is invented", unexpected.is_none(), || {
        format!("{unexpected:?} is in the queue, but no row gives it")
    });
    for (key, state) in states {
        cache_ends_on(world, key, &state);
    }
}

fn cache_ends_on(world: &World, key: usize, state: &ExpectedBaseline) {
    let (row, key) = (&world.rows.rows[state.row], &world.rows.keys[key]);
    let stored =
        world.redis.borrow_mut().baseline(&key.baseline, world.now()).map(|baseline| baseline.expected.row);
    // The baseline may have expired.
    let holds = stored == Some(state.row) || (stored.is_none() && world.redis.borrow().lost_anything());
    check(world, "the cache ends on the last value", holds, || {
        format!("{}: row {stored:?}, not {}", key.pk, row.index)
    });
    let names = &world.scenario.settings.core.keys;
    let (hot, field, value) = match (&row.kind, key.table) {
        (Kind::Values(Values::Tvl(tvl)), Table::Tvl) => {
            let Some(total) = tvl.total else { return };
            (names.tvl(&key.subject), "tvl", total as f64)
        }
        (Kind::Values(Values::Price(price)), Table::Price) => {
            (names.price(&key.subject), "price", price.thousandths as f64 / 1_000.0)
        }
        _ => return,
    };
    if world.scenario.settings.core.caching {
        let found = world.redis.borrow().value(&hot).map(str::to_owned);
        let json: serde_json::Value =
            found.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let holds = json[field].as_f64() == Some(value) && json["timestamp"].as_i64() == Some(row.time_ms(0));
        check(world, "the cache ends on the last value", holds, || format!("{hot}: {found:?}, not {value}"));
    }
}
