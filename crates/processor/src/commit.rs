//! Makes the commits of a plan.

use events_core::plan::{Commit, RecordPlan};
use events_core::report::spread;

use crate::delivery::Failures;
use crate::ports::{Committed, ErrorKind, PortError, Queue, Store, Timer};
use crate::process::{Breakers, Deadline, Processor};
use crate::tally::Tally;

impl<S: Store, Q: Queue, D: Queue, T: Timer> Processor<S, Q, D, T> {
    /// Commits every row whose messages are sent and whose predecessors are committed.
    pub(crate) async fn commit(
        &self,
        plan: &[RecordPlan],
        deadline: Deadline,
        failures: &mut Failures,
        tally: &mut Tally,
    ) {
        let mut attempt = 0;
        let mut open: Vec<usize> = (0..plan.len()).filter(|index| plan[*index].commit.is_some()).collect();
        loop {
            spread(plan, failures);
            open.retain(|index| !failures.contains_key(index));
            let commits: Vec<&Commit> =
                open.iter().filter_map(|index| plan[*index].commit.as_ref()).collect();
            if commits.is_empty() {
                return;
            }
            let answers = match self.make(&commits, deadline).await {
                Ok(answers) => answers,
                Err(error) => vec![Err(error); commits.len()],
            };
            let error = self.settle_commits(plan, &mut open, answers, failures, tally);
            attempt += 1;
            let Some(error) = error else { continue };
            let pause = self.timer.backoff(attempt);
            let in_time = self.timer.monotonic() + pause < deadline.committing;
            if attempt > self.settings.max_retries || !in_time {
                for index in open.drain(..) {
                    failures.insert(index, format!("commit: {error}"));
                }
            } else {
                self.timer.sleep(pause).await;
            }
        }
    }

    /// One round trip of commits, if the breaker lets it through, answered before the deadline or given up.
    async fn make(
        &self,
        commits: &[&Commit],
        deadline: Deadline,
    ) -> Result<Vec<Result<Committed, PortError>>, PortError> {
        let Breakers { store, commits: breaker, .. } = &self.breakers;
        self.would_ask(breaker, "redis")?;
        self.ask(store, "redis")?;
        self.ask(breaker, "redis")?;
        let call = async { Ok(self.store.commit(commits).await) };
        let answers = self.within(deadline.committing, "redis", call).await;
        let failed = |answer: &Result<Committed, PortError>| {
            answer.as_ref().err().filter(|e| e.is_transient()).cloned()
        };
        // One key that fails among others that do not is no reason to stop them all.
        let error = match &answers {
            Ok(answers) if answers.iter().any(Result::is_ok) => None,
            Ok(answers) => answers.iter().find_map(failed),
            Err(error) => Some(error.clone()),
        };
        // A server that is full answers; what makes room must get to it.
        self.tell(store, error.as_ref().filter(|error| error.kind != ErrorKind::Throttled));
        self.tell(breaker, error.as_ref());
        answers
    }

    /// Takes the answers to commits; leaves open what may be tried again, and says why.
    fn settle_commits(
        &self,
        plan: &[RecordPlan],
        open: &mut Vec<usize>,
        answers: Vec<Result<Committed, PortError>>,
        failures: &mut Failures,
        tally: &mut Tally,
    ) -> Option<String> {
        let mut error: Option<String> = None;
        let mut again: Vec<usize> = Vec::new();
        let mut answers = answers.into_iter();
        for index in open.drain(..) {
            let waits = |earlier: &usize| plan[*earlier].subject == plan[index].subject;
            match answers.next() {
                // The row that must come first is to be tried again, and so is this one.
                Some(Ok(Committed::OutOfStep)) if again.iter().any(waits) => again.push(index),
                Some(Ok(committed)) => self.committed(&plan[index], committed, index, failures, tally),
                Some(Err(refused)) if !refused.is_transient() => {
                    failures.insert(index, format!("commit: {refused}"));
                }
                Some(Err(transient)) => {
                    error.get_or_insert(transient.to_string());
                    again.push(index);
                }
                None => {
                    error.get_or_insert("no answer for this commit".to_owned());
                    again.push(index);
                }
            }
        }
        *open = again;
        error
    }

    fn committed(
        &self,
        record: &RecordPlan,
        committed: Committed,
        index: usize,
        failures: &mut Failures,
        tally: &mut Tally,
    ) {
        match committed {
            Committed::Applied { published } => {
                if let Some(commit) = &record.commit {
                    tally.cache_updates += commit.sets.len() as u64;
                    if let Some(deposit) = &commit.deposit {
                        tally.spilled += deposit.entries.len() as u64;
                    }
                }
                tally.pubsub_published += published;
                if let Some(created_ms) = record.created_ms {
                    tally.end_to_end_ms.push((self.timer.now_ms() - created_ms).max(0));
                }
            }
            // Someone else, or this very command sent twice, has made it: done.
            Committed::AlreadyApplied | Committed::Late => {}
            Committed::OutOfStep => {
                failures.insert(index, "commit: the row it builds on is not there".to_owned());
            }
        }
    }
}
