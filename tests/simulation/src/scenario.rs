//! What one seed decides before anything runs: settings, rates of faults, outages.

use std::time::Duration;

use events_core::change::ChangeBaseline;
use events_core::event::Priority;
use events_processor::{OutagePolicy, Settings};

use crate::rng::Rng;

/// One millisecond of simulated time.
pub const MILLI: u64 = 1_000;
/// One second of simulated time, which counts in µs.
pub const SECOND: u64 = 1_000_000;
/// One minute.
pub const MINUTE: u64 = 60 * SECOND;
/// One hour.
pub const HOUR: u64 = 60 * MINUTE;
/// One day.
pub const DAY: u64 = 24 * HOUR;

/// How the event source mapping is set.
#[derive(Clone, Debug)]
pub struct MappingRules {
    /// Most records in a batch.
    pub batch_size: usize,
    /// How long it waits for a batch to fill.
    pub window: u64,
    /// How often it tries a batch again; for ever where `None`.
    pub retries: Option<u32>,
    /// The age above which it gives records up, when they fail.
    pub max_age: Option<u64>,
    /// How long the stream keeps a record: real ones a day, which no fault here outlasts; some a few minutes.
    pub retention: u64,
    /// Whether it halves a batch that failed whole.
    pub bisect: bool,
    /// The function's timeout.
    pub timeout: u64,
}

/// How often what goes wrong, per thousand calls.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Calls to Redis.
    pub store: u64,
    /// Requests to the events queue.
    pub queue: u64,
    /// Single entries of requests that go through.
    pub entry: u64,
    /// Requests to the dead letter queue.
    pub letters: u64,
    /// The process dies at an await point.
    pub crash: u64,
    /// The sandbox stands still at an await point.
    pub freeze: u64,
    /// A timed-out invocation whose sandbox goes on.
    pub zombie: u64,
}

/// What an outage does while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageKind {
    /// Redis answers nobody; it keeps its data.
    Redis,
    /// Redis comes back empty.
    RedisLosesAll,
    /// A replica takes over that lacks the last commits.
    RedisFailsOver,
    /// Redis stands still: what it is sent is done, but long after the caller has gone.
    RedisPaused,
    /// SQS answers nobody.
    Queue,
    /// SQS throttles everybody.
    Throttle,
    /// SQS refuses every entry of the group of this number.
    Group(usize),
    /// The dead letter queue answers nobody.
    Letters,
}

/// A fault that lasts.
#[derive(Clone, Copy, Debug)]
pub struct LastingFault {
    /// What it does.
    pub kind: OutageKind,
    /// From when.
    pub from: u64,
    /// Until when.
    pub to: u64,
}

/// Everything a seed decides beforehand, but for the rows.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// Over how long rows are written.
    pub span: u64,
    /// When faults stop.
    pub heal: u64,
    /// The processor's settings.
    pub settings: Settings,
    /// `DEADLINE_MARGIN_MS`.
    pub margin: Duration,
    /// Longest time of one call to Redis.
    pub store_timeout: u64,
    /// Longest time of one request to a queue.
    pub queue_timeout: u64,
    /// The event source mapping.
    pub mapping: MappingRules,
    /// Single faults.
    pub rates: Rates,
    /// Lasting faults.
    pub outages: Vec<LastingFault>,
    /// The await point at which the process dies, whatever the rates say.
    pub crash_at: Option<u64>,
    /// How many events of a thousand SQS will never take.
    pub unwelcome: u64,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let rng = &mut Rng::new(seed, 1);
        let span = rng.pick(&[20 * SECOND, 3 * MINUTE, 20 * MINUTE, 2 * HOUR]);
        let heal = span + rng.between(MINUTE, 20 * MINUTE);
        let timeout = rng.between(3, 30) * SECOND;
        Self {
            seed,
            span,
            heal,
            settings: settings(rng),
            margin: Duration::from_millis(rng.between(200, 2_000)),
            store_timeout: rng.between(100, 1_500) * MILLI,
            queue_timeout: rng.between(200, 3_000) * MILLI,
            mapping: mapping(rng, timeout),
            rates: rates(rng),
            outages: outages(rng, heal),
            unwelcome: rng.pick(&[0, 0, 0, 30]),
            crash_at: None,
        }
    }

    /// The same without a single fault, but for one death of the process at an await point.
    pub fn calm(mut self, crash_at: Option<u64>) -> Self {
        (self.rates, self.outages, self.crash_at) = (Rates::default(), Vec::new(), crash_at);
        self.mapping.retries = None;
        self.mapping.max_age = None;
        self.mapping.retention = DAY;
        self
    }

    /// Calm too, but SQS is down from the first row to the last, and events wait in the outbox.
    pub fn spilling(self, crash_at: Option<u64>) -> Self {
        let mut scenario = self.calm(crash_at);
        scenario.settings.outage = OutagePolicy::Spill;
        scenario.settings.core.queueing = true;
        scenario.outages = vec![LastingFault { kind: OutageKind::Queue, from: 0, to: scenario.heal }];
        scenario
    }

    /// True when records may be given up.
    pub fn may_drop(&self) -> bool {
        self.mapping.retries.is_some() || self.mapping.max_age.is_some() || self.mapping.retention < DAY
    }
}

fn settings(rng: &mut Rng) -> Settings {
    let mut settings = Settings {
        max_retries: rng.below(5) as u32,
        max_requests_in_flight: rng.pick(&[1, 2, 4, 16]),
        ..Settings::default()
    };
    if rng.permille(500) {
        settings.outage = OutagePolicy::Spill;
    }
    settings.breaker.failures = rng.between(2, 8) as usize;
    settings.breaker.open_ms = rng.between(500, 20_000) as i64;
    let core = &mut settings.core;
    if rng.permille(300) {
        core.rules.baseline = ChangeBaseline::LastEvent;
    }
    core.rules.protocol_always = rng.permille(800);
    core.keys.hashtag = rng.permille(200);
    if rng.permille(200) {
        core.keys.prefix = "rt:".into();
    }
    core.caching = rng.permille(900);
    core.pubsub = rng.permille(950);
    core.queueing = rng.permille(950);
    core.min_priority =
        rng.pick(&[Priority::Low, Priority::Low, Priority::Low, Priority::Medium, Priority::High]);
    if rng.permille(60) {
        core.ttls.baseline = rng.between(60, 1_800);
    }
    settings
}

fn mapping(rng: &mut Rng, timeout: u64) -> MappingRules {
    let gives_up = rng.permille(150);
    MappingRules {
        batch_size: rng.pick(&[1, 5, 10, 100, 100]),
        window: rng.pick(&[0, 0, SECOND, 5 * SECOND]),
        retries: (gives_up && rng.permille(600)).then(|| rng.below(6) as u32),
        max_age: (gives_up && rng.permille(600)).then(|| rng.between(60, 600) * SECOND),
        retention: if rng.permille(30) { rng.between(2, 15) * MINUTE } else { DAY },
        bisect: rng.permille(500),
        timeout,
    }
}

fn rates(rng: &mut Rng) -> Rates {
    if rng.permille(50) {
        return Rates::default();
    }
    let mut rate = |high| if rng.permille(500) { rng.below(high) } else { 0 };
    Rates {
        store: rate(300),
        queue: rate(300),
        entry: rate(200),
        letters: rate(300),
        crash: rate(60),
        freeze: rate(20),
        zombie: rate(1_000),
    }
}

fn outages(rng: &mut Rng, heal: u64) -> Vec<LastingFault> {
    let count = rng.pick(&[0, 0, 1, 1, 2, 3]);
    // Most runs lose no data: only those can be held to every single event.
    let loses = rng.permille(150);
    (0..count)
        .map(|_| {
            let mut kinds = vec![
                OutageKind::Redis,
                OutageKind::RedisPaused,
                OutageKind::Queue,
                OutageKind::Throttle,
                OutageKind::Group(rng.index(4)),
                OutageKind::Letters,
            ];
            if loses {
                kinds.extend([OutageKind::RedisLosesAll, OutageKind::RedisFailsOver]);
            }
            let from = rng.below(heal);
            let to = (from + rng.between(SECOND, 10 * MINUTE)).min(heal);
            LastingFault { kind: rng.pick(&kinds), from, to }
        })
        .collect()
}
