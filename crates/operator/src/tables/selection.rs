//! Which protocols and tokens a command concerns, and where their rows are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use events_core::source::{RowKey, Subject};

use crate::exit::{Failure, unusable};

/// The arguments that name protocols, tokens and tables.
#[derive(Clone, Debug, Args)]
pub struct Selection {
    /// Protocols, by id
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub protocol: Vec<String>,

    /// Tokens, by id: a gecko id, or CHAIN:ADDRESS
    #[arg(long, value_name = "ID", num_args = 1..)]
    pub token: Vec<String>,

    /// A file with partition keys, one a line, such as hourlyTvl#1; each stands for its protocol or token
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,

    /// The table with protocols
    #[arg(long, value_name = "NAME", default_value = "prod-event-table")]
    pub event_table: String,

    /// The table with tokens
    #[arg(long, value_name = "NAME", default_value = "prod-coins-table")]
    pub coins_table: String,

    /// Read at most this many capacity units a second from the tables
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_rcu: u32,
}

/// A partition key and its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) table: String,
    pub(crate) pk: String,
    pub(crate) kind: Kind,
}

/// What the rows of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Metadata of a protocol.
    Metadata,
    /// TVL of a protocol.
    Tvl,
    /// Price of a token: the current one under `SK` 0, and its history.
    Price,
}

impl Selection {
    /// The protocols and tokens, each once, always in the same order.
    pub(crate) fn subjects(&self) -> Result<Vec<Subject>, Failure> {
        let protocols = self.protocol.iter().cloned().map(Subject::Protocol);
        let tokens = self.token.iter().cloned().map(Subject::Token);
        let mut all: BTreeSet<Subject> = protocols.chain(tokens).collect();
        if let Some(file) = &self.keys {
            all.extend(subjects_in(file)?);
        }
        if all.is_empty() {
            return Err(unusable("no protocol and no token is named: --protocol, --token or --keys"));
        }
        Ok(all.into_iter().collect())
    }

    /// The keys of a protocol or token. Metadata comes first: TVL events have the names in it.
    pub(crate) fn keys_of(&self, subject: &Subject) -> Vec<Key> {
        let key = |table: &String, pk: String, kind| Key { table: table.clone(), pk, kind };
        match subject {
            Subject::Protocol(id) => vec![
                key(&self.event_table, format!("protocol#{id}"), Kind::Metadata),
                key(&self.event_table, format!("hourlyTvl#{id}"), Kind::Tvl),
            ],
            // No gecko id has a colon.
            Subject::Token(id) if id.contains(':') => {
                vec![key(&self.coins_table, format!("asset#{id}"), Kind::Price)]
            }
            Subject::Token(id) => vec![key(&self.coins_table, format!("coingecko#{id}"), Kind::Price)],
        }
    }
}

fn subjects_in(file: &Path) -> Result<Vec<Subject>, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| unusable(format!("--keys {name}: {error}")))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let subject = |(index, line): (usize, &str)| {
        let wrong = || {
            let line = index + 1;
            unusable(format!(
                "--keys {name}, line {line}: not a key of hourlyTvl#, protocol#, coingecko# or asset#"
            ))
        };
        subject_of(line.trim()).ok_or_else(wrong)
    };
    lines.map(subject).collect()
}

/// The protocol or token that a partition key belongs to.
fn subject_of(pk: &str) -> Option<Subject> {
    match RowKey::parse(pk) {
        RowKey::Tvl(id) | RowKey::Protocol(id) => Some(Subject::Protocol(id)),
        RowKey::Coingecko(id) | RowKey::Asset(id, _) => Some(Subject::Token(id)),
        RowKey::Daily | RowKey::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_to_their_protocol_or_token_and_back() {
        let selection = Selection {
            protocol: vec!["1".to_owned()],
            token: Vec::new(),
            keys: None,
            event_table: "e".to_owned(),
            coins_table: "c".to_owned(),
            max_rcu: 1,
        };
        for pk in ["hourlyTvl#parent#aave", "protocol#1", "coingecko#usd-coin", "asset#solana:a:b"] {
            let subject = subject_of(pk).unwrap();
            assert!(selection.keys_of(&subject).iter().any(|key| key.pk == pk), "{pk}");
        }
        assert_eq!(subject_of("dailyTvl#1").or_else(|| subject_of("x")), None);
        assert_eq!(selection.subjects(), Ok(vec![Subject::Protocol("1".to_owned())]));
    }
}
