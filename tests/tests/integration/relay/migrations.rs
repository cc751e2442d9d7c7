//! The schema comes, goes and comes again, and a relay waits until it fits.

use std::time::Duration;

use events_harness::probes::wait::eventually;
use events_harness::servers::postgres::{Database, PostgresServer};
use events_relay::postgres::{applied, latest, migrate, migrate_down};

use super::{FaultyWorld, PRICES, insert_prices, raise_prices};

const SOON: Duration = Duration::from_secs(20);

async fn empty_database() -> Database {
    PostgresServer::shared().await.database().await
}

async fn left(database: &Database) -> i64 {
    let left = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'realtime')
        + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'realtime%')";
    database.number(left).await
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_down_and_up_on_an_empty_database() {
    let database = empty_database().await;
    let pool = &database.pool;
    assert_eq!(applied(pool).await, Ok(0));
    for _ in 0..2 {
        migrate(pool).await.unwrap();
        assert_eq!(applied(pool).await, Ok(latest()));
        for version in (0..latest()).rev() {
            migrate_down(pool, version).await.unwrap();
            assert_eq!(applied(pool).await, Ok(version));
        }
        assert_eq!(left(&database).await, 0);
    }
    let error = migrate_down(pool, latest() + 1).await.unwrap_err();
    assert_eq!(error, format!("version is {}; it accepts 0 to {}", latest() + 1, latest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_down_and_up_while_tables_are_watched_and_changes_wait() {
    let database = super::database().await;
    database
        .run(
            "CREATE TABLE mine (token text PRIMARY KEY, usd numeric);
             SELECT realtime.watch('mine', 'price', '{\"id\": \"token\", \"value\": \"usd\"}');
             INSERT INTO mine VALUES ('a', 1);
             UPDATE mine SET usd = 2",
        )
        .await;
    assert_eq!(database.number("SELECT count(*) FROM realtime.outbox").await, 1);
    // Everything but the tables of the schema itself, and back: what waits stays.
    migrate_down(&database.pool, 3).await.unwrap();
    migrate(&database.pool).await.unwrap();
    assert_eq!(database.number("SELECT sum(changes) FROM realtime.backlog").await, 1);

    migrate_down(&database.pool, 0).await.unwrap();
    assert_eq!(left(&database).await, 0);
    database.run("UPDATE mine SET usd = 3").await;
    assert_eq!(database.text("SELECT usd FROM mine").await, "3");
    migrate(&database.pool).await.unwrap();
    assert_eq!(
        database.number("SELECT count(*) FROM realtime.watched WHERE relation = 'mine'::regclass").await,
        0
    );
    assert_eq!(database.number("SELECT sum(changes) FROM realtime.backlog").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_that_migrate_at_once_both_succeed() {
    let database = empty_database().await;
    for version in [0, 2] {
        let results = tokio::join!(migrate(&database.pool), migrate(&database.pool), migrate(&database.pool));
        assert_eq!(results, (Ok(()), Ok(()), Ok(())));
        assert_eq!(applied(&database.pool).await, Ok(latest()));
        migrate_down(&database.pool, version).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program_is_refused_and_stays_as_it_is() {
    let database = super::database().await;
    database
        .run(
            "CREATE TABLE kept AS SELECT * FROM realtime_migrations.applied;
             UPDATE realtime_migrations.applied SET checksum = '\\x00' WHERE version = 2",
        )
        .await;
    let changed = "migration 2 was applied in another form than this program has; nothing was changed. Use the program that \
                   applied it, or take it back with that program first";
    assert_eq!(migrate(&database.pool).await.unwrap_err(), changed);
    database
        .run(
            "UPDATE realtime_migrations.applied AS a SET checksum = k.checksum FROM kept AS k WHERE a.version = k.version;
             INSERT INTO realtime_migrations.applied SELECT 99, description, installed_on, success, checksum, execution_time FROM kept LIMIT 1",
        )
        .await;
    let newer =
        "the database has migration 99, which this program does not know: it is older than the database";
    assert_eq!(migrate(&database.pool).await.unwrap_err(), newer);
    assert_eq!(migrate_down(&database.pool, 0).await.unwrap_err(), newer);
    assert_eq!(database.number("SELECT count(*) FROM realtime.lease").await, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_waits_for_the_schema() {
    let world = FaultyWorld::of(empty_database().await).await;
    let mut relay = world.relay(&[]);
    eventually(SOON, || async { relay.log().contains("the schema is missing or old: run `relay migrate`") })
        .await;
    assert_eq!(relay.get("/health/ready").await.map(|(code, _)| code), Some(503));
    assert_eq!(relay.get("/health/live").await.map(|(code, _)| code), Some(200));
    migrate(&world.database.pool).await.unwrap();
    relay.holds(16).await;
    eventually(SOON, || async { relay.get("/health/ready").await.is_some_and(|(code, _)| code == 200) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_from_a_dump_a_relay_waits_for_after_restore_and_delivers_what_waited() {
    let world = FaultyWorld::new().await;
    insert_prices(&world.database).await;
    raise_prices(&world.database).await;
    // As if the dump were of a server that has counted further.
    world
        .database
        .run(
            "UPDATE realtime.outbox SET xid = '900000000000';
             UPDATE realtime.lease SET relay = 'of-another-server', done = '900000000000:900000000000:';
             INSERT INTO realtime.relay VALUES ('of-another-server', now() + interval '1 day')",
        )
        .await;
    let mut relay = world.relay(&[]);
    eventually(SOON, || async { relay.log().contains("run `SELECT realtime.after_restore()`") }).await;
    assert_eq!(world.database.number("SELECT count(*) FROM realtime.relay").await, 1);
    world.database.run("SELECT realtime.after_restore()").await;
    relay.holds(16).await;
    eventually(SOON, || async { world.sqs.events().len() == PRICES }).await;
    raise_prices(&world.database).await;
    eventually(SOON, || async { world.sqs.events().len() == 2 * PRICES }).await;
}
