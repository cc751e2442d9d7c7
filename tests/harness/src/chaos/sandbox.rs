//! Sandboxes: `bootstrap` processes that are killed and frozen at any moment.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::faults::sqs_sink::SqsSink;
use crate::lambda::bootstrap::{Bootstrap, bootstrap_path};
use crate::lambda::runtime_api::{Invocation, Outcome, RuntimeApi};
use crate::probes::oracle::Random;
use crate::probes::wait::eventually;

use super::Plan;
use super::mapping::{Mapping, Work};
use super::redis::RedisSide;
use super::sqs::SqsSide;

/// Name of the events queue.
pub(super) const EVENTS_QUEUE: &str = "events.fifo";
/// Name of the dead letter queue.
const LETTERS_QUEUE: &str = "dlq.fifo";
/// From the start of an invocation to its deadline.
const DEADLINE: Duration = Duration::from_secs(4);
/// For everything that waits to be sent.
const DRAIN: Duration = Duration::from_secs(120);
/// For a process to ask for its first work.
const START: Duration = Duration::from_secs(20);
/// Times short enough for many failures a minute, in proportion to those of the usual settings.
const SETTINGS: [(&str, &str); 8] = [
    ("BREAKER_OPEN_SECS", "1"),
    ("DEADLINE_MARGIN_MS", "600"),
    ("REDIS_CONNECT_TIMEOUT_MS", "300"),
    ("REDIS_COMMAND_TIMEOUT_MS", "500"),
    ("REDIS_PROBE_AFTER_MS", "400"),
    ("REDIS_PROBE_TIMEOUT_MS", "100"),
    ("SQS_CONNECT_TIMEOUT_MS", "300"),
    ("SQS_ATTEMPT_TIMEOUT_MS", "400"),
];
/// How many invocations of forty meet which fate; the others none.
const FATES: [(Fate, usize); 4] =
    [(Fate::Killed, 4), (Fate::Frozen, 2), (Fate::FrozenTooLong, 1), (Fate::FrozenIdle, 2)];
const FATES_OF: usize = 40;

/// What happens to a sandbox during or after an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Spared,
    /// SIGKILL at some moment of the invocation, or just after it.
    Killed,
    /// SIGSTOP at some moment, SIGCONT past the timeouts of calls but before the deadline.
    Frozen,
    /// SIGSTOP past the deadline, then SIGKILL, as Lambda ends what does not answer.
    FrozenTooLong,
    /// SIGSTOP between two invocations.
    FrozenIdle,
}

/// How often what was done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Processes started.
    pub started: u64,
    /// Killed while an invocation was under way.
    pub killed: u64,
    /// Killed after its answer.
    pub killed_idle: u64,
    /// Frozen within an invocation, and thawed in time.
    pub frozen: u64,
    /// Frozen past the deadline, and killed then.
    pub timed_out: u64,
    /// Frozen between invocations.
    pub frozen_idle: u64,
}

/// What all sandboxes share.
pub(super) struct Surroundings {
    binary: PathBuf,
    environment: Vec<(&'static str, String)>,
    state: Mutex<State>,
}

struct State {
    random: Random,
    deck: Vec<Fate>,
    counts: Counts,
    /// How long an invocation lately took.
    usual: Duration,
    problems: Vec<String>,
}

impl Surroundings {
    pub(super) fn new(plan: &Plan, redis: &RedisSide, sink: &SqsSink, queue: &SqsSide) -> Self {
        let mut environment = vec![
            ("REDIS_URL", redis.url()),
            ("EVENTS_QUEUE_URL", sink.queue_url(EVENTS_QUEUE)),
            ("EVENTS_DLQ_URL", sink.queue_url(LETTERS_QUEUE)),
            ("AWS_ENDPOINT_URL_SQS", queue.endpoint()),
        ];
        environment.extend(SETTINGS.map(|(name, value)| (name, value.to_owned())));
        environment.push(("SQS_OUTAGE", if plan.spill { "spill" } else { "block" }.to_owned()));
        let state = State {
            random: Random::new(plan.seed.wrapping_mul(3)),
            deck: Vec::new(),
            counts: Counts::default(),
            usual: Duration::from_millis(300),
            problems: Vec::new(),
        };
        Self { binary: bootstrap_path(), environment, state: Mutex::new(state) }
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    pub(super) fn problems(&self) -> Vec<String> {
        self.state().problems.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next fate, at which moment of the invocation, and a random share from 0 to 1 for how long.
    fn fate(&self) -> (Fate, Duration, f64) {
        let state = &mut *self.state();
        if state.deck.is_empty() {
            state.deck = FATES.iter().flat_map(|(fate, times)| vec![*fate; *times]).collect();
            state.deck.resize(FATES_OF, Fate::Spared);
            state.random.shuffle(&mut state.deck);
        }
        let mut share = || state.random.below(1_000) as f64 / 1_000.0;
        let (moment, length) = (share(), share());
        (state.deck.pop().unwrap_or(Fate::Spared), state.usual.mul_f64(moment), length)
    }
}

/// One process with the Runtime API of its own, so that it is known who has which batch.
pub(super) struct Sandbox {
    around: Arc<Surroundings>,
    api: RuntimeApi,
    process: Bootstrap,
}

impl Sandbox {
    /// Works on one batch after the other until nothing is left, with a new process after each that died.
    pub(super) async fn work(around: Arc<Surroundings>, mapping: Arc<Mapping>, work: Arc<Work>) {
        let mut sandbox = Some(Self::start(Arc::clone(&around)).await);
        while let Some(shard) = mapping.take(&work).await {
            let mut current = match sandbox.take() {
                Some(sandbox) => sandbox,
                None => Self::start(Arc::clone(&around)).await,
            };
            let (invocation, alive) = current.invoke(mapping.batch(&shard)).await;
            // Whoever gets the shard next must not meet this process: dead ones are gone by now.
            sandbox = alive.then_some(current);
            mapping.settle(shard, invocation.as_ref());
        }
    }

    /// Has what still waits in the outbox sent, as the schedule does every minute. Panics when it does not end.
    pub(super) async fn drain(around: &Arc<Surroundings>) {
        let sandbox = Self::start(Arc::clone(around)).await;
        let drained = eventually(DRAIN, || async {
            sandbox.api.invoke(&br#"{"action":"drain-outbox"}"#[..]).await.json()["waiting"] == 0
        });
        drained.await;
    }

    async fn start(around: Arc<Surroundings>) -> Self {
        let api = RuntimeApi::start().await;
        let environment: Vec<_> =
            around.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let process = Bootstrap::start(&around.binary, &environment, &api);
        api.initialised(START).await.unwrap_or_else(|error| panic!("{error}\n{}", process.output()));
        around.state().counts.started += 1;
        Self { around, api, process }
    }

    /// One invocation with its fate. Gives the answer, if there was one, and whether the process lives on.
    async fn invoke(&mut self, event: Vec<u8>) -> (Option<Invocation>, bool) {
        let (fate, moment, length) = self.around.fate();
        let around = Arc::clone(&self.around);
        let mut invocation = pin!(self.api.invoke_with_deadline(event, DEADLINE));
        let early = match fate {
            Fate::Spared | Fate::FrozenIdle => None,
            Fate::Killed | Fate::Frozen | Fate::FrozenTooLong => {
                tokio::time::timeout(moment, &mut invocation).await.ok()
            }
        };
        match (fate, early) {
            (Fate::Killed, early) => {
                self.process.kill();
                let counts = &mut around.state().counts;
                *(if early.is_some() { &mut counts.killed_idle } else { &mut counts.killed }) += 1;
                (early, false)
            }
            (Fate::FrozenTooLong, None) => {
                self.process.freeze();
                let late = invocation.await;
                self.process.kill();
                around.state().counts.timed_out += 1;
                // Its answer may have been on its way when it froze.
                (matches!(late.outcome, Outcome::Ok(_)).then_some(late), false)
            }
            (fate, Some(early)) => {
                // It came too late: another invocation's, then.
                around.state().deck.push(fate);
                (Some(early), true)
            }
            (Fate::Frozen, None) => {
                self.process.freeze();
                tokio::time::sleep(Duration::from_millis(200).mul_f64(1.0 + 9.0 * length)).await;
                self.process.thaw();
                around.state().counts.frozen += 1;
                let answer = invocation.await;
                answered(&around, &mut self.process, answer)
            }
            (Fate::FrozenIdle, None) => {
                let answer = invocation.await;
                self.process.freeze();
                tokio::time::sleep(Duration::from_millis(200).mul_f64(1.0 + 5.0 * length)).await;
                self.process.thaw();
                around.state().counts.frozen_idle += 1;
                answered(&around, &mut self.process, answer)
            }
            (Fate::Spared, None) => {
                let answer = invocation.await;
                let usual = &mut around.state().usual;
                *usual = usual.mul_f64(0.9) + answer.duration.mul_f64(0.1);
                answered(&around, &mut self.process, answer)
            }
        }
    }
}

/// A process that was not killed must answer, in time and without an error.
fn answered(
    around: &Surroundings,
    process: &mut Bootstrap,
    answer: Invocation,
) -> (Option<Invocation>, bool) {
    if matches!(answer.outcome, Outcome::Ok(_)) {
        return (Some(answer), true);
    }
    let ended = process.exit_status();
    let output = process.output();
    let last: Vec<&str> = output.lines().rev().take(20).collect();
    around.state().problems.push(format!(
        "a sandbox that nobody killed gave {:?} after {:?} (ended: {ended:?}); its last lines, last first:\n{}",
        answer.outcome,
        answer.duration,
        last.join("\n")
    ));
    process.kill();
    (None, false)
}
