//! Helpers to compare deliveries: values by message group or channel, and events without their processing time.

use std::collections::BTreeMap;

use crate::faults::fake_sqs::SentMessage;

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

/// The current TVL of each event, by message group, in the order in which the queue accepted them.
pub fn tvl_by_group(messages: &[SentMessage]) -> BTreeMap<String, Vec<f64>> {
    let value = |message: &SentMessage| message.json()["data"]["currentTvl"].as_f64().expect("a TVL event");
    grouped(messages.iter().map(|message| (message.group_id.clone(), value(message))))
}
