//! The biggest changes of a replay.

use events_core::change::ChangeRules;
use events_core::event::{Data, Event};
use serde::Serialize;

use crate::view::{View, id};

/// Length of each list.
const MAX_CHANGES: usize = 5;

/// The biggest changes. A list has each protocol or token at most once.
///
/// The lists by per cent have only changes of at least the absolute threshold of their kind. Without it, a value that
/// rises from almost nothing to a few cents would always come first.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct BiggestChanges {
    /// Smallest change of TVL in the list by per cent, USD.
    pub min_tvl_usd: f64,
    /// Smallest change of a price in the list by per cent, USD.
    pub min_price_usd: f64,
    /// Total TVL, or with `--chain` that of a chain, by USD.
    pub tvl_by_usd: Vec<Change>,
    /// The same, by per cent.
    pub tvl_by_percent: Vec<Change>,
    /// Prices, by per cent.
    pub price_by_percent: Vec<Change>,
    /// Prices, by USD.
    pub price_by_usd: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    /// Protocol or token id.
    pub id: String,
    /// Name or symbol, where known.
    pub name: Option<String>,
    /// The chain of a token, or of a chain's TVL. Of a total TVL, the chain that contributed most to the change.
    pub chain: Option<String>,
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
    /// The time that the data describes, ms since 1970.
    pub data_time: i64,
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

    /// Adds the change of an event of a record, if it is big enough for a list. `all` are the events of the record.
    ///
    /// Only total TVL counts, not that of one chain: each dollar counts once. With a filter by chain, no total is shown,
    /// and the TVL of the chains counts.
    pub(crate) fn add(&mut self, change: Moved<'_>, view: &View) {
        let event = change.event;
        let by_chain = !view.filter.chains.is_empty();
        let (by_usd, by_percent, min_usd, change) = match &event.data {
            Data::Tvl(data) if data.chain.is_some() == by_chain => {
                let values = [data.previous_tvl, data.current_tvl, data.change_absolute, data.change_percent];
                (&mut self.tvl_by_usd, &mut self.tvl_by_percent, self.min_tvl_usd, change.with(values, view))
            }
            Data::Price(data) => {
                let values =
                    [data.previous_price, data.current_price, data.change_absolute, data.change_percent];
                (
                    &mut self.price_by_usd,
                    &mut self.price_by_percent,
                    self.min_price_usd,
                    change.with(values, view),
                )
            }
            Data::Tvl(_) | Data::Protocol(_) => return,
        };
        insert(by_usd, &change, |change| change.change_absolute.abs());
        if change.change_absolute.abs() >= min_usd {
            insert(by_percent, &change, |change| change.change_percent.abs());
        }
    }
}

/// An event, with what its record says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved<'a> {
    /// The event.
    pub event: &'a Event,
    /// All events of its record.
    pub all: &'a [Event],
    /// The data time of the record, if known.
    pub data_time_ms: Option<i64>,
}

impl Moved<'_> {
    fn with(self, [previous, current, change_absolute, change_percent]: [f64; 4], view: &View) -> Change {
        let chain = self.event.chain().or_else(|| main_chain(self.all, change_absolute));
        Change {
            id: id(self.event).to_owned(),
            name: view.name(self.event).map(str::to_owned),
            chain: chain.map(str::to_owned),
            previous,
            current,
            change_absolute,
            change_percent,
            timestamp: self.event.timestamp,
            data_time: self.data_time_ms.unwrap_or(self.event.timestamp),
        }
    }
}

/// The chain whose TVL changed most in the direction of `total`. Chains below every threshold have no event.
fn main_chain(events: &[Event], total: f64) -> Option<&str> {
    let chains = events.iter().filter_map(|event| match &event.data {
        Data::Tvl(data) => Some((data.chain.as_deref()?, data.change_absolute * total.signum())),
        Data::Price(_) | Data::Protocol(_) => None,
    });
    let most = chains.filter(|(_, change)| *change > 0.0).max_by(|a, b| a.1.total_cmp(&b.1));
    most.map(|(chain, _)| chain)
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
        Change {
            id: id.into(),
            name: None,
            chain: None,
            previous,
            current,
            change_absolute,
            change_percent,
            timestamp: 1,
            data_time: 1,
        }
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
