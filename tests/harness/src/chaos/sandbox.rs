//! Sandboxes: `bootstrap` processes that are killed and frozen at random moments.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::faults::fake_sqs::FakeSqs;
use crate::lambda::bootstrap::{Bootstrap, bootstrap_path};
use crate::lambda::runtime_api::{Invocation, Outcome, RuntimeApi};
use crate::probes::wait::eventually;
use crate::random::Random;

use super::ChaosPlan;
use super::mapping::{Mapping, ShardQueue};
use super::redis::FaultyRedis;
use super::sqs::FaultySqs;

/// From the start of an invocation to its deadline.
const DEADLINE: Duration = Duration::from_secs(4);
/// How long the outbox may take to drain.
const DRAIN: Duration = Duration::from_secs(120);
/// How long a process may take until it polls for its first event.
const START: Duration = Duration::from_secs(20);
/// Timeouts in the same proportions as the defaults, but short enough for many failures a minute.
/// The rows are old, so the age of a record says nothing about how long it has failed.
const SETTINGS: [(&str, &str); 9] = [
    ("KEY_FAILURE_MAX_AGE_SECS", "315360000"),
    ("BREAKER_OPEN_SECS", "1"),
    ("DEADLINE_MARGIN_MS", "600"),
    ("REDIS_CONNECT_TIMEOUT_MS", "300"),
    ("REDIS_COMMAND_TIMEOUT_MS", "500"),
    ("REDIS_PROBE_AFTER_MS", "400"),
    ("REDIS_PROBE_TIMEOUT_MS", "100"),
    ("SQS_CONNECT_TIMEOUT_MS", "300"),
    ("SQS_ATTEMPT_TIMEOUT_MS", "400"),
];
/// How many of [`INVOCATIONS_IN_DECK`] invocations meet each fault. The others meet none.
const FAULTS: [(SandboxFault, usize); 4] = [
    (SandboxFault::Killed, 4),
    (SandboxFault::Frozen, 2),
    (SandboxFault::FrozenPastDeadline, 1),
    (SandboxFault::FrozenIdle, 2),
];
const INVOCATIONS_IN_DECK: usize = 40;

/// What happens to a sandbox during or after an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SandboxFault {
    Untouched,
    /// SIGKILL at a random moment of the invocation, or just after it.
    Killed,
    /// SIGSTOP at a random moment. SIGCONT after the timeouts of calls but before the deadline.
    Frozen,
    /// SIGSTOP until after the deadline, then SIGKILL, because Lambda ends a function that does not respond.
    FrozenPastDeadline,
    /// SIGSTOP between two invocations.
    FrozenIdle,
}

/// How often each fault occurred.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Processes started.
    pub started: u64,
    /// Processes killed during an invocation.
    pub killed: u64,
    /// Processes killed after their response.
    pub killed_idle: u64,
    /// Processes frozen during an invocation and thawed in time.
    pub frozen: u64,
    /// Processes frozen until after the deadline and then killed.
    pub timed_out: u64,
    /// Processes frozen between invocations.
    pub frozen_idle: u64,
}

/// The state that all sandboxes share.
pub(super) struct Shared {
    binary: PathBuf,
    environment: Vec<(&'static str, String)>,
    state: Mutex<State>,
}

struct State {
    random: Random,
    /// The faults of the next invocations, shuffled like a deck of cards.
    deck: Vec<SandboxFault>,
    counts: Counts,
    /// The moving average of the duration of an invocation.
    average: Duration,
    problems: Vec<String>,
}

impl Shared {
    pub(super) fn new(plan: &ChaosPlan, redis: &FaultyRedis, fake: &FakeSqs, sqs: &FaultySqs) -> Self {
        let mut environment = vec![
            ("REDIS_URL", redis.url()),
            ("EVENTS_QUEUE_URL", fake.events_url()),
            ("EVENTS_DLQ_URL", fake.dead_letters_url()),
            ("AWS_ENDPOINT_URL_SQS", sqs.endpoint()),
        ];
        environment.extend(SETTINGS.map(|(name, value)| (name, value.to_owned())));
        environment.push(("SQS_OUTAGE", if plan.spill { "spill" } else { "block" }.to_owned()));
        let state = State {
            random: Random::new(plan.seed.wrapping_mul(3)),
            deck: Vec::new(),
            counts: Counts::default(),
            average: Duration::from_millis(300),
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

    /// The next fault, its moment within the invocation, and a random length from 0 to 1.
    fn next_fault(&self) -> (SandboxFault, Duration, f64) {
        let state = &mut *self.state();
        if state.deck.is_empty() {
            state.deck = FAULTS.iter().flat_map(|(fault, times)| vec![*fault; *times]).collect();
            state.deck.resize(INVOCATIONS_IN_DECK, SandboxFault::Untouched);
            state.random.shuffle(&mut state.deck);
        }
        let mut fraction = || state.random.below(1_000) as f64 / 1_000.0;
        let (moment, length) = (fraction(), fraction());
        (state.deck.pop().unwrap_or(SandboxFault::Untouched), state.average.mul_f64(moment), length)
    }
}

/// A process with its own Runtime API, so that the batch of each process is known.
pub(super) struct Sandbox {
    shared: Arc<Shared>,
    api: RuntimeApi,
    process: Bootstrap,
}

impl Sandbox {
    /// Processes batches until all records are done. Starts a new process after each one that died.
    pub(super) async fn work(shared: Arc<Shared>, mapping: Arc<Mapping>, shards: Arc<ShardQueue>) {
        let mut sandbox = Some(Self::start(Arc::clone(&shared)).await);
        while let Some(shard) = mapping.take(&shards).await {
            let mut current = match sandbox.take() {
                Some(sandbox) => sandbox,
                None => Self::start(Arc::clone(&shared)).await,
            };
            let (invocation, alive) = current.invoke(mapping.batch(&shard)).await;
            // Return the shard only after a killed process is gone, so that two processes never have the same batch.
            sandbox = alive.then_some(current);
            mapping.finish_invocation(shard, invocation.as_ref());
        }
    }

    /// Drains the outbox through a sandbox, like the scheduled invocation every minute. Panics if it does not become
    /// empty in time.
    pub(super) async fn drain_outbox(shared: &Arc<Shared>) {
        let sandbox = Self::start(Arc::clone(shared)).await;
        let drained = eventually(DRAIN, || async {
            sandbox.api.invoke(&br#"{"action":"drain-outbox"}"#[..]).await.json()["waiting"] == 0
        });
        drained.await;
    }

    async fn start(shared: Arc<Shared>) -> Self {
        let api = RuntimeApi::start().await;
        let environment: Vec<_> =
            shared.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let process = Bootstrap::start(&shared.binary, &environment, &api);
        process.initialised(&api, START).await;
        shared.state().counts.started += 1;
        Self { shared, api, process }
    }

    /// Runs one invocation with the next fault. Returns the response, if there was one, and whether the process lives on.
    async fn invoke(&mut self, event: Vec<u8>) -> (Option<Invocation>, bool) {
        let (fault, moment, length) = self.shared.next_fault();
        let shared = Arc::clone(&self.shared);
        let mut invocation = pin!(self.api.invoke_with_deadline(event, DEADLINE));
        let early = match fault {
            SandboxFault::Untouched | SandboxFault::FrozenIdle => None,
            SandboxFault::Killed | SandboxFault::Frozen | SandboxFault::FrozenPastDeadline => {
                tokio::time::timeout(moment, &mut invocation).await.ok()
            }
        };
        match (fault, early) {
            (SandboxFault::Killed, early) => {
                self.process.kill();
                let counts = &mut shared.state().counts;
                *(if early.is_some() { &mut counts.killed_idle } else { &mut counts.killed }) += 1;
                (early, false)
            }
            (SandboxFault::FrozenPastDeadline, None) => {
                self.process.freeze();
                let late = invocation.await;
                self.process.kill();
                shared.state().counts.timed_out += 1;
                // The process may have sent its response just before it froze.
                (matches!(late.outcome, Outcome::Ok(_)).then_some(late), false)
            }
            (fault, Some(early)) => {
                // The invocation ended before the moment of the fault. Keep the fault for the next one.
                shared.state().deck.push(fault);
                (Some(early), true)
            }
            (SandboxFault::Frozen, None) => {
                self.process.freeze();
                tokio::time::sleep(Duration::from_millis(200).mul_f64(1.0 + 9.0 * length)).await;
                self.process.thaw();
                shared.state().counts.frozen += 1;
                let invocation = invocation.await;
                check_response(&shared, &mut self.process, invocation)
            }
            (SandboxFault::FrozenIdle, None) => {
                let invocation = invocation.await;
                self.process.freeze();
                tokio::time::sleep(Duration::from_millis(200).mul_f64(1.0 + 5.0 * length)).await;
                self.process.thaw();
                shared.state().counts.frozen_idle += 1;
                check_response(&shared, &mut self.process, invocation)
            }
            (SandboxFault::Untouched, None) => {
                let invocation = invocation.await;
                {
                    // The lock must end before `check_response`, which takes it again.
                    let average = &mut shared.state().average;
                    *average = average.mul_f64(0.9) + invocation.duration.mul_f64(0.1);
                }
                check_response(&shared, &mut self.process, invocation)
            }
        }
    }
}

/// Checks that a process that was not killed has responded in time and without an error.
fn check_response(
    shared: &Shared,
    process: &mut Bootstrap,
    invocation: Invocation,
) -> (Option<Invocation>, bool) {
    if matches!(invocation.outcome, Outcome::Ok(_)) {
        return (Some(invocation), true);
    }
    let exit_status = process.exit_status();
    let output = process.output();
    let last: Vec<&str> = output.lines().rev().take(20).collect();
    shared.state().problems.push(format!(
        "an invocation without a fault ended with {:?} after {:?} (exit status: {exit_status:?}); the output, last line first:\n{}",
        invocation.outcome,
        invocation.duration,
        last.join("\n")
    ));
    process.kill();
    (None, false)
}
