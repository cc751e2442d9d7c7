//! Checks a batch of records, from the decoder to the commit, under several settings.

use std::collections::{BTreeMap, BTreeSet};

use events_core::change::{BaselineValues, ChangeBaseline, ChangeRules};
use events_core::delivery::{Commit, KeyStyle, Snapshot};
use events_core::event::{Data, Event};
use events_core::plan::{
    Config, PlanTimes, RecordOutcome, RecordPlan, batch_response, fail_dependents, plan, read_request,
};
use events_core::source::dynamodb::decode_text;
use events_core::source::{Record, RecordContent, Row, SourceRow, Subject};
use serde_json::{Value, json};

use crate::messages;
use crate::names::{Channel, Key, slot_text};

const TIMES: PlanTimes = PlanTimes { now_ms: 1_767_225_999_000, processing_ms: 1.5 };

/// The default settings, and others: hash tags, a key prefix, small messages, and changes compared with the last event.
fn configs() -> [Config; 2] {
    let other = Config {
        keys: KeyStyle { prefix: "rt:".to_owned(), hashtag: true },
        max_message_bytes: 8_192,
        rules: ChangeRules {
            baseline: ChangeBaseline::LastEvent,
            protocol_always: false,
            ..ChangeRules::default()
        },
        ..Config::default()
    };
    [Config::default(), other]
}

/// Checks everything that must hold for these records as one batch.
pub fn check(texts: &[&str]) {
    let records: Vec<Record> = texts.iter().map(|text| decode_twice(text)).collect();
    for config in configs() {
        let batch = Batch { texts, records: &records, config: &config };
        let plans = batch.plan(records.clone(), &Snapshot::default());
        batch.check_each(&plans);
        batch.check_together(&plans);
        batch.check_one_by_one(&plans);
    }
}

/// Makes two different rows of each kind for each id, and checks them.
pub fn check_ids(ids: &[&str]) {
    let kinds = ["hourlyTvl#", "protocol#", "coingecko#", "asset#base:", "asset#"];
    let pks = kinds.iter().flat_map(|kind| ids.iter().map(move |id| format!("{kind}{id}")));
    let rows = pks.enumerate().flat_map(|(at, pk)| [(2 * at, pk.clone(), "1"), (2 * at + 1, pk, "90000")]);
    let record = |(at, pk, value): (usize, String, &str)| {
        let number = json!({"N": value});
        let mut image =
            json!({"tvl": number, "price": number, "slug": {"S": ids[at % ids.len()]}, "n": number});
        for id in ids.iter().filter(|id| !id.is_empty()) {
            image[*id] = number.clone();
        }
        let sk = if pk.starts_with("hourlyTvl") { 1_767_225_600 + at } else { 0 };
        json!({"eventID": format!("e{at}"), "eventName": "INSERT", "dynamodb": {
            "ApproximateCreationDateTime": 1_767_225_600 + at, "SequenceNumber": at.to_string(),
            "Keys": {"PK": {"S": pk}, "SK": {"N": sk.to_string()}}, "NewImage": image}})
        .to_string()
    };
    let records: Vec<String> = rows.map(record).collect();
    check(&records.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Decodes a record twice. Both results must be equal, and must agree with the text.
fn decode_twice(text: &str) -> Record {
    let record = decode_text(text, TIMES.now_ms);
    assert!(
        same_record(&record, &decode_text(text, TIMES.now_ms)),
        "one input decodes to two different records: {record:?}"
    );
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let change = &value["dynamodb"];
    if let Some(number) = change["SequenceNumber"].as_str().filter(|number| !number.is_empty()) {
        assert_eq!(
            record.identifier.as_deref(),
            Some(number),
            "the identifier must be the text of the sequence number"
        );
    }
    assert_eq!(&*record.raw, text);
    match &record.content {
        RecordContent::Row(row) => check_row(row, change),
        RecordContent::Undecodable(broken) => assert!(!broken.reason.is_empty()),
        RecordContent::Skipped(_) => {}
    }
    record
}

fn same_record(one: &Record, other: &Record) -> bool {
    one.identifier == other.identifier
        && match (&one.content, &other.content) {
            (RecordContent::Row(one), RecordContent::Row(other)) => one == other,
            (RecordContent::Skipped(one), RecordContent::Skipped(other)) => one == other,
            (RecordContent::Undecodable(one), RecordContent::Undecodable(other)) => {
                (&one.reason, &one.record_id) == (&other.reason, &other.record_id)
            }
            _ => false,
        }
}

fn check_row(row: &SourceRow, change: &Value) {
    assert!(row.data_time_ms > 0 && row.data_time_ms <= row.created_ms.unwrap_or(TIMES.now_ms));
    let (_, id) = row.pk.split_once('#').expect("the partition key of a row has a kind");
    assert_eq!(row.subject().id(), id);
    if let Some(pk) = change["Keys"]["PK"]["S"].as_str() {
        assert_eq!(row.pk, pk);
    }
    let (name, number) = match &row.row {
        Row::Tvl(row) => ("tvl", row.total.as_ref()),
        Row::Price(row) => ("price", Some(&row.price)),
        Row::Protocol(_) => return,
    };
    if let (Some(text), Some(number)) = (change["NewImage"][name]["N"].as_str(), number) {
        assert_eq!(Ok(number.to_f64()), text.parse(), "{name} is {text} in the record");
    }
}

struct Batch<'a> {
    texts: &'a [&'a str],
    records: &'a [Record],
    config: &'a Config,
}

impl Batch<'_> {
    /// Plans a batch twice. Both plans must be equal.
    fn plan(&self, records: Vec<Record>, snapshot: &Snapshot) -> Vec<RecordPlan> {
        let _ = read_request(&records, self.config);
        let plans = plan(records.clone(), snapshot, self.config, TIMES);
        let again = plan(records, snapshot, self.config, TIMES);
        for (one, other) in plans.iter().zip(&again) {
            assert!(same_plan(one, other), "one input gives two different plans: {one:#?} {other:#?}");
        }
        plans
    }

    /// Checks that each plan concerns only its own record.
    fn check_each(&self, plans: &[RecordPlan]) {
        assert_eq!(plans.len(), self.records.len());
        for (at, plan) in plans.iter().enumerate() {
            let record = &self.records[at];
            assert_eq!(plan.identifier, record.identifier);
            for message in plan.messages.iter().chain(&plan.dead_letters) {
                messages::check(message, self.config.max_message_bytes);
            }
            match &record.content {
                RecordContent::Row(row) => self.check_row_plan(row, plan),
                RecordContent::Skipped(reason) => {
                    assert_eq!(plan.outcome, RecordOutcome::Skipped(*reason));
                    assert!(is_without_effect(plan) && plan.dead_letters.is_empty());
                }
                RecordContent::Undecodable(_) => {
                    assert!(matches!(plan.outcome, RecordOutcome::DeadLetter(_)) && is_without_effect(plan));
                    assert_eq!(plan.dead_letters.len(), 1);
                    messages::check_dead_letter(&plan.dead_letters[0], Some(self.texts[at]));
                }
            }
        }
    }

    fn check_row_plan(&self, row: &SourceRow, plan: &RecordPlan) {
        let subject = row.subject();
        let group = subject.group_id();
        assert_eq!(plan.subject.as_ref(), Some(&subject));
        for event in &plan.events {
            event.validate().expect("a planned event is valid");
            assert_eq!(event.subject(), subject);
            check_channels(event, &subject);
        }
        for message in &plan.messages {
            assert_eq!(message.group_id, group);
            let event = plan.events.iter().find(|event| event.event_id == message.dedup_id);
            let event = event.expect("a message holds an event of its record");
            let data = messages::check_event(&message.body, &event.event_id);
            assert_eq!(data.get("protocolId").or(data.get("tokenId")), Some(&Value::from(subject.id())));
        }
        for dead_letter in &plan.dead_letters {
            assert_eq!(dead_letter.group_id, group);
            messages::check_dead_letter(dead_letter, None);
        }
        assert!(plan.commit.is_some() || is_without_effect(plan) && plan.dead_letters.is_empty());
        if let Some(commit) = &plan.commit {
            self.check_commit(row, commit, plan);
        }
    }

    /// Checks that a commit writes only keys of its row.
    fn check_commit(&self, row: &SourceRow, commit: &Commit, plan: &RecordPlan) {
        let (subject, read) = (row.subject(), |key: &str| Key::read(key, &self.config.keys));
        assert_eq!(read(&commit.baseline_key), Key::Baseline(row.pk.clone()));
        let id = subject.id();
        for key in keys(commit) {
            let own = match (read(key), &row.row) {
                (Key::Tvl(owner) | Key::ChainTvl(owner, _), Row::Tvl(_)) => owner == id,
                (Key::Price(owner), Row::Price(_)) | (Key::Meta(owner), Row::Protocol(_)) => owner == id,
                (Key::Baseline(pk), _) => pk == row.pk,
                (Key::Marker(owner, event), _) => {
                    owner.is_none_or(|owner| owner == id)
                        && plan.events.iter().any(|known| known.event_id == event)
                }
                _ => false,
            };
            assert!(own, "{key:?} is not a key of {}", row.pk);
            assert!(
                !self.config.keys.hashtag || slot_text(key) == slot_text(&commit.baseline_key),
                "{key:?}"
            );
        }
        for renewal in &commit.renewals {
            let metadata_of_row = match read(&renewal.key) {
                Key::Meta(owner) => owner == id,
                Key::Baseline(pk) => pk.split_once('#') == Some(("protocol", id)),
                _ => false,
            };
            assert!(metadata_of_row && matches!(row.row, Row::Tvl(_)), "{renewal:?} of {}", row.pk);
            let slots = [&renewal.key, &commit.baseline_key].map(|key| slot_text(key));
            assert!(!self.config.keys.hashtag || slots[0] == slots[1], "{renewal:?}");
        }
        let published: Vec<_> = commit.publications.iter().map(|one| one.channels.clone()).collect();
        assert_eq!(published, plan.events.iter().map(Event::channels).collect::<Vec<_>>());
        for (publication, event) in commit.publications.iter().zip(&plan.events) {
            messages::check_event(&publication.payload, &event.event_id);
        }
        for write in &commit.writes {
            assert!(
                serde_json::from_str::<Value>(&write.value).is_ok_and(|value| value.is_object()),
                "{}",
                write.value
            );
        }
        let values = BaselineValues::from_json(&commit.values).expect("a written baseline can be read");
        assert_eq!(values.to_json(), commit.values);
    }

    /// Checks that no two rows share a key, no two subjects a group, and no two records an event.
    fn check_together(&self, plans: &[RecordPlan]) {
        let rows = self.rows(plans);
        let (mut owners, mut groups, mut events) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (row, plan) in &rows {
            let subject = row.subject();
            let first = groups.entry(subject.group_id()).or_insert_with(|| subject.clone());
            assert_eq!(*first, subject, "two subjects share a group");
            for key in plan.commit.iter().flat_map(hot_keys) {
                let first = *owners.entry(key.to_owned()).or_insert(row.pk.as_str());
                assert_eq!(first, row.pk, "two rows share the key {key:?}");
            }
            let mut own = BTreeSet::new();
            for event in &plan.events {
                assert!(own.insert(&event.event_id), "two events of a record share an id: {event:?}");
                let position = (row.stream.as_str(), &row.sequence);
                let first = *events.entry(event.event_id.clone()).or_insert((position, &row.pk));
                assert_eq!(first, (position, &row.pk), "two records share the event {}", event.event_id);
            }
        }
        let mut failed = [(0, "why".to_owned())].into();
        fail_dependents(plans, &mut failed);
        for at in failed.keys().skip(1) {
            assert_eq!(
                plans[*at].subject, plans[0].subject,
                "a failure fails only records of its own subject"
            );
        }
        if !plans.is_empty() {
            let _ = batch_response(plans, &failed);
        }
    }

    /// Plans the records one by one, each on the state that the previous ones left. The result must be that of the whole
    /// batch. A redelivered record, or a redelivered batch, must change nothing.
    fn check_one_by_one(&self, plans: &[RecordPlan]) {
        let mut snapshot = Snapshot::default();
        for (record, expected) in self.records.iter().zip(plans) {
            let mut single = plan(vec![record.clone()], &snapshot, self.config, TIMES).remove(0);
            if let (Some(single), Some(in_batch)) = (&mut single.commit, &expected.commit) {
                single.predecessor.clone_from(&in_batch.predecessor);
            }
            let same = same_plan(&single, expected);
            assert!(same, "a record alone gives another plan than in its batch: {single:#?} {expected:#?}");
            self.apply(expected, &mut snapshot);
            if expected.commit.is_some() {
                let again = plan(vec![record.clone()], &snapshot, self.config, TIMES).remove(0);
                assert_eq!(again.outcome, RecordOutcome::AlreadyApplied);
                assert!(is_without_effect(&again) && again.dead_letters.is_empty());
            }
        }
        // Rows of one key and data time in two streams cannot be told apart (specification, section 2).
        let streams: BTreeSet<_> = self.rows(plans).iter().map(|(row, _)| row.stream.clone()).collect();
        if streams.len() <= 1 {
            let again = self.plan(self.records.to_vec(), &snapshot);
            assert!(again.iter().all(is_without_effect), "a redelivered batch changes something");
        }
    }

    /// Writes what the commit of a plan leaves in Redis, as far as a later batch reads it.
    fn apply(&self, plan: &RecordPlan, snapshot: &mut Snapshot) {
        let Some(commit) = &plan.commit else { return };
        snapshot.baselines.insert(commit.baseline_key.clone(), commit.baseline());
        for write in &commit.writes {
            if matches!(Key::read(&write.key, &self.config.keys), Key::Meta(_)) {
                snapshot.metas.insert(write.key.clone(), write.value.clone());
            }
        }
    }

    fn rows<'b>(&'b self, plans: &'b [RecordPlan]) -> Vec<(&'b SourceRow, &'b RecordPlan)> {
        let row = |(record, plan): (&'b Record, &'b RecordPlan)| match &record.content {
            RecordContent::Row(row) => Some((&**row, plan)),
            RecordContent::Skipped(_) | RecordContent::Undecodable(_) => None,
        };
        self.records.iter().zip(plans).filter_map(row).collect()
    }
}

/// True if a plan writes, sends and publishes nothing. It may have dead letters.
fn is_without_effect(plan: &RecordPlan) -> bool {
    plan.events.is_empty() && plan.messages.is_empty() && plan.commit.is_none()
}

fn same_plan(one: &RecordPlan, other: &RecordPlan) -> bool {
    one.outcome == other.outcome
        && one.events == other.events
        && one.messages == other.messages
        && one.dead_letters == other.dead_letters
        && one.commit == other.commit
}

/// The keys that only this row may write.
fn hot_keys(commit: &Commit) -> impl Iterator<Item = &str> {
    let writes = commit.writes.iter().map(|write| write.key.as_str());
    writes.chain(commit.deletes.iter().map(String::as_str)).chain([commit.baseline_key.as_str()])
}

fn keys(commit: &Commit) -> impl Iterator<Item = &str> {
    hot_keys(commit).chain(commit.publications.iter().map(|publication| publication.marker_key.as_str()))
}

/// Checks that every channel belongs to the event's type, subject or chain.
fn check_channels(event: &Event, subject: &Subject) {
    let slug = match &event.data {
        Data::Tvl(data) => data.protocol_slug.as_deref(),
        Data::Protocol(data) => data.protocol_slug.as_deref(),
        Data::Price(_) => None,
    };
    let mut of_subject = 0;
    for channel in event.channels() {
        let own = match (Channel::read(&channel), subject) {
            (Channel::Kind(kind), _) => ["prices", "tvl", "protocols", "alerts"].contains(&kind.as_str()),
            (Channel::Token(id), Subject::Token(own)) => id == *own,
            (Channel::Protocol(name), Subject::Protocol(own)) => name == *own || Some(name.as_str()) == slug,
            (Channel::Chain(chain, kind), _) => {
                let of_kind = if matches!(subject, Subject::Token(_)) { "prices" } else { "tvl" };
                Some(chain.as_str()) == event.chain() && kind == of_kind
            }
            _ => false,
        };
        assert!(own, "{channel:?} is not a channel of {event:?}");
        of_subject += usize::from(channel.ends_with(subject.id()) || channel.starts_with("events:protocol:"));
    }
    assert!(of_subject > 0, "the event has no channel of {subject:?}");
}
