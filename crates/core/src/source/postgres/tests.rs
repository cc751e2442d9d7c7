use super::*;

fn entry(kind: &str, id: &str, body: &str) -> OutboxEntry {
    let (kind, id, body) = (kind.to_owned(), id.to_owned(), body.to_owned());
    OutboxEntry { kind, id, version: 7, at: 1_000, created: 2_000, silent: false, body }
}

fn decoded(kind: &str, id: &str, body: &str) -> Result<SourceRow, String> {
    match decode(&entry(kind, id, body), "postgres:1/app").content {
        RecordContent::Row(row) => Ok(*row),
        RecordContent::Undecodable(broken) => Err(broken.reason),
        RecordContent::Skipped(reason) => Err(reason.name().to_owned()),
    }
}

fn number(text: &str) -> Number {
    text.parse().unwrap()
}

#[test]
fn a_price_has_what_the_triggers_compared_it_with() {
    let body = r#"{"value": 1.1011, "previous": 1.1, "previousAt": 900, "percent": 0.1, "absolute": 0.01, "occurrence": 2,
        "extra": {"symbol": "USDC", "decimals": 6, "confidence": 0.99, "chain": "ignored"}}"#;
    let row = decoded("price", "base:0x1", body).unwrap();
    assert_eq!((row.pk.as_str(), row.stream.as_str()), ("asset#base:0x1", "postgres:1/app"));
    assert_eq!((row.data_time_ms, row.created_ms, row.sequence.as_str()), (1_000, Some(2_000), "7"));
    assert_eq!(row.source, ChangeSource::Postgres);
    let Row::Price(price) = &row.row else { panic!("{row:?}") };
    assert_eq!(
        (price.price, price.decimals, price.chain.as_deref()),
        (number("1.1011"), Some(6), Some("base"))
    );
    let Some(PreviousRow { row: Row::Price(previous), data_time_ms }) = &row.previous else {
        panic!("{row:?}")
    };
    assert_eq!((previous.price, *data_time_ms), (number("1.1"), Some(900)));
    assert_eq!(row.judgement.as_ref().unwrap().thresholds, Some((number("0.1"), number("0.01"))));
    assert_eq!(row.judgement.unwrap().occurrence, 2);
}

#[test]
fn a_token_without_a_chain_in_its_id_has_the_chain_of_its_column() {
    let body = r#"{"value": 2, "previous": 1, "previousAt": 1, "percent": 1, "absolute": 1, "occurrence": 0, "extra": {"chain": "base"}}"#;
    let row = decoded("price", "usd-coin", body).unwrap();
    let Row::Price(price) = &row.row else { panic!("{row:?}") };
    assert_eq!((row.pk.as_str(), price.chain.as_deref()), ("coingecko#usd-coin", Some("base")));
}

#[test]
fn tvl_has_its_total_its_chains_and_the_chains_that_are_gone() {
    let body = r#"{"parts": {"": [30, 20, 800, 0], "base": [10, null, null, 1]}, "gone": {"xdai": [5, 850, 3]}, "known": true,
        "percent": 1, "absolute": 10000}"#;
    let row = decoded("tvl", "7", body).unwrap();
    let Row::Tvl(tvl) = &row.row else { panic!("{row:?}") };
    assert_eq!(tvl.total, Some(number("30")));
    assert_eq!(tvl.chains, [("base".to_owned(), number("10"))].into());
    let Some(PreviousRow { row: Row::Tvl(previous), data_time_ms }) = &row.previous else {
        panic!("{row:?}")
    };
    assert_eq!((previous.total, *data_time_ms), (Some(number("20")), Some(850)));
    assert_eq!(previous.chains, [("xdai".to_owned(), number("5"))].into());
    assert_eq!(row.judgement.unwrap().occurrence, 3);
}

#[test]
fn a_protocol_that_was_not_known_has_no_previous_row() {
    let body = r#"{"parts": {"base": [10, null, null, 0]}, "known": false, "percent": 1, "absolute": 10000}"#;
    assert_eq!(decoded("tvl", "7", body).unwrap().previous, None);
}

#[test]
fn fields_have_the_names_and_the_numbers_of_dynamodb() {
    let body = r#"{"fields": {"dead_from": 1700000000.10, "chains": ["b", "a", "b"], "_x_": true, "audit": {"by": ["z"]}},
        "previous": {"name": "A\u00e9"}, "occurrence": 0}"#;
    let row = decoded("protocol", "parent#a", body).unwrap();
    assert_eq!(row.pk, "protocol#parent#a");
    let Row::Protocol(protocol) = &row.row else { panic!("{row:?}") };
    let text = |text: &str| Field::Text(text.into());
    assert_eq!(protocol.fields["deadFrom"], Field::Number(number("1700000000.1")));
    assert_eq!(protocol.fields["chains"], Field::List(vec![text("a"), text("b")]));
    assert_eq!(protocol.fields["_x"], Field::Bool(true));
    assert_eq!(
        protocol.fields["audit"],
        Field::Map([("by".to_owned(), Field::List(vec![text("z")]))].into())
    );
    let Some(PreviousRow { row: Row::Protocol(previous), .. }) = &row.previous else { panic!("{row:?}") };
    assert_eq!(previous.text("name"), Some("Aé"));
}

#[test]
fn a_broken_entry_says_what_is_wrong_and_is_kept_whole() {
    let deep = format!(r#"{{"fields": {{"a": {}1{}}}, "occurrence": 0}}"#, "[".repeat(40), "]".repeat(40));
    for (kind, body, reason) in [
        ("price", r#"{"value": 1"#, "EOF"),
        ("price", r#"{"value": "1", "percent": 1, "absolute": 1, "occurrence": 0}"#, "value is \"1\""),
        ("price", r#"{"value": -1, "percent": 1, "absolute": 1, "occurrence": 0}"#, "value is negative"),
        (
            "price",
            &format!(r#"{{"value": 1.{}, "percent": 1, "absolute": 1, "occurrence": 0}}"#, "1".repeat(38)),
            "38",
        ),
        ("tvl", r#"{"parts": {"base": [1]}, "known": true, "percent": 1, "absolute": 1}"#, "body: "),
        ("protocol", &deep, "nested deeper than 32"),
        ("yield", "{}", "kind is \"yield\"; accepted are price, tvl and protocol"),
    ] {
        let error = decoded(kind, "7", body).unwrap_err();
        assert!(error.contains(reason), "{error}");
        let raw = decode(&entry(kind, "7", body), "postgres:1/app").raw;
        let raw: BTreeMap<String, OutboxEntry> = serde_json::from_str(&raw).unwrap();
        assert_eq!(raw["postgres"], entry(kind, "7", body));
    }
    let negative = OutboxEntry { version: -1, ..entry("price", "7", "{}") };
    let RecordContent::Undecodable(broken) = decode(&negative, "d").content else { panic!() };
    assert_eq!(
        (broken.reason.as_str(), broken.record_id.as_str()),
        ("version is -1; it is at least 0", "d/price#7@-1")
    );
}
