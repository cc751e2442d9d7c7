//! Lambda: invocations in their sandboxes, which die, freeze, time out and go on as zombies.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use events_core::plan::BatchResponse;
use events_core::source::dynamodb::decode_batch;
use events_processor::{BatchOutcome, DrainOutcome};
use stream_mapping::Response;

use crate::answer;
use crate::faults::Port;
use crate::ledger;
use crate::mapping::{self, Lane};
use crate::ports::{SimProcessor, processor};
use crate::rows::Rows;
use crate::scenario::{MILLI, MINUTE, SECOND};
use crate::sim::{World, duration};

/// The longest a sandbox stands still, or goes on after its time.
const LONGEST_AFTERLIFE: u64 = 10 * MINUTE;

/// An invocation.
pub struct Task {
    /// The lane it works for; none where it only drains the outbox.
    pub lane: Option<usize>,
    /// Its rows.
    pub batch: Vec<usize>,
    /// When it is to stop sending, by its own clock.
    pub deadline: Duration,
    /// Groups some of whose messages were refused.
    pub groups: BTreeSet<String>,
    /// True when a call failed that concerns all of it.
    pub troubled: bool,
    /// True when the mapping has given it up.
    pub timed_out: bool,
    sandbox: Rc<SimProcessor>,
    stale: bool,
    future: Option<Pin<Box<dyn Future<Output = Answer>>>>,
    frozen: bool,
    was_frozen: bool,
    pending: bool,
}

/// What an invocation answers.
enum Answer {
    Batch(Box<BatchOutcome>),
    Drained(DrainOutcome),
}

/// Lambda.
#[derive(Default)]
pub struct Host {
    /// One lane for each shard.
    pub lanes: Vec<Lane>,
    /// Invocations under way.
    pub tasks: BTreeMap<usize, Task>,
    /// When the last invocation ended.
    pub last_end: u64,
    idle: Vec<(u64, Rc<SimProcessor>)>,
    started: usize,
    awaited: u64,
}

impl Host {
    /// Nothing has run yet.
    pub fn new(rows: &Rows) -> Self {
        Self { lanes: rows.shards.iter().map(|_| Lane::default()).collect(), ..Self::default() }
    }

    /// Await points passed so far.
    pub fn awaited(&self) -> u64 {
        self.awaited
    }

    /// Invocations so far.
    pub fn invocations(&self) -> u64 {
        self.started as u64
    }
}

/// Starts an invocation for a lane.
pub fn start(world: &World, lane: usize, batch: Vec<usize>) {
    begin(world, Some(lane), batch);
}

/// Starts an invocation that drains the outbox.
pub fn start_drain(world: &World) {
    begin(world, None, Vec::new());
}

fn begin(world: &World, lane: Option<usize>, batch: Vec<usize>) {
    let id = {
        let mut host = world.host.borrow_mut();
        host.started += 1;
        host.started
    };
    world.trace(|| format!("task {id} starts: lane {lane:?} rows {batch:?}"));
    let rules = &world.scenario.mapping;
    let (left, margin) = (duration(rules.timeout), world.scenario.margin);
    let (stale, sandbox) = sandbox(world);
    let (shared, rows, inner) = (Rc::clone(world), batch.clone(), Rc::clone(&sandbox));
    let future = Box::pin(async move {
        if lane.is_none() {
            return Answer::Drained(inner.drain_outbox(inner.deadline(left, margin)).await);
        }
        let deadline = inner.deadline(left, margin);
        let records = decode_batch(rows.iter().map(|row| &*shared.rows.rows[*row].raw));
        Answer::Batch(Box::new(inner.process(records, deadline).await))
    });
    let task = Task {
        lane,
        batch,
        deadline: duration(world.now()) + left.saturating_sub(margin),
        groups: BTreeSet::new(),
        troubled: false,
        timed_out: false,
        sandbox,
        stale,
        future: Some(future),
        frozen: false,
        was_frozen: false,
        pending: false,
    };
    world.host.borrow_mut().tasks.insert(id, task);
    world.after(rules.timeout, move |world| time_out(world, id));
    poll(world, id);
}

/// A sandbox to run in, and whether its connections have died since it ran last.
fn sandbox(world: &World) -> (bool, Rc<SimProcessor>) {
    let mut host = world.host.borrow_mut();
    // Later on only what is there can go on: a sandbox that never recovers must show.
    if host.idle.is_empty() || world.strikes(50) {
        return (false, Rc::new(processor(world)));
    }
    let index = world.rng.borrow_mut().index(host.idle.len());
    let (since, sandbox) = host.idle.swap_remove(index);
    let slept = world.now() > since + MINUTE;
    (slept && world.strikes(300), sandbox)
}

/// True once, when the connections of an invocation's sandbox have died while it was frozen.
pub fn is_stale(world: &World, id: usize) -> bool {
    world.host.borrow_mut().tasks.get_mut(&id).is_some_and(|task| std::mem::take(&mut task.stale))
}

/// Something an invocation waited for has come; it goes on, unless it dies or freezes here.
pub fn resume(world: &World, id: usize) {
    let here = {
        let mut host = world.host.borrow_mut();
        let Some(task) = host.tasks.get_mut(&id) else { return };
        if task.frozen {
            task.pending = true;
            return;
        }
        host.awaited += 1;
        world.scenario.crash_at == Some(host.awaited)
    };
    if here || world.strikes(world.scenario.rates.crash) {
        world.count("crash at an await point");
        return die(world, id);
    }
    if world.strikes(world.scenario.rates.freeze) {
        return freeze(world, id);
    }
    poll(world, id);
}

fn poll(world: &World, id: usize) {
    let future = world.host.borrow_mut().tasks.get_mut(&id).and_then(|task| task.future.take());
    let Some(mut future) = future else { return };
    let before = world.current.replace(id);
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    world.current.set(before);
    match polled {
        Poll::Pending => {
            if let Some(task) = world.host.borrow_mut().tasks.get_mut(&id) {
                task.future = Some(future);
            }
        }
        Poll::Ready(Answer::Batch(batch)) => finish(world, id, &batch),
        Poll::Ready(Answer::Drained(drain)) => drained(world, id, &drain),
    }
}

fn finish(world: &World, id: usize, batch: &BatchOutcome) {
    let Some(task) = end(world, id) else { return };
    world.trace(|| format!("task {id} answers {:?}, failures {:?}", batch.response, batch.failures));
    answer::finished(world, id, &task, batch);
    if task.timed_out {
        return;
    }
    world.host.borrow_mut().idle.push((world.now(), task.sandbox));
    let response = match &batch.response {
        BatchResponse::AllDone => Response::Failures(Some(Vec::new())),
        BatchResponse::RetryFrom(identifier) => Response::Failures(Some(vec![Some(identifier.clone())])),
        BatchResponse::RetryAll => Response::Error,
    };
    tell(world, task.lane, &response);
}

fn drained(world: &World, id: usize, drain: &DrainOutcome) {
    let Some(task) = end(world, id) else { return };
    world.trace(|| format!("task {id}: {drain:?}"));
    ledger::forget(world, id);
    if !task.timed_out {
        world.host.borrow_mut().idle.push((world.now(), task.sandbox));
    }
}

fn tell(world: &World, lane: Option<usize>, response: &Response) {
    if let Some(lane) = lane {
        mapping::answered(world, lane, response);
    }
}

/// True for an invocation that is under way, has not been given up and never stood still.
pub fn is_well(world: &World, id: usize) -> bool {
    world.host.borrow().tasks.get(&id).is_some_and(|task| !task.timed_out && !task.was_frozen)
}

/// Takes an invocation out; dropping it is its death.
fn end(world: &World, id: usize) -> Option<Task> {
    let mut host = world.host.borrow_mut();
    let task = host.tasks.remove(&id)?;
    if task.lane.is_some() {
        host.last_end = world.now();
    }
    Some(task)
}

fn die(world: &World, id: usize) {
    world.trace(|| format!("task {id} dies"));
    let Some(task) = end(world, id) else { return };
    if !task.timed_out {
        world.after(20 * MILLI, move |world| tell(world, task.lane, &Response::Error));
    }
}

fn freeze(world: &World, id: usize) {
    world.count("sandbox frozen");
    let span = world.span(MILLI, LONGEST_AFTERLIFE);
    world.trace(|| format!("task {id} freezes for {} ms", span / MILLI));
    if let Some(task) = world.host.borrow_mut().tasks.get_mut(&id) {
        task.frozen = true;
        task.was_frozen = true;
        task.pending = true;
    }
    world.after(span, move |world| {
        let pending = world.host.borrow_mut().tasks.get_mut(&id).is_some_and(|task| {
            task.frozen = false;
            std::mem::take(&mut task.pending)
        });
        if pending {
            poll(world, id);
        }
    });
}

fn time_out(world: &World, id: usize) {
    let lane = {
        let mut host = world.host.borrow_mut();
        let Some(task) = host.tasks.get_mut(&id) else { return };
        task.timed_out = true;
        task.lane
    };
    world.trace(|| format!("task {id} timed out"));
    if world.strikes(world.scenario.rates.zombie) {
        world.count("timed out, goes on");
        world.after(world.span(SECOND, LONGEST_AFTERLIFE), move |world| die(world, id));
    } else {
        world.count("killed by timeout");
        die(world, id);
    }
    tell(world, lane, &Response::Error);
}

/// An invocation calls out.
pub fn call_made(world: &World, id: usize, port: Port) {
    world.trace(|| format!("task {id} calls {port:?}"));
}

/// A call failed whole.
pub fn call_failed(world: &World, id: usize, port: Port) {
    if port == Port::Store {
        troubled(world, id, None);
    }
}

/// Notes what an invocation suffered: all of it, or one group.
pub fn troubled(world: &World, id: usize, group: Option<&str>) {
    if let Some(task) = world.host.borrow_mut().tasks.get_mut(&id) {
        match group {
            Some(group) => {
                task.groups.insert(group.to_owned());
            }
            None => task.troubled = true,
        }
    }
}
