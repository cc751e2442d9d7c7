//! Tests of [`super`].

use super::*;

fn image(json: &str) -> Image<'_> {
    serde_json::from_str(json).unwrap()
}

fn tvl(json: &str) -> TvlRow {
    tvl_row("1".into(), &image(json)).unwrap()
}

#[test]
fn chains_are_distinguished_from_sections_and_envelope() {
    let row = tvl(r#"{"PK":{"S":"hourlyTvl#1"},"SK":{"N":"5"},"SK_ORIGNAL":{"N":"4"},"tvl":{"N":"9"},
        "tvlPrev1Day":{"N":"8"},"ethereum":{"N":"1"},"xdai":{"N":"2"},"era":{"N":"3"},"bifrost network":{"N":"4"},
        "staking":{"N":"5"},"ethereum-staking":{"N":"5"},"locked":{"N":"6"},"xdai-locked":{"N":"6"},
        "totalCirculating":{"N":"7"},"source":{"S":"a"},"note":{"S":"b"},"timestamp":{"N":"1"},"Stake":{"N":"1"}}"#);
    assert_eq!(row.chains.keys().collect::<Vec<_>>(), ["bifrost network", "era", "ethereum", "xdai"]);
    assert_eq!(row.total.unwrap().to_f64(), 9.0);
}

#[test]
fn a_value_that_is_not_finite_is_unknown_not_gone() {
    let row = tvl(r#"{"tvl":{"S":"NaN"},"base":{"S":"-Infinity"},"era":{"N":"1"},"label":{"S":"nano"}}"#);
    assert_eq!(row.total, None);
    assert_eq!(row.unknown_chains, BTreeSet::from(["base".to_owned()]));
    assert_eq!(row.chains.len(), 1);
    assert!(tvl(r#"{"tvl":{"S":"NaN"}}"#).is_empty());
}

#[test]
fn a_previous_hour_of_zero_means_unknown() {
    assert_eq!(tvl(r#"{"tvlPrev1Hour":{"N":"0.0"}}"#).previous_hour, None);
    assert!(tvl(r#"{"tvlPrev1Hour":{"N":"-3"}}"#).previous_hour.is_some());
}

#[test]
fn a_number_that_dynamodb_cannot_hold_is_refused_with_its_attribute() {
    let error = tvl_row("1".into(), &image(r#"{"base":{"N":"1E+400"}}"#)).unwrap_err();
    assert_eq!(error.to_string(), "attribute \"base\": magnitude outside 1E-130 to 9.99E+125");
}

#[test]
fn a_value_nested_deeper_than_dynamodb_allows_is_refused() {
    let read = |levels: usize, open: &str, close: &str| {
        let nested = format!(r#"{{"t":{}{{"NS":["1"]}}{}}}"#, open.repeat(levels), close.repeat(levels));
        protocol_row("1".into(), &image(&nested))
    };
    for (open, close) in [(r#"{"L":[{"NULL":true},"#, "]}"), (r#"{"M":{"b":{"S":"x"},"a":"#, "}}")] {
        assert!(read(32, open, close).is_ok());
        let refused = read(33, open, close).unwrap_err();
        assert_eq!(refused.to_string(), "attribute \"t\": lists and maps nested more than 32 deep");
    }
}

#[test]
fn of_several_faults_the_first_by_name_is_reported() {
    let faulty = image(r#"{"c":{"N":"?"},"b":{"N":"1E+400"},"a":{"N":"x"},"d":{"N":""},"e":{"N":"1"}}"#);
    let nested = image(r#"{"n":{"M":{"c":{"N":"?"},"b":{"N":"1E+400"},"d":{"N":"?"},"e":{"N":"-"}}}}"#);
    let protocol = |image: &Image<'_>| protocol_row("1".into(), image).unwrap_err();
    let expected = RowError::Number("a".into(), NumberError::Syntax);
    for _ in 0..20 {
        assert_eq!(tvl_row("1".into(), &faulty.clone()).unwrap_err(), expected);
        assert_eq!(protocol(&faulty.clone()), expected);
        assert_eq!(protocol(&nested.clone()), RowError::Number("n".into(), NumberError::OutOfRange));
    }
}

#[test]
fn a_price_image_is_a_price_a_redirect_or_without_value() {
    let read = |json| price_row("t".into(), None, &image(json));
    assert!(matches!(read(r#"{"redirect":{"S":"coingecko#dai"}}"#), Ok(PriceImage::Redirect)));
    assert!(matches!(read(r#"{"price":{"S":"NaN"}}"#), Ok(PriceImage::NoValue)));
    assert!(matches!(read(r#"{"symbol":{"S":"X"}}"#), Ok(PriceImage::NoValue)));
    assert!(matches!(read(r#"{"redirect":{"S":"x"},"price":{"S":"NaN"}}"#), Ok(PriceImage::NoValue)));
    assert!(matches!(read(r#"{"price":{"N":"-1"}}"#), Err(RowError::NegativePrice)));
    let Ok(PriceImage::Price(row)) = read(
        r#"{"price":{"N":"0.998"},"symbol":{"S":""},"mcap":{"N":"7"},"decimals":{"N":"18"},"redirect":{"S":"x"}}"#,
    ) else {
        panic!("a row with a price is a price")
    };
    assert_eq!(
        (row.price.to_f64(), row.symbol, row.market_cap, row.decimals),
        (0.998, None, Some(7.0), Some(18))
    );
    assert_eq!([18.5, -1.0, 256.0].map(small_integer), [None; 3]);
}

#[test]
fn metadata_with_the_same_meaning_compares_equal() {
    let read = |json| protocol_row("1".into(), &image(json)).unwrap().fields;
    assert_eq!(
        read(
            r#"{"PK":{"S":"a"},"timestamp":{"N":"1"},"chains":{"L":[{"S":"Base"},{"S":"Aurora"}]},"n":{"N":"1.0"},"t":{"SS":["b","a"]}}"#
        ),
        read(
            r#"{"PK":{"S":"a"},"timestamp":{"N":"2"},"chains":{"SS":["Aurora","Base"]},"n":{"N":"1.00"},"t":{"SS":["a","b"]}}"#
        ),
    );
    assert_ne!(
        read(r#"{"oracles":{"L":[{"S":"a"},{"S":"b"}]}}"#),
        read(r#"{"oracles":{"L":[{"S":"b"},{"S":"a"}]}}"#)
    );
}
