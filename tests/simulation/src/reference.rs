//! What must come of a row, said a second time and independently: whole numbers, no JSON, no shared code.
//!
//! Only the spelling of ids is taken from the code under test; golden tests elsewhere hold that.

use std::collections::BTreeMap;
use std::rc::Rc;

use events_core::change::ChangeBaseline;
use events_core::event::Priority;
use events_core::value;

use crate::rows::{Fields, Kind, Price, Row, Tvl, Values};

/// Thresholds: 1 % or $10,000 of TVL; 0.1 % or $0.01 of a price, which counts in thousandths.
const TVL_ABSOLUTE: i64 = 10_000;
const PRICE_ABSOLUTE: i64 = 10;

/// The rules that a run may set.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What values are compared with.
    pub change_baseline: ChangeBaseline,
    /// Whether every change of metadata counts.
    pub protocol_always: bool,
}

/// A baseline.
#[derive(Clone, Debug)]
pub struct State {
    /// The row it came from.
    pub row: usize,
    time: i64,
    stream: usize,
    sequence: u128,
    known: Known,
}

#[derive(Clone, Debug)]
enum Known {
    Tvl { total: Option<Value>, chains: BTreeMap<&'static str, Value> },
    Price(Value),
    Fields(Fields),
}

/// A value, and what the next one is compared with.
#[derive(Clone, Copy, Debug)]
struct Value {
    last: i64,
    compare: i64,
}

/// An event that must come.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its id.
    pub id: String,
    /// The row it is made of.
    pub row: usize,
    /// Its priority.
    pub priority: Priority,
    /// The values before and after, where it is about a value.
    pub values: Option<(f64, f64)>,
}

/// What must become of a row.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is news: these events, in order, and this baseline.
    Apply(Vec<Expected>, Rc<State>),
    /// Its data is older.
    Late,
    /// It was applied.
    Applied,
    /// Nothing to do with it.
    Nothing,
}

/// Judges a row against the baseline of its key.
pub fn judge(row: &Row, state: Option<&State>, rules: Rules) -> Verdict {
    let Kind::Values(values) = &row.kind else { return Verdict::Nothing };
    if let Some(state) = state {
        match order(row, state) {
            Order::Older => return Verdict::Late,
            Order::Same => return Verdict::Applied,
            Order::Newer => {}
        }
    }
    let judge = Judge { row, rules, events: Vec::new() };
    let (events, known) = judge.compare(values, state.map(|state| &state.known));
    let next = State { row: row.index, time: row.time_ms, stream: row.stream, sequence: row.sequence, known };
    Verdict::Apply(events, Rc::new(next))
}

enum Order {
    Older,
    Same,
    Newer,
}

fn order(row: &Row, state: &State) -> Order {
    if row.time_ms < state.time {
        Order::Older
    } else if row.time_ms == state.time && row.stream == state.stream && row.sequence <= state.sequence {
        Order::Same
    } else {
        Order::Newer
    }
}

struct Judge<'a> {
    row: &'a Row,
    rules: Rules,
    events: Vec<Expected>,
}

impl Judge<'_> {
    fn compare(mut self, values: &Values, known: Option<&Known>) -> (Vec<Expected>, Known) {
        let known = match (values, known) {
            (Values::Tvl(tvl), Some(Known::Tvl { total, chains })) => {
                self.tvl(tvl, *total, Some(chains), true)
            }
            (Values::Tvl(tvl), _) => self.tvl(tvl, None, None, false),
            (Values::Price(price), Some(Known::Price(value))) => self.price(price, Some(*value)),
            (Values::Price(price), _) => self.price(price, None),
            (Values::Protocol { fields, .. }, Some(Known::Fields(before))) => {
                self.fields(fields, Some(before))
            }
            (Values::Protocol { fields, old }, _) => self.fields(fields, old.as_ref()),
        };
        (self.events, known)
    }

    fn tvl(
        &mut self,
        tvl: &Tvl,
        total: Option<Value>,
        chains: Option<&BTreeMap<&'static str, Value>>,
        cached: bool,
    ) -> Known {
        let plain = |last: i64| Value { last, compare: last };
        let old_chains: Option<BTreeMap<&'static str, Value>> = tvl
            .old
            .as_ref()
            .map(|old| old.chains.iter().map(|(chain, value)| (*chain, plain(*value))).collect());
        let old_total = tvl.old.as_ref().and_then(|old| old.total).or(tvl.previous_hour).map(plain);
        let total = total.or(old_total);
        let before = if cached { chains } else { old_chains.as_ref() };
        let next_total = match tvl.total {
            Some(value) => Some(self.moved(None, total, value, 100, TVL_ABSOLUTE, 1.0, "tvl_change")),
            None => total,
        };
        let mut next = BTreeMap::new();
        for (chain, value) in &tvl.chains {
            let reference = before.and_then(|chains| chains.get(chain)).copied();
            match value {
                Some(value) => {
                    let moved =
                        self.moved(Some(chain), reference, *value, 100, TVL_ABSOLUTE, 1.0, "tvl_change");
                    next.insert(*chain, moved);
                }
                // Unknown this time: it keeps what it had.
                None => next.extend(reference.map(|reference| (*chain, reference))),
            }
        }
        if let Some(before) = before {
            self.chain_set(tvl, before);
        }
        Known::Tvl { total: next_total, chains: next }
    }

    fn chain_set(&mut self, tvl: &Tvl, before: &BTreeMap<&'static str, Value>) {
        let came = tvl.chains.iter().filter_map(|(chain, value)| Some((*chain, (*value)?)));
        let came = came.filter(|(chain, _)| !before.contains_key(chain));
        let went = before.iter().map(|(chain, value)| (*chain, value.last));
        let went = went.filter(|(chain, _)| !tvl.chains.contains_key(chain));
        let changed: BTreeMap<&str, i64> = came.chain(went).collect();
        for (chain, value) in changed {
            if value.abs() >= TVL_ABSOLUTE {
                self.event("protocol_update", Some(chain), Priority::Medium, None);
            }
        }
    }

    fn price(&mut self, price: &Price, known: Option<Value>) -> Known {
        let old = price.old.map(|last| Value { last, compare: last });
        Known::Price(self.moved(
            None,
            known.or(old),
            price.thousandths,
            1_000,
            PRICE_ABSOLUTE,
            1_000.0,
            "price_update",
        ))
    }

    fn fields(&mut self, fields: &Fields, before: Option<&Fields>) -> Known {
        if let Some(before) = before {
            let names: std::collections::BTreeSet<_> = fields.keys().chain(before.keys()).copied().collect();
            let changed: Vec<_> =
                names.into_iter().filter(|name| fields.get(name) != before.get(name)).collect();
            let status = changed.contains(&"rugged");
            let weighty = status || changed.contains(&"category");
            if weighty || (!changed.is_empty() && self.rules.protocol_always) {
                let priority = if status { Priority::High } else { Priority::Medium };
                self.event("protocol_update", None, priority, None);
            }
        }
        Known::Fields(fields.clone())
    }

    /// Compares a value; `share` of the previous one (a hundredth, a thousandth) or `absolute` makes it significant.
    #[allow(clippy::too_many_arguments, reason = "one line per threshold, in one place")]
    fn moved(
        &mut self,
        chain: Option<&str>,
        reference: Option<Value>,
        current: i64,
        share: i64,
        absolute: i64,
        unit: f64,
        event_type: &str,
    ) -> Value {
        let fresh = Value { last: current, compare: current };
        let Some(Value { compare: previous, .. }) = reference else { return fresh };
        let (change, size) = ((current - previous).abs(), previous.abs());
        if change != 0 && (change * share >= size || change >= absolute) {
            let priority = match change {
                change if size == 0 || change * 2 > size => Priority::High,
                change if change * 10 > size => Priority::Medium,
                _ => Priority::Low,
            };
            let values = (previous as f64 / unit, current as f64 / unit);
            self.event(event_type, chain, priority, Some(values));
            return fresh;
        }
        match self.rules.change_baseline {
            ChangeBaseline::Previous => fresh,
            ChangeBaseline::LastEvent => Value { last: current, compare: previous },
        }
    }

    fn event(
        &mut self,
        event_type: &str,
        chain: Option<&str>,
        priority: Priority,
        values: Option<(f64, f64)>,
    ) {
        let id = value::of_event(&self.row.record_id, event_type, chain);
        self.events.push(Expected { id, row: self.row.index, priority, values });
    }
}
