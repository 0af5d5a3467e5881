//! What records are filled with.

use clap::ValueEnum;

/// What is generated ahead where records may be small: more than a batch holds, so that no batch repeats itself.
const POOL_BYTES: usize = 4 * 1024 * 1024;
/// Words of the generated text, chosen at random: compresses about as log lines do.
const WORDS: &str = "the order from customer was accepted after payment cleared and stock in warehouse north reserved \
                     for shipping by carrier express to address on file with status pending until review user session \
                     started request took milliseconds error none retry connection closed timeout while reading";

/// What a record's value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Random bytes, which no codec makes smaller.
    Random,
    /// Random words, which compress as log lines do.
    Text,
    /// Zeros, which compress to almost nothing.
    Zeros,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Text => "text",
            Self::Zeros => "zeros",
        }
    }
}

/// Values of one size, one after the other out of a pool made ahead: making them costs the run nothing. The same kind
/// and seed give the same values.
#[derive(Debug)]
pub(super) struct Payload {
    pool: Vec<u8>,
    size: usize,
    next: usize,
}

impl Payload {
    pub(super) fn new(kind: Kind, size: usize, seed: u64) -> Self {
        let len = match kind {
            Kind::Zeros => size,
            Kind::Random | Kind::Text => POOL_BYTES.max(size.saturating_mul(4)),
        };
        let mut chance = Chance(seed);
        let pool = match kind {
            Kind::Zeros => vec![0; len],
            Kind::Random => random(len, &mut chance),
            Kind::Text => text(len, &mut chance),
        };
        Self { pool, size, next: 0 }
    }

    pub(super) fn next(&mut self) -> &mut [u8] {
        if self.next + self.size > self.pool.len() {
            self.next = 0;
        }
        let start = self.next;
        self.next += self.size;
        &mut self.pool[start..start + self.size]
    }
}

fn random(len: usize, chance: &mut Chance) -> Vec<u8> {
    let mut pool = Vec::with_capacity(len + 8);
    while pool.len() < len {
        pool.extend(chance.next().to_le_bytes());
    }
    pool.truncate(len);
    pool
}

fn text(len: usize, chance: &mut Chance) -> Vec<u8> {
    let words: Vec<&str> = WORDS.split_ascii_whitespace().collect();
    let mut pool = Vec::with_capacity(len + 16);
    while pool.len() < len {
        let drawn = usize::try_from(chance.next() >> 33).unwrap_or(0);
        pool.extend(words[drawn % words.len()].as_bytes());
        pool.push(b' ');
    }
    pool.truncate(len);
    pool
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_go_on_for_ever() {
        for kind in [Kind::Random, Kind::Text, Kind::Zeros] {
            for size in [1, 7, 1024, POOL_BYTES, POOL_BYTES + 1] {
                let mut payload = Payload::new(kind, size, 1);
                for _ in 0..20 {
                    assert_eq!(payload.next().len(), size);
                }
            }
        }
    }

    #[test]
    fn a_batch_does_not_repeat_itself() {
        let mut payload = Payload::new(Kind::Random, 1000, 1);
        let mut seen: Vec<Vec<u8>> = (0..1000).map(|_| payload.next().to_vec()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn the_seed_decides() {
        let of = |kind, seed| Payload::new(kind, 100, seed).next().to_vec();
        for kind in [Kind::Random, Kind::Text] {
            assert_eq!(of(kind, 1), of(kind, 1));
            assert_ne!(of(kind, 1), of(kind, 2));
        }
        assert!(of(Kind::Text, 1).iter().all(|byte| byte.is_ascii_lowercase() || *byte == b' '));
        assert_eq!(of(Kind::Zeros, 1), [0; 100]);
    }
}
