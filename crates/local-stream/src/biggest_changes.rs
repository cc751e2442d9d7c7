//! The biggest changes of a replay.

use events_core::change::ChangeRules;
use events_core::event::{Data, Event};
use serde::Serialize;

/// Length of each list.
const MAX_CHANGES: usize = 5;

/// The biggest changes. A list has each protocol or token at most once.
///
/// The lists by per cent have only changes of at least the absolute threshold of their kind. Without it, a value that
/// rises from almost nothing to a few cents would always come first.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BiggestChanges {
    /// Smallest change of TVL in the list by per cent, USD.
    pub min_tvl_usd: f64,
    /// Smallest change of a price in the list by per cent, USD.
    pub min_price_usd: f64,
    /// Total TVL, by USD.
    pub tvl_by_usd: Vec<Change>,
    /// Total TVL, by per cent.
    pub tvl_by_percent: Vec<Change>,
    /// Prices, by per cent.
    pub price_by_percent: Vec<Change>,
    /// Prices, by USD.
    pub price_by_usd: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// Protocol or token id.
    pub id: String,
    /// Name or symbol, where known.
    pub name: Option<String>,
    /// USD before.
    pub previous: f64,
    /// USD now.
    pub current: f64,
    /// Signed, USD.
    pub change_absolute: f64,
    /// Signed, of the magnitude before.
    pub change_percent: f64,
    /// Time of the event, ms since 1970.
    pub timestamp: i64,
}

impl BiggestChanges {
    /// Empty lists for changes that these rules find.
    pub(crate) fn new(rules: &ChangeRules) -> Self {
        Self {
            min_tvl_usd: rules.tvl.absolute.to_f64(),
            min_price_usd: rules.price.absolute.to_f64(),
            ..Self::default()
        }
    }

    /// Adds the change of an event, if it is big enough for a list. Only total TVL counts, not that of one chain.
    pub(crate) fn add(&mut self, event: &Event) {
        let (by_usd, by_percent, min_usd, change) = match &event.data {
            Data::Tvl(data) if data.chain.is_none() => {
                let values = [data.previous_tvl, data.current_tvl, data.change_absolute, data.change_percent];
                let change = change(event, &data.protocol_id, values);
                (&mut self.tvl_by_usd, &mut self.tvl_by_percent, self.min_tvl_usd, change)
            }
            Data::Price(data) => {
                let values =
                    [data.previous_price, data.current_price, data.change_absolute, data.change_percent];
                let change = change(event, &data.token_id, values);
                (&mut self.price_by_usd, &mut self.price_by_percent, self.min_price_usd, change)
            }
            Data::Tvl(_) | Data::Protocol(_) => return,
        };
        insert(by_usd, &change, |change| change.change_absolute.abs());
        if change.change_absolute.abs() >= min_usd {
            insert(by_percent, &change, |change| change.change_percent.abs());
        }
    }
}

fn change(event: &Event, id: &str, [previous, current, change_absolute, change_percent]: [f64; 4]) -> Change {
    Change {
        id: id.to_owned(),
        name: event.name().map(str::to_owned),
        previous,
        current,
        change_absolute,
        change_percent,
        timestamp: event.timestamp,
    }
}

/// Inserts a change into a list that is sorted with the biggest first. Of one id the list keeps only the biggest change.
/// Of equal changes the first comes first.
fn insert(list: &mut Vec<Change>, change: &Change, size: impl Fn(&Change) -> f64) {
    if list.len() == MAX_CHANGES && list.last().is_some_and(|last| size(last) >= size(change)) {
        return;
    }
    if let Some(index) = list.iter().position(|other| other.id == change.id) {
        if size(&list[index]) >= size(change) {
            return;
        }
        list.remove(index);
    }
    let index = list.partition_point(|other| size(other) >= size(change));
    list.insert(index, change.clone());
    list.truncate(MAX_CHANGES);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(id: &str, change_absolute: f64) -> Change {
        let (previous, current, change_percent) = (1.0, 2.0, 3.0);
        Change { id: id.into(), name: None, previous, current, change_absolute, change_percent, timestamp: 1 }
    }

    #[test]
    fn the_biggest_are_kept_once_each() {
        let mut list = Vec::new();
        for (id, change) in [
            ("a", 1.0),
            ("b", -9.0),
            ("a", 5.0),
            ("a", 2.0),
            ("c", 3.0),
            ("d", 4.0),
            ("e", 0.5),
            ("f", 6.0),
            ("g", 0.1),
        ] {
            insert(&mut list, &sample(id, change), |change| change.change_absolute.abs());
        }
        let ids: Vec<&str> = list.iter().map(|change| change.id.as_str()).collect();
        assert_eq!(ids, ["b", "f", "a", "d", "c"]);
        assert_eq!(list[2], sample("a", 5.0));
    }
}
