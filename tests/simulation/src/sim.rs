//! The simulated world: its clock, its pending events, and all its parts. One thread, no real time.

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

/// How long a run may take to finish after the faults end.
const RECOVERY_TIME: u64 = 6 * HOUR;

/// The world, shared by everything in it.
pub(crate) type World = Rc<Sim>;

/// An action at a simulated time.
struct Event {
    at: u64,
    /// Orders events of the same time.
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
    /// Reversed: the heap returns the greatest event first, and that must be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the invariant.
    pub invariant: &'static str,
    /// What was observed.
    pub detail: String,
}

/// The world of one run.
pub(crate) struct Sim {
    /// What the seed decided.
    pub scenario: Scenario,
    /// The rows that are written to the tables.
    pub rows: Rows,
    /// Redis.
    pub redis: RefCell<Redis>,
    /// The events queue.
    pub queue: RefCell<Fifo>,
    /// The dead letter queue.
    pub dead_letter_queue: RefCell<Fifo>,
    /// Lambda: sandboxes, invocations, and the event source mapping.
    pub host: RefCell<Host>,
    /// What was observed.
    pub ledger: RefCell<Ledger>,
    /// Random numbers of the world.
    pub rng: RefCell<Rng>,
    /// The invocation that is polled now.
    pub current: Cell<usize>,
    now: Cell<u64>,
    order: Cell<u64>,
    last_id: Cell<usize>,
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
    /// The world of a scenario, before anything happens.
    pub(crate) fn new(scenario: Scenario, traced: bool) -> World {
        let rows = writer::write(&scenario);
        Rc::new(Self {
            redis: RefCell::default(),
            queue: RefCell::default(),
            dead_letter_queue: RefCell::default(),
            host: RefCell::new(Host::new(&rows)),
            ledger: RefCell::new(Ledger::new(&rows)),
            rng: RefCell::new(Rng::new(scenario.seed, 3)),
            current: Cell::new(0),
            now: Cell::new(0),
            order: Cell::new(0),
            last_id: Cell::new(0),
            heap: RefCell::default(),
            counts: RefCell::default(),
            trace: traced.then(RefCell::default),
            violation: RefCell::default(),
            scenario,
            rows,
        })
    }

    /// µs since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// ms since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        EPOCH_MS + (self.now() / MILLI) as i64
    }

    /// True while faults are injected.
    pub(crate) fn faults_enabled(&self) -> bool {
        self.now() < self.scenario.faults_end
    }

    /// Draws whether a fault occurs: in `share` of a thousand cases, and only while faults are injected.
    pub(crate) fn fault_occurs(&self, share: u64) -> bool {
        share > 0 && self.faults_enabled() && self.rng.borrow_mut().permille(share)
    }

    /// A random span of time.
    pub(crate) fn span(&self, from: u64, to: u64) -> u64 {
        self.rng.borrow_mut().between(from, to)
    }

    /// True during an outage of this kind.
    pub(crate) fn has_outage(&self, kind: OutageKind) -> bool {
        let now = self.now();
        self.scenario
            .outages
            .iter()
            .any(|outage| outage.kind == kind && (outage.from..outage.to).contains(&now))
    }

    /// Schedules an action.
    pub(crate) fn after(&self, delay: u64, action: impl FnOnce(&World) + 'static) {
        self.order.set(self.order.get() + 1);
        let event = Event { at: self.now() + delay, order: self.order.get(), action: Box::new(action) };
        self.heap.borrow_mut().push(event);
    }

    /// A number that no earlier call returned.
    pub(crate) fn unique_id(&self) -> usize {
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    /// Counts a fault.
    pub(crate) fn count_fault(&self, fault: &'static str) {
        *self.counts.borrow_mut().entry(fault).or_default() += 1;
    }

    /// Faults so far, by kind.
    pub(crate) fn fault_counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.borrow().clone()
    }

    /// Writes a line to the trace, if the run is traced.
    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let now = self.now();
            // Writing to a string cannot fail.
            let _ = writeln!(trace.borrow_mut(), "{:>7}.{:06} {}", now / SECOND, now % SECOND, line());
        }
    }

    /// The trace so far.
    pub(crate) fn traced(&self) -> Option<String> {
        self.trace.as_ref().map(|trace| trace.borrow().clone())
    }

    /// Records a violated invariant. The first one ends the run.
    pub(crate) fn violate(&self, invariant: &'static str, detail: String) {
        self.trace(|| format!("VIOLATION of {invariant}: {detail}"));
        self.violation.borrow_mut().get_or_insert(Violation { invariant, detail });
    }

    /// The first violated invariant, if any.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation.borrow().clone()
    }

    /// Runs events until none is left, an invariant is violated, or the run takes too long.
    pub(crate) fn run(self: &World, most_steps: u64) {
        for _ in 0..most_steps {
            let Some(event) = self.heap.borrow_mut().pop() else { return };
            self.now.set(event.at);
            if event.at > self.scenario.faults_end + RECOVERY_TIME {
                return self
                    .violate("the run ends", "the run goes on 6 hours after the last fault".to_owned());
            }
            (event.action)(self);
            if self.violation.borrow().is_some() {
                return;
            }
        }
        self.violate("the run ends", format!("the run goes on after {most_steps} steps"));
    }

    /// Drops everything that refers to the world. Without this, the reference cycle would never be freed.
    pub(crate) fn dismantle(&self) {
        let heap = self.heap.take();
        let host = self.host.replace(Host::default());
        drop((heap, host));
    }
}

/// A future that someone else completes.
#[derive(Debug)]
pub(crate) struct Promise<T>(Rc<RefCell<(Option<T>, Option<Waker>)>>);

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
    /// Completes the future, and wakes its task.
    pub(crate) fn complete(&self, value: T) {
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

/// A span of simulated time, given in µs, as a `Duration`.
pub(crate) fn duration(span: u64) -> Duration {
    Duration::from_micros(span)
}

/// A `Duration` in µs.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
