//! Exact decimal numbers, as DynamoDB stores them.
//!
//! Thresholds are inclusive, and both thresholds and values are decimal. A change from 1.1 to 1.1011 is exactly 0.1 %,
//! but binary floating point computes less. Comparisons are therefore exact, and `f64` is for output only.

use std::fmt;
use std::str::FromStr;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, ToPrimitive, Zero};

/// Most significant digits of a number that DynamoDB keeps.
const MAX_DIGITS: usize = 38;
/// Largest decimal exponent of the first digit (9.99…E+125).
const MAX_EXPONENT: i64 = 125;
/// Smallest decimal exponent of the first digit (1E-130).
const MIN_EXPONENT: i64 = -130;

/// A finite decimal number within DynamoDB's limits: 38 significant digits, magnitude 1E-130 to 9.99E+125, or zero.
///
/// The limits also bound the cost of arithmetic: an exponent such as 1,000,000,000 never reaches the decimal library.
#[derive(Clone, Debug)]
pub struct Number {
    exact: BigDecimal,
    approximate: f64,
}

/// Why a text is not a [`Number`].
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
        let Some(digits) = significant(text)? else { return Ok(Self::from(0)) };
        // The standard library rounds correctly; `to_f64` of the decimal library does not.
        Ok(Self { exact: digits.exact(text.starts_with('-')), approximate: text.parse().unwrap_or(0.0) })
    }
}

impl Number {
    /// The nearest `f64`, always finite.
    pub fn to_f64(&self) -> f64 {
        self.approximate
    }

    /// The number as an integer; `None` if it is not whole or does not fit.
    pub fn to_i64(&self) -> Option<i64> {
        if self.exact.is_integer() { self.exact.to_i64() } else { None }
    }

    /// The number in canonical form: an optional `-`, the significant digits, `e`, the decimal exponent. The digits have
    /// no leading and no trailing zeros: 1234.5 is `12345e-1`, 10000 is `1e4`, zero is `0e0`. Event ids depend on it.
    pub fn canonical(&self) -> String {
        let (digits, scale) = self.exact.normalized().into_bigint_and_exponent();
        format!("{digits}e{}", -scale)
    }

    /// A tenth of the number.
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

    /// True if the magnitude is at least that of `floor`.
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

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        // Parsed numbers are normalised, so equal numbers have one form.
        Self { exact: BigDecimal::from(value).normalized(), approximate: f64::from(value) }
    }
}

impl serde::Serialize for Number {
    /// Writes a string, because the floating point of a reader would lose digits. Equal numbers give equal strings.
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

/// The change from one number to another. Comparisons are exact. Output is rounded once.
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

    /// True if both numbers are equal.
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

    /// True if the change is at least `percent` per cent. Compares without division. A change from 0 counts as 100 %.
    pub fn reaches_percent(&self, percent: &Number) -> bool {
        self.scaled() >= self.bound(&percent.exact)
    }

    /// True if the change is more than `percent` per cent.
    pub fn exceeds_percent(&self, percent: u32) -> bool {
        self.scaled() > self.bound(&BigDecimal::from(percent))
    }

    /// True if the change is at least `amount`, up or down.
    pub fn reaches_absolute(&self, amount: &Number) -> bool {
        self.difference.abs() >= amount.exact
    }

    /// `|current − previous| × 100`, to compare with [`Self::bound`].
    fn scaled(&self) -> BigDecimal {
        if self.previous_magnitude.is_zero() && !self.difference.is_zero() {
            // A change from 0 counts as 100 % of 1.
            return BigDecimal::from(100);
        }
        self.difference.abs() * 100
    }

    /// `percent × |previous|`.
    fn bound(&self, percent: &BigDecimal) -> BigDecimal {
        if self.previous_magnitude.is_zero() { percent.clone() } else { percent * &self.previous_magnitude }
    }
}

fn rounded(exact: &BigDecimal) -> f64 {
    // Differences of numbers in range stay below 1E+128, so the result is finite.
    exact.to_scientific_notation().parse().unwrap_or(0.0)
}

/// The significant digits of a number: `digits` × 10^`exponent`. The decimal library gets only these.
///
/// The decimal library keeps the written zeros: comparing `0E-999999999` or `1.000…` would cost as many digits of
/// arithmetic.
struct Significant {
    digits: u128,
    exponent: i64,
}

impl Significant {
    fn exact(&self, negative: bool) -> BigDecimal {
        let digits = BigInt::from(self.digits);
        BigDecimal::new(if negative { -digits } else { digits }, -self.exponent)
    }
}

/// Checks syntax and DynamoDB's limits before the number is built; `None` for zero.
fn significant(text: &str) -> Result<Option<Significant>, NumberError> {
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
    let Some(first) = digits().position(|b| b != b'0') else { return Ok(None) };
    let last = digits().rposition_of_nonzero().unwrap_or(first);
    if last - first >= MAX_DIGITS {
        return Err(NumberError::TooManyDigits);
    }
    // The length of a text fits into an i64.
    let length = |digits: usize| digits as i64;
    let leading = exponent + length(whole.len()) - length(first) - 1;
    if !(MIN_EXPONENT..=MAX_EXPONENT).contains(&leading) {
        return Err(NumberError::OutOfRange);
    }
    // 38 digits fit into a u128.
    let kept = digits().skip(first).take(last - first + 1);
    let digits = kept.fold(0, |sum, digit| 10 * sum + u128::from(digit - b'0'));
    Ok(Some(Significant { digits, exponent: leading - length(last - first) }))
}

fn parse_exponent(text: &str) -> Result<i64, NumberError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Syntax);
    }
    // More than 18 digits are out of range. A shorter exponent fits into an i64, with room to add the mantissa's
    // length.
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
mod tests;
