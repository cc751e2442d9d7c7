//! What a row is compared with: the values before it.

use std::collections::BTreeMap;

use super::baseline::{Announced, TvlValues};
use crate::source::{PreviousRow, Row, SourceRow, TvlRow};
use crate::value::{Number, Text};

/// A value to compare with, and its data time.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) value: Number,
    pub(crate) at: Option<i64>,
}

/// The possible sources of the values before a TVL row, best first.
pub(crate) struct PreviousTvl<'c, 'a> {
    /// The cached baseline, and its data time.
    cached: Option<(&'c TvlValues<'a>, i64)>,
    /// The record's old image, and its data time if known.
    old: Option<(&'a TvlRow, Option<i64>)>,
    /// The record's `tvlPrev1Hour`: a total only.
    previous_hour: Option<&'c Number>,
}

impl<'c, 'a> PreviousTvl<'c, 'a> {
    /// The values before a row of `source`.
    pub(crate) fn of(
        source: &'a SourceRow,
        row: &'c TvlRow,
        cached: Option<(&'c TvlValues<'a>, i64)>,
    ) -> Self {
        let old = match &source.previous {
            Some(PreviousRow { row: Row::Tvl(old), data_time_ms }) => Some((old, *data_time_ms)),
            _ => None,
        };
        Self { cached, old, previous_hour: row.previous_hour.as_ref() }
    }

    pub(crate) fn total(&self) -> Option<Reference> {
        let cached = self.cached.and_then(|(values, at)| reference(values, "", values.total, at));
        let old = || {
            let (row, at) = self.old?;
            row.total.map(|value| Reference { value, at })
        };
        let hour = || self.previous_hour.map(|value| Reference { value: *value, at: None });
        cached.or_else(old).or_else(hour)
    }

    /// What a chain with this last known value is compared with.
    pub(crate) fn chain(&self, chain: &str, last: Option<Number>) -> Option<Reference> {
        match (self.cached, self.old) {
            (Some((values, at)), _) => reference(values, chain, last, at),
            (None, Some((_, at))) => last.map(|value| Reference { value, at }),
            (None, None) => None,
        }
    }

    /// True if a source has chains, even none.
    pub(crate) fn has_chains(&self) -> bool {
        self.cached.is_some() || self.old.is_some()
    }

    /// The last known values of the chains, by chain key.
    pub(crate) fn chains(&self) -> Vec<(Text<'a>, Number)> {
        match (self.cached, self.old) {
            (Some((values, _)), _) => {
                values.chains.iter().map(|(chain, value)| (chain.clone(), *value)).collect()
            }
            (None, Some((row, _))) => {
                row.chains.iter().map(|(chain, value)| (chain.as_str().into(), *value)).collect()
            }
            (None, None) => Vec::new(),
        }
    }

    /// The last known total, and its data time. `an_hour_before` is the time of `tvlPrev1Hour`.
    pub(crate) fn total_with_time(&self, an_hour_before: i64) -> Option<(Number, i64)> {
        let cached = self.cached.and_then(|(values, at)| Some((values.total?, at)));
        let old = || self.old.and_then(|(row, at)| Some((row.total?, at?)));
        cached.or_else(old).or_else(|| Some((*self.previous_hour?, an_hour_before)))
    }

    /// The data time of the last known values of the chains, if it is known.
    pub(crate) fn chains_time(&self) -> Option<i64> {
        self.cached.map(|(_, at)| at).or_else(|| self.old.and_then(|(_, at)| at))
    }

    /// The last known total.
    pub(crate) fn last_total(&self) -> Option<Number> {
        let cached = self.cached.and_then(|(values, _)| values.total);
        let old = || self.old.and_then(|(row, _)| row.total);
        cached.or_else(old).or(self.previous_hour.copied())
    }

    /// Copies the announced value of a chain, or of the total under the empty key, that is unknown in the row.
    pub(crate) fn carry_announced(&self, key: Text<'a>, announced: &mut BTreeMap<Text<'a>, Announced>) {
        if let Some((values, _)) = self.cached {
            let kept = values.announced.get(key.as_str());
            announced.extend(kept.map(|kept| (key, kept.clone())));
        }
    }
}

fn reference(values: &TvlValues<'_>, key: &str, last: Option<Number>, at: i64) -> Option<Reference> {
    let last = last?;
    Some(match values.announced.get(key) {
        Some(announced) => Reference { value: announced.value, at: announced.at },
        None => Reference { value: last, at: Some(at) },
    })
}
