//! The processor's ports, implemented by the simulated world.

use std::rc::Rc;
use std::time::Duration;

use events_core::delivery::{Commit, Message, OutboxAppend, ReadRequest, RowCommit, SendResult, Snapshot};
use events_processor::Processor;
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Queue, Store, Timer,
};

use crate::faults::{Extent, Port, call};
use crate::host;
use crate::ledger::{self, Expectations};
use crate::outbox;
use crate::redis::ReadBaselines;
use crate::scenario::{MILLI, OutageKind};
use crate::sim::{Promise, World, duration};

/// The code under test, with simulated ports.
pub(crate) type SimProcessor = Processor<SimStore, SimQueue, SimQueue, SimTimer>;

/// The processor of a new sandbox.
pub(crate) fn processor(world: &World) -> SimProcessor {
    let queue = |port| SimQueue { world: Rc::clone(world), port };
    let store = SimStore { world: Rc::clone(world), holder: world.unique_id() };
    let timer = SimTimer(Rc::clone(world));
    Processor::new(
        store,
        queue(Port::Queue),
        queue(Port::DeadLetters),
        timer,
        world.scenario.settings.clone(),
    )
}

/// Redis.
#[derive(Debug)]
pub(crate) struct SimStore {
    world: World,
    /// The sandbox's id as holder of the outbox's lease.
    holder: usize,
}

type Read = Result<(Snapshot, ReadBaselines), PortError>;

impl Store for SimStore {
    async fn read(&self, request: &ReadRequest) -> Result<Snapshot, PortError> {
        let (world, task) = (&self.world, self.world.current.get());
        ledger::count_try(world, task, "read");
        let request = request.clone();
        let effect = move |world: &World, extent| -> Read {
            match extent {
                Extent::Whole => Ok(world.redis.borrow_mut().read(&request, world.now())),
                Extent::Part => Err(PortError::new(ErrorKind::Unavailable, "answered in part")),
            }
        };
        let (snapshot, baselines) = call(world, Port::Store, effect, Err).await.inspect_err(|_| {
            host::note_failure(world, task, None);
        })?;
        ledger::baselines_read(world, task, &baselines);
        Ok(snapshot)
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        let (world, task) = (&self.world, self.world.current.get());
        let count = commits.len();
        for commit in commits {
            ledger::count_try(world, task, commit.commit.version.sequence.as_str());
        }
        let expected = ledger::expectations(world, task);
        let commits: Vec<OwnedCommit> = commits.iter().map(OwnedCommit::of).collect();
        let effect = move |world: &World, extent| commit_all(world, &expected, &commits, extent);
        let answers = call(world, Port::Store, effect, move |error| vec![Err(error); count]).await;
        let fine = |answer: &Result<CommitResult, PortError>| {
            !matches!(answer, Err(_) | Ok(CommitResult::MissingPredecessor))
        };
        if !answers.iter().all(fine) {
            host::note_failure(world, task, None);
        }
        answers
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        let (world, task, holder) = (&self.world, self.world.current.get(), self.holder);
        let what = format!("{request:?}");
        ledger::count_try(world, task, &what);
        let request = request.clone();
        let effect = move |world: &World, extent| match extent {
            Extent::Whole => Ok(world.redis.borrow_mut().outbox_page(&request, holder, world.now())),
            Extent::Part => Err(PortError::new(ErrorKind::Unavailable, "answered in part")),
        };
        let page = call(world, Port::Store, effect, Err).await;
        if page.is_ok() {
            // A later pass may make the same request again, which is not a retry.
            ledger::try_succeeded(world, task, what);
        }
        outbox::page_read(world, task, page.as_ref().ok());
        page
    }
}

/// A commit that outlives its call, because a server can execute it late.
struct OwnedCommit {
    commit: Commit,
    outbox: Option<OutboxAppend>,
}

impl OwnedCommit {
    fn of(row: &RowCommit<'_>) -> Self {
        Self { commit: row.commit.clone(), outbox: row.outbox.cloned() }
    }

    fn borrowed(&self) -> RowCommit<'_> {
        RowCommit { commit: &self.commit, outbox: self.outbox.as_ref() }
    }
}

/// Runs the script for each commit. With [`Extent::Part`], runs only some of them, or loses all answers.
fn commit_all(
    world: &World,
    expected: &Rc<Expectations>,
    commits: &[OwnedCommit],
    extent: Extent,
) -> Vec<Result<CommitResult, PortError>> {
    let disconnected = || PortError::new(ErrorKind::Unavailable, "cut off");
    let out_of_memory = || PortError::new(ErrorKind::Throttled, "OOM");
    let (way, cut) = {
        let mut rng = world.rng.borrow_mut();
        (rng.below(3), rng.index(commits.len().max(1)))
    };
    let done = |index: usize| match (extent, way) {
        (Extent::Whole, _) => true,
        (Extent::Part, 0) => !world.rng.borrow_mut().permille(300),
        (Extent::Part, _) => index < cut,
    };
    let answers = commits.iter().enumerate().map(|(index, commit)| match done(index) {
        true => Ok(ledger::run_commit(world, expected, commit.borrowed())),
        false if way == 0 => Err(out_of_memory()),
        false => Err(disconnected()),
    });
    let answers: Vec<_> = answers.collect();
    match (extent, way) {
        // The connection broke before any answer arrived.
        (Extent::Part, 2) => vec![Err(disconnected()); commits.len()],
        _ => answers,
    }
}

/// A queue.
#[derive(Debug)]
pub(crate) struct SimQueue {
    world: World,
    port: Port,
}

impl Queue for SimQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        let (world, task, port) = (&self.world, self.world.current.get(), self.port);
        ledger::request_made(world, task, messages);
        let _in_flight = outbox::InFlight::new(world, task, port, messages);
        let expected = ledger::expectations(world, task);
        let sent: Vec<Message> = messages.iter().map(|message| (*message).clone()).collect();
        let effect = move |world: &World, extent| send_all(world, port, &expected, &sent, extent);
        let answers = call(world, port, effect, Err).await;
        for (index, message) in messages.iter().enumerate() {
            match answers.as_ref().ok().and_then(|answers| answers.get(index)) {
                Some(SendResult::Accepted) => ledger::message_acknowledged(world, task, message),
                Some(SendResult::Rejected(_)) => {}
                Some(SendResult::Refused(_)) | None => {
                    host::note_failure(world, task, Some(&message.group_id))
                }
            }
        }
        answers
    }
}

/// Sends messages to a queue. With [`Extent::Part`], the queue refuses some of them, and may not answer for others.
fn send_all(
    world: &World,
    port: Port,
    expected: &Rc<Expectations>,
    messages: &[Message],
    extent: Extent,
) -> Result<Vec<SendResult>, PortError> {
    let (way, cut) = {
        let mut rng = world.rng.borrow_mut();
        (rng.below(3), rng.index(messages.len().max(1)))
    };
    let mut answers = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let refused = extent == Extent::Part && if way == 0 { index == cut } else { index >= cut };
        answers.push(match port {
            _ if refused => SendResult::Refused("InternalError".into()),
            Port::Queue => send_event(world, expected, message),
            Port::Store | Port::DeadLetters => {
                ledger::dead_letter_accepted(world, message);
                SendResult::Accepted
            }
        });
    }
    if (extent, way) == (Extent::Part, 2) {
        // The answer lacks the last messages, whether the queue accepted them or not.
        answers.truncate(cut / 2);
    }
    Ok(answers)
}

fn send_event(world: &World, expected: &Rc<Expectations>, message: &Message) -> SendResult {
    if ledger::is_rejected(world, &message.dedup_id) {
        return SendResult::Rejected("InvalidMessageContents".into());
    }
    let group = world.rows.keys.iter().position(|key| key.group == message.group_id);
    if group.is_some_and(|group| world.has_outage(OutageKind::Group(group))) {
        world.count_fault("sqs refused a group's entry");
        return SendResult::Refused("InternalError".into());
    }
    if world.fault_occurs(world.scenario.rates.entry) {
        world.count_fault("sqs refused an entry");
        return SendResult::Refused("InternalError".into());
    }
    ledger::message_accepted(world, expected, message);
    SendResult::Accepted
}

/// The simulated clock.
#[derive(Debug)]
pub(crate) struct SimTimer(World);

impl Timer for SimTimer {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn monotonic(&self) -> Duration {
        duration(self.0.now())
    }

    async fn sleep(&self, pause: Duration) {
        let (task, promise) = (self.0.current.get(), Promise::default());
        let (pause, woken) = (u64::try_from(pause.as_micros()).unwrap_or(u64::MAX), Promise::clone(&promise));
        self.0.after(pause, move |world| {
            woken.complete(());
            host::resume(world, task);
        });
        promise.await;
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let middle = ((50 * MILLI) << attempt.saturating_sub(1).min(10)).min(2_000 * MILLI);
        duration(self.0.span(middle / 2, middle * 3 / 2))
    }
}
