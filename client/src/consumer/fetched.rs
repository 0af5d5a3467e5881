//! What a Fetch response brought for one partition, and how records come out of it.
//!
//! Batches are cut off the front one by one; a cut batch at the end is dropped (brokers cut at the byte limit).
//! Records below the position are skipped, since reading starts at the batch that contains it; control batches are
//! skipped; and with read committed the data of aborted transactions, by Kafka's own rule (`CompletedFetch`): the
//! response lists aborted transactions by producer and first offset; one becomes active when a batch ends at or
//! behind its first offset, and ends with that producer's abort marker.

use std::collections::BTreeSet;

use bytes::Bytes;
use highwater_storage::batch::{
    BatchHeader, ControlKind, RecordError, RecordIter, TimestampType, control_record,
};
use highwater_storage::{LeaderEpoch, Offset, ProducerId};

use super::config::{ConsumerConfig, Isolation};
use crate::metadata::TopicPartition;
use crate::record::ConsumedRecord;

/// Where reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: Offset,
    /// The epoch of the batch before it, for the broker to notice when the logs part (KIP-320); -1 for none.
    pub(crate) epoch: LeaderEpoch,
}

/// The whole batches at the front of what a response brought.
#[derive(Debug)]
pub(crate) struct WholeBatches {
    pub(crate) bytes: Bytes,
    /// Where the next fetch begins; `None` when there is no whole batch.
    pub(crate) next: Option<Position>,
    /// What stopped the walk, if not the end of the bytes or a cut batch.
    pub(crate) damage: Option<String>,
}

impl WholeBatches {
    /// Looks at headers only.
    pub(crate) fn of(mut bytes: Bytes) -> Self {
        let mut end = 0;
        let mut next = None;
        let mut damage = None;
        while bytes.len() - end >= BatchHeader::LEN {
            let header = match BatchHeader::parse(&bytes[end..]) {
                Ok(header) => header,
                Err(error) => {
                    damage = Some(error.to_string());
                    break;
                }
            };
            if header.size_bytes() > bytes.len() - end {
                break;
            }
            if let Err(error) = header.check_offsets() {
                damage = Some(error.to_string());
                break;
            }
            end += header.size_bytes();
            next = Some(Position { offset: header.next_offset(), epoch: header.leader_epoch });
        }
        bytes.truncate(end);
        Self { bytes, next, damage }
    }
}

/// A batch that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) base_offset: Offset,
    pub(crate) detail: String,
}

/// Whole batches of one partition, being read.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) at: TopicPartition,
    /// Which assignment or seek it was fetched for.
    pub(crate) incarnation: u64,
    pub(crate) size_bytes: usize,
    rest: Bytes,
    /// Aborted transactions not met yet, the next one last.
    aborted: Vec<(Offset, ProducerId)>,
    /// Producers in an aborted transaction at this point of the log.
    aborting: BTreeSet<ProducerId>,
    batch: Option<RecordIter>,
}

impl Fetched {
    pub(crate) fn new(
        at: TopicPartition,
        incarnation: u64,
        batches: Bytes,
        aborted: impl IntoIterator<Item = (ProducerId, Offset)>,
    ) -> Self {
        let mut aborted: Vec<_> = aborted.into_iter().map(|(id, first)| (first, id)).collect();
        aborted.sort_unstable_by(|one, other| other.cmp(one));
        Self {
            at,
            incarnation,
            size_bytes: batches.len(),
            rest: batches,
            aborted,
            aborting: BTreeSet::new(),
            batch: None,
        }
    }

    /// The next record at or behind `position`, which moves on past it and past everything skipped.
    pub(crate) fn next(
        &mut self,
        position: &mut Position,
        config: &ConsumerConfig,
    ) -> Result<Option<ConsumedRecord>, Damage> {
        loop {
            let Some(batch) = &mut self.batch else {
                if self.rest.is_empty() {
                    return Ok(None);
                }
                self.open_batch(position, config)?;
                continue;
            };
            let header = batch.header();
            let (base_offset, next_offset) = (header.base_offset, header.next_offset());
            let leader_epoch = header.leader_epoch;
            let timestamp_type = header.attributes.timestamp_type();
            match batch.next() {
                None => {
                    self.batch = None;
                    *position = Position { offset: position.offset.max(next_offset), epoch: leader_epoch };
                }
                Some(Err(error)) => return Err(Damage { base_offset, detail: error.to_string() }),
                Some(Ok(record)) if record.offset < position.offset => {}
                Some(Ok(record)) => {
                    *position = Position { offset: record.offset.next(), epoch: leader_epoch };
                    return Ok(Some(consumed(&self.at, record, timestamp_type, leader_epoch)));
                }
            }
        }
    }

    /// Opens the batch at the front, or skips it.
    fn open_batch(&mut self, position: &mut Position, config: &ConsumerConfig) -> Result<(), Damage> {
        let damage = |base_offset, error: RecordError| Damage { base_offset, detail: error.to_string() };
        let header = BatchHeader::parse(&self.rest).map_err(|error| damage(position.offset, error.into()))?;
        let base_offset = header.base_offset;
        let batch = self.rest.slice(..header.size_bytes().min(self.rest.len()));
        if config.check_crcs {
            header.check_crc(&batch).map_err(|error| damage(base_offset, error.into()))?;
        }
        let open = || {
            RecordIter::with_limit(batch.clone(), config.decompressed_batch_limit_bytes)
                .map_err(|error| damage(base_offset, error))
        };
        let mut skip = header.attributes.is_control() || header.next_offset() <= position.offset;
        if config.isolation == Isolation::ReadCommitted && header.has_producer() {
            self.meet_aborted_up_to(header.last_offset());
            if header.attributes.is_control() {
                if is_abort(open()?) {
                    self.aborting.remove(&header.producer_id);
                }
            } else if header.attributes.is_transactional() && self.aborting.contains(&header.producer_id) {
                skip = true;
            }
        }
        if skip {
            *position =
                Position { offset: position.offset.max(header.next_offset()), epoch: header.leader_epoch };
        } else {
            self.batch = Some(open()?);
        }
        self.rest = self.rest.split_off(header.size_bytes().min(self.rest.len()));
        Ok(())
    }

    fn meet_aborted_up_to(&mut self, last_offset: Offset) {
        while let Some((_, id)) = self.aborted.pop_if(|(first, _)| *first <= last_offset) {
            self.aborting.insert(id);
        }
    }
}

fn is_abort(mut records: RecordIter) -> bool {
    let Some(Ok(first)) = records.next() else { return false };
    matches!(control_record(first.key.as_deref(), first.value.as_deref()), Some(ControlKind::Abort { .. }))
}

fn consumed(
    at: &TopicPartition,
    record: highwater_storage::batch::Record,
    timestamp_type: TimestampType,
    leader_epoch: LeaderEpoch,
) -> ConsumedRecord {
    ConsumedRecord {
        topic: at.topic.clone(),
        partition: at.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        timestamp_type,
        key: record.key,
        value: record.value,
        headers: record.headers,
        leader_epoch: leader_epoch.is_some().then_some(leader_epoch),
    }
}
