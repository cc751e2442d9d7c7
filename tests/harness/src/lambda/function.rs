//! The function under test: `bootstrap` behind a Runtime API, with a Redis of its own and the given queues.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::faults::fake_sqs::FakeSqs;
use crate::lambda::bootstrap::{Bootstrap, bootstrap_path};
use crate::lambda::runtime_api::{Invocation, Outcome, RuntimeApi};
use crate::rows::event;
use crate::servers::redis::RedisServer;

/// How long a process may take until it polls for its first event. An emulated CPU is slow.
const START: Duration = Duration::from_secs(60);

/// The response to a batch without failures.
pub const NO_FAILURES: &str = r#"{"batchItemFailures":[]}"#;

/// Where the function sends events and dead letters.
#[derive(Clone, Debug)]
pub struct Queues {
    /// The SQS endpoint.
    pub endpoint: String,
    /// URL of the events queue.
    pub events: String,
    /// URL of the dead letter queue.
    pub dead_letters: String,
}

impl Queues {
    /// The queues of a fake SQS.
    pub fn of(sqs: &FakeSqs) -> Self {
        Self { endpoint: sqs.endpoint(), events: sqs.events_url(), dead_letters: sqs.dead_letters_url() }
    }
}

/// A running function. Stops on drop.
pub struct Function {
    /// Its Redis.
    pub redis: RedisServer,
    /// Its Runtime API.
    pub api: RuntimeApi,
    /// Its process.
    pub bootstrap: Bootstrap,
    /// From the start of the process to its first poll.
    pub init_time: Duration,
}

impl Function {
    /// Starts a program with additional environment variables, and waits until it polls for its first event.
    pub async fn start(program: &Path, queues: &Queues, extra: &[(&str, &str)]) -> Self {
        let (redis, api) = (RedisServer::start().await, RuntimeApi::start().await);
        let url = redis.url();
        let mut environment = vec![
            ("REDIS_URL", url.as_str()),
            ("EVENTS_QUEUE_URL", &queues.events),
            ("EVENTS_DLQ_URL", &queues.dead_letters),
            ("AWS_ENDPOINT_URL_SQS", &queues.endpoint),
        ];
        environment.extend(extra);
        let started = Instant::now();
        let bootstrap = Bootstrap::start(program, &environment, &api);
        bootstrap.initialised(&api, START).await;
        Self { redis, api, bootstrap, init_time: started.elapsed() }
    }

    /// Starts the development build with the queues of a fake SQS.
    pub async fn with_fake_sqs(sqs: &FakeSqs, extra: &[(&str, &str)]) -> Self {
        Self::start(&bootstrap_path(), &Queues::of(sqs), extra).await
    }

    /// Invokes the function with a batch. Panics unless it responds.
    pub async fn invoke(&self, records: &[Box<RawValue>]) -> Invocation {
        let invocation = self.api.invoke(event(records)).await;
        assert!(matches!(invocation.outcome, Outcome::Ok(_)), "{invocation:?}\n{}", self.bootstrap.output());
        invocation
    }

    /// The exact text of the response to a batch.
    pub async fn response_to(&self, records: &[Box<RawValue>]) -> String {
        String::from_utf8(self.invoke(records).await.bytes().to_vec()).expect("a response in UTF-8")
    }
}
