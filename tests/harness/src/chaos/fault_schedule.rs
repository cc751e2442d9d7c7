//! The schedule of the faults of Redis and SQS: spread evenly over the stream, in an order that the seed decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::random::Random;

use super::mapping::Mapping;
use super::redis::FaultyRedis;
use super::sqs::FaultySqs;
use super::time_lost::FaultSpan;
use super::{ChaosPlan, RedisData};

/// The interval between checks of the progress.
const POLL: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug)]
enum Fault {
    RedisKilled,
    RedisFailsOver,
    RedisPaused,
    RedisCut,
    RedisReset,
    RedisDelayed,
    RedisStalled,
    RedisLosesScripts,
    RedisStraggles,
    SqsOutage,
    SqsReset,
    SqsThrottles,
}

impl Fault {
    /// Its name in the report.
    fn name(self) -> &'static str {
        match self {
            Self::RedisKilled => "redis killed",
            Self::RedisFailsOver => "redis failed over",
            Self::RedisPaused => "redis paused",
            Self::RedisCut => "redis cut",
            Self::RedisReset => "redis reset",
            Self::RedisDelayed => "redis delayed",
            Self::RedisStalled => "redis stalled",
            Self::RedisLosesScripts => "scripts lost",
            Self::RedisStraggles => "stragglers",
            Self::SqsOutage => "sqs outage",
            Self::SqsReset => "sqs reset",
            Self::SqsThrottles => "sqs throttled",
        }
    }
}

/// The faults of one round. [`FaultSchedule::new`] adds kills of Redis.
const ROUND: [Fault; 11] = [
    Fault::RedisPaused,
    Fault::RedisCut,
    Fault::RedisCut,
    Fault::RedisReset,
    Fault::RedisDelayed,
    Fault::RedisStalled,
    Fault::RedisLosesScripts,
    Fault::RedisStraggles,
    Fault::RedisStraggles,
    Fault::SqsOutage,
    Fault::SqsReset,
];
/// Minimum kills per run while Redis keeps its data.
const LEAST_KILLS: usize = 5;
/// Kills of a Redis that keeps its data, in each round.
const KILLS_PER_ROUND: usize = 2;

/// The faults in order, each with the number of records that must be done before it starts.
pub(super) struct FaultSchedule {
    faults: Vec<(usize, Fault)>,
    throttling: Duration,
}

impl FaultSchedule {
    pub(super) fn new(plan: &ChaosPlan, records: usize) -> Self {
        let mut random = Random::new(plan.seed.wrapping_mul(11));
        let (kind, kills) = match plan.redis_data {
            RedisData::Kept => (Fault::RedisKilled, LEAST_KILLS.max(KILLS_PER_ROUND * plan.rounds)),
            RedisData::Emptied => (Fault::RedisKilled, plan.losses),
            RedisData::FailedOver => (Fault::RedisFailsOver, plan.losses),
        };
        let mut faults = ROUND.repeat(plan.rounds);
        random.shuffle(&mut faults);
        // Spread the kills evenly among the other faults, so that Redis has new data to lose each time.
        for kill in 0..kills {
            let place = (2 * kill + 1) * faults.len() / (2 * kills);
            faults.insert(place.min(faults.len()), kind);
        }
        faults.insert(faults.len() / 2, Fault::SqsThrottles);
        let count = faults.len() + 1;
        let due = |(index, fault)| ((index + 1) * records / count, fault);
        Self { faults: faults.into_iter().enumerate().map(due).collect(), throttling: plan.throttling }
    }

    /// Runs all faults in order, each when it is due. The stream waits for a late fault, so that each fault meets
    /// traffic. Returns when each fault occurred.
    pub(super) async fn run(
        self,
        mut redis: FaultyRedis,
        queue: Arc<FaultySqs>,
        mapping: Arc<Mapping>,
    ) -> (FaultyRedis, Vec<FaultSpan>) {
        let mut spans = Vec::new();
        let mut faults = self.faults.into_iter().peekable();
        mapping.pause_at(faults.peek().map_or(usize::MAX, |(due, _)| *due));
        while let Some((due, fault)) = faults.next() {
            while mapping.done() < due {
                tokio::time::sleep(POLL).await;
            }
            mapping.pause_at(faults.peek().map_or(usize::MAX, |(due, _)| *due));
            let from = Instant::now();
            let mut lasts = None;
            match fault {
                Fault::RedisKilled => redis.kill().await,
                Fault::RedisFailsOver => redis.fail_over().await,
                Fault::RedisPaused => redis.pause().await,
                Fault::RedisCut => redis.cut().await,
                Fault::RedisReset => redis.reset().await,
                Fault::RedisDelayed => redis.delay().await,
                Fault::RedisStalled => redis.stall().await,
                Fault::RedisLosesScripts => redis.lose_scripts().await,
                Fault::RedisStraggles => redis.straggle().await,
                Fault::SqsOutage => queue.outage().await,
                Fault::SqsReset => queue.reset().await,
                // The other faults go on meanwhile.
                Fault::SqsThrottles => {
                    queue.throttle_half_until(from + self.throttling);
                    lasts = Some(self.throttling);
                }
            }
            let to = lasts.map_or_else(Instant::now, |lasts| from + lasts);
            spans.push(FaultSpan { kind: fault.name(), from, to });
        }
        (redis, spans)
    }
}
