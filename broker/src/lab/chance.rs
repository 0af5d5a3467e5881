//! The one source of chance of a run.

use std::ops::RangeInclusive;

use crate::entropy::Entropy;

/// Draws, each from the same generator: a run is its seed.
#[derive(Debug)]
pub(super) struct Chance(Entropy);

impl Chance {
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(Entropy::from_seed(seed))
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A generator of its own for somebody.
    pub(super) fn entropy(&mut self) -> Entropy {
        Entropy::from_seed(self.seed())
    }

    /// A number of the range, each as likely as the others.
    pub(super) fn draw(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.0.next_u64() % (high - low + 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.draw(0..=bound.max(1) as u64 - 1)).unwrap_or(0)
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.draw(0..=99) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
