//! Lambda: invocations in their sandboxes. They die, freeze, and time out. Some go on as zombies after the timeout: the
//! mapping has already retried their batch.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use events_core::plan::BatchResponse;
use events_core::source::dynamodb::decode_batch;
use events_processor::ports::ErrorKind;
use events_processor::{BatchOutcome, DrainOutcome};
use stream_mapping::Response;

use crate::answer;
use crate::faults::Port;
use crate::ledger::{self, check};
use crate::mapping::{self, ShardReader};
use crate::ports::{SimProcessor, processor};
use crate::rows::Rows;
use crate::scenario::{MILLI, MINUTE, SECOND};
use crate::sim::{World, duration};
use crate::together::{self, Together};

/// The longest time for which a sandbox is frozen, or goes on after its timeout.
const MAX_ZOMBIE_TIME: u64 = 10 * MINUTE;

/// The shortest pause after a throttled request: see the timer's `backoff`.
const SHORTEST_PAUSE: u64 = 25 * MILLI;

/// An invocation.
pub(crate) struct Task {
    /// The shard of its batch; `None` if it only drains the outbox.
    pub shard: Option<usize>,
    /// Indices of its rows.
    pub batch: Vec<usize>,
    /// When its rows were decoded, ms since 1970.
    pub decoded_ms: i64,
    /// When it must stop sending.
    pub deadline: Duration,
    /// Groups with a message that was not accepted.
    pub refused_groups: BTreeSet<String>,
    /// True if a call failed that all rows depend on.
    pub shared_failure: bool,
    /// Systems of which a call failed, or that refused something.
    pub failed_ports: BTreeSet<Port>,
    /// When the events queue last began to throttle it, µs.
    throttled_at: Option<u64>,
    /// Its requests to the events queue that failed together.
    pub together: Together,
    /// True if it has timed out. The mapping ignores its answer.
    pub timed_out: bool,
    sandbox: Rc<Sandbox>,
    dead_connection: bool,
    future: Option<Pin<Box<dyn Future<Output = TaskResult>>>>,
    frozen: bool,
    was_frozen: bool,
    /// When its sandbox last went on after it was frozen, µs.
    thawed_at: Option<u64>,
    woken: bool,
}

/// A process, which makes one invocation after the other.
struct Sandbox {
    id: usize,
    processor: SimProcessor,
}

/// The result of an invocation.
enum TaskResult {
    Batch(Box<BatchOutcome>),
    Drained(DrainOutcome),
}

/// Lambda.
#[derive(Default)]
pub(crate) struct Host {
    /// The position of the mapping in each shard.
    pub readers: Vec<ShardReader>,
    /// Running invocations, by id.
    pub tasks: BTreeMap<usize, Task>,
    /// When the last invocation with a batch ended.
    pub last_end: u64,
    /// Warm sandboxes, and when they became idle.
    idle: Vec<(u64, Rc<Sandbox>)>,
    started: usize,
    await_points: u64,
}

impl Host {
    /// A host on which nothing has run yet.
    pub(crate) fn new(rows: &Rows) -> Self {
        Self { readers: rows.shards.iter().map(|_| ShardReader::default()).collect(), ..Self::default() }
    }

    /// Await points passed so far.
    pub(crate) fn await_points(&self) -> u64 {
        self.await_points
    }

    /// Invocations so far.
    pub(crate) fn invocations(&self) -> u64 {
        self.started as u64
    }
}

/// Starts an invocation with a batch of a shard.
pub(crate) fn start(world: &World, shard: usize, batch: Vec<usize>) {
    begin(world, Some(shard), batch);
}

/// Starts an invocation that drains the outbox.
pub(crate) fn start_drain(world: &World) {
    begin(world, None, Vec::new());
}

fn begin(world: &World, shard: Option<usize>, batch: Vec<usize>) {
    let id = {
        let mut host = world.host.borrow_mut();
        host.started += 1;
        host.started
    };
    world.trace(|| format!("task {id} starts: shard {shard:?} rows {batch:?}"));
    let rules = &world.scenario.mapping;
    let (left, margin) = (duration(rules.timeout), world.scenario.margin);
    let (dead_connection, sandbox) = sandbox(world);
    let (shared, rows, inner) = (Rc::clone(world), batch.clone(), Rc::clone(&sandbox));
    let future = Box::pin(async move {
        let inner = &inner.processor;
        if shard.is_none() {
            return TaskResult::Drained(inner.drain_outbox(inner.deadline(left, margin)).await);
        }
        let deadline = inner.deadline(left, margin);
        let records = decode_batch(rows.iter().map(|row| &*shared.rows.rows[*row].raw), shared.now_ms());
        TaskResult::Batch(Box::new(inner.process(records, deadline).await))
    });
    let task = Task {
        shard,
        batch,
        decoded_ms: world.now_ms(),
        deadline: duration(world.now()) + left.saturating_sub(margin),
        refused_groups: BTreeSet::new(),
        shared_failure: false,
        failed_ports: BTreeSet::new(),
        throttled_at: None,
        together: Together::default(),
        timed_out: false,
        sandbox,
        dead_connection,
        future: Some(future),
        frozen: false,
        was_frozen: false,
        thawed_at: None,
        woken: false,
    };
    world.host.borrow_mut().tasks.insert(id, task);
    world.after(rules.timeout, move |world| time_out(world, id));
    poll(world, id);
}

/// Picks or creates a sandbox. Also returns whether its connections died while it was idle.
fn sandbox(world: &World) -> (bool, Rc<Sandbox>) {
    let mut host = world.host.borrow_mut();
    // After the faults end, idle sandboxes are always reused, so that one that never recovers makes the run fail.
    if host.idle.is_empty() || world.fault_occurs(50) {
        let id = world.unique_id();
        return (false, Rc::new(Sandbox { id, processor: processor(world, id) }));
    }
    let index = world.rng.borrow_mut().index(host.idle.len());
    let (since, sandbox) = host.idle.swap_remove(index);
    let slept = world.now() > since + MINUTE;
    (slept && world.fault_occurs(300), sandbox)
}

impl Task {
    /// The id of its sandbox.
    pub(crate) fn sandbox_id(&self) -> usize {
        self.sandbox.id
    }
}

/// The id of the sandbox of an invocation.
pub(crate) fn sandbox_of(world: &World, id: usize) -> usize {
    world.host.borrow().tasks.get(&id).map_or(0, |task| task.sandbox.id)
}

/// Returns true, once, if the connections of an invocation's sandbox died while the sandbox was idle.
pub(crate) fn take_dead_connection(world: &World, id: usize) -> bool {
    world.host.borrow_mut().tasks.get_mut(&id).is_some_and(|task| std::mem::take(&mut task.dead_connection))
}

/// Something that an invocation waits for has happened. It goes on, unless it dies or freezes at this await point.
pub(crate) fn resume(world: &World, id: usize) {
    let here = {
        let mut host = world.host.borrow_mut();
        let Some(task) = host.tasks.get_mut(&id) else { return };
        if task.frozen {
            task.woken = true;
            return;
        }
        host.await_points += 1;
        world.scenario.crash_at == Some(host.await_points)
    };
    if here || world.fault_occurs(world.scenario.rates.crash) {
        world.count_fault("crash at an await point");
        return die(world, id);
    }
    if world.fault_occurs(world.scenario.rates.freeze) {
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
        Poll::Ready(TaskResult::Batch(batch)) => finish(world, id, &batch),
        Poll::Ready(TaskResult::Drained(drain)) => drained(world, id, &drain),
    }
}

fn finish(world: &World, id: usize, batch: &BatchOutcome) {
    let Some(task) = remove_task(world, id) else { return };
    world.trace(|| format!("task {id} answers {:?}, failures {:?}", batch.response, batch.failures));
    together::count(world, task.sandbox_id(), &task.together, batch.tally.breaker_open > 0);
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
    answer_mapping(world, task.shard, &response);
}

fn drained(world: &World, id: usize, drain: &DrainOutcome) {
    let Some(task) = remove_task(world, id) else { return };
    world.trace(|| format!("task {id}: {drain:?}"));
    together::remember(world, task.sandbox_id(), &task.together);
    ledger::forget_task(world, id);
    if !task.timed_out {
        world.host.borrow_mut().idle.push((world.now(), task.sandbox));
    }
}

fn answer_mapping(world: &World, shard: Option<usize>, response: &Response) {
    if let Some(shard) = shard {
        mapping::answered(world, shard, response);
    }
}

/// True if an invocation runs, has not timed out and was never frozen.
pub(crate) fn runs_normally(world: &World, id: usize) -> bool {
    world.host.borrow().tasks.get(&id).is_some_and(|task| !task.timed_out && !task.was_frozen)
}

/// Removes an invocation. If its future is dropped unfinished, the process dies.
fn remove_task(world: &World, id: usize) -> Option<Task> {
    let mut host = world.host.borrow_mut();
    let task = host.tasks.remove(&id)?;
    if task.shard.is_some() {
        host.last_end = world.now();
    }
    Some(task)
}

fn die(world: &World, id: usize) {
    world.trace(|| format!("task {id} dies"));
    let Some(task) = remove_task(world, id) else { return };
    if !task.timed_out {
        world.after(20 * MILLI, move |world| answer_mapping(world, task.shard, &Response::Error));
    }
}

fn freeze(world: &World, id: usize) {
    world.count_fault("sandbox frozen");
    let span = world.span(MILLI, MAX_ZOMBIE_TIME);
    world.trace(|| format!("task {id} freezes for {} ms", span / MILLI));
    if let Some(task) = world.host.borrow_mut().tasks.get_mut(&id) {
        task.frozen = true;
        task.was_frozen = true;
        task.woken = true;
    }
    world.after(span, move |world| {
        let woken = world.host.borrow_mut().tasks.get_mut(&id).is_some_and(|task| {
            task.frozen = false;
            task.thawed_at = Some(world.now());
            std::mem::take(&mut task.woken)
        });
        if woken {
            poll(world, id);
        }
    });
}

fn time_out(world: &World, id: usize) {
    let shard = {
        let mut host = world.host.borrow_mut();
        let Some(task) = host.tasks.get_mut(&id) else { return };
        task.timed_out = true;
        task.shard
    };
    world.trace(|| format!("task {id} timed out"));
    if world.fault_occurs(world.scenario.rates.zombie) {
        world.count_fault("timed out, goes on");
        world.after(world.span(SECOND, MAX_ZOMBIE_TIME), move |world| die(world, id));
    } else {
        world.count_fault("killed by timeout");
        die(world, id);
    }
    answer_mapping(world, shard, &Response::Error);
}

/// An invocation begins a call.
pub(crate) fn call_made(world: &World, id: usize, port: Port) {
    world.trace(|| format!("task {id} calls {port:?}"));
    if port == Port::Queue {
        let (throttled_at, thawed_at) = {
            let host = world.host.borrow();
            host.tasks.get(&id).map_or((None, None), |task| (task.throttled_at, task.thawed_at))
        };
        // All answers that arrive while the sandbox is frozen are taken in one instant. Then the requests that follow the
        // first answers are made just after a throttled answer that came behind those.
        let thaws_now = throttled_at == Some(world.now()) && thawed_at == throttled_at;
        let holds = thaws_now || throttled_at.is_none_or(|at| world.now() >= at + SHORTEST_PAUSE);
        check(world, "throttling slows down", holds, || format!("task {id}, throttled at {throttled_at:?}"));
    }
}

/// A call that began at `began` failed as a whole.
pub(crate) fn call_failed(world: &World, id: usize, port: Port, kind: ErrorKind, began: u64) {
    if port == Port::Store {
        note_failure(world, id, None);
    }
    if let Some(task) = world.host.borrow_mut().tasks.get_mut(&id) {
        task.failed_ports.insert(port);
        if port == Port::Queue && matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout) {
            task.together.failed(began, world.now());
        }
    }
}

/// The events queue throttled a request that began at `began`, or a message of it. Requests that are in flight then are
/// throttled with it.
pub(crate) fn throttled(world: &World, id: usize, began: u64) {
    let mut host = world.host.borrow_mut();
    let is_new = |task: &&mut Task| task.throttled_at.is_none_or(|at| began > at);
    if let Some(task) = host.tasks.get_mut(&id).filter(is_new) {
        task.throttled_at = Some(world.now());
    }
}

/// A queue refused a message of a request that it answered.
pub(crate) fn message_refused(world: &World, id: usize, port: Port) {
    if let Some(task) = world.host.borrow_mut().tasks.get_mut(&id).filter(|_| port == Port::DeadLetters) {
        task.failed_ports.insert(port);
    }
}

/// Records what a failed call affects: one group, or, without a group, all rows of the invocation.
pub(crate) fn note_failure(world: &World, id: usize, group: Option<&str>) {
    if let Some(task) = world.host.borrow_mut().tasks.get_mut(&id) {
        match group {
            Some(group) => {
                task.refused_groups.insert(group.to_owned());
            }
            None => task.shared_failure = true,
        }
    }
}
