//! A database behind TLS.

use std::time::Duration;

use events_harness::probes::wait::eventually;
use events_harness::servers::postgres::PostgresServer;
use events_harness::servers::tls::Identity;
use tempfile::NamedTempFile;

use super::{FaultyWorld, PRICES, insert_prices, raise_prices};

const SOON: Duration = Duration::from_secs(20);

fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_trusts_only_the_authority_in_its_file() {
    let identity = Identity::new();
    let server = PostgresServer::start_with_tls(&identity).await;
    let database = server.database().await;
    events_relay::postgres::migrate(&database.pool).await.unwrap();
    let world = FaultyWorld::of(database).await;
    let (right, other) = (file(&identity.authority), file(&Identity::new().authority));
    let relay = |ca: &NamedTempFile| world.relay(&[("DATABASE_CA_FILE", ca.path().to_str().unwrap())]);
    let of_relays =
        "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'relay'";

    let suspicious = relay(&other);
    let why = eventually(SOON, || async {
        let log = suspicious.log();
        log.lines().find(|line| line.contains("the database cannot be used")).map(str::to_owned)
    })
    .await;
    assert!(why.contains("invalid peer certificate"), "{why}");
    assert_eq!(world.database.number(of_relays).await, 0);
    drop(suspicious);

    let mut trusting = relay(&right);
    trusting.holds(16).await;
    assert!(world.database.number(&format!("{of_relays} AND ssl")).await > 0);
    assert_eq!(world.database.number(&format!("{of_relays} AND NOT ssl")).await, 0);
    insert_prices(&world.database).await;
    raise_prices(&world.database).await;
    eventually(SOON, || async { world.sqs.events().len() == PRICES }).await;
}
