//! Stream sequence numbers.

use std::cmp::Ordering;
use std::fmt;

/// Length of the longest sequence number that DynamoDB documents, in digits.
const MAX_DIGITS: usize = 40;

/// A DynamoDB Streams sequence number: 1 to 40 decimal digits. It can exceed `u64`.
///
/// Ordered by value: without leading zeros, first by length, then by text. Numbers of different streams are not
/// comparable.
#[derive(Clone, Debug)]
pub struct SequenceNumber(String);

impl SequenceNumber {
    /// Takes 1 to 40 ASCII digits; anything else is `None`.
    pub fn new(text: &str) -> Option<Self> {
        let legal = (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        legal.then(|| Self(text.to_owned()))
    }

    /// The text as received. Lambda identifies the record by exactly this text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn significant(&self) -> &str {
        self.0.trim_start_matches('0')
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.significant(), other.significant());
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SequenceNumber {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SequenceNumber {}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(text: &str) -> SequenceNumber {
        SequenceNumber::new(text).unwrap()
    }

    #[test]
    fn sequence_numbers_are_ordered_by_value() {
        assert!(s("1000000000000000000000") > s("999999999999999999999"));
        assert!(s("00000000000000000000000000000012") > s("00000000000000000000000000000011"));
        assert_eq!(s("007"), s("7"));
        assert_ne!(s("8"), s("7"));
        assert_eq!(s("007").as_str(), "007");
    }

    #[test]
    fn a_text_that_is_no_sequence_number_is_refused() {
        for text in ["", "-1", "1.5", "12a", "١٢", &"1".repeat(41)] {
            assert!(SequenceNumber::new(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn orders_as_numbers_do(a: u128, b: u128) {
            prop_assert_eq!(s(&a.to_string()).cmp(&s(&b.to_string())), a.cmp(&b));
        }
    }
}
