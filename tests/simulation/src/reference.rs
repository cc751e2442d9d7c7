//! A second, independent implementation of what a row must give. It uses whole numbers, no JSON and no shared code.
//!
//! Only the hash of an id comes from the code under test; golden tests elsewhere check it. What an id is made of is
//! computed here.

use std::collections::BTreeMap;
use std::rc::Rc;

use events_core::change::ChangeBaseline;
use events_core::event::Priority;
use events_core::value::{EventName, of_event};

use crate::rows::{Fields, Kind, Price, Row, Tvl, Values};

/// What a kind of value counts in, and when its change is significant.
struct Measure {
    event_type: &'static str,
    /// A change of at least previous / `share` is significant.
    share: i64,
    /// So is a change of at least `absolute`.
    absolute: i64,
    /// Decimal exponent of one unit, USD.
    exponent: i32,
    /// A smaller change has priority low.
    least: i64,
}

/// 1 % or $10,000.
const TVL: Measure =
    Measure { event_type: "tvl_change", share: 100, absolute: 10_000, exponent: 0, least: 10_000 };
/// 0.1 % or $0.01, counted in thousandths of a dollar.
const PRICE: Measure =
    Measure { event_type: "price_update", share: 1_000, absolute: 10, exponent: -3, least: 0 };

/// The rules that a scenario can set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What values are compared with.
    pub change_baseline: ChangeBaseline,
    /// True if every change of metadata makes an event.
    pub protocol_always: bool,
    /// How long baselines of values live, s.
    pub baseline_ttl: u64,
    /// How long metadata and its baselines live, s.
    pub meta_ttl: u64,
}

/// A baseline, as the reference computes it.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedBaseline {
    /// Index of the row that it comes from.
    pub row: usize,
    time: i64,
    stream: usize,
    sequence: u128,
    /// How many rows of the same time were applied before.
    occurrence: u32,
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

/// Compares a row that is decoded at `now_ms` with the baseline of its key.
pub(crate) fn expected_outcome(
    row: &Row,
    baseline: Option<&ExpectedBaseline>,
    rules: Rules,
    now_ms: i64,
) -> ExpectedOutcome {
    let Kind::Values(values) = &row.kind else { return ExpectedOutcome::NotARow };
    let time = row.time_ms(now_ms);
    let ttl = if matches!(values, Values::Protocol { .. }) { rules.meta_ttl } else { rules.baseline_ttl };
    if row.created_ms.is_some_and(|created| created > time + ttl as i64 * 1_000) {
        return ExpectedOutcome::Late;
    }
    match baseline.map(|baseline| order(row, time, baseline)) {
        Some(Order::Older) => return ExpectedOutcome::Late,
        Some(Order::Same) => return ExpectedOutcome::AlreadyApplied,
        Some(Order::Newer) => {}
        None if has_old(values) && row.old_time_ms.is_some_and(|old| old > time) => {
            return ExpectedOutcome::Late;
        }
        None => {}
    }
    let same_time = baseline.filter(|baseline| baseline.time == time);
    let occurrence = same_time.map_or(0, |baseline| baseline.occurrence + 1);
    let comparison = Comparison { row, rules, time, occurrence, events: Vec::new() };
    let (events, values) = comparison.compare(values, baseline.map(|baseline| &baseline.values));
    let (stream, sequence) = (row.stream, row.sequence);
    let next = ExpectedBaseline { row: row.index, time, stream, sequence, occurrence, values };
    ExpectedOutcome::Applied(events, Rc::new(next))
}

fn has_old(values: &Values) -> bool {
    match values {
        Values::Tvl(tvl) => tvl.old.is_some(),
        Values::Price(price) => price.old.is_some(),
        Values::Protocol { old, .. } => old.is_some(),
    }
}

enum Order {
    Older,
    Same,
    Newer,
}

fn order(row: &Row, time: i64, baseline: &ExpectedBaseline) -> Order {
    if time < baseline.time {
        Order::Older
    } else if time == baseline.time && row.stream == baseline.stream && row.sequence <= baseline.sequence {
        Order::Same
    } else {
        Order::Newer
    }
}

/// A number as event ids have it: digits without zeros at the end, and the exponent.
fn canonical(mut digits: i64, mut exponent: i32) -> String {
    if digits == 0 {
        return "0e0".to_owned();
    }
    while digits % 10 == 0 {
        (digits, exponent) = (digits / 10, exponent + 1);
    }
    format!("{digits}e{exponent}")
}

/// Metadata as event ids have it. No name and no value here needs an escape.
fn canonical_fields(fields: &Fields) -> String {
    let fields = fields.iter().map(|(name, value)| format!(r#""{name}":{{"s":"{value}"}}"#));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

struct Comparison<'a> {
    row: &'a Row,
    rules: Rules,
    time: i64,
    occurrence: u32,
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
            Some(value) => Some(self.moved(None, total, value, &TVL)),
            None => total,
        };
        let mut next = BTreeMap::new();
        for (chain, value) in &tvl.chains {
            let reference = before.and_then(|chains| chains.get(chain)).copied();
            match value {
                Some(value) => {
                    let moved = self.moved(Some(chain), reference, *value, &TVL);
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
        let came = came.map(|(chain, value)| (chain, (value, canonical(value, 0))));
        let went = went.map(|(chain, value)| (chain, (value, String::new())));
        let changed: BTreeMap<&str, (i64, String)> = came.chain(went).collect();
        for (chain, (value, in_id)) in changed {
            if value.abs() >= TVL.absolute {
                self.event("protocol_update", Some(chain), &in_id, Priority::Medium, None);
            }
        }
    }

    fn price(&mut self, price: &Price, before: Option<Value>) -> BaselineValues {
        let old = price.old.map(|last| Value { last, compare: last });
        let asset = self.row.pk.strip_prefix("asset#").and_then(|id| id.split_once(':'));
        let chain = asset.map(|(chain, _)| chain);
        BaselineValues::Price(self.moved(chain, before.or(old), price.thousandths, &PRICE))
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
                self.event("protocol_update", None, &canonical_fields(fields), priority, None);
            }
        }
        BaselineValues::Fields(fields.clone())
    }

    /// Compares a value.
    fn moved(
        &mut self,
        chain: Option<&str>,
        reference: Option<Value>,
        current: i64,
        measure: &Measure,
    ) -> Value {
        let fresh = Value { last: current, compare: current };
        let Some(Value { compare: previous, .. }) = reference else { return fresh };
        let (change, size) = ((current - previous).abs(), previous.abs());
        if change != 0 && (change * measure.share >= size || change >= measure.absolute) {
            let priority = match change {
                change if change < measure.least => Priority::Low,
                change if size == 0 || change * 2 > size => Priority::High,
                change if change * 10 > size => Priority::Medium,
                _ => Priority::Low,
            };
            let dollars = |value: i64| value as f64 / 10f64.powi(-measure.exponent);
            let values = (dollars(previous), dollars(current));
            let in_id = canonical(current, measure.exponent);
            self.event(measure.event_type, chain, &in_id, priority, Some(values));
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
        value: &str,
        priority: Priority,
        values: Option<(f64, f64)>,
    ) {
        let id = of_event(&EventName {
            pk: &self.row.pk,
            data_time_ms: self.time,
            event_type,
            chain,
            value,
            occurrence: self.occurrence,
        });
        self.events.push(ExpectedEvent { id, row: self.row.index, priority, values });
    }
}
