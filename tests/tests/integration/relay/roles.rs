//! Who may do what: a relay and an application each with its own login.

use std::time::Duration;

use events_harness::faults::sqs_faults::SqsFault;
use events_harness::probes::wait::eventually;
use events_harness::servers::postgres::Database;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::FaultyWorld;

const SOON: Duration = Duration::from_secs(20);

/// The same database for another user, who is created with these grants. `ROLE` in them is its name.
async fn login(database: &Database, grants: &str) -> Database {
    let name = format!("login_{}", database.text("SELECT current_database()").await);
    database.run(&format!("CREATE ROLE {name} LOGIN; {}", grants.replace("ROLE", &name))).await;
    let url = database.url.replace("postgres@", &format!("{name}@"));
    Database { pool: sqlx::PgPool::connect_lazy(&url).unwrap(), url }
}

async fn refused(database: &Database, statements: &[&str]) {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for statement in statements {
        let result = sqlx::raw_sql(AssertSqlSafe((*statement).to_owned())).execute(&mut connection).await;
        let error = result.err().unwrap_or_else(|| panic!("{statement} is allowed"));
        assert!(error.to_string().contains("permission denied"), "{statement}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_realtime_relay_can_run_the_relay_and_change_no_data() {
    let owner = super::database().await;
    owner.run("INSERT INTO realtime.prices VALUES ('a', 1), ('bad', 1)").await;
    let world = FaultyWorld::of(login(&owner, "GRANT realtime_relay TO ROLE").await).await;
    let mut relay = world.relay(&[]);
    relay.holds(16).await;
    world.sqs.choose_faults(|_| Some(SqsFault::refuse_group("token:bad")));
    owner.run("UPDATE realtime.prices SET price = 2").await;
    eventually(SOON, || async {
        world.sqs.events().len() == 1 && owner.number("SELECT sum(aside) FROM realtime.backlog").await == 1
    })
    .await;
    world.sqs.heal();
    eventually(SOON, || async {
        world.sqs.events().len() == 2
            && owner.number("SELECT sum(changes + aside) FROM realtime.backlog").await == 0
    })
    .await;
    // Writers move after a minute: let it have passed.
    owner.run("UPDATE realtime.outbox_state SET switched = '-infinity'").await;
    eventually(SOON, || async { owner.number("SELECT count(*) FROM realtime.outbox").await == 0 }).await;
    refused(
        &world.database,
        &[
            "SELECT * FROM realtime.prices",
            "UPDATE realtime.prices SET price = 3",
            "INSERT INTO realtime.outbox SELECT * FROM realtime.outbox",
            "DELETE FROM realtime.outbox",
            "UPDATE realtime.outbox_state SET history_ms = 0",
            "UPDATE realtime.threshold SET percent = 50",
            "DELETE FROM realtime.subject",
            "DELETE FROM realtime.last_price",
            "INSERT INTO realtime.lease (lane) VALUES (1)",
            "SELECT realtime.after_restore()",
            "SELECT realtime.unwatch('realtime.prices')",
        ],
    )
    .await;
    relay.signal("TERM");
    assert!(relay.wait(SOON).await.is_some_and(|status| status.success()));
    assert!(!relay.log().contains("denied"), "{}", relay.log());
    assert_eq!(owner.number("SELECT count(*) FROM realtime.relay").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_needs_only_the_rights_on_its_own_table() {
    let owner = super::database().await;
    owner
        .run(
            "CREATE TABLE mine (token_id text PRIMARY KEY, price numeric);
             SELECT realtime.watch('mine', 'price')",
        )
        .await;
    let application = login(&owner, "GRANT SELECT, INSERT, UPDATE, DELETE ON mine TO ROLE").await;
    application.run("INSERT INTO mine VALUES ('a', 1); UPDATE mine SET price = 2").await;
    assert_eq!(owner.number("SELECT count(*) FROM realtime.outbox").await, 1);
    refused(
        &application,
        &[
            "SELECT * FROM realtime.outbox",
            "SELECT * FROM realtime.outbox_0",
            "INSERT INTO realtime.outbox SELECT 1",
            "SELECT * FROM realtime.prices",
            "SELECT realtime.rotate(1)",
            "SELECT realtime.unwatch('mine')",
        ],
    )
    .await;
}

/// The password of the database comes with the start, as that of a gateway's Redis. A relay whose role is refused ends, and what
/// runs it starts it with the current secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_credential_was_changed_ends() {
    let owner = super::database().await;
    let login = login(&owner, "GRANT realtime_relay TO ROLE").await;
    let name = format!("login_{}", owner.text("SELECT current_database()").await);
    let world = FaultyWorld::of(login).await;
    let mut relay = world.relay(&[]);
    relay.holds(16).await;
    owner.run(&format!("ALTER ROLE {name} NOLOGIN")).await;
    let cut =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{name}'");
    owner.number(&cut).await;
    let status = relay.wait(SOON * 2).await;
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{}", relay.log());
    assert!(relay.log().contains("the secret has another one by now"), "{}", relay.log());
}
