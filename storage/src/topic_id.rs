//! Kafka's topic id: 16 bytes, printed as 22 characters of url-safe base64.

use std::{fmt, str::FromStr};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LEN: usize = 22;

/// A topic's id (`org.apache.kafka.common.Uuid`).
///
/// ```
/// # use highwater_storage::TopicId;
/// let id: TopicId = "AAAAAAAAAAAAAAAAAAAAAQ".parse().unwrap();
/// assert_eq!(id, TopicId::METADATA);
/// assert_eq!(id.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// All zeros: no id.
    pub const ZERO: Self = Self([0; 16]);
    /// Kafka reserves this id for the cluster metadata topic.
    pub const METADATA: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// The id made of these bytes, most significant first.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, most significant first.
    #[must_use]
    pub const fn get(self) -> [u8; 16] {
        self.0
    }

    /// Whether this is the id that stands for none.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let bits = u128::from_be_bytes(self.0);
        for place in 0..TEXT_LEN {
            // 22 x 6 bits are 132: the last character carries two bits and four zeros.
            let shift = 122_i32 - 6 * i32::try_from(place).unwrap_or(0);
            let six = if shift >= 0 { (bits >> shift) & 63 } else { (bits << -shift) & 63 };
            f.write_char(char::from(ALPHABET[usize::try_from(six).unwrap_or(0)]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

/// A text that is not the 22 characters of a [`TopicId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a topic id is {TEXT_LEN} characters of url-safe base64, not {0:?}")]
pub struct ParseTopicIdError(String);

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseTopicIdError(text.chars().take(TEXT_LEN + 2).collect());
        if text.len() != TEXT_LEN {
            return Err(refuse());
        }
        let mut bits: u128 = 0;
        for (place, character) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|&c| c == character).ok_or_else(refuse)? as u128;
            if place + 1 < TEXT_LEN {
                bits = bits << 6 | six;
            } else if six & 15 == 0 {
                bits = bits << 2 | six >> 4;
            } else {
                return Err(refuse());
            }
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_as_kafka_prints() {
        // java.util.Base64.getUrlEncoder().withoutPadding() of 0xfb..ff, ends in two bits.
        let id = TopicId::new([
            0xfb, 0xff, 0xbf, 0x00, 0x10, 0x83, 0x10, 0x51, 0x87, 0x20, 0x92, 0x8b, 0x30, 0xd3, 0x8f, 0x41,
        ]);
        assert_eq!(id.to_string(), "-_-_ABCDEFGHIJKLMNOPQQ");
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA+",
            "AAAAAAAAAAAAAAAAAAAAAB",
        ] {
            assert!(text.parse::<TopicId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes in any::<[u8; 16]>()) {
            let id = TopicId::new(bytes);
            prop_assert_eq!(id.to_string().parse::<TopicId>().unwrap(), id);
        }
    }
}
