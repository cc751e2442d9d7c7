//! Which events the replay shows, and under which names. It processes all of them: a filter changes no result.

use events_core::event::{Data, Event, EventType, Priority};
use serde::Serialize;

use crate::names::Names;

/// Every type of event.
pub(crate) const TYPES: [EventType; 4] =
    [EventType::TvlChange, EventType::PriceUpdate, EventType::ProtocolUpdate, EventType::Signal];
/// Every priority, the most urgent first.
pub(crate) const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Medium, Priority::Low];

/// Which events are shown. An empty list is no restriction. Events have to fit every list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Filter {
    /// Ids, slugs or names of protocols.
    #[serde(rename = "protocol")]
    pub protocols: Vec<String>,
    /// Chain keys.
    #[serde(rename = "chain")]
    pub chains: Vec<String>,
    /// Types.
    #[serde(rename = "type")]
    pub types: Vec<EventType>,
    /// Priorities.
    #[serde(rename = "priority")]
    pub priorities: Vec<Priority>,
}

impl Filter {
    /// True if every event is shown.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is shown, and under which names.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Which events.
    pub filter: Filter,
    /// Names from a file. They replace those in the data.
    pub names: Names,
}

impl View {
    /// The name of the protocol or token of an event, if known.
    pub(crate) fn name<'a>(&'a self, event: &'a Event) -> Option<&'a str> {
        self.names.of(id(event)).or_else(|| event.name())
    }

    /// True if the event is shown.
    pub(crate) fn shows(&self, event: &Event) -> bool {
        let Filter { protocols, chains, types, priorities } = &self.filter;
        (types.is_empty() || types.contains(&event.event_type))
            && (priorities.is_empty() || priorities.contains(&event.metadata.priority))
            && (chains.is_empty() || event.chain().is_some_and(|chain| contains(chains, chain)))
            && (protocols.is_empty() || self.is_one_of(protocols, event))
    }

    fn is_one_of(&self, protocols: &[String], event: &Event) -> bool {
        let slug = match &event.data {
            Data::Tvl(data) => data.protocol_slug.as_deref(),
            Data::Protocol(data) => data.protocol_slug.as_deref(),
            Data::Price(_) => return false,
        };
        let known = [Some(id(event)), slug, event.name(), self.names.of(id(event))];
        known.into_iter().flatten().any(|name| contains(protocols, name))
    }
}

/// The id of the protocol or token of an event.
pub(crate) fn id(event: &Event) -> &str {
    match &event.data {
        Data::Price(data) => &data.token_id,
        Data::Tvl(data) => &data.protocol_id,
        Data::Protocol(data) => &data.protocol_id,
    }
}

fn contains(list: &[String], text: &str) -> bool {
    list.iter().any(|entry| entry.eq_ignore_ascii_case(text))
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let types = self.types.iter().map(|kind| kind.name().to_owned()).collect();
        let priorities = self.priorities.iter().map(|priority| priority.name().to_owned()).collect();
        let lists: [(&str, &Vec<String>); 4] = [
            ("protocol", &self.protocols),
            ("chain", &self.chains),
            ("type", &types),
            ("priority", &priorities),
        ];
        let shown: Vec<String> = lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name} {}", list.join(" or ")))
            .collect();
        f.write_str(&shown.join(", "))
    }
}
