//! Plans one record after the other.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::Config;
use super::hot_keys::hot_keys;
use super::{RecordOutcome, RecordPlan};
use crate::change::{BaselineValues, Detection, Predecessor, RowVersion, VersionStatus, detect, row_status};
use crate::delivery::{
    Commit, DeadLetterWriter, KeyRenewal, Message, Publication, Snapshot, Undeliverable, event_message,
};
use crate::event::{Event, EventSource, ProtocolMeta};
use crate::source::{Record, RecordContent, Row, SourceRow, Subject, UndecodableRecord};

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
    records.into_iter().map(|record| planner.record(record)).collect()
}

/// Plans a batch whose rows can be neither compared nor committed. Rows get an empty plan, and the caller must report
/// them failed. Unreadable records still become dead letters, and skipped records are still counted.
pub fn hold_back_rows(records: Vec<Record>, config: &Config, times: PlanTimes) -> Vec<RecordPlan> {
    let snapshot = Snapshot::default();
    let mut planner = Planner::new(&snapshot, config, times);
    let mut plan_or_hold_back = |record: Record| match record.content {
        RecordContent::Row(row) => {
            RecordPlan::of_row(record.identifier, record.raw, &row, RecordOutcome::HeldBack)
        }
        RecordContent::Skipped(_) | RecordContent::Undecodable(_) => planner.record(record),
    };
    records.into_iter().map(&mut plan_or_hold_back).collect()
}

/// The baseline of a key at one point of the batch.
struct CurrentBaseline {
    version: RowVersion,
    occurrence: u32,
    /// `None` if the stored values cannot be read. They count as no baseline, but the version still detects late and
    /// repeated rows.
    values: Option<BaselineValues>,
}

/// How many rows of the key with the row's data time were applied before. Several rows of one second differ only in it.
fn occurrence(row: &SourceRow, baseline: Option<&CurrentBaseline>) -> u32 {
    let same_time = baseline.filter(|baseline| baseline.version.data_time_ms == row.data_time_ms);
    same_time.map_or(0, |baseline| baseline.occurrence.saturating_add(1))
}

struct Planner<'a> {
    config: &'a Config,
    times: PlanTimes,
    snapshot: &'a Snapshot,
    /// Baselines that rows of this batch have changed, by key.
    baselines: HashMap<String, CurrentBaseline>,
    /// The last row of each subject that this batch commits.
    predecessors: HashMap<Subject, Predecessor>,
    /// Metadata that rows of this batch have changed, by key.
    metas: HashMap<String, ProtocolMeta>,
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot, config: &'a Config, times: PlanTimes) -> Self {
        let (baselines, predecessors, metas) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { config, times, snapshot, baselines, predecessors, metas }
    }

    fn record(&mut self, record: Record) -> RecordPlan {
        let Record { identifier, raw, content } = record;
        match content {
            RecordContent::Skipped(reason) => {
                RecordPlan::new(identifier, raw, RecordOutcome::Skipped(reason))
            }
            RecordContent::Undecodable(broken) => self.undecodable(identifier, raw, &broken),
            RecordContent::Row(row) => {
                let mut plan = RecordPlan::of_row(identifier, raw, &row, RecordOutcome::Unchanged);
                self.row(&row, &mut plan);
                plan
            }
        }
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
    fn row(&mut self, source: &SourceRow, plan: &mut RecordPlan) {
        let subject = source.subject();
        let baseline_key = self.config.keys.baseline(&subject, &source.pk);
        let version = RowVersion::of(source);
        let current = self.baselines.remove(&baseline_key).or_else(|| self.stored(&baseline_key));
        let stored = current.as_ref().map(|current| &current.version);
        match row_status(source, stored, self.config.ttls.baseline_of(&source.row)) {
            VersionStatus::Late => plan.outcome = RecordOutcome::Late,
            VersionStatus::AlreadyApplied => plan.outcome = RecordOutcome::AlreadyApplied,
            VersionStatus::Newer => {
                let compared_with = current
                    .as_ref()
                    .and_then(|current| Some((current.values.as_ref()?, current.version.data_time_ms)));
                let detection = detect(source, compared_with, &self.config.rules);
                let occurrence = occurrence(source, current.as_ref());
                // Later rows of the batch build on this row.
                let values = Some(detection.next.clone());
                let next = CurrentBaseline { version: version.clone(), occurrence, values };
                self.baselines.insert(baseline_key.clone(), next);
                let this_row = Predecessor { baseline_key, version };
                let predecessor = self.predecessors.insert(subject, this_row.clone());
                self.apply(source, detection, occurrence, this_row, predecessor, plan);
                return;
            }
        }
        // The row changes nothing, so its key keeps the baseline.
        self.baselines.extend(current.map(|current| (baseline_key, current)));
    }

    fn stored(&self, key: &str) -> Option<CurrentBaseline> {
        let baseline = self.snapshot.baselines.get(key)?;
        let values = BaselineValues::from_json(&baseline.values);
        let (version, occurrence) = (baseline.version.clone(), baseline.occurrence);
        Some(CurrentBaseline { version, occurrence, values })
    }

    /// Plans the events and the commit of a row.
    fn apply(
        &mut self,
        source: &SourceRow,
        detection: Detection,
        occurrence: u32,
        this_row: Predecessor,
        predecessor: Option<Predecessor>,
        plan: &mut RecordPlan,
    ) {
        let subject = source.subject();
        let meta = self.meta(source, &subject);
        let Detection { findings, compared, next, gone_chains } = detection;
        let mut commit = Commit {
            baseline_key: this_row.baseline_key,
            version: this_row.version,
            predecessor,
            occurrence,
            values: next.to_json(),
            baseline_ttl: self.config.ttls.baseline_of(&source.row),
            writes: Vec::new(),
            deletes: Vec::new(),
            renewals: self.renewals(source, &subject),
            publications: Vec::new(),
        };
        if self.config.caching {
            commit.writes = hot_keys(source, &subject, self.config);
            commit.deletes =
                gone_chains.iter().map(|chain| self.config.keys.chain_tvl(&subject, chain)).collect();
        }
        // Each finding makes an event with its message and publication, or a dead letter.
        let finding_count = findings.len();
        let (least_tvl, processing_ms) = (&self.config.rules.tvl.absolute, self.times.processing_ms);
        let events = EventSource { row: source, meta: &meta, least_tvl, occurrence, processing_ms };
        for finding in findings {
            self.event(events.event(finding), &subject, plan, &mut commit);
        }
        plan.outcome = match (finding_count, compared) {
            (0, false) => RecordOutcome::FirstSeen,
            (0, true) => RecordOutcome::Unchanged,
            _ if plan.events.is_empty() => {
                RecordOutcome::DeadLetter("every event of the record is invalid".into())
            }
            _ => RecordOutcome::Events,
        };
        plan.commit = Some(commit);
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
        if self.config.queueing && event.metadata.priority >= self.config.min_priority {
            match event_message(&event, &body, self.config.max_message_bytes) {
                Ok(message) => plan.messages.push(message),
                Err(error) => {
                    plan.dead_letters.push(self.dead_letter(&event, &body, &error.to_string(), "size"));
                }
            }
        }
        if self.config.pubsub {
            commit.publications.push(Publication {
                marker_key: self.config.keys.event(subject, &event.event_id),
                marker_ttl: self.config.ttls.event,
                payload: body,
                channels: event.channels(),
            });
        }
        plan.events.push(event);
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
        let (keys, ttl) = (&self.config.keys, self.config.ttls.meta);
        let meta = keys.meta(subject);
        let known = self.metas.contains_key(&meta) || self.snapshot.metas.contains_key(&meta);
        if !known || !matches!(source.row, Row::Tvl(_)) {
            return Vec::new();
        }
        // Without caching, the hot key may be out of date, so it may expire.
        let hot = self.config.caching.then_some(meta);
        let renewed = hot.into_iter().chain([keys.meta_baseline(subject)]);
        renewed.map(|key| KeyRenewal { key, ttl }).collect()
    }

    /// The protocol's name as of this row: from the row itself, an earlier row of this batch, or Redis.
    fn meta(&mut self, source: &SourceRow, subject: &Subject) -> ProtocolMeta {
        let key = self.config.keys.meta(subject);
        match &source.row {
            Row::Price(_) => ProtocolMeta::default(),
            Row::Protocol(row) => {
                let text = |field| row.text(field).map(str::to_owned);
                let meta = ProtocolMeta { name: text("name"), slug: text("slug") };
                self.metas.insert(key, meta.clone());
                meta
            }
            Row::Tvl(_) => match self.metas.get(&key) {
                Some(meta) => meta.clone(),
                None => {
                    let stored = self.snapshot.metas.get(&key);
                    stored.map(|json| ProtocolMeta::from_json(json)).unwrap_or_default()
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
