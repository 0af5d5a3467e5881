//! Base64 (RFC 4648 section 4, padded): how JSON carries bytes that are not text.

use std::io::{self, Write};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let mut text = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]);
        text[group.len() + 1..].fill(b'=');
        out.write_all(&text)?;
    }
    Ok(())
}

/// The bytes; `None` for what is not base64 as [`encode`] writes it.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|digit| **digit == b'=').count();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text[..text.len() - padding].chunks(4) {
        let mut bits = 0;
        for place in 0..4 {
            let value = group.get(place).map_or(Some(0), |digit| value_of(*digit))?;
            bits = bits << 6 | value;
        }
        let [_, whole @ ..] = u32::to_be_bytes(bits);
        let (kept, cut) = whole.split_at(group.len() - 1);
        if cut.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

fn value_of(digit: u8) -> Option<u32> {
    ALPHABET.iter().position(|known| *known == digit).and_then(|place| u32::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        encode(&mut out, bytes).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encoded(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn every_byte_comes_back() {
        for len in 0..=256 {
            let bytes: Vec<u8> = (0..=u8::MAX).cycle().skip(7).take(len).collect();
            assert_eq!(decode(&encoded(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for wrong in
            ["A", "AA", "AAA", "A===", "====", "AA=A", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "_-AA", "AAAAA==="]
        {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
