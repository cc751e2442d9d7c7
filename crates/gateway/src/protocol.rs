//! The messages of clients and of the gateway, as text. The contract is `docs/live.md`.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use events_core::delivery::Position;
use events_core::event::{EventType, Priority};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::access::Limits;
use crate::hub::{Dropped, Filters, LogEvent, Name};

/// Version of the contract.
pub const VERSION: &str = "1";
/// Longest name of a channel, bytes.
pub const LONGEST_NAME: usize = 256;
/// Most values in one list of filters.
const MOST_FILTER_VALUES: usize = 1_000;

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Subscribe to channels.
    Subscribe(Subscribe),
    /// Give channels up.
    Unsubscribe(Vec<Name>),
    /// Answer at once.
    Ping,
}

/// A wish to subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Channels and patterns, at least one.
    pub names: Vec<Name>,
    /// Which of their events.
    pub filters: Filters,
    /// The position to resume after.
    pub since: Option<Position>,
    /// Whether a snapshot is wanted.
    pub snapshot: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest {
    action: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    channel: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    filters: Option<RawFilters>,
    since: Option<String>,
    #[serde(default = "yes")]
    snapshot: bool,
}

fn yes() -> bool {
    true
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawFilters {
    #[serde(default)]
    protocol_ids: Vec<String>,
    #[serde(default)]
    token_ids: Vec<String>,
    #[serde(default)]
    chains: Vec<String>,
    #[serde(default)]
    event_types: Vec<EventType>,
    min_priority: Option<Priority>,
}

impl Request {
    /// Reads a message. An error says what was wrong and what is accepted.
    pub fn read(text: &str) -> Result<Self, String> {
        let raw: RawRequest =
            serde_json::from_str(text).map_err(|error| format!("not a message of this protocol: {error}"))?;
        match raw.action.as_deref().or(raw.kind.as_deref()) {
            Some("subscribe") => Ok(Self::Subscribe(subscribe(raw)?)),
            Some("unsubscribe") => names(raw.channel.as_ref(), &raw.channels).map(Self::Unsubscribe),
            Some("ping") => Ok(Self::Ping),
            Some(other) => {
                Err(format!("action is {:?}; accepted are subscribe, unsubscribe and ping", shown(other)))
            }
            None => Err("action is missing; accepted are subscribe, unsubscribe and ping".to_owned()),
        }
    }
}

fn subscribe(raw: RawRequest) -> Result<Subscribe, String> {
    let filters = raw.filters.unwrap_or_default();
    let lists = [filters.protocol_ids.len(), filters.token_ids.len(), filters.chains.len()];
    if lists.into_iter().any(|length| length > MOST_FILTER_VALUES) {
        return Err(format!("a list of filters has more than {MOST_FILTER_VALUES} values"));
    }
    Ok(Subscribe {
        names: names(raw.channel.as_ref(), &raw.channels)?,
        filters: Filters {
            protocol_ids: filters.protocol_ids,
            token_ids: filters.token_ids,
            chains: filters.chains,
            event_types: filters.event_types,
            min_priority: filters.min_priority,
        },
        since: raw.since.as_deref().map(position).transpose()?,
        snapshot: raw.snapshot,
    })
}

/// Reads a position.
pub fn position(text: &str) -> Result<Position, String> {
    text.parse().map_err(|error| format!("since is {:?}: {error}", shown(text)))
}

fn names(channel: Option<&String>, channels: &[String]) -> Result<Vec<Name>, String> {
    let names: Vec<Name> =
        channel.into_iter().chain(channels).map(|text| name(text)).collect::<Result<_, String>>()?;
    // A name that comes twice counts, and costs, once.
    let mut seen = HashSet::new();
    let names: Vec<Name> = names.into_iter().filter(|name| seen.insert(name.clone())).collect();
    if names.is_empty() {
        return Err(
            "channel or channels is missing, such as \"events:tvl\" or \"events:protocol:*\"".to_owned()
        );
    }
    Ok(names)
}

/// Reads the name of a channel, or a pattern.
pub fn name(text: &str) -> Result<Name, String> {
    let accepted = "a channel begins with events:, has at most 256 bytes, and * only at its end";
    let body = text.strip_suffix('*').unwrap_or(text);
    // `*` alone, and every beginning of `events:`, is a pattern of all channels.
    let is_beginning = text.len() != body.len() && "events:".starts_with(body);
    let fits =
        (body.starts_with("events:") || is_beginning) && text.len() <= LONGEST_NAME && !body.contains('*');
    if fits { Ok(Name::new(text)) } else { Err(format!("channel is {:?}; {accepted}", shown(text))) }
}

/// The beginning of a text, for an error.
fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(80).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

fn text(message: &impl Serialize) -> String {
    // Texts, numbers and JSON that was read before always serialise.
    serde_json::to_string(message).unwrap_or_default()
}

fn listed<N: Borrow<Name>>(names: &[N]) -> Vec<&str> {
    names.iter().map(|name| name.borrow().as_str()).collect()
}

/// The first message.
pub fn welcome(position: Position, limits: &Limits, ping_secs: u64) -> String {
    text(&serde_json::json!({
        "type": "welcome",
        "version": VERSION,
        "position": position.to_string(),
        "limits": {
            "channels": limits.channels,
            "messageBytes": limits.message_bytes,
            "messagesPerSecond": limits.messages_per_second,
        },
        "pingSeconds": ping_secs,
    }))
}

/// What is known at a position.
pub fn snapshot<N: Borrow<Name>>(
    names: &[N],
    position: Position,
    state: &BTreeMap<String, String>,
    complete: bool,
    events: &[Rc<LogEvent>],
) -> String {
    #[derive(Serialize)]
    struct Snapshot<'a> {
        r#type: &'static str,
        channels: Vec<&'a str>,
        position: String,
        state: BTreeMap<&'a str, &'a RawValue>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        incomplete: bool,
        events: Vec<&'a RawValue>,
    }
    // A value that is no JSON is left out. This system does not write such values.
    let values =
        state.iter().filter_map(|(key, json)| Some((key.as_str(), serde_json::from_str(json).ok()?)));
    let events = events.iter().filter_map(|event| serde_json::from_str(event.json.as_str()).ok());
    text(&Snapshot {
        r#type: "snapshot",
        channels: listed(names),
        position: position.to_string(),
        state: values.collect(),
        incomplete: !complete,
        events: events.collect(),
    })
}

/// A subscription goes on after a position.
pub fn resumed(names: &[Name], since: Position, position: Position) -> String {
    text(&serde_json::json!({
        "type": "resumed", "channels": listed(names), "since": since.to_string(), "position": position.to_string(),
    }))
}

/// Events after a position are lost to the connection.
pub fn gap<N: Borrow<Name>>(names: &[N], reason: &str, since: Position, oldest: Position) -> String {
    text(&serde_json::json!({
        "type": "gap", "channels": listed(names), "reason": reason,
        "since": since.to_string(), "oldest": oldest.to_string(),
    }))
}

/// Events were dropped because the connection was too slow.
pub fn dropped(Dropped { count, since }: Dropped) -> String {
    text(&serde_json::json!({"type": "dropped", "count": count, "since": since.to_string()}))
}

/// Channels were given up.
pub fn unsubscribed(names: &[Name]) -> String {
    text(&serde_json::json!({"type": "unsubscribed", "channels": listed(names)}))
}

/// The answer to a ping.
pub fn pong(now_ms: i64) -> String {
    text(&serde_json::json!({"type": "pong", "timestamp": now_ms}))
}

/// A message was wrong.
pub fn error(code: &str, message: &str) -> String {
    text(&serde_json::json!({"type": "error", "code": code, "message": message}))
}

/// The gateway stops.
pub fn goodbye(retry_after_ms: u64) -> String {
    text(&serde_json::json!({"type": "goodbye", "retryAfter": retry_after_ms}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(text: &str) -> Subscribe {
        match Request::read(text) {
            Ok(Request::Subscribe(subscribe)) => subscribe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_form_of_the_seed_is_accepted() {
        let wish = subscribe(r#"{"action":"subscribe","channel":"events:protocol:uniswap-v3"}"#);
        assert_eq!(wish.names, [Name::new("events:protocol:uniswap-v3")]);
        assert!(wish.snapshot && wish.since.is_none() && wish.filters == Filters::default());
        assert_eq!(Request::read(r#"{"type":"ping"}"#), Ok(Request::Ping));
        assert_eq!(Request::read(r#"{"action":"ping","more":1}"#), Ok(Request::Ping));
    }

    #[test]
    fn every_field_is_read() {
        let wish = subscribe(
            r#"{"action":"subscribe","channel":"events:tvl","channels":["events:*","*"],"since":"5-1","snapshot":false,
               "filters":{"protocolIds":["1"],"tokenIds":["t"],"chains":["era"],"eventTypes":["tvl_change"],"minPriority":"high"}}"#,
        );
        assert_eq!(wish.names, [Name::new("events:tvl"), Name::new("events:*"), Name::new("*")]);
        assert_eq!((wish.since, wish.snapshot), ("5-1".parse().ok(), false));
        assert_eq!(wish.filters.event_types, [EventType::TvlChange]);
        assert_eq!(wish.filters.min_priority, Some(Priority::High));
        let unsubscribe = Request::read(r#"{"action":"unsubscribe","channels":["events:tvl"]}"#);
        assert_eq!(unsubscribe, Ok(Request::Unsubscribe(vec![Name::new("events:tvl")])));
    }

    #[test]
    fn an_error_says_what_is_accepted() {
        for (text, wanted) in [
            ("", "not a message"),
            ("[]", "not a message"),
            ("{}", "action is missing; accepted are subscribe"),
            (r#"{"action":"subscibe"}"#, "\"subscibe\"; accepted are subscribe"),
            (r#"{"action":"subscribe"}"#, "such as \"events:tvl\""),
            (r#"{"action":"subscribe","channel":"tvl"}"#, "begins with events:"),
            (r#"{"action":"subscribe","channel":"events:*:tvl"}"#, "* only at its end"),
            (r#"{"action":"subscribe","channel":"events:tvl","since":"x"}"#, "such as 1764237600123-0"),
            (r#"{"action":"subscribe","channel":"events:tvl","filters":{"chain":["era"]}}"#, "`chains`"),
            (
                r#"{"action":"subscribe","channel":"events:tvl","filters":{"minPriority":"urgent"}}"#,
                "`medium`",
            ),
        ] {
            let error = Request::read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let long = format!(r#"{{"action":"subscribe","channel":"events:{}"}}"#, "x".repeat(300));
        assert!(Request::read(&long).unwrap_err().len() < 300);
    }
}
