//! Checks what clients of the gateway send, and what stands in the log: text that anyone may have written.

use std::rc::Rc;

use events_core::delivery::{LogEntry, Position};
use events_gateway::hub::{Filters, Hub, Item, LogEvent, Name, Taken};
use events_gateway::protocol::{LONGEST_NAME, Request, Subscribe, snapshot};
use serde_json::Value;
use tokio::sync::Notify;

/// Longest answer to a wrong message, bytes: an error must not send back what came in.
const LONGEST_ERROR: usize = 1_000;

/// Events of each type, as the log holds them.
const EVENTS: [&str; 4] = [
    r#"{"eventType":"tvl_change","metadata":{"priority":"high"},"data":{"protocolId":"1","protocolSlug":"one","chain":"era"}}"#,
    r#"{"eventType":"tvl_change","metadata":{"priority":"low"},"data":{"protocolId":"2"}}"#,
    r#"{"eventType":"price_update","metadata":{"priority":"medium"},"data":{"tokenId":"era:0x1","chain":"era"}}"#,
    r#"{"eventType":"protocol_update","metadata":{"priority":"medium"},"data":{"protocolId":"1"}}"#,
];

fn position(number: usize) -> Position {
    Position { ms: 1 + number as u64, number: 0 }
}

/// The line is a message of a client. It is answered, or it subscribes to what it says.
pub fn check_message(line: &str) {
    match Request::read(line) {
        Err(problem) => assert!(!problem.is_empty() && problem.len() <= LONGEST_ERROR, "{problem}"),
        Ok(Request::Ping) => {}
        Ok(Request::Unsubscribe(names)) => check_names(&names),
        Ok(Request::Subscribe(wish)) => {
            check_names(&wish.names);
            check_subscription(&wish);
        }
    }
}

fn check_names(names: &[Name]) {
    assert!(!names.is_empty());
    for name in names {
        assert!(name.as_str().len() <= LONGEST_NAME);
        assert!(!name.as_str().trim_end_matches('*').contains('*') || name.as_str().ends_with("**"));
    }
    let text = snapshot(names, Position::START, &std::collections::BTreeMap::new(), true, &[]);
    let message: Value = serde_json::from_str(&text).expect("a message is JSON");
    assert_eq!(message["channels"].as_array().map(Vec::len), Some(names.len()));
}

/// A client gets exactly the events that its channels and filters name.
fn check_subscription(wish: &Subscribe) {
    let mut hub = Hub::new(EVENTS.len());
    let id = hub.connect(Rc::new(Notify::new()));
    let filters = Rc::new(wish.filters.clone());
    hub.subscribe(id, &wish.names, &filters, Position::START).expect("the beginning is covered");
    let mut wanted = Vec::new();
    for (number, event) in EVENTS.iter().enumerate() {
        let entry = LogEntry { position: position(number), event: (*event).to_owned() };
        let read = LogEvent::read(&entry).expect("it is an event");
        let on_channel =
            read.channels.iter().any(|channel| wish.names.iter().any(|name| names(name, channel)));
        let value: Value = serde_json::from_str(event).expect("it is JSON");
        if on_channel && passes(&wish.filters, &value) {
            wanted.push(entry.position);
        }
        hub.append(read);
    }
    let Taken { items, more, lost } = hub.take(id);
    assert!(!more && lost.is_none());
    let got: Vec<Position> = items
        .iter()
        .filter_map(|item| match item {
            Item::Event(event) => Some(event.position),
            Item::Message(_) => None,
            Item::Dropped(dropped) => panic!("{dropped:?}"),
        })
        .collect();
    assert_eq!(got, wanted);
}

fn names(name: &Name, channel: &str) -> bool {
    match name.as_str().strip_suffix('*') {
        Some(prefix) => channel.starts_with(prefix),
        None => channel == name.as_str(),
    }
}

/// The filters, once more, from the JSON of an event.
fn passes(filters: &Filters, event: &Value) -> bool {
    let Filters { protocol_ids, token_ids, chains, event_types, min_priority } = filters;
    let data = |field: &str| event["data"][field].as_str();
    let lists =
        |list: &[String], field: &str| data(field).is_some_and(|value| list.contains(&value.to_owned()));
    let order = ["low", "medium", "high"];
    let rank = |name: &str| order.iter().position(|one| *one == name);
    let priority = event["metadata"]["priority"].as_str().unwrap_or_default();
    (protocol_ids.is_empty() && token_ids.is_empty()
        || lists(protocol_ids, "protocolId")
        || lists(token_ids, "tokenId"))
        && (chains.is_empty() || lists(chains, "chain"))
        && (event_types.is_empty() || event_types.iter().any(|one| event["eventType"] == one.name()))
        && min_priority.is_none_or(|least| rank(priority) >= rank(least.name()))
}

/// The line is an entry of the log. It is refused with a reason, or sent as it is, with its position in front.
pub fn check_entry(line: &str) {
    let entry = LogEntry { position: position(7), event: line.to_owned() };
    let event = match LogEvent::read(&entry) {
        Ok(event) => event,
        Err(problem) => {
            assert!(!problem.is_empty());
            return;
        }
    };
    assert!(event.channels.len() >= 2 && event.channels.iter().all(|channel| channel.starts_with("events:")));
    // The gateway reads only some fields, so half of a surrogate pair or a deep nesting may stand in another.
    let Ok(mut stored) = serde_json::from_str::<Value>(line) else { return };
    let mut sent: Value = serde_json::from_str(event.json.as_str()).expect("what is sent is JSON");
    let own = stored.as_object_mut().expect("an event is an object").remove("position");
    let fields = sent.as_object_mut().expect("an event is an object");
    let position = fields.remove("position");
    // An entry that has a position of its own was not written by this system. The later field counts for most readers.
    assert_eq!(position, own.or_else(|| Some("8-0".into())));
    assert_eq!(sent, stored);
    // A line break would end a message of Server-Sent Events.
    let lines = event.sse().split(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert_eq!(lines, 4, "an id, the data, and an empty line");
}
