//! The ports of a relay and of its processor, in the simulated world.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use events_core::delivery::{Commit, Message, ReadRequest, RowCommit, SendResult};
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Queue, Reading, Store, Timer,
};
use events_relay::{Held, LaneSet, Outbox, OutboxError, Page, PageRequest, Position, Snapshot, Waiting};

use super::world::{System, World};
use crate::sim::{Promise, duration, micros};

/// Makes a call: the request takes a while, has its effect or not, and the answer takes a while, or never comes.
async fn call<R: 'static>(
    world: &Rc<World>,
    system: System,
    effect: impl FnOnce(&World) -> R + 'static,
    fail: impl FnOnce(&'static str) -> R + 'static,
) -> R {
    let (task, promise) = (world.current(), Promise::default());
    let fate = world.fate(system, task);
    let answer = Promise::clone(&promise);
    world.after(fate.request, move |world| {
        let result = match fate.failure {
            Some((reason, false)) => fail(reason),
            Some((reason, true)) => {
                drop(effect(world));
                fail(reason)
            }
            None => effect(world),
        };
        world.after(fate.answer, move |world| {
            answer.complete(result);
            world.wake(task);
        });
    });
    promise.await
}

/// The result of a future that never waits.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The outbox of one relay.
#[derive(Debug)]
pub(super) struct SimOutbox(pub(super) Rc<World>);

impl SimOutbox {
    async fn call<R: 'static>(&self, effect: impl FnOnce(&World) -> R + 'static) -> Result<R, OutboxError> {
        let fail = |reason: &'static str| Err(OutboxError::Failed(reason.to_owned()));
        call(&self.0, System::Database, move |world| Ok(effect(world)), fail).await
    }
}

impl Outbox for SimOutbox {
    async fn join(&self, relay: &str, lease: Duration) -> Result<(), OutboxError> {
        let relay = relay.to_owned();
        self.call(move |world| world.database().join(&relay, world.now() + micros(lease))).await
    }

    async fn beat(&self, relay: &str, lease: Duration) -> Result<Option<usize>, OutboxError> {
        let relay = relay.to_owned();
        self.call(move |world| {
            let now = world.now();
            world.database().beat(&relay, now + micros(lease), now)
        })
        .await
    }

    async fn take(&self, relay: &str, call: i64, known: LaneSet, most: usize) -> Result<Held, OutboxError> {
        let relay = relay.to_owned();
        self.call(move |world| {
            let now = world.now();
            world.database().take(&relay, call, known, most, now)
        })
        .await
    }

    async fn save(&self, relay: &str, held: &Held) -> Result<(), OutboxError> {
        let (relay, held) = (relay.to_owned(), held.clone());
        self.call(move |world| world.database().save(&relay, &held, false)).await
    }

    async fn give_back(&self, relay: &str, call: i64, held: &Held) -> Result<(), OutboxError> {
        let (relay, held) = (relay.to_owned(), held.clone());
        self.call(move |world| world.database().give_back(&relay, call, &held)).await
    }

    async fn leave(&self, relay: &str, call: i64, held: &Held) -> Result<(), OutboxError> {
        self.give_back(relay, call, held).await?;
        let relay = relay.to_owned();
        self.call(move |world| world.database().leave(&relay)).await
    }

    async fn read(&self, request: &PageRequest<'_>) -> Result<Page, OutboxError> {
        let (lanes, limit): (BTreeMap<Snapshot, LaneSet>, usize) = (request.lanes.clone(), request.limit);
        let after: Option<(Snapshot, Position)> =
            request.after.map(|(snapshot, position)| (snapshot.clone(), position.clone()));
        self.call(move |world| {
            let (now, changes) = world.database().read(&lanes, after.as_ref(), limit);
            Page { now, changes }
        })
        .await
    }

    async fn set_aside(&self, changes: &[(Waiting, String)]) -> Result<(), OutboxError> {
        let changes: Vec<Waiting> = changes.iter().map(|(change, _)| change.clone()).collect();
        self.call(move |world| world.database().set_aside(&changes)).await
    }

    async fn aside(&self, lanes: LaneSet, _limit: usize) -> Result<Vec<Waiting>, OutboxError> {
        self.call(move |world| world.database().aside(lanes)).await
    }

    async fn forget(&self, changes: &[Waiting]) -> Result<(), OutboxError> {
        let changes = changes.to_vec();
        self.call(move |world| world.database().forget(&changes)).await
    }

    async fn rotate(&self) -> Result<(), OutboxError> {
        self.call(World::rotate).await
    }

    async fn sleep_for(&self, _time: Duration) -> Result<(), OutboxError> {
        self.call(|_| ()).await
    }

    /// Nobody rings: a relay must not need the bell.
    async fn doorbell(&self, most: Duration) {
        sleep(&self.0, micros(most)).await;
    }
}

/// Redis: one for all relays.
#[derive(Debug)]
pub(super) struct SimStore(pub(super) Rc<World>);

fn unavailable(reason: &str) -> PortError {
    PortError::new(ErrorKind::Unavailable, reason)
}

impl Store for SimStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        let request = request.clone();
        let effect = move |world: &World| {
            at_once(world.store.read(&request)).unwrap_or_else(|| Err(unavailable("never waits")))
        };
        call(&self.0, System::Redis, effect, |reason| Err(unavailable(reason))).await
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        let commits: Vec<Commit> = commits.iter().map(|row| row.commit.clone()).collect();
        let count = commits.len();
        let effect = move |world: &World| {
            let rows: Vec<RowCommit<'_>> =
                commits.iter().map(|commit| RowCommit { commit, outbox: None }).collect();
            at_once(world.store.commit(&rows)).unwrap_or_default()
        };
        let fail = move |reason: &'static str| (0..count).map(|_| Err(unavailable(reason))).collect();
        call(&self.0, System::Redis, effect, fail).await
    }

    async fn outbox_page(&self, _request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        Err(unavailable("there is no outbox in Redis here"))
    }
}

/// SQS: one for all relays.
#[derive(Debug)]
pub(super) struct SimQueue(pub(super) Rc<World>);

impl Queue for SimQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        let messages: Vec<Message> = messages.iter().map(|message| (*message).clone()).collect();
        self.0.sends(&messages);
        let effect =
            move |world: &World| Ok(messages.iter().map(|message| world.take_message(message)).collect());
        call(&self.0, System::Sqs, effect, |reason| Err(unavailable(reason))).await
    }
}

/// The dead letter queue. Nothing in this world belongs there.
#[derive(Debug)]
pub(super) struct SimDeadLetters(pub(super) Rc<World>);

impl Queue for SimDeadLetters {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        self.0.violate("nothing is lost", format!("a dead letter: {}", messages[0].body));
        Ok(vec![SendResult::Accepted; messages.len()])
    }
}

/// The clock.
#[derive(Debug)]
pub(super) struct SimTimer(pub(super) Rc<World>);

async fn sleep(world: &Rc<World>, span: u64) {
    let (task, promise) = (world.current(), Promise::default());
    let woken = Promise::clone(&promise);
    world.after(span, move |world| {
        woken.complete(());
        world.wake(task);
    });
    promise.await;
}

impl Timer for SimTimer {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn monotonic(&self) -> Duration {
        duration(self.0.now())
    }

    async fn sleep(&self, pause: Duration) {
        sleep(&self.0, micros(pause)).await;
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let middle = 50_000_u64 << attempt.saturating_sub(1).min(5);
        duration(self.0.between(middle / 2, middle * 3 / 2))
    }
}
