//! How far each message group is: an event that is older than what its group has had would take the group back in time.

use std::borrow::Cow;
use std::collections::HashMap;

use events_adapters::redis::RedisEventLog;
use events_core::delivery::Position;
use events_core::source::Subject;
use events_processor::ports::PortError;
use serde::Deserialize;

/// Entries of one read.
const PAGE: usize = 1_000;

/// The time of the newest event of each group, from the log of all events.
#[derive(Debug, Default)]
pub(super) struct GroupTimes {
    newest: HashMap<String, i64>,
    read: Position,
    /// Events before this time may be missing, ms since 1970. `None`: the log has all that there ever were.
    floor_ms: Option<i64>,
}

#[derive(Deserialize)]
struct EventJson<'a> {
    timestamp: i64,
    #[serde(borrow)]
    data: DataJson<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataJson<'a> {
    #[serde(borrow)]
    protocol_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    token_id: Option<Cow<'a, str>>,
}

impl GroupTimes {
    /// Reads what the log has got since the last time.
    pub(super) async fn follow(&mut self, log: &RedisEventLog) -> Result<(), PortError> {
        loop {
            let page = log.page(self.read, PAGE).await?;
            if self.read == Position::START && page.trimmed {
                let oldest = page.oldest.unwrap_or(page.newest);
                self.floor_ms = Some(i64::try_from(oldest.ms).unwrap_or(i64::MAX));
            }
            let count = page.entries.len();
            for entry in page.entries {
                self.read = entry.position;
                // What is no event concerns no group.
                if let Ok(event) = serde_json::from_str::<EventJson<'_>>(&entry.event) {
                    self.add(event);
                }
            }
            if count < PAGE {
                return Ok(());
            }
        }
    }

    fn add(&mut self, event: EventJson<'_>) {
        let DataJson { protocol_id, token_id } = event.data;
        let subject = match (protocol_id, token_id) {
            (Some(id), _) => Subject::Protocol(id.into_owned()),
            (None, Some(id)) => Subject::Token(id.into_owned()),
            (None, None) => return,
        };
        self.sent(&subject.group_id(), event.timestamp);
    }

    /// Notes that a group has got an event.
    pub(super) fn sent(&mut self, group: &str, timestamp: i64) {
        let newest = self.newest.entry(group.to_owned()).or_insert(timestamp);
        *newest = timestamp.max(*newest);
    }

    /// Why an event would take its group back in time, if it would.
    pub(super) fn overtaken(&self, group: &str, timestamp: i64) -> Option<String> {
        match (self.newest.get(group), self.floor_ms) {
            (Some(newest), _) if *newest > timestamp => {
                Some(format!("its group has had an event that is {} ms newer", newest - timestamp))
            }
            (Some(_), _) => None,
            (None, Some(floor)) if floor > timestamp => Some(
                "the log of events does not reach back to it, so newer ones may have gone out".to_owned(),
            ),
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_older_event_is_overtaken() {
        let mut times = GroupTimes::default();
        times.add(serde_json::from_str(r#"{"timestamp":5,"data":{"protocolId":"1"}}"#).unwrap());
        times.add(serde_json::from_str(r#"{"timestamp":3,"data":{"protocolId":"1"}}"#).unwrap());
        let is = |times: &GroupTimes, group, at| times.overtaken(group, at).is_some();
        assert_eq!([4, 5, 6].map(|at| is(&times, "protocol:1", at)), [true, false, false]);
        assert!(!is(&times, "token:1", 1));
        times.floor_ms = Some(10);
        assert_eq!([9, 10].map(|at| is(&times, "token:1", at)), [true, false]);
        times.sent("token:1", 20);
        assert!(is(&times, "token:1", 19));
    }
}
