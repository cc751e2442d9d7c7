//! The allow-list of partition keys: which of them name a row that the processor handles (specification, section 1).

/// The kind of row that a partition key names, with the ids in the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// `hourlyTvl#<protocolId>`.
    Tvl(String),
    /// `coingecko#<geckoId>`: the token id, without a chain and without `:`.
    Coingecko(String),
    /// `asset#<chain>:<address>`: the token id `<chain>:<address>`, and the chain.
    Asset(String, String),
    /// `protocol#<protocolId>`.
    Protocol(String),
    /// `dailyTvl#…`, which repeats the hourly rows.
    Daily,
    /// Any other key.
    Other,
}

impl RowKey {
    /// Reads a partition key, split at the first `#` only (`hourlyTvl#parent#aave-treasury` is a real key).
    pub fn parse(pk: &str) -> Self {
        let Some((kind, id)) = pk.split_once('#') else { return Self::Other };
        match kind {
            _ if id.is_empty() => Self::Other,
            "hourlyTvl" => Self::Tvl(id.to_owned()),
            "dailyTvl" => Self::Daily,
            "protocol" => Self::Protocol(id.to_owned()),
            // `asset#a:b` has the token id `a:b`, so no other row may have that id. No real gecko id contains a colon.
            "coingecko" if id.contains(':') => Self::Other,
            "coingecko" => Self::Coingecko(id.to_owned()),
            "asset" => match id.split_once(':') {
                Some((chain, address)) if !chain.is_empty() && !address.is_empty() => {
                    Self::Asset(id.to_owned(), chain.to_owned())
                }
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_keys_are_split_at_the_first_hash_only() {
        for (pk, key) in [
            ("hourlyTvl#parent#aave-treasury", RowKey::Tvl("parent#aave-treasury".into())),
            ("protocol#parent#aave", RowKey::Protocol("parent#aave".into())),
            ("coingecko#usd-coin", RowKey::Coingecko("usd-coin".into())),
            ("asset#xdai:0xEe", RowKey::Asset("xdai:0xEe".into(), "xdai".into())),
            ("asset#solana:a:b", RowKey::Asset("solana:a:b".into(), "solana".into())),
            ("coingecko#xdai:0xEe", RowKey::Other),
            ("dailyTvl#1", RowKey::Daily),
            ("dailyTvl", RowKey::Other),
            ("hourlyTvl#", RowKey::Other),
            ("asset#nochain", RowKey::Other),
            ("asset#:0x1", RowKey::Other),
            ("asset#base:", RowKey::Other),
            ("HourlyTvl#1", RowKey::Other),
            ("daily#fees#protocol#1", RowKey::Other),
            ("delete#hourlyTvl#1", RowKey::Other),
            ("", RowKey::Other),
        ] {
            assert_eq!(RowKey::parse(pk), key, "{pk}");
        }
    }
}
