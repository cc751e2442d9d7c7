//! An SQS with faults: a fake whose calls fail at random, and a proxy that breaks connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::faults::fake_sqs::{FakeSqs, Request};
use crate::faults::fault_proxy::{FaultProxy, ProxyMode};
use crate::faults::sqs_faults::SqsFault;
use crate::random::Random;

/// How many of a thousand calls meet each fault. A late response does not count as a failure, the others do.
const RATES: [(&str, u64); 8] = [
    ("error 500", 40),
    ("throttled", 20),
    ("throttled, other code", 15),
    ("a message refused", 50),
    ("no response", 15),
    ("closed before", 30),
    ("accepted, then closed", 30),
    (LATE, 20),
];
const LATE: &str = "late response";
/// Calls that an outage meets at least, unless it would take too long.
const OUTAGE_CALLS: u64 = 10;
/// How often that is looked at, and how many times.
const OUTAGE_POLL: Duration = Duration::from_millis(50);
const OUTAGE_POLLS: u32 = 100;
const OUTAGE: &str = "error 500 in an outage";
const THROTTLING: &str = "throttled, half of all calls";

/// How often each fault occurred.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Calls that reached the queue.
    pub calls: u64,
    /// Messages in these calls.
    pub messages: u64,
    /// Calls that met a fault, by kind of fault.
    pub faults: BTreeMap<&'static str, u64>,
    /// Periods in which every call failed.
    pub outages: u64,
    /// Times all connections were reset.
    pub resets: u64,
    /// Connections cut within a response.
    pub cuts: u64,
}

impl Counts {
    /// Calls that failed, in whole or in part.
    pub fn failed(&self) -> u64 {
        self.faults.iter().filter(|(kind, _)| **kind != LATE).map(|(_, times)| times).sum()
    }

    /// The share of calls that failed, %.
    pub fn failed_percent(&self) -> f64 {
        100.0 * self.failed() as f64 / self.calls.max(1) as f64
    }

    /// The kinds of faults that no call met.
    pub fn missing(&self) -> Vec<&'static str> {
        let kinds = RATES.iter().map(|(kind, _)| *kind);
        kinds.filter(|kind| !self.faults.contains_key(kind)).collect()
    }
}

struct State {
    random: Random,
    down: bool,
    /// Half of all calls are throttled until then.
    throttling_until: Option<Instant>,
    counts: Counts,
}

/// The fake SQS with random faults, and the proxy in front of it.
pub(super) struct FaultySqs {
    proxy: FaultProxy,
    state: Arc<Mutex<State>>,
}

impl FaultySqs {
    /// Starts the faults of a fake SQS.
    pub(super) async fn start(fake: &FakeSqs, seed: u64) -> Self {
        let random = Random::new(seed.wrapping_mul(7));
        let state = Arc::new(Mutex::new(State {
            random,
            down: false,
            throttling_until: None,
            counts: Counts::default(),
        }));
        let shared = Arc::clone(&state);
        fake.choose_faults(move |request| shared.lock().unwrap().choose(request));
        Self { proxy: FaultProxy::start(fake.addr()).await, state }
    }

    /// The endpoint for sandboxes, through the proxy.
    pub(super) fn endpoint(&self) -> String {
        self.proxy.http_url()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.state().random.below(to - from))
    }

    /// Fails every call for a while, long enough to open the breakers: until it has met enough calls, too, because
    /// sandboxes may be busy with something else.
    pub(super) async fn outage(&self) {
        let met = |state: &State| state.counts.faults.get(OUTAGE).copied().unwrap_or(0);
        let before = met(&self.state());
        self.state().down = true;
        tokio::time::sleep(self.millis(500, 2_000)).await;
        for _ in 0..OUTAGE_POLLS {
            if met(&self.state()) >= before + OUTAGE_CALLS {
                break;
            }
            tokio::time::sleep(OUTAGE_POLL).await;
        }
        let state = &mut *self.state();
        state.down = false;
        state.counts.outages += 1;
    }

    /// Throttles half of all calls until then.
    pub(super) fn throttle_half_until(&self, until: Instant) {
        self.state().throttling_until = Some(until);
    }

    /// Resets all connections, then cuts one within a response.
    pub(super) async fn reset(&self) {
        let before = self.proxy.cuts();
        self.proxy.set(ProxyMode::Reset);
        tokio::time::sleep(self.millis(5, 200)).await;
        let bytes = self.state().random.below(600);
        self.proxy.set(ProxyMode::CutOnce(bytes));
        tokio::time::sleep(self.millis(100, 300)).await;
        self.proxy.set(ProxyMode::Pass);
        let counts = &mut self.state().counts;
        counts.resets += 1;
        counts.cuts += self.proxy.cuts() - before;
    }
}

impl State {
    fn choose(&mut self, request: &Request) -> Option<SqsFault> {
        self.counts.calls += 1;
        self.counts.messages += request.messages.len() as u64;
        let throttling = self.throttling_until.is_some_and(|until| Instant::now() < until);
        let kind = if self.down {
            OUTAGE
        } else if throttling && self.random.below(2) == 0 {
            THROTTLING
        } else {
            self.draw()?
        };
        *self.counts.faults.entry(kind).or_default() += 1;
        Some(match kind {
            "throttled" | THROTTLING => SqsFault::throttle(),
            "throttled, other code" => SqsFault::throttling_exception(),
            // Refuse the fourth message, or the last of fewer.
            "a message refused" => SqsFault::refuse(3.min(request.messages.len().saturating_sub(1))),
            "no response" => SqsFault::Hang,
            "closed before" => SqsFault::Close,
            "accepted, then closed" => SqsFault::DropReply,
            LATE => SqsFault::Delay(Duration::from_millis(50 + self.random.below(250))),
            _ => SqsFault::http_500(),
        })
    }

    fn draw(&mut self) -> Option<&'static str> {
        let mut number = self.random.below(1_000);
        for (kind, rate) in RATES {
            if number < rate {
                return Some(kind);
            }
            number -= rate;
        }
        None
    }
}
