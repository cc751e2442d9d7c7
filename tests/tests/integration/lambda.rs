//! The built `bootstrap` behind a Runtime API, with a real Redis and a queue: its responses, and what it delivers.

use std::time::{Duration, Instant};

use events_core::plan::Config;
use events_harness::faults::fake_sqs::FakeSqs;
use events_harness::faults::sqs_faults::{SqsFault, When};
use events_harness::lambda::bootstrap::{Bootstrap, bootstrap_path};
use events_harness::lambda::function::{Function, NO_FAILURES, Queues};
use events_harness::lambda::runtime_api::{Outcome, RuntimeApi};
use events_harness::probes::grouped::grouped;
use events_harness::probes::oracle::differing_hot_keys;
use events_harness::probes::subscriber::Subscriber;
use events_harness::probes::wait::eventually;
use events_harness::processors::{fixture_records, in_memory, process, raw};
use events_harness::rows::{self, event, price, sequence_number, tvl};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs::SqsEmulator;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_fixture_is_delivered_and_a_second_delivery_makes_no_event() {
    let emulator = SqsEmulator::shared().await;
    let queue = emulator.create_fifo_queue("events", &[]).await;
    let dlq = emulator.create_fifo_queue("dlq", &[]).await;
    let queues = Queues {
        endpoint: emulator.endpoint().to_owned(),
        events: queue.url.clone(),
        dead_letters: dlq.url.clone(),
    };
    let function = Function::start(&bootstrap_path(), &queues, &[]).await;
    let subscriber = Subscriber::psubscribe(&function.redis.url(), "events:*").await;
    let reference = in_memory(Config::default());
    let records = fixture_records();
    for batch in records.chunks(40) {
        assert_eq!(function.response_to(batch).await, NO_FAILURES);
        process(&reference, batch).await;
    }
    let published = reference.store().published();
    assert_eq!(subscriber.wait_for(published.len()).await.len(), published.len());
    assert_eq!(differing_hot_keys(&function.redis, reference.store()).await, [""; 0]);
    let received = emulator.receive_all(&queue.url).await;
    let (sent, dead_letters) = (reference.queue().messages(), reference.dead_letter_queue().len());
    assert_eq!(
        grouped(received.iter().map(|message| (&*message.group_id, &*message.dedup_id))),
        grouped(sent.iter().map(|message| (&*message.group_id, &*message.dedup_id))),
    );
    assert_eq!(emulator.receive_all(&dlq.url).await.len(), dead_letters);

    subscriber.clear();
    for batch in records.chunks(55) {
        assert_eq!(function.response_to(batch).await, NO_FAILURES);
    }
    function.redis.cmd(&["PUBLISH", "events:end", "{}"]).await;
    assert_eq!(subscriber.wait_for(1).await[0].channel, "events:end");
    assert!(emulator.receive_all(&queue.url).await.is_empty());
    assert!(emulator.receive_all(&dlq.url).await.is_empty());
}

#[tokio::test]
async fn batches_of_every_odd_shape_get_a_response() {
    let sqs = FakeSqs::start().await;
    let function = Function::with_fake_sqs(&sqs, &[]).await;
    assert_eq!(function.response_to(&[]).await, NO_FAILURES, "an empty batch");

    let odd: Vec<_> = [
        "{}",
        "null",
        "7",
        r#""text""#,
        "[[]]",
        r#"{"dynamodb":{"SequenceNumber":"5"}}"#,
        r#"{"dynamodb":{"SequenceNumber":null},"eventName":"INSERT"}"#,
        r#"{"eventName":"REMOVE","dynamodb":{"SequenceNumber":"6"}}"#,
    ]
    .map(raw)
    .into();
    assert_eq!(function.response_to(&odd).await, NO_FAILURES, "a batch of only odd records");
    assert_eq!(sqs.dead_letters().len(), 7);

    let chains: Vec<String> = (0..12_500).map(|n| format!("chain-free-name-{n}").replace('-', "_")).collect();
    let large = |hour, value: f64| {
        let chains: Vec<_> = chains.iter().map(|chain| (chain.as_str(), 1.0)).collect();
        tvl("large", hour, hour as u64, value, &chains)
    };
    assert!(large(0, 1.0).get().len() > 400_000, "{} bytes", large(0, 1.0).get().len());
    assert_eq!(
        function.response_to(&[large(0, 1e6), large(1, 2e6)]).await,
        NO_FAILURES,
        "a record of 400 KB"
    );
    assert_eq!(sqs.accepted_in_group("protocol:large").len(), 1);

    let many: Vec<_> = (0..10_000)
        .map(|n| tvl(&(n % 5_000).to_string(), (n / 5_000) as i64, 100 + n, 1e6 + n as f64 * 1e2, &[]))
        .collect();
    assert_eq!(function.response_to(&many).await, NO_FAILURES, "10,000 records in one batch");
    assert_eq!(sqs.events().len(), 1 + 5_000);
}

#[tokio::test]
async fn an_event_without_records_is_an_error_and_the_next_batch_works() {
    let sqs = FakeSqs::start().await;
    let function = Function::with_fake_sqs(&sqs, &[]).await;
    for payload in ["{}", "[]", r#"{"Records":null}"#, "not json"] {
        let invocation = function.api.invoke(payload).await;
        assert!(matches!(invocation.outcome, Outcome::Error(_)), "{payload}: {invocation:?}");
    }
    assert_eq!(function.response_to(&[tvl("1", 0, 1, 1.0, &[])]).await, NO_FAILURES);
}

#[tokio::test]
async fn a_partial_batch_response_names_the_first_failed_record_and_a_retry_finishes() {
    let sqs = FakeSqs::start().await;
    // The rows are old, but the failure is new.
    let settings = [("MAX_RETRIES", "0"), ("KEY_FAILURE_MAX_AGE_SECS", "315360000")];
    let function = Function::with_fake_sqs(&sqs, &settings).await;
    let first: Vec<_> = (0..3).map(|id| tvl(&id.to_string(), 0, id, 1e6, &[])).collect();
    assert_eq!(function.response_to(&first).await, NO_FAILURES);
    sqs.fail_next(SqsFault::refuse_group("protocol:1"));
    let rows: Vec<_> = (0..3).map(|id| tvl(&id.to_string(), 1, 10 + id, 2e6, &[])).collect();
    let named = format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{}"}}]}}"#, sequence_number(11));
    assert_eq!(function.response_to(&rows).await, named);
    assert_eq!(function.response_to(&rows[1..]).await, NO_FAILURES);
    assert_eq!(sqs.accepted().len(), 3);
}

/// Lambda reads nothing newer of a shard while a record is reported.
#[tokio::test]
async fn a_group_that_is_refused_for_too_long_is_put_aside_and_the_shard_moves_on() {
    let sqs = FakeSqs::start().await;
    let function = Function::with_fake_sqs(&sqs, &[]).await;
    let rows = |hour: i64| {
        (0..3u64)
            .map(move |id| tvl(&id.to_string(), hour, 100 * hour as u64 + id, 1e6 * (1 + hour) as f64, &[]))
    };
    assert_eq!(function.response_to(&rows(0).collect::<Vec<_>>()).await, NO_FAILURES);
    // The rows are older than KEY_FAILURE_MAX_AGE_SECS.
    sqs.choose_faults({
        let events_url = sqs.events_url();
        move |request| (request.queue_url == events_url).then(|| SqsFault::refuse_group("protocol:1"))
    });
    let batch: Vec<_> = rows(1).collect();
    let named = format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{}"}}]}}"#, sequence_number(101));
    assert_eq!(function.response_to(&batch).await, named, "the first failure that this process sees");
    assert_eq!(function.response_to(&batch[1..]).await, NO_FAILURES);
    let letters = sqs.dead_letters();
    assert_eq!((sqs.events().len(), letters.len()), (2, 1));
    assert_eq!(letters[0].json()["event"]["data"]["protocolId"], "1");
    assert!(letters[0].json()["error"]["message"].as_str().unwrap().contains("for too long"));
}

#[tokio::test]
async fn an_outage_of_redis_fails_the_batch_until_redis_is_back() {
    let sqs = FakeSqs::start().await;
    let mut function =
        Function::with_fake_sqs(&sqs, &[("REDIS_COMMAND_TIMEOUT_MS", "200"), ("BREAKER_OPEN_SECS", "1")])
            .await;
    function.response_to(&[tvl("1", 0, 1, 1e6, &[])]).await;
    function.redis.kill();
    let rows = [tvl("1", 1, 2, 2e6, &[])];
    let started = Instant::now();
    assert!(function.response_to(&rows).await.contains(&sequence_number(2)));
    assert!(started.elapsed() < SOON);
    assert!(sqs.accepted().is_empty());
    function.redis.restart().await;
    let function = &function;
    eventually(SOON, || async { function.response_to(&rows).await == NO_FAILURES }).await;
}

#[tokio::test]
async fn the_deadline_is_kept() {
    let sqs = FakeSqs::start().await;
    let function =
        Function::with_fake_sqs(&sqs, &[("DEADLINE_MARGIN_MS", "500"), ("SQS_ATTEMPT_TIMEOUT_MS", "300")])
            .await;
    function.response_to(&[tvl("1", 0, 1, 1e6, &[])]).await;
    sqs.script(When::Any, 1_000, SqsFault::Hang);
    let rows = [tvl("1", 1, 2, 2e6, &[])];
    let invocation = function.api.invoke_with_deadline(event(&rows), Duration::from_millis(1_500)).await;
    assert_eq!(invocation.failures(), [sequence_number(2)], "{invocation:?}");
    assert!(invocation.duration < Duration::from_millis(1_500), "{invocation:?}");
}

#[tokio::test]
async fn metrics_and_logs_are_one_line_each_with_the_request_id() {
    let sqs = FakeSqs::start().await;
    let function = Function::with_fake_sqs(&sqs, &[]).await;
    let rows = [
        tvl("1", 0, 1, 1e6, &[]),
        tvl("1", 1, 2, 2e6, &[("base", 2e6)]),
        raw("{}"),
        price("asset#base:0x1", 1, 4, 5.0),
    ];
    let invocation = function.api.invoke(event(&rows)).await;
    let line = function.bootstrap.wait_for_line("processedCount", SOON).await;
    let metrics: Value = serde_json::from_str(&line).unwrap();
    let expected = json!({
        "processedCount": 4, "errorCount": 1, "eventsGenerated": 2, "cacheUpdates": 4, "pubsubPublished": 2,
        "sqsPublished": 2, "dlqPublished": 1, "cacheHits": 0, "cacheMisses": 2, "skipped": 0, "late": 0,
        "alreadyApplied": 0, "requestId": invocation.request_id,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&metrics[name], value, "{name} in {line}");
    }
    assert_eq!(metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"], "DeFiLlama/Events");
    assert!(metrics["processingTime"].as_f64().unwrap() > 0.0);
    assert_eq!(metrics["endToEndLatency"].as_array().unwrap().len(), 3);
    let log = function.bootstrap.wait_for_line("\"invocation\"", SOON).await;
    let log: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(
        (&log["request_id"], &log["level"], &log["records"]),
        (&json!(invocation.request_id), &json!("INFO"), &json!(4))
    );
    assert_eq!(function.bootstrap.lines_containing(&invocation.request_id).len(), 2);
    assert!(function.bootstrap.lines_containing("0x1").is_empty(), "no payload in the log");
}

#[tokio::test]
async fn invalid_settings_stop_the_start_and_are_named() {
    let api = RuntimeApi::start().await;
    let environment =
        [("REDIS_URL", "redis://127.0.0.1:1"), ("BATCH_SIZE", "many"), ("ENABLE_SQS", "perhaps")];
    let mut bootstrap = Bootstrap::start(&bootstrap_path(), &environment, &api);
    let status = bootstrap.wait(SOON).await.expect("it stops");
    assert!(!status.success());
    let output = bootstrap.output();
    for named in [
        "BATCH_SIZE is",
        "many",
        "a whole number from 1 to 10000",
        "ENABLE_SQS is",
        "true or false",
        "EVENTS_QUEUE_URL is not set",
        "EVENTS_DLQ_URL is not set",
        "POISON=drop",
    ] {
        assert!(output.contains(named), "{named} in {output}");
    }
}

/// A secret as a console stores it, and a key with a line break at its end.
#[tokio::test]
async fn a_wrong_secret_is_not_printed() {
    let api = RuntimeApi::start().await;
    let environment = [
        ("REDIS_URL", r#"{"password":"hunter2","host":"h","url":"redis://:hunter2@h"}"#),
        ("AWS_SECRET_ACCESS_KEY", "hunter2\nhunter2"),
        ("EVENTS_QUEUE_URL", "https://user:hunter2@h/0/events.fifo"),
    ];
    let mut bootstrap = Bootstrap::start(&bootstrap_path(), &environment, &api);
    assert!(!bootstrap.wait(SOON).await.expect("it stops").success());
    let output = bootstrap.output();
    assert!(output.contains("REDIS_URL (its value is not shown) looks like JSON"), "{output}");
    assert!(!output.contains("hunt") && !output.contains("ter2"), "{output}");
}

#[tokio::test]
async fn with_poison_drop_a_poison_record_is_logged_and_the_batch_goes_on() {
    let sqs = FakeSqs::start().await;
    let function = Function::with_fake_sqs(&sqs, &[("EVENTS_DLQ_URL", ""), ("POISON", "drop")]).await;
    let batch = [tvl("1", 0, 1, 1e6, &[]), rows::poison(2), tvl("1", 1, 3, 2e6, &[])];
    for _delivery in 0..2 {
        assert_eq!(function.response_to(&batch).await, NO_FAILURES);
    }
    assert_eq!((sqs.accepted().len(), sqs.dead_letters().len()), (1, 0));
    let metrics = function.bootstrap.wait_for_line("processedCount", SOON).await;
    assert!(metrics.contains(r#""dlqPublished":1"#), "{metrics}");
    let dropped = function.bootstrap.lines_containing("dropped what can never succeed");
    assert_eq!(dropped.len(), 1, "a record is logged once: {dropped:?}");
    let line: Value = serde_json::from_str(&dropped[0]).unwrap();
    assert_eq!((&line["level"], &line["key"]), (&json!("WARN"), &json!("hourlyTvl#9")));
    let raw: Value = serde_json::from_str(rows::poison(2).get()).unwrap();
    assert_eq!(line["id"], raw["eventID"]);
    assert!(line["reason"].as_str().unwrap().starts_with("NewImage: "), "{line}");
    assert!(!dropped[0].contains("\\\""), "no JSON of the record: {}", dropped[0]);
}

#[tokio::test]
async fn a_termination_ends_an_idle_function_at_once() {
    let sqs = FakeSqs::start().await;
    let mut function = Function::with_fake_sqs(&sqs, &[]).await;
    function.response_to(&[tvl("1", 0, 1, 1.0, &[])]).await;
    let status = function.bootstrap.terminate(Duration::from_millis(300)).await.expect("within AWS's 300 ms");
    assert!(status.success(), "{status}");
}

/// An invocation that runs when SIGTERM comes may finish and write its metrics. If it does not finish in time, the log
/// names it.
#[tokio::test]
async fn an_invocation_cut_off_by_a_termination_is_named_in_the_log() {
    for (late, finishes) in [(Duration::from_millis(100), true), (Duration::from_secs(30), false)] {
        let sqs = FakeSqs::start().await;
        let mut function = Function::with_fake_sqs(&sqs, &[("SQS_ATTEMPT_TIMEOUT_MS", "60000")]).await;
        function.response_to(&[tvl("1", 0, 1, 1e6, &[])]).await;
        sqs.script(When::Any, usize::MAX, SqsFault::Delay(late));
        let rows = [tvl("1", 1, 2, 2e6, &[])];
        let (api, bootstrap) = (&function.api, &mut function.bootstrap);
        let response = async { tokio::time::timeout(Duration::from_secs(2), api.invoke(event(&rows))).await };
        let terminate = async {
            eventually(Duration::from_secs(10), || async { sqs.requests().len() == 1 }).await;
            bootstrap.terminate(Duration::from_millis(300)).await
        };
        let (response, status) = tokio::join!(response, terminate);
        assert!(status.expect("within AWS's 300 ms").success());
        assert_eq!(response.is_ok(), finishes);
        let lines = function.bootstrap.lines_containing("processedCount").len();
        assert_eq!(lines, if finishes { 2 } else { 1 }, "metrics");
        let named = function.bootstrap.output().contains("terminated at work");
        assert_eq!(named, !finishes, "{}", function.bootstrap.output());
    }
}

#[tokio::test]
async fn it_starts_without_waiting_for_redis() {
    let sqs = FakeSqs::start().await;
    let api = RuntimeApi::start().await;
    let environment = [
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("EVENTS_QUEUE_URL", "http://127.0.0.1:1/0/events.fifo"),
        ("AWS_ENDPOINT_URL_SQS", &sqs.endpoint()),
        ("REDIS_COMMAND_TIMEOUT_MS", "100"),
        ("POISON", "drop"),
    ];
    let bootstrap = Bootstrap::start(&bootstrap_path(), &environment, &api);
    api.initialised(SOON).await.unwrap();
    assert!(!bootstrap.lines_containing("POISON is drop").is_empty(), "{}", bootstrap.output());
    let invocation = api.invoke(event(&[tvl("1", 0, 1, 1.0, &[])])).await;
    assert_eq!(invocation.failures(), [sequence_number(1)]);
}

#[tokio::test]
async fn the_redis_url_comes_from_a_secret_where_one_is_named() {
    let (emulator, redis, api) =
        (SqsEmulator::shared().await, RedisServer::start().await, RuntimeApi::start().await);
    let queue = emulator.create_fifo_queue("events", &[]).await;
    let arn = emulator.create_secret("redis", &redis.url()).await;
    let start = |arn: &str, api: &RuntimeApi| {
        let environment = [
            ("REDIS_URL_SECRET_ARN", arn),
            ("AWS_ENDPOINT_URL", emulator.endpoint()),
            ("EVENTS_QUEUE_URL", &queue.url),
            ("POISON", "drop"),
            ("METRICS_STAGE", "test"),
        ];
        Bootstrap::start(&bootstrap_path(), &environment, api)
    };
    let bootstrap = start(&arn, &api);
    bootstrap.initialised(&api, SOON).await;
    assert_eq!(api.invoke(event(&[tvl("1", 0, 1, 1.0, &[])])).await.bytes(), NO_FAILURES.as_bytes());
    assert!(redis.cmd(&["GET", "tvl:1"]).await.text().is_some());
    let metrics = bootstrap.wait_for_line("processedCount", SOON).await;
    assert!(metrics.contains(r#""Stage":"test""#), "{metrics}");

    let missing = format!("{arn}-missing");
    let mut bootstrap = start(&missing, &RuntimeApi::start().await);
    assert!(!bootstrap.wait(SOON).await.expect("it stops").success());
    let says = "REDIS_URL_SECRET_ARN names a secret that cannot be read";
    assert!(bootstrap.output().contains(says), "{}", bootstrap.output());
}
