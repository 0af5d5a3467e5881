//! How coordinators come back: their logs are read from the beginning, once, when the node comes up.

use bytes::Bytes;
use highwater_storage::batch::{BatchHeader, ControlKind, RecordIter, control_record};
use highwater_storage::{Log, Offset, ProducerId};

use super::{Effects, Node};
use crate::group::coordinator::Coordinator;
use crate::group::record::Record;
use crate::ids::{Now, PartitionIndex};
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

/// How much of a log is read at once.
const READ_BYTES: usize = 1 << 20;

impl Node {
    /// Brings back the coordinators whose logs hold something. One whose log cannot be read refuses; it does not keep
    /// the node down.
    pub(super) fn replay_coordinators(&mut self, now: Now, effects: &mut Effects) {
        let Some(topic) = self.offsets_topic() else { return };
        let partitions = self.topics.get(&topic).map_or(0, |local| local.partitions.len());
        for index in (0..).take(partitions).map(PartitionIndex) {
            self.replay_coordinator(now, (topic, index), effects);
        }
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

/// Reads all of a coordinator's log.
fn replay(log: &Log) -> Result<Coordinator, Box<dyn std::error::Error>> {
    let mut coordinator = Coordinator::default();
    let mut at = log.start_offset();
    while at < log.end_offset() {
        let mut bytes = log.range(at, log.end_offset(), READ_BYTES, true).read()?;
        let before = at;
        while let Some(batch) = take_batch(&mut bytes)? {
            at = apply_batch(&mut coordinator, batch)?;
        }
        if at == before {
            // Compaction may leave nothing before the end.
            break;
        }
    }
    Ok(coordinator)
}

/// Takes the first batch off, if it is there whole.
fn take_batch(bytes: &mut Bytes) -> Result<Option<Bytes>, Box<dyn std::error::Error>> {
    if bytes.len() < BatchHeader::LEN {
        return Ok(None);
    }
    let size = BatchHeader::parse(bytes)?.size_bytes();
    Ok((size <= bytes.len()).then(|| bytes.split_to(size)))
}

/// Makes what a batch says so; gives the offset after it.
fn apply_batch(coordinator: &mut Coordinator, batch: Bytes) -> Result<Offset, Box<dyn std::error::Error>> {
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
