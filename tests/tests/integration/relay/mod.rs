//! PostgreSQL as a source: detection by the triggers, and the road from the outbox to Redis and SQS.

mod agreement;
mod road;

use events_harness::relay::RelayProcess;
use events_harness::servers::postgres::{Database, PostgresServer};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs::{Queue, SqsEmulator};

/// Everything that a relay needs: a database with the schema, a Redis server and queues.
struct World {
    database: Database,
    redis: RedisServer,
    sqs: &'static SqsEmulator,
    queue: Queue,
    dead_letters: Queue,
}

/// A new database with the schema.
async fn database() -> Database {
    let database = PostgresServer::shared().await.database().await;
    events_relay::postgres::migrate(&database.pool).await.unwrap();
    database
}

impl World {
    async fn new() -> Self {
        let sqs = SqsEmulator::shared().await;
        Self {
            database: database().await,
            redis: RedisServer::start().await,
            sqs,
            queue: sqs.create_fifo_queue("relay", &[]).await,
            dead_letters: sqs.create_fifo_queue("relay-dlq", &[]).await,
        }
    }

    /// Starts a relay. `more` overrides its settings.
    fn relay(&self, more: &[(&str, &str)]) -> RelayProcess {
        let redis = self.redis.url();
        let own = [
            ("DATABASE_URL", self.database.url.as_str()),
            ("REDIS_URL", &redis),
            ("EVENTS_QUEUE_URL", &self.queue.url),
            ("EVENTS_DLQ_URL", &self.dead_letters.url),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.endpoint()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        RelayProcess::start(&own.iter().chain(more).copied().collect::<Vec<_>>())
    }
}
