//! Many writers and relays that are killed: nothing is lost, and commits keep their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::eventually;
use events_harness::random::Random;
use events_harness::relay::RelayProcess;
use events_harness::servers::postgres::Database;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::FaultyWorld;
use super::chain::{Key, Story, assert_complete, published, queued, stored};

const WRITERS: u64 = 20;
/// First, the relays live, and most changes are delivered while others are being made.
const LIVE: Duration = Duration::from_secs(6);
const LOAD: Duration = Duration::from_secs(16);
const SEED: u64 = 20_261_127;

const PRICES: &str = "UPDATE realtime.prices AS p SET price = n.value
    FROM unnest($1::text[], $2::float8[]) AS n(key, value) WHERE 'price ' || p.token_id = n.key";
const TVL: &str = "UPDATE realtime.tvl AS t SET tvl = n.value
    FROM unnest($1::text[], $2::float8[]) AS n(key, value) WHERE format('tvl %s %s', t.protocol_id, t.chain) = n.key";

/// What the writers share.
#[derive(Default)]
struct Load {
    last_value: AtomicU64,
    /// Changes that were committed.
    committed: Mutex<BTreeMap<Key, usize>>,
    deadlocks: AtomicU64,
}

impl Load {
    /// A value that nothing else has. Any two make a significant change.
    fn value(&self, key: &str) -> f64 {
        let number = 1 + self.last_value.fetch_add(1, Ordering::Relaxed);
        number as f64 * if key.starts_with("tvl") { 10_000.0 } else { 1.0 }
    }

    /// Changes some values in one statement.
    async fn change(&self, connection: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
        let values: Vec<f64> = keys.iter().map(|key| self.value(key)).collect();
        let update = sqlx::query(if keys[0].starts_with("tvl") { TVL } else { PRICES });
        let updated = update.bind(keys).bind(values).execute(connection).await?.rows_affected();
        assert_eq!(updated, keys.len() as u64, "{keys:?}");
        Ok(())
    }

    /// One transaction. Returns what it changed.
    async fn transaction(
        &self,
        random: &mut Random,
        connection: &mut PgConnection,
        own: u64,
    ) -> Result<Vec<Key>, sqlx::Error> {
        // In order, or most of the time would go into deadlocks.
        let keys: BTreeSet<Key> = (0..=random.below(4)).map(|_| key(random, own)).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        let mut changed = Vec::new();
        let mut transaction = connection.begin().await?;
        for statement in keys.chunk_by(|key, next| key[..3] == next[..3] && key.len() % 2 == 0) {
            pause(random).await;
            match random.below(4) {
                0 => {
                    let mut savepoint = transaction.begin().await?;
                    self.change(&mut savepoint, statement).await?;
                    savepoint.rollback().await?;
                    continue;
                }
                1 => {
                    let mut savepoint = transaction.begin().await?;
                    self.change(&mut savepoint, statement).await?;
                    savepoint.commit().await?;
                }
                _ => self.change(&mut transaction, statement).await?,
            }
            changed.extend_from_slice(statement);
        }
        pause(random).await;
        if random.below(5) == 0 {
            transaction.rollback().await?;
            return Ok(Vec::new());
        }
        transaction.commit().await?;
        Ok(changed)
    }

    async fn write(&self, url: &str, own: u64, until: Instant) {
        let mut random = Random::new(SEED + own);
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query("SET deadlock_timeout = '20ms'").execute(&mut connection).await.unwrap();
        while Instant::now() < until {
            match self.transaction(&mut random, &mut connection, own).await {
                Ok(changed) => {
                    let mut committed = self.committed.lock().unwrap();
                    changed.into_iter().for_each(|key| *committed.entry(key).or_default() += 1);
                }
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("40P01") => {
                    self.deadlocks.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("{error}"),
            }
            pause(&mut random).await;
        }
    }
}

/// A value that only one writer changes, or one of eleven that all do.
fn key(random: &mut Random, own: u64) -> Key {
    match random.below(4) {
        0 => format!("price own{own}"),
        1 => format!("price shared{}", random.below(5)),
        2 => format!("tvl own{own} "),
        _ => format!("tvl shared{} {}", random.below(2), random.one_of(&["", "base", "xdai"])),
    }
}

async fn pause(random: &mut Random) {
    sleep(Duration::from_micros(random.below(8_000))).await;
}

/// The bug that the outbox avoids: a reader that remembers the greatest number it has seen. Returns the numbers.
async fn naive_reader(database: &Database, ended: &AtomicBool) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    loop {
        let is_last = ended.load(Ordering::Relaxed);
        let new = sqlx::query_scalar::<_, i64>("SELECT seq FROM realtime.outbox WHERE seq > $1")
            .bind(seen.last().copied().unwrap_or_default());
        seen.extend(new.fetch_all(&database.pool).await.unwrap());
        if is_last {
            return seen;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Starts three relays, and waits until they share the lanes.
async fn start_relays(world: &FaultyWorld) -> Vec<RelayProcess> {
    let relays = (0..3).map(|_| world.relay(&[])).collect();
    eventually(Duration::from_secs(60), || async {
        world.database.number("SELECT count(*) FROM realtime.lease WHERE relay IS NOT NULL").await == 16
    })
    .await;
    relays
}

/// Kills one of the relays each second, and starts another. Most of their lanes are nobody's then.
async fn keep_killing(world: &FaultyWorld, relays: &mut Vec<RelayProcess>, until: Instant) {
    let mut random = Random::new(SEED);
    while Instant::now() < until {
        let mut killed = relays.swap_remove(random.below(3) as usize);
        killed.kill();
        relays.push(world.relay(&[]));
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_writers_and_killed_relays_lose_nothing_and_keep_the_order_of_commits() {
    let world = FaultyWorld::new().await;
    let database = &world.database;
    database
        .run(
            "ALTER TABLE realtime.outbox ADD COLUMN seq bigserial;
             CREATE INDEX ON realtime.outbox (seq);
             INSERT INTO realtime.prices SELECT 'shared' || n, 0 FROM generate_series(0, 4) AS n;
             INSERT INTO realtime.prices SELECT 'own' || n, 0 FROM generate_series(0, 19) AS n;
             INSERT INTO realtime.tvl SELECT 'shared' || n, chain, 0 FROM generate_series(0, 1) AS n, unnest('{\"\",base,xdai}'::text[]) AS chain;
             INSERT INTO realtime.tvl SELECT 'own' || n, '', 0 FROM generate_series(0, 19) AS n",
        )
        .await;
    let subscriber = Subscriber::psubscribe(&world.redis.url(), "events:*").await;
    let (load, ended) = (Arc::new(Load::default()), AtomicBool::new(false));
    let mut relays = start_relays(&world).await;
    let until = Instant::now() + LOAD;
    let writers = async {
        let mut writers = JoinSet::new();
        for own in 0..WRITERS {
            let (load, url) = (Arc::clone(&load), database.url.clone());
            writers.spawn(async move { load.write(&url, own, until).await });
        }
        writers.join_all().await;
        ended.store(true, Ordering::Relaxed);
    };
    let killing = async {
        sleep(LIVE).await;
        keep_killing(&world, &mut relays, until).await;
    };
    let (seen, (), ()) = tokio::join!(naive_reader(database, &ended), writers, killing);
    eventually(Duration::from_secs(40), || async {
        let waiting = database.number("SELECT sum(changes + aside) FROM realtime.backlog").await;
        if waiting == 0 { Ok(()) } else { Err(format!("{waiting} changes wait")) }
    })
    .await;
    let versions = "SELECT sum(version - 1) FROM (
            SELECT version FROM realtime.subject UNION ALL SELECT version FROM realtime.last_price
        ) AS subjects";
    let entries = database.number(versions).await;
    let committed = load.committed.lock().unwrap().clone();
    let stories = stored(database).await.into_iter().map(|(key, last)| {
        let changes = committed.get(&key).copied().unwrap_or_default();
        (key, Story { first: 0.0, changes, last })
    });
    let stories: BTreeMap<Key, Story> = stories.collect();
    assert_complete("queue", queued(&world.sqs.events()), &stories);
    assert_complete("Redis", published(&subscriber.messages()), &stories);
    eventually(Duration::from_secs(10), || async {
        database.text("SELECT realtime.rotate(1)").await;
        database.number("SELECT count(*) FROM realtime.outbox").await == 0
    })
    .await;
    let lost = entries - seen.len() as i64;
    println!(
        "{} changes in {entries} entries, {} deadlocks, {} messages sent again; a reader with a cursor lost {lost}",
        committed.values().sum::<usize>(),
        load.deadlocks.load(Ordering::Relaxed),
        world.sqs.duplicates(),
    );
    assert!(lost > 0, "the load is too light: even a reader with a cursor lost nothing");
}
