//! The clock, the relays, and the writers.

use std::cell::{Cell, RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use events_processor::memory::MemoryStore;
use events_processor::{Processor, Settings};
use events_relay::{Options, Relay, Stats};

use super::database::Database;
use super::ports::{SimDeadLetters, SimOutbox, SimQueue, SimStore, SimTimer};
use super::scenario::{FAULTS_END, MILLI, Outage, OutageKind, SECOND, Scenario, name};
use crate::many::Outcome;
use crate::rng::Rng;
use crate::sim::{Promise, Violation};

/// Everything must be delivered so long after the faults end.
const RECOVERY: u64 = 60 * SECOND;
/// ms since 1970 at the begin of a run.
const EPOCH_MS: i64 = 1_767_225_600_000;
/// No run needs so many steps.
const MOST_STEPS: u64 = 2_000_000;

/// A system that relays call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Database,
    Redis,
    Sqs,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    /// µs until it has its effect.
    pub(super) request: u64,
    /// µs from there to the answer.
    pub(super) answer: u64,
    /// The error, and whether the call has its effect all the same.
    pub(super) failure: Option<(&'static str, bool)>,
}

/// A relay that runs.
pub(super) struct Task {
    pub(super) id: String,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    stop: Promise<()>,
    frozen: bool,
    woken: bool,
    /// A process that was frozen may send what it had decided to send.
    pub(super) was_frozen: bool,
}

type Action = Box<dyn FnOnce(&Rc<World>)>;

/// The world of one run.
pub(super) struct World {
    pub(super) store: MemoryStore,
    pub(super) database: RefCell<Database>,
    rng: RefCell<Rng>,
    outages: Vec<Outage>,
    pub(super) keys: usize,
    /// Faults of a call, of a thousand; crashes and freezes of a process a second, of a thousand.
    rates: [u64; 3],
    options: Options,
    now: Cell<u64>,
    order: Cell<u64>,
    current: Cell<usize>,
    /// When each action is due, with its number.
    heap: RefCell<BinaryHeap<Reverse<(u64, u64)>>>,
    actions: RefCell<BTreeMap<u64, Action>>,
    pub(super) tasks: RefCell<BTreeMap<usize, Task>>,
    started: Cell<usize>,
    pub(super) seen: RefCell<BTreeSet<String>>,
    /// The last value of each key that the queue has taken.
    pub(super) taken: RefCell<Vec<i64>>,
    violation: RefCell<Option<Violation>>,
    /// What happened: crashes, freezes, changes set aside, messages.
    counts: RefCell<BTreeMap<&'static str, u64>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Runs a seed.
pub fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let relays = world.between(1, 4);
    for _ in 0..relays {
        world.start_relay();
    }
    for _ in 0..world.between(1, 6) {
        world.after(0, World::write);
    }
    world.after(SECOND, World::upheaval);
    world.work();
    if world.violation.borrow().is_none() {
        world.check_end();
    }
    let (violation, counts) = (world.violation.borrow().clone(), world.counts.borrow().clone());
    // Relays refer to the world, and the world to them.
    world.tasks.take();
    world.actions.take();
    Outcome { violation, counts }
}

impl World {
    fn new(seed: u64) -> Rc<Self> {
        let Scenario { rng, keys, outages, rates, options } = Scenario::of(seed);
        Rc::new(Self {
            store: MemoryStore::recording(),
            database: RefCell::new(Database::new(keys)),
            rng: RefCell::new(rng),
            outages,
            keys,
            rates,
            options,
            now: Cell::new(0),
            order: Cell::new(0),
            current: Cell::new(0),
            heap: RefCell::default(),
            actions: RefCell::default(),
            tasks: RefCell::default(),
            started: Cell::new(0),
            seen: RefCell::default(),
            taken: RefCell::new(vec![1; keys]),
            violation: RefCell::default(),
            counts: RefCell::default(),
        })
    }

    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(super) fn now_ms(&self) -> i64 {
        EPOCH_MS + (self.now() / MILLI) as i64
    }

    pub(super) fn current(&self) -> usize {
        self.current.get()
    }

    pub(super) fn database(&self) -> RefMut<'_, Database> {
        self.database.borrow_mut()
    }

    pub(super) fn between(&self, from: u64, to: u64) -> u64 {
        self.rng.borrow_mut().between(from, to)
    }

    fn permille(&self, share: u64) -> bool {
        self.rng.borrow_mut().permille(share)
    }

    pub(super) fn count(&self, what: &'static str) {
        *self.counts.borrow_mut().entry(what).or_default() += 1;
    }

    pub(super) fn violate(&self, invariant: &'static str, detail: String) {
        self.violation.borrow_mut().get_or_insert(Violation { invariant, detail });
    }

    pub(super) fn has_outage(&self, kind: OutageKind) -> bool {
        let now = self.now();
        self.outages.iter().any(|outage| outage.kind == kind && (outage.from..outage.to).contains(&now))
    }

    fn faults(&self) -> bool {
        self.now() < FAULTS_END
    }

    pub(super) fn after(&self, delay: u64, action: impl FnOnce(&Rc<Self>) + 'static) {
        let order = self.order.get() + 1;
        self.order.set(order);
        self.heap.borrow_mut().push(Reverse((self.now() + delay, order)));
        self.actions.borrow_mut().insert(order, Box::new(action));
    }

    fn work(self: &Rc<Self>) {
        for _ in 0..MOST_STEPS {
            let Some(Reverse((at, number))) = self.heap.borrow_mut().pop() else { return };
            let Some(action) = self.actions.borrow_mut().remove(&number) else { continue };
            self.now.set(at);
            if at > FAULTS_END + RECOVERY {
                return;
            }
            action(self);
            if self.violation.borrow().is_some() {
                return;
            }
        }
        self.violate("the run ends", format!("after {MOST_STEPS} steps"));
    }

    // Relays.

    fn start_relay(self: &Rc<Self>) {
        let number = self.started.get() + 1;
        self.started.set(number);
        let (world, stop) = (Rc::clone(self), Promise::default());
        let (id, stopped) = (format!("relay-{number}"), Promise::clone(&stop));
        let (own_id, options) = (id.clone(), self.options.clone());
        let future = Box::pin(async move {
            let outbox = SimOutbox(Rc::clone(&world));
            let processor = Processor::new(
                SimStore(Rc::clone(&world)),
                SimQueue(Rc::clone(&world)),
                SimDeadLetters(Rc::clone(&world)),
                SimTimer(Rc::clone(&world)),
                // Nothing is so old that it becomes a dead letter.
                Settings { key_failure_max_age_ms: i64::MAX, ..Settings::default() },
            );
            let (outbox, processor, stats) = (&outbox, &processor, &Stats::default());
            let relay = Relay { id: own_id, outbox, database: "db".to_owned(), processor, stats, options };
            relay.run(stopped).await;
        });
        let task = Task { id, future: Some(future), stop, frozen: false, woken: false, was_frozen: false };
        self.tasks.borrow_mut().insert(number, task);
        self.wake(number);
    }

    /// Something that a relay waits for has happened.
    pub(super) fn wake(self: &Rc<Self>, number: usize) {
        let future = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(&number) else { return };
            if task.frozen {
                task.woken = true;
                return;
            }
            task.future.take()
        };
        let Some(mut future) = future else { return };
        let before = self.current.replace(number);
        let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.current.set(before);
        let mut tasks = self.tasks.borrow_mut();
        if polled.is_ready() {
            drop(tasks);
            self.end_relay(number);
        } else if let Some(task) = tasks.get_mut(&number) {
            task.future = Some(future);
        }
    }

    /// A relay has ended or died. Another starts soon.
    fn end_relay(self: &Rc<Self>, number: usize) {
        let task = self.tasks.borrow_mut().remove(&number);
        drop(task);
        let delay = self.between(0, 3 * SECOND);
        self.after(delay, |world| world.start_relay());
    }

    /// Once a second: processes die, stop, and freeze.
    fn upheaval(self: &Rc<Self>) {
        if !self.faults() {
            return;
        }
        let running: Vec<usize> = self.tasks.borrow().keys().copied().collect();
        for number in running {
            let [_, crash, freeze] = self.rates;
            if self.permille(crash) {
                self.count("relay killed");
                self.end_relay(number);
            } else if self.permille(crash / 2) {
                self.count("relay told to stop");
                let stop = self.tasks.borrow().get(&number).map(|task| Promise::clone(&task.stop));
                if let Some(stop) = stop {
                    stop.complete(());
                    self.wake(number);
                }
            } else if self.permille(freeze) {
                self.freeze(number);
            }
        }
        let pause = self.between(SECOND / 2, 2 * SECOND);
        self.after(pause, Self::upheaval);
    }

    fn freeze(self: &Rc<Self>, number: usize) {
        self.count("relay frozen");
        if let Some(task) = self.tasks.borrow_mut().get_mut(&number) {
            (task.frozen, task.was_frozen) = (true, true);
        }
        let span = self.between(10 * MILLI, 15 * SECOND);
        self.after(span, move |world| {
            let woken = world.tasks.borrow_mut().get_mut(&number).is_some_and(|task| {
                task.frozen = false;
                std::mem::take(&mut task.woken)
            });
            if woken {
                world.wake(number);
            }
        });
    }

    /// What becomes of a call.
    pub(super) fn fate(&self, system: System, task: usize) -> Fate {
        let down = self.has_outage(OutageKind::Down(name(system)))
            || (system == System::Database
                && task.is_multiple_of(2)
                && self.has_outage(OutageKind::Partition));
        let slow = if self.has_outage(OutageKind::Slow(name(system))) { 2_000 } else { 1 };
        let (request, answer) = (self.between(100, 2 * MILLI) * slow, self.between(100, 2 * MILLI) * slow);
        let failure = if down {
            self.count("call to a system that is down");
            Some(("down", false))
        } else if self.faults() && self.permille(self.rates[0]) {
            self.count("call failed");
            Some(("failed", self.permille(500)))
        } else {
            None
        };
        Fate { request, answer, failure }
    }

    // Writers.

    fn write(self: &Rc<Self>) {
        if !self.faults() {
            return;
        }
        let xid = self.database().begin();
        let mut keys: Vec<usize> =
            (0..self.between(1, 4)).map(|_| self.between(0, self.keys as u64) as usize).collect();
        keys.sort_unstable();
        self.write_key(xid, keys, 0);
    }

    fn write_key(self: &Rc<Self>, xid: u64, keys: Vec<usize>, next: usize) {
        let Some(key) = keys.get(next).copied() else {
            let pause = self.between(0, 300 * MILLI);
            // Now and then somebody keeps a transaction open.
            let pause = if self.permille(20) { pause + 5 * SECOND } else { pause };
            return self.after(pause, move |world| {
                let commit = world.permille(800);
                world.database().end(xid, commit);
                let pause = world.between(0, 1_500 * MILLI);
                world.after(pause, Self::write);
            });
        };
        let now_ms = self.now_ms();
        let changed = self.database().change(xid, key, now_ms);
        let (pause, next) = (self.between(MILLI, 50 * MILLI), if changed { next + 1 } else { next });
        self.after(pause, move |world| world.write_key(xid, keys, next));
    }
}
