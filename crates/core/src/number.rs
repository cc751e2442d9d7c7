//! Exact decimal numbers, as DynamoDB stores them.
//!
//! Thresholds are inclusive and written in decimal ("exactly 1 %"), and so are the values: 1.1 → 1.1011 is exactly
//! 0.1 %, which binary floating point cannot see. Hence comparisons are exact, and `f64` is for output only.

use std::fmt;
use std::str::FromStr;

use bigdecimal::num_bigint::Sign;
use bigdecimal::{BigDecimal, ToPrimitive, Zero};

/// Most significant digits DynamoDB keeps of a number.
const MAX_DIGITS: usize = 38;
/// Largest decimal exponent of the first digit (9.99…E+125).
const MAX_EXPONENT: i64 = 125;
/// Smallest decimal exponent of the first digit (1E-130).
const MIN_EXPONENT: i64 = -130;

/// A finite decimal number within DynamoDB's limits: 38 significant digits, magnitude 1E-130 to 9.99E+125, or zero.
///
/// The limits also bound the cost of arithmetic: an exponent of a thousand million never reaches the decimal library.
#[derive(Clone, Debug)]
pub struct Number {
    exact: BigDecimal,
    approximate: f64,
}

/// Why a text is no [`Number`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// Not a decimal number in plain or exponent form.
    Syntax,
    /// More than 38 significant digits.
    TooManyDigits,
    /// Magnitude outside 1E-130 to 9.99E+125.
    OutOfRange,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not a decimal number",
            Self::TooManyDigits => "more than 38 significant digits",
            Self::OutOfRange => "magnitude outside 1E-130 to 9.99E+125",
        })
    }
}

impl std::error::Error for NumberError {}

impl FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        check(text)?;
        let exact = BigDecimal::from_str(text).map_err(|_| NumberError::Syntax)?;
        Ok(Self::new(exact, text))
    }
}

impl Number {
    fn new(exact: BigDecimal, text: &str) -> Self {
        // `-0` and `0` are one number; the standard library rounds correctly, the decimal library's `to_f64` does not.
        let approximate = if exact.is_zero() { 0.0 } else { text.parse().unwrap_or(0.0) };
        Self { exact, approximate }
    }

    /// The nearest `f64`, always finite.
    pub fn to_f64(&self) -> f64 {
        self.approximate
    }

    /// The number as an integer, where it is one that fits.
    pub fn to_i64(&self) -> Option<i64> {
        if self.exact.is_integer() { self.exact.to_i64() } else { None }
    }

    /// A tenth of it.
    pub(crate) fn tenth(&self) -> Self {
        Self { exact: &self.exact / 10, approximate: self.approximate / 10.0 }
    }

    /// True for zero.
    pub fn is_zero(&self) -> bool {
        self.exact.is_zero()
    }

    /// True below zero.
    pub fn is_negative(&self) -> bool {
        self.exact.sign() == Sign::Minus
    }

    /// True when the magnitude is at least that of `floor`.
    pub fn magnitude_at_least(&self, floor: &Self) -> bool {
        self.exact.abs() >= floor.exact.abs()
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.exact == other.exact
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exact.fmt(f)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self { exact: BigDecimal::from(value), approximate: f64::from(value) }
    }
}

impl serde::Serialize for Number {
    /// As a string, so that no digit is lost in a reader's floating point; equal numbers as equal strings.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.exact.normalized())
    }
}

impl<'de> serde::Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The way from one number to another: exact where it is compared, rounded once where it is shown.
#[derive(Clone, Debug)]
pub struct Change {
    difference: BigDecimal,
    previous_magnitude: BigDecimal,
    percent: f64,
}

impl Change {
    /// The change from `previous` to `current`.
    pub fn between(previous: &Number, current: &Number) -> Self {
        let difference = &current.exact - &previous.exact;
        let previous_magnitude = previous.exact.abs();
        let percent = if previous.is_zero() {
            match difference.sign() {
                Sign::Plus => 100.0,
                Sign::Minus => -100.0,
                Sign::NoSign => 0.0,
            }
        } else {
            rounded(&(&difference * 100)) / previous.approximate.abs()
        };
        Self { difference, previous_magnitude, percent }
    }

    /// True when nothing changed.
    pub fn is_zero(&self) -> bool {
        self.difference.is_zero()
    }

    /// `(current − previous) / |previous| × 100`; from 0 it is 100 or −100.
    pub fn percent(&self) -> f64 {
        self.percent
    }

    /// `current − previous`.
    pub fn absolute(&self) -> f64 {
        rounded(&self.difference)
    }

    /// True when the change is at least `percent` per cent, compared without division. From 0 every change is 100 %.
    pub fn reaches_percent(&self, percent: &Number) -> bool {
        self.scaled() >= self.bound(&percent.exact)
    }

    /// True when the change is more than `percent` per cent.
    pub fn exceeds_percent(&self, percent: u32) -> bool {
        self.scaled() > self.bound(&BigDecimal::from(percent))
    }

    /// True when the change is at least `amount`, up or down.
    pub fn reaches_absolute(&self, amount: &Number) -> bool {
        self.difference.abs() >= amount.exact
    }

    fn scaled(&self) -> BigDecimal {
        if self.previous_magnitude.is_zero() && !self.difference.is_zero() {
            // From 0 the change counts as 100 % of 1.
            return BigDecimal::from(100);
        }
        self.difference.abs() * 100
    }

    fn bound(&self, percent: &BigDecimal) -> BigDecimal {
        if self.previous_magnitude.is_zero() { percent.clone() } else { percent * &self.previous_magnitude }
    }
}

fn rounded(exact: &BigDecimal) -> f64 {
    // Differences of numbers in range stay below 1E+128: always finite.
    exact.to_scientific_notation().parse().unwrap_or(0.0)
}

/// Checks syntax and DynamoDB's limits without building the number.
fn check(text: &str) -> Result<(), NumberError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if (whole.is_empty() && fraction.is_empty()) || !digits().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Syntax);
    }
    let Some(first) = digits().position(|b| b != b'0') else { return Ok(()) };
    let last = digits().rposition_of_nonzero().unwrap_or(first);
    if last - first >= MAX_DIGITS {
        return Err(NumberError::TooManyDigits);
    }
    let leading = exponent + i64::try_from(whole.len()).unwrap_or(i64::MAX / 2)
        - i64::try_from(first).unwrap_or(i64::MAX / 2)
        - 1;
    if (MIN_EXPONENT..=MAX_EXPONENT).contains(&leading) { Ok(()) } else { Err(NumberError::OutOfRange) }
}

fn parse_exponent(text: &str) -> Result<i64, NumberError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Syntax);
    }
    // More than 18 digits cannot be in range; below that i64 holds it with room for the mantissa's length.
    if digits.len() > 18 {
        Err(NumberError::OutOfRange)
    } else {
        text.parse().map_err(|_| NumberError::Syntax)
    }
}

trait LastNonzero: Iterator<Item = u8> + Sized {
    /// The index of the last byte that is not `0`.
    fn rposition_of_nonzero(self) -> Option<usize> {
        self.enumerate().filter(|(_, b)| *b != b'0').map(|(i, _)| i).last()
    }
}

impl<I: Iterator<Item = u8>> LastNonzero for I {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n(text: &str) -> Number {
        text.parse().unwrap()
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
            (
                "000000000000000000000000000000000000000000001.10000000000000000000000000000000000000000000",
                1.1,
            ),
        ] {
            assert_eq!(n(text).to_f64(), value, "{text}");
        }
    }

    #[test]
    fn what_dynamodb_cannot_hold_is_refused() {
        for (text, why) in [
            ("", NumberError::Syntax),
            ("NaN", NumberError::Syntax),
            ("1_000", NumberError::Syntax),
            ("1e", NumberError::Syntax),
            ("--1", NumberError::Syntax),
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
    fn exactly_the_threshold_passes_where_floating_point_fails() {
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
        fn any_text_is_answered(text in "[-+0-9.eE_ ]{0,60}|\\PC{0,20}") {
            if let Ok(number) = text.parse::<Number>() {
                prop_assert!(number.to_f64().is_finite());
                let again: Number = number.to_string().parse().unwrap();
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
        fn the_exact_percentage_itself_always_reaches_it(previous in 1u64..u64::MAX, hundredths in 1u32..100_000, scale in 0u32..20) {
            // current = previous × (1 + hundredths / 10,000), exactly.
            let previous = BigDecimal::new(previous.into(), i64::from(scale));
            let step = &previous * BigDecimal::new(hundredths.into(), 4);
            let percent = Number::from_str(&BigDecimal::new(hundredths.into(), 2).to_string()).unwrap();
            let number = |d: &BigDecimal| Number { exact: d.clone(), approximate: 1.0 };
            let (up, down) = (&previous + &step, &previous - &step);
            for current in [up, down] {
                prop_assert!(Change::between(&number(&previous), &number(&current)).reaches_percent(&percent));
            }
            let short = &previous + &step - BigDecimal::new(1.into(), 60);
            prop_assert!(!Change::between(&number(&previous), &number(&short)).reaches_percent(&percent));
        }
    }
}
