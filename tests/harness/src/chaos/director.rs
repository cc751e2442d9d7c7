//! Which fault of the surroundings comes when: spread over the records of the stream, in an order the seed decides.

use std::sync::Arc;
use std::time::Duration;

use crate::probes::oracle::Random;

use super::mapping::Mapping;
use super::redis::RedisSide;
use super::sqs::SqsSide;
use super::{Mode, Plan};

/// Between two looks at the progress.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug)]
enum Fault {
    RedisKilled,
    RedisFailsOver,
    RedisPaused,
    RedisCut,
    RedisReset,
    RedisDelayed,
    RedisHole,
    RedisForgets,
    RedisStraggles,
    SqsOutage,
    SqsReset,
}

/// What every round holds; Redis is killed besides, see [`Director::new`].
const ROUND: [Fault; 11] = [
    Fault::RedisPaused,
    Fault::RedisCut,
    Fault::RedisCut,
    Fault::RedisReset,
    Fault::RedisDelayed,
    Fault::RedisHole,
    Fault::RedisForgets,
    Fault::RedisStraggles,
    Fault::RedisStraggles,
    Fault::SqsOutage,
    Fault::SqsReset,
];
/// Kills of a Redis that keeps its data, at least; and in each round.
const KILLS: (usize, usize) = (5, 2);

/// The faults, each with the number of records that must be done before.
pub(super) struct Director {
    faults: Vec<(usize, Fault)>,
}

impl Director {
    pub(super) fn new(plan: &Plan, records: usize) -> Self {
        let mut random = Random::new(plan.seed.wrapping_mul(11));
        let (kind, kills) = match plan.mode {
            Mode::Kept => (Fault::RedisKilled, KILLS.0.max(KILLS.1 * plan.rounds)),
            Mode::Emptied => (Fault::RedisKilled, plan.losses),
            Mode::FailedOver => (Fault::RedisFailsOver, plan.losses),
        };
        let mut faults = ROUND.repeat(plan.rounds);
        random.shuffle(&mut faults);
        // Kills evenly among the others: a loss must find something to lose.
        for kill in 0..kills {
            let place = (2 * kill + 1) * faults.len() / (2 * kills);
            faults.insert(place.min(faults.len()), kind);
        }
        let count = faults.len() + 1;
        let due = |(index, fault)| ((index + 1) * records / count, fault);
        Self { faults: faults.into_iter().enumerate().map(due).collect() }
    }

    /// Plays all faults, each when it is due. The stream waits for a fault that is late, so that each meets traffic.
    pub(super) async fn direct(
        self,
        mut redis: RedisSide,
        queue: Arc<SqsSide>,
        mapping: Arc<Mapping>,
    ) -> RedisSide {
        let mut faults = self.faults.into_iter().peekable();
        mapping.hold_at(faults.peek().map_or(usize::MAX, |(due, _)| *due));
        while let Some((due, fault)) = faults.next() {
            while mapping.done() < due {
                tokio::time::sleep(LOOK).await;
            }
            mapping.hold_at(faults.peek().map_or(usize::MAX, |(due, _)| *due));
            match fault {
                Fault::RedisKilled => redis.kill().await,
                Fault::RedisFailsOver => redis.fail_over().await,
                Fault::RedisPaused => redis.pause().await,
                Fault::RedisCut => redis.cut().await,
                Fault::RedisReset => redis.reset().await,
                Fault::RedisDelayed => redis.delay().await,
                Fault::RedisHole => redis.hole().await,
                Fault::RedisForgets => redis.forget().await,
                Fault::RedisStraggles => redis.straggle().await,
                Fault::SqsOutage => queue.outage().await,
                Fault::SqsReset => queue.reset().await,
            }
        }
        redis
    }
}
