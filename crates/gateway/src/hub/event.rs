//! An event of the log, ready to be sent.

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use events_core::delivery::{LogEntry, Position};
use events_core::event::{Channels, EventType, Priority};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio_tungstenite::tungstenite::{Bytes, Utf8Bytes};

/// An event of the log. It is encoded once, and all connections share the bytes.
#[derive(Debug)]
pub struct LogEvent {
    /// Where it is in the log.
    pub position: Position,
    /// The event with its position, JSON.
    pub json: Utf8Bytes,
    /// Its channels.
    pub channels: Box<[Box<str>]>,
    /// Type of the event.
    pub event_type: EventType,
    /// Priority of the event.
    pub priority: Priority,
    /// Protocol of the event.
    pub protocol_id: Option<Box<str>>,
    /// Slug of the protocol, if the event has it.
    pub protocol_slug: Option<Box<str>>,
    /// Token of the event.
    pub token_id: Option<Box<str>>,
    /// Chain of the event.
    pub chain: Option<Box<str>>,
    /// What the event is the latest value of: protocol or token, chain and type. Equal for events that replace each other.
    /// `None` for an event that no later one replaces.
    pub replaces: Option<u64>,
    sse: OnceCell<Bytes>,
}

/// What the gateway reads of an event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    event_type: EventType,
    metadata: MetadataView,
    #[serde(borrow)]
    data: DataView<'a>,
}

#[derive(Deserialize)]
struct MetadataView {
    priority: Priority,
    /// Present on an event with a signal.
    signal: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataView<'a> {
    #[serde(borrow)]
    protocol_id: Option<Text<'a>>,
    #[serde(borrow)]
    protocol_slug: Option<Text<'a>>,
    #[serde(borrow)]
    token_id: Option<Text<'a>>,
    #[serde(borrow)]
    chain: Option<Text<'a>>,
}

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

impl LogEvent {
    /// Reads an entry of the log. Returns what is wrong with one that is no event.
    pub fn read(entry: &LogEntry) -> Result<Self, String> {
        let LogEntry { position, event } = entry;
        let position = *position;
        let view: View<'_> = serde_json::from_str(event).map_err(|error| error.to_string())?;
        let View { event_type, metadata: MetadataView { priority, signal }, data } = view;
        let text = |text: Option<Text<'_>>| text.map(|text| Box::<str>::from(text.0));
        let (protocol_id, protocol_slug) = (text(data.protocol_id), text(data.protocol_slug));
        let (token_id, chain) = (text(data.token_id), text(data.chain));
        let id = match event_type {
            EventType::PriceUpdate => &token_id,
            EventType::TvlChange | EventType::ProtocolUpdate => &protocol_id,
            EventType::Signal if token_id.is_some() => &token_id,
            EventType::Signal => &protocol_id,
        };
        let id = id.as_deref().ok_or("the event has neither the protocolId nor the tokenId of its type")?;
        let (slug, chain_key) = (protocol_slug.as_deref(), chain.as_deref());
        let has_signal = signal.is_some();
        let names = Channels { event_type, id, slug, chain: chain_key, priority, has_signal }.names();
        let has_value = matches!(event_type, EventType::PriceUpdate | EventType::TvlChange);
        let replaces = has_value.then(|| {
            let mut hasher = DefaultHasher::new();
            (event_type, id, chain_key).hash(&mut hasher);
            hasher.finish()
        });
        let rest = event.trim_start().strip_prefix('{').ok_or("the event is no object")?;
        // Outside of texts, JSON may have line breaks. They would end a message of Server-Sent Events.
        let rest = rest.replace(['\n', '\r'], " ");
        Ok(Self {
            position,
            json: format!("{{\"position\":\"{position}\",{rest}").into(),
            channels: names.into_iter().map(String::into_boxed_str).collect(),
            event_type,
            priority,
            protocol_id,
            protocol_slug,
            token_id,
            chain,
            replaces,
            sse: OnceCell::new(),
        })
    }

    /// The event as a message of Server-Sent Events.
    pub fn sse(&self) -> Bytes {
        self.sse.get_or_init(|| format!("id: {}\ndata: {}\n\n", self.position, self.json).into()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &str) -> Result<LogEvent, String> {
        LogEvent::read(&LogEntry { position: "5-1".parse().unwrap(), event: event.to_owned() })
    }

    #[test]
    fn an_event_has_its_position_and_its_channels() {
        let event = read(
            r#"{"eventId":"u","eventType":"tvl_change","metadata":{"priority":"high","x":1},
               "data":{"protocolId":"1","protocolSlug":"a\"b","chain":"era","currentTvl":1.0}}"#,
        )
        .unwrap();
        assert!(event.json.as_str().starts_with(r#"{"position":"5-1","eventId":"u","#), "{}", event.json);
        let channels: Vec<&str> = event.channels.iter().map(AsRef::as_ref).collect();
        assert_eq!(
            channels,
            [
                "events:tvl",
                "events:protocol:1",
                "events:protocol:a\"b",
                "events:chain:era:tvl",
                "events:alerts"
            ]
        );
        let sse = event.sse();
        assert!(sse.starts_with(b"id: 5-1\ndata: {\"position\"") && sse.ends_with(b"}\n\n"));
    }

    #[test]
    fn what_is_no_event_is_refused_with_a_reason() {
        for text in [
            "",
            "1",
            "{}",
            r#"{"eventType":"other","metadata":{"priority":"low"},"data":{}}"#,
            r#"{"eventType":"price_update","metadata":{"priority":"low"},"data":{"protocolId":"1"}}"#,
        ] {
            assert!(!read(text).unwrap_err().is_empty(), "{text}");
        }
    }

    #[test]
    fn only_values_replace_each_other() {
        let replaces = |event_type: &str, data: &str| {
            read(&format!(r#"{{"eventType":"{event_type}","metadata":{{"priority":"low"}},"data":{data}}}"#))
                .unwrap()
                .replaces
        };
        let total = replaces("tvl_change", r#"{"protocolId":"1","currentTvl":2}"#);
        assert_eq!(total, replaces("tvl_change", r#"{"protocolId":"1","currentTvl":3}"#));
        assert_ne!(total, replaces("tvl_change", r#"{"protocolId":"1","chain":"era"}"#));
        assert_ne!(total, replaces("price_update", r#"{"tokenId":"1"}"#));
        assert_eq!(replaces("protocol_update", r#"{"protocolId":"1"}"#), None);
    }
}
