//! Judges what a run delivered.
//!
//! If Redis kept its data, the run must deliver exactly the events of a run without faults, each once and in order. The
//! run without faults is itself compared with the oracle. If Redis lost data, see `first_seen`.

use std::collections::{BTreeMap, HashMap, HashSet};

use events_core::plan::Config;
use serde_json::value::RawValue;

use crate::faults::fake_sqs::SentMessage;
use crate::probes::oracle::{self, assert_same_events, differing_hot_keys, in_oracle_format};
use crate::processors::{MemoryProcessor, in_memory, process};

use super::first_seen::FirstSeen;
use super::{FinishedRun, RedisData};

/// How many examples of each kind of problem are reported.
const EXAMPLES: usize = 5;
/// The least number of kills of a Redis that keeps its data.
const LEAST_KILLS: u64 = 5;
/// The least share of failed calls to SQS, %.
const LEAST_FAILED_PERCENT: f64 = 10.0;

/// The judgement of a run.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Events of the run without faults.
    pub expected: usize,
    /// Events in the queue.
    pub delivered: usize,
    /// Messages that the queue dropped as duplicates.
    pub duplicates: usize,
    /// Publications of the run without faults. An event counts once for each of its channels.
    pub expected_publications: usize,
    /// Publications that the subscriber received.
    pub received_publications: usize,
    /// Events that only the run without faults has.
    pub missing: usize,
    /// Events that only this run has.
    pub added: usize,
    /// Events that both have, with another content in this run.
    pub changed: usize,
    /// Everything that is wrong. Empty for a good run.
    pub problems: Vec<String>,
}

/// An event that a run may deliver.
#[derive(Clone, Debug)]
pub(super) struct PossibleEvent {
    /// The records that may make it, in order. Several if the stream repeats a record.
    pub(super) records: Vec<usize>,
    /// Its message group.
    pub(super) group_id: String,
}

/// The run without faults.
pub(super) struct Reference {
    /// Its events, by event id.
    events: HashMap<String, PossibleEvent>,
    /// The body of each event, without the processing time.
    bodies: HashMap<String, String>,
    /// The channels of each event.
    channels: HashMap<String, Vec<String>>,
    dead_letters: usize,
    processor: MemoryProcessor,
}

impl Reference {
    /// Processes the records in memory and compares every event with the oracle.
    async fn of(records: &[Box<RawValue>]) -> Self {
        let mut reference = Self {
            events: HashMap::new(),
            bodies: HashMap::new(),
            channels: HashMap::new(),
            dead_letters: 0,
            processor: in_memory(Config::default()),
        };
        let mut events = Vec::new();
        for (number, batch) in records.chunks(1_000).enumerate() {
            let outcome = process(&reference.processor, batch).await;
            for (index, plan) in outcome.records.iter().enumerate() {
                reference.dead_letters += plan.dead_letters.len();
                events.extend(plan.events.iter().map(in_oracle_format));
                for event in &plan.events {
                    reference.channels.insert(event.event_id.clone(), event.channels());
                }
                for message in &plan.messages {
                    let records = vec![number * 1_000 + index];
                    let event = PossibleEvent { records, group_id: message.group_id.clone() };
                    reference.events.insert(message.dedup_id.clone(), event);
                    reference.bodies.insert(message.dedup_id.clone(), without_processing_time(&message.body));
                }
            }
        }
        assert_same_events(&events, &oracle::events(records, &[]), "a run without faults");
        reference
    }
}

/// The body of an event without its `processingTime`. Cuts the text instead of parsing it, because a run has hundreds of
/// thousands of events.
fn without_processing_time(body: &str) -> String {
    let Some((before, rest)) = body.split_once(r#""processingTime":"#) else { return body.to_owned() };
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    format!("{before}{}", &rest[end..])
}

impl FinishedRun {
    /// Judges the run, which processed these records.
    pub async fn judge(&self, records: &[Box<RawValue>]) -> Judgement {
        let reference = Reference::of(records).await;
        let mut judgement = Judgement {
            expected: reference.events.len(),
            delivered: self.queued.len(),
            duplicates: self.duplicates,
            expected_publications: reference.channels.values().map(Vec::len).sum(),
            received_publications: self.received.publications.len(),
            problems: self.problems.clone(),
            ..Judgement::default()
        };
        self.compare(&reference, &mut judgement);
        let (actual, expected) = (self.dead_letters.len(), reference.dead_letters);
        if actual != expected {
            judgement.problems.push(format!("{actual} dead letters instead of {expected}"));
        }
        match self.plan.redis_data {
            RedisData::Kept => self.judge_kept(&reference, &mut judgement).await,
            RedisData::Emptied | RedisData::FailedOver => {
                let first_seen = FirstSeen::of(records, &self.traces, &self.losses);
                first_seen.judge(&self.queued, &mut judgement.problems);
                let excused = |record| first_seen.excuses(record);
                self.judge_order(&first_seen.events, excused, &mut judgement.problems);
            }
        }
        self.judge_fault_coverage(&mut judgement.problems);
        judgement
    }

    /// Counts the differences from the run without faults.
    fn compare(&self, reference: &Reference, judgement: &mut Judgement) {
        let queued: HashSet<&str> = self.queued.iter().map(|message| message.dedup_id.as_str()).collect();
        judgement.missing = reference.events.keys().filter(|id| !queued.contains(id.as_str())).count();
        judgement.added = queued.iter().filter(|id| !reference.events.contains_key(**id)).count();
        let changed = |message: &&SentMessage| {
            let expected = reference.bodies.get(&message.dedup_id);
            expected.is_some_and(|body| *body != without_processing_time(&message.body))
        };
        judgement.changed = self.queued.iter().filter(changed).count();
    }

    /// Judges a run in which Redis kept its data.
    async fn judge_kept(&self, reference: &Reference, judgement: &mut Judgement) {
        let problems = &mut judgement.problems;
        let mut queued: HashMap<&str, usize> = HashMap::new();
        self.queued.iter().for_each(|message| *queued.entry(&message.dedup_id).or_default() += 1);
        let missing = reference.events.iter().filter(|(id, _)| !queued.contains_key(id.as_str()));
        add_problems(problems, "lost", missing.map(|(id, event)| self.history(id, event)));
        let added = queued.keys().filter(|id| !reference.events.contains_key(**id));
        add_problems(problems, "invented", added.map(ToString::to_string));
        let twice = queued.iter().filter(|(_, n)| **n > 1).map(|(id, _)| id.to_string());
        add_problems(problems, "twice in the queue", twice);
        let changed = self.queued.iter().filter_map(|message| {
            let (body, expected) =
                (without_processing_time(&message.body), reference.bodies.get(&message.dedup_id)?);
            (body != *expected).then(|| format!("{body}\n    instead of {expected}"))
        });
        add_problems(problems, "another content", changed);
        let elsewhere = self.received.publications.iter().filter(|publication| {
            let channels = reference.channels.get(&publication.event_id);
            channels.is_none_or(|channels| !channels.contains(&publication.channel))
        });
        add_problems(problems, "on a wrong channel", elsewhere.map(|publication| format!("{publication:?}")));
        let not_received = self.not_received(reference);
        add_problems(problems, "not received by the connected subscriber", not_received.into_iter());
        self.judge_order(&reference.events, |_| false, problems);
        let differences = differing_hot_keys(self.redis.server(), reference.processor.store()).await;
        add_problems(problems, "not the last value", differences.into_iter());
    }

    /// The publications that the subscriber did not receive, although it was subscribed from the first delivery of
    /// their record until the record was done.
    fn not_received(&self, reference: &Reference) -> Vec<String> {
        let received: HashSet<(&str, &str)> = self
            .received
            .publications
            .iter()
            .map(|one| (one.event_id.as_str(), one.channel.as_str()))
            .collect();
        let subscribed = |record: &usize| {
            let trace = &self.traces[*record];
            let span = trace.first_delivered_at.zip(trace.done_at);
            span.is_some_and(|(first, done)| self.received.was_subscribed(first, done))
        };
        let events = reference.events.iter().filter(|(_, event)| event.records.iter().all(subscribed));
        let published =
            events.flat_map(|(id, _)| reference.channels[id].iter().map(move |channel| (id, channel)));
        let missing = published.filter(|(id, channel)| !received.contains(&(id.as_str(), channel.as_str())));
        missing
            .map(|(id, channel)| format!("{channel}: {}", self.history(id, &reference.events[id])))
            .collect()
    }

    /// Checks the order in each message group and on each channel, and that each event was published once per channel.
    /// Excused records may be out of order and published twice.
    fn judge_order(
        &self,
        events: &HashMap<String, PossibleEvent>,
        excused: impl Fn(usize) -> bool,
        problems: &mut Vec<String>,
    ) {
        let queued = self.queued.iter().filter_map(|message| {
            let event = events.get(&message.dedup_id)?;
            let lane = (message.queue_url.as_str(), event.group_id.as_str());
            Some((lane, message.dedup_id.as_str(), &*event.records))
        });
        add_problems(problems, "out of order in the queue", out_of_order(queued, &excused).into_iter());
        let published = self.received.publications.iter().filter_map(|publication| {
            let event = events.get(&publication.event_id)?;
            let lane = (publication.channel.as_str(), event.group_id.as_str());
            Some((lane, publication.event_id.as_str(), &*event.records))
        });
        add_problems(problems, "out of order on a channel", out_of_order(published, &excused).into_iter());
        let in_wrong_group = |message: &&SentMessage| {
            events.get(&message.dedup_id).is_some_and(|event| event.group_id != message.group_id)
        };
        let wrong = self.queued.iter().filter(in_wrong_group);
        let wrong = wrong.map(|message| format!("{} {}", message.group_id, message.dedup_id));
        add_problems(problems, "in another group", wrong);
        let sent: HashSet<&str> = self.queued.iter().map(|message| message.dedup_id.as_str()).collect();
        let publications = self.received.publications.iter();
        let unsent = publications.filter(|publication| !sent.contains(publication.event_id.as_str()));
        add_problems(problems, "published, not queued", unsent.map(|publication| format!("{publication:?}")));
        let mut once = HashSet::new();
        let again = self.received.publications.iter().filter(|publication| {
            !once.insert((&publication.channel, &publication.event_id))
                && !events.get(&publication.event_id).is_some_and(|event| {
                    event.records.len() > 1 || event.records.iter().any(|record| excused(*record))
                })
        });
        add_problems(problems, "twice on a channel", again.map(|publication| format!("{publication:?}")));
    }

    /// Checks that every kind of fault happened often enough. Otherwise the run proves nothing.
    fn judge_fault_coverage(&self, problems: &mut Vec<String>) {
        let (counts, kept) = (&self.counts, self.plan.redis_data == RedisData::Kept);
        let mut must = |holds: bool, what: String| {
            if !holds {
                problems.push(format!("too few faults, so the run proves nothing: {what}"));
            }
        };
        let percent = counts.sqs.failed_percent();
        must(percent >= LEAST_FAILED_PERCENT, format!("{percent:.1} % of the calls to SQS failed"));
        let missing = counts.sqs.missing();
        must(missing.is_empty(), format!("no call to SQS met {missing:?}"));
        let redis = &counts.redis;
        must(!kept || redis.kills >= LEAST_KILLS, format!("Redis was killed {} times", redis.kills));
        must(kept != (redis.losses > 0), format!("Redis lost data {} times", redis.losses));
        let demoted = format!("Redis was made a replica {} times", redis.demotions);
        must((self.plan.redis_data == RedisData::FailedOver) == (redis.demotions > 0), demoted);
        must(!self.plan.spill || self.spilled > 0, "no event was put into the outbox".to_owned());
        let sandboxes = &counts.sandboxes;
        let each = [sandboxes.killed, sandboxes.frozen, sandboxes.timed_out, sandboxes.frozen_idle];
        must(!each.contains(&0), format!("faults of sandboxes: {sandboxes:?}"));
        let each = [redis.pauses, redis.cuts, redis.resets, redis.delays, redis.stalls];
        must(!each.contains(&0), format!("faults of Redis: {redis:?}"));
        must(!self.received.publications.is_empty(), "the subscriber received nothing".to_owned());
    }

    /// The traces of the records of an event, for a problem report.
    fn history(&self, id: &str, event: &PossibleEvent) -> String {
        let traces: Vec<_> = event.records.iter().map(|record| (record, &self.traces[*record])).collect();
        format!("{id} of {}: {traces:?}", event.group_id)
    }
}

/// Arrivals out of order: an arrival after one of a later record in the same lane (message group or channel). An arrival
/// with several records may belong to any of them.
fn out_of_order<'a>(
    arrivals: impl Iterator<Item = ((&'a str, &'a str), &'a str, &'a [usize])>,
    excused: impl Fn(usize) -> bool,
) -> Vec<String> {
    let mut latest: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut late = Vec::new();
    for (lane, id, records) in arrivals {
        let last = latest.entry(lane).or_default();
        match records.iter().find(|record| *record >= last) {
            Some(record) => *last = *record,
            None if records.iter().any(|record| excused(*record)) => {}
            None => late.push(format!("{} {}: {id} of {records:?} after {last}", lane.0, lane.1)),
        }
    }
    late
}

/// Adds the number of problems of one kind, with the first few as examples.
pub(super) fn add_problems(problems: &mut Vec<String>, kind: &str, found: impl Iterator<Item = String>) {
    let found: Vec<String> = found.collect();
    if !found.is_empty() {
        let examples = found[..found.len().min(EXAMPLES)].join("\n  ");
        problems.push(format!("{kind}: {}\n  {examples}", found.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_after_one_of_a_later_record_is_out_of_order() {
        let late = |arrivals: &[(&'static str, &'static [usize])]| {
            let arrivals = arrivals.iter().map(|(lane, records)| ((*lane, ""), "id", *records));
            out_of_order(arrivals, |record| record == 7).len()
        };
        assert_eq!(late(&[("a", &[1]), ("a", &[1]), ("b", &[0]), ("a", &[3])]), 0);
        assert_eq!(late(&[("a", &[1]), ("a", &[3]), ("a", &[2]), ("a", &[3])]), 1);
        assert_eq!(late(&[("a", &[8]), ("a", &[7])]), 0, "excused");
        assert_eq!(late(&[("a", &[5]), ("a", &[2, 6]), ("a", &[5])]), 1, "of a record that is repeated");
    }

    #[test]
    fn only_the_processing_time_is_removed() {
        let body =
            |time: &str| format!(r#"{{"metadata":{{"confidence":1,"processingTime":{time},"tags":[]}}}}"#);
        assert_eq!(without_processing_time(&body("1.5")), without_processing_time(&body("22")));
        assert_ne!(
            without_processing_time(&body("1.5")),
            without_processing_time(&body("1.5").replace("[]", "[1]"))
        );
    }
}
