//! Tests of [`super`].

use super::*;
use bigdecimal::BigDecimal;
use proptest::prelude::*;

fn n(text: &str) -> Number {
    text.parse().unwrap()
}

/// The number as the decimal library holds it.
fn big(number: &Number) -> BigDecimal {
    BigDecimal::new(number.mantissa.into(), -i64::from(number.exponent))
}

#[test]
fn numbers_of_the_stream_are_read() {
    for (text, value) in [
        ("33988709837.305595", 33_988_709_837.305_595),
        ("1E+21", 1e21),
        ("1e-20", 1e-20),
        ("-0.0", 0.0),
        ("+7", 7.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("12345678901234567890123456789012345678", 1.234_567_890_123_456_8e37),
        ("9.9999999999999999999999999999999999999E+125", 1e126),
        ("1E-130", 1e-130),
        ("0E+999999", 0.0),
        ("-0E-999999999999999999", 0.0),
        ("000000000000000000000000000000000000000000001.10000000000000000000000000000000000000000000", 1.1),
    ] {
        assert_eq!(n(text).to_f64(), value, "{text}");
    }
}

#[test]
fn numbers_that_dynamodb_cannot_hold_are_refused() {
    for (text, why) in [
        ("", NumberError::Syntax),
        ("NaN", NumberError::Syntax),
        ("1_000", NumberError::Syntax),
        ("1e", NumberError::Syntax),
        ("--1", NumberError::Syntax),
        ("1Eabcdefghijklmnopqrst", NumberError::Syntax),
        ("0x10", NumberError::Syntax),
        (" 1", NumberError::Syntax),
        ("١", NumberError::Syntax),
        ("123456789012345678901234567890123456789", NumberError::TooManyDigits),
        ("1E+126", NumberError::OutOfRange),
        ("1E-131", NumberError::OutOfRange),
        ("1E+999999999999", NumberError::OutOfRange),
        ("1E-99999999999999999999999", NumberError::OutOfRange),
    ] {
        assert_eq!(text.parse::<Number>().unwrap_err(), why, "{text}");
    }
}

#[test]
fn insignificant_zeros_are_dropped() {
    let zeros = "0".repeat(300_000);
    for (text, same) in [
        ("0E-999999999999999999".to_owned(), "0"),
        ("-0E+999999999999999999".to_owned(), "0"),
        (format!("1.{zeros}"), "1"),
        (format!("-{zeros}12.30"), "-12.3"),
        (format!("7{zeros}E-300000"), "7"),
        (format!("0.{zeros}7E300001"), "7"),
    ] {
        let (number, same) = (n(&text), n(same));
        assert_eq!((number, number.to_f64()), (same, same.to_f64()));
        let change = Change::between(&n("1"), &number);
        assert_eq!(change.absolute(), same.to_f64() - 1.0);
        assert!(change.reaches_percent(&number) || !number.is_zero());
    }
}

#[test]
fn a_change_of_exactly_the_threshold_reaches_it() {
    let change = Change::between(&n("1.1"), &n("1.1011"));
    // In f64 (1.1011 − 1.1) × 100 is below 0.1 × 1.1.
    assert!(change.reaches_percent(&n("0.1")));
    assert!(!Change::between(&n("1.1"), &n("1.1010999999999999")).reaches_percent(&n("0.1")));
    assert!(!Change::between(&n("100"), &n("110")).exceeds_percent(10));
    assert!(Change::between(&n("100"), &n("110.0000000000000000001")).exceeds_percent(10));
}

#[test]
fn from_zero_every_change_is_a_hundred_percent() {
    let up = Change::between(&n("0"), &n("1E-18"));
    assert_eq!((up.percent(), up.absolute()), (100.0, 1e-18));
    assert!(up.reaches_percent(&n("100")) && !up.reaches_percent(&n("101")));
    assert!(up.exceeds_percent(99) && !up.exceeds_percent(100));
    assert_eq!(Change::between(&n("0"), &n("-5")).percent(), -100.0);
    assert_eq!(Change::between(&n("0"), &n("0.00")).percent(), 0.0);
    assert!(Change::between(&n("0"), &n("-0")).is_zero());
}

#[test]
fn a_negative_base_counts_by_its_magnitude() {
    assert_eq!(Change::between(&n("-200"), &n("-100")).percent(), 50.0);
    assert_eq!(Change::between(&n("-100"), &n("-200")).percent(), -100.0);
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_without_panic(text in "[-+0-9.eE_ ]{0,60}|\\PC{0,20}") {
        if let Ok(number) = text.parse::<Number>() {
            prop_assert!(number.to_f64().is_finite());
            let again: Number = big(&number).to_string().parse().unwrap();
            prop_assert_eq!(&again, &number);
            prop_assert_eq!(again.to_f64(), number.to_f64());
        }
    }

    #[test]
    fn arithmetic_at_any_scale_is_finite(a in -999_999i64..999_999, x in -130i64..=120, b in -999_999i64..999_999, y in -130i64..=120) {
        let change = Change::between(&n(&format!("{a}E{x}")), &n(&format!("{b}E{y}")));
        prop_assert!(change.percent().is_finite() && change.absolute().is_finite());
    }

    #[test]
    fn a_change_of_exactly_a_percentage_always_reaches_it(previous in 1u64..u64::MAX, hundredths in 1u32..100_000, scale in 0u32..20) {
        // current = previous × (1 + hundredths / 10,000), exactly.
        let previous = BigDecimal::new(previous.into(), i64::from(scale));
        let step = &previous * BigDecimal::new(hundredths.into(), 4);
        let percent = Number::from_str(&BigDecimal::new(hundredths.into(), 2).to_string()).unwrap();
        // Some of these have more digits than a number.
        let change = |current: &BigDecimal| Change::of(Exact::Large(previous.clone()), &Exact::Large(current.clone()));
        let (up, down) = (&previous + &step, &previous - &step);
        for current in [up, down] {
            prop_assert!(change(&current).reaches_percent(&percent));
        }
        let short = &previous + &step - BigDecimal::new(1.into(), 60);
        prop_assert!(!change(&short).reaches_percent(&percent));
    }

    /// The decimal library gives the same text, the same doubles and the same comparisons.
    #[test]
    fn numbers_are_those_of_the_decimal_library(a in any_number(), b in any_number(), percent in "[0-9]{1,3}(\\.[0-9]{1,4})?") {
        let (before, now, percent) = (n(&a), n(&b), n(&percent));
        let exact: BigDecimal = a.parse().unwrap();
        prop_assert_eq!(&big(&before), &exact);
        prop_assert_eq!(Text::stored(&before).as_str().to_owned(), exact.normalized().to_string());
        prop_assert_eq!(before.to_f64(), a.parse::<f64>().unwrap());
        prop_assert_eq!(before == now, big(&before) == big(&now));
        prop_assert_eq!(before.magnitude_at_least(&now), big(&before).abs() >= big(&now).abs());

        let change = Change::between(&before, &now);
        let difference = big(&now) - big(&before);
        let rounded = |exact: &BigDecimal| exact.to_scientific_notation().parse::<f64>().unwrap();
        prop_assert_eq!(change.absolute(), rounded(&difference));
        prop_assert_eq!(change.reaches_absolute(&percent), difference.abs() >= big(&percent));
        if !before.is_zero() {
            prop_assert_eq!(change.percent(), rounded(&(&difference * 100)) / before.to_f64().abs());
            let (scaled, bound) = (difference.abs() * 100, big(&percent) * big(&before).abs());
            prop_assert_eq!(change.reaches_percent(&percent), scaled >= bound);
            prop_assert_eq!(change.exceeds_percent(10), difference.abs() * 100 > big(&before).abs() * 10);
        }
    }

    /// The way of short texts and the way of all texts lead to the same number.
    #[test]
    fn a_short_text_is_read_as_any_text(text in "-?[0-9]{0,22}(\\.[0-9]{0,22})?|-?0{0,19}\\.?0{0,19}[0-9]?") {
        if let Some(number) = short(&text) {
            prop_assert_eq!(Ok(number), significant(&text));
        }
    }
}

/// Texts of few digits and of many, near each other and far apart.
fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?[0-9]{1,12}(\\.[0-9]{1,12})?",
        2 => "-?[0-9]{1,3}0{0,22}(\\.0{0,10}[0-9]{1,2})?",
        1 => "-?[1-9][0-9]{0,37}E-?[0-8]?[0-9]",
        1 => Just("0".to_owned()),
    ]
}

#[test]
fn stored_numbers_have_a_point_or_an_exponent() {
    for (text, stored) in [
        ("0", "0"),
        ("-1200000", "-1200000"),
        ("12E15", "12000000000000000"),
        ("12E16", "12e+16"),
        ("-12.50", "-12.5"),
        ("-0.5", "-0.5"),
        ("0.0000012", "0.0000012"),
        ("0.00000012", "1.2E-7"),
        ("-1E-130", "-1E-130"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
    ] {
        assert_eq!(Text::stored(&n(text)).as_str(), stored, "{text}");
    }
}

#[test]
fn equal_numbers_have_one_canonical_form() {
    for (texts, canonical) in [
        (&["1234.5", "1234.50", "+1.2345e3", "001234.5"][..], "12345e-1"),
        (&["10000", "1E4", "10000.0"], "1e4"),
        (&["-0.03", "-3E-2", "-.03"], "-3e-2"),
        (&["0", "-0", "0.00", "0E7"], "0e0"),
        (&["1E-130"], "1e-130"),
        (&["99999999999999999999999999999999999999E88"], "99999999999999999999999999999999999999e88"),
    ] {
        for text in texts {
            assert_eq!(text.parse::<Number>().unwrap().canonical(), canonical, "{text}");
        }
    }
    assert_eq!(Number::from(10_000).canonical(), "1e4");
    assert_eq!(Number::from(0).canonical(), "0e0");
}
