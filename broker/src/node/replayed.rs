//! How coordinators come back: their logs are read from the beginning, once, when the node comes up.

use bytes::Bytes;
use highwater_storage::batch::{BatchHeader, ControlKind, RecordIter, control_record};
use highwater_storage::{LeaderEpoch, Log, Offset, ProducerId};

use super::{Effects, Node};
use crate::group::coordinator::Coordinator;
use crate::group::record::Record;
use crate::ids::{Now, PartitionIndex};
use crate::partition::parked::Watched;
use crate::refusal::Refusal;
use crate::transaction::coordinator::Coordinator as Transactions;
use crate::transaction::record::Record as TransactionRecord;

/// How much of a log is read at once.
const READ_BYTES: usize = 1 << 20;

impl Node {
    /// Brings back the coordinators whose logs hold something. One whose log cannot be read refuses; it does not keep
    /// the node down.
    pub(super) fn replay_coordinators(&mut self, now: Now, effects: &mut Effects) {
        let topics = [self.offsets_topic(), self.transactions_topic()];
        for topic in topics.into_iter().flatten() {
            let partitions = self.topics.get(&topic).map_or(0, |local| local.partitions.len());
            for index in (0..).take(partitions).map(PartitionIndex) {
                self.begin_coordinating(now, (topic, index), effects);
                self.begin_transacting(now, (topic, index), effects);
            }
        }
    }

    /// The coordinator of transactions of a partition that this node leads, as its log has it; none where it has nothing.
    pub(super) fn replayed_transactions(
        &self,
        (topic, index): Watched,
    ) -> Option<Result<Transactions, Refusal>> {
        let (replica, leader) = self.led(topic, index).ok()?;
        if replica.log.start_offset() == replica.log.end_offset() {
            return None;
        }
        let high_watermark = replica.positions().high_watermark;
        let replayed = replay_transactions(&replica.log, leader.epoch(), high_watermark);
        Some(replayed.map_err(|why| {
            tracing::error!(partition = %index, %why, "the log of transactions cannot be read");
            Refusal::NotCoordinator
        }))
    }

    /// Brings back the coordinator of a partition that this node leads.
    pub(super) fn replay_coordinator(&mut self, now: Now, (topic, index): Watched, effects: &mut Effects) {
        let Ok((replica, _)) = self.led(topic, index) else { return };
        if replica.log.start_offset() == replica.log.end_offset() {
            return;
        }
        let replayed = replay(&replica.log).map_err(|why| {
            tracing::error!(partition = %index, %why, "the log of a group coordinator cannot be read");
            Refusal::NotCoordinator
        });
        self.coordinated.put(index, replayed);
        if self.coordinated.get(index).is_some() {
            self.in_turn(now, (topic, index), effects, |coordinator, turn| {
                coordinator.forget_topics_that_went(turn);
                coordinator.begin_sessions(turn);
            });
        }
    }
}

/// Why a coordinator's log cannot be read.
type Unreadable = Box<dyn std::error::Error>;

/// Reads all of a log of groups.
fn replay(log: &Log) -> Result<Coordinator, Unreadable> {
    let mut coordinator = Coordinator::default();
    for_each_batch(log, |batch| apply_batch(&mut coordinator, batch))?;
    Ok(coordinator)
}

/// Reads all of a log of transactions.
fn replay_transactions(
    log: &Log,
    epoch: LeaderEpoch,
    high_watermark: Offset,
) -> Result<Transactions, Unreadable> {
    let mut coordinator = Transactions::new(epoch);
    for_each_batch(log, |batch| {
        let records = RecordIter::new(batch)?;
        let header = records.header().clone();
        for record in records.filter(|_| !header.attributes.is_control()) {
            let record = record?;
            let key = record.key.ok_or("a record without a key")?;
            if let Some(known) = TransactionRecord::decode(key, record.value)? {
                coordinator.replay(record.offset, known, high_watermark);
            }
        }
        Ok(header.next_offset())
    })?;
    Ok(coordinator)
}

/// Gives every batch of a log to who takes it, which tells the offset after it.
fn for_each_batch(
    log: &Log,
    mut apply: impl FnMut(Bytes) -> Result<Offset, Unreadable>,
) -> Result<(), Unreadable> {
    let mut at = log.start_offset();
    while at < log.end_offset() {
        let mut bytes = log.range(at, log.end_offset(), READ_BYTES, true).read()?;
        let before = at;
        while let Some(batch) = take_batch(&mut bytes)? {
            at = apply(batch)?;
        }
        if at == before {
            // Compaction may leave nothing before the end.
            break;
        }
    }
    Ok(())
}

/// Takes the first batch off, if it is there whole.
fn take_batch(bytes: &mut Bytes) -> Result<Option<Bytes>, Unreadable> {
    if bytes.len() < BatchHeader::LEN {
        return Ok(None);
    }
    let size = BatchHeader::parse(bytes)?.size_bytes();
    Ok((size <= bytes.len()).then(|| bytes.split_to(size)))
}

/// Makes what a batch says so; gives the offset after it.
fn apply_batch(coordinator: &mut Coordinator, batch: Bytes) -> Result<Offset, Unreadable> {
    let records = RecordIter::new(batch)?;
    let header = records.header().clone();
    for record in records {
        let record = record?;
        if header.attributes.is_control() {
            match control_record(record.key.as_deref(), record.value.as_deref()) {
                Some(ControlKind::Commit { .. }) => coordinator.end_transaction(header.producer_id, true),
                Some(ControlKind::Abort { .. }) => coordinator.end_transaction(header.producer_id, false),
                Some(ControlKind::Other(_)) | None => {}
            }
            continue;
        }
        // Kafka, too, knows of no record without a key.
        let key = record.key.ok_or("a record without a key")?;
        let of_transaction = header.attributes.is_transactional();
        let producer = if of_transaction { header.producer_id } else { ProducerId::NONE };
        if let Some(known) = Record::decode(key, record.value)? {
            coordinator.apply(record.offset, producer, known);
        }
    }
    Ok(header.next_offset())
}
