//! Writing: small values into one buffer, large byte strings by reference.

use bytes::Bytes;

use crate::segments::Segments;

/// From this length on, bytes become a segment of their own instead of being copied. Below it one more entry in a
/// vectored write costs more than the copy.
pub const SHARED_FROM_BYTES: usize = 2048;

/// What most messages fit in, so that most are one allocation.
const USUAL_BYTES: usize = 256;

/// Why a message cannot be written at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message has no such version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field holds a value that this version has no place for, and the receiver needs it.
    #[error("{structure} cannot carry {field} at version {version}")]
    FieldNotCarried {
        /// The structure's name.
        structure: &'static str,
        /// The field's name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null at a version where it cannot be.
    #[error("{field} of {structure} cannot be null at version {version}")]
    NullNotCarried {
        /// The structure's name.
        structure: &'static str,
        /// The field's name.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string is longer than [`MAX_STRING_BYTES`](crate::MAX_STRING_BYTES).
    #[error("a string of {0} bytes is longer than the 32767 a string may have")]
    StringTooLong(usize),
    /// A byte string, an array or a frame is longer than its 32-bit length can say.
    #[error("a length of {0} does not fit in 31 bits")]
    TooLong(usize),
}

/// A message being written.
///
/// After an error what was written so far is of no use; drop it.
#[derive(Debug)]
pub struct Encoder {
    /// Every byte that was copied, in order.
    copied: Vec<u8>,
    /// Every byte string that was not, each with the length of `copied` when it was put.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
    /// How many tagged fields are being written: their size precedes them, so what is in them is copied.
    open_tagged_fields: usize,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::with_capacity(USUAL_BYTES)
    }
}

impl Encoder {
    /// An encoder with room for `capacity_bytes` copied bytes before it allocates again.
    pub fn with_capacity(capacity_bytes: usize) -> Self {
        let copied = Vec::with_capacity(capacity_bytes);
        Encoder { copied, shared: Vec::new(), shared_bytes: 0, open_tagged_fields: 0 }
    }

    /// How many bytes have been written, copied and shared.
    pub fn len_bytes(&self) -> usize {
        self.copied.len() + self.shared_bytes
    }

    /// What was written.
    pub fn finish(self) -> Segments {
        Segments::new(self.copied, self.shared)
    }

    /// What was written, its first four bytes (written as a placeholder) replaced by the size of the rest.
    pub(crate) fn finish_frame(mut self) -> Result<Segments, EncodeError> {
        let size_bytes = self.len_bytes() - 4;
        let size = i32::try_from(size_bytes).map_err(|_| EncodeError::TooLong(size_bytes))?;
        self.copied[..4].copy_from_slice(&size.to_be_bytes());
        Ok(self.finish())
    }

    /// Copies bytes as they are.
    #[inline]
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    /// Puts bytes as they are, without copying them if they are many.
    pub(crate) fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_FROM_BYTES || self.open_tagged_fields > 0 {
            return self.put_slice(bytes);
        }
        self.shared_bytes += bytes.len();
        self.shared.push((self.copied.len(), bytes.clone()));
    }

    /// Writes an unsigned integer in groups of seven bits, lowest first (KIP-482).
    #[inline]
    pub fn put_unsigned_varint(&mut self, value: u32) {
        let (groups, count) = varint(value);
        self.put_slice(&groups[..count]);
    }

    /// Writes a length as flexible versions do: plus one, so that zero is null.
    pub(crate) fn put_compact_length(&mut self, length: usize) -> Result<(), EncodeError> {
        let length = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
        self.put_unsigned_varint(length.unsigned_abs() + 1);
        Ok(())
    }

    /// Writes one tagged field: tag, size, and the content that `write` writes.
    pub fn put_tagged_field(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.put_unsigned_varint(tag);
        let start = self.copied.len();
        self.open_tagged_fields += 1;
        write(self)?;
        self.open_tagged_fields -= 1;
        let size_bytes = self.copied.len() - start;
        let size = u32::try_from(size_bytes).map_err(|_| EncodeError::TooLong(size_bytes))?;
        // The size is known only now. Tagged fields are few and small: moving one is cheaper than measuring all.
        let (groups, count) = varint(size);
        self.copied.extend_from_slice(&groups[..count]);
        self.copied[start..].rotate_right(count);
        Ok(())
    }
}

/// The groups of a varint and how many of them are used.
#[inline]
fn varint(mut value: u32) -> ([u8; 5], usize) {
    let mut groups = [0; 5];
    let mut count = 0;
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        groups[count] = if value == 0 { low } else { low | 0x80 };
        count += 1;
        if value == 0 {
            return (groups, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::Decoder;
    use crate::wire::{Version, Wire};

    #[test]
    fn varints_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 28, u32::MAX] {
            let mut encoder = Encoder::default();
            encoder.put_unsigned_varint(value);
            let mut decoder = Decoder::new(encoder.finish().into_bytes());
            assert_eq!(decoder.unsigned_varint(), Ok(value));
            assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn long_bytes_are_shared_and_short_ones_copied() {
        let long = Bytes::from(vec![7; SHARED_FROM_BYTES]);
        let mut encoder = Encoder::default();
        encoder.put_slice(b"before");
        encoder.put_bytes(&long);
        encoder.put_bytes(&Bytes::from_static(b"short"));
        let mut segments = encoder.finish();
        segments.advance(6);
        assert_eq!(segments.chunk().as_ptr(), long.as_ptr());
        segments.advance(long.len());
        assert_eq!(segments.chunk(), b"short");
    }

    #[test]
    fn a_tagged_field_is_preceded_by_its_size_however_long() {
        for length in [0, 1, 126, 127, 128, SHARED_FROM_BYTES, 20_000] {
            let content = Bytes::from(vec![5; length]);
            let mut encoder = Encoder::default();
            let version = Version { number: 0, flexible: true };
            encoder.put_tagged_field(3, |to| content.write(to, version)).unwrap();
            let mut decoder = Decoder::new(encoder.finish().into_bytes());
            assert_eq!(decoder.unsigned_varint(), Ok(3));
            let size = decoder.unsigned_varint().unwrap() as usize;
            assert_eq!(size, decoder.remaining_bytes());
            assert_eq!(decoder.compact_length(), Ok(Some(length)));
            assert_eq!(decoder.slice(length), Ok(content));
            assert_eq!(decoder.finish(), Ok(()));
        }
    }
}
