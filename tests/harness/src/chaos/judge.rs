//! What must have come of a run.
//!
//! Where Redis lost nothing: exactly the events of a run without faults, which are those of the oracle, each once and
//! in order. Where it lost data see `first_seen`.

use std::collections::{BTreeMap, HashMap, HashSet};

use events_core::plan::Config;
use serde_json::value::RawValue;

use crate::faults::sqs_sink::Entry;
use crate::probes::oracle::{self, assert_told, last_values_differ, told};
use crate::processors::{MemoryProcessor, in_memory, process};

use super::first_seen::FirstSeen;
use super::{Aftermath, Mode};

/// Of each kind of problem, how many are told.
const TOLD: usize = 5;
/// What a run must have been through at least.
const LEAST_KILLS: u64 = 5;
const LEAST_FAILED_PERCENT: f64 = 10.0;

/// The judgement of a run.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Events of a run without faults.
    pub expected: usize,
    /// Events in the queue.
    pub delivered: usize,
    /// Messages that the queue dropped as known.
    pub duplicates: usize,
    /// Publications of a run without faults, an event counted on each of its channels.
    pub publications: usize,
    /// Publications heard.
    pub heard: usize,
    /// Events that a run without faults has and this one has not.
    pub missing: usize,
    /// Events that only this run has.
    pub added: usize,
    /// Events that both have, compared with something else here.
    pub changed: usize,
    /// Everything that is wrong; empty for a good run.
    pub problems: Vec<String>,
}

/// An event that a run may have.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The records it may be of, in order: several where a stream repeats a record.
    pub(super) records: Vec<usize>,
    pub(super) group: String,
}

/// The run without faults.
pub(super) struct Reference {
    pub(super) known: HashMap<String, Known>,
    /// The body of each event, without the one field that may differ.
    pub(super) bodies: HashMap<String, String>,
    channels: HashMap<String, Vec<String>>,
    letters: usize,
    processor: MemoryProcessor,
}

impl Reference {
    /// Processes the records in memory and compares every event with the oracle.
    async fn of(records: &[Box<RawValue>]) -> Self {
        let mut reference = Self {
            known: HashMap::new(),
            bodies: HashMap::new(),
            channels: HashMap::new(),
            letters: 0,
            processor: in_memory(Config::default()),
        };
        let mut ours = Vec::new();
        for (number, batch) in records.chunks(1_000).enumerate() {
            let done = process(&reference.processor, batch).await;
            for (index, plan) in done.records.iter().enumerate() {
                reference.letters += plan.dead_letters.len();
                ours.extend(plan.events.iter().map(told));
                for event in &plan.events {
                    reference.channels.insert(event.event_id.clone(), event.channels());
                }
                for message in &plan.messages {
                    let records = vec![number * 1_000 + index];
                    let known = Known { records, group: message.group_id.clone() };
                    reference.known.insert(message.dedup_id.clone(), known);
                    reference.bodies.insert(message.dedup_id.clone(), timeless(&message.body));
                }
            }
        }
        assert_told(&ours, &oracle::events(records, &[]), "a run without faults");
        reference
    }
}

/// The body of an event without its `processingTime`.
fn timeless(body: &str) -> String {
    let Some((before, rest)) = body.split_once(r#""processingTime":"#) else { return body.to_owned() };
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    format!("{before}{}", &rest[end..])
}

impl Aftermath {
    /// Judges the run of these records.
    pub async fn judge(&self, records: &[Box<RawValue>]) -> Judgement {
        let reference = Reference::of(records).await;
        let mut judgement = Judgement {
            expected: reference.known.len(),
            delivered: self.queued.len(),
            duplicates: self.duplicates,
            publications: reference.channels.values().map(Vec::len).sum(),
            heard: self.heard.publications.len(),
            problems: self.problems.clone(),
            ..Judgement::default()
        };
        self.compare(&reference, &mut judgement);
        if self.letters.len() != reference.letters {
            let wanted = reference.letters;
            judgement.problems.push(format!("{} dead letters, not {wanted}", self.letters.len()));
        }
        match self.plan.mode {
            Mode::Kept => self.judge_kept(&reference, &mut judgement).await,
            Mode::Emptied | Mode::FailedOver => {
                let first_seen = FirstSeen::of(records, &self.traces, &self.losses);
                first_seen.judge(&self.queued, &mut judgement.problems);
                let excused = |record| first_seen.excuses(record);
                self.judge_order(&first_seen.known, excused, &mut judgement.problems);
            }
        }
        self.judge_harshness(&mut judgement.problems);
        judgement
    }

    /// Counts what differs from a run without faults.
    fn compare(&self, reference: &Reference, judgement: &mut Judgement) {
        let queued: HashSet<&str> = self.queued.iter().map(|entry| entry.dedup.as_str()).collect();
        judgement.missing = reference.known.keys().filter(|id| !queued.contains(id.as_str())).count();
        judgement.added = queued.iter().filter(|id| !reference.known.contains_key(**id)).count();
        let changed = |entry: &&Entry| {
            reference.bodies.get(&entry.dedup).is_some_and(|body| *body != timeless(&entry.body))
        };
        judgement.changed = self.queued.iter().filter(changed).count();
    }

    async fn judge_kept(&self, reference: &Reference, judgement: &mut Judgement) {
        let problems = &mut judgement.problems;
        let mut queued: HashMap<&str, usize> = HashMap::new();
        self.queued.iter().for_each(|entry| *queued.entry(&entry.dedup).or_default() += 1);
        let missing = reference.known.iter().filter(|(id, _)| !queued.contains_key(id.as_str()));
        tell(problems, "lost", missing.map(|(id, known)| self.story(id, known)));
        let added = queued.keys().filter(|id| !reference.known.contains_key(**id));
        tell(problems, "invented", added.map(ToString::to_string));
        tell(
            problems,
            "twice in the queue",
            queued.iter().filter(|(_, n)| **n > 1).map(|(id, _)| id.to_string()),
        );
        let changed = self.queued.iter().filter_map(|entry| {
            let (body, wanted) = (timeless(&entry.body), reference.bodies.get(&entry.dedup)?);
            (body != *wanted).then(|| format!("{body}\n    instead of {wanted}"))
        });
        tell(problems, "another content", changed);
        let elsewhere = self.heard.publications.iter().filter(|heard| {
            let channels = reference.channels.get(&heard.event_id);
            channels.is_none_or(|channels| !channels.contains(&heard.channel))
        });
        tell(problems, "on a wrong channel", elsewhere.map(|heard| format!("{heard:?}")));
        let unheard = self.unheard(reference);
        tell(problems, "not published, though somebody listened", unheard.into_iter());
        self.judge_order(&reference.known, |_| false, problems);
        let differ = last_values_differ(self.redis.server(), reference.processor.store()).await;
        tell(problems, "not the last value", differ.into_iter());
    }

    /// Publications of records during whose work the subscriber was there all the time, and which it has not heard.
    fn unheard(&self, reference: &Reference) -> Vec<String> {
        let heard: HashSet<(&str, &str)> =
            self.heard.publications.iter().map(|one| (one.event_id.as_str(), one.channel.as_str())).collect();
        let listened = |record: &usize| {
            let trace = &self.traces[*record];
            trace.first.zip(trace.done).is_some_and(|(first, done)| self.heard.listened(first, done))
        };
        let events = reference.known.iter().filter(|(_, known)| known.records.iter().all(listened));
        let published =
            events.flat_map(|(id, _)| reference.channels[id].iter().map(move |channel| (id, channel)));
        let unheard = published.filter(|(id, channel)| !heard.contains(&(id.as_str(), channel.as_str())));
        unheard.map(|(id, channel)| format!("{channel}: {}", self.story(id, &reference.known[id]))).collect()
    }

    /// Order per group in the queue and per channel, and once per channel, but for records that are excused.
    fn judge_order(
        &self,
        known: &HashMap<String, Known>,
        excused: impl Fn(usize) -> bool,
        problems: &mut Vec<String>,
    ) {
        let queued = self.queued.iter().filter_map(|entry| {
            let known = known.get(&entry.dedup)?;
            Some(((entry.queue_url.as_str(), known.group.as_str()), entry.dedup.as_str(), &*known.records))
        });
        tell(problems, "out of order in the queue", out_of_order(queued, &excused).into_iter());
        let heard = self.heard.publications.iter().filter_map(|heard| {
            let known = known.get(&heard.event_id)?;
            Some(((heard.channel.as_str(), known.group.as_str()), heard.event_id.as_str(), &*known.records))
        });
        tell(problems, "out of order on a channel", out_of_order(heard, &excused).into_iter());
        let groups = self
            .queued
            .iter()
            .filter(|entry| known.get(&entry.dedup).is_some_and(|known| known.group != entry.group));
        tell(problems, "in another group", groups.map(|entry| format!("{} {}", entry.group, entry.dedup)));
        let sent: HashSet<&str> = self.queued.iter().map(|entry| entry.dedup.as_str()).collect();
        let unsent = self.heard.publications.iter().filter(|heard| !sent.contains(heard.event_id.as_str()));
        tell(problems, "published, not queued", unsent.map(|heard| format!("{heard:?}")));
        let mut once = HashSet::new();
        let again = self.heard.publications.iter().filter(|heard| {
            !once.insert((&heard.channel, &heard.event_id))
                && !known.get(&heard.event_id).is_some_and(|known| {
                    known.records.len() > 1 || known.records.iter().any(|record| excused(*record))
                })
        });
        tell(problems, "twice on a channel", again.map(|heard| format!("{heard:?}")));
    }

    /// A run without enough faults shows nothing.
    fn judge_harshness(&self, problems: &mut Vec<String>) {
        let (counts, kept) = (&self.counts, self.plan.mode == Mode::Kept);
        let mut must = |holds: bool, what: String| {
            if !holds {
                problems.push(format!("too tame: {what}"));
            }
        };
        let percent = counts.sqs.failed_percent();
        must(percent >= LEAST_FAILED_PERCENT, format!("{percent:.1} % of the calls to SQS failed"));
        let missing = counts.sqs.missing();
        must(missing.is_empty(), format!("no call met {missing:?}"));
        let redis = &counts.redis;
        must(!kept || redis.kills >= LEAST_KILLS, format!("Redis was killed {} times", redis.kills));
        must(kept != (redis.losses > 0), format!("Redis lost data {} times", redis.losses));
        let demoted = format!("Redis was made a replica {} times", redis.demotions);
        must((self.plan.mode == Mode::FailedOver) == (redis.demotions > 0), demoted);
        must(!self.plan.spill || self.waited > 0, "no event had to wait".to_owned());
        let sandboxes = &counts.sandboxes;
        let each = [sandboxes.killed, sandboxes.frozen, sandboxes.timed_out, sandboxes.frozen_idle];
        must(!each.contains(&0), format!("sandboxes met {sandboxes:?}"));
        let each = [redis.pauses, redis.cuts, redis.resets, redis.delays, redis.holes];
        must(!each.contains(&0), format!("Redis met {redis:?}"));
        must(!self.heard.publications.is_empty(), "nothing was heard".to_owned());
    }

    /// What happened to the record of an event.
    fn story(&self, id: &str, known: &Known) -> String {
        let traces: Vec<_> = known.records.iter().map(|record| (record, &self.traces[*record])).collect();
        format!("{id} of {}: {traces:?}", known.group)
    }
}

/// Those that came after something later of the same lane, whichever of its records each is of.
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

/// Adds the first of some problems of one kind, and how many there are.
pub(super) fn tell(problems: &mut Vec<String>, kind: &str, found: impl Iterator<Item = String>) {
    let found: Vec<String> = found.collect();
    if !found.is_empty() {
        let some = found[..found.len().min(TOLD)].join("\n  ");
        problems.push(format!("{kind}: {}\n  {some}", found.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_something_later_of_its_lane_is_found() {
        let judged = |arrivals: &[(&'static str, &'static [usize])]| {
            let arrivals = arrivals.iter().map(|(lane, records)| ((*lane, ""), "id", *records));
            out_of_order(arrivals, |record| record == 7).len()
        };
        assert_eq!(judged(&[("a", &[1]), ("a", &[1]), ("b", &[0]), ("a", &[3])]), 0);
        assert_eq!(judged(&[("a", &[1]), ("a", &[3]), ("a", &[2]), ("a", &[3])]), 1);
        assert_eq!(judged(&[("a", &[8]), ("a", &[7])]), 0, "excused");
        assert_eq!(judged(&[("a", &[5]), ("a", &[2, 6]), ("a", &[5])]), 1, "of a record that is repeated");
    }

    #[test]
    fn only_the_processing_time_is_left_out() {
        let body =
            |time: &str| format!(r#"{{"metadata":{{"confidence":1,"processingTime":{time},"tags":[]}}}}"#);
        assert_eq!(timeless(&body("1.5")), timeless(&body("22")));
        assert_ne!(timeless(&body("1.5")), timeless(&body("1.5").replace("[]", "[1]")));
    }
}
