//! Turns bytes into records that decode, so that the fuzzer's choices shape rows instead of JSON syntax.

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

use crate::pool::{ATTRIBUTES, IDS, NUMBERS, long_name};

/// Most attributes of an image, and most members of a list or map.
const MOST_MEMBERS: usize = 5;
/// Greatest depth of an attribute that is built level by level. One choice can add up to [`DEEP`] levels at once.
const MOST_DEPTH: usize = 4;
/// More levels than DynamoDB lets attributes nest.
const DEEP: usize = 60;
/// The earliest time of generated rows, seconds since 1970.
const START: u32 = 1_767_225_600;

/// Makes at most `most` records from the bytes, or fewer if the bytes run out.
pub fn records(data: &[u8], most: usize) -> Vec<String> {
    let mut bytes = Unstructured::new(data);
    let mut records = Vec::new();
    while records.len() < most && !bytes.is_empty() {
        let Ok(record) = record(&mut bytes, records.len()) else { break };
        records.push(record.to_string());
    }
    records
}

fn record(bytes: &mut Unstructured<'_>, at: usize) -> Result<Value> {
    let kind = *bytes.choose(&[
        "hourlyTvl",
        "hourlyTvl",
        "protocol",
        "coingecko",
        "asset",
        "asset",
        "dailyTvl",
        "x",
    ])?;
    let id = if kind == "asset" { format!("{}:{}", name(bytes)?, name(bytes)?) } else { name(bytes)? };
    let pk = format!("{kind}#{id}");
    let time = START + u32::from(bytes.arbitrary::<u8>()?);
    let sk = if kind == "hourlyTvl" { time.to_string() } else { "0".to_owned() };
    let mut change = json!({
        "Keys": {"PK": {"S": pk}, "SK": {"N": sk}},
        "SequenceNumber": format!("{}", 100 + at + usize::from(bytes.arbitrary::<u8>()? / 64)),
        "NewImage": image(bytes)?,
    });
    if bytes.ratio(1, 3)? {
        change["OldImage"] = image(bytes)?;
    }
    if bytes.ratio(2, 3)? {
        change["ApproximateCreationDateTime"] = json!(time);
    }
    let mut record = json!({"eventName": "MODIFY", "dynamodb": change});
    if bytes.ratio(1, 2)? {
        record["eventID"] = json!(format!("{}{at}", name(bytes)?));
    }
    if bytes.ratio(1, 3)? {
        record["eventSourceARN"] = json!(name(bytes)?);
    }
    Ok(record)
}

/// A name from the pool, two of them joined, a long name, or any text.
fn name(bytes: &mut Unstructured<'_>) -> Result<String> {
    Ok(match bytes.int_in_range(0..=9)? {
        0..=4 => (*bytes.choose(&IDS)?).to_owned(),
        5 => format!("{}{}", bytes.choose(&IDS)?, bytes.choose(&IDS)?),
        6 => long_name(*bytes.choose(&['a', 'b'])?),
        _ => bytes.arbitrary()?,
    })
}

fn image(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let mut image = Map::new();
    for _ in 0..bytes.int_in_range(0..=MOST_MEMBERS)? {
        let key = if bytes.ratio(1, 4)? { name(bytes)? } else { (*bytes.choose(&ATTRIBUTES)?).to_owned() };
        image.insert(key, attribute(bytes, MOST_DEPTH)?);
    }
    Ok(Value::Object(image))
}

fn attribute(bytes: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let types = if depth == 0 { 12 } else { 15 };
    Ok(match bytes.int_in_range(0..=types)? {
        0..=6 => json!({"N": number(bytes)?}),
        7..=8 => json!({"S": name(bytes)?}),
        9 => json!({"BOOL": bytes.arbitrary::<bool>()?}),
        10 => json!({"NULL": true}),
        11 => json!({"NS": several(bytes, number)?}),
        12 => json!({"SS": several(bytes, name)?}),
        13 => json!({"L": several(bytes, |bytes| attribute(bytes, depth - 1))?}),
        14 => {
            let pairs = several(bytes, |bytes| Ok((name(bytes)?, attribute(bytes, depth - 1)?)))?;
            json!({"M": pairs.into_iter().collect::<Map<_, _>>()})
        }
        _ => deep(attribute(bytes, depth - 1)?, bytes.int_in_range(0..=DEEP)?),
    })
}

/// Wraps an attribute in `levels` lists and maps, alternating.
pub fn deep(attribute: Value, levels: usize) -> Value {
    (0..levels).fold(attribute, |inner, level| match level % 2 {
        0 => json!({"L": [inner]}),
        _ => json!({"M": {"a": inner}}),
    })
}

fn several<T>(
    bytes: &mut Unstructured<'_>,
    mut one: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..bytes.int_in_range(0..=MOST_MEMBERS)?).map(|_| one(bytes)).collect()
}

/// A number from the pool, a usual value, or one with many digits or any exponent.
fn number(bytes: &mut Unstructured<'_>) -> Result<String> {
    Ok(match bytes.int_in_range(0..=5)? {
        0..=2 => (*bytes.choose(&NUMBERS)?).to_owned(),
        3 => format!("{}", bytes.int_in_range(-2_000_000..=2_000_000)?),
        4 => format!("{}.{}", bytes.arbitrary::<i16>()?, bytes.arbitrary::<u64>()?),
        _ => format!("{}E{}", bytes.arbitrary::<i64>()?, bytes.arbitrary::<i8>()?),
    })
}
