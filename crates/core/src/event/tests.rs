//! Tests of [`super`].

use serde_json::Value;

use super::*;

fn tvl() -> Event {
    Event {
        event_id: "u-1".into(),
        event_type: EventType::TvlChange,
        timestamp: 1,
        source: ChangeSource::Dynamodb,
        version: VERSION,
        metadata: Metadata {
            correlation_id: "hourlyTvl#1-0".into(),
            confidence: 0.9,
            processing_time: 0.5,
            retry_count: 0,
            priority: Priority::High,
            signal: None,
            tags: vec!["tvl".into(), "1".into()],
        },
        data: Data::Tvl(TvlData {
            protocol_id: "1".into(),
            protocol_name: None,
            protocol_slug: None,
            chain: Some("base".into()),
            previous_tvl: 1.0,
            current_tvl: 2.0,
            change_percent: 100.0,
            change_absolute: 1.0,
            breakdown: None,
            previous_timestamp: None,
        }),
    }
}

fn price(previous_price: f64, current_price: f64) -> Data {
    Data::Price(PriceData {
        token_id: "t".into(),
        symbol: Some("DAI".into()),
        chain: Some("xdai".into()),
        previous_price,
        current_price,
        change_percent: 200.0,
        change_absolute: 2.0,
        volume_24h: None,
        market_cap: None,
        decimals: None,
        previous_timestamp: None,
    })
}

/// A protocol update without changes.
fn update_without_changes() -> Data {
    Data::Protocol(ProtocolData {
        protocol_id: "1".into(),
        protocol_name: Some("Lido".into()),
        protocol_slug: None,
        update_type: UpdateType::Metadata,
        changes: vec![],
        chain: Some("era".into()),
    })
}

fn data(event: &mut Event) -> &mut TvlData {
    match &mut event.data {
        Data::Tvl(data) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn channels_are_general_then_specific_then_alerts() {
    let mut event = tvl();
    data(&mut event).protocol_slug = Some("aave".into());
    let all =
        ["events:tvl", "events:protocol:1", "events:protocol:aave", "events:chain:base:tvl", "events:alerts"];
    assert_eq!(event.channels(), all);
    data(&mut event).protocol_slug = Some("1".into());
    event.metadata.priority = Priority::Medium;
    assert_eq!(event.channels(), ["events:tvl", "events:protocol:1", "events:chain:base:tvl"]);
}

#[test]
fn an_escaped_chain_cannot_reach_another_channel() {
    let mut event = tvl();
    data(&mut event).chain = Some("x:prices\n*".into());
    assert!(event.channels().contains(&"events:chain:x%3Aprices\n*:tvl".to_owned()));
}

#[test]
fn json_holds_only_what_sqs_accepts() {
    let mut event = tvl();
    data(&mut event).protocol_name = Some("a\u{0}\u{1f}\u{fffe}\u{ffff}\u{10ffff}é\"".into());
    let json = event.to_json().unwrap();
    assert!(json.contains(r#""a\u0000\u001f\ufffe\uffff"#), "{json}");
    let back: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(back["data"]["protocolName"], "a\u{0}\u{1f}\u{fffe}\u{ffff}\u{10ffff}é\"");
}

#[test]
fn an_invalid_event_is_refused() {
    type Spoil = fn(&mut Event);
    let spoils: [(Spoil, &str); 9] = [
        (|event| data(event).protocol_id.clear(), "or token is empty"),
        (|event| event.event_id.clear(), "or token is empty"),
        (|event| event.timestamp = 0, "timestamp"),
        (|event| event.metadata.confidence = f64::NAN, "confidence"),
        (|event| event.metadata.processing_time = -1.0, "processing time"),
        (|event| event.metadata.tags.truncate(1), "tag"),
        (|event| data(event).change_percent = f64::INFINITY, "not finite"),
        (|event| data(event).breakdown = Some([("a".into(), f64::NAN)].into()), "not finite"),
        (|event| event.event_type = EventType::PriceUpdate, "eventType does not match data"),
    ];
    assert_eq!(tvl().validate(), Ok(()));
    for (spoil, expected) in spoils {
        let mut event = tvl();
        spoil(&mut event);
        let error = event.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should contain: {expected}");
    }
}

#[test]
fn a_price_below_zero_and_an_update_without_changes_are_refused() {
    let mut event = tvl();
    event.event_type = EventType::ProtocolUpdate;
    event.data = update_without_changes();
    assert_eq!(event.validate(), Err(InvalidEvent("the protocol update has no changes".into())));
    event.event_type = EventType::PriceUpdate;
    for (previous, current, valid) in [(-1.0, 1.0, false), (1.0, -1.0, false), (0.0, 0.0, true)] {
        event.data = price(previous, current);
        let expected = if valid { Ok(()) } else { Err(InvalidEvent("a price is below zero".into())) };
        assert_eq!(event.validate(), expected, "{previous} to {current}");
    }
}

#[test]
fn a_processing_time_of_zero_is_valid() {
    let mut event = tvl();
    event.metadata.processing_time = 0.0;
    assert_eq!(event.validate(), Ok(()));
}

#[test]
fn an_event_states_its_chain_name_and_change() {
    let mut event = tvl();
    assert_eq!((event.chain(), event.name(), event.change_percent()), (Some("base"), None, Some(100.0)));
    data(&mut event).protocol_name = Some("Aave".into());
    assert_eq!(event.name(), Some("Aave"));
    event.data = price(1.0, 2.0);
    assert_eq!(
        (event.chain(), event.name(), event.change_percent()),
        (Some("xdai"), Some("DAI"), Some(200.0))
    );
    event.data = update_without_changes();
    assert_eq!((event.chain(), event.name(), event.change_percent()), (Some("era"), Some("Lido"), None));
}

#[test]
fn names_in_attributes_are_those_in_json() {
    for priority in [Priority::Low, Priority::Medium, Priority::High] {
        assert_eq!(serde_json::to_value(priority).unwrap(), priority.name());
    }
    for event_type in [EventType::PriceUpdate, EventType::TvlChange, EventType::ProtocolUpdate] {
        assert_eq!(serde_json::to_value(event_type).unwrap(), event_type.name());
    }
}
