//! The sixteen bytes by which Kafka names topics and directories.

use std::fmt;
use std::str::FromStr;

/// An id of sixteen bytes. Prints as Kafka prints it: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// No id: what a message carries where there is none.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits are 21 groups of six, and two bits that are the top of the last group.
        let bits = u128::from_be_bytes(self.0);
        let mut characters = [0; 22];
        for (index, character) in characters.iter_mut().enumerate() {
            let group = if index == 21 { (bits & 0b11) << 4 } else { (bits >> (122 - 6 * index)) & 0x3f };
            *character = BASE64_URL[group as usize];
        }
        f.pad(std::str::from_utf8(&characters).unwrap_or_default())
    }
}

/// A string that is not an id as Kafka prints one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 22 characters of URL-safe base64")]
pub struct NotUuid;

impl FromStr for Uuid {
    type Err = NotUuid;

    fn from_str(text: &str) -> Result<Self, NotUuid> {
        let characters: &[u8; 22] = text.as_bytes().try_into().map_err(|_| NotUuid)?;
        let group = |character: u8| BASE64_URL.iter().position(|known| *known == character).ok_or(NotUuid);
        let mut bits = 0u128;
        for character in &characters[..21] {
            bits = bits << 6 | group(*character)? as u128;
        }
        // The last group has two bits of the id; the four below them are padding.
        let last = group(characters[21])? as u128;
        if last & 0b1111 != 0 {
            return Err(NotUuid);
        }
        Ok(Uuid((bits << 2 | last >> 4).to_be_bytes()))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_kafka_does() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
        let mut one = [0; 16];
        one[15] = 1;
        assert_eq!(Uuid(one).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    proptest::proptest! {
        #[test]
        fn is_read_as_it_is_printed(bytes: [u8; 16]) {
            let printed = Uuid(bytes).to_string();
            proptest::prop_assert_eq!(printed.parse(), Ok(Uuid(bytes)));
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(text.parse::<Uuid>(), Err(NotUuid), "{text}");
        }
    }
}
