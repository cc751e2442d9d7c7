//! The event source mapping: one batch of a shard at a time, again and again from the first record that failed.

use stream_mapping::{Progress, Response, progress};

use crate::host;
use crate::ledger;
use crate::rows::Shard;
use crate::scenario::{MILLI, SECOND};
use crate::sim::World;

/// How long a record takes from the table to the mapping.
const TRANSIT: u64 = 200 * MILLI;
/// The longest pause between two attempts.
const LONGEST_PAUSE: u64 = 30 * SECOND;
/// How long an old stream must be quiet before another one of the same table is read.
const QUIET: u64 = 120 * SECOND;

/// Where the mapping stands in a shard.
#[derive(Debug, Default)]
pub struct Lane {
    /// The first row not done.
    pub next: usize,
    /// Where the batch under way ends; above it, where its halves end.
    ends: Vec<usize>,
    busy: bool,
    attempt: u32,
}

/// Looks whether a lane has something to do, and does it or comes back when it has.
pub fn tick(world: &World, lane: usize) {
    let shard = &world.rows.shards[lane];
    let batch = {
        let mut host = world.host.borrow_mut();
        let waits = !shard.parents.iter().all(|parent| is_read(world, &host.lanes, *parent));
        if host.lanes[lane].busy || waits || host.lanes[lane].next == shard.rows.len() {
            return;
        }
        if opens_stream(world, &host.lanes, shard.stream) {
            let mut lanes = host.tasks.values().filter_map(|task| task.lane);
            let others = lanes.any(|lane| world.rows.shards[lane].stream != shard.stream);
            if others || (world.now() < host.last_end + QUIET && host.last_end > 0) {
                return world.after(SECOND, move |world| tick(world, lane));
            }
        }
        match next_batch(world, lane, &mut host.lanes[lane]) {
            Ok(batch) => batch,
            Err(wait) => {
                let done = host.lanes[lane].next == shard.rows.len();
                return wait_for(world, lane, wait, done);
            }
        }
    };
    host::start(world, lane, batch);
}

/// True when every row of a lane's shard is done.
pub fn is_through(lane: &Lane, shard: &Shard) -> bool {
    lane.next == shard.rows.len() && !lane.busy
}

/// True when a shard is read to its end, and so are those before it: one without rows is no short cut.
fn is_read(world: &World, lanes: &[Lane], shard: usize) -> bool {
    let Shard { rows, parents, .. } = &world.rows.shards[shard];
    lanes[shard].next == rows.len() && parents.iter().all(|parent| is_read(world, lanes, *parent))
}

/// True while nothing of a later stream has been read: what was sent for the one before it must have come to rest first.
fn opens_stream(world: &World, lanes: &[Lane], stream: usize) -> bool {
    let mut of_stream = lanes.iter().zip(&world.rows.shards).filter(|(_, shard)| shard.stream == stream);
    stream > 0 && of_stream.all(|(lane, _)| lane.next == 0 && !lane.busy)
}

/// The next batch of a lane, or how long to wait for it.
fn next_batch(world: &World, lane: usize, state: &mut Lane) -> Result<Vec<usize>, u64> {
    let (rows, rules) = (&world.rows.shards[lane].rows, &world.scenario.mapping);
    let there = |position: usize| world.rows.rows[rows[position]].at + TRANSIT;
    if state.ends.is_empty() {
        trim(world, rows, state);
        if state.next == rows.len() {
            return Err(MILLI);
        }
        let (first, now) = (there(state.next), world.now());
        if now < first {
            return Err(first - now);
        }
        let come = rows[state.next..].iter().take(rules.batch_size);
        let come = come.filter(|row| world.rows.rows[**row].at + TRANSIT <= now).count();
        if come < rules.batch_size && now < first + rules.window {
            return Err(first + rules.window - now);
        }
        state.ends.push(state.next + come);
    }
    state.busy = true;
    let end = state.ends.last().copied().unwrap_or(state.next);
    Ok(rows[state.next..end].to_vec())
}

/// The stream forgets what is too old.
fn trim(world: &World, rows: &[usize], state: &mut Lane) {
    let kept = world.scenario.mapping.retention;
    while rows.get(state.next).is_some_and(|row| world.now() > world.rows.rows[*row].at + kept) {
        world.count("record outlived the stream's retention");
        ledger::dropped(world, rows[state.next]);
        state.next += 1;
    }
}

/// A function has answered, or will not.
pub fn answered(world: &World, lane: usize, response: &Response) {
    let (pause, done) = {
        let mut host = world.host.borrow_mut();
        let state = &mut host.lanes[lane];
        state.busy = false;
        let pause = settle(world, lane, state, response);
        (pause, state.next == world.rows.shards[lane].rows.len())
    };
    wait_for(world, lane, pause, done);
}

/// Comes back to a lane after a pause; once it is done, others may begin.
fn wait_for(world: &World, lane: usize, pause: u64, done: bool) {
    world.after(pause, move |world| tick(world, lane));
    if done {
        for other in 0..world.rows.shards.len() {
            world.after(0, move |world| tick(world, other));
        }
    }
}

/// Moves a lane on; the pause before its next attempt.
fn settle(world: &World, lane: usize, state: &mut Lane, response: &Response) -> u64 {
    let (rows, rules) = (&world.rows.shards[lane].rows, &world.scenario.mapping);
    let end = state.ends.last().copied().unwrap_or(state.next);
    let identifiers: Vec<Option<&str>> =
        rows[state.next..end].iter().map(|row| world.rows.rows[*row].identifier.as_deref()).collect();
    match progress(response, &identifiers) {
        Progress::AllDone => {
            state.next = end;
            state.attempt = 0;
        }
        Progress::RetryFrom(position) => {
            state.next += position;
            state.attempt = if position > 0 { 0 } else { state.attempt + 1 };
        }
        Progress::RetryAll if rules.bisect && end - state.next > 1 => {
            world.count("batch halved");
            state.ends.push(state.next + (end - state.next) / 2);
            return 100 * MILLI;
        }
        Progress::RetryAll => state.attempt += 1,
    }
    if state.next < end {
        give_up(world, rows, state, end);
    }
    while state.ends.last().is_some_and(|end| *end <= state.next) {
        state.ends.pop();
        state.attempt = 0;
    }
    if state.attempt == 0 { MILLI } else { ((100 * MILLI) << state.attempt.min(12)).min(LONGEST_PAUSE) }
}

/// Drops what has been tried often enough, or is too old, to the on-failure destination.
fn give_up(world: &World, rows: &[usize], state: &mut Lane, end: usize) {
    let rules = &world.scenario.mapping;
    let exhausted = rules.retries.is_some_and(|retries| state.attempt > retries);
    let old = |row: usize| rules.max_age.is_some_and(|age| world.now() > world.rows.rows[row].at + age);
    while state.next < end && (exhausted || old(rows[state.next])) {
        world.count("record dropped by the mapping");
        world.trace(|| format!("row {} dropped", rows[state.next]));
        ledger::dropped(world, rows[state.next]);
        state.next += 1;
    }
}
