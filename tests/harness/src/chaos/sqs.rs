//! The queue's side: calls that fail, each drawn from the seed, and a network that breaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::faults::fault_proxy::{FaultProxy, Mode};
use crate::faults::sqs_faults::Fault;
use crate::faults::sqs_sink::{Request, SqsSink};
use crate::probes::oracle::Random;

/// Of a thousand calls, how many meet which fault. A late answer is no failure, all others are.
const RATES: [(&str, u64); 8] = [
    ("error 500", 40),
    ("throttled", 20),
    ("throttled, other words", 15),
    ("an entry refused", 50),
    ("no answer", 15),
    ("closed before", 30),
    ("accepted, then closed", 30),
    (LATE, 20),
];
const LATE: &str = "late answer";
const OUTAGE: &str = "error 500 in an outage";

/// How often what was done.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Calls that reached the queue.
    pub calls: u64,
    /// Messages in them.
    pub entries: u64,
    /// Calls that met a fault, by its kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Times in which every call failed.
    pub outages: u64,
    /// Times in which all connections were reset.
    pub resets: u64,
    /// Connections cut within an answer.
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

    /// The kinds of faults that no call has met.
    pub fn missing(&self) -> Vec<&'static str> {
        let kinds = RATES.iter().map(|(kind, _)| *kind);
        kinds.filter(|kind| !self.faults.contains_key(kind)).collect()
    }
}

struct State {
    random: Random,
    down: bool,
    counts: Counts,
}

/// The way to the sink, and what happens there.
pub(super) struct SqsSide {
    proxy: FaultProxy,
    state: Arc<Mutex<State>>,
}

impl SqsSide {
    /// Lets calls to a sink fail from now on.
    pub(super) async fn start(sink: &SqsSink, seed: u64) -> Self {
        let random = Random::new(seed.wrapping_mul(7));
        let state = Arc::new(Mutex::new(State { random, down: false, counts: Counts::default() }));
        let shared = Arc::clone(&state);
        sink.fault_by(move |request| shared.lock().unwrap().choose(request));
        Self { proxy: FaultProxy::start(sink.addr()).await, state }
    }

    /// Where sandboxes find it.
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

    /// Every call fails for a while, long enough to open breakers.
    pub(super) async fn outage(&self) {
        self.state().down = true;
        tokio::time::sleep(self.millis(500, 2_000)).await;
        let state = &mut *self.state();
        state.down = false;
        state.counts.outages += 1;
    }

    /// Resets every connection, then cuts one within an answer.
    pub(super) async fn reset(&self) {
        let before = self.proxy.cuts();
        self.proxy.set(Mode::Reset);
        tokio::time::sleep(self.millis(5, 200)).await;
        let bytes = self.state().random.below(600);
        self.proxy.set(Mode::CutOnce(bytes));
        tokio::time::sleep(self.millis(100, 300)).await;
        self.proxy.set(Mode::Pass);
        let counts = &mut self.state().counts;
        counts.resets += 1;
        counts.cuts += self.proxy.cuts() - before;
    }
}

impl State {
    fn choose(&mut self, request: &Request) -> Option<Fault> {
        self.counts.calls += 1;
        self.counts.entries += request.entries.len() as u64;
        let kind = if self.down { OUTAGE } else { self.draw()? };
        *self.counts.faults.entry(kind).or_default() += 1;
        Some(match kind {
            "throttled" => Fault::throttle(),
            "throttled, other words" => Fault::throttling_exception(),
            // The fourth of ten, or the last of fewer.
            "an entry refused" => Fault::refuse(3.min(request.entries.len().saturating_sub(1))),
            "no answer" => Fault::Hang,
            "closed before" => Fault::Close,
            "accepted, then closed" => Fault::DropReply,
            LATE => Fault::Delay(Duration::from_millis(50 + self.random.below(250))),
            _ => Fault::http_500(),
        })
    }

    fn draw(&mut self) -> Option<&'static str> {
        let mut lot = self.random.below(1_000);
        for (kind, share) in RATES {
            if lot < share {
                return Some(kind);
            }
            lot -= share;
        }
        None
    }
}
