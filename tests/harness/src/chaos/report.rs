//! The table at the end of a run.

use std::time::Duration;

use super::judge::Judgement;
use super::time_lost::{self, TimeLost};
use super::{FinishedRun, RedisData};

impl FinishedRun {
    /// The table of the run, followed by the problems.
    pub fn report(&self, judgement: &Judgement) -> String {
        let rows = [self.stream(), self.faults(), self.time_lost(), self.outcome(judgement)].concat();
        let lines: Vec<String> = rows.into_iter().map(|(name, text)| format!("  {name:<12}{text}")).collect();
        let redis_data = self.plan.redis_data.name();
        let result = if judgement.problems.is_empty() { "good" } else { "BAD" };
        let mut report = format!("chaos, {redis_data}: {result}\n{}", lines.join("\n"));
        for problem in &judgement.problems {
            report += &format!("\n{problem}");
        }
        report
    }

    fn stream(&self) -> Vec<(&'static str, String)> {
        let mapping = &self.counts.mapping;
        let again = self.traces.iter().filter(|trace| trace.deliveries > 1).count();
        vec![
            (
                "seed",
                format!(
                    "{} (the moments depend on the machine: repeat a failing seed several times)",
                    self.plan.seed
                ),
            ),
            ("took", format!("{:.0} s", self.took.as_secs_f64())),
            ("records", format!("{}, of which {again} delivered more than once", self.traces.len())),
            (
                "batches",
                format!(
                    "{} in {} shards: {} done, {} partial, {} unanswered",
                    mapping.invocations, self.plan.shards, mapping.done, mapping.partial, mapping.unanswered
                ),
            ),
        ]
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let (sandboxes, redis, sqs) = (&self.counts.sandboxes, &self.counts.redis, &self.counts.sqs);
        let kinds: Vec<String> = sqs.faults.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
        vec![
            (
                "sandboxes",
                format!(
                    "{} at once, {} started; killed in an invocation {}, idle {}; frozen in an invocation {}, past the deadline {}, idle {}",
                    self.plan.sandboxes,
                    sandboxes.started,
                    sandboxes.killed,
                    sandboxes.killed_idle,
                    sandboxes.frozen,
                    sandboxes.timed_out,
                    sandboxes.frozen_idle
                ),
            ),
            (
                "redis",
                format!(
                    "killed {}, made a replica {}, data lost {}, paused {}, cut within a reply {}, reset {}, delayed {}, stalled {}, stragglers {}, scripts lost {}",
                    redis.kills,
                    redis.demotions,
                    redis.losses,
                    redis.pauses,
                    redis.cuts,
                    redis.resets,
                    redis.delays,
                    redis.stalls,
                    redis.stragglers,
                    redis.script_losses
                ),
            ),
            (
                "sqs",
                format!(
                    "{} calls with {} messages, {} failed ({:.1} %); also {} outages, {} resets, {} cuts",
                    sqs.calls,
                    sqs.messages,
                    sqs.failed(),
                    sqs.failed_percent(),
                    sqs.outages,
                    sqs.resets,
                    sqs.cuts
                ),
            ),
            ("", kinds.join(", ")),
        ]
    }

    /// One line for each kind of fault.
    fn time_lost(&self) -> Vec<(&'static str, String)> {
        let kinds = time_lost::by_kind(&self.faults, &self.traces);
        let line = |(position, (kind, lost)): (usize, (&&str, &TimeLost))| {
            let mean = |sum: Duration| sum.as_secs_f64() / f64::from(lost.faults.max(1));
            let text = format!(
                "{kind} ({} times, {:.2} s each): {:.2} s, {:.2} s at most",
                lost.faults,
                mean(lost.lasted),
                mean(lost.lost),
                lost.longest.as_secs_f64()
            );
            (if position == 0 { "time lost" } else { "" }, text)
        };
        kinds.iter().enumerate().map(line).collect()
    }

    fn outcome(&self, judgement: &Judgement) -> Vec<(&'static str, String)> {
        let Judgement {
            expected,
            delivered,
            duplicates,
            expected_publications,
            received_publications,
            missing,
            added,
            changed,
            ..
        } = judgement;
        let mut rows = vec![
            (
                "events",
                format!("{delivered} delivered of {expected}, {duplicates} duplicates dropped by the queue"),
            ),
            (
                "received",
                format!(
                    "{received_publications} publications of {expected_publications}, {} subscriptions",
                    self.received.subscriptions()
                ),
            ),
        ];
        if self.plan.spill {
            rows.push(("outbox", format!("{} events were put into it", self.spilled)));
        }
        if self.plan.redis_data != RedisData::Kept {
            let share = 100.0 * *missing as f64 / (*expected).max(1) as f64;
            let cost = format!(
                "{missing} events missing ({share:.2} %), {added} added, {changed} compared with another baseline"
            );
            rows.push(("lost data", cost));
        }
        rows
    }
}
