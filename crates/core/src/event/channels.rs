//! The channels of an event (specification, section 4).

use std::borrow::Cow;

use super::{EventType, Priority};
use crate::source::{segment, unescape_segment};

/// What decides on which channels an event is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels<'a> {
    /// Type of the event.
    pub event_type: EventType,
    /// Id of the token of a price update, else of the protocol.
    pub id: &'a str,
    /// Slug of the protocol, if known.
    pub slug: Option<&'a str>,
    /// Chain key of the data, if it has one.
    pub chain: Option<&'a str>,
    /// Priority of the event.
    pub priority: Priority,
    /// True if the event has a signal.
    pub has_signal: bool,
}

impl Channels<'_> {
    /// The names of the channels, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names = match self.event_type {
            EventType::PriceUpdate => vec!["events:prices".to_owned(), token_channel(self.id)],
            EventType::TvlChange => vec!["events:tvl".to_owned(), protocol_channel(self.id)],
            EventType::ProtocolUpdate => vec!["events:protocols".to_owned(), protocol_channel(self.id)],
            EventType::Signal => Vec::new(),
        };
        let chain = |kind: &str| self.chain.map(|chain| format!("events:chain:{}:{kind}", segment(chain)));
        match self.event_type {
            EventType::PriceUpdate => names.extend(chain("prices")),
            EventType::TvlChange => {
                names.extend(self.slug_channel());
                names.extend(chain("tvl"));
            }
            EventType::ProtocolUpdate => names.extend(self.slug_channel()),
            EventType::Signal => {}
        }
        if self.has_signal {
            names.push("events:signals".to_owned());
        }
        if self.priority == Priority::High {
            names.push("events:alerts".to_owned());
        }
        names
    }

    fn slug_channel(&self) -> Option<String> {
        self.slug.filter(|slug| *slug != self.id).map(protocol_channel)
    }
}

/// `events:protocol:{id or slug}`
pub fn protocol_channel(name: &str) -> String {
    format!("events:protocol:{}", segment(name))
}

/// `events:token:{tokenId}`
pub fn token_channel(id: &str) -> String {
    format!("events:token:{id}")
}

/// The protocol id or slug of a channel that [`protocol_channel`] names.
pub fn protocol_of_channel(channel: &str) -> Option<Cow<'_, str>> {
    let name = channel.strip_prefix("events:protocol:")?;
    Some(unescape_segment(name))
}

/// The token id of a channel that [`token_channel`] names.
pub fn token_of_channel(channel: &str) -> Option<&str> {
    channel.strip_prefix("events:token:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_channel_gives_its_id_back(id in "[a:%253A#]{1,8}") {
            let protocol = protocol_channel(&id);
            prop_assert_eq!(protocol_of_channel(&protocol).unwrap(), id.as_str());
            let token = token_channel(&id);
            prop_assert_eq!(token_of_channel(&token), Some(id.as_str()));
            prop_assert!(token_of_channel(&protocol).is_none() && protocol_of_channel(&token).is_none());
        }
    }
}
