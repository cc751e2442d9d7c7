//! A small PostgreSQL: what `infra/postgres` and the statements of the relay do, without SQL.

use std::collections::{BTreeMap, BTreeSet};

use events_core::source::postgres::OutboxEntry;
use events_relay::{Held, LANES, LaneSet, Position, Snapshot, Waiting};

/// A key that writers change.
#[derive(Debug, Default)]
struct Subject {
    version: i64,
    /// The transaction that holds its row.
    holder: Option<u64>,
}

/// A row of the outbox.
#[derive(Debug)]
struct OutboxRow {
    xid: u64,
    waiting: Waiting,
}

/// The database.
#[derive(Debug, Default)]
pub(super) struct Database {
    next_xid: u64,
    running: BTreeSet<u64>,
    subjects: Vec<Subject>,
    /// Rows of running transactions.
    uncommitted: Vec<OutboxRow>,
    /// The two tables of the outbox.
    tables: [Vec<OutboxRow>; 2],
    active: usize,
    /// Until when a relay lives, and the number of its last call that changed lanes.
    relays: BTreeMap<String, (u64, i64)>,
    leases: Vec<(Option<String>, Snapshot)>,
    aside: BTreeMap<Position, Waiting>,
}

/// The lane of a key.
pub(super) fn lane(key: usize) -> i16 {
    (key * 5 % LANES) as i16
}

/// The id of a key.
pub(super) fn id(key: usize) -> String {
    format!("k{key}")
}

/// A snapshot: transactions below `xmax` are visible, unless they were running.
struct Visible {
    xmax: u64,
    running: BTreeSet<u64>,
}

impl Visible {
    fn parse(snapshot: &Snapshot) -> Self {
        let (xmax, running) = snapshot.0.split_once(':').unwrap_or_default();
        let running = running.split(',').filter_map(|xid| xid.parse().ok()).collect();
        Self { xmax: xmax.parse().unwrap_or_default(), running }
    }

    fn has(&self, xid: u64) -> bool {
        xid < self.xmax && !self.running.contains(&xid)
    }
}

impl Database {
    pub(super) fn new(keys: usize) -> Self {
        let subjects = (0..keys).map(|_| Subject { version: 1, holder: None }).collect();
        let leases = vec![(None, Snapshot("1:".to_owned())); LANES];
        Self { next_xid: 10, subjects, leases, ..Self::default() }
    }

    fn snapshot(&self) -> Snapshot {
        let running: Vec<String> = self.running.iter().map(ToString::to_string).collect();
        Snapshot(format!("{}:{}", self.next_xid, running.join(",")))
    }

    // Writers.

    pub(super) fn begin(&mut self) -> u64 {
        let xid = self.next_xid;
        self.next_xid += 1;
        self.running.insert(xid);
        xid
    }

    /// Changes a key. Returns false while another transaction holds it.
    pub(super) fn change(&mut self, xid: u64, key: usize, now_ms: i64) -> bool {
        let subject = &mut self.subjects[key];
        if subject.holder.is_some_and(|holder| holder != xid) {
            return false;
        }
        subject.holder = Some(xid);
        subject.version += 1;
        let version = subject.version;
        let body = format!(
            r#"{{"value": {version}, "previous": {}, "previousAt": {}, "percent": 0.001, "absolute": 1, "occurrence": 0}}"#,
            version - 1,
            now_ms - 1
        );
        let entry = OutboxEntry {
            kind: "price".into(),
            id: id(key),
            version,
            // The data time of a key never goes back; often it stands still.
            at: 1_000_000 + version / 3,
            created: now_ms,
            silent: false,
            body,
        };
        self.uncommitted.push(OutboxRow { xid, waiting: Waiting { lane: lane(key), entry } });
        true
    }

    pub(super) fn end(&mut self, xid: u64, commit: bool) {
        self.running.remove(&xid);
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.uncommitted).into_iter().partition(|row| row.xid == xid);
        self.uncommitted = others;
        for subject in self.subjects.iter_mut().filter(|subject| subject.holder == Some(xid)) {
            subject.holder = None;
        }
        if commit {
            self.tables[self.active].extend(own);
            return;
        }
        for row in own {
            let key = (0..self.subjects.len()).find(|key| id(*key) == row.waiting.entry.id);
            if let Some(key) = key {
                self.subjects[key].version -= 1;
            }
        }
    }

    /// The last committed value of a key. Only right while no transaction runs.
    pub(super) fn last(&self, key: usize) -> i64 {
        self.subjects[key].version
    }

    // The relay's statements.

    pub(super) fn join(&mut self, relay: &str, until: u64) {
        for (holder, _) in &mut self.leases {
            if holder.as_deref() == Some(relay) {
                *holder = None;
            }
        }
        self.relays.entry(relay.to_owned()).or_default().0 = until;
    }

    pub(super) fn beat(&mut self, relay: &str, until: u64, now: u64) -> Option<usize> {
        self.relays.get_mut(relay)?.0 = until;
        Some(self.relays.values().filter(|(until, _)| *until > now).count())
    }

    /// False for a call that comes behind a later one.
    fn is_current(&mut self, relay: &str, call: i64) -> bool {
        let last = self.relays.get_mut(relay).map(|(_, last)| last);
        last.is_some_and(|last| {
            let is_current = *last < call;
            *last = call.max(*last);
            is_current
        })
    }

    pub(super) fn take(&mut self, relay: &str, call: i64, known: LaneSet, most: usize, now: u64) -> Held {
        self.relays.retain(|_, (until, _)| *until >= now);
        let mut held = Held::new();
        if !self.is_current(relay, call) {
            return held;
        }
        for (lane, (holder, done)) in self.leases.iter_mut().enumerate() {
            if holder.as_deref() == Some(relay) && known.0 >> lane & 1 == 0 {
                *holder = None;
            }
            let is_free = holder.as_ref().is_none_or(|holder| !self.relays.contains_key(holder));
            if is_free && held.len() < most {
                *holder = Some(relay.to_owned());
                held.insert(lane as i16, done.clone());
            }
        }
        held
    }

    /// The relay that holds a lane.
    pub(super) fn holder(&self, lane: i16) -> Option<&str> {
        self.leases[lane as usize].0.as_deref()
    }

    pub(super) fn give_back(&mut self, relay: &str, call: i64, held: &Held) {
        if self.is_current(relay, call) {
            self.save(relay, held, true);
        }
    }

    pub(super) fn save(&mut self, relay: &str, held: &Held, give_back: bool) {
        for (lane, done) in held {
            let lease = &mut self.leases[*lane as usize];
            if lease.0.as_deref() == Some(relay) {
                lease.1 = done.clone();
                if give_back {
                    lease.0 = None;
                }
            }
        }
    }

    pub(super) fn leave(&mut self, relay: &str) {
        self.relays.remove(relay);
    }

    pub(super) fn read(
        &self,
        lanes: &BTreeMap<Snapshot, LaneSet>,
        after: Option<&(Snapshot, Position)>,
        limit: usize,
    ) -> (Snapshot, Vec<Waiting>) {
        let mut found: Vec<Waiting> = Vec::new();
        for (done, lanes) in lanes {
            let done = Visible::parse(done);
            let rows = self.tables.iter().flatten();
            let rows = rows.filter(|row| lanes.0 >> row.waiting.lane & 1 == 1 && !done.has(row.xid));
            found.extend(rows.filter(|row| visible(row, after)).map(|row| row.waiting.clone()));
        }
        found.sort_by_key(Waiting::position);
        found.truncate(limit);
        (self.snapshot(), found)
    }

    pub(super) fn set_aside(&mut self, changes: &[Waiting]) {
        for change in changes {
            self.aside.entry(change.position()).or_insert_with(|| change.clone());
        }
    }

    pub(super) fn aside(&self, lanes: LaneSet) -> Vec<Waiting> {
        self.aside.values().filter(|change| lanes.0 >> change.lane & 1 == 1).cloned().collect()
    }

    pub(super) fn forget(&mut self, changes: &[Waiting]) {
        for change in changes {
            self.aside.remove(&change.position());
        }
    }

    /// Switches, or empties the table that writers left. Returns the changes that are gone.
    pub(super) fn rotate(&mut self) -> Vec<Waiting> {
        let idle = 1 - self.active;
        if self.tables[idle].is_empty() {
            if !self.tables[self.active].is_empty() {
                self.active = idle;
            }
            return Vec::new();
        }
        let is_done =
            |row: &OutboxRow| Visible::parse(&self.leases[row.waiting.lane as usize].1).has(row.xid);
        if !self.tables[idle].iter().all(is_done) {
            return Vec::new();
        }
        std::mem::take(&mut self.tables[idle]).into_iter().map(|row| row.waiting).collect()
    }

    /// True if `change` is set aside.
    pub(super) fn is_aside(&self, change: &Waiting) -> bool {
        self.aside.contains_key(&change.position())
    }

    /// How many changes are set aside.
    pub(super) fn aside_count(&self) -> usize {
        self.aside.len()
    }
}

fn visible(row: &OutboxRow, after: Option<&(Snapshot, Position)>) -> bool {
    after.is_none_or(|(snapshot, position)| {
        Visible::parse(snapshot).has(row.xid) && row.waiting.position() > *position
    })
}
