//! Reading: a position in a frame that can never pass its end.

use bytes::Bytes;

use crate::segments::Segments;
use crate::text::Text;

/// The longest string Kafka writes or accepts, in bytes: its length was once a signed 16-bit number.
pub const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// What was wrong with some bytes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at} of the frame: {malformed}")]
pub struct DecodeError {
    /// Position in the frame, in bytes from its start.
    pub at: usize,
    /// What was wrong there.
    pub malformed: Malformed,
}

/// The ways in which bytes fail to be a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A value goes on past the end of what holds it (the frame, or a tagged field).
    #[error("{needed_bytes} bytes expected, {remaining_bytes} remain")]
    Short {
        /// How many bytes the value needs.
        needed_bytes: usize,
        /// How many there are.
        remaining_bytes: usize,
    },
    /// A length below zero where null is not allowed, or one that no frame can hold.
    #[error("a length of {0} is impossible")]
    Length(i64),
    /// More elements than the remaining bytes can hold.
    #[error("an array of {count} elements cannot fit in the {remaining_bytes} bytes that remain")]
    Count {
        /// The elements announced.
        count: usize,
        /// The bytes left for them.
        remaining_bytes: usize,
    },
    /// A string longer than [`MAX_STRING_BYTES`].
    #[error("a string of {0} bytes is longer than the 32767 a string may have")]
    StringTooLong(usize),
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A variable-length integer that does not end where its type does.
    #[error("a variable-length integer does not fit in 32 bits")]
    Varint,
    /// Null for a value that cannot be null.
    #[error("null for a value that cannot be null")]
    Null,
    /// Null for a field that cannot be null at this version.
    #[error("null for {0}, which cannot be null at this version")]
    NullField(&'static str),
    /// Tagged fields that are not in ascending order.
    #[error("tagged field {tag} comes after {previous}")]
    TagOrder {
        /// The tag that came before.
        previous: u32,
        /// The tag that should not have come now.
        tag: u32,
    },
    /// A tagged field whose content ends before its size does.
    #[error("tagged field {tag} is {left_bytes} bytes longer than its content")]
    TagSize {
        /// The tag.
        tag: u32,
        /// The bytes its content left over.
        left_bytes: usize,
    },
    /// Lists that would take more memory than they may (see [`Decoder::limit_memory`]).
    #[error("{needed_bytes} bytes of memory are needed for a list, {left_bytes} are left to this frame")]
    Memory {
        /// What a list needs.
        needed_bytes: usize,
        /// What the frame may still take.
        left_bytes: usize,
    },
    /// Bytes after the end of the message.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    /// A version of a message that this crate does not have.
    #[error("{message} has no version {version}")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// An API key that this crate does not have.
    #[error("API key {0} is unknown")]
    ApiKey(i16),
}

/// A position in a frame.
///
/// Slices handed out (strings, bytes, records) share the frame's memory and keep it alive.
///
/// A frame that never crossed a socket may be read as the [`Segments`] it was written in. Its shared pieces are whole byte
/// strings and are handed out as they are; positions and what remains count the copied bytes alone.
#[derive(Debug, Clone)]
pub struct Decoder {
    frame: Bytes,
    /// Byte strings that are not in `frame`, in order, the next one last; each with the position before which it stands.
    shared: Vec<(usize, Bytes)>,
    at: usize,
    /// Where reading must stop: the end of the frame or of the tagged field being read. Never beyond the frame.
    end: usize,
    /// How much memory lists may still take.
    memory_left_bytes: usize,
}

impl Decoder {
    /// Starts at the first byte of `frame`.
    pub fn new(frame: Bytes) -> Self {
        let end = frame.len();
        Decoder { frame, shared: Vec::new(), at: 0, end, memory_left_bytes: usize::MAX }
    }

    /// Refuses what would take more than `max_bytes` of memory for lists from here on.
    ///
    /// Without it a frame can take [`MAX_DECODED_BYTES_PER_FRAME_BYTE`](crate::MAX_DECODED_BYTES_PER_FRAME_BYTE) times
    /// its size. Strings and records take nothing: they are slices of the frame.
    pub fn limit_memory(&mut self, max_bytes: usize) {
        self.memory_left_bytes = max_bytes;
    }

    /// Takes memory for `count` elements of a list out of the limit.
    #[inline]
    pub(crate) fn take_memory<T>(&mut self, count: usize) -> Result<(), DecodeError> {
        let needed_bytes = count.saturating_mul(size_of::<T>());
        let left_bytes = self.memory_left_bytes;
        match left_bytes.checked_sub(needed_bytes) {
            Some(left) => self.memory_left_bytes = left,
            None => return Err(self.error(Malformed::Memory { needed_bytes, left_bytes })),
        }
        Ok(())
    }

    /// Another decoder of the copied bytes, from their start.
    pub(crate) fn copied(&self) -> Self {
        Decoder::new(self.frame.clone())
    }

    /// How many bytes are left to read.
    pub fn remaining_bytes(&self) -> usize {
        self.end - self.at
    }

    /// The position in the frame, in bytes from its start.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Ends the reading: an error if any byte is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        let shared_bytes: usize = self.shared.iter().map(|(_, bytes)| bytes.len()).sum();
        match self.remaining_bytes() + shared_bytes {
            0 => Ok(()),
            left => Err(self.error(Malformed::Trailing(left))),
        }
    }

    /// An error at the present position.
    #[cold]
    pub fn error(&self, malformed: Malformed) -> DecodeError {
        DecodeError { at: self.at, malformed }
    }

    /// Fails unless `needed_bytes` are left.
    #[inline]
    fn require(&self, needed_bytes: usize) -> Result<(), DecodeError> {
        let remaining_bytes = self.remaining_bytes();
        if needed_bytes > remaining_bytes {
            return Err(self.error(Malformed::Short { needed_bytes, remaining_bytes }));
        }
        Ok(())
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.require(N)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.frame[self.at..self.at + N]);
        self.at += N;
        Ok(array)
    }

    /// The next `length_bytes` bytes, sharing the frame's memory.
    #[inline]
    pub(crate) fn slice(&mut self, length_bytes: usize) -> Result<Bytes, DecodeError> {
        if let Some((before, bytes)) = self.shared.last()
            && (*before, bytes.len()) == (self.at, length_bytes)
            && let Some((_, bytes)) = self.shared.pop()
        {
            return Ok(bytes);
        }
        self.require(length_bytes)?;
        let slice = self.frame.slice(self.at..self.at + length_bytes);
        self.at += length_bytes;
        Ok(slice)
    }

    /// The next `length_bytes` bytes as a string.
    pub(crate) fn text(&mut self, length_bytes: usize) -> Result<Text, DecodeError> {
        if length_bytes > MAX_STRING_BYTES {
            return Err(self.error(Malformed::StringTooLong(length_bytes)));
        }
        let started_at = self.at;
        let slice = self.slice(length_bytes)?;
        Text::try_from(slice).map_err(|_| DecodeError { at: started_at, malformed: Malformed::NotUtf8 })
    }

    /// An unsigned integer of up to 32 bits in groups of seven, lowest first (KIP-482).
    #[inline]
    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let [first] = self.array()?;
        if first < 0x80 {
            return Ok(u32::from(first));
        }
        self.long_unsigned_varint(first)
    }

    fn long_unsigned_varint(&mut self, first: u8) -> Result<u32, DecodeError> {
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let [byte] = self.array()?;
            // The fifth group has room for the top four bits and for nothing else.
            if shift == 28 && byte > 0x0f {
                return Err(self.error(Malformed::Varint));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(Malformed::Varint))
    }

    /// A length at flexible versions, stored plus one: `None` for zero, which means null.
    #[inline]
    pub(crate) fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let stored = self.unsigned_varint()?;
        let Some(length) = stored.checked_sub(1) else { return Ok(None) };
        if i32::try_from(length).is_err() {
            return Err(self.error(Malformed::Length(i64::from(length))));
        }
        Ok(Some(length as usize))
    }

    /// Reads the tagged fields that end a structure (KIP-482). `read` is handed each tag with a decoder that ends
    /// where the field does, and says whether it knew the tag; what it did not know is skipped.
    pub fn tagged_fields(
        &mut self,
        mut read: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()?;
        let mut previous = None;
        for _ in 0..count {
            let (tag, size_bytes) = self.tag(previous)?;
            let outer_end = std::mem::replace(&mut self.end, self.at + size_bytes);
            let known = read(tag, self)?;
            if !known {
                self.at = self.end;
            }
            let left_bytes = self.remaining_bytes();
            if left_bytes > 0 {
                return Err(self.error(Malformed::TagSize { tag, left_bytes }));
            }
            self.end = outer_end;
            previous = Some(tag);
        }
        Ok(())
    }

    /// Skips the tagged fields of a structure that has none we know.
    #[inline]
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        if self.remaining_bytes() > 0 && self.frame[self.at] == 0 {
            self.at += 1;
            return Ok(());
        }
        self.tagged_fields(|_, _| Ok(false))
    }

    /// The next tagged field's tag and size, the size checked against what remains.
    fn tag(&mut self, previous: Option<u32>) -> Result<(u32, usize), DecodeError> {
        let tag = self.unsigned_varint()?;
        if let Some(previous) = previous.filter(|previous| *previous >= tag) {
            return Err(self.error(Malformed::TagOrder { previous, tag }));
        }
        let size_bytes = self.unsigned_varint()? as usize;
        self.require(size_bytes)?;
        Ok((tag, size_bytes))
    }
}

impl From<Bytes> for Decoder {
    fn from(frame: Bytes) -> Self {
        Decoder::new(frame)
    }
}

impl From<Segments> for Decoder {
    fn from(frame: Segments) -> Self {
        let (copied, mut shared) = frame.into_parts();
        shared.reverse();
        Decoder { shared, ..Decoder::new(copied) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(bytes: &'static [u8]) -> Decoder {
        Decoder::new(Bytes::from_static(bytes))
    }

    #[test]
    fn varints_end_where_32_bits_do() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x7f], 127),
            (&[0x80, 0x01], 128),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], u32::MAX),
        ] {
            let mut decoder = Decoder::new(Bytes::copy_from_slice(bytes));
            assert_eq!(decoder.unsigned_varint(), Ok(value));
            assert_eq!(decoder.finish(), Ok(()));
        }
        let too_long = decoder(&[0xff, 0xff, 0xff, 0xff, 0x1f]).unsigned_varint();
        assert_eq!(too_long.map_err(|error| error.malformed), Err(Malformed::Varint));
        let cut = decoder(&[0x80]).unsigned_varint();
        assert!(matches!(cut.map_err(|error| error.malformed), Err(Malformed::Short { .. })));
    }

    #[test]
    fn a_slice_shares_the_frame() {
        let frame = Bytes::from(vec![1, 2, 3, 4]);
        let mut decoder = Decoder::new(frame.clone());
        let _ = decoder.array::<1>();
        let slice = decoder.slice(2).unwrap();
        assert_eq!(slice.as_ptr(), frame[1..].as_ptr());
    }

    #[test]
    fn a_shared_piece_is_read_where_it_stands_as_long_as_it_is() {
        let shared = || vec![(1, Bytes::from_static(b"abc"))];
        let reading = |lengths: [usize; 2]| {
            let mut from = Decoder::from(Segments::new(vec![1, 2, 3], shared()));
            let _ = from.array::<1>();
            let slices = lengths.map(|length| from.slice(length));
            (slices.map(|slice| slice.map_err(|error| error.malformed)), from.finish().is_ok())
        };
        let piece = Bytes::from_static;
        assert_eq!(reading([3, 2]), ([Ok(piece(b"abc")), Ok(piece(&[2, 3]))], true));
        let short = Err(Malformed::Short { needed_bytes: 4, remaining_bytes: 2 });
        assert_eq!(reading([4, 3]), ([short, Ok(piece(b"abc"))], false));
        assert_eq!(reading([2, 0]), ([Ok(piece(&[2, 3])), Ok(Bytes::new())], false), "passed over");
    }

    #[test]
    fn unknown_tagged_fields_are_skipped_and_known_ones_read_within_their_size() {
        // Two fields: tag 1 of three bytes, tag 5 of one byte.
        let mut from = decoder(&[2, 1, 3, 9, 9, 9, 5, 1, 7, 0xaa]);
        let mut seen = None;
        let result = from.tagged_fields(|tag, from| {
            if tag == 5 {
                seen = Some(from.array::<1>()?[0]);
            }
            Ok(tag == 5)
        });
        assert_eq!((result, seen, from.remaining_bytes()), (Ok(()), Some(7), 1));
    }

    #[test]
    fn tagged_fields_ascend_and_fill_their_size() {
        let malformed = |bytes| {
            let known = |_, from: &mut Decoder| from.array::<1>().map(|_| true);
            decoder(bytes).tagged_fields(known).map_err(|error| error.malformed)
        };
        assert_eq!(malformed(&[2, 5, 1, 0, 5, 1, 0]), Err(Malformed::TagOrder { previous: 5, tag: 5 }));
        assert_eq!(malformed(&[1, 0, 2, 0, 0]), Err(Malformed::TagSize { tag: 0, left_bytes: 1 }));
        assert_eq!(malformed(&[1, 0, 0, 9]), Err(Malformed::Short { needed_bytes: 1, remaining_bytes: 0 }));
        assert_eq!(malformed(&[1, 0, 9, 9]), Err(Malformed::Short { needed_bytes: 9, remaining_bytes: 1 }));
    }
}
