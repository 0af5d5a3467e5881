//! How long to wait before trying again: exponential, with jitter, from a seed that is handed in.

use std::time::Duration;

/// Spread of the jitter: a wait is the nominal one give or take this share, as in Kafka's clients (KIP-580).
const JITTER: f64 = 0.2;

/// A small seeded generator (SplitMix64); the machines draw jitter from it and nothing else.
#[derive(Debug, Clone)]
pub struct Jitter {
    state: u64,
}

impl Jitter {
    /// A generator that gives the same draws for the same seed.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A draw in `0..bound`; 0 when the bound is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    #[allow(clippy::cast_precision_loss, reason = "53 bits are exactly what an f64 holds")]
    fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The shape of a back-off: from `first`, doubling, up to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The nominal wait after the first failure.
    pub first: Duration,
    /// The longest nominal wait.
    pub most: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row, of which the first is number 1; zero for 0.
    pub fn wait(&self, failures: u32, jitter: &mut Jitter) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let doublings = (failures - 1).min(31);
        let nominal = self.first.saturating_mul(1 << doublings).min(self.most);
        nominal.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1) };

    #[test]
    fn waits_double_up_to_the_most_within_the_jitter() {
        let mut jitter = Jitter::from_seed(7);
        for (failures, nominal_ms) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (900, 1000)] {
            for _ in 0..100 {
                let wait = SHAPE.wait(failures, &mut jitter).as_millis();
                assert!((nominal_ms * 8 / 10..=nominal_ms * 12 / 10).contains(&wait), "{failures}: {wait}");
            }
        }
        assert_eq!(SHAPE.wait(0, &mut jitter), Duration::ZERO);
    }

    #[test]
    fn a_seed_gives_the_same_waits() {
        let draw = |seed| {
            let mut jitter = Jitter::from_seed(seed);
            (1..20).map(|n| SHAPE.wait(n, &mut jitter)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
