//! Compares `infra` with the processor: names, defaults and ranges of settings, and the metrics of alarms.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use events_harness::lambda::terraform_plan::TerraformPlan;
use events_harness::servers::process::read_workspace_file as read;
use events_settings::{CredentialSource, Needs, ProcessorSettings};
use events_telemetry::NAMESPACE;

/// Variables that Lambda sets, that are known only after `apply`, or that are left out while empty.
const NOT_IN_THE_PLAN: [&str; 12] = [
    // Without a value: a cluster has no log, and the plan does not know whether the URL names one.
    "EVENT_LOG_MAX_LENGTH",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SQS",
    "EVENTS_QUEUE_URL",
    "EVENTS_DLQ_URL",
    "REDIS_CA_FILE",
    "REDIS_KEY_PREFIX",
    "REDIS_URL",
];
/// The settings without which the processor does not check the others.
const NEEDED: [(&str, &str); 5] = [
    ("REDIS_URL", "redis://h:1"),
    ("EVENTS_QUEUE_URL", "https://sqs.example/0/events.fifo"),
    ("EVENTS_DLQ_URL", "https://sqs.example/0/dlq.fifo"),
    ("AWS_ACCESS_KEY_ID", "k"),
    ("AWS_SECRET_ACCESS_KEY", "s"),
];

fn needed(name: &str) -> Option<String> {
    NEEDED.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned())
}

/// The environment of the function in a plan with default variables.
fn planned() -> BTreeMap<String, String> {
    let plan = TerraformPlan::load();
    let variables = plan.values("aws_lambda_function.processor")["environment"][0]["variables"].clone();
    serde_json::from_value(variables).expect("texts by name")
}

#[test]
fn every_setting_is_a_variable_with_the_processors_own_default() {
    let planned = planned();
    let read = RefCell::new(BTreeSet::new());
    let with_plan = ProcessorSettings::read(
        |name| {
            read.borrow_mut().insert(name.to_owned());
            needed(name).or_else(|| planned.get(name).filter(|_| name != "METRICS_STAGE").cloned())
        },
        Needs::Everything,
        CredentialSource::Environment,
    );
    let without = ProcessorSettings::read(needed, Needs::Everything, CredentialSource::Environment);
    let text =
        |settings: Result<ProcessorSettings, _>| format!("{:#?}", settings.unwrap_or_else(|e| panic!("{e}")));
    assert_eq!(text(with_plan), text(without), "a default of infra differs from the processor's");

    let missing: Vec<_> = read
        .into_inner()
        .into_iter()
        .filter(|name| !planned.contains_key(name) && !NOT_IN_THE_PLAN.contains(&&**name))
        .collect();
    assert!(missing.is_empty(), "infra/variables_settings.tf has no variable for {missing:?}");
}

/// Whatever Terraform accepts must let the function start. Both describe the accepted values in the same words, which
/// this test compares.
#[test]
fn variables_accept_what_the_processor_accepts() {
    let file = read("infra/variables_settings.tf");
    let mut compared = 0;
    for block in file.split("\nvariable \"").skip(1) {
        let (name, rest) = block.split_once('"').expect("a name");
        // `infra` accepts fewer prefixes than the processor. Only the processor checks that the file exists.
        if ["redis_key_prefix", "redis_ca_file"].contains(&name) {
            continue;
        }
        let Some((_, message)) = rest.split_once("error_message = \"") else {
            assert!(rest.contains("= bool"), "{name}: any value is taken");
            continue;
        };
        let says = message.split_once('"').expect("a message").0;
        let says = says.strip_prefix(&format!("{name} must be ")).unwrap_or_else(|| panic!("{name}: {says}"));
        let setting = name.to_uppercase();
        let wrong = |asked: &str| if asked == setting { Some("/".to_owned()) } else { needed(asked) };
        let error = ProcessorSettings::read(wrong, Needs::Everything, CredentialSource::Environment)
            .expect_err(&setting)
            .to_string();
        let accepts = error.split_once("it accepts ").unwrap_or_else(|| panic!("{error}")).1;
        // If `infra` is stricter, its text may say more.
        let same = says.strip_prefix(accepts).is_some_and(|more| more.starts_with(['.', ' ']));
        assert!(same, "{name}: infra says {says:?}, the processor {accepts:?}");
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}

/// An alarm on a metric that nobody writes is never raised.
#[test]
fn alarms_and_dashboard_name_metrics_the_processor_writes() {
    let written = read("crates/telemetry/src/metrics.rs");
    let (alarms, dashboard) = (read("infra/alarms.tf"), read("infra/dashboard.tf"));
    assert!(alarms.contains(&format!("metrics_namespace  = \"{NAMESPACE}\"")), "not {NAMESPACE}");
    let quoted = [&alarms, &dashboard].into_iter().flat_map(|file| file.split('"').skip(1).step_by(2));
    // The processor's metrics are in lowerCamelCase. So are two words of CloudWatch.
    let camel = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.contains(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let named: BTreeSet<&str> =
        quoted.filter(camel).filter(|w| !["notBreaching", "timeSeries"].contains(w)).collect();
    assert!(named.len() > 10, "{named:?}");
    for metric in named {
        assert!(written.contains(&format!("\"{metric}\"")), "the processor writes no {metric}");
    }
}
