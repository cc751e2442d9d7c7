//! The JSON Schema of the events, and the AsyncAPI document of the gateway's messages.

use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

use events_core::delivery::{LogEntry, Position};
use events_core::event::Event;
use events_gateway::Limits;
use events_gateway::hub::{Dropped, LogEvent, Name};
use events_gateway::protocol;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{read, workspace};

const SCHEMA: &str = "docs/schemas/event.schema.json";
const ASYNCAPI: &str = "docs/live.asyncapi.json";

fn parsed(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn problems(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// `UPDATE_SCHEMA=1` writes the file.
#[test]
fn the_schema_is_made_from_the_types() {
    let schema = serde_json::to_value(schemars::schema_for!(Event)).unwrap();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        fs::write(workspace().join(SCHEMA), text).unwrap();
    }
    assert_eq!(parsed(SCHEMA), schema, "run the test with UPDATE_SCHEMA=1, and look at what changes");
}

fn golden_events() -> Vec<Value> {
    let folder = workspace().join("crates/core/tests/golden");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let events = files.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    events.map(|path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()).collect()
}

#[test]
fn the_golden_events_fit_the_schema_and_broken_ones_do_not() {
    let schema = jsonschema::validator_for(&parsed(SCHEMA)).unwrap();
    let events = golden_events();
    assert!(events.len() > 4);
    for event in events {
        assert_eq!(problems(&schema, &event), Vec::<String>::new(), "{event}");
        for (pointer, wrong) in [
            ("/eventId", json!(5)),
            ("/eventType", json!("tvl")),
            ("/timestamp", json!("now")),
            ("/metadata/priority", json!("urgent")),
            ("/metadata/tags", json!("tvl")),
            ("/data", json!({"protocolId": "1"})),
        ] {
            let mut broken = event.clone();
            *broken.pointer_mut(pointer).unwrap() = wrong;
            assert!(!schema.is_valid(&broken), "{broken}");
        }
    }
}

/// The schema of one message of the AsyncAPI document.
fn message_schema(name: &str) -> Validator {
    let document = parsed(ASYNCAPI);
    let payload = &document["components"]["messages"][name]["payload"];
    assert!(payload.is_object(), "{ASYNCAPI} has no message {name}");
    // The event's schema is a file of its own. Here it stands where the document refers to it.
    let text = json!({"allOf": [payload], "components": document["components"], "event": parsed(SCHEMA)})
        .to_string();
    let text = text.replace("schemas/event.schema.json", "#/event").replace("#/$defs/", "#/event/$defs/");
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[test]
fn every_message_of_the_gateway_is_that_of_the_document() {
    let (since, position): (Position, Position) = ("5-1".parse().unwrap(), "7-0".parse().unwrap());
    let names = [Name::new("events:tvl"), Name::new("events:protocol:*")];
    let log_event =
        |event: &Value| Rc::new(LogEvent::read(&LogEntry { position, event: event.to_string() }).unwrap());
    let events: Vec<_> = golden_events().iter().map(log_event).collect();
    let state = BTreeMap::from([("tvl:1".to_owned(), "{\"tvl\":5.0}".to_owned())]);
    let messages = [
        ("welcome", protocol::welcome(position, &Limits::default(), 25)),
        ("snapshot", protocol::snapshot(&names, position, &state, true, &events)),
        ("snapshot", protocol::snapshot(&names, position, &BTreeMap::new(), false, &[])),
        ("resumed", protocol::resumed(&names, since, position)),
        ("gap", protocol::gap(&names, "why", since, position)),
        ("dropped", protocol::dropped(Dropped { count: 3, since })),
        ("unsubscribed", protocol::unsubscribed(&names)),
        ("pong", protocol::pong(5)),
        ("error", protocol::error("bad_request", "why")),
        ("goodbye", protocol::goodbye(500)),
        ("event", events[0].json.to_string()),
    ];
    for (name, text) in &messages {
        let message: Value = serde_json::from_str(text).unwrap();
        let schema = message_schema(name);
        assert_eq!(problems(&schema, &message), Vec::<String>::new(), "{text}");
        let mut broken = message.clone();
        broken[if *name == "event" { "position" } else { "type" }] = json!(5);
        assert!(!schema.is_valid(&broken), "{broken}");
    }
    let documented = parsed(ASYNCAPI)["components"]["messages"].as_object().unwrap().len();
    assert_eq!(documented, 10 + 3, "the messages of the gateway, and the three of clients");
}

#[test]
fn what_a_client_may_send_is_that_of_the_document() {
    for (name, text, accepted) in [
        ("subscribe", r#"{"action":"subscribe","channel":"events:protocol:uniswap-v3"}"#, true),
        (
            "subscribe",
            r#"{"action":"subscribe","channels":["events:*"],"since":"5-1","snapshot":false,
                "filters":{"chains":["era"],"eventTypes":["tvl_change"],"minPriority":"high"}}"#,
            true,
        ),
        ("subscribe", r#"{"action":"subscribe"}"#, false),
        ("subscribe", r#"{"action":"subscribe","channel":"events:tvl","since":"now"}"#, false),
        ("subscribe", r#"{"action":"subscribe","channel":"events:tvl","filters":{"chain":"era"}}"#, false),
        ("unsubscribe", r#"{"action":"unsubscribe","channels":["events:tvl"]}"#, true),
        ("unsubscribe", r#"{"action":"unsubscribe"}"#, false),
        ("ping", r#"{"action":"ping"}"#, true),
        ("ping", r#"{"type":"ping"}"#, true),
        ("ping", r#"{}"#, false),
    ] {
        let message = serde_json::from_str(text).unwrap();
        assert_eq!(message_schema(name).is_valid(&message), accepted, "document: {text}");
        assert_eq!(protocol::Request::read(text).is_ok(), accepted, "gateway: {text}");
    }
}
