//! What a subscription lets through.

use events_core::event::{EventType, Priority};

use super::event::LogEvent;

/// The filters of a subscription. A list that is empty lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Protocols. With `token_ids`: one of these protocols or tokens.
    pub protocol_ids: Vec<String>,
    /// Tokens.
    pub token_ids: Vec<String>,
    /// Chains. An event without a chain, such as the total of a protocol, is on none.
    pub chains: Vec<String>,
    /// Types.
    pub event_types: Vec<EventType>,
    /// The lowest priority.
    pub min_priority: Option<Priority>,
}

impl Filters {
    /// True if an event passes.
    pub fn pass(&self, event: &LogEvent) -> bool {
        let has = |list: &[String], value: &Option<Box<str>>| {
            value.as_deref().is_some_and(|value| list.iter().any(|item| item == value))
        };
        let subject = self.protocol_ids.is_empty() && self.token_ids.is_empty()
            || has(&self.protocol_ids, &event.protocol_id)
            || has(&self.token_ids, &event.token_id);
        subject
            && (self.chains.is_empty() || has(&self.chains, &event.chain))
            && (self.event_types.is_empty() || self.event_types.contains(&event.event_type))
            && self.min_priority.is_none_or(|least| event.priority >= least)
    }
}
