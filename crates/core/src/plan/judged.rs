//! Rows that their source has compared: see [`Judgement`].

use crate::change::{BaselineValues, ChangeBaseline, ChangeRules, Threshold};
use crate::source::{Judgement, PreviousRow, Row, SourceRow};

/// The row with the values that its change left out, as the cache knows them: a statement may write one chain of many. The
/// previous row gets the same values, so they are no change.
pub(super) fn completed(source: &SourceRow, cached: Option<&BaselineValues<'_>>) -> SourceRow {
    let mut source = source.clone();
    let (Row::Tvl(row), Some(BaselineValues::Tvl(cached))) = (&mut source.row, cached) else { return source };
    let mut previous = match &mut source.previous {
        Some(PreviousRow { row: Row::Tvl(previous), .. }) => Some(previous),
        _ => None,
    };
    if row.total.is_none() {
        row.total = cached.total;
        if let Some(previous) = &mut previous {
            previous.total = cached.total;
        }
    }
    for (chain, value) in &cached.chains {
        let chain = chain.as_str();
        let is_changed = row.chains.contains_key(chain)
            || previous.as_ref().is_some_and(|row| row.chains.contains_key(chain));
        if !is_changed {
            row.chains.insert(chain.to_owned(), *value);
            if let Some(previous) = &mut previous {
                previous.chains.insert(chain.to_owned(), *value);
            }
        }
    }
    source
}

/// The rules with the thresholds that the source used. It compares with the row before.
pub(super) fn rules_of(judgement: &Judgement, rules: &ChangeRules) -> ChangeRules {
    let mut rules = ChangeRules { baseline: ChangeBaseline::Previous, ..rules.clone() };
    if let Some((percent, absolute)) = judgement.thresholds {
        let threshold = Threshold { percent, absolute };
        (rules.tvl, rules.price) = (threshold, threshold);
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Baseline, RowVersion, TvlValues};
    use crate::delivery::Snapshot;
    use crate::plan::{Config, PlanTimes, RecordOutcome, RecordPlan, Signals, plan};
    use crate::source::SequenceNumber;
    use crate::source::postgres::{OutboxEntry, decode};
    use crate::value::Number;

    fn planned(body: &str, silent: bool, snapshot: &Snapshot) -> RecordPlan {
        planned_with(body, silent, snapshot, &Config::default())
    }

    fn planned_with(body: &str, silent: bool, snapshot: &Snapshot, config: &Config) -> RecordPlan {
        let entry = OutboxEntry {
            kind: "tvl".into(),
            id: "7".into(),
            version: 3,
            at: 1_000_000,
            // Two days after the data time: the triggers have accepted it.
            created: 173_800_000,
            silent,
            body: body.into(),
        };
        let times = PlanTimes { now_ms: 173_800_000, processing_ms: 1.0 };
        plan(vec![decode(&entry, "db")], snapshot, config, times).remove(0)
    }

    fn cached() -> Snapshot {
        let chains = [("base", 100_000), ("xdai", 50_000), ("linea", 30_000)];
        let chains = chains.map(|(chain, value)| (chain.into(), Number::from(value))).into();
        let values = BaselineValues::Tvl(TvlValues {
            total: Some(Number::from(180_000)),
            chains,
            ..TvlValues::default()
        });
        let version = RowVersion {
            data_time_ms: 900_000,
            stream: "db".into(),
            sequence: SequenceNumber::new("2").unwrap(),
        };
        let baseline = Baseline { version, occurrence: 0, values: values.to_json() };
        Snapshot { baselines: [("cache:hourlyTvl#7".to_owned(), baseline)].into(), ..Snapshot::default() }
    }

    const ONE_CHAIN: &str = r#"{"parts": {"base": [120000, 110000, 900000, 4]}, "gone": {"linea": [20000, 900000, 0]},
        "known": true, "percent": 9, "absolute": 1000000}"#;

    #[test]
    fn a_change_is_compared_with_what_the_source_had_and_not_with_the_cache() {
        for snapshot in [cached(), Snapshot::default()] {
            let plan = planned(ONE_CHAIN, false, &snapshot);
            assert_eq!(plan.outcome, RecordOutcome::Events);
            let json: serde_json::Value = serde_json::from_str(&plan.events[0].to_json().unwrap()).unwrap();
            assert_eq!(json["data"]["previousTvl"], 110_000.0);
            assert_eq!(json["data"]["chain"], "base");
            // 20,000 USD are below the threshold of this protocol.
            assert_eq!(plan.events.len(), 1);
        }
    }

    #[test]
    fn the_cache_keeps_the_chains_that_the_change_leaves_out() {
        let commit = planned(ONE_CHAIN, false, &cached()).commit.unwrap();
        let keys: Vec<&str> = commit.writes.iter().map(|write| write.key.as_str()).collect();
        assert_eq!(keys, ["tvl:7", "tvl:7:base", "tvl:7:xdai"]);
        assert!(
            commit.writes[0].value.contains(r#""breakdown":{"base":120000.0,"xdai":50000.0}"#),
            "{:?}",
            commit.writes
        );
        assert_eq!(commit.deletes, ["tvl:7:linea"]);
        assert_eq!(commit.occurrence, 4);
    }

    #[test]
    fn a_backfill_updates_caches_and_makes_no_event() {
        let plan = planned(ONE_CHAIN, true, &cached());
        assert_eq!(plan.outcome, RecordOutcome::Unchanged);
        assert!(plan.events.is_empty() && plan.messages.is_empty());
        let commit = plan.commit.unwrap();
        assert!(commit.publications.is_empty());
        assert_eq!(commit.writes.len(), 3);
    }

    #[test]
    fn what_a_change_leaves_out_and_what_a_backfill_writes_teaches_nothing() {
        let meters = |silent| {
            let mut snapshot = cached();
            for baseline in snapshot.baselines.values_mut() {
                let mut values: serde_json::Value = serde_json::from_str(&baseline.values).unwrap();
                let meter = "9 1 - - 0";
                values["tvl"]["signals"] = serde_json::json!({"": meter, "base": meter, "xdai": meter});
                baseline.values = values.to_string();
            }
            let config = Config { signals: Some(Signals::default()), ..Config::default() };
            let commit = planned_with(ONE_CHAIN, silent, &snapshot, &config).commit.unwrap();
            serde_json::from_str::<serde_json::Value>(&commit.values).unwrap()["tvl"]["signals"].clone()
        };
        let live = meters(false);
        assert_eq!((&live["xdai"], &live[""]), (&"9 1 - - 0".into(), &"9 1 - - 0".into()));
        assert!(live["base"].as_str().unwrap().starts_with("10 "), "{live}");
        let silent = meters(true);
        assert!(["", "base", "xdai"].iter().all(|key| silent[key] == "9 1 - - 0"), "{silent}");
    }

    #[test]
    fn a_change_that_was_committed_before_changes_nothing() {
        let mut snapshot = cached();
        for baseline in snapshot.baselines.values_mut() {
            baseline.version.data_time_ms = 1_000_000;
            baseline.version.sequence = SequenceNumber::new("3").unwrap();
        }
        assert_eq!(planned(ONE_CHAIN, false, &snapshot).outcome, RecordOutcome::AlreadyApplied);
    }

    #[test]
    fn the_id_of_an_event_tells_rows_of_one_time_apart() {
        let id = |occurrence: u32| {
            let body = format!(
                r#"{{"parts": {{"base": [2, 1, 1, {occurrence}], "xdai": [2, 2, 1, 0]}}, "known": true, "percent": 1, "absolute": 1}}"#
            );
            planned(&body, false, &Snapshot::default()).events[0].event_id.clone()
        };
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }
}
