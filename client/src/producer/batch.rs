//! One batch of one partition, from its first record to its fate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_storage::batch::{BatchBuilder, BatchHeader, BuildError, RecordError, RecordIter};
use highwater_storage::{ProducerEpoch, ProducerId, Sequence, crc32c};

use super::config::ProducerConfig;
use crate::exchange::RequestId;
use crate::record::Record;
use crate::time::{Monotonic, Now};

/// Names a batch; ids rise in the order batches are begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Who writes: the producer id and epoch under which a partition's sequences count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

/// An identity and the sequence of a batch's first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) identity: Identity,
    pub(crate) sequence: Sequence,
}

/// What a batch is made of at the moment.
#[derive(Debug)]
enum Contents {
    /// Records being appended.
    Open(BatchBuilder),
    /// The builder is with the driver, which encodes it outside of every lock.
    Lent,
    /// Encoded, to be sent as often as it takes.
    Encoded(Bytes),
}

/// What goes into a request for a batch.
#[derive(Debug)]
pub enum Payload {
    /// To be compressed and encoded first.
    Open(Box<BatchBuilder>),
    /// As sent before.
    Encoded(Bytes),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchState {
    /// Not under way; not to be sent before this time.
    Waiting(Monotonic),
    /// In a request that is not answered yet.
    OnWire(RequestId),
}

#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    /// The batch its records were first appended to: itself, unless it is a piece of a split one.
    pub(crate) origin: BatchId,
    /// The place of its first record in the origin.
    pub(crate) first_record: u32,
    /// How many records the origin had, once that is settled by a split.
    pub(crate) origin_records: Option<u32>,
    pub(crate) created: Monotonic,
    pub(crate) records: u32,
    /// What it takes of `buffer_bytes`.
    pub(crate) held_bytes: usize,
    pub(crate) stamp: Option<Stamp>,
    /// Its place among all batches its partition has sent.
    pub(crate) ordinal: u64,
    pub(crate) state: BatchState,
    pub(crate) failures: u32,
    /// Whether an attempt may have stored it without our knowing.
    pub(crate) uncertain: bool,
    pub(crate) last_failure: Option<Arc<str>>,
    is_transactional: bool,
    contents: Contents,
}

impl Batch {
    /// Begins an empty batch, with room for `expected_bytes` from the start.
    pub(crate) fn begin(
        id: BatchId,
        now: Now,
        config: &ProducerConfig,
        is_transactional: bool,
        expected_bytes: usize,
    ) -> Self {
        let builder = BatchBuilder::with_capacity(expected_bytes).codec(config.compression);
        Self {
            id,
            origin: id,
            first_record: 0,
            origin_records: None,
            created: now.monotonic,
            records: 0,
            held_bytes: 0,
            stamp: None,
            ordinal: 0,
            state: BatchState::Waiting(Monotonic::ORIGIN),
            failures: 0,
            uncertain: false,
            last_failure: None,
            is_transactional,
            contents: Contents::Open(builder.transactional(is_transactional)),
        }
    }

    /// Whether a record of at most `bytes` still fits.
    pub(crate) fn has_room_for(&self, bytes: usize, limit: usize) -> bool {
        match &self.contents {
            Contents::Open(builder) => {
                self.records == 0 || builder.uncompressed_bytes().saturating_add(bytes) <= limit
            }
            _ => false,
        }
    }

    /// Appends a record; returns how much more memory the batch holds now.
    pub(crate) fn append(&mut self, now: Now, record: &Record<'_>) -> Result<usize, BuildError> {
        let Contents::Open(builder) = &mut self.contents else {
            unreachable!("only an open batch takes records")
        };
        let timestamp = record.timestamp.unwrap_or(now.wall);
        builder.append(timestamp, record.key, record.value, &record.headers)?;
        self.records += 1;
        let grown = builder.uncompressed_bytes().saturating_sub(self.held_bytes);
        self.held_bytes += grown;
        Ok(grown)
    }

    /// What to put into a request; an open batch closes and gets its stamp.
    pub(crate) fn lend(&mut self, request: RequestId) -> Payload {
        self.state = BatchState::OnWire(request);
        match std::mem::replace(&mut self.contents, Contents::Lent) {
            Contents::Open(mut builder) => {
                if let Some(Stamp { identity, sequence }) = self.stamp {
                    builder.set_producer(identity.id, identity.epoch, sequence);
                }
                Payload::Open(Box::new(builder))
            }
            Contents::Encoded(bytes) => {
                self.contents = Contents::Encoded(bytes.clone());
                Payload::Encoded(bytes)
            }
            Contents::Lent => unreachable!("a batch is in one request at a time"),
        }
    }

    /// Takes the encoded bytes back, for resending.
    pub(crate) fn sealed(&mut self, bytes: Bytes) {
        self.contents = Contents::Encoded(bytes);
    }

    /// Gives a batch that is not under way another stamp.
    pub(crate) fn restamp(&mut self, stamp: Stamp) {
        assert!(matches!(self.state, BatchState::Waiting(_)), "a batch under way keeps its stamp");
        self.stamp = Some(stamp);
        if let Contents::Encoded(bytes) = &self.contents {
            self.contents = Contents::Encoded(restamped(bytes, stamp));
        }
    }

    pub(crate) fn is_on_wire(&self) -> bool {
        matches!(self.state, BatchState::OnWire(_))
    }

    /// The sequence after its last record.
    pub(crate) fn next_sequence(&self) -> Option<Sequence> {
        self.stamp.map(|stamp| stamp.sequence.plus(self.records))
    }

    pub(crate) fn expires(&self, delivery_timeout: Duration) -> Monotonic {
        self.created + delivery_timeout
    }

    /// Cuts a batch the broker found too large into two, over the same sequences.
    pub(crate) fn split(
        self,
        ids: (BatchId, BatchId),
        config: &ProducerConfig,
    ) -> Result<(Self, Self), SplitError> {
        let Contents::Encoded(bytes) = &self.contents else {
            unreachable!("what was refused had been encoded")
        };
        let first_count = self.records / 2;
        let builder = || BatchBuilder::new().codec(config.compression).transactional(self.is_transactional);
        let mut builders = (builder(), builder());
        for (at, record) in (0_u32..).zip(RecordIter::new(bytes.clone())?) {
            let record = record?;
            let headers: Vec<_> = record.headers.views().collect();
            let builder = if at < first_count { &mut builders.0 } else { &mut builders.1 };
            builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers)?;
        }
        let origin_records = self.origin_records.unwrap_or(self.records);
        let piece = |id, skipped: u32, records, builder: BatchBuilder| Self {
            id,
            origin: self.origin,
            first_record: self.first_record + skipped,
            origin_records: Some(origin_records),
            created: self.created,
            records,
            held_bytes: builder.uncompressed_bytes(),
            ordinal: self.ordinal + u64::from(skipped > 0),
            stamp: self.stamp.map(|stamp| Stamp { sequence: stamp.sequence.plus(skipped), ..stamp }),
            state: BatchState::Waiting(Monotonic::ORIGIN),
            failures: 0,
            uncertain: self.uncertain,
            last_failure: self.last_failure.clone(),
            is_transactional: self.is_transactional,
            contents: Contents::Open(builder),
        };
        Ok((
            piece(ids.0, 0, first_count, builders.0),
            piece(ids.1, first_count, self.records - first_count, builders.1),
        ))
    }
}

/// A batch that cannot be cut in two.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    #[error(transparent)]
    Read(#[from] RecordError),
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// The same batch under another producer id, epoch and sequence.
fn restamped(batch: &Bytes, stamp: Stamp) -> Bytes {
    const ATTRIBUTES_AT: usize = 21;
    let Ok(mut header) = BatchHeader::parse(batch) else { unreachable!("our own batches are whole") };
    header.producer_id = stamp.identity.id;
    header.producer_epoch = stamp.identity.epoch;
    header.base_sequence = stamp.sequence;
    let mut copy = batch.to_vec();
    copy[..BatchHeader::LEN].copy_from_slice(&header.to_bytes());
    header.crc = crc32c(&copy[ATTRIBUTES_AT..]);
    copy[..BatchHeader::LEN].copy_from_slice(&header.to_bytes());
    Bytes::from(copy)
}
