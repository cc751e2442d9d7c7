//! Every part goes down in the middle of a replay, one after the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events_harness::probes::wait::eventually;
use events_harness::servers::postgres::{Database, PostgresServer};
use sqlx::AssertSqlSafe;
use tokio::time::sleep;

use super::FaultyWorld;
use super::chain::{Story, assert_complete, queued, stored};

const WRITERS: usize = 4;
const TOKENS: usize = 10;
/// Changes of each token.
const CHANGES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(40);

/// Raises the prices of its tokens, one at a time. A statement may be sent twice: the second does nothing.
async fn write(database: &Database, writer: usize, written: &AtomicU64) {
    for price in 2..=CHANGES + 1 {
        for token in 0..TOKENS {
            let statement = format!(
                "UPDATE realtime.prices SET price = {price} WHERE token_id = 'w{writer}t{token}' AND price < {price}"
            );
            eventually(PATIENCE, || sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&database.pool))
                .await;
            written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_every_part_lose_nothing_and_keep_the_order() {
    let mut server = PostgresServer::start().await;
    let database = server.database().await;
    events_relay::postgres::migrate(&database.pool).await.unwrap();
    let mut world = FaultyWorld::of(database.clone()).await;
    let tokens = format!(
        "INSERT INTO realtime.prices SELECT format('w%st%s', w, t), 1
         FROM generate_series(0, {}) AS w, generate_series(0, {}) AS t",
        WRITERS - 1,
        TOKENS - 1
    );
    database.run(&tokens).await;
    let mut relay = world.relay(&[]);
    relay.holds(16).await;
    let written = AtomicU64::new(0);
    let all = (WRITERS * TOKENS * CHANGES) as u64;
    let reaches = async |quarters: u64| {
        eventually(PATIENCE, || async { written.load(Ordering::Relaxed) >= all * quarters / 4 }).await;
    };
    let faults = async {
        reaches(1).await;
        server.crash_and_restart().await;
        reaches(2).await;
        world.redis.restart().await;
        reaches(3).await;
        world.sqs.go_down();
        sleep(Duration::from_millis(1_500)).await;
        world.sqs.heal();
        // In the middle of the backlog that this has left.
        let before = world.sqs.events().len();
        eventually(PATIENCE, || async { world.sqs.events().len() > before + 50 }).await;
        relay.kill();
        relay = world.relay(&[]);
    };
    let writers = async {
        tokio::join!(
            write(&database, 0, &written),
            write(&database, 1, &written),
            write(&database, 2, &written),
            write(&database, 3, &written)
        )
    };
    tokio::join!(faults, writers);
    eventually(PATIENCE, || async {
        let waiting = database.number("SELECT sum(changes + aside) FROM realtime.backlog").await;
        if waiting == 0 { Ok(()) } else { Err(format!("{waiting} changes wait")) }
    })
    .await;
    let last = (CHANGES + 1) as f64;
    let stories: BTreeMap<_, _> = stored(&database)
        .await
        .into_keys()
        .map(|key| (key, Story { first: 1.0, changes: CHANGES, last }))
        .collect();
    println!("{} messages sent again", world.sqs.duplicates());
    assert_complete("queue", queued(&world.sqs.events()), &stories);
    assert!(world.sqs.dead_letters().is_empty());
    let cached = world.redis.cmd(&["GET", "price:w0t0"]).await.text().unwrap_or_default();
    assert!(cached.contains("\"price\":101"), "{cached}");
}
