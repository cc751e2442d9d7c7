//! What a tool writes to outside this process, and whether that is on this machine.
//!
//! A tool with the settings of a deployment writes to real subscribers. So it names its targets first, and writes to another
//! machine only after the user has confirmed it.

use std::fmt;
use std::net::IpAddr;

use events_adapters::aws::AwsSettings;
use events_settings::ProcessorSettings;

/// A service that a tool writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    /// Its name for a person. Contains no password.
    name: String,
    on_this_machine: bool,
}

/// All services that a tool writes to. Those in memory are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(Vec<Target>);

impl Targets {
    /// The targets in the settings. Makes no connection.
    pub fn of(settings: &ProcessorSettings) -> Self {
        let delivery = &settings.delivery;
        let events_queue = delivery.events_queue_url.as_ref().filter(|_| settings.processor.core.queueing);
        let redis = settings.redis.iter().flat_map(|redis| redis.servers()).map(|server| Target {
            name: format!("Redis {server}"),
            on_this_machine: is_this_machine(&server.host),
        });
        let sqs = settings.sqs.as_ref().map_or_else(SqsHost::default, SqsHost::of);
        let queues =
            [("events queue", events_queue), ("dead letter queue", delivery.events_dlq_url.as_ref())];
        let queues = queues.into_iter().filter_map(|(kind, url)| Some(sqs.queue(kind, url?)));
        Self(redis.chain(queues).collect())
    }

    /// True if everything is written in memory.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if each target is on this machine.
    pub fn are_on_this_machine(&self) -> bool {
        self.0.iter().all(|target| target.on_this_machine)
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|target| target.name.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}

/// The server that receives all requests to SQS.
///
/// The client sends them to the endpoint, or else to AWS: never to the host of a queue's URL. SQS reads the queue from the
/// URL's path. So without an endpoint, `http://127.0.0.1:4566/…/events.fifo` names a queue in AWS.
#[derive(Debug, Default)]
struct SqsHost {
    name: String,
    on_this_machine: bool,
}

impl SqsHost {
    fn of(sqs: &AwsSettings) -> Self {
        let Some(endpoint) = &sqs.endpoint else {
            return Self { name: format!("Amazon SQS in {}", sqs.region), on_this_machine: false };
        };
        let server = authority(endpoint);
        Self { name: server.to_owned(), on_this_machine: is_this_machine(host(server)) }
    }

    fn queue(&self, kind: &str, url: &str) -> Target {
        let queue = url.rsplit('/').next().unwrap_or_default();
        Target { name: format!("{kind} {queue} at {}", self.name), on_this_machine: self.on_this_machine }
    }
}

/// Host and port of an http(s) URL. The settings refuse URLs with a user.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// An authority without its port. An IPv6 address keeps its brackets.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    }
}

/// True for `localhost`, `127.0.0.0/8` and `::1`. Other names are not resolved: what they mean can change between this
/// check and the connection.
fn is_this_machine(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use events_settings::{CredentialSource, Needs};

    fn targets(pairs: &[(&str, &str)]) -> Targets {
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        let source = CredentialSource::EnvironmentOrChain;
        Targets::of(&ProcessorSettings::read(get, Needs::Nothing, source).unwrap())
    }

    const QUEUE: (&str, &str) = ("EVENTS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/1/events.fifo");
    const DLQ: (&str, &str) = ("EVENTS_DLQ_URL", "https://sqs.eu-central-1.amazonaws.com/1/dlq.fifo");

    #[test]
    fn what_is_in_memory_is_no_target() {
        assert!(targets(&[]).is_empty() && targets(&[("POISON", "drop")]).is_empty());
        assert!(targets(&[QUEUE, ("ENABLE_SQS", "false")]).is_empty());
    }

    #[test]
    fn targets_are_named_without_credentials() {
        let redis = ("REDIS_URL", "rediss-cluster://user:hunter2@one.example:6379?node=two.example:7");
        let targets = targets(&[redis, ("REDIS_KEY_HASHTAG", "true"), QUEUE, DLQ]);
        assert_eq!(
            targets.to_string(),
            "Redis two.example:7, Redis one.example:6379, events queue events.fifo at Amazon SQS in eu-central-1, \
             dead letter queue dlq.fifo at Amazon SQS in eu-central-1"
        );
        assert!(!targets.are_on_this_machine());
    }

    #[test]
    fn only_this_machine_is_this_machine() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "[::1]", "::1"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "128.0.0.1",
            "127.0.0.1.example",
            "localhost.example",
            "127.1",
            "redis",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn one_target_elsewhere_is_enough() {
        let redis = ("REDIS_URL", "redis://127.0.0.1:6379");
        assert!(targets(&[redis]).are_on_this_machine());
        assert!(!targets(&[redis, QUEUE, ("POISON", "drop")]).are_on_this_machine());
        let cluster = ("REDIS_URL", "redis-cluster://127.0.0.1:1?node=one.example:2");
        assert!(!targets(&[cluster, ("REDIS_KEY_HASHTAG", "true")]).are_on_this_machine());
    }

    #[test]
    fn the_endpoint_decides_where_a_queue_is() {
        for name in ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"] {
            assert!(targets(&[QUEUE, DLQ, (name, "http://localhost:4566")]).are_on_this_machine());
            assert!(targets(&[QUEUE, DLQ, (name, "http://[::1]:4566/")]).are_on_this_machine());
            let local = ("EVENTS_QUEUE_URL", "http://127.0.0.1:4566/0/events.fifo");
            let targets = targets(&[local, ("POISON", "drop"), (name, "https://vpce.example")]);
            assert_eq!(targets.to_string(), "events queue events.fifo at vpce.example");
            assert!(!targets.are_on_this_machine());
        }
    }

    /// The client sends the request to the region, with the whole URL as the name of the queue.
    #[test]
    fn without_an_endpoint_a_queue_is_in_aws_whatever_the_host_of_its_url() {
        let local = ("EVENTS_QUEUE_URL", "http://127.0.0.1:4566/0/events.fifo");
        let targets = targets(&[local, ("POISON", "drop"), ("AWS_REGION", "us-east-1")]);
        assert_eq!(targets.to_string(), "events queue events.fifo at Amazon SQS in us-east-1");
        assert!(!targets.are_on_this_machine());
    }
}
