//! Plans one record after the other.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::Config;
use super::hot_keys::hot_keys;
use super::judged::{completed, rules_of};
use super::{RecordOutcome, RecordPlan};
use crate::change::{
    Baseline, BaselineValues, ChangeRules, Detection, Finding, Predecessor, RowVersion, VersionStatus,
    detect, row_status,
};
use crate::delivery::{
    Commit, DeadLetterWriter, EventLog, KeyRenewal, Message, Publication, Snapshot, Undeliverable,
    event_message,
};
use crate::event::{Event, EventSource, EventType, ProtocolMeta, value_id};
use crate::signal::{Stage, ValueSignal, keep_meters, observe};
use crate::source::{
    Judgement, ProtocolRow, Record, RecordContent, Row, SourceRow, Subject, UndecodableRecord,
};
use crate::value::{Number, Text};

/// The times that a plan needs, because this crate reads no clock.
#[derive(Clone, Copy, Debug)]
pub struct PlanTimes {
    /// Now, ms since 1970.
    pub now_ms: i64,
    /// ms since the handler was entered.
    pub processing_ms: f64,
}

/// Plans a batch.
pub fn plan(records: Vec<Record>, snapshot: &Snapshot, config: &Config, times: PlanTimes) -> Vec<RecordPlan> {
    let mut planner = Planner::new(snapshot, config, times);
    for record in records {
        planner.record(record);
    }
    planner.plans
}

/// Plans a batch whose rows can be neither compared nor committed. Rows get an empty plan, and the caller must report
/// them failed. Unreadable records still become dead letters, and skipped records are still counted.
pub fn hold_back_rows(records: Vec<Record>, config: &Config, times: PlanTimes) -> Vec<RecordPlan> {
    let snapshot = Snapshot::default();
    let mut planner = Planner::new(&snapshot, config, times);
    for record in records {
        if let RecordContent::Row(row) = record.content {
            let held_back = RecordPlan::of_row(record.identifier, record.raw, &row, RecordOutcome::HeldBack);
            planner.plans.push(held_back);
        } else {
            planner.record(record);
        }
    }
    planner.plans
}

/// The baseline of a key at one point of the batch.
struct CurrentBaseline<'a> {
    version: &'a RowVersion,
    occurrence: u32,
    /// JSON. Values that cannot be read count as no baseline, but the version still detects late and repeated rows.
    values: &'a str,
}

impl<'a> CurrentBaseline<'a> {
    fn stored(baseline: &'a Baseline) -> Self {
        Self { version: &baseline.version, occurrence: baseline.occurrence, values: &baseline.values }
    }

    fn planned(commit: &'a Commit) -> Self {
        Self { version: &commit.version, occurrence: commit.occurrence, values: &commit.values }
    }

    /// The values, with their data time.
    fn read(&self) -> Option<(BaselineValues<'a>, i64)> {
        Some((BaselineValues::from_json(self.values)?, self.version.data_time_ms))
    }
}

/// How many rows of the key with the row's data time were applied before. Several rows of one second differ only in it.
fn occurrence(row: &SourceRow, baseline: Option<&CurrentBaseline<'_>>) -> u32 {
    let same_time = baseline.filter(|baseline| baseline.version.data_time_ms == row.data_time_ms);
    same_time.map_or(0, |baseline| baseline.occurrence.saturating_add(1))
}

/// What comparing a row has shown.
struct Comparison<'a> {
    detection: Detection<'a>,
    /// The rules that it was compared by.
    rules: &'a ChangeRules,
    /// How many rows of the key with the same data time were applied before.
    occurrence: u32,
    /// The baseline that is stored, with its data time.
    cached: Option<(&'a BaselineValues<'a>, i64)>,
}

struct Planner<'a> {
    config: &'a Config,
    times: PlanTimes,
    snapshot: &'a Snapshot,
    /// The records that are planned.
    plans: Vec<RecordPlan>,
    /// The last plan that commits a row of a baseline key. Later rows of the key build on it.
    last_of_key: HashMap<String, usize>,
    /// The last plan that commits a row of a subject.
    last_of_subject: HashMap<Subject, usize>,
    /// Metadata that rows of this batch have changed, by key.
    metas: HashMap<String, ProtocolMeta>,
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot, config: &'a Config, times: PlanTimes) -> Self {
        let (last_of_key, last_of_subject, metas) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { config, times, snapshot, plans: Vec::new(), last_of_key, last_of_subject, metas }
    }

    fn record(&mut self, record: Record) {
        let Record { identifier, raw, content } = record;
        let plan = match content {
            RecordContent::Skipped(reason) => {
                RecordPlan::new(identifier, raw, RecordOutcome::Skipped(reason))
            }
            RecordContent::Undecodable(broken) => self.undecodable(identifier, raw, &broken),
            RecordContent::Row(row) => {
                let subject = row.subject();
                let mut plan = RecordPlan::of_row(identifier, raw, &row, RecordOutcome::Unchanged);
                self.row(&row, &subject, &mut plan);
                self.remember(&row, subject, &plan);
                plan
            }
        };
        self.plans.push(plan);
    }

    /// Lets later rows of the batch build on a row that is committed.
    fn remember(&mut self, source: &SourceRow, subject: Subject, plan: &RecordPlan) {
        let Some(commit) = &plan.commit else { return };
        if let Row::Protocol(row) = &source.row {
            self.metas.insert(self.config.keys.meta(&subject), row_meta(row));
        }
        self.last_of_key.insert(commit.baseline_key.clone(), self.plans.len());
        self.last_of_subject.insert(subject, self.plans.len());
    }

    fn undecodable(
        &self,
        identifier: Option<String>,
        raw: Arc<str>,
        broken: &UndecodableRecord,
    ) -> RecordPlan {
        let record = Undeliverable::Record(&raw);
        let dead_letter =
            self.dead_letters().write(record, &broken.record_id, None, &broken.reason, "decode");
        let mut plan = RecordPlan::new(identifier, raw, RecordOutcome::DeadLetter(broken.reason.clone()));
        plan.dead_letters.push(dead_letter);
        plan
    }

    /// Plans a row that is newer than its baseline. A late or already applied row only gets its outcome.
    fn row(&self, source: &SourceRow, subject: &Subject, plan: &mut RecordPlan) {
        let baseline_key = self.config.keys.baseline(subject, &source.pk);
        let current = self.current(&baseline_key);
        let stored = current.as_ref().map(|current| current.version);
        if let Some(judgement) = &source.judgement {
            // The source itself has told history and late rows apart.
            match RowVersion::of(source).status(stored) {
                VersionStatus::Late => plan.outcome = RecordOutcome::Late,
                VersionStatus::AlreadyApplied => plan.outcome = RecordOutcome::AlreadyApplied,
                VersionStatus::Newer => {
                    self.judged_row(source, judgement, subject, current.as_ref(), baseline_key, plan)
                }
            }
            return;
        }
        match row_status(source, stored, self.config.ttls.baseline_of(&source.row)) {
            VersionStatus::Late => plan.outcome = RecordOutcome::Late,
            VersionStatus::AlreadyApplied => plan.outcome = RecordOutcome::AlreadyApplied,
            VersionStatus::Newer => {
                let cached = current.as_ref().and_then(CurrentBaseline::read);
                let cached = cached.as_ref().map(|(values, at)| (values, *at));
                let detection = detect(source, cached, &self.config.rules);
                let occurrence = occurrence(source, current.as_ref());
                let this_row = Predecessor { baseline_key, version: RowVersion::of(source) };
                let comparison = Comparison { detection, rules: &self.config.rules, occurrence, cached };
                self.apply(source, subject, comparison, this_row, plan);
            }
        }
    }

    /// Plans a row that its source has compared, and that is newer than its baseline.
    fn judged_row(
        &self,
        source: &SourceRow,
        judgement: &Judgement,
        subject: &Subject,
        current: Option<&CurrentBaseline<'_>>,
        baseline_key: String,
        plan: &mut RecordPlan,
    ) {
        let cached = current.and_then(CurrentBaseline::read);
        let cached = cached.as_ref().map(|(values, at)| (values, *at));
        let completed = completed(source, cached.map(|(values, _)| values));
        let (source, rules) = (&completed, &rules_of(judgement, &self.config.rules));
        let mut detection = detect(source, None, rules);
        if judgement.silent {
            detection.findings.clear();
        }
        let occurrence = judgement.occurrence;
        let this_row = Predecessor { baseline_key, version: RowVersion::of(source) };
        self.apply(source, subject, Comparison { detection, rules, occurrence, cached }, this_row, plan);
    }

    /// The baseline of a key: that of an earlier row of this batch, else the stored one.
    fn current(&self, key: &str) -> Option<CurrentBaseline<'_>> {
        let planned = self.last_of_key.get(key).and_then(|last| self.plans[*last].commit.as_ref());
        let stored = || self.snapshot.baselines.get(key).map(CurrentBaseline::stored);
        planned.map(CurrentBaseline::planned).or_else(stored)
    }

    /// The last row of the subject that this batch commits.
    fn predecessor(&self, subject: &Subject) -> Option<Predecessor> {
        let last = self.last_of_subject.get(subject)?;
        let Commit { baseline_key, version, .. } = self.plans[*last].commit.as_ref()?;
        Some(Predecessor { baseline_key: baseline_key.clone(), version: version.clone() })
    }

    /// Plans the events and the commit of a row.
    fn apply(
        &self,
        source: &SourceRow,
        subject: &Subject,
        comparison: Comparison<'_>,
        this_row: Predecessor,
        plan: &mut RecordPlan,
    ) {
        let Comparison { detection, rules, occurrence, cached } = comparison;
        let Detection { findings, compared, mut next, gone_chains } = detection;
        let signals = self.signals(source, occurrence, cached, &findings, &mut next);
        let mut commit = Commit {
            baseline_key: this_row.baseline_key,
            version: this_row.version,
            predecessor: self.predecessor(subject),
            occurrence,
            values: next.to_json(),
            baseline_ttl: self.config.ttls.baseline_of(&source.row),
            writes: Vec::new(),
            deletes: Vec::new(),
            renewals: self.renewals(source, subject),
            publications: Vec::new(),
            event_log: None,
        };
        if self.config.caching {
            commit.writes = hot_keys(source, subject, self.config);
            let key = |chain: &Text<'_>| self.config.keys.chain_tvl(subject, chain.as_str());
            commit.deletes = gone_chains.iter().map(key).collect();
        }
        plan.outcome = match (findings.is_empty(), compared) {
            (true, false) => RecordOutcome::FirstSeen,
            (true, true) => RecordOutcome::Unchanged,
            (false, _) => RecordOutcome::Events,
        };
        let has_findings = !findings.is_empty();
        if has_findings || !signals.is_empty() {
            self.events(source, subject, (findings, signals), rules, plan, &mut commit);
        }
        if has_findings && plan.events.is_empty() {
            plan.outcome = RecordOutcome::DeadLetter("every event of the record is invalid".into());
        }
        plan.commit = Some(commit);
    }

    /// The signals of a row. Puts the meters of its values into the next baseline.
    fn signals<'v>(
        &self,
        source: &'v SourceRow,
        occurrence: u32,
        cached: Option<(&BaselineValues<'v>, i64)>,
        findings: &[Finding],
        next: &mut BaselineValues<'v>,
    ) -> Vec<ValueSignal> {
        if self.config.signals.is_none() {
            return Vec::new();
        }
        if source.judgement.as_ref().is_some_and(|judgement| judgement.silent) {
            if let Some((values, _)) = cached {
                keep_meters(values, next);
            }
            return Vec::new();
        }
        // A signal is about the event of its value, or about its own where the value has none.
        let of_value = match source.row {
            Row::Price(_) => EventType::PriceUpdate,
            Row::Tvl(_) | Row::Protocol(_) => EventType::TvlChange,
        };
        let has_event = |chain: Option<&str>| findings.iter().any(|finding| finding.is_move_of(chain));
        let id = |chain: Option<&str>, value: &Number| {
            // A price row names its chain, and has one value.
            let has_event = has_event(chain.filter(|_| of_value == EventType::TvlChange));
            let event_type = if has_event { of_value } else { EventType::Signal };
            value_id(source, occurrence, event_type, chain, value)
        };
        observe(source, cached, next, &id)
    }

    /// Makes of each finding, and of each signal without one, an event with its message and publication, or a dead
    /// letter.
    fn events(
        &self,
        source: &SourceRow,
        subject: &Subject,
        (findings, mut signals): (Vec<Finding>, Vec<ValueSignal>),
        rules: &ChangeRules,
        plan: &mut RecordPlan,
        commit: &mut Commit,
    ) {
        let events = EventSource {
            row: source,
            meta: &self.meta(source, subject),
            least_tvl: &rules.tvl.absolute,
            occurrence: commit.occurrence,
            priority: self.config.signals.unwrap_or_default().priority,
            processing_ms: self.times.processing_ms,
        };
        for finding in findings {
            let own = signals.iter().position(|found| finding.is_move_of(found.chain.as_deref()));
            let signal = own.map(|own| signals.remove(own).signal);
            self.event(events.event(finding, signal), subject, plan, commit);
        }
        for found in signals {
            self.event(events.signal_event(found), subject, plan, commit);
        }
        if !commit.publications.is_empty() && self.config.event_log_max_length > 0 {
            let (key, max_length) = (self.config.keys.event_log(), self.config.event_log_max_length);
            commit.event_log = Some(EventLog { key, max_length });
        }
    }

    /// Adds an event to the plan. An invalid event, or one too large for the queue, becomes a dead letter.
    fn event(&self, event: Event, subject: &Subject, plan: &mut RecordPlan, commit: &mut Commit) {
        let body: Arc<str> = match event.validate().and_then(|()| event.to_json()) {
            Ok(body) => body.into(),
            Err(error) => {
                // Texts and numbers always serialise: JSON writes a number that is not finite as null.
                let text = serde_json::to_string(&event).unwrap_or_default();
                plan.dead_letters.push(self.dead_letter(&event, &text, &error.to_string(), "validate"));
                return;
            }
        };
        if self.is_queued(&event) {
            match event_message(&event, &body, self.config.max_message_bytes) {
                Ok(message) => plan.messages.push(message),
                Err(error) => {
                    plan.dead_letters.push(self.dead_letter(&event, &body, &error.to_string(), "size"));
                }
            }
        }
        if self.config.pubsub || self.config.event_log_max_length > 0 {
            commit.publications.push(Publication {
                marker_key: self.config.keys.event(subject, &event.event_id),
                marker_ttl: self.config.ttls.event,
                payload: body,
                channels: if self.config.pubsub { event.channels() } else { Vec::new() },
            });
        }
        plan.events.push(event);
    }

    fn is_queued(&self, event: &Event) -> bool {
        let queues_signals = self.config.signals.is_some_and(|signals| signals.queued);
        let follows = event.metadata.signal.as_ref().is_some_and(|signal| signal.stage != Stage::New);
        let is_wanted = match event.event_type {
            EventType::Signal => queues_signals,
            EventType::PriceUpdate | EventType::TvlChange | EventType::ProtocolUpdate => true,
        };
        // Who was alerted must also learn what became of it, whose priority is mostly low.
        let is_urgent = event.metadata.priority >= self.config.min_priority || (queues_signals && follows);
        self.config.queueing && is_wanted && is_urgent
    }

    fn dead_letter(&self, event: &Event, text: &str, error: &str, stage: &str) -> Message {
        let group = Some(event.subject().group_id());
        self.dead_letters().write(Undeliverable::Event(text), &event.event_id, group, error, stage)
    }

    fn dead_letters(&self) -> DeadLetterWriter {
        DeadLetterWriter { now_ms: self.times.now_ms, max_bytes: self.config.max_message_bytes }
    }

    /// A TVL row keeps the metadata of its protocol alive, so that an active protocol keeps its name and its slug channel.
    fn renewals(&self, source: &SourceRow, subject: &Subject) -> Vec<KeyRenewal> {
        if !matches!(source.row, Row::Tvl(_)) {
            return Vec::new();
        }
        let (keys, ttl) = (&self.config.keys, self.config.ttls.meta);
        let meta = keys.meta(subject);
        if !(self.metas.contains_key(&meta) || self.snapshot.metas.contains_key(&meta)) {
            return Vec::new();
        }
        // Without caching, the hot key may be out of date, so it may expire.
        let hot = self.config.caching.then_some(meta);
        let renewed = hot.into_iter().chain([keys.meta_baseline(subject)]);
        renewed.map(|key| KeyRenewal { key, ttl }).collect()
    }

    /// The protocol's name as of this row: from the row itself, an earlier row of this batch, or Redis.
    fn meta(&self, source: &SourceRow, subject: &Subject) -> ProtocolMeta {
        match &source.row {
            Row::Price(_) => ProtocolMeta::default(),
            Row::Protocol(row) => row_meta(row),
            Row::Tvl(_) => {
                let key = self.config.keys.meta(subject);
                let stored = || self.snapshot.metas.get(&key).map(|json| ProtocolMeta::from_json(json));
                self.metas.get(&key).cloned().or_else(stored).unwrap_or_default()
            }
        }
    }
}

fn row_meta(row: &ProtocolRow) -> ProtocolMeta {
    let text = |field| row.text(field).map(str::to_owned);
    ProtocolMeta { name: text("name"), slug: text("slug") }
}

#[cfg(test)]
mod tests;
