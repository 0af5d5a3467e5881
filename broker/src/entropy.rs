//! The node's source of chance: seeded from outside, so that the same seed gives the same ids.

use highwater_storage::TopicId;

/// A small generator (SplitMix64, Steele et al. 2014): not for secrets, only for ids that should not meet.
#[derive(Debug, Clone)]
pub struct Entropy {
    state: u64,
}

impl Entropy {
    /// A generator that gives the same numbers for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 1 to `i32::MAX`: what Kafka takes for a fetch session.
    pub fn positive_i32(&mut self) -> i32 {
        loop {
            let number = i32::try_from(self.next_u64() >> 33).unwrap_or(0);
            if number > 0 {
                return number;
            }
        }
    }

    /// A random (version 4) uuid whose text does not begin with '-', as Kafka makes topic and cluster ids.
    pub fn uuid(&mut self) -> TopicId {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.next_u64().to_be_bytes());
            bytes[8..].copy_from_slice(&self.next_u64().to_be_bytes());
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let id = TopicId::new(bytes);
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let ids = |seed| {
            let mut entropy = Entropy::from_seed(seed);
            (entropy.uuid(), entropy.positive_i32(), entropy.next_u64())
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
    }
}
