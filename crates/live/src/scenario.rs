//! The scenario that ships: made-up moves of well-known protocols and tokens, in a loop of four minutes.
//!
//! The ids, chains and magnitudes are real, so that the page looks as it does in earnest. Every move is invented. The same
//! seed gives the same moves.

mod drama;
mod random;
mod rows;
mod world;

use std::collections::VecDeque;

use serde_json::Value;

use drama::Act;
use random::Random;
use world::{PROTOCOLS, Protocol, TOKENS, Token};

/// How often the scenario moves, ms.
pub(crate) const STEP_MS: u64 = 250;

/// Makes stream records, a few at each step.
#[derive(Debug)]
pub(crate) struct Scenario {
    random: Random,
    protocols: Vec<Protocol>,
    tokens: Vec<Token>,
    acts: VecDeque<Act>,
    rows: rows::Rows,
    step: u64,
    round: usize,
}

impl Scenario {
    /// A scenario at its beginning.
    pub(crate) fn new(seed: u64) -> Self {
        let protocols = PROTOCOLS.iter().map(Protocol::new).collect();
        let tokens = TOKENS.iter().map(Token::new).collect();
        let acts = drama::of_round(0);
        Self {
            random: Random::new(seed),
            protocols,
            tokens,
            acts,
            rows: rows::Rows::default(),
            step: 0,
            round: 0,
        }
    }

    /// The records that introduce all protocols and tokens. They make no events.
    pub(crate) fn opening(&mut self, now_ms: i64) -> Vec<Value> {
        let Self { protocols, tokens, rows, .. } = self;
        let before = now_ms - 2_000;
        let metadata: Vec<Value> = protocols.iter().map(|one| rows.metadata(one, before)).collect();
        let tvl = protocols.iter().map(|one| rows.tvl(one, before, before));
        let mut records: Vec<Value> = metadata.into_iter().chain(tvl.collect::<Vec<_>>()).collect();
        records.extend(tokens.iter().map(|one| rows.price(one, before)));
        records
    }

    /// The records of the next step.
    pub(crate) fn step(&mut self, now_ms: i64) -> Vec<Value> {
        let second = self.step * STEP_MS / 1_000;
        self.step += 1;
        let mut records = Vec::new();
        while self.acts.front().is_some_and(|act| act.second <= second) {
            let Some(act) = self.acts.pop_front() else { break };
            drama::play(&act, &mut self.protocols, &mut self.tokens, &mut self.rows, now_ms, &mut records);
        }
        if self.acts.is_empty() {
            self.round += 1;
            self.step = 0;
            self.acts = drama::of_round(self.round);
        }
        // Ordinary trade: one price at each step, one TVL at every second.
        let token = self.random.below(self.tokens.len());
        self.tokens[token].wander(&mut self.random);
        records.push(self.rows.price(&self.tokens[token], now_ms));
        if self.step.is_multiple_of(2) {
            let protocol = self.random.below(self.protocols.len());
            self.protocols[protocol].wander(&mut self.random);
            records.push(self.rows.tvl(&self.protocols[protocol], now_ms, now_ms));
        }
        records
    }
}

#[cfg(test)]
mod tests;
