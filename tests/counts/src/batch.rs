//! Batches of 100 records with the attributes of the real tables. The same numbers in every run: no random choice.

use events_core::change::BaselineValues;
use events_core::delivery::Snapshot;
use events_core::plan::{Config, PlanTimes, plan};
use events_core::signal::Amount;
use events_core::source::dynamodb::decode_batch;
use events_core::value::{Number, Text};
use serde_json::value::RawValue;

/// Records of a batch: the usual batch size of the event source mapping.
const RECORDS: u64 = 100;
/// The time of the batch, s since 1970.
const NOW_S: u64 = 1_767_225_600;
/// The time of the batch, ms since 1970.
pub(crate) const NOW_MS: i64 = 1_767_225_600_000;
/// Chains of a TVL row.
const CHAINS: [&str; 10] =
    ["ethereum", "arbitrum", "base", "polygon", "optimism", "avax", "bsc", "xdai", "era", "bifrost network"];

/// The kind of rows in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TVL rows with their baselines and the names of their protocols.
    Tvl,
    /// Price rows with their baselines and old images.
    Price,
    /// Metadata rows with their baselines and old images.
    Protocol,
    /// TVL rows without baselines.
    FirstSeen,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Tvl, Self::Price, Self::Protocol, Self::FirstSeen];

    /// The name in the file of counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tvl => "tvl",
            Self::Price => "price",
            Self::Protocol => "protocol",
            Self::FirstSeen => "first-seen",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A batch, and what the store holds for it.
#[derive(Debug)]
pub struct Batch {
    /// The records.
    pub records: Vec<Box<RawValue>>,
    /// The baselines and names of their rows.
    pub snapshot: Snapshot,
    /// The same, with what signals remember of each value.
    pub with_meters: Snapshot,
}

impl Batch {
    /// The batch of a kind.
    pub fn of(kind: Kind) -> Self {
        let snapshot = match kind {
            Kind::FirstSeen => Snapshot::default(),
            Kind::Tvl | Kind::Price | Kind::Protocol => stored(kind),
        };
        let with_meters = add_meters(snapshot.clone());
        Self { records: records(kind, 1), snapshot, with_meters }
    }
}

/// What the store holds after the rows of the hour before.
fn stored(kind: Kind) -> Snapshot {
    let mut before = records(kind, 0);
    if kind == Kind::Tvl {
        before.splice(0..0, records(Kind::Protocol, 0));
    }
    let records = decode_batch(before.iter().map(AsRef::as_ref), NOW_MS);
    let times = PlanTimes { now_ms: NOW_MS, processing_ms: 1.5 };
    let mut snapshot = Snapshot::default();
    let plans = plan(records, &Snapshot::default(), &Config::default(), times);
    for commit in plans.into_iter().filter_map(|plan| plan.commit) {
        snapshot.baselines.insert(commit.baseline_key.clone(), commit.baseline());
        snapshot.metas.extend(commit.writes.into_iter().map(|write| (write.key, write.value)));
    }
    snapshot
}

/// Gives each value of the baselines what signals remember after a few days of ordinary rows.
fn add_meters(mut snapshot: Snapshot) -> Snapshot {
    // A deviation of 0.3 %, and no drift.
    let meter = |value: &Number| {
        let amount = Amount::from(value);
        Text::from(format!("40 9180477 {amount} {} {amount} {} 0", NOW_S - 50_000, NOW_S - 20_000))
    };
    for baseline in snapshot.baselines.values_mut() {
        let Some(mut values) = BaselineValues::from_json(&baseline.values) else { continue };
        match &mut values {
            BaselineValues::Tvl(values) => {
                let chains = values.chains.iter().map(|(chain, value)| (chain.clone(), meter(value)));
                let total = values.total.iter().map(|value| ("".into(), meter(value)));
                values.signals = chains.chain(total).collect();
            }
            BaselineValues::Price(values) => values.signal = Some(meter(&values.price)),
            BaselineValues::Protocol(_) => {}
        }
        baseline.values = values.to_json();
    }
    snapshot
}

/// The rows of one hour: 0 is the hour before, 1 the hour of the batch.
fn records(kind: Kind, hour: u64) -> Vec<Box<RawValue>> {
    let record = |row| match kind {
        Kind::Tvl => tvl(row, hour, r#""tvlPrev1Hour":{"N":"4999999.25"},"#),
        Kind::FirstSeen => tvl(row, hour, ""),
        Kind::Price => price(row, hour),
        Kind::Protocol => protocol(row, hour),
    };
    // The texts are JSON, so no record is missing; a test counts them.
    (0..RECORDS).filter_map(|row| RawValue::from_string(record(row)).ok()).collect()
}

/// A TVL row. In each fourth row the total and two chains change by more than a threshold.
fn tvl(row: u64, hour: u64, previous_hour: &str) -> String {
    let time = NOW_S - 3_600 + 3_600 * hour;
    let moved = |chain: u64| if hour == 1 && row.is_multiple_of(4) && chain < 2 { 20_000 } else { 0 };
    let chain = |(at, name): (u64, &str)| {
        let value = 400_000 + 977 * row + 31_013 * at + moved(at) + 7 * hour;
        format!(r#""{name}":{{"N":"{value}.{:010}"}}"#, 1_234_567_891 + 98_765 * (row + at))
    };
    let chains: Vec<String> = (0..).zip(CHAINS).map(chain).collect();
    let total = 5_000_000 + 9_770 * row + 2 * moved(0) + 70 * hour;
    let image = format!(
        r#"{{{},"tvl":{{"N":"{total}.{:08}"}},{},"source":{{"S":"tvl-adapter"}},"sourceTag":{{"S":"unknown"}},"staking":{{"N":"1234.5678"}},"ethereum-staking":{{"N":"1234.5678"}},{previous_hour}"tvlPrev1Day":{{"N":"4899999.75"}},"SK_ORIGNAL":{{"N":"{}"}}}}"#,
        keys(&format!("hourlyTvl#{row}"), time),
        12_345_678 + row,
        chains.join(","),
        time - 41
    );
    envelope(&format!("hourlyTvl#{row}"), time, time, row, &image, None)
}

/// A price row. Each fourth price changes by more than the threshold.
fn price(row: u64, hour: u64) -> String {
    let pk = format!("asset#ethereum:0x{row:040x}");
    let image = |hour: u64| {
        let moved = if hour == 1 && row.is_multiple_of(4) { 50_000_000 } else { 0 };
        let time = NOW_S - 3_600 + 3_600 * hour;
        format!(
            r#"{{{},"price":{{"N":"1.{:09}"}},"symbol":{{"S":"TKN{row}"}},"decimals":{{"N":"18"}},"confidence":{{"N":"0.99"}},"mcap":{{"N":"{}.5"}},"adapter":{{"S":"uniswapV3"}},"timestamp":{{"N":"{time}"}}}}"#,
            keys(&pk, 0),
            123_456_789 + row + moved + hour,
            900_000 + row,
        )
    };
    let old = hour.checked_sub(1).map(image);
    envelope(&pk, 0, NOW_S - 3_600 + 3_600 * hour, row, &image(hour), old.as_deref())
}

/// A metadata row. Each fourth row changes.
fn protocol(row: u64, hour: u64) -> String {
    let pk = format!("protocol#{row}");
    let image = |hour: u64| {
        let moved = if row.is_multiple_of(4) { hour } else { 0 };
        format!(
            r#"{{{},"name":{{"S":"Protocol {row}"}},"slug":{{"S":"protocol-{row}"}},"symbol":{{"S":"PRO"}},"category":{{"S":"Lending"}},"chains":{{"L":[{{"S":"Ethereum"}},{{"S":"Plasma"}},{{"S":"Arbitrum"}},{{"S":"Polygon"}}]}},"url":{{"S":"https://protocol.example"}},"description":{{"S":"Lends \"anything\" to anybody, version {moved}."}},"twitter":{{"S":"protocol"}},"misrepresentedTokens":{{"BOOL":true}},"listedAt":{{"N":"1648776877"}},"audits":{{"N":"2"}},"oracles":{{"M":{{"name":{{"S":"Chainlink"}},"share":{{"N":"0.75"}}}}}},"timestamp":{{"N":"{}"}}}}"#,
            keys(&pk, 0),
            NOW_S - 3_600 + 3_600 * hour,
        )
    };
    let old = hour.checked_sub(1).map(image);
    envelope(&pk, 0, NOW_S - 3_600 + 3_600 * hour, row, &image(hour), old.as_deref())
}

fn keys(pk: &str, sk: u64) -> String {
    format!(r#""PK":{{"S":"{pk}"}},"SK":{{"N":"{sk}"}}"#)
}

fn envelope(pk: &str, sk: u64, created: u64, row: u64, image: &str, old: Option<&str>) -> String {
    let keys = keys(pk, sk);
    let (name, old) = match old {
        Some(old) => ("MODIFY", format!(r#""OldImage":{old},"#)),
        None => ("INSERT", String::new()),
    };
    let sequence = format!("1111111{created}{row:05}");
    format!(
        r#"{{"eventID":"{row:032x}","eventName":"{name}","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-central-1","dynamodb":{{"ApproximateCreationDateTime":{created},"Keys":{{{keys}}},"NewImage":{image},{old}"SequenceNumber":"{sequence}","SizeBytes":480,"StreamViewType":"NEW_AND_OLD_IMAGES"}},"eventSourceARN":"arn:aws:dynamodb:eu-central-1:000000000000:table/prod-event-table/stream/2026-01-01T00:00:00.000"}}"#
    )
}

#[cfg(test)]
mod tests {
    use events_core::plan::RecordOutcome;

    use super::*;

    #[test]
    fn a_fourth_of_the_rows_with_baselines_makes_events_and_no_row_is_refused() {
        for (kind, rest, events) in [
            (Kind::Tvl, RecordOutcome::Unchanged, 25),
            (Kind::Price, RecordOutcome::Unchanged, 25),
            (Kind::Protocol, RecordOutcome::Unchanged, 25),
            (Kind::FirstSeen, RecordOutcome::FirstSeen, 0),
        ] {
            let batch = Batch::of(kind);
            let records = decode_batch(batch.records.iter().map(AsRef::as_ref), NOW_MS);
            let times = PlanTimes { now_ms: NOW_MS, processing_ms: 1.5 };
            let plans = plan(records, &batch.snapshot, &Config::default(), times);
            let with = |outcome: &RecordOutcome| plans.iter().filter(|plan| plan.outcome == *outcome).count();
            assert_eq!((with(&RecordOutcome::Events), with(&rest)), (events, 100 - events), "{kind:?}");
        }
    }
}
