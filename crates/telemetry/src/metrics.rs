//! CloudWatch's embedded metric format: one line per invocation.

use std::io::{self, Write};

use events_core::source::SkipReason;
use events_processor::Tally;
use metrics::{Unit, counter, gauge, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};

/// CloudWatch namespace of every metric.
pub const NAMESPACE: &str = "DeFiLlama/Events";
/// Most values of one metric in one document of the format.
const MAX_VALUES: usize = 100;

/// Collects and writes the metrics of an invocation.
pub(crate) struct Metrics {
    totals: &'static Collector,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The id of an invocation, and its duration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invocation<'a> {
    /// Lambda's request id.
    pub(crate) request_id: &'a str,
    /// ms from the handler's entry to its response.
    pub(crate) processing_ms: f64,
}

impl Metrics {
    /// Prepares the process to collect metrics. Call it once per process. With a `stage`, every metric has the dimension
    /// `Stage`, which tells two deployments in one account apart.
    pub(crate) fn new(stage: Option<String>) -> io::Result<Self> {
        let mut builder = Builder::new().cloudwatch_namespace(NAMESPACE).emit_zeros(true);
        if let Some(stage) = stage {
            builder = builder.with_dimension("Stage", stage);
        }
        let totals = builder.init().map_err(|error| io::Error::other(error.to_string()))?;
        metrics::describe_gauge!("processingTime", Unit::Milliseconds, "handler entry to response");
        metrics::describe_histogram!("endToEndLatency", Unit::Milliseconds, "change to commit");
        Ok(Self { totals })
    }

    /// Writes one line with all counts of an invocation.
    pub(crate) fn write(
        &self,
        invocation: Invocation<'_>,
        tally: &Tally,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for (name, value) in counts(tally) {
            counter!(name).increment(value);
        }
        gauge!("processingTime").set(invocation.processing_ms);
        let latency = histogram!("endToEndLatency");
        for value in sample_evenly(&tally.end_to_end_ms) {
            latency.record(value);
        }
        self.totals.set_property("requestId", invocation.request_id.to_owned());
        // One write, so that no log line comes in between.
        let mut line = Vec::new();
        self.totals.flush(&mut line)?;
        out.write_all(&line)
    }
}

/// Every count, with the name of its metric.
fn counts(tally: &Tally) -> [(&'static str, u64); 23] {
    let skipped = |reason| tally.skipped.get(&reason).copied().unwrap_or(0);
    [
        ("processedCount", tally.processed),
        ("errorCount", tally.errors),
        ("eventsGenerated", tally.events),
        ("cacheUpdates", tally.cache_updates),
        ("pubsubPublished", tally.pubsub_published),
        ("sqsPublished", tally.sqs_published),
        ("dlqPublished", tally.dlq_published),
        ("cacheHits", tally.cache_hits),
        ("cacheMisses", tally.cache_misses),
        ("late", tally.late),
        ("alreadyApplied", tally.already_applied),
        ("breakerOpen", tally.breaker_open),
        ("outboxSpilled", tally.spilled),
        ("outboxDrained", tally.drained),
        ("outboxDepth", tally.outbox),
        ("skipped", tally.skipped.values().sum()),
        ("skippedRemoved", skipped(SkipReason::Removed)),
        ("skippedRemovedByTtl", skipped(SkipReason::RemovedByTtl)),
        ("skippedOtherRow", skipped(SkipReason::OtherRow)),
        ("skippedDailyTvl", skipped(SkipReason::DailyTvl)),
        ("skippedPriceHistory", skipped(SkipReason::PriceHistory)),
        ("skippedPriceRedirect", skipped(SkipReason::PriceRedirect)),
        ("skippedNoValue", skipped(SkipReason::NoValue)),
    ]
}

/// At most [`MAX_VALUES`] of the values: evenly spaced in sorted order, always with the least and the greatest.
fn sample_evenly(values: &[i64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let count = sorted.len().min(MAX_VALUES);
    let position = |index: usize| index * (sorted.len() - 1) / (count - 1).max(1);
    // Milliseconds of a latency are far below 2^53.
    (0..count).map(|index| sorted[position(index)] as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_latencies_keeps_its_extremes() {
        let values: Vec<i64> = (0..1_000).rev().collect();
        let kept = sample_evenly(&values);
        assert_eq!((kept.len(), kept[0], kept[99]), (100, 0.0, 999.0));
        assert_eq!(sample_evenly(&[7]), [7.0]);
        assert!(sample_evenly(&[]).is_empty());
    }

    #[test]
    fn every_count_has_its_own_metric_name() {
        let skipped = SkipReason::ALL.into_iter().zip(100..).collect();
        let tally = Tally {
            processed: 1,
            errors: 2,
            events: 3,
            cache_updates: 4,
            pubsub_published: 5,
            sqs_published: 6,
            dlq_published: 7,
            cache_hits: 8,
            cache_misses: 9,
            late: 10,
            already_applied: 11,
            breaker_open: 12,
            spilled: 13,
            drained: 14,
            outbox: 15,
            skipped,
            end_to_end_ms: Vec::new(),
        };
        let names = [
            ("processedCount", 1),
            ("errorCount", 2),
            ("eventsGenerated", 3),
            ("cacheUpdates", 4),
            ("pubsubPublished", 5),
            ("sqsPublished", 6),
            ("dlqPublished", 7),
            ("cacheHits", 8),
            ("cacheMisses", 9),
            ("late", 10),
            ("alreadyApplied", 11),
            ("breakerOpen", 12),
            ("outboxSpilled", 13),
            ("outboxDrained", 14),
            ("outboxDepth", 15),
            ("skipped", (100..107).sum()),
            ("skippedRemoved", 100),
            ("skippedRemovedByTtl", 101),
            ("skippedOtherRow", 102),
            ("skippedDailyTvl", 103),
            ("skippedPriceHistory", 104),
            ("skippedPriceRedirect", 105),
            ("skippedNoValue", 106),
        ];
        assert_eq!(counts(&tally), names);
    }

    #[test]
    fn one_line_holds_every_metric_of_an_invocation() {
        let tally = Tally {
            processed: 7,
            skipped: [(SkipReason::DailyTvl, 2), (SkipReason::NoValue, 1)].into(),
            end_to_end_ms: vec![5, 3],
            ..Tally::default()
        };
        let metrics = Metrics::new(Some("prod".into())).unwrap();
        let invocation = Invocation { request_id: "r-1", processing_ms: 1.25 };
        let mut out = Vec::new();
        metrics.write(invocation, &tally, &mut out).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line.lines().count(), 1);
        for part in [
            r#""Namespace":"DeFiLlama/Events""#,
            r#""Dimensions":[["Stage"]]"#,
            r#""Stage":"prod""#,
            r#""requestId":"r-1""#,
            r#""processedCount":7"#,
            r#""processingTime":1.25"#,
            r#""endToEndLatency":[3.0,5.0]"#,
            r#""skipped":3"#,
            r#""skippedDailyTvl":2"#,
            r#""late":0"#,
            r#"{"Name":"processingTime","Unit":"Milliseconds"}"#,
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let mut again = Vec::new();
        metrics.write(invocation, &Tally::default(), &mut again).unwrap();
        assert!(String::from_utf8(again).unwrap().contains(r#""processedCount":0"#), "counts start anew");
    }
}
