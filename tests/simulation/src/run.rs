//! One run: a seed in, what was seen out; and the invariants that can be judged only at the end.

use std::collections::BTreeMap;
use std::rc::Rc;

use events_processor::OutagePolicy;

use crate::ledger::{self, check, is_delivered};
use crate::mapping;
use crate::outbox;
use crate::reference::{State, Verdict, judge};
use crate::rows::{Kind, Row, Table, Values};
use crate::scenario::{MINUTE, OutageKind, SECOND, Scenario};
use crate::sim::{Sim, Violation, World};

/// More steps than any run needs.
const MOST_STEPS: u64 = 300_000;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The first invariant that did not hold.
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
    pub awaited: u64,
    /// Records written.
    pub records: u64,
    /// Events in the queue.
    pub events: u64,
    /// Messages that were in the queue once more, after the five minutes in which SQS drops them.
    pub again: u64,
    /// Events that a loss of Redis's data has cost.
    pub lost_with_redis: u64,
    /// Everything that happened, line by line, where it was asked for.
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
        world.after(outage.from, move |world| begin(world, outage.kind));
    }
    for lane in 0..world.rows.shards.len() {
        world.after(0, move |world| mapping::tick(world, lane));
    }
    if world.scenario.settings.outage == OutagePolicy::Spill {
        world.after(MINUTE, outbox::tick);
    }
    world.run(MOST_STEPS);
    if world.violation().is_none() {
        judge_the_end(&world);
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
                "row {} {pk} shard {} at {at} s time {} sequence {} {:?}",
                row.index, row.shard, row.time_ms, row.sequence, row.kind
            )
        });
    }
}

fn begin(world: &World, kind: OutageKind) {
    world.trace(|| format!("outage: {kind:?}"));
    match kind {
        OutageKind::RedisLosesAll => {
            world.count("redis restarts empty");
            world.redis.borrow_mut().lose_all();
        }
        OutageKind::RedisFailsOver => {
            world.count("redis fails over, suffix lost");
            let lost = world.span(1, 12);
            world.redis.borrow_mut().lose_last(lost);
        }
        OutageKind::Redis => world.count("redis restarts with its data"),
        OutageKind::RedisPaused => world.count("redis stands still"),
        OutageKind::Queue => world.count("sqs outage"),
        OutageKind::Throttle => world.count("sqs throttles everything"),
        OutageKind::Group(_) => world.count("sqs refuses one group"),
        OutageKind::Letters => world.count("dlq outage"),
    }
}

fn report(world: &World) -> Report {
    let (ledger, host) = (world.ledger.borrow(), world.host.borrow());
    Report {
        violation: world.violation(),
        faults: world.counts(),
        checked: ledger.checked.clone(),
        simulated: world.now(),
        invocations: host.invocations(),
        awaited: host.awaited(),
        records: world.rows.rows.len() as u64,
        events: ledger.accepted.len() as u64,
        again: world.queue.borrow().len() - ledger.accepted.len() as u64,
        lost_with_redis: if world.redis.borrow().lost_anything() { lost(world) } else { 0 },
        trace: world.traced(),
    }
}

/// Rows one after the other with a perfect memory: the events that must come, and where each key ends.
fn perfect(world: &World, mut each: impl FnMut(&Row, &Verdict)) -> BTreeMap<usize, Rc<State>> {
    let mut states: BTreeMap<usize, Rc<State>> = BTreeMap::new();
    for row in &world.rows.rows {
        let verdict = judge(row, states.get(&row.key).map(|state| &**state), ledger::rules(world));
        each(row, &verdict);
        if let Verdict::Apply(_, next) = verdict {
            states.insert(row.key, next);
        }
    }
    states
}

fn lost(world: &World) -> u64 {
    let mut lost = 0;
    perfect(world, |_, verdict| {
        if let Verdict::Apply(events, _) = verdict {
            lost += events.iter().filter(|event| !is_delivered(world, event)).count() as u64;
        }
    });
    lost
}

fn judge_the_end(world: &World) {
    let dropped = world.ledger.borrow().dropped.clone();
    for (lane, shard) in world.rows.shards.iter().enumerate() {
        let next = world.host.borrow().lanes[lane].next;
        check(world, "the stream is drained", next == shard.rows.len(), || {
            format!("lane {lane} stands at {next}")
        });
    }
    let waiting = world.redis.borrow().waiting();
    check(world, "the outbox is drained", waiting == 0, || format!("{waiting} entries wait for ever"));
    check(world, "drops are allowed", dropped.is_empty() || world.scenario.may_drop(), || {
        format!("{dropped:?}")
    });
    for row in world.rows.rows.iter().filter(|row| matches!(row.kind, Kind::Poison(_))) {
        let there =
            dropped.contains(&row.index) || world.ledger.borrow().record_letters.contains(&row.record_id);
        check(world, "nothing is lost", there, || format!("poisonous row {} is nowhere", row.index));
    }
    // What a lost baseline or a dropped row does to later rows is judged as they are committed.
    if dropped.is_empty() && !world.redis.borrow().lost_anything() {
        judge_strictly(world);
    }
}

fn judge_strictly(world: &World) {
    let mut known = std::collections::BTreeSet::new();
    let states = perfect(world, |row, verdict| {
        let Verdict::Apply(events, _) = verdict else { return };
        for event in events {
            known.insert(event.id.clone());
            check(world, "nothing is lost", is_delivered(world, event), || {
                format!("event {} of row {} is nowhere", event.id, row.index)
            });
            let published = world.ledger.borrow().published.contains(&event.id);
            check(world, "nothing is lost", published || !world.scenario.settings.core.pubsub, || {
                format!("event {} of row {} was not published", event.id, row.index)
            });
        }
    });
    let unknown = world.ledger.borrow().accepted.iter().find(|id| !known.contains(*id)).cloned();
    check(world, "nothing is invented", unknown.is_none(), || format!("{unknown:?} is in the queue"));
    for (key, state) in states {
        cache_ends_on(world, key, &state);
    }
}

fn cache_ends_on(world: &World, key: usize, state: &State) {
    let (row, key) = (&world.rows.rows[state.row], &world.rows.keys[key]);
    let stored =
        world.redis.borrow_mut().baseline(&key.baseline, world.now()).map(|baseline| baseline.state.row);
    // A baseline that has merely lived long enough is gone.
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
        let holds = json[field].as_f64() == Some(value) && json["timestamp"].as_i64() == Some(row.time_ms);
        check(world, "the cache ends on the last value", holds, || format!("{hot}: {found:?}, not {value}"));
    }
}
