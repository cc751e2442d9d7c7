//! Helpers to compare deliveries: values by message group or channel, and events without their processing time.

use std::collections::BTreeMap;

/// Sorts pairs of key and value into one list per key. Each list keeps the order of its values.
pub fn grouped<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, Vec<V>> {
    let mut groups: BTreeMap<K, Vec<V>> = BTreeMap::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// A published payload as JSON, without `processingTime`: two runs may differ in that field.
pub fn without_processing_time(payload: &str) -> serde_json::Value {
    let mut event: serde_json::Value =
        serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {payload}"));
    event["metadata"]["processingTime"] = 0.into();
    event
}
