//! Repeatable random numbers.

/// A small pseudo-random generator: the same seed gives the same numbers.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A random number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// One of the choices.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.below(choices.len() as u64)).expect("fits")]
    }

    /// Shuffles a slice.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, usize::try_from(self.below(last as u64 + 1)).expect("fits"));
        }
    }

    /// A random factor between `1 - spread` and `1 + spread`.
    pub fn factor(&mut self, spread: f64) -> f64 {
        1.0 + spread * (self.below(20_001) as f64 / 10_000.0 - 1.0)
    }
}
