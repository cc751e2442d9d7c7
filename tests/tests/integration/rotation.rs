//! The password of Redis changes while a sandbox and a relay run, twice in a row.

use std::time::Duration;

use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::gateway::GatewayProcess;
use events_harness::lambda::function::{Function, NO_FAILURES};
use events_harness::probes::live::LiveClient;
use events_harness::probes::wait::eventually;
use events_harness::rows::tvl;
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs::SqsEmulator;

use crate::relay::{FaultyWorld, PRICES, insert_prices, raise_prices};

const SOON: Duration = Duration::from_secs(30);

/// Redis with a user whose password changes, and the secret that has it.
struct World {
    redis: RedisServer,
    secrets: &'static SqsEmulator,
    arn: String,
}

impl World {
    async fn new() -> Self {
        let (redis, secrets) = (RedisServer::start().await, SqsEmulator::shared().await);
        let arn = secrets.create_secret("rotation", &url(&redis, "first")).await;
        let world = Self { redis, secrets, arn };
        world.set_password("first").await;
        world
    }

    async fn set_password(&self, password: &str) {
        let password = format!(">{password}");
        let user = ["ACL", "SETUSER", "app", "on", "resetpass", &password, "~*", "&*", "+@all"];
        assert_eq!(self.redis.cmd(&user).await.text().as_deref(), Some("OK"));
        // What was connected with the old one is no more, as after a failover.
        self.redis.cmd(&["CLIENT", "KILL", "USER", "app"]).await;
    }

    async fn rotate(&self, password: &str) {
        self.secrets.change_secret(&self.arn, &url(&self.redis, password)).await;
        self.set_password(password).await;
    }

    fn env(&self) -> Vec<(&'static str, &str)> {
        vec![
            // As if it were not set.
            ("REDIS_URL", ""),
            ("REDIS_URL_SECRET_ARN", &*self.arn),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", self.secrets.endpoint()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
    }
}

fn url(redis: &RedisServer, password: &str) -> String {
    format!("redis://app:{password}@127.0.0.1:{}", redis.port())
}

#[tokio::test]
async fn a_running_sandbox_goes_on_with_the_new_password() {
    let (world, sqs) = (World::new().await, FakeSqs::start().await);
    let env = world.env();
    let function = Function::with_fake_sqs(&sqs, &env).await;
    let hour = |hour: i64| [tvl("1", hour, hour as u64 + 1, 1e6 * (hour + 1) as f64, &[])];
    assert_eq!(function.response_to(&hour(0)).await, NO_FAILURES);
    for (n, password) in [(1, "second"), (2, "third")] {
        world.rotate(password).await;
        // In the invocation that meets it.
        assert_eq!(function.response_to(&hour(n)).await, NO_FAILURES, "{}", function.bootstrap.output());
        assert_eq!(sqs.accepted().len() as i64, n);
    }
    let log = function.bootstrap.output();
    assert_eq!(log.matches("its secret has a new one").count(), 2, "{log}");
    for password in ["first", "second", "third"] {
        assert!(!log.contains(&format!(":{password}@")), "{log}");
    }
}

/// The password has changed, and the secret has not yet: the batch fails, and a later delivery of it succeeds.
#[tokio::test]
async fn a_secret_that_changes_later_loses_no_record() {
    let (world, sqs) = (World::new().await, FakeSqs::start().await);
    let env = world.env();
    let function = Function::with_fake_sqs(&sqs, &env).await;
    let rows = |hour: i64| [tvl("1", hour, hour as u64 + 1, 1e6 * (hour + 1) as f64, &[])];
    assert_eq!(function.response_to(&rows(0)).await, NO_FAILURES);
    world.set_password("second").await;
    assert_ne!(function.response_to(&rows(1)).await, NO_FAILURES);
    world.secrets.change_secret(&world.arn, &url(&world.redis, "second")).await;
    let function = &function;
    eventually(SOON, || async { function.response_to(&rows(1)).await == NO_FAILURES }).await;
    assert_eq!(sqs.accepted().len(), 1);
}

#[tokio::test]
async fn a_relay_goes_on_with_the_new_password() {
    let (world, road) = (World::new().await, FaultyWorld::new().await);
    insert_prices(&road.database).await;
    let env = world.env();
    let mut relay = road.relay(&env);
    relay.holds(16).await;
    for (n, password) in [(1, "second"), (2, "third")] {
        world.rotate(password).await;
        raise_prices(&road.database).await;
        eventually(SOON, || async { road.sqs.events().len() == n * PRICES }).await;
    }
    assert_eq!(relay.log().matches("its secret has a new one").count(), 2, "{}", relay.log());
}

/// The gateway links no AWS SDK. It ends when its password was changed, and what runs it starts it with the current secret.
#[tokio::test]
async fn a_gateway_ends_so_that_it_is_started_with_the_new_password() {
    let world = World::new().await;
    let mut gateway = GatewayProcess::ready(&url(&world.redis, "first"), &[]).await;
    let mut client = LiveClient::welcomed(gateway.port()).await;
    world.rotate("second").await;
    assert_eq!(client.closed().await.0, 1012, "clients are told to come back");
    let status = gateway.wait(SOON).await.expect("it ends");
    assert_eq!(status.code(), Some(1), "{}", gateway.log());
    assert!(gateway.log().contains("the secret has another one by now"), "{}", gateway.log());

    // With a password that never worked it stays: somebody has to look.
    let gateway = GatewayProcess::start(&url(&world.redis, "wrong"), &[]);
    eventually(SOON, || async { gateway.log().contains("wrong user or password") }).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(gateway.get("/healthz").await.status, 200);
}
