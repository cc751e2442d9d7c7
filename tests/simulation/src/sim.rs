//! The simulated world's clock: what happens next, happens. One thread, no real time.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::host::Host;
use crate::ledger::Ledger;
use crate::queue::Fifo;
use crate::redis::Redis;
use crate::rng::Rng;
use crate::rows::{EPOCH_MS, Rows};
use crate::scenario::{HOUR, MILLI, OutageKind, SECOND, Scenario};
use crate::writer;

/// How long a run may take to recover.
const PATIENCE: u64 = 6 * HOUR;

/// The world, shared by everything in it.
pub type World = Rc<Sim>;

/// Something to happen at a time.
struct Event {
    at: u64,
    order: u64,
    action: Box<dyn FnOnce(&World)>,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    /// The earliest is the greatest, as the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

/// The world of one run.
pub struct Sim {
    /// What the seed decided.
    pub scenario: Scenario,
    /// What is written to the tables.
    pub rows: Rows,
    /// Redis.
    pub redis: RefCell<Redis>,
    /// The events queue.
    pub queue: RefCell<Fifo>,
    /// The dead letter queue.
    pub letters: RefCell<Fifo>,
    /// Lambda: sandboxes, invocations, the event source mapping's lanes.
    pub host: RefCell<Host>,
    /// What was seen, and is checked.
    pub ledger: RefCell<Ledger>,
    /// Random choices of the world.
    pub rng: RefCell<Rng>,
    /// The invocation that is being polled.
    pub current: Cell<usize>,
    now: Cell<u64>,
    order: Cell<u64>,
    names: Cell<usize>,
    heap: RefCell<BinaryHeap<Event>>,
    counts: RefCell<BTreeMap<&'static str, u64>>,
    trace: Option<RefCell<String>>,
    violation: RefCell<Option<Violation>>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.scenario.seed)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Sim {
    /// The world of a scenario, at its beginning.
    pub fn new(scenario: Scenario, traced: bool) -> World {
        let rows = writer::write(&scenario);
        Rc::new(Self {
            redis: RefCell::default(),
            queue: RefCell::default(),
            letters: RefCell::default(),
            host: RefCell::new(Host::new(&rows)),
            ledger: RefCell::new(Ledger::new(&rows)),
            rng: RefCell::new(Rng::new(scenario.seed, 3)),
            current: Cell::new(0),
            now: Cell::new(0),
            order: Cell::new(0),
            names: Cell::new(0),
            heap: RefCell::default(),
            counts: RefCell::default(),
            trace: traced.then(RefCell::default),
            violation: RefCell::default(),
            scenario,
            rows,
        })
    }

    /// µs since the run began.
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// ms since 1970.
    pub fn now_ms(&self) -> i64 {
        EPOCH_MS + (self.now() / MILLI) as i64
    }

    /// True while faults are injected.
    pub fn faulty(&self) -> bool {
        self.now() < self.scenario.heal
    }

    /// True with so many chances of a thousand, while faults are injected.
    pub fn strikes(&self, share: u64) -> bool {
        share > 0 && self.faulty() && self.rng.borrow_mut().permille(share)
    }

    /// A random span of time.
    pub fn span(&self, from: u64, to: u64) -> u64 {
        self.rng.borrow_mut().between(from, to)
    }

    /// True while such an outage lasts.
    pub fn suffers(&self, kind: OutageKind) -> bool {
        let now = self.now();
        self.scenario
            .outages
            .iter()
            .any(|outage| outage.kind == kind && (outage.from..outage.to).contains(&now))
    }

    /// Makes something happen after a while.
    pub fn after(&self, delay: u64, action: impl FnOnce(&World) + 'static) {
        self.order.set(self.order.get() + 1);
        let event = Event { at: self.now() + delay, order: self.order.get(), action: Box::new(action) };
        self.heap.borrow_mut().push(event);
    }

    /// A name no one else has.
    pub fn name(&self) -> usize {
        self.names.set(self.names.get() + 1);
        self.names.get()
    }

    /// Counts a fault.
    pub fn count(&self, fault: &'static str) {
        *self.counts.borrow_mut().entry(fault).or_default() += 1;
    }

    /// Faults so far, by kind.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().clone()
    }

    /// Writes a line of the trace, if there is one.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let now = self.now();
            // Writing to a string cannot fail.
            let _ = writeln!(trace.borrow_mut(), "{:>7}.{:06} {}", now / SECOND, now % SECOND, line());
        }
    }

    /// The trace so far.
    pub fn traced(&self) -> Option<String> {
        self.trace.as_ref().map(|trace| trace.borrow().clone())
    }

    /// Notes that an invariant did not hold; the first one ends the run.
    pub fn violate(&self, invariant: &'static str, detail: String) {
        self.trace(|| format!("VIOLATION of {invariant}: {detail}"));
        self.violation.borrow_mut().get_or_insert(Violation { invariant, detail });
    }

    /// The invariant that did not hold, if any.
    pub fn violation(&self) -> Option<Violation> {
        self.violation.borrow().clone()
    }

    /// Lets everything happen, until nothing is left, an invariant is broken, or it has taken too many steps.
    pub fn run(self: &World, most_steps: u64) {
        for _ in 0..most_steps {
            let Some(event) = self.heap.borrow_mut().pop() else { return };
            self.now.set(event.at);
            if event.at > self.scenario.heal + PATIENCE {
                return self.violate("it ends", "not over long after all faults".to_owned());
            }
            (event.action)(self);
            if self.violation.borrow().is_some() {
                return;
            }
        }
        self.violate("it ends", format!("not over after {most_steps} steps"));
    }

    /// Lets go of everything that refers to the world, so that it can be freed.
    pub fn dismantle(&self) {
        let heap = self.heap.take();
        let host = self.host.replace(Host::default());
        drop((heap, host));
    }
}

/// An answer that comes later.
#[derive(Debug)]
pub struct Promise<T>(Rc<RefCell<(Option<T>, Option<Waker>)>>);

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for Promise<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T> Promise<T> {
    /// Gives the answer.
    pub fn complete(&self, value: T) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.0 = Some(value);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Promise<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.borrow_mut();
        match state.0.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A span of simulated time as the processor knows it.
pub fn duration(span: u64) -> Duration {
    Duration::from_micros(span)
}

/// A duration of the processor's clock, in µs.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
