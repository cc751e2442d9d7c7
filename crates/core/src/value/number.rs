//! Exact decimal numbers, as DynamoDB stores them.
//!
//! Thresholds are inclusive, and both thresholds and values are decimal. A change from 1.1 to 1.1011 is exactly 0.1 %,
//! but binary floating point computes less. Comparisons are therefore exact, and `f64` is for output only.

mod change;
mod exact;

use std::cmp::Ordering;
use std::fmt;
use std::io::Write as _;
use std::str::FromStr;

pub use change::Change;
use exact::Exact;

/// Most significant digits of a number that DynamoDB keeps.
const MAX_DIGITS: usize = 38;
/// Largest decimal exponent of the first digit (9.99…E+125).
const MAX_EXPONENT: i64 = 125;
/// Smallest decimal exponent of the first digit (1E-130).
const MIN_EXPONENT: i64 = -130;
/// Every number of so many digits fits into a `u64`.
const SHORT_DIGITS: usize = 19;
/// Bytes of the longest text of a number: a sign, 38 digits, and 15 zeros or an exponent.
const LONGEST_TEXT: usize = 64;
/// The powers of ten that an `f64` holds exactly.
const FLOAT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// From here on, an `f64` does not hold every whole number.
const FLOAT_WHOLE: u64 = 1 << 53;

/// A finite decimal number within DynamoDB's limits: 38 significant digits, magnitude 1E-130 to 9.99E+125, or zero.
///
/// It is `mantissa` × 10^`exponent`. The mantissa does not end in 0, and zero has the exponent 0, so equal numbers have
/// equal fields. 38 digits fit into an `i128`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    mantissa: i128,
    exponent: i32,
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
        short(text).map_or_else(|| significant(text), Ok)
    }
}

impl Number {
    const ZERO: Self = Self { mantissa: 0, exponent: 0 };

    /// The nearest `f64`, always finite.
    pub fn to_f64(&self) -> f64 {
        let power = FLOAT_POWERS.get(self.exponent.unsigned_abs() as usize);
        match (i64::try_from(self.mantissa), power) {
            // Both operands are exact, so the only rounding is that of the result.
            (Ok(whole), Some(power)) if whole.unsigned_abs() < FLOAT_WHOLE => {
                if self.exponent < 0 {
                    whole as f64 / power
                } else {
                    whole as f64 * power
                }
            }
            // The standard library rounds correctly.
            _ => Text::exponential(self).as_str().parse().unwrap_or(0.0),
        }
    }

    /// The number as an integer; `None` if it is not whole or does not fit.
    pub fn to_i64(&self) -> Option<i64> {
        let power = 10_i128.checked_pow(self.exponent.try_into().ok()?)?;
        self.mantissa.checked_mul(power)?.try_into().ok()
    }

    /// The number in canonical form: an optional `-`, the significant digits, `e`, the decimal exponent. The digits have
    /// no leading and no trailing zeros: 1234.5 is `12345e-1`, 10000 is `1e4`, zero is `0e0`. Event ids depend on it.
    pub fn canonical(&self) -> String {
        Text::exponential(self).as_str().to_owned()
    }

    /// A tenth of the number.
    pub(crate) fn tenth(&self) -> Self {
        let exponent = if self.is_zero() { 0 } else { self.exponent - 1 };
        Self { mantissa: self.mantissa, exponent }
    }

    /// True for zero.
    pub fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// True below zero.
    pub fn is_negative(&self) -> bool {
        self.mantissa < 0
    }

    /// True if the magnitude is at least that of `floor`.
    pub fn magnitude_at_least(&self, floor: &Self) -> bool {
        self.exact().abs().compare(&floor.exact().abs()) != Ordering::Less
    }

    /// The mantissa, without zeros at its end, and the exponent of its last digit.
    pub(crate) fn parts(&self) -> (i128, i32) {
        (self.mantissa, self.exponent)
    }

    fn exact(&self) -> Exact {
        Exact::Small { mantissa: self.mantissa, exponent: self.exponent }
    }

    /// `mantissa` × 10^`exponent`, with the zeros at the end of the mantissa moved into the exponent.
    fn normalised(mut mantissa: u64, mut exponent: i32, negative: bool) -> Self {
        if mantissa == 0 {
            return Self::ZERO;
        }
        while mantissa.is_multiple_of(10) {
            mantissa /= 10;
            exponent += 1;
        }
        let mantissa = i128::from(mantissa);
        Self { mantissa: if negative { -mantissa } else { mantissa }, exponent }
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::normalised(value.into(), 0, false)
    }
}

impl serde::Serialize for Number {
    /// Writes a string, because the floating point of a reader would lose digits. Equal numbers give equal strings.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Text::stored(self).as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// The text of a number, on the stack: numbers are written often.
struct Text {
    bytes: [u8; LONGEST_TEXT],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; LONGEST_TEXT], length: 0 }
    }

    /// The form of event ids: see [`Number::canonical`].
    fn exponential(number: &Number) -> Self {
        let mut text = Self::new();
        text.digits(number);
        text.push(format_args!("e{}", number.exponent));
        text
    }

    /// The form of stored baselines. The digits have a decimal point where that costs no more than 5 zeros in front of
    /// them or 15 behind them: `0.00001`, `120000`. Otherwise they have an exponent: `1.2E-20`, `12e+20`.
    fn stored(number: &Number) -> Self {
        let mut text = Self::new();
        text.digits(number);
        let start = usize::from(number.is_negative());
        let count = text.length - start;
        let fraction = usize::try_from(-number.exponent).unwrap_or(0);
        match number.exponent {
            0 => {}
            16.. => text.push(format_args!("e{:+}", number.exponent)),
            1.. => text.insert_zeros(text.length, number.exponent.unsigned_abs() as usize),
            _ if fraction > count + 5 => {
                if count > 1 {
                    text.insert_point(start + 1);
                }
                // A text is short.
                text.push(format_args!("E{:+}", number.exponent + count as i32 - 1));
            }
            _ => {
                text.insert_zeros(start, (fraction + 1).saturating_sub(count));
                text.insert_point(text.length - fraction);
            }
        }
        text
    }

    fn digits(&mut self, number: &Number) {
        let Ok(mut rest) = u64::try_from(number.mantissa.unsigned_abs()) else {
            return self.push(format_args!("{}", number.mantissa));
        };
        // Nearly all numbers are short, and the general formatting costs several times this loop.
        let sign = usize::from(number.is_negative());
        self.bytes[0] = b'-';
        self.length = sign + rest.checked_ilog10().map_or(1, |log| log as usize + 1);
        for digit in self.bytes[sign..self.length].iter_mut().rev() {
            // A remainder of ten fits.
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    fn push(&mut self, arguments: fmt::Arguments<'_>) {
        let mut free = &mut self.bytes[self.length..];
        let before = free.len();
        // Nothing is too long: see `LONGEST_TEXT`.
        let _ = free.write_fmt(arguments);
        self.length += before - free.len();
    }

    fn insert_zeros(&mut self, at: usize, count: usize) {
        self.bytes.copy_within(at..self.length, at + count);
        self.bytes[at..at + count].fill(b'0');
        self.length += count;
    }

    fn insert_point(&mut self, at: usize) {
        self.insert_zeros(at, 1);
        self.bytes[at] = b'.';
    }

    fn as_str(&self) -> &str {
        // The text is ASCII.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// Reads a number of at most 19 digits without an exponent, which nearly all numbers are. `None` for any other text.
fn short(text: &str) -> Option<Number> {
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', unsigned @ ..] => (true, unsigned),
        unsigned => (false, unsigned),
    };
    // One more byte for the point.
    if unsigned.len() > SHORT_DIGITS + 1 {
        return None;
    }
    let (mut mantissa, mut digits, mut point) = (0_u64, 0, None);
    for byte in unsigned {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                digits += 1;
            }
            b'.' if point.is_none() => point = Some(digits),
            _ => return None,
        }
    }
    let fraction = digits - point.unwrap_or(digits);
    (1..=SHORT_DIGITS).contains(&digits).then(|| Number::normalised(mantissa, -(fraction as i32), negative))
}

/// Reads any number. Checks syntax and DynamoDB's limits before the number is built.
fn significant(text: &str) -> Result<Number, NumberError> {
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
    let Some(first) = digits().position(|b| b != b'0') else { return Ok(Number::ZERO) };
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
    // 38 digits fit into an i128.
    let kept = digits().skip(first).take(last - first + 1);
    let magnitude = kept.fold(0, |sum, digit| 10 * sum + i128::from(digit - b'0'));
    let mantissa = if text.starts_with('-') { -magnitude } else { magnitude };
    // The limits above bound the exponent.
    Ok(Number { mantissa, exponent: (leading - length(last - first)) as i32 })
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
