//! Checks hostile input written by hand: every odd id in every place, every limit of numbers, every depth.

#![allow(clippy::print_stdout, reason = "test code: the last printed input explains a failure")]

use events_fuzz::pool::{ATTRIBUTES, IDS, NUMBERS, long_name};
use events_fuzz::tree::deep;
use events_fuzz::{batch, fixture_reader, names};
use serde_json::{Value, json};

/// A record with a data time of its own: `at` is its second and its sequence number.
fn record(pk: &str, at: u32, image: &Value) -> String {
    let time = 1_767_225_600 + at;
    let sk = if pk.starts_with("hourlyTvl") { time } else { 0 };
    let (keys, at) = (json!({"PK": {"S": pk}, "SK": {"N": sk.to_string()}}), at.to_string());
    json!({"eventID": format!("e{at}"), "eventName": "MODIFY", "eventSourceARN": "arn:s", "dynamodb": {
        "ApproximateCreationDateTime": time, "SequenceNumber": at, "Keys": keys, "NewImage": image}})
    .to_string()
}

/// Checks consecutive rows of one key, as a batch and as a file.
fn check(pk: &str, images: &[Value]) {
    let records: Vec<String> = images.iter().zip(1..).map(|(image, at)| record(pk, at, image)).collect();
    println!("{}", records.join("\n"));
    batch::check(&records.iter().map(String::as_str).collect::<Vec<_>>());
    fixture_reader(records.join("\n").as_bytes());
}

fn ids() -> Vec<String> {
    let mut ids: Vec<String> = IDS.map(str::to_owned).into();
    ids.extend([long_name('a'), long_name('b'), "é".repeat(5_000), "%".repeat(10_000), "x".repeat(120)]);
    ids
}

#[test]
fn an_odd_id_names_nothing_of_another() {
    let ids = ids();
    names::check(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    for some in ids.chunks(3) {
        batch::check_ids(&some.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn an_odd_name_in_any_place_is_carried_or_refused() {
    for id in ids() {
        let row =
            |value: &str| json!({"tvl": {"N": value}, "price": {"N": value}, id.as_str(): {"N": value}});
        let named = |value: &str| json!({"name": {"S": id}, "slug": {"S": id}, "symbol": {"S": id}, "n": {"N": value}});
        for kind in ["hourlyTvl", "protocol", "coingecko", "asset", "dailyTvl", "daily"] {
            check(&format!("{kind}#{id}"), &[row("1"), row("90000")]);
            check(&format!("{kind}#base:1"), &[named("1"), named("2")]);
        }
        check(&format!("asset#{id}:{id}"), &[row("1"), row("2")]);
        check(&id, &[row("1"), row("2")]);
    }
}

#[test]
fn a_number_at_any_limit_is_compared_or_refused() {
    for attribute in ATTRIBUTES {
        let row = |value: &str| json!({"tvl": {"N": "5"}, "price": {"N": "5"}, attribute: {"N": value}});
        let rows = NUMBERS.map(row);
        for pk in ["hourlyTvl#1", "coingecko#x", "protocol#1"] {
            check(pk, &rows);
        }
    }
    for pair in NUMBERS.windows(2) {
        check("coingecko#x", &pair.iter().map(|number| json!({"price": {"N": number}})).collect::<Vec<_>>());
        let rows = pair
            .iter()
            .map(|number| json!({"tvl": {"S": number}, "base": {"S": number}, "era": {"N": number}}));
        check("hourlyTvl#1", &rows.collect::<Vec<_>>());
    }
    let zeros = "0".repeat(300_000);
    for number in
        [format!("1.{zeros}"), format!("{zeros}1"), format!("1{zeros}E-300000"), format!("0.{zeros}1E300001")]
    {
        check("coingecko#x", &["1", &number, "1.1", &number].map(|number| json!({"price": {"N": number}})));
    }
}

#[test]
fn attributes_of_any_depth_are_compared_or_refused() {
    for depth in 0..100 {
        let image = |leaf: Value| json!({"tree": deep(leaf, depth), "name": {"S": "n"}});
        for [one, other] in
            [[json!({"N": "1"}), json!({"N": "2"})], [json!({"NS": ["1"]}), json!({"NS": ["2"]})]]
        {
            let images = [image(one), image(other)];
            check("protocol#1", &images);
            check("hourlyTvl#1", &images);
        }
    }
    let row = r#"{"eventName":"INSERT","dynamodb":{"SequenceNumber":"1","Keys":{"PK":{"S":"protocol#1"},"SK":{"N":"0"}},
        "NewImage":{"tree":"#;
    for depth in [100, 10_000, 50_000] {
        for (open, close) in
            [("[", "]"), (r#"{"dynamodb":"#, "}"), (r#"{"L":["#, "]}"), (r#"{"M":{"a":"#, "}}")]
        {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let record = format!("{row}{nested}}}}}}}");
            batch::check(&[&nested, &nested[..depth], &record]);
            for text in [&nested, &nested[..depth], &record, &record[..depth]] {
                fixture_reader(text.as_bytes());
            }
        }
    }
}

#[test]
fn a_row_of_many_attributes_is_within_the_limits_of_the_queue() {
    let row = |value: u32| {
        let chains =
            (0..400).map(|at| (format!("chain {at}\u{ffff}"), json!({"N": (value + at).to_string()})));
        Value::Object(chains.chain([("tvl".to_owned(), json!({"N": value.to_string()}))]).collect())
    };
    check("hourlyTvl#1", &[row(1), row(90_000)]);
    check("protocol#1", &[row(1), row(2)]);
}
