//! Decides whether a call succeeds, or in which way it fails.

use std::rc::Rc;

use events_processor::ports::{ErrorKind, PortError};

use crate::host;
use crate::scenario::{MILLI, OutageKind, SECOND};
use crate::sim::{Promise, World};

/// The system that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    /// Redis.
    Store,
    /// The events queue.
    Queue,
    /// The dead letter queue.
    DeadLetters,
}

/// The names under which the faults of a port are counted.
struct Names {
    down: &'static str,
    refused: &'static str,
    throttled: &'static str,
    denied: &'static str,
    lost: &'static str,
    answer_lost: &'static str,
    delayed: &'static str,
    slow: &'static str,
    duplicate: &'static str,
    partial: &'static str,
}

macro_rules! names {
    ($port:literal) => {
        Names {
            down: concat!($port, " down"),
            refused: concat!($port, " refused"),
            throttled: concat!($port, " throttled"),
            denied: concat!($port, " refused for good"),
            lost: concat!($port, " request lost"),
            answer_lost: concat!($port, " done, answer lost"),
            delayed: concat!($port, " done after the timeout"),
            slow: concat!($port, " slow"),
            duplicate: concat!($port, " done twice"),
            partial: concat!($port, " done in part"),
        }
    };
}

impl Port {
    fn names(self) -> Names {
        match self {
            Self::Store => names!("redis"),
            Self::Queue => names!("sqs"),
            Self::DeadLetters => names!("dlq"),
        }
    }

    fn rate(self, world: &World) -> u64 {
        let rates = &world.scenario.rates;
        match self {
            Self::Store => rates.store,
            Self::Queue => rates.queue,
            Self::DeadLetters => rates.dead_letters,
        }
    }

    fn timeout(self, world: &World) -> u64 {
        match self {
            Self::Store => world.scenario.store_timeout,
            Self::Queue | Self::DeadLetters => world.scenario.queue_timeout,
        }
    }

    fn is_down(self, world: &World) -> bool {
        match self {
            Self::Store => [OutageKind::Redis, OutageKind::RedisLosesAll, OutageKind::RedisFailsOver]
                .iter()
                .any(|kind| world.has_outage(*kind)),
            Self::Queue => world.has_outage(OutageKind::Queue),
            Self::DeadLetters => world.has_outage(OutageKind::DeadLetters),
        }
    }

    fn is_slow(self, world: &World) -> bool {
        match self {
            Self::Store => world.has_outage(OutageKind::RedisSlow),
            Self::Queue => world.has_outage(OutageKind::QueueSlow),
            Self::DeadLetters => false,
        }
    }
}

/// True if SQS throttles this request.
fn throttles(world: &World) -> bool {
    world.has_outage(OutageKind::Throttle)
        || (world.has_outage(OutageKind::ThrottleHalf) && world.rng.borrow_mut().permille(500))
}

/// How much of a call is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Only a part of it.
    Part,
}

/// Calls a port. `effect` executes the call on the server. `failed` turns an error into the caller's result.
pub(crate) fn call<T: 'static>(
    world: &World,
    port: Port,
    effect: impl Fn(&World, Extent) -> T + 'static,
    failed: impl Fn(PortError) -> T + 'static,
) -> Promise<T> {
    let call = Call {
        port,
        task: world.current.get(),
        began: world.now(),
        promise: Promise::default(),
        failed: Rc::new(failed),
    };
    let promise = call.promise.clone();
    call.begin(world, Rc::new(effect));
    promise
}

struct Call<T> {
    port: Port,
    task: usize,
    began: u64,
    promise: Promise<T>,
    failed: Rc<dyn Fn(PortError) -> T>,
}

impl<T> Clone for Call<T> {
    fn clone(&self) -> Self {
        let (promise, failed) = (self.promise.clone(), Rc::clone(&self.failed));
        Self { port: self.port, task: self.task, began: self.began, promise, failed }
    }
}

type Effect<T> = Rc<dyn Fn(&World, Extent) -> T>;

impl<T: 'static> Call<T> {
    fn begin(self, world: &World, effect: Effect<T>) {
        let names = self.port.names();
        let timeout = self.port.timeout(world);
        let travel = world.span(200, 8 * MILLI);
        host::call_made(world, self.task, self.port);
        if self.port == Port::Queue && throttles(world) {
            return self.fail(world, travel, ErrorKind::Throttled, names.throttled);
        }
        if self.port.is_slow(world) {
            world.count_fault(names.slow);
            let slow = world.span(timeout / 2, timeout * 9 / 10) / 2;
            return self.deliver(world, slow, effect, Extent::Whole);
        }
        if self.port == Port::Store && host::take_dead_connection(world, self.task) {
            return self.fail(world, travel, ErrorKind::Unavailable, "redis connection dead after a pause");
        }
        if self.port == Port::Store && world.has_outage(OutageKind::RedisPaused) {
            return self.run_late(world, timeout, effect);
        }
        if self.port.is_down(world) {
            match world.rng.borrow_mut().permille(700) {
                true => self.fail(world, travel, ErrorKind::Unavailable, names.down),
                false => self.fail(world, timeout, ErrorKind::Timeout, names.down),
            }
            return;
        }
        if !world.fault_occurs(self.port.rate(world)) {
            return self.deliver(world, travel, effect, Extent::Whole);
        }
        let which = world.rng.borrow_mut().below(12);
        match which {
            0 | 1 => self.fail(world, travel, ErrorKind::Unavailable, names.refused),
            2 => self.fail(world, travel, ErrorKind::Throttled, names.throttled),
            // Redis refuses single rows only: see `OutageKind::RedisKey`. What it says of a whole call concerns every key.
            3 if self.port == Port::Store => self.fail(world, travel, ErrorKind::Denied, names.denied),
            3 => self.fail(world, travel, ErrorKind::Refused, names.denied),
            4 => self.fail(world, timeout, ErrorKind::Timeout, names.lost),
            5 | 6 => {
                world.count_fault(names.answer_lost);
                let (kind, after) = match world.rng.borrow_mut().permille(500) {
                    true => (ErrorKind::Timeout, timeout),
                    false => (ErrorKind::Unavailable, travel * 2),
                };
                Self::execute(world, self.port, travel, effect, Extent::Whole);
                self.answer_error(world, after, kind);
            }
            7 => self.run_late(world, timeout, effect),
            8 => {
                world.count_fault(names.slow);
                let slow = world.span(travel, timeout.max(travel + 1));
                self.deliver(world, slow, effect, Extent::Whole);
            }
            9 => {
                world.count_fault(names.duplicate);
                let again = travel + world.span(0, 5 * SECOND);
                Self::execute(world, self.port, again, Rc::clone(&effect), Extent::Whole);
                self.deliver(world, travel, effect, Extent::Whole);
            }
            _ => {
                world.count_fault(names.partial);
                self.deliver(world, travel, effect, Extent::Part);
            }
        }
    }

    /// The call times out, and the server executes it later.
    fn run_late(self, world: &World, timeout: u64, effect: Effect<T>) {
        world.count_fault(self.port.names().delayed);
        let late = timeout + world.span(MILLI, 40 * SECOND);
        Self::execute(world, self.port, late, effect, Extent::Whole);
        self.answer_error(world, timeout, ErrorKind::Timeout);
    }

    /// The call fails without any effect.
    fn fail(self, world: &World, after: u64, kind: ErrorKind, name: &'static str) {
        world.count_fault(name);
        self.answer_error(world, after, kind);
    }

    /// Completes the caller's future with an error.
    fn answer_error(self, world: &World, after: u64, kind: ErrorKind) {
        world.after(after, move |world| {
            world.trace(|| format!("task {} {:?}: {kind:?}", self.task, self.port));
            host::call_failed(world, self.task, self.port, kind, self.began);
            let error = PortError::new(kind, "simulated");
            self.promise.complete((self.failed)(error));
            host::resume(world, self.task);
        });
    }

    /// Executes the call on the server. Its answer is lost.
    fn execute(world: &World, port: Port, after: u64, effect: Effect<T>, extent: Extent) {
        world.after(after, move |world| {
            if !port.is_down(world) {
                effect(world, extent);
            }
        });
    }

    /// Executes the call and answers it.
    fn deliver(self, world: &World, travel: u64, effect: Effect<T>, extent: Extent) {
        world.after(travel, move |world| {
            if self.port.is_down(world) {
                return self.answer_error(world, travel, ErrorKind::Unavailable);
            }
            let answer = effect(world, extent);
            world.after(travel, move |world| {
                self.promise.complete(answer);
                host::resume(world, self.task);
            });
        });
    }
}
