//! The planned resources in an emulator, with the packaged function and a real Redis.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use events_harness::faults::fault_proxy::FaultProxy;
use events_harness::lambda::bootstrap::{Bootstrap, bootstrap_path};
use events_harness::lambda::event_source::{EventSource, Log, MappingSettings};
use events_harness::lambda::package::Package;
use events_harness::lambda::runtime_api::RuntimeApi;
use events_harness::lambda::terraform_plan::TerraformPlan;
use events_harness::probes::subscriber::Subscriber;
use events_harness::servers::aws_client::{AwsClient, Connection};
use events_harness::servers::redis::RedisServer;
use events_harness::servers::sqs::{Message, SqsEmulator};
use events_settings::{CredentialSource, Needs, ProcessorSettings};
use serde_json::{Value, json};

/// How long a change may take to arrive.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The planned resources in an emulator, and everything that uses them.
pub(crate) struct Rehearsal {
    pub(crate) plan: TerraformPlan,
    pub(crate) emulator: SqsEmulator,
    pub(crate) client: AwsClient,
    pub(crate) writer: Connection,
    /// The proxy between the function and SQS.
    pub(crate) proxy: FaultProxy,
    pub(crate) redis: RedisServer,
    pub(crate) subscriber: Subscriber,
    /// The URL of each queue, by its name in the plan.
    pub(crate) queues: BTreeMap<String, String>,
    /// The name of each table, by its key in the plan.
    pub(crate) tables: BTreeMap<String, String>,
    /// The expected number of records in the stream of each table.
    pub(crate) written: BTreeMap<String, usize>,
    pub(crate) environment: BTreeMap<String, String>,
    /// The function of each event source mapping, by the key of its table.
    pub(crate) functions: BTreeMap<String, MappedFunction>,
    pub(crate) package: Option<Package>,
}

/// An event source mapping and the sandbox that it invokes.
pub(crate) struct MappedFunction {
    pub(crate) source: EventSource,
    pub(crate) bootstrap: Bootstrap,
}

impl Rehearsal {
    /// Creates tables and queues. Nothing reads the streams yet.
    pub(crate) async fn prepare() -> Self {
        let plan = TerraformPlan::load();
        println!("plan: {}", plan.path().file_name().unwrap_or_default().display());
        let (emulator, redis) = (SqsEmulator::start().await, RedisServer::start().await);
        let client = AwsClient::start(emulator.endpoint()).await;
        let mut writer = client.connect().await;
        let subscriber = Subscriber::psubscribe(&redis.url(), "events:*").await;
        let port = emulator.endpoint().rsplit(':').next().unwrap().parse().unwrap();
        let proxy = FaultProxy::start(([127, 0, 0, 1], port).into()).await;
        let queues = create_queues(&plan, &mut writer).await;
        let mut tables = BTreeMap::new();
        for (key, values) in plan.of_type("aws_dynamodb_table") {
            create_table(values, &mut writer).await;
            tables.insert(key, values["name"].as_str().unwrap().to_owned());
        }
        assert_eq!(tables.keys().collect::<Vec<_>>(), ["coins", "events"]);
        let secret = json!({ "Name": "rehearsal-redis-url", "SecretString": redis.url() });
        let secret = writer.call("secretsmanager", "create_secret", secret).await["ARN"].take();
        let mut environment = environment(&plan, &queues, secret.as_str().expect("an ARN"));
        environment.insert("AWS_ENDPOINT_URL_SECRETS_MANAGER".into(), emulator.endpoint().to_owned());
        environment.insert("AWS_ENDPOINT_URL_SQS".into(), proxy.http_url());
        let (written, functions, package) = (BTreeMap::new(), BTreeMap::new(), Package::from_env());
        Self {
            plan,
            emulator,
            client,
            writer,
            proxy,
            redis,
            subscriber,
            queues,
            tables,
            written,
            environment,
            functions,
            package,
        }
    }

    /// Starts a sandbox for each mapping, as Lambda does for every shard.
    pub(crate) async fn start(&mut self) {
        let program = self.package.as_ref().map_or_else(bootstrap_path, Package::program);
        let from = self.package.as_ref().map_or("a development build", |_| "the packaged zip");
        println!("function: {from}");
        let environment: Vec<_> = self.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let timeout = self.plan.values("aws_lambda_function.processor")["timeout"].as_u64().unwrap();
        for (key, values) in self.plan.of_type("aws_lambda_event_source_mapping") {
            let api = Arc::new(RuntimeApi::start().await);
            let bootstrap = Bootstrap::start(&program, &environment, &api);
            bootstrap.initialised(&api, SOON).await;
            let table = json!({ "TableName": self.tables[&key] });
            let table = self.writer.call("dynamodb", "describe_table", table).await;
            let stream = table["Table"]["LatestStreamArn"].as_str().expect("the table has a stream");
            let settings = MappingSettings::from_plan(values);
            assert!(settings.partial, "without ReportBatchItemFailures one failure repeats a whole batch");
            let reader = self.client.connect().await;
            let source = EventSource::start(reader, stream, settings, api, Duration::from_secs(timeout));
            self.functions.insert(key, MappedFunction { source, bootstrap });
        }
        assert_eq!(self.functions.keys().collect::<Vec<_>>(), self.tables.keys().collect::<Vec<_>>());
    }

    pub(crate) async fn put(&mut self, table: &str, pk: &str, sk: i64, attributes: Value) {
        let mut item = attributes;
        item["PK"] = json!({ "S": pk });
        item["SK"] = json!({ "N": sk.to_string() });
        let request = json!({ "TableName": self.tables[table], "Item": item });
        self.writer.call("dynamodb", "put_item", request).await;
        *self.written.entry(table.to_owned()).or_default() += 1;
    }

    /// Sets one attribute of a row that exists.
    pub(crate) async fn update(&mut self, table: &str, pk: &str, sk: i64, attribute: &str, value: Value) {
        let request = json!({
            "TableName": self.tables[table],
            "Key": key(pk, sk),
            "UpdateExpression": "SET #a = :v",
            "ExpressionAttributeNames": { "#a": attribute },
            "ExpressionAttributeValues": { ":v": value },
        });
        self.writer.call("dynamodb", "update_item", request).await;
        *self.written.entry(table.to_owned()).or_default() += 1;
    }

    pub(crate) async fn delete(&mut self, table: &str, pk: &str, sk: i64) {
        let request = json!({ "TableName": self.tables[table], "Key": key(pk, sk) });
        self.writer.call("dynamodb", "delete_item", request).await;
        *self.written.entry(table.to_owned()).or_default() += 1;
    }

    /// Waits until every change written so far is processed.
    pub(crate) async fn finished(&self) -> BTreeMap<String, Log> {
        let mut logs = BTreeMap::new();
        for (key, function) in &self.functions {
            let written = self.written.get(key).copied().unwrap_or(0);
            let log = function.source.finished(written, SOON).await;
            assert_eq!(log.read.len(), written, "the stream of {key} has every write once");
            assert!(log.discarded.is_empty(), "{:?}", log.discarded);
            logs.insert(key.clone(), log);
        }
        logs
    }

    /// The events that were published so far, by id.
    pub(crate) fn published(&self) -> BTreeMap<String, Value> {
        let events = self.subscriber.messages().into_iter().map(|message| message.json());
        events.map(|event| (event["eventId"].as_str().unwrap().to_owned(), event)).collect()
    }

    pub(crate) async fn queued(&self, queue: &str) -> Vec<Message> {
        self.emulator.receive_all(&self.queues[queue]).await
    }
}

fn key(pk: &str, sk: i64) -> Value {
    json!({ "PK": { "S": pk }, "SK": { "N": sk.to_string() } })
}

/// Creates a table with its planned values.
async fn create_table(values: &Value, aws: &mut Connection) {
    let attributes = values["attribute"].as_array().unwrap().iter();
    let definitions: Vec<_> =
        attributes.map(|a| json!({ "AttributeName": a["name"], "AttributeType": a["type"] })).collect();
    let mut schema = vec![json!({ "AttributeName": values["hash_key"], "KeyType": "HASH" })];
    if values["range_key"].is_string() {
        schema.push(json!({ "AttributeName": values["range_key"], "KeyType": "RANGE" }));
    }
    let request = json!({
        "TableName": values["name"],
        "AttributeDefinitions": definitions,
        "KeySchema": schema,
        "BillingMode": values["billing_mode"],
        "StreamSpecification": {
            "StreamEnabled": values["stream_enabled"],
            "StreamViewType": values["stream_view_type"],
        },
    });
    aws.call("dynamodb", "create_table", request).await;
}

/// Creates the queues, the dead letter queue first because the other one names it. Returns their URLs by name in the
/// plan.
async fn create_queues(plan: &TerraformPlan, aws: &mut Connection) -> BTreeMap<String, String> {
    let attributes = [
        ("fifo_queue", "FifoQueue"),
        ("content_based_deduplication", "ContentBasedDeduplication"),
        ("deduplication_scope", "DeduplicationScope"),
        ("fifo_throughput_limit", "FifoThroughputLimit"),
        ("message_retention_seconds", "MessageRetentionPeriod"),
        ("visibility_timeout_seconds", "VisibilityTimeout"),
        ("receive_wait_time_seconds", "ReceiveMessageWaitTimeSeconds"),
        ("max_message_size", "MaximumMessageSize"),
        ("sqs_managed_sse_enabled", "SqsManagedSseEnabled"),
    ];
    let (mut urls, mut dlq_arn) = (BTreeMap::new(), None);
    for name in ["dlq", "events"] {
        let address = format!("aws_sqs_queue.{name}");
        let values = plan.values(&address);
        // The emulator decides by the name alone whether a queue is FIFO.
        assert_eq!(values["fifo_queue"], true, "{name}: order needs a FIFO queue");
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let planned = attributes.iter().filter(|(planned, _)| !values[*planned].is_null());
        let mut wanted: BTreeMap<_, _> =
            planned.map(|(planned, name)| (name.to_string(), text(&values[*planned]))).collect();
        // The redrive policy holds the ARN of the other queue, so the plan does not know it yet.
        if plan.unknown(&address)["redrive_policy"] == true {
            let receives = plan.variable("queue_max_receive_count").to_string();
            let target: &String = dlq_arn.as_ref().expect("the dead letter queue is created first");
            let policy = json!({ "deadLetterTargetArn": target, "maxReceiveCount": receives });
            wanted.insert("RedrivePolicy".into(), policy.to_string());
        }
        let request = json!({ "QueueName": values["name"], "Attributes": wanted });
        let url = aws.call("sqs", "create_queue", request).await["QueueUrl"].as_str().unwrap().to_owned();
        let request = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
        let created = aws.call("sqs", "get_queue_attributes", request).await["Attributes"].take();
        for (attribute, value) in &wanted {
            let actual = &created[attribute];
            assert!(actual.as_str() == Some(value), "{name}: {attribute} is {actual}, not {value}");
        }
        dlq_arn = dlq_arn.or_else(|| created["QueueArn"].as_str().map(str::to_owned));
        urls.insert(name.to_owned(), url);
    }
    assert!(plan.unknown("aws_sqs_queue.events")["redrive_policy"] == true, "the events queue has a DLQ");
    urls
}

/// The environment of the function: the planned variables, and those that are known once queues and secret exist.
fn environment(
    plan: &TerraformPlan,
    queues: &BTreeMap<String, String>,
    secret: &str,
) -> BTreeMap<String, String> {
    let function = "aws_lambda_function.processor";
    let known = plan.values(function)["environment"][0]["variables"].as_object().expect("an environment");
    let mut environment: BTreeMap<String, String> =
        known.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    let unknown = plan.unknown(function)["environment"][0]["variables"].as_object().cloned();
    for name in unknown.unwrap_or_default().keys() {
        let value = match name.as_str() {
            "EVENTS_QUEUE_URL" => &queues["events"],
            "EVENTS_DLQ_URL" => &queues["dlq"],
            "REDIS_URL_SECRET_ARN" => secret,
            _ => {
                panic!(
                    "{name} is known only after apply, and the rehearsal has no value for it: add one here"
                )
            }
        };
        environment.insert(name.clone(), value.to_owned());
    }
    assert_all_are_settings(&environment);
    environment
        .insert("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".into(), plan.values(function)["memory_size"].to_string());
    environment
}

/// Fails for a variable that the processor does not read. It would silently have no effect.
fn assert_all_are_settings(environment: &BTreeMap<String, String>) {
    let read = RefCell::new(BTreeSet::from(["REDIS_URL_SECRET_ARN".to_owned()]));
    let _ = ProcessorSettings::read(
        |name| {
            read.borrow_mut().insert(name.to_owned());
            environment.get(name).cloned()
        },
        Needs::Nothing,
        CredentialSource::Environment,
    );
    let read = read.into_inner();
    let unused: Vec<_> = environment.keys().filter(|name| !read.contains(*name)).collect();
    assert!(unused.is_empty(), "the plan sets variables that the processor does not read: {unused:?}");
}
