//! What was found in the queue, and what became of it.

use std::collections::BTreeMap;
use std::fmt::Write;

use events_core::delivery::{Cause, Letter};
use serde::Serialize;

/// Most characters of a reason in the table.
const REASON: usize = 90;

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Fate {
    /// Its event was sent, or its record was processed. The letter is deleted.
    Done,
    /// Its record is not newer than what the processor has: nothing was left to do. The letter is deleted.
    NothingToDo,
    /// It can never succeed, and is in the file of `--set-aside`. The letter is deleted.
    SetAside,
    /// It would take its group back in time; with `--overtaken discard`, the letter is deleted.
    Discarded,
    /// A dry run has looked at it.
    Seen,
    /// It stays: it would take its group back in time.
    Overtaken,
    /// It stays: it can never succeed as it is.
    Hopeless,
    /// It stays: it failed this time.
    Failed,
    /// It stays: a letter of its group before it has failed.
    Behind,
    /// It stays: SQS would take it for a copy of the event that was sent a few minutes ago, and drop it.
    Young,
    /// It stays: it was received more often than `--max-attempts`.
    TooOften,
}

impl Fate {
    /// True if the letter is no longer in the queue.
    pub(super) fn is_gone(self) -> bool {
        matches!(self, Self::Done | Self::NothingToDo | Self::SetAside | Self::Discarded)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Done => "processed or sent, and deleted",
            Self::NothingToDo => "not newer than what was processed, and deleted",
            Self::SetAside => "written to the file, and deleted",
            Self::Discarded => "would take the group back in time, and deleted",
            Self::Seen => "seen",
            Self::Overtaken => "stay: would take the group back in time (--overtaken)",
            Self::Hopeless => "stay: can never succeed as they are (--set-aside)",
            Self::Failed => "stay: failed this time",
            Self::Behind => "stay: behind a letter that failed",
            Self::Young => "stay: too young, SQS would drop them as copies; run again in 5 minutes",
            Self::TooOften => "stay: received more often than --max-attempts",
        }
    }
}

/// Letters with the same cause.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    kind: &'static str,
    step: String,
    reason: String,
    letters: u64,
    oldest_sent_ms: i64,
    most_attempts: u32,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Whether letters were only looked at.
    pub(super) dry_run: bool,
    /// About how many letters the queue had at first.
    pub(super) in_queue: u64,
    causes: Vec<Group>,
    fates: BTreeMap<Fate, u64>,
    /// Why letters stay, each reason once.
    problems: BTreeMap<String, u64>,
}

impl Report {
    /// Counts a letter.
    pub(super) fn add(&mut self, letter: &Letter, attempts: u32, sent_ms: i64, fate: Fate) {
        let none = Cause { step: String::new(), reason: "a consumer received it too often".to_owned() };
        let (kind, cause) = match letter {
            Letter::Record { cause, .. } => ("record", cause),
            Letter::Event { cause, .. } => ("event", cause),
            Letter::Moved(_) => ("moved by SQS", &none),
            Letter::Hopeless(cause) => ("hopeless", cause),
        };
        let reason: String = cause.reason.chars().take(REASON).collect();
        let same =
            |group: &&mut Group| group.kind == kind && group.step == cause.step && group.reason == reason;
        let group = match self.causes.iter_mut().find(same) {
            Some(group) => group,
            None => {
                let step = cause.step.clone();
                self.causes.push(Group { kind, step, reason, oldest_sent_ms: sent_ms, ..Group::default() });
                let last = self.causes.len() - 1;
                &mut self.causes[last]
            }
        };
        group.letters += 1;
        group.oldest_sent_ms = group.oldest_sent_ms.min(sent_ms);
        group.most_attempts = group.most_attempts.max(attempts);
        *self.fates.entry(fate).or_default() += 1;
    }

    /// Notes why a letter stays.
    pub(super) fn problem(&mut self, problem: String) {
        *self.problems.entry(problem).or_default() += 1;
    }

    /// True if every letter that was looked at is gone.
    pub(super) fn is_clear(&self) -> bool {
        self.fates.keys().all(|fate| fate.is_gone())
    }

    fn looked_at(&self) -> u64 {
        self.fates.values().sum()
    }

    /// The report for a person.
    pub(super) fn text(&self, now_ms: i64) -> String {
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Writing to a `String` cannot fail.
            let _written = writeln!(text, "{line}");
        };
        line(format_args!("{} letters looked at, of about {} in the queue", self.looked_at(), self.in_queue));
        let mut causes = self.causes.clone();
        causes.sort_by_key(|group| std::cmp::Reverse(group.letters));
        if !causes.is_empty() {
            line(format_args!(
                "\n{:>7}  {:<12}  {:<8}  {:>6}  {:>8}  reason",
                "letters", "what", "step", "oldest", "attempts"
            ));
        }
        for Group { kind, step, reason, letters, oldest_sent_ms, most_attempts } in &causes {
            let age = age(now_ms - oldest_sent_ms);
            line(format_args!("{letters:>7}  {kind:<12}  {step:<8}  {age:>6}  {most_attempts:>8}  {reason}"));
        }
        if !self.dry_run && !self.fates.is_empty() {
            line(format_args!(""));
            for (fate, letters) in &self.fates {
                line(format_args!("{letters:>7}  {}", fate.text()));
            }
        }
        for (problem, letters) in &self.problems {
            line(format_args!("{letters:>7}  {problem}"));
        }
        if self.dry_run && self.looked_at() < self.in_queue {
            line(format_args!(
                "\nSQS shows at most 10 letters of a message group at a time; the others are behind them."
            ));
        }
        if self.dry_run && self.looked_at() > 0 {
            line(format_args!("\nNothing was sent or deleted. To do it: --apply"));
        }
        text
    }
}

/// A time that has passed, in its largest unit.
fn age(ms: i64) -> String {
    match ms / 1_000 {
        secs @ ..120 => format!("{} s", secs.max(0)),
        secs @ ..7_200 => format!("{} min", secs / 60),
        secs @ ..172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_with_the_same_cause_are_one_line() {
        let cause = |reason: &str| Cause { step: "commit".to_owned(), reason: reason.to_owned() };
        let mut report = Report { in_queue: 9, dry_run: true, ..Report::default() };
        for (reason, sent_ms) in [("a", 5_000), ("b", 1), ("a", 2_000)] {
            report.add(&Letter::Hopeless(cause(reason)), 2, sent_ms, Fate::Seen);
        }
        let text = report.text(100_000);
        assert!(text.starts_with("3 letters looked at, of about 9 in the queue\n"), "{text}");
        assert!(text.contains("      2  hopeless      commit      98 s         2  a\n"), "{text}");
        assert!(text.contains("at most 10 letters") && text.contains("--apply"), "{text}");
        assert!(!report.is_clear());
    }

    #[test]
    fn ages_are_short() {
        let ages = [-5, 119_000, 120_000, 7_200_000, 172_800_000].map(age);
        assert_eq!(ages, ["0 s", "119 s", "2 min", "2 h", "2 d"]);
    }
}
