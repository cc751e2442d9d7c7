//! The operator's tool, `events`.

mod doctor;
mod redrive;
mod tables;

use std::process::{Command, Output, Stdio};

use events_harness::servers::process::build;
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs::{Queue, SqsEmulator};
use serde_json::Value;

/// What a deployment has: Redis, the events queue and the dead letter queue.
struct World {
    redis: RedisServer,
    sqs: &'static SqsEmulator,
    events: Queue,
    letters: Queue,
}

impl World {
    /// `scope` are attributes of both queues.
    async fn new(scope: &[(&str, &str)]) -> Self {
        let sqs = SqsEmulator::shared().await;
        let keeps = [scope, &[("MessageRetentionPeriod", "1209600")]].concat();
        Self {
            redis: RedisServer::start().await,
            sqs,
            events: sqs.create_fifo_queue("operator", scope).await,
            letters: sqs.create_fifo_queue("operator-dlq", &keeps).await,
        }
    }

    /// The tool with the settings of the deployment.
    fn events(&self, args: &[&str]) -> Command {
        let mut command = events(args);
        command.envs([
            ("REDIS_URL", self.redis.url().as_str()),
            ("EVENTS_QUEUE_URL", &self.events.url),
            ("EVENTS_DLQ_URL", &self.letters.url),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.endpoint()),
        ]);
        command
    }
}

/// The tool without a setting.
fn events(args: &[&str]) -> Command {
    let mut command = Command::new(build("events-operator", "events"));
    command.env_clear().args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Standard output as JSON.
fn json(output: &Output) -> Value {
    let json = serde_json::from_slice(&output.stdout);
    json.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}
