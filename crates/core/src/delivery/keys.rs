//! Names of Redis keys.
//!
//! No id can produce the key of another row: `:` and `%` are percent-encoded wherever another part follows. Real
//! protocol ids and chain keys contain neither.

use std::borrow::Cow;

use crate::source::{Subject, escape, segment, unescape_segment};

/// How Redis keys are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyStyle {
    /// Prefix of every key.
    pub prefix: String,
    /// True if braces enclose the id (a Redis hash tag), so that all keys of a row share one slot of a cluster.
    pub hashtag: bool,
}

impl KeyStyle {
    /// `price:{tokenId}`: latest price.
    pub fn price(&self, token: &Subject) -> String {
        format!("{}price:{}", self.prefix, self.id(token))
    }

    /// `tvl:{protocolId}`: latest TVL with breakdown.
    pub fn tvl(&self, protocol: &Subject) -> String {
        format!("{}tvl:{}", self.prefix, self.id(protocol))
    }

    /// `tvl:{protocolId}:{chain}`: latest TVL on one chain.
    pub fn chain_tvl(&self, protocol: &Subject, chain: &str) -> String {
        format!("{}tvl:{}:{}", self.prefix, self.id(protocol), segment(chain))
    }

    /// `protocol:{protocolId}:meta`: metadata.
    pub fn meta(&self, protocol: &Subject) -> String {
        format!("{}protocol:{}:meta", self.prefix, self.id(protocol))
    }

    /// The protocol id of a key that [`KeyStyle::meta`] makes.
    pub fn protocol_of_meta(&self, key: &str) -> Option<String> {
        let id = key.strip_prefix(&self.prefix)?.strip_prefix("protocol:")?.strip_suffix(":meta")?;
        let id = if self.hashtag { id.strip_prefix('{')?.strip_suffix('}')? } else { id };
        Some(unescape_segment(id).into_owned())
    }

    /// `event:{eventId}`: dedupe marker. With hash tags, the id of the row precedes the event id, to share the row's
    /// slot.
    pub fn event(&self, subject: &Subject, event_id: &str) -> String {
        match self.hashtag {
            true => format!("{}event:{}:{event_id}", self.prefix, self.id(subject)),
            false => format!("{}event:{event_id}", self.prefix),
        }
    }

    /// `cache:{pk}`: detection baseline.
    pub fn baseline(&self, subject: &Subject, pk: &str) -> String {
        match pk.split_once('#') {
            Some((kind, _)) if self.hashtag => format!("{}cache:{kind}#{}", self.prefix, self.id(subject)),
            _ => format!("{}cache:{pk}", self.prefix),
        }
    }

    /// `cache:protocol#{protocolId}`: detection baseline of a protocol's metadata.
    pub fn meta_baseline(&self, protocol: &Subject) -> String {
        self.baseline(protocol, &format!("protocol#{}", protocol.id()))
    }

    /// `events:log`: the newest events of all rows.
    pub fn event_log(&self) -> String {
        format!("{}events:log", self.prefix)
    }

    /// `outbox:sqs`: events that wait for the queue.
    pub fn outbox(&self) -> String {
        format!("{}outbox:sqs", self.prefix)
    }

    /// `outbox:lease`: the process that drains the outbox now.
    pub fn outbox_lease(&self) -> String {
        format!("{}outbox:lease", self.prefix)
    }

    /// `check:write`: a key that never exists. With hash tags it is in the slot of `subject`.
    pub fn write_check(&self, subject: &Subject) -> String {
        match self.hashtag {
            true => format!("{}check:write:{}", self.prefix, self.id(subject)),
            false => format!("{}check:write", self.prefix),
        }
    }

    fn id<'a>(&self, subject: &'a Subject) -> Cow<'a, str> {
        let parts_follow = matches!(subject, Subject::Protocol(_));
        // Redis hashes the text between the first `{` and the next `}`, so braces in the id are escaped.
        let escaped = escape(subject.id(), |c| match c {
            '%' => parts_follow || self.hashtag,
            ':' => parts_follow,
            '{' | '}' => self.hashtag,
            _ => false,
        });
        if self.hashtag { format!("{{{escaped}}}").into() } else { escaped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn protocol(id: &str) -> Subject {
        Subject::Protocol(id.into())
    }

    fn tagged() -> KeyStyle {
        KeyStyle { prefix: "rt:".into(), hashtag: true }
    }

    #[test]
    fn keys_are_those_of_the_table() {
        let (keys, token) = (KeyStyle::default(), Subject::Token("ethereum:0x1".into()));
        assert_eq!(keys.price(&token), "price:ethereum:0x1");
        assert_eq!(keys.tvl(&protocol("parent#aave")), "tvl:parent#aave");
        assert_eq!(keys.chain_tvl(&protocol("1599"), "xdai"), "tvl:1599:xdai");
        assert_eq!(keys.meta(&protocol("1599")), "protocol:1599:meta");
        assert_eq!(keys.meta_baseline(&protocol("1599")), "cache:protocol#1599");
        assert_eq!(keys.event(&protocol("1599"), "u-1"), "event:u-1");
        assert_eq!(
            keys.baseline(&protocol("parent#aave"), "hourlyTvl#parent#aave"),
            "cache:hourlyTvl#parent#aave"
        );
        assert_eq!(keys.write_check(&protocol("1599")), "check:write");
        assert_eq!((keys.outbox(), keys.outbox_lease()), ("outbox:sqs".into(), "outbox:lease".into()));
        assert_eq!(
            (tagged().outbox(), tagged().outbox_lease()),
            ("rt:outbox:sqs".into(), "rt:outbox:lease".into())
        );
        assert_eq!(keys.baseline(&protocol("a:b"), "hourlyTvl#a:b"), "cache:hourlyTvl#a:b");
    }

    #[test]
    fn with_hash_tags_all_keys_of_a_row_name_one_slot() {
        let (keys, row) = (tagged(), protocol("a:{b}"));
        for key in [
            keys.tvl(&row),
            keys.chain_tvl(&row, "ba{s}e"),
            keys.meta(&row),
            keys.meta_baseline(&row),
            keys.event(&row, "u-1"),
            keys.baseline(&row, "hourlyTvl#a:{b}"),
            keys.write_check(&row),
        ] {
            assert!(key.starts_with("rt:"), "{key}");
            assert_eq!(slot_text(&key), "a%3A%7Bb%7D", "{key}");
        }
    }

    #[test]
    fn an_odd_id_names_no_key_of_another_row() {
        let keys = KeyStyle::default();
        assert_ne!(keys.tvl(&protocol("1:base")), keys.chain_tvl(&protocol("1"), "base"));
        assert_ne!(keys.chain_tvl(&protocol("1"), "a:b"), keys.chain_tvl(&protocol("1:a"), "b"));
        assert_ne!(keys.tvl(&protocol("1%3Abase")), keys.tvl(&protocol("1:base")));
    }

    /// The part of a key that Redis hashes.
    fn slot_text(key: &str) -> &str {
        let Some((_, after)) = key.split_once('{') else { return key };
        match after.split_once('}') {
            Some((tag, _)) if !tag.is_empty() => tag,
            _ => key,
        }
    }

    proptest! {
        #[test]
        fn distinct_subjects_have_distinct_keys(a in "[ab:%{}237BD]{1,5}", b in "[ab:%{}]{1,5}", hashtag: bool) {
            let keys = KeyStyle { prefix: String::new(), hashtag };
            let (one, other) = (protocol(&a), protocol(&b));
            prop_assert_eq!(keys.tvl(&one) == keys.tvl(&other), a == b);
            prop_assert_eq!(keys.meta(&one) == keys.meta(&other), a == b);
            prop_assert_ne!(keys.tvl(&one), keys.chain_tvl(&other, "a"));
            prop_assert_eq!(keys.protocol_of_meta(&keys.meta(&one)), Some(a.clone()));
            prop_assert_eq!(keys.protocol_of_meta(&keys.tvl(&one)), None);
            let pk = |id: &str| format!("hourlyTvl#{id}");
            prop_assert_eq!(keys.baseline(&one, &pk(&a)) == keys.baseline(&other, &pk(&b)), a == b);
            if hashtag {
                prop_assert_eq!(slot_text(&keys.tvl(&one)).to_owned(), slot_text(&keys.baseline(&one, &pk(&a))).to_owned());
            }
        }
    }
}
