//! What is remembered of one value.

use super::Kind;
use super::amount::Amount;

/// The deviation of a value that nothing is known of, ppm of its amount in an hour.
const FIRST_DEVIATION: u64 = 4_000;
/// Largest variance, ppm²: that of moves of 200 % in a quarter of an hour. See [`super::rule`].
const MAX_VARIANCE: u64 = 4_000_000_000_000;

/// What is remembered of one value: at most 200 bytes of text, see [`Meter::to_text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Rows that have taught the meter, at most 40.
    pub rows: u64,
    /// Variance of the moves, ppm² in an hour.
    pub variance: u64,
    /// Where drift is measured from; `None` before the first row.
    pub anchor: Option<Anchor>,
    /// Where drift will be measured from next: an amount of the last 12 h.
    pub next_anchor: Option<Anchor>,
    /// Rows in which a price kept to $1, at most 48.
    pub pegged: u64,
    /// The last move that made a signal, for 48 rows.
    pub jump: Option<Jump>,
}

/// An amount that drift is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The amount.
    pub amount: Amount,
    /// Its data time, s since 1970.
    pub at_s: i64,
}

/// A move that made a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// `eventId` of its signal.
    pub id: String,
    /// The amount before.
    pub from: Amount,
    /// The amount after.
    pub to: Amount,
    /// What it looked like.
    pub kind: Kind,
    /// The score of its confirmation.
    pub score: u8,
    /// Rows since it happened, or since it reverted.
    pub rows: u64,
    /// What became of it.
    pub state: JumpState,
    /// The variance before it, ppm².
    pub variance: u64,
}

/// What became of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JumpState {
    /// It may revert or stay.
    Pending,
    /// It has stayed.
    Settled,
    /// It has reverted.
    Reverted,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            rows: 0,
            variance: FIRST_DEVIATION * FIRST_DEVIATION,
            anchor: None,
            next_anchor: None,
            pegged: 0,
            jump: None,
        }
    }
}

impl Meter {
    /// Reads the text of [`Meter::to_text`]. Any other text, such as that of another version, gives a new meter.
    pub fn from_text(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }

    /// Forgets what depends on the last amount: rows that made no signals have moved it.
    pub fn moved_silently(self) -> Self {
        Self { anchor: None, next_anchor: None, jump: None, ..self }
    }

    /// The text that the baseline stores.
    pub fn to_text(&self) -> String {
        let Self { rows, variance, anchor, next_anchor, pegged, jump } = self;
        let mut text = Writer(String::with_capacity(if jump.is_some() { 200 } else { 80 }));
        text.number(*rows);
        text.number(*variance);
        for anchor in [anchor, next_anchor] {
            match anchor {
                Some(Anchor { amount, at_s }) => {
                    text.amount(*amount);
                    text.number(*at_s);
                }
                None => text.word("-"),
            }
        }
        text.number(*pegged);
        if let Some(Jump { id, from, to, kind, score, rows, state, variance }) = jump {
            text.word(id);
            text.amount(*from);
            text.amount(*to);
            text.number(*kind as u8);
            text.number(*score);
            text.number(*rows);
            text.word(state.text());
            text.number(*variance);
        }
        text.0
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let rows = parts.next()?.parse().ok().filter(|rows| *rows <= super::rule::MOST_ROWS)?;
        let variance = parse_variance(parts.next()?)?;
        let mut anchor = || match parts.next()? {
            "-" => Some(None),
            text => Some(Some(Anchor { amount: text.parse().ok()?, at_s: parts.next()?.parse().ok()? })),
        };
        let (anchor, next_anchor) = (anchor()?, anchor()?);
        let pegged = parts.next()?.parse().ok().filter(|rows| *rows <= super::rule::MEMORY)?;
        let jump = match parts.next() {
            None => None,
            Some(id) => Some(Jump {
                id: id.to_owned(),
                from: parts.next()?.parse().ok()?,
                to: parts.next()?.parse().ok()?,
                kind: Kind::ALL.get(parts.next()?.parse::<usize>().ok()?).copied()?,
                score: parts.next()?.parse().ok().filter(|score| *score <= 100)?,
                rows: parts.next()?.parse().ok().filter(|rows| *rows <= super::rule::MEMORY)?,
                state: JumpState::from_text(parts.next()?)?,
                variance: parse_variance(parts.next()?)?,
            }),
        };
        parts.next().is_none().then_some(Self { rows, variance, anchor, next_anchor, pegged, jump })
    }
}

fn parse_variance(text: &str) -> Option<u64> {
    text.parse().ok().filter(|variance| *variance <= MAX_VARIANCE)
}

/// Words with a blank between them. The general formatting costs several times this.
struct Writer(String);

impl Writer {
    fn word(&mut self, word: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(word);
    }

    fn number(&mut self, number: impl itoa::Integer) {
        self.word(itoa::Buffer::new().format(number));
    }

    fn amount(&mut self, amount: Amount) {
        let (mantissa, exponent) = amount.parts();
        self.number(mantissa);
        self.0.push('e');
        self.0.push_str(itoa::Buffer::new().format(exponent));
    }
}

impl JumpState {
    fn text(self) -> &'static str {
        match self {
            Self::Pending => "p",
            Self::Settled => "s",
            Self::Reverted => "r",
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Settled, Self::Reverted].into_iter().find(|state| state.text() == text)
    }
}
