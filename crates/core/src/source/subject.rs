//! The subject of a row: a protocol or a token. Messages keep their order per subject, and Redis keys are grouped by
//! it.

use std::borrow::Cow;

use uuid::Uuid;

/// Most characters that SQS accepts in a message group id.
const MAX_GROUP_ID: usize = 128;
/// Characters of a long id that are kept in front of its hash, so that people still recognise the id.
const KEPT_OF_LONG_ID: usize = 80;

/// The subject of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A protocol, by its id.
    Protocol(String),
    /// A token, by its id.
    Token(String),
}

impl Subject {
    /// The id, not escaped.
    pub fn id(&self) -> &str {
        match self {
            Self::Protocol(id) | Self::Token(id) => id,
        }
    }

    /// The SQS message group: `protocol:{id}` or `token:{id}`.
    ///
    /// SQS accepts 1 to 128 ASCII letters, digits and punctuation characters. Other characters are percent-encoded. A
    /// group id that is still too long is cut and ends in a hash of the whole. Two subjects never share a group.
    pub fn group_id(&self) -> String {
        let kind = match self {
            Self::Protocol(_) => "protocol",
            Self::Token(_) => "token",
        };
        let group = format!("{kind}:{}", escape(self.id(), |c| !c.is_ascii_graphic() || c == '%'));
        if group.len() <= MAX_GROUP_ID {
            return group;
        }
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, group.as_bytes()).simple();
        // The text is ASCII here, so any byte is a boundary. No escaped id contains `~%`, so no short id equals a cut
        // one.
        format!("{}~%{hash}", &group[..KEPT_OF_LONG_ID])
    }
}

/// Escapes an id or chain key as one part of a name whose parts are separated by `:`.
pub(crate) fn segment(id: &str) -> Cow<'_, str> {
    escape(id, |c| matches!(c, ':' | '%'))
}

/// The id or chain key that [`segment`] has escaped, or that is one part of a key.
pub(crate) fn unescape_segment(part: &str) -> Cow<'_, str> {
    if !part.contains('%') {
        return part.into();
    }
    // `%` comes last: what it gives must not be read again.
    let escapes = [("%3A", ":"), ("%7B", "{"), ("%7D", "}"), ("%25", "%")];
    escapes.iter().fold(part.to_owned(), |text, (escape, special)| text.replace(escape, special)).into()
}

/// Percent-encodes the characters that `special` picks.
pub fn escape(text: &str, special: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if special(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn protocol(id: &str) -> String {
        Subject::Protocol(id.into()).group_id()
    }

    #[test]
    fn real_ids_stay_as_they_are() {
        assert_eq!(protocol("1599"), "protocol:1599");
        assert_eq!(protocol("parent#aave-treasury"), "protocol:parent#aave-treasury");
        let token = Subject::Token("ethereum:0x7fc66500c84a76ad7e9c93437bfc5ac33e2ddae9".into());
        assert_eq!(token.group_id(), "token:ethereum:0x7fc66500c84a76ad7e9c93437bfc5ac33e2ddae9");
    }

    #[test]
    fn a_group_id_that_sqs_would_refuse_is_escaped_or_hashed() {
        assert_eq!(protocol("a b\né%"), "protocol:a%20b%0A%C3%A9%25");
        let (long, other) = (protocol(&"x".repeat(2_000)), protocol(&("x".repeat(1_999) + "y")));
        assert!(long.len() <= 128 && long != other, "{long}");
        assert_eq!(protocol(&"x".repeat(119)), format!("protocol:{}", "x".repeat(119)));
    }

    proptest! {
        #[test]
        fn groups_are_legal_and_never_shared(a in "\\PC{0,200}|[\\x00-\\x7f]{0,200}", b in "\\PC{0,200}|[ab%~]{0,4}") {
            let (one, other) = (protocol(&a), Subject::Token(b.clone()).group_id());
            for group in [&one, &other] {
                prop_assert!((1..=128).contains(&group.len()));
                prop_assert!(group.bytes().all(|byte| byte.is_ascii_graphic()));
            }
            prop_assert_ne!(&one, &other);
            prop_assert_eq!(one == protocol(&b), a == b);
        }

        #[test]
        fn segments_hold_no_colon_and_are_never_shared(a in "[ab:%]{0,6}", b in "[ab:%]{0,6}") {
            prop_assert!(!segment(&a).contains(':'));
            prop_assert_eq!(segment(&a) == segment(&b), a == b);
        }
    }
}
