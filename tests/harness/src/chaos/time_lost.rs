//! How much time each fault cost: how long after its end the records that it met were done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::mapping::Trace;

/// When a fault occurred.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultSpan {
    /// The name of its kind in the report.
    pub(super) kind: &'static str,
    pub(super) from: Instant,
    pub(super) to: Instant,
}

/// The time lost to the faults of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TimeLost {
    pub(super) faults: u32,
    /// How long the faults lasted together.
    pub(super) lasted: Duration,
    /// The sum of the times lost.
    pub(super) lost: Duration,
    /// The longest time lost to one fault.
    pub(super) longest: Duration,
}

/// The time lost to each kind of fault. A fault costs the time from its end until the last record is done that was
/// delivered before its end and not done by then. Other faults may fall into that time, so this is an upper bound.
pub(super) fn by_kind(spans: &[FaultSpan], traces: &[Trace]) -> BTreeMap<&'static str, TimeLost> {
    let mut kinds: BTreeMap<&'static str, TimeLost> = BTreeMap::new();
    for span in spans {
        let met = |trace: &&Trace| trace.first_delivered_at.is_some_and(|delivered| delivered <= span.to);
        let last_done = traces.iter().filter(met).filter_map(|trace| trace.done_at).max();
        let lost = last_done.map_or(Duration::ZERO, |done| done.saturating_duration_since(span.to));
        let kind = kinds.entry(span.kind).or_default();
        kind.faults += 1;
        kind.lasted += span.to - span.from;
        kind.lost += lost;
        kind.longest = kind.longest.max(lost);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_costs_the_time_until_what_it_met_is_done() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let trace = |delivered, done| Trace {
            first_delivered_at: Some(at(delivered)),
            done_at: Some(at(done)),
            deliveries: 1,
        };
        let traces = [trace(0, 1), trace(2, 7), trace(3, 6), trace(6, 60)];
        let span = |from, to| FaultSpan { kind: "outage", from: at(from), to: at(to) };
        let lost = by_kind(&[span(2, 5), span(0, 1)], &traces)["outage"];
        let secs = Duration::from_secs;
        assert_eq!(lost, TimeLost { faults: 2, lasted: secs(4), lost: secs(2), longest: secs(2) });
    }
}
