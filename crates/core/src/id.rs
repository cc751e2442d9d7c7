//! Deterministic ids: the same record gives the same ids however often it is delivered.

use uuid::Uuid;

/// Namespace of our UUIDv5 names. It must never change: consumers drop repeated events by id for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x5b0f_9d3a_6a5e_4c1b_9d57_2f7c_0e61_b8a4);

/// The id of the event of `event_type` that `record_id` gives rise to, on `chain` or on the whole.
pub fn of_event(record_id: &str, event_type: &str, chain: Option<&str>) -> String {
    // A NUL parts them; without it ("a", "b") and ("ab", "") would be one name. One in an id is doubled: types have none.
    let record_id = record_id.replace('\0', "\0\0");
    of_text(&format!("{record_id}\0{event_type}\0{}", chain.unwrap_or_default()))
}

/// The id of an arbitrary text.
pub fn of_text(text: &str) -> String {
    Uuid::new_v5(&NAMESPACE, text.as_bytes()).hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fixed_for_ever() {
        assert_eq!(of_event("e1", "tvl_change", Some("base")), "922df8ea-2e11-5736-90cc-1fccd93868c0");
    }

    #[test]
    fn record_type_and_chain_all_count() {
        let ids = [
            of_event("e1", "tvl_change", None),
            of_event("e1", "tvl_change", Some("base")),
            of_event("e1", "protocol_update", None),
            of_event("e2", "tvl_change", None),
            of_event("e1", "tvl_change", Some("e2\0tvl_change\0base")),
            of_event("e1\0tvl_change\0e2", "tvl_change", Some("base")),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
