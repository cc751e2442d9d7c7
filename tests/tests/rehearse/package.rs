//! A zip of `make package`: what is in it, and that it starts and works.

use std::process::Command;
use std::time::{Duration, Instant};

use events_core::plan::Config;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::lambda::bootstrap::Bootstrap;
use events_harness::lambda::package::Package;
use events_harness::lambda::runtime_api::RuntimeApi;
use events_harness::probes::subscriber::Subscriber;
use events_harness::processors::{fixture, in_memory, process};
use events_harness::rows::event;
use events_harness::servers::process::workspace;
use events_harness::servers::redis::RedisServer;
use serde_json::json;

/// An emulated processor is slow.
const START: Duration = Duration::from_secs(60);

fn package() -> Package {
    Package::from_env().expect("BOOTSTRAP_ZIP names the zip: run make package-test")
}

#[test]
#[ignore = "needs a zip: make package-test"]
fn the_zip_holds_one_executable_that_suits_the_runtime() {
    let package = package();
    assert_eq!(*package.entries(), json!([["bootstrap", 0o100_755, [1980, 1, 1, 0, 0, 0]]]));
    let machine = std::env::var("BOOTSTRAP_MACHINE").expect("BOOTSTRAP_MACHINE: AArch64 or X86-64");
    let check = |machine: &str, glibc: &str| {
        let script = workspace().join("infra/check-binary.sh");
        let output =
            Command::new("sh").arg(script).arg(package.binary()).args([machine, glibc]).output().expect("sh");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&machine, "2.34"), (true, String::new()));
    let other = if machine == "AArch64" { "X86-64" } else { "AArch64" };
    for (machine, glibc, says) in [(other, "2.34", "not built for"), (&*machine, "2.16", "has glibc 2.16")] {
        let (accepted, said) = check(machine, glibc);
        assert!(!accepted && said.contains(says), "{machine} {glibc}: {said}");
    }
}

#[tokio::test]
#[ignore = "needs a zip: make package-test"]
async fn it_starts_behind_the_runtime_api_and_processes_a_batch() {
    let package = package();
    let (redis, api, sqs) = (RedisServer::start().await, RuntimeApi::start().await, FakeSqs::start().await);
    let subscriber = Subscriber::psubscribe(&redis.url(), "events:*").await;
    let environment = [
        ("REDIS_URL", redis.url()),
        ("EVENTS_QUEUE_URL", sqs.events_url()),
        ("EVENTS_DLQ_URL", sqs.dead_letters_url()),
        ("AWS_ENDPOINT_URL_SQS", sqs.endpoint()),
    ];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let started = Instant::now();
    let bootstrap = Bootstrap::start(&package.program(), &environment, &api);
    let ready = api.initialised(START).await;
    ready.unwrap_or_else(|error| panic!("{error}\n{}", bootstrap.output()));
    let start = started.elapsed();

    let records: Vec<_> = fixture_records();
    let reference = in_memory(Config::default());
    let mut times = Vec::new();
    for batch in records.chunks(100) {
        let invocation = api.invoke(event(batch)).await;
        assert_eq!(invocation.failures(), [""; 0], "{}", bootstrap.output());
        times.push(invocation.duration);
        process(&reference, batch).await;
    }
    let published = reference.store().published().len();
    assert!(published > 0);
    assert_eq!(subscriber.wait_for(published).await.len(), published);
    for key in reference.store().keys() {
        assert_eq!(redis.cmd(&["GET", &key]).await.text(), reference.store().value(&key), "{key}");
    }
    assert_eq!(sqs.events().len(), reference.queue().messages().len());
    println!(
        "{} bytes; {:.1} ms to the first poll; {} records: first batch {:.1} ms, last {:.1} ms",
        package.size(),
        ms(start),
        records.len(),
        ms(times[0]),
        ms(times[times.len() - 1]),
    );
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
