//! The processor's ports, as the simulated world answers them.

use std::rc::Rc;
use std::time::Duration;

use events_core::delivery::{Commit, Message, OutboxAppend, ReadRequest, RowCommit, SendResult, Snapshot};
use events_processor::Processor;
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Queue, Store, Timer,
};

use crate::faults::{Extent, Port, call};
use crate::host;
use crate::ledger::{self, Plan};
use crate::outbox;
use crate::redis::Known;
use crate::scenario::{MILLI, OutageKind};
use crate::sim::{Promise, World, duration};

/// The code under test in this world.
pub type SimProcessor = Processor<SimStore, SimQueue, SimQueue, SimTimer>;

/// A sandbox's processor.
pub fn processor(world: &World) -> SimProcessor {
    let queue = |port| SimQueue { world: Rc::clone(world), port };
    let store = SimStore { world: Rc::clone(world), name: world.name() };
    let timer = SimTimer(Rc::clone(world));
    Processor::new(store, queue(Port::Queue), queue(Port::Letters), timer, world.scenario.settings.clone())
}

/// Redis.
#[derive(Debug)]
pub struct SimStore {
    world: World,
    /// Under this name the sandbox holds the outbox's lease.
    name: usize,
}

type Read = Result<(Snapshot, Known), PortError>;

impl Store for SimStore {
    async fn read(&self, request: &ReadRequest) -> Result<Snapshot, PortError> {
        let (world, task) = (&self.world, self.world.current.get());
        ledger::tries(world, task, "read");
        let request = request.clone();
        let effect = move |world: &World, extent| -> Read {
            match extent {
                Extent::Whole => Ok(world.redis.borrow_mut().read(&request, world.now())),
                Extent::Part => Err(PortError::new(ErrorKind::Unavailable, "answered in part")),
            }
        };
        let (snapshot, known) = call(world, Port::Store, effect, Err).await.inspect_err(|_| {
            host::troubled(world, task, None);
        })?;
        ledger::read(world, task, &known);
        Ok(snapshot)
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        let (world, task) = (&self.world, self.world.current.get());
        let count = commits.len();
        for commit in commits {
            ledger::tries(world, task, commit.commit.version.sequence.as_str());
        }
        let plan = ledger::plan(world, task);
        let commits: Vec<OwnedCommit> = commits.iter().map(OwnedCommit::of).collect();
        let effect = move |world: &World, extent| commit_all(world, &plan, &commits, extent);
        let answers = call(world, Port::Store, effect, move |error| vec![Err(error); count]).await;
        let fine = |answer: &Result<CommitResult, PortError>| {
            !matches!(answer, Err(_) | Ok(CommitResult::MissingPredecessor))
        };
        if !answers.iter().all(fine) {
            host::troubled(world, task, None);
        }
        answers
    }

    async fn outbox_page(&self, request: &OutboxRequest) -> Result<OutboxPage, PortError> {
        let (world, task, name) = (&self.world, self.world.current.get(), self.name);
        let what = format!("{request:?}");
        ledger::tries(world, task, &what);
        let request = request.clone();
        let effect = move |world: &World, extent| match extent {
            Extent::Whole => Ok(world.redis.borrow_mut().outbox_page(&request, name, world.now())),
            Extent::Part => Err(PortError::new(ErrorKind::Unavailable, "answered in part")),
        };
        let page = call(world, Port::Store, effect, Err).await;
        if page.is_ok() {
            // A later pass may take the same request.
            ledger::succeeded(world, task, what);
        }
        outbox::handed(world, task, page.as_ref().ok());
        page
    }
}

/// A commit that outlives its call: a server can run it late.
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

/// Runs the script for each; where it is done in part, some are, or their answers are lost.
fn commit_all(
    world: &World,
    plan: &Rc<Plan>,
    commits: &[OwnedCommit],
    extent: Extent,
) -> Vec<Result<CommitResult, PortError>> {
    let broken = || PortError::new(ErrorKind::Unavailable, "cut off");
    let full = || PortError::new(ErrorKind::Throttled, "OOM");
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
        true => Ok(ledger::commit(world, plan, commit.borrowed())),
        false if way == 0 => Err(full()),
        false => Err(broken()),
    });
    let answers: Vec<_> = answers.collect();
    match (extent, way) {
        // The connection broke before any answer came back.
        (Extent::Part, 2) => vec![Err(broken()); commits.len()],
        _ => answers,
    }
}

/// A queue.
#[derive(Debug)]
pub struct SimQueue {
    world: World,
    port: Port,
}

impl Queue for SimQueue {
    async fn send(&self, messages: &[&Message]) -> Result<Vec<SendResult>, PortError> {
        let (world, task, port) = (&self.world, self.world.current.get(), self.port);
        ledger::request(world, task, messages);
        let _in_flight = outbox::InFlight::new(world, task, port, messages);
        let plan = ledger::plan(world, task);
        let sent: Vec<Message> = messages.iter().map(|message| (*message).clone()).collect();
        let effect = move |world: &World, extent| take_in(world, port, &plan, &sent, extent);
        let answers = call(world, port, effect, Err).await;
        for (index, message) in messages.iter().enumerate() {
            match answers.as_ref().ok().and_then(|answers| answers.get(index)) {
                Some(SendResult::Accepted) => ledger::acknowledged(world, task, message),
                Some(SendResult::Rejected(_)) => {}
                Some(SendResult::Refused(_)) | None => host::troubled(world, task, Some(&message.group_id)),
            }
        }
        answers
    }
}

fn take_in(
    world: &World,
    port: Port,
    plan: &Rc<Plan>,
    messages: &[Message],
    extent: Extent,
) -> Result<Vec<SendResult>, PortError> {
    let (way, cut) = {
        let mut rng = world.rng.borrow_mut();
        (rng.below(3), rng.index(messages.len().max(1)))
    };
    let mut answers = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let part = extent == Extent::Part && if way == 0 { index == cut } else { index >= cut };
        answers.push(match port {
            _ if part => SendResult::Refused("InternalError".into()),
            Port::Queue => enter(world, plan, message),
            Port::Store | Port::Letters => {
                ledger::letter(world, message);
                SendResult::Accepted
            }
        });
    }
    if (extent, way) == (Extent::Part, 2) {
        // The answer does not mention the last ones, taken or not.
        answers.truncate(cut / 2);
    }
    Ok(answers)
}

fn enter(world: &World, plan: &Rc<Plan>, message: &Message) -> SendResult {
    if ledger::is_unwelcome(world, &message.dedup_id) {
        return SendResult::Rejected("InvalidMessageContents".into());
    }
    let group = world.rows.keys.iter().position(|key| key.group == message.group_id);
    if group.is_some_and(|group| world.suffers(OutageKind::Group(group))) {
        world.count("sqs refused a group's entry");
        return SendResult::Refused("InternalError".into());
    }
    if world.strikes(world.scenario.rates.entry) {
        world.count("sqs refused an entry");
        return SendResult::Refused("InternalError".into());
    }
    ledger::accepted(world, plan, message);
    SendResult::Accepted
}

/// Time.
#[derive(Debug)]
pub struct SimTimer(World);

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
