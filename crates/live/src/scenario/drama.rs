//! What happens beside ordinary trade: spikes, a drain, a chain that comes and goes, a refill, a peg that breaks.

use std::collections::VecDeque;

use serde_json::Value;

use super::rows::Rows;
use super::world::{Protocol, Token};

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) struct Act {
    /// In the round, s.
    pub(super) second: u64,
    scene: Scene,
}

#[derive(Clone, Debug)]
enum Scene {
    /// The USD of a protocol are multiplied, on one chain or on all.
    Tvl(&'static str, Option<&'static str>, f64),
    /// The price of a token is multiplied.
    Price(&'static str, f64),
    /// A chain comes with so many USD.
    ChainComes(&'static str, &'static str, f64),
    /// A chain goes.
    ChainGoes(&'static str, &'static str),
    /// Rows of the last three days are filled in. They are history, and make no events.
    Refill(&'static str),
    /// The category changes.
    Category(&'static str, &'static str),
    /// The protocol is marked as hacked or abandoned, or no longer.
    Rugged(&'static str, bool),
}

/// Length of a round, s.
const ROUND: u64 = 240;

/// The acts of a round, in order. Every second round mirrors the one before, so that the world stays as it is.
pub(super) fn of_round(round: usize) -> VecDeque<Act> {
    use Scene::{Category, ChainComes, ChainGoes, Price, Refill, Rugged, Tvl};
    let act = |second, scene| Act { second, scene };
    let forth = [
        act(4, Price("hyperliquid", 1.031)),
        act(9, Tvl("2197", Some("base"), 1.16)),
        act(16, ChainComes("2554", "hyperliquid", 4.8e7)),
        act(24, Tvl("4025", None, 0.93)),
        act(30, Tvl("1390", None, 5.4)),
        act(37, Price("ethereum:0x4c9edd5852cd905f086c759e8383e09bff1e68b3", 0.981)),
        act(41, Price("ethereum:0x4c9edd5852cd905f086c759e8383e09bff1e68b3", 0.963)),
        act(52, Refill("1599")),
        act(58, Price("ethereum:0x4c9edd5852cd905f086c759e8383e09bff1e68b3", 1.0 / (0.981 * 0.963))),
        act(66, Tvl("2210", None, 0.86)),
        act(74, Price("solana", 0.958)),
        act(76, Price("solana:dezxaz8z7pnrnrjjz3wxborgixca6xjnb7yab1ppb263", 0.88)),
        act(85, Tvl("362", Some("avax"), 0.37)),
        act(88, Rugged("362", true)),
        act(100, Tvl("3468", Some("base"), 1.22)),
        act(112, Category("4481", "Derivatives")),
        act(124, Tvl("3423", None, 1.052)),
        act(136, Price("aave", 1.075)),
        act(148, Tvl("1599", Some("plasma"), 0.71)),
        act(160, ChainComes("4349", "optimism", 2.6e7)),
        act(172, Tvl("182", None, 1.014)),
        act(184, Refill("3")),
        act(196, Price("bitcoin", 1.012)),
        act(208, Tvl("2906", Some("bsc"), 1.31)),
        act(220, ChainGoes("3", "fraxtal")),
        act(ROUND, Price("ethereum", 1.004)),
    ];
    if round.is_multiple_of(2) {
        return forth.into();
    }
    let back = forth.into_iter().map(|Act { second, scene }| {
        let scene = match scene {
            Tvl(id, chain, factor) => Tvl(id, chain, 1.0 / factor),
            Price(id, factor) => Price(id, 1.0 / factor),
            ChainComes(id, chain, _) => ChainGoes(id, chain),
            ChainGoes(id, chain) => ChainComes(id, chain, 2.6e7),
            Category(id, _) => Category(id, "Bridge"),
            Rugged(id, is_rugged) => Rugged(id, !is_rugged),
            Refill(id) => Refill(id),
        };
        Act { second, scene }
    });
    back.collect()
}

/// Plays an act: changes the world, and adds the records that say so.
pub(super) fn play(
    act: &Act,
    protocols: &mut [Protocol],
    tokens: &mut [Token],
    rows: &mut Rows,
    now_ms: i64,
    records: &mut Vec<Value>,
) {
    const DAY_MS: i64 = 86_400_000;
    let mut of = |id: &str, change: &dyn Fn(&mut Protocol), show: &mut dyn FnMut(&Protocol)| {
        for protocol in protocols.iter_mut().filter(|protocol| protocol.id == id) {
            change(protocol);
            show(protocol);
        }
    };
    match &act.scene {
        Scene::Tvl(id, chain, factor) => {
            of(id, &|one| one.scale(*chain, *factor), &mut |one| records.push(rows.tvl(one, now_ms, now_ms)));
        }
        Scene::ChainComes(id, chain, usd) => of(
            id,
            &|one| {
                one.chains.insert(chain, *usd);
            },
            &mut |one| records.push(rows.tvl(one, now_ms, now_ms)),
        ),
        Scene::ChainGoes(id, chain) => of(
            id,
            &|one| {
                one.chains.remove(chain);
            },
            &mut |one| records.push(rows.tvl(one, now_ms, now_ms)),
        ),
        Scene::Refill(id) => of(id, &|_| {}, &mut |one| {
            records.extend((0..72).map(|hour| rows.tvl(one, now_ms - 3 * DAY_MS + hour * 3_600_000, now_ms)));
        }),
        Scene::Category(id, category) => {
            of(id, &|one| one.category = (*category).to_owned(), &mut |one| {
                records.push(rows.metadata(one, now_ms))
            });
        }
        Scene::Rugged(id, is_rugged) => {
            of(id, &|one| one.is_rugged = *is_rugged, &mut |one| records.push(rows.metadata(one, now_ms)));
        }
        Scene::Price(id, factor) => {
            for token in tokens.iter_mut().filter(|token| token.id == *id) {
                token.price *= factor;
                records.push(rows.price(token, now_ms));
            }
        }
    }
}

/// The ids that acts name.
#[cfg(test)]
pub(super) fn named(act: &Act) -> (&'static str, bool) {
    match act.scene {
        Scene::Price(id, _) => (id, true),
        Scene::Tvl(id, ..)
        | Scene::ChainComes(id, ..)
        | Scene::ChainGoes(id, _)
        | Scene::Refill(id)
        | Scene::Category(id, _)
        | Scene::Rugged(id, _) => (id, false),
    }
}
