//! The yardstick: a record as plain structs with owned texts, as a program without any rules would read it.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: String,
    event_source: String,
    #[serde(rename = "eventSourceARN")]
    stream: String,
    dynamodb: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    approximate_creation_date_time: f64,
    keys: Image,
    new_image: Image,
    old_image: Option<Image>,
    sequence_number: String,
}

type Image = BTreeMap<String, Attribute>;

#[derive(Deserialize)]
enum Attribute {
    S(String),
    N(String),
    #[serde(rename = "BOOL")]
    Bool(bool),
    L(Vec<Attribute>),
    M(Image),
}

/// Parses a record. Returns a size that depends on every part of it; 0 for a text that is no record.
pub(crate) fn parse(text: &str) -> usize {
    let Ok(record) = serde_json::from_str::<Record>(text) else { return 0 };
    let Record { event_id, event_name, event_source, stream, dynamodb: change } = record;
    let texts = [event_id, event_name, event_source, stream, change.sequence_number];
    let images = [Some(change.keys), Some(change.new_image), change.old_image];
    let attributes = images.iter().flatten().map(image_size).sum::<usize>();
    texts.iter().map(String::len).sum::<usize>()
        + attributes
        + usize::from(change.approximate_creation_date_time > 0.0)
}

fn image_size(image: &Image) -> usize {
    image.iter().map(|(name, attribute)| name.len() + size(attribute)).sum()
}

fn size(attribute: &Attribute) -> usize {
    match attribute {
        Attribute::S(text) | Attribute::N(text) => text.len(),
        Attribute::Bool(value) => usize::from(*value),
        Attribute::L(list) => list.iter().map(size).sum(),
        Attribute::M(map) => image_size(map),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Batch, Kind, Stage, Work, counted_work};

    #[test]
    fn the_yardstick_reads_every_record() {
        for kind in Kind::ALL {
            let batch = Batch::of(kind);
            assert!(batch.records.iter().all(|record| super::parse(record.get()) > 0), "{kind:?}");
            assert!(counted_work(Work::new(&batch, Stage::Parse)) > 10_000, "{kind:?}");
        }
    }
}
