//! Amounts of twelve digits: enough for parts per million, and every sum and product of two fits into 64 bits.

use std::fmt;
use std::str::FromStr;

use crate::value::Number;

/// The whole, in parts per million.
pub(super) const WHOLE_SHARE: i64 = 1_000_000;

const DIGITS: u32 = 12;
/// Least magnitude of a mantissa that is not 0, and the limit of all.
const LEAST: u64 = 100_000_000_000;
const LIMIT: u64 = 1_000_000_000_000;
/// Largest exponent of a stored text: beyond every [`Number`].
const MAX_EXPONENT: i32 = 200;
/// The dollars that stand for any larger amount.
const MOST_DOLLARS: i64 = 1_000_000_000_000_000_000;

/// A decimal number, cut to twelve significant digits towards zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// 0, or of exactly twelve digits.
    mantissa: i64,
    /// 0 if the mantissa is 0.
    exponent: i32,
}

impl Amount {
    /// 1: the peg of a token that keeps to a dollar.
    pub const ONE: Self = Self { mantissa: 100_000_000_000, exponent: -11 };

    fn new(magnitude: u128, exponent: i32, is_negative: bool) -> Self {
        // Nearly all numbers are short, and 128 bits cost several times as much.
        let (mantissa, exponent) = match u64::try_from(magnitude) {
            Ok(0) => return Self::default(),
            Ok(short) => match short.ilog10() + 1 {
                digits @ ..=DIGITS => (short * power(DIGITS - digits), exponent - (DIGITS - digits) as i32),
                digits => (short / power(digits - DIGITS), exponent + (digits - DIGITS) as i32),
            },
            Err(_) => {
                let surplus = magnitude.ilog10() + 1 - DIGITS;
                // Twelve digits are left.
                ((magnitude / 10_u128.pow(surplus)) as u64, exponent + surplus as i32)
            }
        };
        // Below 10^12.
        let mantissa = mantissa as i64;
        Self { mantissa: if is_negative { -mantissa } else { mantissa }, exponent }
    }

    /// The mantissa and the exponent.
    pub(super) fn parts(self) -> (i64, i32) {
        (self.mantissa, self.exponent)
    }

    /// True below zero.
    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// The magnitude in whole dollars, towards zero, at most 10^18.
    pub fn dollars(self) -> i64 {
        dollars(self.mantissa, self.exponent)
    }

    /// How many times `earlier` the amount is, at most 10^12; 0 if either is not above zero.
    pub fn times(self, earlier: Self) -> i64 {
        let (most, shift) = (i128::from(LIMIT), self.exponent - earlier.exponent);
        let (one, other) = (i128::from(self.mantissa), i128::from(earlier.mantissa));
        let power = 10_i128.pow(shift.unsigned_abs().min(DIGITS));
        let times = match (one, other, shift) {
            (1.., 1.., 13..) => most,
            (1.., 1.., 0..) => one * power / other,
            (1.., 1.., _) => one / (other * power),
            _ => 0,
        };
        // At most 10^12.
        times.min(most) as i64
    }

    /// True if both are the same times a power of ten, within 2 %, and `self` is at least a thousand times `other`.
    pub fn is_shifted(self, other: Self) -> bool {
        if self.mantissa == 0 || other.mantissa == 0 || self.is_negative() != other.is_negative() {
            return false;
        }
        let (one, two, shift) = (self.mantissa.abs(), other.mantissa.abs(), self.exponent - other.exponent);
        let like = |one: i64, two: i64| (one - two).abs() * 50 <= one.max(two);
        (like(one, two) && shift >= 3)
            || (like(one * 10, two) && shift >= 4)
            || (like(one, two * 10) && shift >= 2)
    }

    /// The amounts as whole numbers of one unit, which is ten to the returned power. The largest keeps its twelve digits;
    /// the others are cut towards zero.
    fn aligned<const N: usize>(amounts: [Self; N]) -> ([i64; N], i32) {
        let exponent =
            amounts.iter().filter(|amount| amount.mantissa != 0).map(|amount| amount.exponent).max();
        let exponent = exponent.unwrap_or_default();
        let align = |amount: Self| match (exponent - amount.exponent).unsigned_abs() {
            0 => amount.mantissa,
            shift if shift < DIGITS => amount.mantissa / power(shift) as i64,
            _ => 0,
        };
        (amounts.map(align), exponent)
    }
}

/// Ten to the power of `exponent`, which is at most [`DIGITS`].
fn power(exponent: u32) -> u64 {
    const POWERS: [u64; DIGITS as usize + 1] = {
        let mut powers = [1; DIGITS as usize + 1];
        let mut at = 1;
        while at < powers.len() {
            powers[at] = powers[at - 1] * 10;
            at += 1;
        }
        powers
    };
    POWERS[exponent as usize]
}

fn dollars(mantissa: i64, exponent: i32) -> i64 {
    let (magnitude, shift) = (mantissa.unsigned_abs(), exponent.unsigned_abs());
    match exponent {
        // Twelve digits and twelve zeros are 10^24.
        13.. if magnitude > 0 => MOST_DOLLARS,
        0.. => magnitude
            .checked_mul(power(shift.min(DIGITS)))
            .map_or(MOST_DOLLARS, |dollars| i64::try_from(dollars).unwrap_or(MOST_DOLLARS).min(MOST_DOLLARS)),
        _ if shift <= DIGITS => (magnitude / power(shift)) as i64,
        _ => 0,
    }
}

/// The move from one amount to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    from: i64,
    to: i64,
    exponent: i32,
}

impl Span {
    pub(super) fn between(from: Amount, to: Amount) -> Self {
        let ([from, to], exponent) = Amount::aligned([from, to]);
        Self { from, to, exponent }
    }

    /// The change in parts per million of the larger magnitude, towards zero, from −10^6 to 10^6.
    pub(super) fn ppm(self) -> i64 {
        let largest = self.from.abs().max(self.to.abs());
        if largest == 0 {
            return 0;
        }
        ((self.to - self.from) * WHOLE_SHARE / largest).clamp(-WHOLE_SHARE, WHOLE_SHARE)
    }

    /// The magnitude of the change in whole dollars, at most 10^18.
    pub(super) fn dollars(self) -> i64 {
        dollars(self.to - self.from, self.exponent)
    }

    /// True if a positive amount changed by at least this many tenths of itself, in this direction.
    pub(super) fn reaches_tenths(self, tenths: i64) -> bool {
        let (change, least) = ((self.to - self.from) * 10, self.from * tenths);
        self.from > 0 && if tenths < 0 { change <= least } else { change >= least }
    }

    /// The change in tenths of a per cent of the old magnitude, towards zero; `None` from zero.
    pub(super) fn tenths_of_percent(self) -> Option<i64> {
        (self.from != 0)
            .then(|| ((self.to - self.from) * 1_000).checked_div(self.from.abs()).unwrap_or_default())
    }

    /// The share that a part has in this move of a total, in parts per million, at most 10^12; below zero if the part
    /// moved against it. 0 if the total did not move.
    pub(super) fn share(self, from: Amount, to: Amount) -> i64 {
        let moved = self.to - self.from;
        if moved == 0 {
            return 0;
        }
        let fixed = |amount: Amount| match amount.exponent - self.exponent {
            // A part that is far larger than its total.
            1.. => amount.mantissa.signum() * LIMIT as i64,
            shift if shift.unsigned_abs() < DIGITS => amount.mantissa / power(shift.unsigned_abs()) as i64,
            _ => 0,
        };
        let part = fixed(to) - fixed(from);
        (part * WHOLE_SHARE / moved).clamp(-(LIMIT as i64), LIMIT as i64)
    }
}

/// Where an amount lies between the two ends of an earlier move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    from: i64,
    to: i64,
    at: i64,
}

impl Place {
    pub(super) fn of(at: Amount, from: Amount, to: Amount) -> Self {
        let ([at, from, to], _) = Amount::aligned([at, from, to]);
        Self { from, to, at }
    }

    /// Within a quarter of the move around its beginning.
    pub(super) fn is_back(self) -> bool {
        (self.at - self.from).abs() * 4 <= (self.to - self.from).abs()
    }

    /// Within a quarter of the move around its end.
    pub(super) fn is_there_again(self) -> bool {
        (self.at - self.to).abs() * 4 <= (self.to - self.from).abs()
    }

    /// Beyond the middle of the move, on the side of its end.
    pub(super) fn stays(self) -> bool {
        let (went, moved) = (self.at - self.from, self.to - self.from);
        went.signum() == moved.signum() && went.abs() * 2 >= moved.abs()
    }
}

impl From<&Number> for Amount {
    fn from(number: &Number) -> Self {
        let (mantissa, exponent) = number.parts();
        Self::new(mantissa.unsigned_abs(), exponent, mantissa < 0)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}e{}", self.mantissa, self.exponent)
    }
}

/// The text was not written by [`Amount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAmount;

impl FromStr for Amount {
    type Err = NoAmount;

    fn from_str(text: &str) -> Result<Self, NoAmount> {
        let (mantissa, exponent) = text.split_once('e').ok_or(NoAmount)?;
        let (mantissa, exponent): (i64, i32) =
            (mantissa.parse().map_err(|_| NoAmount)?, exponent.parse().map_err(|_| NoAmount)?);
        if mantissa.unsigned_abs() >= LIMIT || exponent.unsigned_abs() > MAX_EXPONENT.unsigned_abs() {
            return Err(NoAmount);
        }
        Ok(match mantissa.unsigned_abs() {
            LEAST.. => Self { mantissa, exponent },
            short => Self::new(short.into(), exponent, mantissa < 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(text: &str) -> Amount {
        Amount::from(&text.parse::<Number>().unwrap())
    }

    #[test]
    fn one_is_one() {
        assert_eq!(Amount::ONE, amount("1"));
    }

    #[test]
    fn a_move_is_in_parts_of_the_larger_side() {
        for (from, to, ppm, dollars) in [
            ("100", "50", -500_000, 50),
            ("50", "100", 500_000, 50),
            ("0", "7", 1_000_000, 7),
            ("7", "0", -1_000_000, 7),
            ("0", "0", 0, 0),
            ("-5", "5", 1_000_000, 10),
            ("-5", "-10", -500_000, 5),
            ("1e20", "1e-20", -1_000_000, 1_000_000_000_000_000_000),
            ("99999999999999999999999999999999999999", "1", -1_000_000, 1_000_000_000_000_000_000),
            ("1000000", "1000001", 0, 1),
        ] {
            let span = Span::between(amount(from), amount(to));
            assert_eq!((span.ppm(), span.dollars()), (ppm, dollars), "{from} to {to}");
        }
    }

    #[test]
    fn a_power_of_ten_is_an_error_of_units() {
        for (one, other, shifted) in [
            ("5000000", "5", true),
            ("5000000", "5.09", true),
            ("5000000", "5.3", false),
            ("5000", "5.001", true),
            ("999", "1.001", true),
            ("9990", "1.001", true),
            ("500", "5", false),
            ("1001", "0.999", true),
            ("-5000000", "5", false),
            ("5000000", "0", false),
        ] {
            assert_eq!(amount(one).is_shifted(amount(other)), shifted, "{one} and {other}");
        }
    }

    #[test]
    fn times_reach_beyond_the_twelve_digits() {
        for (from, to, times) in [
            ("2", "7", 3),
            ("7", "2", 0),
            ("1", "50", 50),
            ("1", "49.9", 49),
            ("3", "3e18", 1_000_000_000_000),
            ("9.99", "1e12", 100_100_100_100),
            ("9", "1e13", 1_000_000_000_000),
            ("0", "5", 0),
            ("-1", "5", 0),
        ] {
            assert_eq!(amount(to).times(amount(from)), times, "{from} to {to}");
        }
    }

    proptest! {
        #[test]
        fn texts_are_read_again(text in "-?[1-9][0-9]{0,20}(E[+-]?[1-9][0-9]?)?|0") {
            let amount = amount(&text);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            prop_assert!(amount.to_string().len() <= 18);
        }

        #[test]
        fn nothing_overflows(a in "-?[1-9][0-9]{0,20}(E[+-]?[1-9][0-9]?)?|0", b in "-?[0-9]{1,20}", c in "-?[0-9]{1,38}") {
            let [a, b, c] = [amount(&a), amount(&b), amount(&c)];
            let span = Span::between(a, b);
            prop_assert!((-1_000_000..=1_000_000).contains(&span.ppm()));
            prop_assert!(span.dollars() >= 0);
            let _ = (span.tenths_of_percent(), b.times(a), a.times(c), span.reaches_tenths(-3));
            let place = Place::of(a, b, c);
            let _ = (place.is_back(), place.is_there_again(), place.stays());
            let _ = span.share(b, c);
        }
    }
}
