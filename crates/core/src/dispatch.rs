//! In which order messages go to the queue.
//!
//! SQS can refuse entry k of a request and accept k + 1: sent again, k then stands behind k + 1 for good. So a request
//! never holds messages of two records of one group, and a later record's messages wait until every earlier message
//! of that group is accepted. Groups do not wait for each other. A state machine without I/O: requests come out,
//! answers go in.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::message::Message;

/// Bounds of the queue's requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most messages in a request.
    pub entries: usize,
    /// Most bytes in a request.
    pub bytes: usize,
    /// How often a refused message is sent again before its group is given up.
    pub retries: u32,
}

/// A message of a batch: that of a record at a position among the record's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Index of the record in the batch.
    pub record: usize,
    /// Index of the message in the record's plan.
    pub message: usize,
}

/// A request to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its messages, in order.
    pub entries: Vec<Entry>,
    lanes: Vec<usize>,
}

/// The queue's answer to one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in the queue.
    Accepted,
    /// Not now; why.
    Refused(String),
    /// Not ever; why.
    Rejected(String),
}

/// Lanes to wake after a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The lanes; hand it back to [`Dispatch::wake`].
    lanes: Vec<usize>,
    /// Which retry it is, from 1.
    pub attempt: u32,
}

/// The messages of one group still to be sent, record by record.
#[derive(Debug)]
struct Lane {
    units: VecDeque<Unit>,
    attempt: u32,
}

/// The messages of one record still to be sent.
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

/// Decides what is sent when.
#[derive(Debug)]
pub struct Dispatch {
    limits: Limits,
    lanes: Vec<Lane>,
    ready: VecDeque<usize>,
    failed: BTreeMap<usize, String>,
    rejected: Vec<Rejection>,
    unsent: BTreeSet<Entry>,
}

/// A message the queue will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The message.
    pub entry: Entry,
    /// Why.
    pub reason: String,
    /// How often its group's request had been sent again before: 0 when it was rejected at first.
    pub retries: u32,
}

impl Dispatch {
    /// Takes the messages of a batch, of each record in order; those of one group keep the order of their records.
    pub fn new<'a>(records: impl IntoIterator<Item = (usize, &'a [Message])>, limits: Limits) -> Self {
        let mut dispatch = Self::empty(limits);
        let mut by_group: HashMap<&'a str, usize> = HashMap::new();
        for (record, messages) in records {
            let Some(first) = messages.first() else { continue };
            let lane = *by_group.entry(&first.group_id).or_insert(dispatch.lanes.len());
            dispatch.push(lane, record, messages);
        }
        dispatch
    }

    /// Takes messages that need no order, whatever their groups: none waits for another.
    pub fn unordered<'a>(messages: impl IntoIterator<Item = &'a [Message]>, limits: Limits) -> Self {
        let mut dispatch = Self::empty(limits);
        for (record, messages) in messages.into_iter().enumerate() {
            dispatch.push(record, record, messages);
        }
        dispatch
    }

    fn empty(limits: Limits) -> Self {
        Self {
            limits,
            lanes: Vec::new(),
            ready: VecDeque::new(),
            failed: BTreeMap::new(),
            rejected: Vec::new(),
            unsent: BTreeSet::new(),
        }
    }

    fn push(&mut self, lane: usize, record: usize, messages: &[Message]) {
        if lane == self.lanes.len() {
            self.lanes.push(Lane { units: VecDeque::new(), attempt: 0 });
            self.ready.push_back(lane);
        }
        let items = messages.iter().enumerate().map(|(message, m)| Item { message, size: m.size() });
        self.lanes[lane].units.push_back(Unit { record, messages: items.collect() });
    }

    /// The next request that may be sent now; `None` until an answer or a wake-up brings more.
    pub fn next_request(&mut self) -> Option<Request> {
        let mut request = Request { entries: Vec::new(), lanes: Vec::new() };
        let mut bytes = 0;
        while let Some(&lane) = self.ready.front() {
            let Some(unit) = self.lanes[lane].units.front() else {
                self.ready.pop_front();
                continue;
            };
            let (count, size) = self.head_of(unit);
            let fits =
                request.entries.len() + count <= self.limits.entries && bytes + size <= self.limits.bytes;
            if !fits && !request.entries.is_empty() {
                break;
            }
            let items = unit.messages.iter().take(count);
            request.entries.extend(items.map(|item| Entry { record: unit.record, message: item.message }));
            request.lanes.push(lane);
            bytes += size;
            self.ready.pop_front();
        }
        (!request.entries.is_empty()).then_some(request)
    }

    /// How many of a unit's messages fit into a request of their own, at least one, and their bytes.
    fn head_of(&self, unit: &Unit) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        for item in unit.messages.iter().take(self.limits.entries) {
            if count > 0 && bytes + item.size > self.limits.bytes {
                break;
            }
            count += 1;
            bytes += item.size;
        }
        (count, bytes)
    }

    /// Takes the answers to a request, one for each entry, in order. A missing answer counts as refused.
    pub fn answer(&mut self, request: &Request, answers: &[Answer]) -> Option<Retry> {
        let mut refused: BTreeMap<usize, String> = BTreeMap::new();
        let missing = Answer::Refused("no answer for this entry".to_owned());
        for (position, entry) in request.entries.iter().enumerate() {
            match answers.get(position).unwrap_or(&missing) {
                Answer::Accepted => {
                    // Its group may have been given up while it was on its way.
                    self.unsent.remove(entry);
                    self.settle(request, *entry);
                }
                Answer::Rejected(reason) => {
                    let retries = self.lane_of(request, *entry).map_or(0, |lane| self.lanes[lane].attempt);
                    self.rejected.push(Rejection { entry: *entry, reason: reason.clone(), retries });
                    self.unsent.remove(entry);
                    self.settle(request, *entry);
                }
                Answer::Refused(reason) => {
                    refused.entry(entry.record).or_insert_with(|| reason.clone());
                }
            }
        }
        let mut retry = Retry { lanes: Vec::new(), attempt: 0 };
        for &lane in &request.lanes {
            let record = self.lanes[lane].units.front().map(|unit| unit.record);
            match record.and_then(|record| refused.get(&record)) {
                Some(reason) => self.refuse(lane, reason, &mut retry),
                None => self.advance(lane),
            }
        }
        (!retry.lanes.is_empty()).then_some(retry)
    }

    /// The lane of a request's entry.
    fn lane_of(&self, request: &Request, entry: Entry) -> Option<usize> {
        let holds =
            |lane: &&usize| self.lanes[**lane].units.front().is_some_and(|unit| unit.record == entry.record);
        request.lanes.iter().find(holds).copied()
    }

    /// A message is dealt with.
    fn settle(&mut self, request: &Request, entry: Entry) {
        let lane = self.lane_of(request, entry);
        if let Some(unit) = lane.and_then(|lane| self.lanes[lane].units.front_mut()) {
            // Answers come in order: mostly it is the first, and a row with thousands of chains stays cheap.
            match unit.messages.iter().position(|item| item.message == entry.message) {
                Some(0) => drop(unit.messages.pop_front()),
                Some(position) => drop(unit.messages.remove(position)),
                None => {}
            }
        }
    }

    fn refuse(&mut self, lane: usize, reason: &str, retry: &mut Retry) {
        self.lanes[lane].attempt += 1;
        if self.lanes[lane].attempt > self.limits.retries {
            self.give_up(lane, reason);
        } else {
            retry.attempt = retry.attempt.max(self.lanes[lane].attempt);
            retry.lanes.push(lane);
        }
    }

    /// The lane's request went through: on to the rest of its record, or to the next record.
    fn advance(&mut self, lane: usize) {
        let units = &mut self.lanes[lane].units;
        if units.front().is_some_and(|unit| unit.messages.is_empty()) {
            units.pop_front();
        }
        if !units.is_empty() {
            self.lanes[lane].attempt = 0;
            self.ready.push_back(lane);
        }
    }

    fn give_up(&mut self, lane: usize, reason: &str) {
        for unit in self.lanes[lane].units.drain(..) {
            self.failed.insert(unit.record, reason.to_owned());
            let left = unit.messages.iter().map(|item| Entry { record: unit.record, message: item.message });
            self.unsent.extend(left);
        }
    }

    /// The pause of a retry is over.
    pub fn wake(&mut self, retry: Retry) {
        self.ready.extend(retry.lanes);
    }

    /// Gives up everything not yet accepted.
    pub fn abandon(&mut self, reason: &str) {
        for lane in 0..self.lanes.len() {
            self.give_up(lane, reason);
        }
        self.ready.clear();
    }

    /// Records whose messages are not all in the queue, with the reason, by index.
    pub fn failed(&self) -> &BTreeMap<usize, String> {
        &self.failed
    }

    /// The messages of those records that the queue has not accepted, in order.
    pub fn unsent(&self) -> &BTreeSet<Entry> {
        &self.unsent
    }

    /// Messages the queue will never take.
    pub fn take_rejected(&mut self) -> Vec<Rejection> {
        std::mem::take(&mut self.rejected)
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
