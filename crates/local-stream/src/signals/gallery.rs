//! The pictures of signals: the values before and after each, for the most striking of every kind.

use std::collections::{BTreeMap, HashMap, VecDeque};

use events_core::change::BaselineValues;
use events_core::event::{Data, Event};
use events_core::plan::RecordPlan;
use events_core::signal::{Kind, Signal, Stage};

use crate::view::{View, id};

/// Pictures of each kind.
const PICTURES: usize = 8;
/// Rows that a picture shows before the signal, and from it on.
const BEFORE: usize = 36;
const AFTER: usize = 24;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Data time, ms since 1970.
    pub time_ms: i64,
    /// USD.
    pub value: f64,
}

/// The values around a signal.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    /// Protocol or token id.
    pub id: String,
    /// Name or symbol, where known.
    pub name: Option<String>,
    /// Chain key; `None` for a total or a price.
    pub chain: Option<String>,
    /// True for a price, false for TVL.
    pub is_price: bool,
    /// `eventId` of the signal.
    pub event_id: String,
    /// The signal.
    pub signal: Signal,
    /// The rows before it.
    pub before: Vec<Point>,
    /// Its row and those after it.
    pub after: Vec<Point>,
    /// What became of it, with the position in `after`.
    pub followed: Vec<(usize, Stage, String)>,
}

/// A value: its baseline key and chain, or no chain for the total or the price.
type ValueKey = (String, Option<String>);

/// The pictures of a replay. Remembers the last rows of every value: about a kilobyte each.
#[derive(Debug, Default)]
pub(crate) struct Gallery {
    recent: HashMap<ValueKey, VecDeque<Point>>,
    pictures: BTreeMap<Kind, Vec<Picture>>,
    /// Pictures that are not complete, by value: kind and event id.
    open: HashMap<ValueKey, Vec<(Kind, String)>>,
    /// Signals of each kind.
    counts: BTreeMap<Kind, u64>,
}

impl Gallery {
    /// Adds a row that is done.
    pub(crate) fn add(&mut self, plan: &RecordPlan, view: &View) {
        let Some(commit) = &plan.commit else { return };
        let time_ms = commit.version.data_time_ms;
        let values: Vec<(Option<String>, f64)> = match BaselineValues::from_json(&commit.values) {
            Some(BaselineValues::Tvl(values)) => {
                let total = values.total.map(|total| (None, total.to_f64()));
                let chains = values.chains.into_iter();
                let chains = chains.map(|(chain, value)| (Some(chain.into_string()), value.to_f64()));
                total.into_iter().chain(chains).collect()
            }
            Some(BaselineValues::Price(values)) => vec![(None, values.price.to_f64())],
            Some(BaselineValues::Protocol(_)) | None => return,
        };
        for (chain, value) in values {
            let key = (commit.baseline_key.clone(), chain);
            let point = Point { time_ms, value };
            self.go_on(&key, point);
            for event in plan.events.iter().filter(|event| is_of(event, key.1.as_deref())) {
                self.signal(&key, event, point, view);
            }
            let recent = self.recent.entry(key).or_default();
            recent.push_back(point);
            if recent.len() > BEFORE {
                recent.pop_front();
            }
        }
    }

    /// How many signals of each kind there were, and the pictures of some, the highest score first.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (Kind, u64, &[Picture])> {
        let pictures = |kind| self.pictures.get(kind).map_or(&[][..], Vec::as_slice);
        self.counts.iter().map(move |(kind, count)| (*kind, *count, pictures(kind)))
    }

    /// Adds a row to the pictures of its value that are not complete.
    fn go_on(&mut self, key: &ValueKey, point: Point) {
        let Some(open) = self.open.get_mut(key) else { return };
        open.retain(|(kind, event_id)| {
            let pictures = self.pictures.get_mut(kind);
            let picture =
                pictures.and_then(|pictures| pictures.iter_mut().find(|one| one.event_id == *event_id));
            picture.is_some_and(|picture| {
                picture.after.push(point);
                picture.after.len() < AFTER
            })
        });
        if open.is_empty() {
            self.open.remove(key);
        }
    }

    fn signal(&mut self, key: &ValueKey, event: &Event, point: Point, view: &View) {
        let Some(signal) = &event.metadata.signal else { return };
        if signal.stage == Stage::New {
            self.add_picture(key, event, signal, point, view);
        } else if let Some(about) = &signal.about {
            let all = self.pictures.values_mut().flatten();
            for picture in all.filter(|picture| picture.event_id == *about) {
                let at = picture.after.len().saturating_sub(1);
                picture.followed.push((at, signal.stage, signal.reason.clone()));
            }
        }
        *self.counts.entry(signal.kind).or_default() += 1;
    }

    fn add_picture(&mut self, key: &ValueKey, event: &Event, signal: &Signal, point: Point, view: &View) {
        let pictures = self.pictures.entry(signal.kind).or_default();
        if pictures.len() == PICTURES && pictures.last().is_some_and(|last| last.signal.score >= signal.score)
        {
            return;
        }
        let picture = Picture {
            id: id(event).to_owned(),
            name: view.name(event).map(str::to_owned),
            chain: event.chain().map(str::to_owned),
            is_price: matches!(event.data, Data::Price(_)),
            event_id: event.event_id.clone(),
            signal: signal.clone(),
            before: self.recent.get(key).into_iter().flatten().copied().collect(),
            after: vec![point],
            followed: Vec::new(),
        };
        let at = pictures.partition_point(|other| other.signal.score >= signal.score);
        pictures.insert(at, picture);
        pictures.truncate(PICTURES);
        self.open.entry(key.clone()).or_default().push((signal.kind, event.event_id.clone()));
    }
}

/// True if an event is about this value. A price event names its chain, but has one value.
fn is_of(event: &Event, chain: Option<&str>) -> bool {
    match &event.data {
        Data::Tvl(data) => data.chain.as_deref() == chain,
        Data::Price(_) => chain.is_none(),
        Data::Protocol(_) => false,
    }
}
