//! Groups records into batches as an event source mapping does: each batch has records of one shard, in order.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::source::SourceRecord;

/// A partial batch is delivered once this multiple of the batch size has been read after its first record.
const MAX_WAIT_IN_BATCHES: usize = 10;

/// Batches that are filling, and full batches.
#[derive(Debug)]
pub(crate) struct Batches {
    batch_size: usize,
    /// The batch that is filling, by shard. None is empty.
    filling: HashMap<String, Vec<SourceRecord>>,
    /// The shard of each filling batch, by the number of its first record.
    shard_by_first: BTreeMap<u64, String>,
    /// Batches to deliver, in order.
    ready: VecDeque<Vec<SourceRecord>>,
}

impl Batches {
    /// No records yet. Batches will have at most `batch_size` records.
    pub(crate) fn new(batch_size: usize) -> Self {
        Self {
            batch_size: batch_size.max(1),
            filling: HashMap::new(),
            shard_by_first: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Adds a record to the batch of its shard. Closes the batches that are full or have waited too long.
    pub(crate) fn push(&mut self, record: SourceRecord) {
        let (number, shard) = (record.number, record.shard.clone());
        let batch = self.filling.entry(shard.clone()).or_default();
        if batch.is_empty() {
            self.shard_by_first.insert(number, shard.clone());
        }
        batch.push(record);
        if batch.len() >= self.batch_size {
            self.close(&shard);
        }
        let max_wait = (MAX_WAIT_IN_BATCHES * self.batch_size) as u64;
        while let Some((first, shard)) = self.shard_by_first.first_key_value()
            && first + max_wait <= number
        {
            let shard = shard.clone();
            self.close(&shard);
        }
    }

    /// Closes every batch, full or not. The batch with the oldest record comes first.
    pub(crate) fn flush(&mut self) {
        while let Some((_, shard)) = self.shard_by_first.pop_first() {
            self.close(&shard);
        }
    }

    /// The next batch to deliver.
    pub(crate) fn next_batch(&mut self) -> Option<Vec<SourceRecord>> {
        self.ready.pop_front()
    }

    fn close(&mut self, shard: &str) {
        if let Some(batch) = self.filling.remove(shard) {
            if let Some(first) = batch.first() {
                self.shard_by_first.remove(&first.number);
            }
            self.ready.push_back(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn batches(batch_size: usize, shards: &str) -> Vec<String> {
        let mut sorted = Batches::new(batch_size);
        for (number, shard) in shards.chars().enumerate() {
            let raw = RawValue::from_string("{}".to_owned()).unwrap();
            sorted.push(SourceRecord { number: number as u64, line: 1, shard: shard.into(), raw, end: 0 });
        }
        sorted.flush();
        let text = |batch: Vec<SourceRecord>| {
            batch
                .iter()
                .map(|record| format!("{}{}", record.shard, record.number))
                .collect::<Vec<_>>()
                .join(" ")
        };
        std::iter::from_fn(|| sorted.next_batch()).map(text).collect()
    }

    #[test]
    fn a_batch_holds_one_shard_in_order() {
        assert_eq!(batches(2, "abaabb"), ["a0 a2", "b1 b4", "a3", "b5"]);
        assert_eq!(batches(100, "abba"), ["a0 a3", "b1 b2"]);
        assert_eq!(batches(1, "ab"), ["a0", "b1"]);
        assert!(batches(3, "").is_empty());
    }

    #[test]
    fn a_quiet_shard_does_not_wait_for_ever() {
        let quiet = batches(1, "ab");
        assert_eq!(quiet.len(), 2);
        let input = format!("q{}", "a".repeat(3 * MAX_WAIT_IN_BATCHES));
        let sent = batches(3, &input);
        let position = sent.iter().position(|batch| batch == "q0").unwrap();
        assert_eq!(position, MAX_WAIT_IN_BATCHES, "{sent:?}");
    }
}
