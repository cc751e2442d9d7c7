//! Parses keys and channels. If every name can be parsed back to its source, names are unique.

use std::collections::BTreeMap;

use events_core::delivery::KeyStyle;
use events_core::source::Subject;

use crate::messages::is_token;

/// What a key belongs to, read from its text alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `price:{tokenId}`.
    Price(String),
    /// `tvl:{protocolId}`.
    Tvl(String),
    /// `tvl:{protocolId}:{chain}`.
    ChainTvl(String, String),
    /// `protocol:{protocolId}:meta`.
    Meta(String),
    /// `event:{eventId}`. With hash tags, also holds the id of the row's subject.
    Marker(Option<String>, String),
    /// `cache:{pk}`.
    Baseline(String),
}

impl Key {
    /// Reads a key. Panics if the processor cannot have made it.
    pub fn read(key: &str, style: &KeyStyle) -> Self {
        let bare = key.strip_prefix(&style.prefix).expect("every key begins with the prefix");
        let (kind, rest) = bare.split_once(':').expect("a key has a kind");
        match (kind, style.hashtag) {
            ("price", false) => Self::Price(rest.to_owned()),
            ("price", true) => Self::Price(only_tag(rest)),
            ("cache", false) => Self::Baseline(rest.to_owned()),
            ("cache", true) => {
                let (kind, id) = rest.split_once('#').expect("a baseline key has a row kind");
                Self::Baseline(format!("{kind}#{}", only_tag(id)))
            }
            ("event", false) => Self::Marker(None, rest.to_owned()),
            ("event", true) => {
                let (id, event) = tagged(rest);
                Self::Marker(Some(id), event.strip_prefix(':').expect("an event id").to_owned())
            }
            ("tvl" | "protocol", tags) => {
                let (id, after) = if tags { tagged(rest) } else { first_part(rest) };
                match (kind, after) {
                    ("tvl", "") => Self::Tvl(id),
                    ("tvl", chain) => Self::ChainTvl(id, last_part(chain)),
                    (_, ":meta") => Self::Meta(id),
                    _ => panic!("{key:?} is not a key of the processor"),
                }
            }
            _ => panic!("{key:?} is not a key of the processor"),
        }
    }
}

/// Splits `{id}` from the text after it.
fn tagged(text: &str) -> (String, &str) {
    let (id, after) = text.strip_prefix('{').and_then(|text| text.split_once('}')).expect("an id in braces");
    (decode(id), after)
}

/// Reads `{id}`, after which nothing may follow.
fn only_tag(text: &str) -> String {
    let (id, after) = tagged(text);
    assert_eq!(after, "", "{text:?}");
    id
}

/// Splits the text before the first colon.
fn first_part(text: &str) -> (String, &str) {
    let (part, after) = text.split_at(text.find(':').unwrap_or(text.len()));
    (decode(part), after)
}

/// Reads `:part`, after which nothing may follow.
fn last_part(text: &str) -> String {
    let (part, after) = first_part(text.strip_prefix(':').expect("a colon before each part"));
    assert_eq!(after, "", "{text:?}");
    part
}

/// Undoes percent-encoding. Panics on a `%` without two hexadecimal digits.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = rest.split_at_checked(2).expect("two digits after %");
            let digits = str::from_utf8(digits).expect("digits are ASCII");
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).expect("the decoded bytes are UTF-8")
}

/// The part of a key that Redis hashes to find its slot.
pub fn slot_text(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, after)| after.split_once('}')).map(|(tag, _)| tag);
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// What a channel belongs to, read from its text alone.
#[derive(Debug, PartialEq, Eq)]
pub enum Channel {
    /// `events:prices`, `events:tvl`, `events:protocols`, `events:alerts`.
    Kind(String),
    /// `events:token:{tokenId}`.
    Token(String),
    /// `events:protocol:{id or slug}`.
    Protocol(String),
    /// `events:chain:{chain}:{prices or tvl}`.
    Chain(String, String),
}

impl Channel {
    /// Reads a channel. Panics if the processor cannot have made it.
    pub fn read(channel: &str) -> Self {
        let rest = channel.strip_prefix("events:").expect("every channel begins with events:");
        match rest.split_once(':') {
            None => Self::Kind(rest.to_owned()),
            Some(("token", id)) => Self::Token(id.to_owned()),
            Some(("protocol", name)) => Self::Protocol(last_part(&format!(":{name}"))),
            Some(("chain", after)) => {
                let (chain, kind) = first_part(after);
                Self::Chain(chain, last_part(kind))
            }
            Some(_) => panic!("{channel:?} is not a channel of the processor"),
        }
    }
}

/// The four styles of keys: with and without prefix and hash tags.
pub fn styles() -> impl Iterator<Item = KeyStyle> {
    let style = |(prefix, hashtag): (&str, bool)| KeyStyle { prefix: prefix.to_owned(), hashtag };
    [("", false), ("rt:", false), ("", true), ("rt:", true)].into_iter().map(style)
}

/// Checks the groups and keys of protocols and tokens with these ids. Each id also serves as a chain.
pub fn check(parts: &[&str]) {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    let mut groups = BTreeMap::new();
    for id in &parts {
        for subject in [Subject::Protocol((*id).to_owned()), Subject::Token((*id).to_owned())] {
            let group = subject.group_id();
            assert!(is_token(&group), "{group:?} of {subject:?}");
            let other = groups.insert(group, subject.clone());
            assert!(
                other.is_none() || other.as_ref() == Some(&subject),
                "{subject:?} and {other:?} share a group"
            );
        }
    }
    for style in styles() {
        for id in &parts {
            check_keys(&style, id, &parts);
        }
    }
}

fn check_keys(style: &KeyStyle, id: &str, chains: &[&str]) {
    let (protocol, token) = (Subject::Protocol(id.to_owned()), Subject::Token(id.to_owned()));
    let mut expected = vec![
        (style.tvl(&protocol), Key::Tvl(id.to_owned())),
        (style.meta(&protocol), Key::Meta(id.to_owned())),
        (style.price(&token), Key::Price(id.to_owned())),
        (style.event(&protocol, "u-1"), Key::Marker(style.hashtag.then(|| id.to_owned()), "u-1".to_owned())),
    ];
    for (kind, subject) in [("hourlyTvl", &protocol), ("protocol", &protocol), ("asset", &token)] {
        let pk = format!("{kind}#{id}");
        expected.push((style.baseline(subject, &pk), Key::Baseline(pk)));
    }
    let chain =
        |chain: &&str| (style.chain_tvl(&protocol, chain), Key::ChainTvl(id.to_owned(), (*chain).to_owned()));
    expected.extend(chains.iter().map(chain));
    for (key, meant) in expected {
        assert_eq!(Key::read(&key, style), meant, "{key:?}");
        if style.hashtag {
            assert_eq!(decode(slot_text(&key)), id, "{key:?} is in another slot than its row");
        }
    }
}
