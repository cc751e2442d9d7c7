//! The table at the end of a run.

use super::judge::Judgement;
use super::{Aftermath, Mode};

impl Aftermath {
    /// The run and its judgement, a line each.
    pub fn report(&self, judgement: &Judgement) -> String {
        let rows = [self.stream(), self.faults(), self.outcome(judgement)].concat();
        let lines: Vec<String> = rows.into_iter().map(|(name, text)| format!("  {name:<12}{text}")).collect();
        let mode = self.plan.mode.name();
        let verdict = if judgement.problems.is_empty() { "good" } else { "BAD" };
        let mut report = format!("chaos, {mode}: {verdict}\n{}", lines.join("\n"));
        for problem in &judgement.problems {
            report += &format!("\n{problem}");
        }
        report
    }

    fn stream(&self) -> Vec<(&'static str, String)> {
        let mapping = &self.counts.mapping;
        let again = self.traces.iter().filter(|trace| trace.handed > 1).count();
        vec![
            (
                "seed",
                format!("{} (moments are the machine's: repeat a failing one several times)", self.plan.seed),
            ),
            ("took", format!("{:.0} s", self.took.as_secs_f64())),
            ("records", format!("{}, of which {again} more than once", self.traces.len())),
            (
                "batches",
                format!(
                    "{} in {} shards: {} done, {} in part, {} unanswered",
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
                    "{} at once, {} started; killed at work {}, idle {}; frozen at work {}, past the deadline {}, idle {}",
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
                    "killed {}, made a replica {}, data lost {}, paused {}, cut within a reply {}, reset {}, slow {}, silent {}, stragglers {}, forgetful {}",
                    redis.kills,
                    redis.demotions,
                    redis.losses,
                    redis.pauses,
                    redis.cuts,
                    redis.resets,
                    redis.delays,
                    redis.holes,
                    redis.stragglers,
                    redis.forgets
                ),
            ),
            (
                "sqs",
                format!(
                    "{} calls with {} messages, {} failed ({:.1} %); besides {} outages, {} resets, {} cuts",
                    sqs.calls,
                    sqs.entries,
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

    fn outcome(&self, judgement: &Judgement) -> Vec<(&'static str, String)> {
        let Judgement {
            expected, delivered, duplicates, publications, heard, missing, added, changed, ..
        } = judgement;
        let mut rows = vec![
            (
                "events",
                format!("{delivered} delivered of {expected}, {duplicates} duplicates dropped by the queue"),
            ),
            (
                "heard",
                format!(
                    "{heard} publications of {publications}, the subscriber came {} times",
                    self.heard.sessions()
                ),
            ),
        ];
        if self.plan.spill {
            rows.push(("outbox", format!("{} events waited in it", self.waited)));
        }
        if self.plan.mode != Mode::Kept {
            let share = 100.0 * *missing as f64 / (*expected).max(1) as f64;
            let cost = format!(
                "{missing} events missing ({share:.2} %), {added} added, {changed} compared with something else"
            );
            rows.push(("lost data", cost));
        }
        rows
    }
}
