//! The processor's ports, implemented by the simulated world.

use std::rc::Rc;
use std::time::Duration;

use events_core::change::RowVersion;
use events_core::delivery::{Commit, Message, OutboxAppend, ReadRequest, RowCommit, SendResult};
use events_processor::Processor;
use events_processor::ports::{
    CommitResult, ErrorKind, OutboxPage, OutboxRequest, PortError, Queue, Reading, Store, Timer,
};

use crate::aside::{self, Refusal};
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
pub(crate) fn processor(world: &World, sandbox: usize) -> SimProcessor {
    let queue = |port| SimQueue { world: Rc::clone(world), port };
    let store = SimStore { world: Rc::clone(world), holder: sandbox };
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

type Read = Result<(Reading, ReadBaselines), PortError>;

impl Store for SimStore {
    async fn read(&self, request: &ReadRequest) -> Result<Reading, PortError> {
        let (world, task) = (&self.world, self.world.current.get());
        ledger::count_try(world, task, "read");
        let request = request.clone();
        let effect = move |world: &World, extent| -> Read {
            match extent {
                Extent::Whole => {
                    let (snapshot, baselines) = world.redis.borrow_mut().read(&request, world.now());
                    Ok((Reading { snapshot, write_refusal: write_refusal(world) }, baselines))
                }
                Extent::Part => Err(PortError::new(ErrorKind::Unavailable, "answered in part")),
            }
        };
        let (reading, baselines) = call(world, Port::Store, effect, Err).await.inspect_err(|_| {
            host::note_failure(world, task, None);
        })?;
        if reading.write_refusal.is_some() {
            host::note_failure(world, task, None);
        }
        ledger::baselines_read(world, task, &baselines, reading.write_refusal.is_none());
        Ok(reading)
    }

    async fn commit(&self, commits: &[RowCommit<'_>]) -> Vec<Result<CommitResult, PortError>> {
        let (world, task) = (&self.world, self.world.current.get());
        let count = commits.len();
        for commit in commits {
            ledger::count_try(world, task, commit.commit.version.sequence.as_str());
        }
        let expected = ledger::expectations(world, task);
        let groups: Vec<String> = commits.iter().map(|row| group_of(world, row)).collect();
        let versions: Vec<RowVersion> = commits.iter().map(|row| row.commit.version.clone()).collect();
        let commits: Vec<OwnedCommit> = commits.iter().map(OwnedCommit::of).collect();
        let effect = move |world: &World, extent| commit_all(world, &expected, &commits, extent);
        let answers = call(world, Port::Store, effect, move |error| vec![Err(error); count]).await;
        for (version, answer) in versions.iter().zip(&answers) {
            aside::commit_answered(world, task, version, answer);
        }
        note_failures(world, task, &groups, &answers);
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

/// Records which rows a failed commit concerns: one group if Redis refuses only its key, otherwise all.
fn note_failures(world: &World, task: usize, groups: &[String], answers: &[Result<CommitResult, PortError>]) {
    for (group, answer) in groups.iter().zip(answers) {
        match answer {
            Err(error) if matches!(error.kind, ErrorKind::Refused | ErrorKind::Denied) => {
                host::note_failure(world, task, Some(group))
            }
            // The predecessor may be the refused row.
            Ok(CommitResult::MissingPredecessor)
                if groups.iter().zip(answers).any(|(other, answer)| other == group && answer.is_err()) => {}
            Err(_) | Ok(CommitResult::MissingPredecessor) => host::note_failure(world, task, None),
            Ok(_) => {}
        }
    }
}

fn group_of(world: &World, row: &RowCommit<'_>) -> String {
    let key = world.rows.keys.iter().find(|key| key.baseline == row.commit.baseline_key);
    key.map(|key| key.group.clone()).unwrap_or_default()
}

/// Why Redis refuses writes now, if it does.
fn write_refusal(world: &World) -> Option<PortError> {
    let refuses = world.has_outage(OutageKind::RedisRefusesWrites);
    refuses.then(|| PortError::new(ErrorKind::WritesRefused, "OOM"))
}

/// Why Redis does not commit a row of this key, if so.
fn key_error(world: &World, commit: &Commit) -> Option<PortError> {
    let key = world.rows.keys.iter().position(|key| key.baseline == commit.baseline_key)?;
    if world.has_outage(OutageKind::RedisKey(key)) {
        world.count_fault("redis refused a key");
        return Some(PortError::new(ErrorKind::Refused, "this key is refused"));
    }
    if world.has_outage(OutageKind::RedisDenies(key)) {
        world.count_fault("redis denied a key");
        return Some(PortError::new(ErrorKind::Denied, "this key is denied"));
    }
    None
}

/// Runs the script for each commit. With [`Extent::Part`], runs only some of them, or loses all answers.
fn commit_all(
    world: &World,
    expected: &Rc<Expectations>,
    commits: &[OwnedCommit],
    extent: Extent,
) -> Vec<Result<CommitResult, PortError>> {
    let disconnected = || PortError::new(ErrorKind::Unavailable, "cut off");
    let out_of_memory = || PortError::new(ErrorKind::WritesRefused, "OOM");
    if let Some(refusal) = write_refusal(world) {
        return vec![Err(refusal); commits.len()];
    }
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
        true => match key_error(world, &commit.commit) {
            Some(error) => Err(error),
            None => Ok(ledger::run_commit(world, expected, commit.borrowed())),
        },
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
        ledger::request_made(world, task, port, messages);
        if port == Port::DeadLetters {
            messages.iter().for_each(|message| aside::dead_letter_sent(world, task, message));
        }
        let _in_flight = outbox::InFlight::new(world, task, port, messages);
        let expected = ledger::expectations(world, task);
        let sent: Vec<Message> = messages.iter().map(|message| (*message).clone()).collect();
        let effect = move |world: &World, extent| send_all(world, port, &expected, &sent, extent);
        let began = world.now();
        let answers = call(world, port, effect, Err).await;
        if port == Port::Queue && is_throttled(&answers) {
            host::throttled(world, task, began);
        }
        match &answers {
            Ok(answers) => note_answers(world, task, port, messages, answers),
            Err(error) => note_error(world, task, port, messages, error.kind),
        }
        answers
    }
}

fn is_throttled(answers: &Result<Vec<SendResult>, PortError>) -> bool {
    match answers {
        Ok(answers) => answers.iter().any(|answer| matches!(answer, SendResult::Throttled(_))),
        Err(error) => error.kind == ErrorKind::Throttled,
    }
}

/// Records what the answers to the messages of a request mean for the invocation.
fn note_answers(world: &World, task: usize, port: Port, messages: &[&Message], answers: &[SendResult]) {
    for (index, message) in messages.iter().enumerate() {
        match answers.get(index) {
            Some(SendResult::Accepted) => {
                ledger::message_acknowledged(world, task, message);
                aside::message_taken(world, task, port, message);
            }
            Some(SendResult::Rejected(_)) => {}
            Some(SendResult::Throttled(_)) => {
                ledger::try_is_free(world, task, &message.dedup_id);
                host::note_failure(world, task, Some(&message.group_id));
            }
            Some(SendResult::Refused(_)) | None => {
                if port == Port::Queue {
                    aside::message_refused(world, task, message, Refusal::ByName);
                }
                host::message_refused(world, task, port);
                host::note_failure(world, task, Some(&message.group_id));
            }
        }
    }
}

/// Records what the failure of a whole request means for the invocation.
fn note_error(world: &World, task: usize, port: Port, messages: &[&Message], kind: ErrorKind) {
    let is_invalid_request = matches!(kind, ErrorKind::Invalid | ErrorKind::InvalidContent);
    // The queue throttled the request, or tells which message is at fault only by taking the others without it.
    if kind == ErrorKind::Throttled || (is_invalid_request && messages.len() > 1) {
        messages.iter().for_each(|message| ledger::try_is_free(world, task, &message.dedup_id));
    }
    for message in messages {
        match (is_invalid_request, messages.len()) {
            (true, 1) => aside::message_refused(world, task, message, Refusal::Alone),
            _ if port == Port::Queue => aside::message_not_judged(world, task, message),
            _ => {}
        }
        // Only the group at fault may fail.
        if !is_invalid_request || is_invalid(world, message) {
            host::note_failure(world, task, Some(&message.group_id));
        }
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
    if port == Port::Queue && messages.iter().any(|message| is_invalid(world, message)) {
        world.count_fault("sqs refused a request for one message");
        let kind = if world.scenario.invalid_names_content() {
            ErrorKind::InvalidContent
        } else {
            ErrorKind::Invalid
        };
        return Err(PortError::new(kind, "InvalidRequest"));
    }
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

/// True during an outage of this kind for a key of the message's group.
fn group_has_outage(world: &World, message: &Message, kind: fn(usize) -> OutageKind) -> bool {
    let mut keys = world.rows.keys.iter().enumerate();
    keys.any(|(index, key)| key.group == message.group_id && world.has_outage(kind(index)))
}

/// True if SQS refuses every request with this message.
fn is_invalid(world: &World, message: &Message) -> bool {
    group_has_outage(world, message, OutageKind::InvalidGroup)
}

fn send_event(world: &World, expected: &Rc<Expectations>, message: &Message) -> SendResult {
    if ledger::is_rejected(world, &message.dedup_id) {
        return SendResult::Rejected("InvalidMessageContents".into());
    }
    if group_has_outage(world, message, OutageKind::Group) {
        world.count_fault("sqs refused a group's entry");
        return SendResult::Refused("InternalError".into());
    }
    if group_has_outage(world, message, OutageKind::OneRow) && aside::is_refused_row(world, expected, message)
    {
        world.count_fault("sqs refused a row's entry");
        return SendResult::Refused("InternalError".into());
    }
    if world.has_outage(OutageKind::ThrottleHalf) && world.rng.borrow_mut().permille(100) {
        world.count_fault("sqs throttled an entry");
        return SendResult::Throttled("ThrottlingException".into());
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
