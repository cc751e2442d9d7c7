//! Takes letters one by one.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use events_adapters::redis::{RedisEventLog, RedisStore};
use events_adapters::sqs::{Received, SqsQueue, SqsReader};
use events_adapters::time::SystemTimer;
use events_core::delivery::{Letter, LetterRecord, Message, SendResult, read_letter};
use events_core::source::{dynamodb, postgres};
use events_processor::Processor;
use events_processor::ports::{PortError, Queue, Timer};
use events_program::say;

use super::group_times::GroupTimes;
use super::held::HeldQueue;
use super::report::{Fate, Report};
use super::{Args, Overtaken};

/// Time for one record, and how long before its end nothing more is sent.
const RECORD: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(1);
/// SQS drops a message with an id that it accepted within this time.
const DEDUPLICATION_MS: i64 = 5 * 60 * 1_000 + 5_000;
/// Attempts to send a message that SQS refuses for the moment.
const ATTEMPTS: u32 = 4;
/// After so many groups in a row that failed, a service does not work, and the run ends.
const FAILED_IN_A_ROW: u32 = 5;
/// So many letters between two lines that say how far it is.
const PROGRESS: u64 = 500;

/// A run.
pub(super) struct Redrive<'a> {
    pub(super) args: &'a Args,
    pub(super) reader: SqsReader,
    /// The dead letter queue, for what becomes a letter of another kind.
    pub(super) letters: SqsQueue,
    pub(super) events: SqsQueue,
    pub(super) log: RedisEventLog,
    pub(super) held: HeldQueue,
    pub(super) processor: Processor<RedisStore, SqsQueue, HeldQueue, SystemTimer>,
    pub(super) set_aside: Option<SetAside>,
    pub(super) times: GroupTimes,
    pub(super) report: Report,
}

/// What became of a letter, and why.
type Verdict = (Fate, Option<String>);

impl Redrive<'_> {
    /// Takes all letters that SQS gives, until it gives none or the run is told to stop.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Report, PortError> {
        self.report.dry_run = !self.args.apply;
        let (visible, hidden) = self.reader.depth().await?;
        self.report.in_queue = visible + hidden;
        let mut kept = Vec::new();
        let ended = {
            let mut stop = std::pin::pin!(stop);
            tokio::select! {
                biased;
                () = &mut stop => None,
                ended = self.take_all(&mut kept) => Some(ended),
            }
        };
        if ended.is_none() {
            say("events redrive: stopped; the letters that are left are shown to others again\n");
        }
        // Those that it cannot show come back by themselves.
        for letter in &kept {
            let _shown_later = self.reader.hide(letter, Duration::ZERO).await;
        }
        ended.transpose()?;
        Ok(self.report)
    }

    async fn take_all(&mut self, kept: &mut Vec<Received>) -> Result<(), PortError> {
        let (mut failed_groups, mut failed_in_a_row, mut taken) = (HashSet::new(), 0, 0);
        loop {
            let mut letters =
                Box::pin(self.reader.receive(Duration::from_secs(self.args.hidden_for))).await?;
            // A run that takes longer than letters are hidden meets those again that stay.
            letters.retain(|letter| match kept.iter_mut().find(|other| other.is_same_as(letter)) {
                Some(known) => {
                    *known = letter.clone();
                    false
                }
                None => true,
            });
            if letters.is_empty() {
                return Ok(());
            }
            for received in letters {
                // Noted first: if the run is stopped while it is at hand, it is shown to others again.
                kept.push(received.clone());
                let letter = read_letter(&received.body, &received.group_id);
                let is_behind = failed_groups.contains(&received.group_id);
                let (fate, problem) = if is_behind {
                    (Fate::Behind, None)
                } else {
                    Box::pin(self.take(&received, &letter)).await
                };
                if let Some(problem) = problem {
                    self.report.problem(problem);
                }
                if fate.is_gone() {
                    Box::pin(self.reader.delete(&received)).await?;
                    kept.pop();
                }
                self.report.add(&letter, received.receives, received.sent_ms, fate);
                match fate {
                    Fate::Failed | Fate::Young => {
                        failed_groups.insert(received.group_id);
                        failed_in_a_row += u32::from(fate == Fate::Failed);
                    }
                    Fate::Behind => {}
                    _ => failed_in_a_row = 0,
                }
                if failed_in_a_row == FAILED_IN_A_ROW {
                    say("events redrive: ends, because letter after letter fails\n");
                    return Ok(());
                }
                taken += 1;
                if taken % PROGRESS == 0 {
                    say(&format!("events redrive: {taken} letters of about {}\n", self.report.in_queue));
                }
            }
        }
    }

    async fn take(&mut self, received: &Received, letter: &Letter) -> Verdict {
        if !self.args.apply {
            return (Fate::Seen, None);
        }
        if received.receives > self.args.max_attempts {
            return (Fate::TooOften, None);
        }
        match letter {
            Letter::Record { record, .. } => self.record(received, record).await,
            Letter::Event { message, .. } => self.event(received, message).await,
            Letter::Moved(message) => {
                let age_ms = self.processor.timer().now_ms() - received.sent_ms;
                if age_ms < DEDUPLICATION_MS {
                    (Fate::Young, None)
                } else {
                    self.event(received, message).await
                }
            }
            Letter::Hopeless(_) => self.hopeless(received, None),
        }
    }

    /// Processes a record again.
    async fn record(&mut self, received: &Received, record: &LetterRecord) -> Verdict {
        let record = match record {
            LetterRecord::DynamoDb(raw) => dynamodb::decode_text(raw, self.processor.timer().now_ms()),
            LetterRecord::Postgres(entry) => match &self.args.database {
                Some(database) => postgres::decode(entry, database),
                None => {
                    let problem =
                        "changes of PostgreSQL need --database, as the relay logs it: postgres:ID/NAME";
                    return (Fate::Failed, Some(problem.to_owned()));
                }
            },
        };
        let outcome = self.processor.process(vec![record], self.processor.deadline(RECORD, MARGIN)).await;
        let held = self.held.take();
        if let Some(reason) = outcome.failures.into_values().next() {
            return (Fate::Failed, Some(reason));
        }
        if held.iter().any(|message| message.dedup_id == received.dedup_id) {
            return self.hopeless(received, Some("it failed again for the same reason".to_owned()));
        }
        // An event of it failed in another way. That is a letter of its own.
        for message in &held {
            if let Err(reason) = self.send(&self.letters, message).await {
                return (Fate::Failed, Some(reason));
            }
        }
        let tally = &outcome.tally;
        let is_news = tally.events > 0 || tally.cache_updates > 0 || !held.is_empty();
        (if is_news { Fate::Done } else { Fate::NothingToDo }, None)
    }

    /// Sends an event again.
    async fn event(&mut self, received: &Received, message: &Message) -> Verdict {
        // What has gone out up to now.
        if let Err(error) = self.times.follow(&self.log).await {
            return (Fate::Failed, Some(error.to_string()));
        }
        let timestamp = message.attributes.as_ref().map_or(0, |attributes| attributes.timestamp);
        if let Some(why) = self.times.overtaken(&message.group_id, timestamp) {
            match self.args.overtaken {
                Overtaken::Keep => return (Fate::Overtaken, Some(why)),
                Overtaken::Discard => return (Fate::Discarded, None),
                Overtaken::Send => {}
            }
        }
        match self.send(&self.events, message).await {
            Ok(Sent::Accepted) => {
                self.times.sent(&message.group_id, timestamp);
                (Fate::Done, None)
            }
            Ok(Sent::Rejected(reason)) => self.hopeless(received, Some(reason)),
            Err(reason) => (Fate::Failed, Some(reason)),
        }
    }

    /// Sends a message, with retries. The error is the last reason.
    async fn send(&self, queue: &SqsQueue, message: &Message) -> Result<Sent, String> {
        let timer = self.processor.timer();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (reason, may_pass) =
                match queue.send(&[message]).await.map(|results| results.into_iter().next()) {
                    Ok(Some(SendResult::Accepted)) => return Ok(Sent::Accepted),
                    Ok(Some(SendResult::Rejected(reason))) => return Ok(Sent::Rejected(reason)),
                    Ok(Some(SendResult::Refused(reason) | SendResult::Throttled(reason))) => (reason, true),
                    Ok(None) => ("sqs gave no result".to_owned(), true),
                    Err(error) => (error.to_string(), error.is_transient()),
                };
            if !may_pass || attempt == ATTEMPTS {
                return Err(reason);
            }
            timer.sleep(timer.backoff(attempt)).await;
        }
    }

    /// What can never succeed stays, or goes to the file.
    fn hopeless(&mut self, received: &Received, problem: Option<String>) -> Verdict {
        match &mut self.set_aside {
            None => (Fate::Hopeless, problem),
            Some(file) => match file.append(&received.body) {
                Ok(()) => (Fate::SetAside, problem),
                Err(error) => (Fate::Failed, Some(format!("--set-aside: {error}"))),
            },
        }
    }
}

/// What became of a message.
enum Sent {
    Accepted,
    Rejected(String),
}

/// The file for what can never succeed.
#[derive(Debug)]
pub(super) struct SetAside(File);

impl SetAside {
    /// Opens the file, or creates it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map(Self).map_err(|error| format!("--set-aside {}: {error}", path.display()))
    }

    /// Appends a letter, and waits until the disk has it: afterwards it is deleted from the queue.
    fn append(&mut self, body: &str) -> std::io::Result<()> {
        // A letter is one line: the writer of letters writes no line breaks, and others are quoted.
        let line =
            if body.contains('\n') { serde_json::Value::from(body).to_string() } else { body.to_owned() };
        self.0.write_all(format!("{line}\n").as_bytes())?;
        self.0.sync_data()
    }
}
