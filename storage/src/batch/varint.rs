//! Zigzag varints (Protocol Buffers' sint32 and sint64), as records use them.

/// Appends `value`.
#[inline]
pub(crate) fn put(into: &mut Vec<u8>, value: i64) {
    let bits = zigzag(value);
    match bits {
        // The usual case: lengths and deltas of one byte or two.
        0..0x80 => into.push(low_bits(bits)),
        0x80..0x4000 => into.extend_from_slice(&[low_bits(bits) | 0x80, low_bits(bits >> 7)]),
        _ => put_long(into, bits),
    }
}

#[cold]
fn put_long(into: &mut Vec<u8>, mut bits: u64) {
    while bits >= 0x80 {
        into.push(low_bits(bits) | 0x80);
        bits >>= 7;
    }
    into.push(low_bits(bits));
}

/// How many bytes [`put`] takes for `value`.
#[inline]
pub(crate) fn len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Takes a 64-bit varint off the front; `None` if the bytes end in it or it is longer than 64 bits.
#[inline]
pub(crate) fn take_i64(from: &mut &[u8]) -> Option<i64> {
    // The usual case, as in `put`.
    let (bits, rest) = match *from {
        [low @ 0..0x80, rest @ ..] => (u64::from(*low), rest),
        [low, high @ 0..0x80, rest @ ..] => (u64::from(low & 0x7f) | u64::from(*high) << 7, rest),
        _ => return take_long(from),
    };
    *from = rest;
    Some(unzigzag(bits))
}

#[cold]
fn take_long(from: &mut &[u8]) -> Option<i64> {
    let mut bits: u64 = 0;
    for (place, &byte) in from.iter().enumerate().take(10) {
        let seven = u64::from(byte & 0x7f);
        if place == 9 && seven > 1 {
            return None;
        }
        bits |= seven << (7 * place);
        if byte & 0x80 == 0 {
            *from = &from[place + 1..];
            return Some(unzigzag(bits));
        }
    }
    None
}

/// Takes a 32-bit varint off the front.
#[inline]
pub(crate) fn take_i32(from: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_i64(from)?).ok()
}

#[allow(clippy::cast_sign_loss)] // the mapping onto unsigned is the point
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[allow(clippy::cast_possible_wrap)]
const fn unzigzag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}

#[allow(clippy::cast_possible_truncation)]
const fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips_in_the_length_foretold(value in prop_oneof![any::<i64>(), -200..200i64]) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len(), len(value));
            let mut rest = &bytes[..];
            prop_assert_eq!(take_i64(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
            let mut rest = &bytes[..];
            prop_assert_eq!(take_i32(&mut rest), i32::try_from(value).ok());
            prop_assert_eq!(take_i64(&mut &bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = take_i64(&mut &bytes[..]);
            let _ = take_i32(&mut &bytes[..]);
        }
    }

    #[test]
    fn known_values() {
        for (value, bytes) in
            [(0, &[0][..]), (-1, &[1]), (1, &[2]), (63, &[0x7e]), (-64, &[0x7f]), (64, &[0x80, 1])]
        {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes);
        }
    }
}
