//! Building a batch: records are encoded as they come, straight behind the place of the header.

use std::io;

use bytes::Bytes;

use super::{Attributes, BatchHeader, Codec, HeaderView, TimestampType, compression, header, varint};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, crc32c};

/// A batch that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A batch's length field ends at 2 GiB.
    #[error("the batch would exceed 2 GiB")]
    TooLarge,
    /// A batch has at least one record.
    #[error("the batch has no records")]
    Empty,
    /// The encoder failed.
    #[error("compression failed")]
    Compression(#[source] io::Error),
}

/// Builds one batch. No allocation per record: all go into one buffer, which becomes the batch if it is not compressed.
///
/// ```
/// use highwater_storage::{TimestampMs, batch::{BatchBuilder, Codec, HeaderView, RecordIter}};
///
/// let mut builder = BatchBuilder::new().codec(Codec::Zstd);
/// let header = HeaderView { key: b"trace", value: None };
/// builder.append(TimestampMs::new(7), None, Some(b"value"), &[header])?;
/// let record = RecordIter::new(builder.build()?)?.next().unwrap()?;
/// assert_eq!((record.timestamp, record.key), (TimestampMs::new(7), None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    codec: Codec,
    attributes: Attributes,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: Sequence,
    compressed_percent: u32,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
    count: i32,
    last_offset_delta: i32,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty, uncompressed batch at offset 0 of no producer, as clients send it.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// Like [`Self::new`], with room for this many bytes in all.
    #[must_use]
    pub fn with_capacity(capacity_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity_bytes.max(BatchHeader::LEN));
        bytes.resize(BatchHeader::LEN, 0);
        Self {
            codec: Codec::None,
            attributes: Attributes::default(),
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            compressed_percent: 100,
            base_timestamp: TimestampMs::NONE,
            max_timestamp: TimestampMs::NONE,
            count: 0,
            last_offset_delta: -1,
            bytes,
        }
    }

    /// How to compress the records.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The offset of the first record: 0 unless the batch goes into a log as it is.
    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.base_offset = offset;
        self
    }

    /// The leader epoch: none unless the batch goes into a log as it is.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// Marks the records as part of the producer's transaction.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> Self {
        self.attributes = self.attributes.with_transactional(transactional);
        self
    }

    /// Marks the records as the broker's own.
    #[must_use]
    pub fn control(mut self, control: bool) -> Self {
        self.attributes = self.attributes.with_control(control);
        self
    }

    /// Whose clock the timestamps are; with [`TimestampType::LogAppend`] the largest holds for all.
    #[must_use]
    pub fn timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
        self.attributes = self.attributes.with_timestamp_type(timestamp_type);
        self
    }

    /// What the caller has seen of compression so far, in percent of the uncompressed size; for [`Self::size_estimate_bytes`].
    #[must_use]
    pub fn compressed_percent(mut self, percent: u32) -> Self {
        self.compressed_percent = percent;
        self
    }

    /// Who sends the batch, and the sequence of its first record. May be set until the batch is built: a producer
    /// numbers its batches when they leave.
    pub fn set_producer(
        &mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> &mut Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// Adds a record at the next offset and returns [`Self::size_estimate_bytes`].
    ///
    /// # Errors
    /// [`BuildError::TooLarge`]; the batch is then as it was.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderView<'_>],
    ) -> Result<usize, BuildError> {
        if self.count == 0 {
            (self.base_timestamp, self.max_timestamp) = (timestamp, timestamp);
        }
        let timestamp_delta = timestamp.since(self.base_timestamp);
        let offset_delta = self.last_offset_delta.checked_add(1).ok_or(BuildError::TooLarge)?;
        let body_len = body_len(timestamp_delta, offset_delta, key, value, headers);
        let record_len = varint::len(as_i64(body_len)) + body_len;
        if i32::try_from(self.bytes.len() + record_len).is_err() {
            return Err(BuildError::TooLarge);
        }
        let out = &mut self.bytes;
        out.reserve(record_len);
        varint::put(out, as_i64(body_len));
        out.push(0);
        varint::put(out, timestamp_delta);
        varint::put(out, i64::from(offset_delta));
        put_nullable(out, key);
        put_nullable(out, value);
        varint::put(out, as_i64(headers.len()));
        for header in headers {
            put_nullable(out, Some(header.key));
            put_nullable(out, header.value);
        }
        self.last_offset_delta = offset_delta;
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(self.size_estimate_bytes())
    }

    /// What the batch would take with one more record, at most: enough to decide whether it still fits.
    #[must_use]
    pub fn size_estimate_with(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderView<'_>],
    ) -> usize {
        // Five bytes for the length, ten for the timestamp, as Kafka's client reckons.
        let record = 5 + body_len(i64::MIN, self.last_offset_delta.saturating_add(1), key, value, headers);
        self.estimate(self.bytes.len() + record)
    }

    /// What the batch will take, by what is known of its compression. Exact without a codec.
    #[must_use]
    pub fn size_estimate_bytes(&self) -> usize {
        self.estimate(self.bytes.len())
    }

    fn estimate(&self, uncompressed_bytes: usize) -> usize {
        if self.codec == Codec::None {
            return uncompressed_bytes;
        }
        // Kafka adds five percent so that the estimate is rarely low.
        let records = (uncompressed_bytes - BatchHeader::LEN) as u64 * u64::from(self.compressed_percent);
        BatchHeader::LEN + usize::try_from(records.saturating_mul(105) / 10_000).unwrap_or(usize::MAX)
    }

    /// Header and records before compression.
    #[must_use]
    pub fn uncompressed_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many records there are.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The largest timestamp so far; [`TimestampMs::NONE`] without records.
    #[must_use]
    pub fn max_timestamp(&self) -> TimestampMs {
        self.max_timestamp
    }

    /// Compresses and checksums the batch.
    ///
    /// # Errors
    /// An empty batch; an encoder that fails.
    pub fn build(self) -> Result<Bytes, BuildError> {
        if self.count == 0 {
            return Err(BuildError::Empty);
        }
        let attributes = self.attributes.with_codec(self.codec);
        let mut header = BatchHeader {
            base_offset: self.base_offset,
            batch_length: 0,
            leader_epoch: self.leader_epoch,
            magic: header::MAGIC,
            crc: 0,
            attributes,
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.count,
        };
        let mut bytes = self.bytes;
        if self.codec != Codec::None {
            let room = vec![0; BatchHeader::LEN];
            bytes = compression::compress(self.codec, &bytes[BatchHeader::LEN..], room)
                .map_err(BuildError::Compression)?;
        }
        header.batch_length =
            i32::try_from(bytes.len() - header::LENGTH_PREFIX_BYTES).map_err(|_| BuildError::TooLarge)?;
        bytes[..BatchHeader::LEN].copy_from_slice(&header.to_bytes());
        let crc = crc32c(&bytes[header::ATTRIBUTES_AT..]);
        bytes[header::CRC_AT..header::ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        Ok(Bytes::from(bytes))
    }
}

/// A record's length field counts these bytes.
fn body_len(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[HeaderView<'_>],
) -> usize {
    let headers_len: usize =
        headers.iter().map(|header| nullable_len(Some(header.key)) + nullable_len(header.value)).sum();
    1 + varint::len(timestamp_delta)
        + varint::len(i64::from(offset_delta))
        + nullable_len(key)
        + nullable_len(value)
        + varint::len(as_i64(headers.len()))
        + headers_len
}

pub(super) fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len(as_i64(bytes.len())) + bytes.len())
}

pub(super) fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, as_i64(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn as_i64(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
