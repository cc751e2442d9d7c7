//! The scenario of a seed: settings, rates of faults, outages.

use std::time::Duration;

use events_core::change::ChangeBaseline;
use events_core::event::Priority;
use events_core::plan::Signals;
use events_processor::{OutagePolicy, Settings};

use crate::rng::Rng;

/// One millisecond of simulated time, which is counted in µs.
pub const MILLI: u64 = 1_000;
/// One second.
pub const SECOND: u64 = 1_000_000;
/// One minute.
pub const MINUTE: u64 = 60 * SECOND;
/// One hour.
pub const HOUR: u64 = 60 * MINUTE;
/// One day.
pub const DAY: u64 = 24 * HOUR;

/// When every key of a crowd is written. The first time gives it a baseline.
pub const CROWD_BURSTS: [u64; 3] = [10 * SECOND, 60 * SECOND, 110 * SECOND];

/// The settings of the event source mapping.
#[derive(Clone, Debug)]
pub struct MappingRules {
    /// Most records in a batch.
    pub batch_size: usize,
    /// How long it waits for a batch to fill.
    pub window: u64,
    /// Most retries of a batch; `None` is no limit.
    pub retries: Option<u32>,
    /// The age above which it drops failed records; `None` is no limit.
    pub max_age: Option<u64>,
    /// How long the stream keeps a record. A day, like a real stream, is longer than any fault; some runs have minutes.
    pub retention: u64,
    /// True if it splits a batch that failed as a whole.
    pub bisect: bool,
    /// The function's timeout.
    pub timeout: u64,
}

impl MappingRules {
    /// Makes the mapping and the stream keep every record.
    fn drop_nothing(&mut self) {
        (self.retries, self.max_age, self.retention) = (None, None, DAY);
    }
}

/// How often faults occur, per thousand calls.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Calls to Redis.
    pub store: u64,
    /// Requests to the events queue.
    pub queue: u64,
    /// Single messages of requests that otherwise succeed.
    pub entry: u64,
    /// Requests to the dead letter queue.
    pub dead_letters: u64,
    /// The process dies at an await point.
    pub crash: u64,
    /// The sandbox freezes at an await point.
    pub freeze: u64,
    /// An invocation becomes a zombie: it timed out, but its sandbox goes on.
    pub zombie: u64,
}

/// What an outage does while it lasts. It concerns every call that is in flight, and every call that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageKind {
    /// Redis does not answer. It keeps its data.
    Redis,
    /// Redis takes almost as long for each call as the caller waits.
    RedisSlow,
    /// Redis answers reads and refuses writes.
    RedisRefusesWrites,
    /// Redis refuses the commits of one key: the key with this index.
    RedisKey(usize),
    /// Redis denies the commits of one key, the key with this index: its user lacks a right.
    RedisDenies(usize),
    /// Redis does not answer, and has lost all its data.
    RedisLosesAll,
    /// Redis does not answer. The replica that takes over lacks the last commits.
    RedisFailsOver,
    /// Redis is paused: it executes each call long after the caller has given up.
    RedisPaused,
    /// SQS does not answer.
    Queue,
    /// SQS takes almost as long for each request as the caller waits.
    QueueSlow,
    /// SQS throttles every request.
    Throttle,
    /// SQS throttles half of all requests.
    ThrottleHalf,
    /// SQS refuses every request that contains a message of one group: the group of the key with this index.
    InvalidGroup(usize),
    /// SQS refuses every message of one group: the group of the key with this index.
    Group(usize),
    /// SQS refuses every message of one row: of the first row of this key's group that it sees.
    OneRow(usize),
    /// The dead letter queue does not answer.
    DeadLetters,
}

impl OutageKind {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis restarts with its data",
            Self::RedisSlow => "redis is slow for everybody",
            Self::RedisRefusesWrites => "redis refuses writes",
            Self::RedisKey(_) => "redis refuses one key",
            Self::RedisDenies(_) => "redis denies one key",
            Self::RedisLosesAll => "redis restarts empty",
            Self::RedisFailsOver => "redis fails over, suffix lost",
            Self::RedisPaused => "redis stands still",
            Self::Queue => "sqs outage",
            Self::QueueSlow => "sqs is slow for everybody",
            Self::Throttle => "sqs throttles everything",
            Self::ThrottleHalf => "sqs throttles half of all requests",
            Self::InvalidGroup(_) => "sqs refuses requests with one group",
            Self::Group(_) => "sqs refuses one group",
            Self::OneRow(_) => "sqs refuses one row",
            Self::DeadLetters => "dlq outage",
        }
    }
}

/// An outage.
#[derive(Clone, Copy, Debug)]
pub struct LastingFault {
    /// What it does.
    pub kind: OutageKind,
    /// When it begins.
    pub from: u64,
    /// When it ends.
    pub to: u64,
}

/// Everything that a seed decides before the run, except the rows.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// For how long rows are written.
    pub span: u64,
    /// When faults end.
    pub faults_end: u64,
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
    /// Outages.
    pub outages: Vec<LastingFault>,
    /// True if the only faults are outages, one after the other, from 10 ms to 10 minutes.
    pub waves: bool,
    /// True if very many keys are written at once, so that very many requests are in flight together.
    pub crowd: bool,
    /// The number of the await point at which the process always dies.
    pub crash_at: Option<u64>,
    /// How many of a thousand events SQS rejects, which means that it will never accept them.
    pub rejected_permille: u64,
    /// How many of a thousand rows have no creation time and a data time far in the future.
    pub ahead_permille: u64,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let rng = &mut Rng::new(seed, 1);
        let span = rng.pick(&[20 * SECOND, 3 * MINUTE, 20 * MINUTE, 2 * HOUR]);
        let faults_end = span + rng.between(MINUTE, 20 * MINUTE);
        let timeout = rng.between(3, 30) * SECOND;
        let mut scenario = Self {
            seed,
            span,
            faults_end,
            settings: settings(rng),
            margin: Duration::from_millis(rng.between(200, 2_000)),
            store_timeout: rng.between(100, 1_500) * MILLI,
            queue_timeout: rng.between(200, 3_000) * MILLI,
            mapping: mapping(rng, timeout),
            rates: rates(rng),
            outages: outages(rng, faults_end),
            rejected_permille: rng.pick(&[0, 0, 0, 30]),
            ahead_permille: rng.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 40]),
            waves: false,
            crowd: false,
            crash_at: None,
        };
        // A generator of its own, so that the other choices of a seed stay what they are.
        if Rng::new(seed, 5).permille(400) {
            scenario.settings.core.signals = Some(Signals::default());
        }
        scenario.with_shape(&mut Rng::new(seed, 4))
    }

    /// Some seeds have a shape of their own. It is drawn from other random numbers than the rest.
    fn with_shape(mut self, rng: &mut Rng) -> Self {
        self.settings.key_failure_max_age_ms = rng.between(30, 900) as i64 * 1_000;
        let crowd = rng.permille(10);
        if rng.permille(if crowd { 700 } else { 150 }) {
            self.waves = true;
            self.rates = Rates::default();
            self.mapping.drop_nothing();
            self.outages = waves(rng, self.span, self.faults_end);
        }
        if crowd {
            self.fill_with_a_crowd(rng);
        } else if !self.waves && rng.permille(40) {
            self.fail_one_key(rng);
        }
        self
    }

    /// One key fails for longer than its records may be reported. In half of these runs, the dead letter queue does not
    /// answer meanwhile, so that nothing can be put aside.
    fn fail_one_key(&mut self, rng: &mut Rng) {
        self.settings.key_failure_max_age_ms = rng.between(30, 90) as i64 * 1_000;
        let key = rng.index(4);
        let kinds = [
            OutageKind::RedisKey(key),
            OutageKind::RedisDenies(key),
            OutageKind::Group(key),
            OutageKind::InvalidGroup(key),
            OutageKind::OneRow(key),
        ];
        let kind = rng.pick(&kinds);
        let from = rng.below(self.span / 2);
        let to = (from + rng.between(2, 15) * MINUTE).min(self.faults_end);
        self.outages.push(LastingFault { kind, from, to });
        if rng.permille(500) {
            let to = (to + 10 * SECOND).min(self.faults_end);
            self.outages.push(LastingFault { kind: OutageKind::DeadLetters, from, to });
        }
    }

    /// Very many keys are written at once. SQS is down when their events are in flight.
    fn fill_with_a_crowd(&mut self, rng: &mut Rng) {
        self.crowd = true;
        self.span = self.span.max(3 * MINUTE);
        self.faults_end = self.faults_end.max(self.span + MINUTE);
        self.mapping.batch_size = 400;
        // The whole burst is one batch.
        self.mapping.window = 2 * SECOND;
        self.settings.max_requests_in_flight = rng.pick(&[5, 16, 100, 100]);
        // Many faults are shorter than the retries, and some breakers open meanwhile.
        self.settings.max_retries = rng.between(2, 5) as u32;
        self.settings.breaker.failures = rng.pick(&[2, 3, 5]);
        let core = &mut self.settings.core;
        (core.max_message_bytes, core.queueing, core.min_priority) = (6_000, true, Priority::Low);
        let outage = |burst: u64| {
            // Just before the batch begins: its first record takes 200 ms to arrive, and then the batch fills.
            let from = burst + 2_190 * MILLI;
            let longest = rng.pick(&[100 * MILLI, 300 * MILLI, 10 * SECOND]);
            let to = from + rng.between(longest / 10, longest);
            LastingFault {
                kind: rng.pick(&[OutageKind::Queue, OutageKind::Queue, OutageKind::Throttle]),
                from,
                to,
            }
        };
        let outages: Vec<LastingFault> = CROWD_BURSTS[1..].iter().copied().map(outage).collect();
        if self.waves {
            self.outages.clear();
        }
        self.outages.extend(outages);
        // Without retries, an outage is one wave, or few: more than that must not open a breaker.
        if self.waves && rng.permille(500) {
            self.settings.max_retries = 0;
            self.settings.breaker.failures = 5;
            self.settings.outage = OutagePolicy::Block;
        }
    }

    /// The same scenario without faults, except that the process dies once, at await point `crash_at`. It has no crowd:
    /// its hundreds of keys would make such runs slow, and show nothing else.
    pub fn calm(mut self, crash_at: Option<u64>) -> Self {
        (self.rates, self.outages, self.crash_at) = (Rates::default(), Vec::new(), crash_at);
        (self.waves, self.crowd) = (false, false);
        self.mapping.drop_nothing();
        // The events of such rows depend on when they are processed, so on faults.
        self.ahead_permille = 0;
        self
    }

    /// Like [`Self::calm`], but SQS is down from the first row to the last, so that events wait in the outbox.
    pub fn spilling(self, crash_at: Option<u64>) -> Self {
        let mut scenario = self.calm(crash_at);
        scenario.settings.outage = OutagePolicy::Spill;
        scenario.settings.core.queueing = true;
        scenario.outages = vec![LastingFault { kind: OutageKind::Queue, from: 0, to: scenario.faults_end }];
        scenario
    }

    /// True if SQS says that the content of a message made it refuse a request. Otherwise that is only a guess.
    pub fn invalid_names_content(&self) -> bool {
        self.seed.is_multiple_of(3)
    }

    /// True if the mapping or the stream may drop records.
    pub fn may_drop(&self) -> bool {
        self.mapping.retries.is_some() || self.mapping.max_age.is_some() || self.mapping.retention < DAY
    }
}

fn settings(rng: &mut Rng) -> Settings {
    let mut settings = Settings {
        max_retries: rng.below(5) as u32,
        max_requests_in_flight: rng.pick(&[1, 2, 5, 16]),
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
    if rng.permille(60) {
        core.ttls.meta = rng.between(60, 1_800);
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
        dead_letters: rate(300),
        crash: rate(60),
        freeze: rate(20),
        zombie: rate(1_000),
    }
}

/// Outages of 10 ms to 10 minutes, one after the other, with time to recover between them.
fn waves(rng: &mut Rng, span: u64, faults_end: u64) -> Vec<LastingFault> {
    let kinds = [
        OutageKind::Redis,
        OutageKind::RedisPaused,
        OutageKind::RedisSlow,
        OutageKind::RedisRefusesWrites,
        OutageKind::Queue,
        OutageKind::QueueSlow,
        OutageKind::Throttle,
        OutageKind::ThrottleHalf,
    ];
    let mut from = rng.between(SECOND, span / 2);
    (0..rng.between(1, 4))
        .map_while(|_| {
            let longest = rng.pick(&[100 * MILLI, SECOND, 10 * SECOND, MINUTE, 10 * MINUTE]);
            let to = from + rng.between(longest / 10, longest);
            let outage = LastingFault { kind: rng.pick(&kinds), from, to: to.min(faults_end) };
            from = to + 3 * (to - outage.from) + rng.between(10, 600) * SECOND;
            (outage.from < faults_end).then_some(outage)
        })
        .collect()
}

fn outages(rng: &mut Rng, faults_end: u64) -> Vec<LastingFault> {
    let count = rng.pick(&[0, 0, 1, 1, 2, 3]);
    // Most runs lose no data, because only runs without a loss are checked event by event.
    let loses = rng.permille(150);
    (0..count)
        .map(|_| {
            let mut kinds = vec![
                OutageKind::Redis,
                OutageKind::RedisPaused,
                OutageKind::Queue,
                OutageKind::Throttle,
                OutageKind::Group(rng.index(4)),
                OutageKind::DeadLetters,
                OutageKind::QueueSlow,
                OutageKind::ThrottleHalf,
                OutageKind::RedisSlow,
                OutageKind::RedisRefusesWrites,
                OutageKind::RedisKey(rng.index(4)),
                OutageKind::InvalidGroup(rng.index(4)),
            ];
            if loses {
                kinds.extend([OutageKind::RedisLosesAll, OutageKind::RedisFailsOver]);
            }
            let from = rng.below(faults_end);
            let to = (from + rng.between(SECOND, 10 * MINUTE)).min(faults_end);
            LastingFault { kind: rng.pick(&kinds), from, to }
        })
        .collect()
}
