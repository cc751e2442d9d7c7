//! Deterministic ids: every delivery of a record gives the same ids.

use uuid::Uuid;

/// Namespace of the UUIDv5 ids. It must never change, because consumers recognise repeated events by their id.
const NAMESPACE: Uuid = Uuid::from_u128(0x5b0f_9d3a_6a5e_4c1b_9d57_2f7c_0e61_b8a4);

/// The id of the event of type `event_type` made from record `record_id`. The event concerns `chain`, if given.
pub fn of_event(record_id: &str, event_type: &str, chain: Option<&str>) -> String {
    // NUL separates the parts: without it, ("a", "b") and ("ab", "") would give one id. A NUL in the record id is
    // doubled. Event types contain none.
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
    fn the_id_depends_on_record_type_and_chain() {
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
