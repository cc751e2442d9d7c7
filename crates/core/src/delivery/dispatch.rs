//! Decides the order in which messages go to the queue.
//!
//! SQS can refuse entry k of a request and accept entry k + 1. A retried k stays behind k + 1 permanently.
//! Therefore a request never holds messages of two records of one message group. The messages of a later record wait
//! until the queue has accepted every earlier message of the group. Groups do not wait for each other.
//!
//! A request that SQS refuses whole, because of one message in it, is taken apart: each of its groups is tried alone,
//! then each message of the group, so that the culprit costs only itself.
//!
//! It is a state machine without I/O. The caller gets requests, sends them and passes the answers back.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::message::Message;

/// Limits of the requests to a queue.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Most messages in a request.
    pub entries: usize,
    /// Most bytes in a request.
    pub bytes: usize,
    /// How often a refused message is retried before its group is given up.
    pub retries: u32,
}

/// Identifies one message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef {
    /// Index of the record in the batch.
    pub record: usize,
    /// Index of the message in the record's plan.
    pub message: usize,
}

/// A request to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The messages, in order.
    pub entries: Vec<MessageRef>,
    /// The lanes that the messages come from.
    lanes: Vec<usize>,
}

/// The queue's answer to one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// The queue has the message.
    Accepted,
    /// The queue did not take the message. A retry can succeed. Holds the reason.
    Refused(String),
    /// The queue did not take the message, because it takes fewer messages than are sent. Holds the reason.
    Throttled(String),
    /// The queue will never take the message. Holds the reason.
    Rejected(String),
}

/// Why a whole request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// The queue did not answer, or answered with an error of its own. A retry can succeed. Holds the reason.
    Failed(String),
    /// The queue takes fewer requests than are sent. A retry succeeds if it waits. Holds the reason.
    Throttled(String),
    /// The queue refuses the request for what is in it.
    Invalid {
        /// The reason.
        reason: String,
        /// True if the error says that the content of a message is at fault. False if that is only a guess.
        content: bool,
    },
}

/// The lanes that a request may take messages from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// All of them.
    All,
    /// Only lanes that already failed and still have retries.
    Begun,
}

/// Lanes to wake after a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The lanes that wait. [`Dispatch::wake`] makes them ready again.
    lanes: Vec<usize>,
    /// Number of the retry, from 1.
    pub attempt: u32,
}

impl Retry {
    fn or_none(self) -> Option<Self> {
        (!self.lanes.is_empty()).then_some(self)
    }
}

/// Who is at fault when a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The message: the queue answered the others of the request.
    Message,
    /// The queue: it failed the whole request.
    Queue,
}

/// A lane: the messages of one group that are still to be sent, record by record.
#[derive(Debug, Default)]
struct Lane {
    /// The record that the lane began with.
    first_record: usize,
    units: VecDeque<Unit>,
    /// Retries of the current request so far.
    attempt: u32,
    sharing: Sharing,
    /// True if the records after the first one are given up: a message of the first one was rejected, and the queue may
    /// yet take it. If its dead letter fails, it is sent again, and must not come after theirs.
    ends: bool,
}

/// What may be in one request with the messages of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sharing {
    /// Messages of other lanes.
    #[default]
    Lanes,
    /// Only messages of the same record: a request that the lane shared was refused whole.
    Record,
    /// Nothing: a request with only this lane's messages was refused whole.
    Nothing,
}

/// The messages of one record that are still to be sent.
#[derive(Debug)]
struct Unit {
    record: usize,
    messages: VecDeque<Item>,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    message: usize,
    size: usize,
}

/// Why the records after one with a rejected message are not sent.
const LATER_RECORDS_WAIT: &str = "an earlier record of the group became a dead letter";

/// Decides which messages the next request holds.
#[derive(Debug)]
pub struct Dispatch {
    limits: RequestLimits,
    lanes: Vec<Lane>,
    /// Lanes whose next request may be sent now.
    ready: VecDeque<usize>,
    /// Records whose messages were given up, with the reason.
    failed: BTreeMap<usize, String>,
    rejected: Vec<Rejection>,
    /// Messages that were given up and that the queue has not accepted.
    unsent: BTreeSet<MessageRef>,
    /// Lanes of which the queue has accepted a message.
    accepted_lanes: BTreeSet<usize>,
    /// Records whose messages may be rejected after their last retry.
    expendable: BTreeSet<usize>,
    /// Records of which the queue refused a message by itself to the last retry.
    refused: BTreeSet<usize>,
}

/// A message that the queue will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The message.
    pub entry: MessageRef,
    /// Why.
    pub reason: String,
    /// Retries of the request before the rejection: 0 if the first try was rejected.
    pub retries: u32,
}

impl Dispatch {
    /// Takes the messages of each record of a batch. Messages of one group keep the order of their records.
    pub fn new<'a>(records: impl IntoIterator<Item = (usize, &'a [Message])>, limits: RequestLimits) -> Self {
        let mut dispatch = Self::empty(limits);
        let mut by_group: HashMap<&'a str, usize> = HashMap::new();
        for (record, messages) in records {
            let Some(first) = messages.first() else { continue };
            let lane = *by_group.entry(&first.group_id).or_insert(dispatch.lanes.len());
            dispatch.push(lane, record, messages);
        }
        dispatch
    }

    /// Takes messages that need no order. None waits for another, even within one group.
    pub fn unordered<'a>(messages: impl IntoIterator<Item = &'a [Message]>, limits: RequestLimits) -> Self {
        let mut dispatch = Self::empty(limits);
        for (record, messages) in messages.into_iter().enumerate() {
            dispatch.push(record, record, messages);
        }
        dispatch
    }

    fn empty(limits: RequestLimits) -> Self {
        Self {
            limits,
            lanes: Vec::new(),
            ready: VecDeque::new(),
            failed: BTreeMap::new(),
            rejected: Vec::new(),
            unsent: BTreeSet::new(),
            accepted_lanes: BTreeSet::new(),
            expendable: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Allows that messages of a record are rejected if the queue refuses them to the last retry. Call it if the record
    /// is too old to wait longer, and the queue is known to take messages of other groups.
    pub fn allow_rejection(&mut self, record: usize) {
        self.expendable.insert(record);
    }

    fn push(&mut self, lane: usize, record: usize, messages: &[Message]) {
        if lane == self.lanes.len() {
            self.lanes.push(Lane { first_record: record, ..Lane::default() });
            self.ready.push_back(lane);
        }
        let items = messages.iter().enumerate().map(|(message, m)| Item { message, size: m.size() });
        self.lanes[lane].units.push_back(Unit { record, messages: items.collect() });
    }

    /// The next request that may be sent now, with messages of `lanes`. `None` until an answer or a wake-up makes more
    /// messages ready.
    pub fn next_request(&mut self, lanes: Lanes) -> Option<Request> {
        let mut request = Request { entries: Vec::new(), lanes: Vec::new() };
        let (mut bytes, mut position) = (0, 0);
        while let Some(&index) = self.ready.get(position) {
            let lane = &self.lanes[index];
            let Some(unit) = lane.units.front() else {
                self.ready.remove(position);
                continue;
            };
            if lanes == Lanes::Begun && lane.attempt == 0 {
                position += 1;
                continue;
            }
            let (count, size) = self.fitting_messages(unit, lane.sharing);
            let fits =
                request.entries.len() + count <= self.limits.entries && bytes + size <= self.limits.bytes;
            let alone = lane.sharing != Sharing::Lanes;
            if !request.entries.is_empty() && (alone || !fits) {
                break;
            }
            let items = unit.messages.iter().take(count);
            request
                .entries
                .extend(items.map(|item| MessageRef { record: unit.record, message: item.message }));
            request.lanes.push(index);
            bytes += size;
            self.ready.remove(position);
            if alone {
                break;
            }
        }
        (!request.entries.is_empty()).then_some(request)
    }

    /// True if messages are ready to be sent.
    pub fn has_ready_messages(&self) -> bool {
        self.ready.iter().any(|lane| !self.lanes[*lane].units.is_empty())
    }

    /// How many messages of a unit fit into one request, at least one, and their size in bytes.
    fn fitting_messages(&self, unit: &Unit, sharing: Sharing) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        let most = if sharing == Sharing::Nothing { 1 } else { self.limits.entries };
        for item in unit.messages.iter().take(most) {
            if count > 0 && bytes + item.size > self.limits.bytes {
                break;
            }
            count += 1;
            bytes += item.size;
        }
        (count, bytes)
    }

    /// Takes the answers to a request, one for each entry, in order. A missing answer counts as refused. Returns the
    /// lanes to wake after a pause, if any. Lanes with a throttled message are ready at once: the pace of the queue
    /// pauses them.
    pub fn answer(&mut self, request: &Request, answers: &[SendResult]) -> Option<Retry> {
        let mut refused: BTreeMap<usize, String> = BTreeMap::new();
        let mut throttled: BTreeSet<usize> = BTreeSet::new();
        let missing = SendResult::Refused("the queue gave no answer for this message".to_owned());
        for (position, entry) in request.entries.iter().enumerate() {
            match answers.get(position).unwrap_or(&missing) {
                SendResult::Accepted => {
                    // The group may have been given up while the request was in flight.
                    self.unsent.remove(entry);
                    self.accepted_lanes.extend(self.lane_of(request, *entry));
                    self.settle(request, *entry);
                }
                SendResult::Rejected(reason) => self.reject(request, *entry, reason.clone()),
                SendResult::Refused(reason) => {
                    refused.entry(entry.record).or_insert_with(|| reason.clone());
                }
                SendResult::Throttled(_) => {
                    throttled.insert(entry.record);
                }
            }
        }
        // A lane with a refused message retries. The other lanes of the request go on.
        let mut retry = Retry { lanes: Vec::new(), attempt: 0 };
        for &lane in &request.lanes {
            let record = self.lanes[lane].units.front().map(|unit| unit.record);
            match record {
                Some(record) if refused.contains_key(&record) => {
                    self.refuse(lane, &refused[&record], Blame::Message, &mut retry);
                }
                Some(record) if throttled.contains(&record) => self.ready.push_front(lane),
                Some(_) | None => self.advance(lane),
            }
        }
        retry.or_none()
    }

    /// Takes the failure of a whole request: no message is known to be accepted. Returns the lanes to wake after a
    /// pause, if any.
    pub fn request_failed(&mut self, request: &Request, failure: &RequestFailure) -> Option<Retry> {
        let mut retry = Retry { lanes: Vec::new(), attempt: 0 };
        for &lane in &request.lanes {
            // The lane may have been given up while the request was in flight.
            if self.lanes[lane].units.is_empty() {
                continue;
            }
            match failure {
                RequestFailure::Failed(reason) => self.refuse(lane, reason, Blame::Queue, &mut retry),
                // The pace of the queue pauses the lane, and a throttled try uses up no retry.
                RequestFailure::Throttled(_) => self.ready.push_front(lane),
                RequestFailure::Invalid { reason, content } => {
                    self.isolate(request, lane, reason, *content, &mut retry);
                }
            }
        }
        retry.or_none()
    }

    /// Narrows down which message made the queue refuse a request whole.
    fn isolate(&mut self, request: &Request, lane: usize, reason: &str, content: bool, retry: &mut Retry) {
        match request.entries.as_slice() {
            [culprit] if content || self.takes_others(lane, culprit.record) => {
                self.reject(request, *culprit, reason.to_owned());
                self.lanes[lane].ends |= !content;
                self.advance(lane);
            }
            // Whether the queue takes other messages may be known when the pause is over.
            [_] => self.refuse(lane, reason, Blame::Message, retry),
            _ => {
                let alone = request.lanes.len() == 1;
                self.lanes[lane].sharing = if alone { Sharing::Nothing } else { Sharing::Record };
                self.ready.push_back(lane);
            }
        }
    }

    /// True if the queue takes messages of other lanes.
    fn takes_others(&self, lane: usize, record: usize) -> bool {
        self.accepted_lanes.iter().any(|accepted| *accepted != lane) || self.expendable.contains(&record)
    }

    /// Takes a message out of its lane as one that the queue will never take.
    fn reject(&mut self, request: &Request, entry: MessageRef, reason: String) {
        let retries = self.lane_of(request, entry).map_or(0, |lane| self.lanes[lane].attempt);
        self.rejected.push(Rejection { entry, reason, retries });
        self.unsent.remove(&entry);
        self.settle(request, entry);
    }

    /// The lane of an entry of a request.
    fn lane_of(&self, request: &Request, entry: MessageRef) -> Option<usize> {
        let holds =
            |lane: &&usize| self.lanes[**lane].units.front().is_some_and(|unit| unit.record == entry.record);
        request.lanes.iter().find(holds).copied()
    }

    /// Removes an accepted or rejected message from its lane.
    fn settle(&mut self, request: &Request, entry: MessageRef) {
        let lane = self.lane_of(request, entry);
        if let Some(unit) = lane.and_then(|lane| self.lanes[lane].units.front_mut()) {
            // Answers are in order, so this is mostly the first message: a row with thousands of chains stays cheap.
            match unit.messages.iter().position(|item| item.message == entry.message) {
                Some(0) => drop(unit.messages.pop_front()),
                Some(position) => drop(unit.messages.remove(position)),
                None => {}
            }
        }
    }

    /// Adds the lane to the retry. After its last retry, rejects the messages of its record if that is allowed, or gives
    /// the lane up.
    fn refuse(&mut self, lane: usize, reason: &str, blame: Blame, retry: &mut Retry) {
        self.lanes[lane].attempt += 1;
        let attempt = self.lanes[lane].attempt;
        if attempt <= self.limits.retries {
            retry.attempt = retry.attempt.max(attempt);
            retry.lanes.push(lane);
            return;
        }
        let record = self.lanes[lane].units.front().map(|unit| unit.record);
        let at_fault = record.filter(|_| blame == Blame::Message);
        if at_fault.is_some_and(|record| self.expendable.contains(&record)) {
            self.reject_records(lane, reason);
        } else {
            self.refused.extend(at_fault);
            self.give_up(lane, reason);
        }
    }

    /// Rejects the messages of a lane's first records, as far as that is allowed, and gives up those after them.
    fn reject_records(&mut self, lane: usize, reason: &str) {
        let retries = self.limits.retries;
        let reason = format!("the queue refused it for too long, while it took others: {reason}");
        let units = &mut self.lanes[lane].units;
        while let Some(unit) = units.pop_front_if(|unit| self.expendable.contains(&unit.record)) {
            let entries =
                unit.messages.iter().map(|item| MessageRef { record: unit.record, message: item.message });
            self.rejected.extend(entries.map(|entry| Rejection { entry, reason: reason.clone(), retries }));
        }
        self.give_up(lane, LATER_RECORDS_WAIT);
    }

    /// Goes on after a request without a refusal: to the remaining messages of the record, or to the next record.
    fn advance(&mut self, lane: usize) {
        let units = &mut self.lanes[lane].units;
        let record_is_over = units.front().is_some_and(|unit| unit.messages.is_empty());
        if record_is_over {
            units.pop_front();
            if self.lanes[lane].ends {
                self.give_up(lane, LATER_RECORDS_WAIT);
            }
        }
        if !self.lanes[lane].units.is_empty() {
            self.lanes[lane].attempt = 0;
            self.ready.push_back(lane);
        }
    }

    /// Gives up every message of a lane.
    fn give_up(&mut self, lane: usize, reason: &str) {
        for unit in self.lanes[lane].units.drain(..) {
            self.failed.insert(unit.record, reason.to_owned());
            let unsent =
                unit.messages.iter().map(|item| MessageRef { record: unit.record, message: item.message });
            self.unsent.extend(unsent);
        }
    }

    /// Makes the lanes of a retry ready again. Call it when the pause is over.
    pub fn wake(&mut self, retry: Retry) {
        self.ready.extend(retry.lanes);
    }

    /// Gives up every message that is not yet accepted.
    pub fn abandon(&mut self, reason: &str) {
        for lane in 0..self.lanes.len() {
            self.give_up(lane, reason);
        }
        self.ready.clear();
    }

    /// A record of each group of which the queue has accepted a message.
    pub fn accepted_groups(&self) -> impl Iterator<Item = usize> + '_ {
        self.accepted_lanes.iter().map(|lane| self.lanes[*lane].first_record)
    }

    /// Records of which the queue refused a message by itself to the last retry.
    pub fn refused_records(&self) -> impl Iterator<Item = usize> + '_ {
        self.refused.iter().copied()
    }

    /// Records with messages that were given up, by index, with the reason.
    pub fn failed(&self) -> &BTreeMap<usize, String> {
        &self.failed
    }

    /// Messages that were given up and that the queue has not accepted, in order.
    pub fn unsent(&self) -> &BTreeSet<MessageRef> {
        &self.unsent
    }

    /// Takes out the messages that the queue will never take.
    pub fn take_rejected(&mut self) -> Vec<Rejection> {
        std::mem::take(&mut self.rejected)
    }
}

#[cfg(test)]
mod tests;
