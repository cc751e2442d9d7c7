//! Exact results of arithmetic with numbers.

use std::cmp::Ordering;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, Zero};

use super::Number;

/// The powers of ten that fit into an `i128`.
const POWERS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = 10 * powers[at - 1];
        at += 1;
    }
    powers
};

/// A decimal with as many digits as it needs. Integers of 128 bits hold nearly all; the others cost a big integer.
#[derive(Clone, Debug)]
pub(super) enum Exact {
    /// `mantissa` × 10^`exponent`.
    Small { mantissa: i128, exponent: i32 },
    /// Anything.
    Large(BigDecimal),
}

impl Exact {
    pub(super) fn is_zero(&self) -> bool {
        self.sign() == Ordering::Equal
    }

    /// How it compares with 0.
    pub(super) fn sign(&self) -> Ordering {
        match self {
            Self::Small { mantissa, .. } => mantissa.cmp(&0),
            Self::Large(big) => match big.sign() {
                Sign::Minus => Ordering::Less,
                Sign::NoSign => Ordering::Equal,
                Sign::Plus => Ordering::Greater,
            },
        }
    }

    pub(super) fn abs(&self) -> Self {
        match self {
            Self::Small { mantissa, exponent } if *mantissa != i128::MIN => {
                Self::Small { mantissa: mantissa.abs(), exponent: *exponent }
            }
            Self::Small { .. } | Self::Large(_) => Self::Large(self.big().abs()),
        }
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        let small = || {
            let (a, b, exponent) = aligned(self, other)?;
            Some(Self::Small { mantissa: a.checked_sub(b)?, exponent })
        };
        small().unwrap_or_else(|| Self::Large(self.big() - other.big()))
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        let small = || {
            let (Self::Small { mantissa: a, exponent: x }, Self::Small { mantissa: b, exponent: y }) =
                (self, other)
            else {
                return None;
            };
            Some(Self::Small { mantissa: a.checked_mul(*b)?, exponent: x + y })
        };
        small().unwrap_or_else(|| Self::Large(self.big() * other.big()))
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match aligned(self, other) {
            Some((a, b, _)) => a.cmp(&b),
            None => self.big().cmp(&other.big()),
        }
    }

    /// The nearest `f64`; finite if the magnitude is below 1E+308.
    pub(super) fn to_f64(&self) -> f64 {
        match self {
            Self::Small { mantissa, exponent } => {
                // Only fields are read, so a number beyond the limits of DynamoDB does no harm.
                Number { mantissa: *mantissa, exponent: *exponent }.to_f64()
            }
            Self::Large(big) if big.is_zero() => 0.0,
            // The standard library rounds correctly; `to_f64` of the decimal library does not.
            Self::Large(big) => big.to_scientific_notation().parse().unwrap_or(0.0),
        }
    }

    fn big(&self) -> BigDecimal {
        match self {
            Self::Small { mantissa, exponent } => {
                BigDecimal::new(BigInt::from(*mantissa), -i64::from(*exponent))
            }
            Self::Large(big) => big.clone(),
        }
    }
}

impl From<u32> for Exact {
    fn from(value: u32) -> Self {
        Self::Small { mantissa: value.into(), exponent: 0 }
    }
}

/// Both mantissas with one exponent; `None` if one does not fit.
fn aligned(a: &Exact, b: &Exact) -> Option<(i128, i128, i32)> {
    let (Exact::Small { mantissa: a, exponent: x }, Exact::Small { mantissa: b, exponent: y }) = (a, b)
    else {
        return None;
    };
    let raised = |mantissa: &i128, by: i32| mantissa.checked_mul(*POWERS.get(usize::try_from(by).ok()?)?);
    match x.cmp(y) {
        Ordering::Equal => Some((*a, *b, *x)),
        Ordering::Greater => Some((raised(a, x - y)?, *b, *y)),
        Ordering::Less => Some((*a, raised(b, y - x)?, *x)),
    }
}
