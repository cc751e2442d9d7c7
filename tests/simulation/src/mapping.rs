//! The event source mapping: invokes the function with one batch of a shard at a time, and retries from the first failed
//! record.

use stream_mapping::{NextDelivery, Response, next_delivery};

use crate::host;
use crate::ledger;
use crate::promptness::TRANSIT;
use crate::rows::Shard;
use crate::scenario::{MILLI, SECOND};
use crate::sim::World;

/// The longest pause between two attempts.
const LONGEST_PAUSE: u64 = 30 * SECOND;
/// Quiet time required after the old stream's last invocation, before the next stream of the table is read.
const QUIET: u64 = 120 * SECOND;

/// The position of the mapping in a shard.
#[derive(Debug, Default)]
pub(crate) struct ShardReader {
    /// Position of the first row that is not done.
    pub next: usize,
    /// Since when the shard may be read: its parents are read to their ends.
    pub readable: Option<u64>,
    /// Position after the current batch. If the batch is split, the end of each part is pushed on top.
    ends: Vec<usize>,
    /// True while an invocation processes the batch.
    busy: bool,
    /// Retries of the batch so far.
    attempt: u32,
}

/// Starts the next batch of a shard if there is one; otherwise schedules another check while batches are possible.
pub(crate) fn tick(world: &World, index: usize) {
    let shard = &world.rows.shards[index];
    let batch = {
        let mut host = world.host.borrow_mut();
        let waits = !shard.parents.iter().all(|parent| is_read(world, &host.readers, *parent));
        if host.readers[index].busy || waits || host.readers[index].next == shard.rows.len() {
            return;
        }
        if opens_stream(world, &host.readers, shard.stream) {
            let mut busy_shards = host.tasks.values().filter_map(|task| task.shard);
            let others = busy_shards.any(|busy| world.rows.shards[busy].stream != shard.stream);
            if others || (world.now() < host.last_end + QUIET && host.last_end > 0) {
                host.readers[index].readable = None;
                return world.after(SECOND, move |world| tick(world, index));
            }
        }
        host.readers[index].readable.get_or_insert(world.now());
        match next_batch(world, index, &mut host.readers[index]) {
            Ok(batch) => batch,
            Err(wait) => {
                let done = host.readers[index].next == shard.rows.len();
                return wait_for(world, index, wait, done);
            }
        }
    };
    host::start(world, index, batch);
}

/// True if every row of a shard is done.
pub(crate) fn is_done(reader: &ShardReader, shard: &Shard) -> bool {
    reader.next == shard.rows.len() && !reader.busy
}

/// True if a shard and all shards before it are read to their ends. A shard without rows still waits for its parents.
fn is_read(world: &World, readers: &[ShardReader], shard: usize) -> bool {
    let Shard { rows, parents, .. } = &world.rows.shards[shard];
    readers[shard].next == rows.len() && parents.iter().all(|parent| is_read(world, readers, *parent))
}

/// True if no row of this stream has been read, and it is not the first one. Everything that was sent for the previous
/// stream must be over before the first row is read.
fn opens_stream(world: &World, readers: &[ShardReader], stream: usize) -> bool {
    let mut of_stream = readers.iter().zip(&world.rows.shards).filter(|(_, shard)| shard.stream == stream);
    stream > 0 && of_stream.all(|(reader, _)| reader.next == 0 && !reader.busy)
}

/// The next batch of a shard, or how long to wait for it.
fn next_batch(world: &World, index: usize, reader: &mut ShardReader) -> Result<Vec<usize>, u64> {
    let (rows, rules) = (&world.rows.shards[index].rows, &world.scenario.mapping);
    let arrival = |position: usize| world.rows.rows[rows[position]].at + TRANSIT;
    if reader.ends.is_empty() {
        trim(world, rows, reader);
        if reader.next == rows.len() {
            return Err(MILLI);
        }
        let (first, now) = (arrival(reader.next), world.now());
        if now < first {
            return Err(first - now);
        }
        let arrived = rows[reader.next..].iter().take(rules.batch_size);
        let arrived = arrived.filter(|row| world.rows.rows[**row].at + TRANSIT <= now).count();
        if arrived < rules.batch_size && now < first + rules.window {
            return Err(first + rules.window - now);
        }
        reader.ends.push(reader.next + arrived);
    }
    reader.busy = true;
    let end = reader.ends.last().copied().unwrap_or(reader.next);
    Ok(rows[reader.next..end].to_vec())
}

/// Drops the rows that are older than the retention of the stream.
fn trim(world: &World, rows: &[usize], reader: &mut ShardReader) {
    let kept = world.scenario.mapping.retention;
    while rows.get(reader.next).is_some_and(|row| world.now() > world.rows.rows[*row].at + kept) {
        world.count_fault("record outlived the stream's retention");
        ledger::row_dropped(world, rows[reader.next]);
        reader.next += 1;
    }
}

/// Takes the response of an invocation. [`Response::Error`] also stands for an invocation that will never answer.
pub(crate) fn answered(world: &World, index: usize, response: &Response) {
    let (pause, done) = {
        let mut host = world.host.borrow_mut();
        let reader = &mut host.readers[index];
        reader.busy = false;
        let pause = settle(world, index, reader, response);
        (pause, reader.next == world.rows.shards[index].rows.len())
    };
    wait_for(world, index, pause, done);
}

/// Comes back to a shard after a pause. If the shard is done, also lets the shards that wait for it begin.
fn wait_for(world: &World, index: usize, pause: u64, done: bool) {
    world.after(pause, move |world| tick(world, index));
    if done {
        for other in 0..world.rows.shards.len() {
            world.after(0, move |world| tick(world, other));
        }
    }
}

/// Moves the reader by a response. Returns the pause before the next batch.
fn settle(world: &World, index: usize, reader: &mut ShardReader, response: &Response) -> u64 {
    let (rows, rules) = (&world.rows.shards[index].rows, &world.scenario.mapping);
    let end = reader.ends.last().copied().unwrap_or(reader.next);
    let before = reader.next;
    let identifiers: Vec<Option<&str>> =
        rows[reader.next..end].iter().map(|row| world.rows.rows[*row].identifier.as_deref()).collect();
    match next_delivery(response, &identifiers) {
        NextDelivery::AllDone => {
            reader.next = end;
            reader.attempt = 0;
        }
        NextDelivery::RetryFrom(position) => {
            reader.next += position;
            reader.attempt = if position > 0 { 0 } else { reader.attempt + 1 };
        }
        NextDelivery::RetryAll if rules.bisect && end - reader.next > 1 => {
            world.count_fault("batch halved");
            reader.ends.push(reader.next + (end - reader.next) / 2);
            return 100 * MILLI;
        }
        NextDelivery::RetryAll => reader.attempt += 1,
    }
    rows[before..reader.next].iter().for_each(|row| ledger::row_passed(world, *row));
    if reader.next < end {
        give_up(world, rows, reader, end);
    }
    while reader.ends.last().is_some_and(|end| *end <= reader.next) {
        reader.ends.pop();
        reader.attempt = 0;
    }
    if reader.attempt == 0 { MILLI } else { ((100 * MILLI) << reader.attempt.min(12)).min(LONGEST_PAUSE) }
}

/// Drops the rows that have used up their retries or are too old. A real mapping sends them to its on-failure
/// destination.
fn give_up(world: &World, rows: &[usize], reader: &mut ShardReader, end: usize) {
    let rules = &world.scenario.mapping;
    let exhausted = rules.retries.is_some_and(|retries| reader.attempt > retries);
    let old = |row: usize| rules.max_age.is_some_and(|age| world.now() > world.rows.rows[row].at + age);
    while reader.next < end && (exhausted || old(rows[reader.next])) {
        world.count_fault("record dropped by the mapping");
        world.trace(|| format!("row {} dropped", rows[reader.next]));
        ledger::row_dropped(world, rows[reader.next]);
        reader.next += 1;
    }
}
