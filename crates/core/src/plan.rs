//! The plan of a batch: for every record, in order, what to send and what to commit.
//!
//! Records and their baselines go in, a plan comes out. Within the batch each row is compared with the one before it of
//! its key, as if that one had been committed: should it fail, the delivery holds back what was planned on top of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::baseline::{Mark, Stored, Values, Verdict};
use crate::config::Config;
use crate::detect::{Detection, detect};
use crate::event::Event;
use crate::generate::{self, ProtocolMeta};
use crate::message::{self, DeadLetters, Failed, Message};
use crate::number::Number;
use crate::outbox::Deposit;
use crate::record::{Content, Record, SkipReason, SourceRow, Undecodable};
use crate::row::{PriceRow, ProtocolRow, Row, TvlRow};
use crate::subject::Subject;

/// The keys a batch needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Baseline keys.
    pub baselines: Vec<String>,
    /// Metadata keys.
    pub metas: Vec<String>,
    /// The outbox, whose length is read after all else: whatever a baseline says is done is either in the queue by
    /// then, or counted.
    pub outbox: Option<String>,
}

impl Reads {
    /// The distinct keys of a batch.
    pub fn of(records: &[Record], config: &Config) -> Self {
        let mut baselines = BTreeSet::new();
        let mut metas = BTreeSet::new();
        for row in records.iter().filter_map(row) {
            let subject = row.subject();
            baselines.insert(config.keys.baseline(&subject, &row.pk));
            if matches!(row.row, Row::Tvl(_)) {
                metas.insert(config.keys.meta(&subject));
            }
        }
        let outbox = (config.outbox && config.queueing).then(|| config.keys.outbox());
        Self { baselines: baselines.into_iter().collect(), metas: metas.into_iter().collect(), outbox }
    }

    /// True when nothing is to be read.
    pub fn is_empty(&self) -> bool {
        self.baselines.is_empty() && self.metas.is_empty() && self.outbox.is_none()
    }
}

fn row(record: &Record) -> Option<&SourceRow> {
    match &record.content {
        Content::Row(row) => Some(row),
        Content::Skipped(_) | Content::Undecodable(_) => None,
    }
}

/// What was read, by key; a key that holds nothing is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Baselines.
    pub baselines: HashMap<String, Stored>,
    /// Metadata, JSON.
    pub metas: HashMap<String, String>,
    /// Events in the outbox.
    pub outbox: u64,
}

/// The plan of one record.
#[derive(Clone, Debug)]
pub struct RecordPlan {
    /// What Lambda knows the record by.
    pub identifier: Option<String>,
    /// What the record is about; records of one subject depend on each other.
    pub subject: Option<Subject>,
    /// When the change was made, ms since 1970, where known.
    pub created_ms: Option<i64>,
    /// What came of the record.
    pub outcome: Outcome,
    /// Its valid events, in order.
    pub events: Vec<Event>,
    /// Messages for the events queue, in order.
    pub messages: Vec<Message>,
    /// Messages for the dead letter queue.
    pub dead_letters: Vec<Message>,
    /// What to write once everything is sent.
    pub commit: Option<Commit>,
}

/// What came of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one event.
    Events,
    /// Nothing to compare with: it is the baseline now.
    FirstSeen,
    /// Compared; nothing significant.
    Unchanged,
    /// Its data is older than what is known.
    Late,
    /// It was done before.
    AlreadyApplied,
    /// Not for us.
    Skipped(SkipReason),
    /// Never readable, or every event of it invalid; the reason.
    DeadLetter(String),
}

/// What one row writes, atomically or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Key of the baseline.
    pub baseline_key: String,
    /// The row's mark.
    pub mark: Mark,
    /// The row before it of the same subject in this batch, where there is one: it must have been committed, whatever
    /// became of its command. What was compared with it would be wrong, and its events would come second.
    pub after: Option<After>,
    /// The baseline's values, JSON.
    pub values: String,
    /// The baseline's time to live, s.
    pub baseline_ttl: u64,
    /// Hot keys to set.
    pub sets: Vec<Set>,
    /// Hot keys that no longer have a value.
    pub deletes: Vec<String>,
    /// Events to publish.
    pub publications: Vec<Publication>,
    /// Events that are to wait for the queue in the outbox.
    pub deposit: Option<Deposit>,
}

/// A row that must have been committed before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Key of its baseline; of another row kind, it may be another than that of the row that waits.
    pub baseline_key: String,
    /// Its mark.
    pub mark: Mark,
}

/// A key to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The key.
    pub key: String,
    /// Its value, JSON.
    pub value: String,
    /// Its time to live, s.
    pub ttl: u64,
}

/// An event to publish, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Key of the dedupe marker: while it exists the event is not published again.
    pub marker_key: String,
    /// The marker's time to live, s.
    pub marker_ttl: u64,
    /// The event, JSON.
    pub payload: Arc<str>,
    /// The channels, in order.
    pub channels: Vec<String>,
}

/// Times a plan needs; the pure part has no clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Now, ms since 1970.
    pub now_ms: i64,
    /// ms since the handler was entered.
    pub processing_ms: f64,
}

/// Plans a batch.
pub fn plan(records: Vec<Record>, snapshot: &Snapshot, config: &Config, times: Times) -> Vec<RecordPlan> {
    let mut planner = Planner {
        config,
        times,
        snapshot,
        known: HashMap::new(),
        last: HashMap::new(),
        metas: HashMap::new(),
    };
    records.into_iter().map(|record| planner.record(record)).collect()
}

/// A baseline as it stands at one point of the batch.
struct Known {
    mark: Mark,
    /// `None` where the cached values cannot be read: they count as no baseline, the mark still guards.
    values: Option<Values>,
}

struct Planner<'a> {
    config: &'a Config,
    times: Times,
    snapshot: &'a Snapshot,
    known: HashMap<String, Known>,
    /// The last row of each subject that this batch is to commit.
    last: HashMap<Subject, After>,
    metas: HashMap<String, ProtocolMeta>,
}

impl RecordPlan {
    fn new(identifier: Option<String>, outcome: Outcome) -> Self {
        Self {
            identifier,
            subject: None,
            created_ms: None,
            outcome,
            events: Vec::new(),
            messages: Vec::new(),
            dead_letters: Vec::new(),
            commit: None,
        }
    }
}

impl Planner<'_> {
    fn record(&mut self, record: Record) -> RecordPlan {
        match record.content {
            Content::Skipped(reason) => RecordPlan::new(record.identifier, Outcome::Skipped(reason)),
            Content::Undecodable(broken) => self.undecodable(record.identifier, &broken),
            Content::Row(row) => {
                let mut plan = RecordPlan::new(record.identifier, Outcome::Unchanged);
                plan.subject = Some(row.subject());
                plan.created_ms = row.created_ms;
                self.row(&row, &mut plan);
                plan
            }
        }
    }

    fn undecodable(&self, identifier: Option<String>, broken: &Undecodable) -> RecordPlan {
        let failed = Failed::Record(&broken.raw);
        let letter = self.letters().letter(failed, &broken.record_id, None, &broken.reason, "decode");
        let mut plan = RecordPlan::new(identifier, Outcome::DeadLetter(broken.reason.clone()));
        plan.dead_letters.push(letter);
        plan
    }

    fn row(&mut self, source: &SourceRow, plan: &mut RecordPlan) {
        let subject = source.subject();
        let baseline_key = self.config.keys.baseline(&subject, &source.pk);
        let mark = Mark::of(source);
        let known = self.known.remove(&baseline_key).or_else(|| self.cached(&baseline_key));
        match mark.judge(known.as_ref().map(|known| &known.mark)) {
            Verdict::Late => plan.outcome = Outcome::Late,
            Verdict::AlreadyApplied => plan.outcome = Outcome::AlreadyApplied,
            Verdict::Apply => {
                let cached =
                    known.as_ref().and_then(|known| Some((known.values.as_ref()?, known.mark.data_time_ms)));
                let detection = detect(source, cached, self.config);
                let next = Known { mark: mark.clone(), values: Some(detection.next.clone()) };
                self.known.insert(baseline_key.clone(), next);
                let own = After { baseline_key, mark };
                let after = self.last.insert(subject, own.clone());
                self.apply(source, detection, own, after, plan);
                return;
            }
        }
        self.known.extend(known.map(|known| (baseline_key, known)));
    }

    fn cached(&self, key: &str) -> Option<Known> {
        let stored = self.snapshot.baselines.get(key)?;
        let values = Values::from_json(&stored.values);
        Some(Known { mark: stored.mark.clone(), values })
    }

    fn apply(
        &mut self,
        source: &SourceRow,
        detection: Detection,
        own: After,
        after: Option<After>,
        plan: &mut RecordPlan,
    ) {
        let subject = source.subject();
        let meta = self.meta(source, &subject);
        let Detection { findings, compared, next, gone_chains } = detection;
        let mut commit = Commit {
            baseline_key: own.baseline_key,
            mark: own.mark,
            after,
            values: next.to_json(),
            baseline_ttl: self.config.ttls.baseline,
            sets: Vec::new(),
            deletes: Vec::new(),
            publications: Vec::new(),
            deposit: None,
        };
        if self.config.caching {
            commit.sets = self.hot_keys(source, &subject);
            commit.deletes =
                gone_chains.iter().map(|chain| self.config.keys.chain_tvl(&subject, chain)).collect();
        }
        let found = findings.len();
        for finding in findings {
            let event = generate::event(source, finding, &meta, self.times.processing_ms);
            self.event(event, &subject, plan, &mut commit);
        }
        plan.outcome = match (found, compared) {
            (0, false) => Outcome::FirstSeen,
            (0, true) => Outcome::Unchanged,
            _ if plan.events.is_empty() => Outcome::DeadLetter("every event of the record is invalid".into()),
            _ => Outcome::Events,
        };
        plan.commit = Some(commit);
    }

    /// Puts an event into the plan, or its dead letter.
    fn event(&self, event: Event, subject: &Subject, plan: &mut RecordPlan, commit: &mut Commit) {
        let body: Arc<str> = match event.validate().and_then(|()| event.to_json()) {
            Ok(body) => body.into(),
            Err(error) => {
                let text = serde_json::to_string(&event).unwrap_or_else(|_| format!("{event:?}"));
                plan.dead_letters.push(self.event_letter(&event, &text, &error.to_string(), "validate"));
                return;
            }
        };
        if self.config.queueing && event.metadata.priority >= self.config.min_priority {
            match message::of_event(&event, &body, self.config.max_message_bytes) {
                Ok(message) => plan.messages.push(message),
                Err(error) => {
                    plan.dead_letters.push(self.event_letter(&event, &body, &error.to_string(), "size"));
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

    fn event_letter(&self, event: &Event, text: &str, error: &str, stage: &str) -> Message {
        let group = Some(event.subject().group_id());
        self.letters().letter(Failed::Event(text), &event.event_id, group, error, stage)
    }

    fn letters(&self) -> DeadLetters {
        DeadLetters { now_ms: self.times.now_ms, max_bytes: self.config.max_message_bytes }
    }

    /// The protocol's name as of this row: its own, that of an earlier row of this batch, or the cached one.
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
                None => self
                    .snapshot
                    .metas
                    .get(&key)
                    .map(|json| ProtocolMeta::from_json(json))
                    .unwrap_or_default(),
            },
        }
    }

    fn hot_keys(&self, source: &SourceRow, subject: &Subject) -> Vec<Set> {
        match &source.row {
            Row::Tvl(row) => self.tvl_keys(row, subject, source.data_time_ms),
            Row::Price(row) => vec![self.price_key(row, subject, source.data_time_ms)],
            Row::Protocol(row) => vec![self.meta_key(row, subject, source.data_time_ms)],
        }
    }

    fn tvl_keys(&self, row: &TvlRow, subject: &Subject, time: i64) -> Vec<Set> {
        let (keys, ttl) = (&self.config.keys, self.config.ttls.tvl);
        let total = row.total.as_ref().map(|tvl| {
            let breakdown: BTreeMap<&String, f64> =
                row.chains.iter().map(|(chain, tvl)| (chain, tvl.to_f64())).collect();
            let value = json!({"protocolId": row.protocol_id, "tvl": tvl.to_f64(), "breakdown": breakdown, "timestamp": time});
            Set { key: keys.tvl(subject), value: value.to_string(), ttl }
        });
        let chain = |(chain, tvl): (&String, &Number)| {
            let value = json!({"protocolId": row.protocol_id, "chain": chain, "tvl": tvl.to_f64(), "timestamp": time});
            Set { key: keys.chain_tvl(subject, chain), value: value.to_string(), ttl }
        };
        total.into_iter().chain(row.chains.iter().map(chain)).collect()
    }

    fn price_key(&self, row: &PriceRow, subject: &Subject, time: i64) -> Set {
        let mut value = json!({"tokenId": row.token_id, "price": row.price.to_f64(), "timestamp": time});
        let known = [
            ("symbol", row.symbol.as_deref().map(Value::from)),
            ("chain", row.chain.as_deref().map(Value::from)),
            ("decimals", row.decimals.map(Value::from)),
            ("confidence", row.confidence.map(Value::from)),
            ("volume24h", row.volume.map(Value::from)),
            ("marketCap", row.market_cap.map(Value::from)),
            ("adapter", row.adapter.as_deref().map(Value::from)),
        ];
        for (name, known) in known {
            if let Some(known) = known {
                value[name] = known;
            }
        }
        Set { key: self.config.keys.price(subject), value: value.to_string(), ttl: self.config.ttls.price }
    }

    fn meta_key(&self, row: &ProtocolRow, subject: &Subject, time: i64) -> Set {
        let fields = row.fields.iter().map(|(name, field)| (name.clone(), field.to_json()));
        let mut value: Value = fields.collect();
        value["protocolId"] = Value::from(row.protocol_id.as_str());
        value["timestamp"] = Value::from(time);
        Set { key: self.config.keys.meta(subject), value: value.to_string(), ttl: self.config.ttls.meta }
    }
}
