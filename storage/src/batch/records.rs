//! The records inside a batch.
//!
//! Two ways to walk them: [`RecordViews`] borrows and allocates nothing, for checks; [`RecordIter`] hands out [`Bytes`]
//! that keep the batch alive, for those who pass records on. Both hold every length against the bytes that are there.

use bytes::Bytes;

use super::{BatchError, BatchHeader, Codec, CompressionError, TimestampType, compression, varint};
use crate::{Offset, Sequence, TimestampMs};

/// A batch whose records cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The batch itself.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Its block of records does not decompress.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record's fields do not fit its length.
    #[error("record {index}: {what}")]
    Malformed {
        /// Which record of the batch, from 0.
        index: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The count in the header is negative.
    #[error("record count {0}")]
    Count(i32),
    /// Bytes follow the last record.
    #[error("{0} bytes after the last record")]
    Trailing(usize),
}

/// A record, borrowed from the uncompressed bytes of its batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// The record's own attributes: none are assigned, all bits should be 0.
    pub attributes: i8,
    /// The record's timestamp less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// The record's offset less the batch's base offset.
    pub offset_delta: i32,
    /// The key; absent is not empty.
    pub key: Option<&'a [u8]>,
    /// The value; absent is a tombstone.
    pub value: Option<&'a [u8]>,
    header_count: usize,
    headers: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The headers, in order, duplicates included.
    #[must_use]
    pub fn headers(&self) -> HeaderIter<'a> {
        HeaderIter { left: self.header_count, rest: self.headers }
    }

    /// How many headers there are, and their bytes as they stand in the record.
    pub(super) fn encoded_headers(&self) -> (usize, &'a [u8]) {
        (self.header_count, self.headers)
    }
}

/// A record header, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// The key as it was sent: UTF-8 by the protocol, though no broker checks it.
    pub key: &'a [u8],
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// Walks the headers of a record.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // The lengths were checked when the record was read.
        let key = take_nullable(&mut self.rest)??;
        let value = take_nullable(&mut self.rest)?;
        Some(HeaderView { key, value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// A length and that many bytes; `Some(None)` for length -1. Lengths below -1 count as -1, as Kafka reads them.
#[inline]
fn take_nullable<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = varint::take_i32(from)?;
    let Ok(len) = usize::try_from(len) else { return Some(None) };
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(Some(bytes))
}

/// Takes one record off the front.
#[inline]
fn take_record<'a>(from: &mut &'a [u8]) -> Result<RecordView<'a>, &'static str> {
    let len = varint::take_i32(from).ok_or("no length")?;
    let len = usize::try_from(len).map_err(|_| "negative length")?;
    let (mut body, rest) = from.split_at_checked(len).ok_or("longer than the batch")?;
    *from = rest;
    let (&[attributes], after) = body.split_first_chunk().ok_or("no attributes")?;
    body = after;
    let timestamp_delta = varint::take_i64(&mut body).ok_or("no timestamp delta")?;
    let offset_delta = varint::take_i32(&mut body).ok_or("no offset delta")?;
    let key = take_nullable(&mut body).ok_or("key longer than the record")?;
    let value = take_nullable(&mut body).ok_or("value longer than the record")?;
    let header_count = varint::take_i32(&mut body).ok_or("no header count")?;
    let header_count = usize::try_from(header_count).map_err(|_| "negative header count")?;
    if header_count > body.len() {
        return Err("more headers than bytes");
    }
    let headers = body;
    for _ in 0..header_count {
        take_nullable(&mut body).ok_or("header key longer than the record")?.ok_or("header without key")?;
        take_nullable(&mut body).ok_or("header value longer than the record")?;
    }
    if !body.is_empty() {
        return Err("bytes after its last field");
    }
    let attributes = i8::from_be_bytes([attributes]);
    Ok(RecordView { attributes, timestamp_delta, offset_delta, key, value, header_count, headers })
}

/// Walks the uncompressed records of a batch, borrowing. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordViews<'a> {
    rest: &'a [u8],
    index: usize,
    count: usize,
}

impl<'a> RecordViews<'a> {
    /// The `count` records (from the batch's header) in the uncompressed bytes after it.
    ///
    /// # Errors
    /// A negative count.
    pub fn new(uncompressed: &'a [u8], count: i32) -> Result<Self, RecordError> {
        let count = usize::try_from(count).map_err(|_| RecordError::Count(count))?;
        Ok(Self { rest: uncompressed, index: 0, count })
    }
}

impl<'a> Iterator for RecordViews<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            if self.rest.is_empty() {
                return None;
            }
            let trailing = std::mem::take(&mut self.rest).len();
            return Some(Err(RecordError::Trailing(trailing)));
        }
        match take_record(&mut self.rest) {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(what) => {
                let error = RecordError::Malformed { index: self.index, what };
                (self.index, self.rest) = (self.count, &[]);
                Some(Err(error))
            }
        }
    }
}

/// A record with its place in the log. Its bytes are references into the batch (or into its decompressed block).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub offset: Offset,
    /// Its timestamp: its own, or the batch's append time.
    pub timestamp: TimestampMs,
    /// Its sequence; [`Sequence::NONE`] without an idempotent producer.
    pub sequence: Sequence,
    /// The key; absent is not empty.
    pub key: Option<Bytes>,
    /// The value; absent is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order, duplicates included.
    pub headers: Headers,
}

/// A record header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The key as it was sent: UTF-8 by the protocol, though no broker checks it.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

impl Header {
    /// The key as text; bytes that are not UTF-8 become U+FFFD, as in Kafka's clients.
    #[must_use]
    pub fn key_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}

/// The headers of a record: a list, as encoded. Nothing is allocated until they are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    count: usize,
    encoded: Bytes,
}

impl Headers {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers, borrowed.
    #[must_use]
    pub fn views(&self) -> HeaderIter<'_> {
        HeaderIter { left: self.count, rest: &self.encoded }
    }

    /// The headers, as references into the batch.
    pub fn iter(&self) -> impl Iterator<Item = Header> + '_ {
        self.views().map(|header| Header {
            key: self.encoded.slice_ref(header.key),
            value: header.value.map(|value| self.encoded.slice_ref(value)),
        })
    }
}

/// Walks the records of one batch, decompressing it first if need be. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordIter {
    header: BatchHeader,
    /// The uncompressed records.
    records: Bytes,
    at: usize,
    index: usize,
    count: usize,
}

impl RecordIter {
    /// The records of the batch at the front of `bytes`. Its checksum is not looked at.
    ///
    /// # Errors
    /// No whole batch; a block that does not decompress within [`DECOMPRESSED_LIMIT_BYTES`](super::DECOMPRESSED_LIMIT_BYTES).
    pub fn new(bytes: Bytes) -> Result<Self, RecordError> {
        Self::with_limit(bytes, super::DECOMPRESSED_LIMIT_BYTES)
    }

    /// Like [`Self::new`], with a limit of one's own on the decompressed bytes.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_limit(bytes: Bytes, decompressed_limit_bytes: usize) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(&bytes)?;
        let size = header.size_bytes();
        if size > bytes.len() {
            return Err(BatchError::Truncated { needed_bytes: size, available_bytes: bytes.len() }.into());
        }
        let body = bytes.slice(BatchHeader::LEN..size);
        let records = match header.attributes.codec()? {
            Codec::None => body,
            codec => Bytes::from(compression::decompress(codec, &body, decompressed_limit_bytes)?),
        };
        let count =
            usize::try_from(header.record_count).map_err(|_| RecordError::Count(header.record_count))?;
        Ok(Self { header, records, at: 0, index: 0, count })
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn place(&self, view: &RecordView<'_>) -> Record {
        let header = &self.header;
        let timestamp = match header.attributes.timestamp_type() {
            TimestampType::Create => header.base_timestamp.get().saturating_add(view.timestamp_delta),
            TimestampType::LogAppend => header.max_timestamp.get(),
        };
        let sequence = match u32::try_from(view.offset_delta) {
            Ok(delta) if header.base_sequence.is_some() => header.base_sequence.plus(delta),
            _ => Sequence::NONE,
        };
        Record {
            offset: Offset::new(header.base_offset.get().saturating_add(i64::from(view.offset_delta))),
            timestamp: TimestampMs::new(timestamp),
            sequence,
            key: view.key.map(|key| self.records.slice_ref(key)),
            value: view.value.map(|value| self.records.slice_ref(value)),
            headers: match view.header_count {
                0 => Headers::default(),
                count => Headers { count, encoded: self.records.slice_ref(view.headers) },
            },
        }
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut views = RecordViews { rest: &self.records[self.at..], index: self.index, count: self.count };
        let next = views.next();
        (self.at, self.index, self.count) = (self.records.len() - views.rest.len(), views.index, views.count);
        next.map(|view| view.map(|view| self.place(&view)))
    }
}

/// What a control batch says about its producer's transaction (`EndTransactionMarker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKind {
    /// The transaction is aborted, by the coordinator of this epoch.
    Abort {
        /// The leader epoch of the coordinator's partition.
        coordinator_epoch: i32,
    },
    /// The transaction is committed, by the coordinator of this epoch.
    Commit {
        /// The leader epoch of the coordinator's partition.
        coordinator_epoch: i32,
    },
    /// A control record of another kind (KRaft's).
    Other(i16),
}

/// Reads key and value of a control batch's record; `None` if it is none. Higher versions are read as version 0.
#[must_use]
pub fn control_record(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<ControlKind> {
    let key: [u8; 4] = key?.first_chunk().copied()?;
    let kind = i16::from_be_bytes([key[2], key[3]]);
    if kind != 0 && kind != 1 {
        return Some(ControlKind::Other(kind));
    }
    let value = value?;
    let coordinator_epoch = i32::from_be_bytes(value.get(2..6)?.try_into().ok()?);
    Some(if kind == 0 {
        ControlKind::Abort { coordinator_epoch }
    } else {
        ControlKind::Commit { coordinator_epoch }
    })
}
