//! Redis cannot be reached, for each cause and by each program: what an operator reads, and how soon. The same for PostgreSQL and
//! SQS, as far as an error of theirs would hide its cause.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use events_adapters::redis::{RedisSettings, RedisStore};
use events_core::plan::Config;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::gateway::GatewayProcess;
use events_harness::lambda::function::Function;
use events_harness::probes::wait::eventually;
use events_harness::processors::{process, with_ports};
use events_harness::relay::{RelayProcess, relay_path};
use events_harness::rows::{sequence_number, tvl};
use events_harness::servers::postgres::PostgresServer;
use events_harness::servers::process::{build, free_port};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::tls::{Certificate, TlsProxy};
use events_processor::memory::MemoryQueue;
use serde_json::Value;

use crate::relay::{FaultyWorld, insert_prices, raise_prices};

/// A cause that lasts is told within a fraction of the time limit of a command. The machine may be busy.
const AT_ONCE: Duration = Duration::from_millis(1_900);
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/stream.jsonl");
const SOON: Duration = Duration::from_secs(30);

/// A cause: a URL, and what must be read.
struct Cause {
    url: String,
    ca_file: Option<String>,
    told: &'static str,
    /// It cannot pass by itself.
    lasts: bool,
}

/// Servers that refuse in each way.
struct Servers {
    plain: RedisServer,
    secret: RedisServer,
    other_name: TlsProxy,
    tls: TlsProxy,
}

impl Servers {
    async fn start() -> Self {
        let plain = RedisServer::start().await;
        let secret = RedisServer::start().await;
        secret.cmd(&["CONFIG", "SET", "requirepass", "secret"]).await;
        let other_name = TlsProxy::start_with(plain.addr(), Certificate::OtherName).await;
        let tls = TlsProxy::start(plain.addr()).await;
        Self { plain, secret, other_name, tls }
    }

    fn causes(&self) -> Vec<Cause> {
        let (plain, secret) = (self.plain.port(), self.secret.port());
        let lasting = |url: String, told| Cause { url, ca_file: None, told, lasts: true };
        let passing = |url: String, told| Cause { url, ca_file: None, told, lasts: false };
        let ca_file = Some(self.other_name.ca_path().display().to_string());
        vec![
            passing(format!("redis://127.0.0.1:{}", free_port()), "Connection refused"),
            lasting(format!("redis://127.0.0.1:{secret}"), "it asks for a password, and REDIS_URL has none"),
            lasting(format!("redis://:wrong@127.0.0.1:{secret}"), "wrong user or password"),
            lasting(format!("redis://nobody:secret@127.0.0.1:{secret}"), "wrong user or password"),
            lasting(format!("redis://127.0.0.1:{plain}/99"), "the database of REDIS_URL does not exist"),
            lasting(format!("rediss://127.0.0.1:{plain}"), "no TLS is spoken at this port"),
            lasting("redis://cache.invalid:6379".to_owned(), "the host does not resolve"),
            lasting(self.tls.url(), "TLS failed: InvalidCertificate(UnknownIssuer)"),
            Cause {
                ca_file,
                ..lasting(self.other_name.url(), "TLS failed: InvalidCertificate(NotValidForName")
            },
            passing(
                self.tls.url().replace("rediss:", "redis:"),
                "it may speak TLS, and then REDIS_URL begins",
            ),
        ]
    }
}

#[tokio::test]
async fn a_cause_that_lasts_is_told_at_the_first_use() {
    let servers = Servers::start().await;
    for cause in servers.causes() {
        let settings =
            RedisSettings { ca_file: cause.ca_file.map(Into::into), ..RedisSettings::new(&*cause.url) };
        let store = RedisStore::new(settings).unwrap();
        let processor = with_ports(store, MemoryQueue::default(), MemoryQueue::default(), Config::default());
        let began = Instant::now();
        let batch = process(&processor, &[tvl("1", 0, 1, 1.0, &[])]).await;
        let reason = &batch.failures[&0];
        assert!(reason.contains(cause.told), "{}: {reason}", cause.url);
        assert!(!reason.contains("secret"), "{reason}");
        let took = began.elapsed();
        assert_eq!(took < AT_ONCE, cause.lasts, "{}: {took:?}", cause.url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replay_says_why() {
    let (servers, program) = (Servers::start().await, build("local-stream", "local-stream"));
    for cause in servers.causes() {
        let mut replay = Command::new(&program);
        replay.env_clear().envs([("REDIS_URL", &*cause.url), ("YES", "1")]).arg(FIXTURE);
        if let Some(ca_file) = &cause.ca_file {
            replay.env("REDIS_CA_FILE", ca_file);
        }
        let began = Instant::now();
        let output = replay.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(cause.told), "{}: {told}", cause.url);
        let took = began.elapsed();
        assert_eq!(took < AT_ONCE, cause.lasts, "{}: {took:?}", cause.url);
    }
}

#[tokio::test]
async fn the_gateway_says_why_and_goes_on() {
    let servers = Servers::start().await;
    for cause in servers.causes() {
        let ca_file = cause.ca_file.as_deref().map(|file| ("REDIS_CA_FILE", file));
        let gateway = GatewayProcess::start(&cause.url, ca_file.as_slice());
        eventually(SOON, || async { gateway.log().contains(cause.told) }).await;
        eventually(SOON, || async { gateway.get("/healthz").await.status == 200 }).await;
    }
}

#[tokio::test]
async fn the_relay_says_why_and_goes_on() {
    let (servers, world) = (Servers::start().await, FaultyWorld::new().await);
    insert_prices(&world.database).await;
    raise_prices(&world.database).await;
    for cause in servers.causes() {
        let mut env = vec![("REDIS_URL", cause.url.as_str()), ("REDIS_COMMAND_TIMEOUT_MS", "500")];
        env.extend(cause.ca_file.as_deref().map(|file| ("REDIS_CA_FILE", file)));
        let relay = world.relay(&env);
        eventually(SOON, || async { relay.log().contains(cause.told) }).await;
        assert_eq!(relay.get("/health/live").await.map(|(status, _)| status), Some(200), "{}", relay.log());
    }
}

#[tokio::test]
async fn the_function_says_why_and_of_which_row() {
    let (servers, sqs) = (Servers::start().await, FakeSqs::start().await);
    for cause in servers.causes() {
        let mut env = vec![("REDIS_URL", cause.url.as_str()), ("REDIS_COMMAND_TIMEOUT_MS", "500")];
        env.extend(cause.ca_file.as_deref().map(|file| ("REDIS_CA_FILE", file)));
        let function = Function::with_fake_sqs(&sqs, &env).await;
        let rows = [tvl("1599", 0, 7, 1.0, &[]), tvl("1599", 1, 8, 2.0, &[])];
        assert!(function.response_to(&rows).await.contains(&sequence_number(7)), "{}", cause.url);
        let failed_line = || {
            let lines = function.bootstrap.lines();
            let mut lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["message"] == "records failed; Lambda delivers them again")
        };
        eventually(SOON, || async { failed_line().is_some() }).await;
        let failed = failed_line().unwrap();
        assert_eq!(
            (&failed["first_key"], &failed["failed"]),
            (&"protocol:1599".into(), &2.into()),
            "{failed}"
        );
        assert_eq!(failed["first_sequence"], sequence_number(7), "{failed}");
        let reasons = failed["reasons"].as_array().unwrap();
        assert!(reasons[0]["reason"].as_str().unwrap().contains(cause.told), "{}: {failed}", cause.url);
        assert_eq!((reasons.len(), &reasons[0]["count"]), (1, &2.into()), "{failed}");
    }
    assert!(sqs.accepted().is_empty());
}

/// What a program prints when its settings are these.
fn printed(program: &Path, args: &[&str], env: &[(&str, &str)]) -> String {
    let output = Command::new(program).env_clear().args(args).envs(env.iter().copied()).output().unwrap();
    assert!(!output.status.success(), "{env:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_told_from_a_missing_one() {
    let (server, other) = (PostgresServer::shared().await, RedisServer::start().await);
    let (relay, present) = (relay_path(), server.url("postgres"));
    let refused = format!("postgres://postgres@127.0.0.1:{}/postgres", free_port());
    for (url, told) in [
        (refused.as_str(), "Connection refused"),
        ("postgres://postgres@db.invalid/postgres", "failed to lookup address"),
        (&server.url("absent"), "database \"absent\" does not exist"),
        (&present.replace("postgres@", "nobody@"), "role \"nobody\" does not exist"),
        (&format!("postgres://postgres@127.0.0.1:{}/postgres", other.port()), "timed out"),
    ] {
        let text = printed(&relay, &["status"], &[("DATABASE_URL", url)]);
        assert!(text.contains("DATABASE_URL cannot be reached") && text.contains(told), "{url}: {text}");
        assert!(!text.contains("pool"), "{url}: {text}");
    }
    // The service says it too, and goes on.
    let env = [
        ("DATABASE_URL", &*refused),
        ("REDIS_URL", &other.url()),
        ("ENABLE_SQS", "false"),
        ("POISON", "drop"),
    ];
    let relay = RelayProcess::start(&env);
    eventually(SOON, || async { relay.log().contains("Connection refused") }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_queue_is_told_in_words() {
    let (events, redis) = (build("events-operator", "events"), RedisServer::start().await);
    let refused = format!("http://127.0.0.1:{}", free_port());
    for (endpoint, told) in [
        (&*refused, "Connection refused"),
        ("http://sqs.invalid", "failed to lookup address"),
        (&format!("http://127.0.0.1:{}", redis.port()), "connection closed before message completed"),
    ] {
        let url = "http://127.0.0.1:1/000000000000/events.fifo";
        let env = [
            ("AWS_ENDPOINT_URL_SQS", endpoint),
            ("EVENTS_QUEUE_URL", url),
            ("POISON", "drop"),
            ("REDIS_URL", &redis.url()),
        ];
        let text = printed(&events, &["doctor"], &env);
        assert!(text.contains("WRONG  events queue") && text.contains(told), "{endpoint}: {text}");
        assert!(!text.contains("{ "), "in words: {text}");
    }
}
