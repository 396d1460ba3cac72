//! Chance as a pure function: the same question under the same seed has the same answer.
//!
//! There is no running generator. str0m chooses SSRCs, transaction ids and the order of its maps at
//! random, so two runs of one seed ask the same questions, but not in an order that could be relied on.

/// Mixes numbers into one (the finalizer of splitmix64, applied to each in turn).
pub fn mix(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0x9e37_79b9_7f4a_7c15, |state, number| {
        let mut z = (state ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// True in `per_mille` of a thousand cases.
pub fn chance(mixed: u64, per_mille: u32) -> bool {
    mixed % 1_000 < u64::from(per_mille)
}

/// A number below `end`; 0 when `end` is 0.
pub fn below(mixed: u64, end: u64) -> u64 {
    mixed.checked_rem(end).unwrap_or(0)
}

/// A row of answers for one asker, who asks in a fixed order: a scene that makes up its own actions.
#[derive(Clone, Debug)]
pub struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    /// Dice of their own for each `use_of` the seed.
    pub fn new(seed: u64, use_of: u64) -> Self {
        Dice { seed: mix(&[seed, use_of]), thrown: 0 }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.thrown += 1;
        below(mix(&[self.seed, self.thrown]), end)
    }

    /// True in `per_mille` of a thousand cases.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_even_and_repeats() {
        for per_mille in [0, 30, 500, 1_000] {
            let hits = (0..10_000).filter(|n| chance(mix(&[7, *n]), per_mille)).count() as i64;
            assert!((hits - i64::from(per_mille) * 10).abs() < 200, "{per_mille}: {hits}");
        }
        assert_eq!(mix(&[1, 2]), mix(&[1, 2]));
        assert_ne!(mix(&[1, 2]), mix(&[2, 1]));
        let (mut a, mut b) = (Dice::new(5, 1), Dice::new(5, 1));
        assert!((0..100).all(|_| a.below(6) == b.below(6)));
    }
}
