//! The zip of `make package`: its contents, and that the function in it starts and processes batches.

use std::process::Command;
use std::time::Duration;

use events_core::plan::Config;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::lambda::function::{Function, Queues};
use events_harness::lambda::package::Package;
use events_harness::probes::oracle::differing_hot_keys;
use events_harness::probes::subscriber::Subscriber;
use events_harness::processors::{fixture_records, in_memory, process};
use events_harness::servers::process::workspace;
use serde_json::json;

fn package() -> Package {
    Package::from_env()
        .expect("BOOTSTRAP_ZIP is not set: it names the zip. Run make package-test, which sets it")
}

#[test]
#[ignore = "needs a zip: make package-test"]
fn the_zip_holds_one_executable_that_suits_the_runtime() {
    let package = package();
    assert_eq!(*package.files(), json!([["bootstrap", 0o100_755, [1980, 1, 1, 0, 0, 0]]]));
    let machine = std::env::var("BOOTSTRAP_MACHINE")
        .expect("BOOTSTRAP_MACHINE is not set: it must be AArch64 or X86-64");
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

#[test]
#[ignore = "needs a zip: make package-test"]
fn the_list_beside_the_zip_is_that_of_its_executable() {
    let zip = std::env::var("BOOTSTRAP_ZIP").expect("BOOTSTRAP_ZIP is not set: make package-test sets it");
    let list = workspace().join(zip).with_extension("cdx.json");
    let list = std::fs::read(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    let list: serde_json::Value = serde_json::from_slice(&list).expect("JSON");
    let digest = Command::new("sha256sum").arg(package().binary()).output().expect("sha256sum").stdout;
    let digest = String::from_utf8_lossy(&digest).split(' ').next().map(str::to_owned);
    assert_eq!(list["metadata"]["component"]["hashes"][0]["content"].as_str(), digest.as_deref());
}

#[tokio::test]
#[ignore = "needs a zip: make package-test"]
async fn it_starts_behind_the_runtime_api_and_processes_a_batch() {
    let package = package();
    let sqs = FakeSqs::start().await;
    let function = Function::start(&package.program(), &Queues::of(&sqs), &[]).await;
    let subscriber = Subscriber::psubscribe(&function.redis.url(), "events:*").await;

    let records = fixture_records();
    let reference = in_memory(Config::default());
    let mut times = Vec::new();
    for batch in records.chunks(100) {
        let invocation = function.invoke(batch).await;
        assert_eq!(invocation.failures(), [""; 0], "{}", function.bootstrap.output());
        times.push(invocation.duration);
        process(&reference, batch).await;
    }
    let published = reference.store().published().len();
    assert!(published > 0);
    assert_eq!(subscriber.wait_for(published).await.len(), published);
    assert_eq!(differing_hot_keys(&function.redis, reference.store()).await, [""; 0]);
    assert_eq!(sqs.events().len(), reference.queue().messages().len());
    println!(
        "{} bytes; {:.1} ms to the first poll; {} records: first batch {:.1} ms, last {:.1} ms",
        package.size(),
        ms(function.init_time),
        records.len(),
        ms(times[0]),
        ms(times[times.len() - 1]),
    );
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
