//! Deterministic ids: every delivery of a change gives the same ids.

use std::borrow::Cow;

use uuid::Uuid;

/// Namespace of the UUIDv5 ids. It must never change, because consumers recognise repeated events by their id.
const NAMESPACE: Uuid = Uuid::from_u128(0x5b0f_9d3a_6a5e_4c1b_9d57_2f7c_0e61_b8a4);

/// The change that an event announces, and so everything that its id depends on.
#[derive(Clone, Copy, Debug)]
pub struct EventName<'a> {
    /// Partition key of the row.
    pub pk: &'a str,
    /// Data time of the row, ms since 1970.
    pub data_time_ms: i64,
    /// Type of the event.
    pub event_type: &'a str,
    /// The chain that the event concerns, if any.
    pub chain: Option<&'a str>,
    /// The new value, in canonical form.
    pub value: &'a str,
    /// How many rows of the key with the same data time were applied before.
    pub occurrence: u32,
}

/// The id of an event. It names the change, not the way in which the change arrived.
pub fn of_event(name: &EventName<'_>) -> String {
    let EventName { pk, data_time_ms, event_type, chain, value, occurrence } = *name;
    // NUL separates the parts: without it, ("a", "b") and ("ab", "") would give one id. A NUL in a part is doubled.
    // Times, types, values and occurrences contain none, so the parts can be told apart.
    let (pk, chain, value) = (double_nul(pk), double_nul(chain.unwrap_or_default()), double_nul(value));
    of_text(&format!("{pk}\0{data_time_ms}\0{event_type}\0{chain}\0{value}\0{occurrence}"))
}

fn double_nul(part: &str) -> Cow<'_, str> {
    if part.contains('\0') { part.replace('\0', "\0\0").into() } else { part.into() }
}

/// The id of an arbitrary text.
pub fn of_text(text: &str) -> String {
    Uuid::new_v5(&NAMESPACE, text.as_bytes()).hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: EventName<'static> = EventName {
        pk: "hourlyTvl#1599",
        data_time_ms: 1_767_229_202_000,
        event_type: "tvl_change",
        chain: Some("base"),
        value: "41e3",
        occurrence: 0,
    };

    #[test]
    fn ids_are_fixed_for_ever() {
        assert_eq!(of_event(&NAME), "ea73303a-6748-5989-8dd5-4f8f56b82f50");
        assert_eq!(
            of_event(&NAME),
            of_text("hourlyTvl#1599\x001767229202000\0tvl_change\0base\x0041e3\x000")
        );
    }

    #[test]
    fn the_id_depends_on_every_part() {
        let names = [
            NAME,
            EventName { pk: "hourlyTvl#159", ..NAME },
            EventName { data_time_ms: 1_767_229_202_001, ..NAME },
            EventName { event_type: "protocol_update", ..NAME },
            EventName { chain: None, ..NAME },
            EventName { chain: Some("bas"), ..NAME },
            EventName { chain: Some("base\0"), ..NAME },
            EventName { chain: Some("\0base"), ..NAME },
            EventName { pk: "hourlyTvl#1599\0", ..NAME },
            EventName { pk: "hourlyTvl#1599\x001767229202000\0tvl_change\0base", ..NAME },
            EventName { value: "", ..NAME },
            EventName { occurrence: 1, ..NAME },
        ];
        let ids: std::collections::BTreeSet<_> = names.iter().map(of_event).collect();
        assert_eq!(ids.len(), names.len());
    }
}
