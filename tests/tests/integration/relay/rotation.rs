//! The outbox is emptied while changes come in, whatever transactions somebody holds open.

use std::cell::Cell;
use std::time::Duration;

use events_harness::probes::wait::eventually;
use sqlx::{Connection, PgConnection};

use super::{FaultyWorld, PRICES, insert_prices, raise_prices};

const ROUNDS: usize = 5;
const STATEMENTS: usize = 25;

/// The sum of a figure of both tables of the outbox.
fn of_both(figure: &str) -> String {
    format!("SELECT sum({figure}(c)) FROM unnest('{{realtime.outbox_0,realtime.outbox_1}}'::regclass[]) AS c")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_stays_small_and_leaves_no_dead_rows_beside_an_open_transaction() {
    let world = FaultyWorld::new().await;
    let database = &world.database;
    insert_prices(database).await;
    let mut relay = world.relay(&[]);
    relay.holds(16).await;
    let mut foreign = PgConnection::connect(&database.url).await.unwrap();
    let mut foreign = foreign.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    sqlx::query("SELECT pg_current_snapshot()::text, count(*) FROM realtime.threshold")
        .execute(&mut *foreign)
        .await
        .unwrap();
    let (mut largest, switched) = (0, Cell::new(0));
    for _ in 0..ROUNDS {
        for _ in 0..STATEMENTS {
            raise_prices(database).await;
        }
        largest = largest.max(database.number(&of_both("pg_total_relation_size")).await);
        // The relay empties the outbox too, so either may do it.
        eventually(Duration::from_secs(20), || async {
            let done = database.text("SELECT realtime.rotate(1)").await;
            switched.set(switched.get() + usize::from(done == "switched"));
            database.number("SELECT count(*) FROM realtime.outbox").await == 0
        })
        .await;
    }
    let switched = switched.get();
    println!("{switched} times switched; largest size {largest} bytes");
    assert_eq!(world.sqs.events().len(), ROUNDS * STATEMENTS * PRICES);
    assert!(switched >= ROUNDS, "{switched}");
    assert!(largest < 1_000_000, "{largest}");
    assert_eq!(database.number(&of_both("pg_stat_get_dead_tuples")).await, 0);
    foreign.rollback().await.unwrap();
}
