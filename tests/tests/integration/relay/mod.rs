//! PostgreSQL as a source: detection by the triggers, and the road from the outbox to Redis and SQS.

mod agreement;
mod aside;
mod chain;
mod migrations;
mod restarts;
mod road;
mod roles;
mod rotation;
mod same_events;
mod takeover;
mod tls;
mod writers;

use events_core::source::postgres::OutboxEntry;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::relay::RelayProcess;
use events_harness::servers::postgres::{Database, PostgresServer};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs::{Queue, SqsEmulator};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// Everything that a relay needs: a database with the schema, a Redis server and queues.
struct World {
    database: Database,
    redis: RedisServer,
    sqs: &'static SqsEmulator,
    queue: Queue,
    dead_letters: Queue,
}

/// The same with queues that fail where a test scripts it.
pub(crate) struct FaultyWorld {
    pub(crate) database: Database,
    redis: RedisServer,
    pub(crate) sqs: FakeSqs,
}

/// How many prices [`insert_prices`] inserts: one in each lane.
pub(crate) const PRICES: usize = 16;

pub(crate) async fn insert_prices(database: &Database) {
    let all = "INSERT INTO realtime.prices SELECT DISTINCT ON (realtime.lane('price', 't' || n)) 't' || n, 1
               FROM generate_series(1, 400) AS n";
    database.run(all).await;
    assert_eq!(database.number("SELECT count(*) FROM realtime.prices").await, PRICES as i64);
}

/// A significant change of each price.
pub(crate) async fn raise_prices(database: &Database) {
    database.run("UPDATE realtime.prices SET price = price + 1").await;
}

/// A new database with the schema.
async fn database() -> Database {
    let database = PostgresServer::shared().await.database().await;
    events_relay::postgres::migrate(&database.pool).await.unwrap();
    database
}

/// What is in the outbox, in the order in which a relay reads it.
async fn outbox_entries(database: &Database) -> Vec<OutboxEntry> {
    let entries = "SELECT kind, id, version, at, created, silent, body::text AS body FROM realtime.outbox
        ORDER BY kind, id, version, at";
    let rows = sqlx::query(entries).fetch_all(&database.pool).await.unwrap();
    let entry = |row: &PgRow| OutboxEntry {
        kind: row.get("kind"),
        id: row.get("id"),
        version: row.get("version"),
        at: row.get("at"),
        created: row.get("created"),
        silent: row.get("silent"),
        body: row.get("body"),
    };
    rows.iter().map(entry).collect()
}

/// Starts a relay between a database and a Redis server. `more` has the settings of its queues, and overrides others.
fn relay(database: &Database, redis: &RedisServer, more: &[&[(&str, &str)]]) -> RelayProcess {
    let redis = redis.url();
    let own = [
        ("DATABASE_URL", database.url.as_str()),
        ("REDIS_URL", &redis),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    RelayProcess::start(&[&own, &more.concat()[..]].concat())
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
        let queues = [
            ("EVENTS_QUEUE_URL", self.queue.url.as_str()),
            ("EVENTS_DLQ_URL", &self.dead_letters.url),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.endpoint()),
        ];
        relay(&self.database, &self.redis, &[&queues, more])
    }
}

impl FaultyWorld {
    pub(crate) async fn new() -> Self {
        Self::of(database().await).await
    }

    async fn of(database: Database) -> Self {
        Self { database, redis: RedisServer::start().await, sqs: FakeSqs::start().await }
    }

    /// Starts a relay. `more` overrides its settings.
    pub(crate) fn relay(&self, more: &[(&str, &str)]) -> RelayProcess {
        let (endpoint, events, dead_letters) =
            (self.sqs.endpoint(), self.sqs.events_url(), self.sqs.dead_letters_url());
        let queues = [
            ("EVENTS_QUEUE_URL", events.as_str()),
            ("EVENTS_DLQ_URL", &dead_letters),
            ("AWS_ENDPOINT_URL_SQS", &endpoint),
        ];
        relay(&self.database, &self.redis, &[&queues, more])
    }
}
