//! Which partition a record goes to: by its key as Kafka's Java client does, or by sticking to one.

/// Kafka's 32-bit murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`), seed and all.
///
/// Every client that wants a key to land where the Java client puts it computes this.
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;
    #[allow(clippy::cast_possible_truncation, reason = "a record's key is far below 4 GiB")]
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(MIX);
        k ^= k >> 24;
        hash = hash.wrapping_mul(MIX) ^ k.wrapping_mul(MIX);
    }
    let tail = words.remainder();
    for (at, byte) in tail.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !tail.is_empty() {
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

/// The partition of a keyed record among `count` (`BuiltInPartitioner.partitionForKey`).
///
/// # Panics
/// When `count` is not positive: a topic without partitions is refused before this is asked.
#[must_use]
pub fn partition_for_key(key: &[u8], count: i32) -> i32 {
    assert!(count > 0, "a topic has partitions");
    // Kafka masks the sign bit rather than taking the absolute value.
    let positive = i32::try_from(murmur2(key) & 0x7fff_ffff).unwrap_or(i32::MAX);
    positive % count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_as_the_java_client() {
        let signed = |bytes: &[u8]| i32::from_le_bytes(murmur2(bytes).to_le_bytes());
        assert_eq!(signed(b"21"), -973_932_308);
        assert_eq!(signed(b"foobar"), -790_332_482);
        assert_eq!(signed(b"a-little-bit-long-string"), -985_981_536);
        assert_eq!(signed(b"a-little-bit-longer-string"), -1_486_304_829);
        assert_eq!(signed(b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"), -58_897_971);
        assert_eq!(signed(b"abc"), 479_470_107);
    }

    #[test]
    fn a_key_lands_inside_and_stays() {
        for count in 1..40 {
            for key in 0..200_u32 {
                let partition = partition_for_key(&key.to_be_bytes(), count);
                assert!((0..count).contains(&partition));
                assert_eq!(partition, partition_for_key(&key.to_be_bytes(), count));
            }
        }
    }
}
