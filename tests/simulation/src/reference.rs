//! A second, independent implementation of what a row must give. It uses whole numbers, no JSON and no shared code.
//!
//! Only the ids come from the code under test; golden tests elsewhere check them.

use std::collections::BTreeMap;
use std::rc::Rc;

use events_core::change::ChangeBaseline;
use events_core::event::Priority;
use events_core::value;

use crate::rows::{Fields, Kind, Price, Row, Tvl, Values};

/// Thresholds: 1 % or $10,000 for TVL, 0.1 % or $0.01 for a price. Prices are counted in thousandths of a dollar.
const TVL_ABSOLUTE: i64 = 10_000;
const PRICE_ABSOLUTE: i64 = 10;

/// The rules that a scenario can set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What values are compared with.
    pub change_baseline: ChangeBaseline,
    /// True if every change of metadata makes an event.
    pub protocol_always: bool,
}

/// A baseline, as the reference computes it.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedBaseline {
    /// Index of the row that it comes from.
    pub row: usize,
    time: i64,
    stream: usize,
    sequence: u128,
    values: BaselineValues,
}

#[derive(Clone, Debug)]
enum BaselineValues {
    Tvl { total: Option<Value>, chains: BTreeMap<&'static str, Value> },
    Price(Value),
    Fields(Fields),
}

/// A value of a baseline.
#[derive(Clone, Copy, Debug)]
struct Value {
    /// The last value.
    last: i64,
    /// The value that the next one is compared with. Differs from `last` under [`ChangeBaseline::LastEvent`].
    compare: i64,
}

/// An event that a row must make.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedEvent {
    /// Its id.
    pub id: String,
    /// Index of its row.
    pub row: usize,
    /// Its priority.
    pub priority: Priority,
    /// The previous and the current value, if it concerns a value.
    pub values: Option<(f64, f64)>,
}

/// What must happen to a row.
#[derive(Clone, Debug)]
pub(crate) enum ExpectedOutcome {
    /// The row is newer. It makes these events, in order, and becomes this baseline.
    Applied(Vec<ExpectedEvent>, Rc<ExpectedBaseline>),
    /// The row's data is older than the baseline.
    Late,
    /// The row was applied before.
    AlreadyApplied,
    /// The record is not a row.
    NotARow,
}

/// Compares a row with the baseline of its key.
pub(crate) fn expected_outcome(
    row: &Row,
    baseline: Option<&ExpectedBaseline>,
    rules: Rules,
) -> ExpectedOutcome {
    let Kind::Values(values) = &row.kind else { return ExpectedOutcome::NotARow };
    if let Some(baseline) = baseline {
        match order(row, baseline) {
            Order::Older => return ExpectedOutcome::Late,
            Order::Same => return ExpectedOutcome::AlreadyApplied,
            Order::Newer => {}
        }
    }
    let comparison = Comparison { row, rules, events: Vec::new() };
    let (events, values) = comparison.compare(values, baseline.map(|baseline| &baseline.values));
    let next = ExpectedBaseline {
        row: row.index,
        time: row.time_ms,
        stream: row.stream,
        sequence: row.sequence,
        values,
    };
    ExpectedOutcome::Applied(events, Rc::new(next))
}

enum Order {
    Older,
    Same,
    Newer,
}

fn order(row: &Row, baseline: &ExpectedBaseline) -> Order {
    if row.time_ms < baseline.time {
        Order::Older
    } else if row.time_ms == baseline.time
        && row.stream == baseline.stream
        && row.sequence <= baseline.sequence
    {
        Order::Same
    } else {
        Order::Newer
    }
}

struct Comparison<'a> {
    row: &'a Row,
    rules: Rules,
    events: Vec<ExpectedEvent>,
}

impl Comparison<'_> {
    fn compare(
        mut self,
        values: &Values,
        before: Option<&BaselineValues>,
    ) -> (Vec<ExpectedEvent>, BaselineValues) {
        let next = match (values, before) {
            (Values::Tvl(tvl), Some(BaselineValues::Tvl { total, chains })) => {
                self.tvl(tvl, *total, Some(chains), true)
            }
            (Values::Tvl(tvl), _) => self.tvl(tvl, None, None, false),
            (Values::Price(price), Some(BaselineValues::Price(value))) => self.price(price, Some(*value)),
            (Values::Price(price), _) => self.price(price, None),
            (Values::Protocol { fields, .. }, Some(BaselineValues::Fields(before))) => {
                self.fields(fields, Some(before))
            }
            (Values::Protocol { fields, old }, _) => self.fields(fields, old.as_ref()),
        };
        (self.events, next)
    }

    fn tvl(
        &mut self,
        tvl: &Tvl,
        total: Option<Value>,
        chains: Option<&BTreeMap<&'static str, Value>>,
        cached: bool,
    ) -> BaselineValues {
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
                // The row does not know the value, so the chain keeps its baseline.
                None => next.extend(reference.map(|reference| (*chain, reference))),
            }
        }
        if let Some(before) = before {
            self.chain_set(tvl, before);
        }
        BaselineValues::Tvl { total: next_total, chains: next }
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

    fn price(&mut self, price: &Price, before: Option<Value>) -> BaselineValues {
        let old = price.old.map(|last| Value { last, compare: last });
        BaselineValues::Price(self.moved(
            None,
            before.or(old),
            price.thousandths,
            1_000,
            PRICE_ABSOLUTE,
            1_000.0,
            "price_update",
        ))
    }

    fn fields(&mut self, fields: &Fields, before: Option<&Fields>) -> BaselineValues {
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
        BaselineValues::Fields(fields.clone())
    }

    /// Compares a value. A change of at least previous / `share`, or of at least `absolute`, is significant.
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
                // A small change of TVL is never urgent.
                change if event_type == "tvl_change" && change < TVL_ABSOLUTE => Priority::Low,
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
        self.events.push(ExpectedEvent { id, row: self.row.index, priority, values });
    }
}
