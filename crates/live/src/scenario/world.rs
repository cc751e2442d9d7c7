//! The protocols and tokens of the scenario.

use std::collections::BTreeMap;

use super::random::Random;

/// What is known of a protocol from outside: DefiLlama's id, name, slug, category, and USD by chain key.
pub(super) struct ProtocolFacts {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) slug: &'static str,
    pub(super) category: &'static str,
    pub(super) chains: &'static [(&'static str, f64)],
}

const fn protocol(
    id: &'static str,
    name: &'static str,
    slug: &'static str,
    category: &'static str,
    chains: &'static [(&'static str, f64)],
) -> ProtocolFacts {
    ProtocolFacts { id, name, slug, category, chains }
}

/// The protocols, with about their real size.
pub(super) const PROTOCOLS: [ProtocolFacts; 24] = [
    protocol("182", "Lido", "lido", "Liquid Staking", &[("ethereum", 2.41e10), ("moonbeam", 2.1e5)]),
    protocol(
        "1599",
        "AAVE V3",
        "aave-v3",
        "Lending",
        &[
            ("ethereum", 2.12e10),
            ("plasma", 3.9e9),
            ("arbitrum", 1.14e9),
            ("base", 8.6e8),
            ("avax", 7.2e8),
            ("era", 9.4e6),
        ],
    ),
    protocol(
        "2197",
        "Uniswap V3",
        "uniswap-v3",
        "Dexs",
        &[("ethereum", 1.52e9), ("base", 3.1e8), ("arbitrum", 2.4e8), ("polygon", 6.8e7), ("bsc", 4.4e7)],
    ),
    protocol("118", "MakerDAO", "makerdao", "CDP", &[("ethereum", 5.9e9)]),
    protocol("4481", "Hyperliquid Bridge", "hyperliquid-bridge", "Bridge", &[("arbitrum", 4.6e9)]),
    protocol("3423", "EigenLayer", "eigenlayer", "Restaking", &[("ethereum", 1.23e10)]),
    protocol("4133", "ether.fi Stake", "ether.fi-stake", "Liquid Restaking", &[("ethereum", 7.9e9)]),
    protocol("4025", "Ethena USDe", "ethena-usde", "Basis Trading", &[("ethereum", 7.1e9)]),
    protocol("3328", "Spark Lend", "sparklend", "Lending", &[("ethereum", 4.3e9), ("xdai", 3.4e7)]),
    protocol("3468", "Morpho Blue", "morpho-blue", "Lending", &[("ethereum", 3.8e9), ("base", 1.9e9)]),
    protocol(
        "2554",
        "Pendle",
        "pendle",
        "Yield",
        &[("ethereum", 2.9e9), ("arbitrum", 1.8e8), ("plasma", 4.1e8)],
    ),
    protocol(
        "3",
        "Curve DEX",
        "curve-dex",
        "Dexs",
        &[("ethereum", 1.9e9), ("arbitrum", 4.9e7), ("fraxtal", 2.6e7), ("base", 1.6e7)],
    ),
    protocol("114", "Compound V2", "compound-v2", "Lending", &[("ethereum", 1.3e8)]),
    protocol(
        "2088",
        "Compound V3",
        "compound-v3",
        "Lending",
        &[("ethereum", 1.6e9), ("arbitrum", 2.1e8), ("base", 1.2e8)],
    ),
    protocol("2198", "Uniswap V2", "uniswap-v2", "Dexs", &[("ethereum", 9.6e8), ("base", 2.4e7)]),
    protocol("4349", "Aerodrome Slipstream", "aerodrome-slipstream", "Dexs", &[("base", 3.3e8)]),
    protocol("194", "PancakeSwap AMM", "pancakeswap-amm", "Dexs", &[("bsc", 1.5e9)]),
    protocol("2906", "PancakeSwap AMM V3", "pancakeswap-amm-v3", "Dexs", &[("bsc", 5.3e8), ("base", 4.1e7)]),
    protocol("362", "GMX V2 Perps", "gmx-v2-perps", "Derivatives", &[("arbitrum", 3.4e8), ("avax", 4.7e7)]),
    protocol("2937", "JustLend", "justlend", "Lending", &[("tron", 3.6e9)]),
    protocol("2210", "Kamino Lend", "kamino-lend", "Lending", &[("solana", 2.6e9)]),
    protocol("2308", "Raydium AMM", "raydium-amm", "Dexs", &[("solana", 1.6e9)]),
    protocol(
        "2303",
        "Jupiter Perpetual Exchange",
        "jupiter-perpetual-exchange",
        "Derivatives",
        &[("solana", 1.1e9)],
    ),
    protocol("1390", "Babydogeswap", "babydogeswap", "Dexs", &[("bsc", 4.2e4)]),
];

/// What is known of a token: its id, symbol, price in USD, how much it moves at a step, in per cent, and how many there are.
pub(super) struct TokenFacts {
    pub(super) id: &'static str,
    pub(super) symbol: &'static str,
    pub(super) price: f64,
    pub(super) restless: f64,
    pub(super) supply: f64,
}

const fn token(id: &'static str, symbol: &'static str, price: f64, restless: f64, supply: f64) -> TokenFacts {
    TokenFacts { id, symbol, price, restless, supply }
}

/// The tokens. An id with a colon is that of a contract on a chain.
pub(super) const TOKENS: [TokenFacts; 18] = [
    token("bitcoin", "BTC", 91_400.0, 0.06, 19950000.0),
    token("ethereum", "ETH", 3_020.0, 0.1, 120700000.0),
    token("solana", "SOL", 141.0, 0.14, 559000000.0),
    token("binancecoin", "BNB", 893.0, 0.08, 137700000.0),
    token("hyperliquid", "HYPE", 34.8, 0.3, 270000000.0),
    token("aave", "AAVE", 188.0, 0.22, 15300000.0),
    token("uniswap", "UNI", 6.4, 0.25, 630000000.0),
    token("lido-dao", "LDO", 0.72, 0.25, 896000000.0),
    token("pendle", "PENDLE", 2.61, 0.3, 169000000.0),
    token("ethena", "ENA", 0.281, 0.35, 7500000000.0),
    token("curve-dao-token", "CRV", 0.41, 0.3, 1430000000.0),
    token("chainlink", "LINK", 13.2, 0.16, 697000000.0),
    token("ethereum:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "USDC", 1.0, 0.004, 75000000000.0),
    token("ethereum:0xdac17f958d2ee523a2206206994597c13d831ec7", "USDT", 1.0, 0.004, 184000000000.0),
    token("ethereum:0x4c9edd5852cd905f086c759e8383e09bff1e68b3", "USDe", 0.9994, 0.01, 7100000000.0),
    token("base:0x940181a94a35a4569e4529a3cdfb74e38fd98631", "AERO", 0.68, 0.35, 916000000.0),
    token("arbitrum:0xfc5a1a6eb076a2c7ad06ed22c90d7e710e35ad0a", "GMX", 9.9, 0.25, 10300000.0),
    token("solana:dezxaz8z7pnrnrjjz3wxborgixca6xjnb7yab1ppb263", "BONK", 0.000_009_6, 0.5, 82000000000000.0),
];

/// A protocol as it is now.
#[derive(Debug)]
pub(super) struct Protocol {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) slug: &'static str,
    pub(super) category: String,
    pub(super) is_rugged: bool,
    pub(super) chains: BTreeMap<&'static str, f64>,
}

impl Protocol {
    pub(super) fn new(facts: &ProtocolFacts) -> Self {
        let ProtocolFacts { id, name, slug, category, chains } = *facts;
        let chains = chains.iter().copied().collect();
        Self { id, name, slug, category: category.to_owned(), is_rugged: false, chains }
    }

    /// A move of an ordinary hour: now and then a larger one.
    pub(super) fn wander(&mut self, random: &mut Random) {
        let size = if random.below(12) == 0 { 2.2 } else { 0.35 };
        for usd in self.chains.values_mut() {
            *usd *= 1.0 + random.bell() * size / 100.0;
        }
    }

    /// Multiplies the USD on one chain, or on all.
    pub(super) fn scale(&mut self, chain: Option<&str>, factor: f64) {
        for (_, usd) in self.chains.iter_mut().filter(|(key, _)| chain.is_none_or(|chain| chain == **key)) {
            *usd *= factor;
        }
    }
}

/// A token as it is now.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) id: &'static str,
    pub(super) symbol: &'static str,
    pub(super) price: f64,
    pub(super) supply: f64,
    restless: f64,
}

impl Token {
    pub(super) fn new(facts: &TokenFacts) -> Self {
        let TokenFacts { id, symbol, price, restless, supply } = *facts;
        Self { id, symbol, price, supply, restless }
    }

    pub(super) fn wander(&mut self, random: &mut Random) {
        self.price *= 1.0 + random.bell() * self.restless / 100.0;
    }
}
