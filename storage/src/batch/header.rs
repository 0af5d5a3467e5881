//! The 61 bytes every batch begins with.

use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, crc32c};

/// The format this crate reads and writes; 0 and 1 are long gone from Kafka's protocol.
pub(crate) const MAGIC: i8 = 2;
/// Base offset and length: they precede the bytes the length counts.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;

pub(crate) const LENGTH_AT: usize = 8;
pub(crate) const LEADER_EPOCH_AT: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21;

/// Bytes that are not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("batch of {needed_bytes} bytes cut off after {available_bytes}")]
    Truncated {
        /// What the batch needs, as far as that is known.
        needed_bytes: usize,
        /// What there is.
        available_bytes: usize,
    },
    /// The length field says less than a header.
    #[error("batch length {0} is less than a header's")]
    Length(i32),
    /// Another format version.
    #[error("batch magic {0}, not {MAGIC}")]
    Magic(i8),
    /// The checksum does not match.
    #[error("batch CRC-32C is {computed:#010x}, its header says {stored:#010x}")]
    Crc {
        /// From the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A codec id Kafka has not assigned.
    #[error("unknown compression codec {0}")]
    Codec(u8),
    /// The last offset lies before the base offset, or past the last offset there is.
    #[error("batch at {base_offset} has last offset delta {last_offset_delta}")]
    OffsetRange {
        /// The batch's first offset.
        base_offset: Offset,
        /// What is to be added to it.
        last_offset_delta: i32,
    },
    /// The batch does not follow the one before it.
    #[error("batch at {base_offset} where {expected_offset} or later is due")]
    OutOfOrder {
        /// The batch's first offset.
        base_offset: Offset,
        /// One past the last offset before it.
        expected_offset: Offset,
    },
}

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy in xerial's framing; bare Snappy is read, too.
    Snappy,
    /// LZ4's frame format.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Codec {
    /// All of them, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in the attributes.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name in `compression.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Whose clock a batch's timestamps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TimestampType {
    /// The producer's, one per record.
    #[default]
    Create,
    /// The broker's: the maximum timestamp holds for every record.
    LogAppend,
}

/// The flags of a batch. Unknown bits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The field as it stands in the batch.
    #[must_use]
    pub const fn from_bits(bits: i16) -> Self {
        Self(bits)
    }

    /// The field as it stands in the batch.
    #[must_use]
    pub const fn bits(self) -> i16 {
        self.0
    }

    /// The codec of the records. Ids 5 to 7 are unassigned.
    pub fn codec(self) -> Result<Codec, BatchError> {
        let id = usize::from((self.0 & Self::CODEC).unsigned_abs());
        Codec::ALL.get(id).copied().ok_or(BatchError::Codec(u8::try_from(id).unwrap_or(u8::MAX)))
    }

    /// Whose clock the timestamps are.
    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 { TimestampType::Create } else { TimestampType::LogAppend }
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the records are the broker's own (a transaction's marker), not data.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp holds the time from which compaction may drop tombstones and markers.
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    pub(crate) fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !Self::CODEC | i16::from(codec.id()))
    }

    pub(crate) fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppend)
    }

    pub(crate) fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    pub(crate) fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    pub(crate) const fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    const fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// A batch's header, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, as it was when the batch was made: compaction may have removed that record.
    pub base_offset: Offset,
    /// The bytes after this field: the batch's size less 12.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch.
    pub leader_epoch: LeaderEpoch,
    /// The format version, 2.
    pub magic: i8,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// The flags.
    pub attributes: Attributes,
    /// The last offset less the first.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from.
    pub base_timestamp: TimestampMs,
    /// The largest timestamp of the records.
    pub max_timestamp: TimestampMs,
    /// Who sent the batch, if idempotent.
    pub producer_id: ProducerId,
    /// The generation of that producer.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: Sequence,
    /// How many records follow.
    pub record_count: i32,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

impl BatchHeader {
    /// Bytes of a header: an empty batch.
    pub const LEN: usize = 61;
    /// The checksum covers a batch from this byte to its end.
    pub const CRC_COVERS_FROM: usize = ATTRIBUTES_AT;

    /// Reads a header. The bytes may end right after it, or go on with whatever follows.
    ///
    /// # Errors
    /// Fewer than [`Self::LEN`] bytes, a length field below a header's, another magic. Neither checksum nor contents
    /// are looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() < Self::LEN {
            return Err(BatchError::Truncated { needed_bytes: Self::LEN, available_bytes: bytes.len() });
        }
        let magic = i8::from_be_bytes(array(bytes, MAGIC_AT));
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let header = Self {
            base_offset: Offset::new(i64::from_be_bytes(array(bytes, 0))),
            batch_length: i32::from_be_bytes(array(bytes, LENGTH_AT)),
            leader_epoch: LeaderEpoch::new(i32::from_be_bytes(array(bytes, LEADER_EPOCH_AT))),
            magic,
            crc: u32::from_be_bytes(array(bytes, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(array(bytes, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_timestamp: TimestampMs::new(i64::from_be_bytes(array(bytes, 27))),
            max_timestamp: TimestampMs::new(i64::from_be_bytes(array(bytes, 35))),
            producer_id: ProducerId::new(i64::from_be_bytes(array(bytes, 43))),
            producer_epoch: ProducerEpoch::new(i16::from_be_bytes(array(bytes, 51))),
            base_sequence: Sequence::new(i32::from_be_bytes(array(bytes, 53))),
            record_count: i32::from_be_bytes(array(bytes, 57)),
        };
        if usize::try_from(header.batch_length).is_ok_and(|len| len >= Self::LEN - LENGTH_PREFIX_BYTES) {
            Ok(header)
        } else {
            Err(BatchError::Length(header.batch_length))
        }
    }

    /// The header as it stands before the records.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.base_offset.get().to_be_bytes());
        put(LENGTH_AT, &self.batch_length.to_be_bytes());
        put(LEADER_EPOCH_AT, &self.leader_epoch.get().to_be_bytes());
        put(MAGIC_AT, &self.magic.to_be_bytes());
        put(CRC_AT, &self.crc.to_be_bytes());
        put(ATTRIBUTES_AT, &self.attributes.0.to_be_bytes());
        put(23, &self.last_offset_delta.to_be_bytes());
        put(27, &self.base_timestamp.get().to_be_bytes());
        put(35, &self.max_timestamp.get().to_be_bytes());
        put(43, &self.producer_id.get().to_be_bytes());
        put(51, &self.producer_epoch.get().to_be_bytes());
        put(53, &self.base_sequence.get().to_be_bytes());
        put(57, &self.record_count.to_be_bytes());
        bytes
    }

    /// The whole batch in bytes, header and records.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        LENGTH_PREFIX_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The time from which compaction may drop the batch's tombstones, or the marker it is.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// The offset of the last record (saturating; see [`Self::check_offsets`]).
    #[must_use]
    pub const fn last_offset(&self) -> Offset {
        Offset::new(self.base_offset.get().saturating_add(self.last_offset_delta as i64))
    }

    /// The offset after the last record.
    #[must_use]
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// The sequence of the last record; [`Sequence::NONE`] without one.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        match u32::try_from(self.last_offset_delta) {
            Ok(delta) if self.base_sequence.is_some() => self.base_sequence.plus(delta),
            _ => Sequence::NONE,
        }
    }

    /// Whether an idempotent or transactional producer sent the batch.
    #[must_use]
    pub const fn has_producer(&self) -> bool {
        self.producer_id.is_some()
    }

    /// Whether the offsets are a range: from the base offset up, within the number line.
    ///
    /// # Errors
    /// [`BatchError::OffsetRange`].
    pub fn check_offsets(&self) -> Result<(), BatchError> {
        let last = self.base_offset.checked_add(i64::from(self.last_offset_delta));
        if self.base_offset.get() >= 0
            && self.last_offset_delta >= 0
            && last.is_some_and(|last| last < Offset::MAX)
        {
            return Ok(());
        }
        Err(BatchError::OffsetRange {
            base_offset: self.base_offset,
            last_offset_delta: self.last_offset_delta,
        })
    }

    /// Whether the checksum matches; `batch` is the whole of it.
    ///
    /// # Errors
    /// [`BatchError::Crc`]; [`BatchError::Truncated`] if it is not the whole.
    pub fn check_crc(&self, batch: &[u8]) -> Result<(), BatchError> {
        let covered = batch
            .get(ATTRIBUTES_AT..self.size_bytes())
            .ok_or(BatchError::Truncated { needed_bytes: self.size_bytes(), available_bytes: batch.len() })?;
        let computed = crc32c(covered);
        if computed == self.crc { Ok(()) } else { Err(BatchError::Crc { stored: self.crc, computed }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused_and_come_back_the_same(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), likely in any::<bool>()) {
            if likely && bytes.len() > 16 {
                bytes[MAGIC_AT] = 2;
                bytes[LENGTH_AT] = 0;
            }
            if let Ok(header) = BatchHeader::parse(&bytes) {
                prop_assert_eq!(&header.to_bytes()[..], &bytes[..BatchHeader::LEN]);
                let _ = (header.last_offset(), header.next_offset(), header.last_sequence(), header.attributes.codec());
                let _ = (header.check_offsets(), header.check_crc(&bytes));
            }
        }
    }

    #[test]
    fn a_cut_header_says_what_it_needs() {
        let error = BatchHeader::parse(&[0; 60]).unwrap_err();
        assert_eq!(error, BatchError::Truncated { needed_bytes: 61, available_bytes: 60 });
    }
}
