//! The newest offset of each key, in bounded memory (`SkimpyOffsetMap`).
//!
//! Keys are known by a hash of 128 bits, as in Kafka: two that share one would be taken for the same key, which does not
//! happen. 24 bytes a key, in one table that grows to its limit.

use twox_hash::XxHash3_128;

use crate::Offset;

/// The table a map begins with.
const FIRST_SLOTS: usize = 1 << 10;
/// Of this many slots, four are used at most: searches stay short.
const SLOTS_PER_FOUR: usize = 5;

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    /// -1: nothing is here.
    offset: i64,
}

const FREE: Slot = Slot { hash: [0; 2], offset: -1 };

#[derive(Debug)]
pub(super) struct Newest {
    /// A power of two of them.
    slots: Vec<Slot>,
    used: usize,
    most_slots: usize,
}

impl Newest {
    /// A map of at most so many bytes, but for [`insist`](Self::insist) and, while it grows, half as much again.
    pub(super) fn new(limit_bytes: usize) -> Self {
        let most_slots = (limit_bytes / size_of::<Slot>()).max(2);
        let most_slots =
            if most_slots.is_power_of_two() { most_slots } else { most_slots.next_power_of_two() / 2 };
        Self { slots: vec![FREE; FIRST_SLOTS.min(most_slots)], used: 0, most_slots }
    }

    /// Notes that a record of this key is at `offset`, which only rises. `false`: the map is full and does not know the key.
    #[must_use]
    pub(super) fn note(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = hash(key);
        let mut at = self.find(hash);
        if self.slots[at].offset < 0 {
            if self.is_crowded() {
                if self.slots.len() >= self.most_slots {
                    return false;
                }
                self.grow();
                at = self.find(hash);
            }
            self.used += 1;
        }
        self.slots[at] = Slot { hash, offset: offset.get() };
        true
    }

    /// Allows as many more as it takes for this one.
    pub(super) fn insist(&mut self, key: &[u8], offset: Offset) {
        if !self.note(key, offset) {
            self.most_slots *= 2;
            let noted = self.note(key, offset);
            debug_assert!(noted);
        }
    }

    /// Whether a later record of this key was noted.
    pub(super) fn has_later(&self, key: &[u8], offset: Offset) -> bool {
        self.slots[self.find(hash(key))].offset > offset.get()
    }

    fn is_crowded(&self) -> bool {
        (self.used + 1) * SLOTS_PER_FOUR > self.slots.len() * 4
    }

    /// The slot of a hash, or the free one where it would go.
    fn find(&self, hash: [u64; 2]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = usize::try_from(hash[0] & mask as u64).unwrap_or(0);
        while self.slots[at].offset >= 0 && self.slots[at].hash != hash {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let twice = vec![FREE; self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, twice) {
            if slot.offset >= 0 {
                let at = self.find(slot.hash);
                self.slots[at] = slot;
            }
        }
    }
}

fn hash(key: &[u8]) -> [u64; 2] {
    let hash = XxHash3_128::oneshot(key);
    #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
    [hash as u64, (hash >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn it_knows_what_a_tree_knows_until_it_is_full(keys in vec(0u16..3000, 0..4000), limit in 0usize..100_000) {
            let mut newest = Newest::new(limit);
            let mut known = BTreeMap::new();
            for (offset, key) in (0..).zip(&keys) {
                if newest.note(&key.to_be_bytes(), Offset::new(offset)) {
                    known.insert(*key, offset);
                } else {
                    // A table of half as many slots would be full at four fifths of them.
                    prop_assert!(!known.contains_key(key) && known.len() >= limit / 24 / 2 * 4 / 5);
                }
                prop_assert!(newest.slots.len() * 24 <= limit.max(48));
            }
            for key in 0u16..3000 {
                let last = known.get(&key).copied().unwrap_or(0);
                prop_assert!(!newest.has_later(&key.to_be_bytes(), Offset::new(last)));
                prop_assert_eq!(newest.has_later(&key.to_be_bytes(), Offset::new(last - 1)), known.contains_key(&key));
            }
        }
    }

    #[test]
    fn what_is_insisted_on_is_known() {
        let mut newest = Newest::new(0);
        (0..1000u32).for_each(|n| newest.insist(&n.to_be_bytes(), Offset::new(i64::from(n))));
        assert!((1..1000u32).all(|n| newest.has_later(&n.to_be_bytes(), Offset::new(i64::from(n) - 1))));
    }
}
