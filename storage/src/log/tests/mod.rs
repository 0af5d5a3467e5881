//! A log against a model that cannot be wrong, against failing disks, and case by case.

mod cases;
mod compaction;
mod faults;
mod following;
mod model;
mod power;
mod power_off;
mod recovery;
mod removal;
mod replication;
mod room;
mod transactions;
mod truncation;

use std::{path::Path, sync::Arc};

use bytes::Bytes;

use crate::{
    AbortedTransaction, LeaderEpoch, Log, LogConfig, Offset, Opening, ProducerEpoch, ProducerId,
    ProducerTable, Recovered, Sequence, StopKind, TimestampMs,
    batch::{BatchBuilder, BatchHeader, CheckedBatch, Codec, ControlKind, control_of},
    disk::Disk,
    segment::base_of,
};

const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);
const EPOCH: LeaderEpoch = LeaderEpoch::new(0);

fn dir() -> &'static Path {
    Path::new("orders-0")
}

/// Small segments and a dense index, so that few batches show everything.
fn small() -> LogConfig {
    LogConfig { segment_bytes: 2048, index_interval_bytes: 150, ..LogConfig::default() }
}

fn open(disk: &Arc<dyn Disk>, config: &LogConfig, stop: StopKind) -> (Log, Recovered) {
    Log::open(Arc::clone(disk), dir(), config.clone(), Opening::after(stop), NOW).unwrap()
}

/// A batch of records that carry these timestamps, of about this size.
fn batch_of(
    timestamps: &[i64],
    value_bytes: usize,
    codec: Codec,
    producer: Option<(i64, i16, i32)>,
) -> CheckedBatch {
    let mut builder = BatchBuilder::new().codec(codec);
    if let Some((id, epoch, sequence)) = producer {
        builder.set_producer(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(sequence));
    }
    for &timestamp in timestamps {
        builder.append(TimestampMs::new(timestamp), None, Some(&vec![7; value_bytes]), &[]).unwrap();
    }
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

/// A batch of one record within a transaction.
fn transactional(id: i64, epoch: i16, sequence: i32, value_bytes: usize) -> CheckedBatch {
    let mut builder = BatchBuilder::new().transactional(true);
    builder.set_producer(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(sequence));
    builder.append(NOW, None, Some(&vec![7; value_bytes]), &[]).unwrap();
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

/// The end of a transaction.
fn marker(id: i64, epoch: i16, commits: bool) -> CheckedBatch {
    let mut builder = BatchBuilder::new().transactional(true).control(true);
    builder.set_producer(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::NONE);
    builder.append(NOW, Some(&[0, 0, 0, u8::from(commits)]), Some(&[0, 0, 0, 0, 0, 3]), &[]).unwrap();
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

/// One record of about this size.
fn batch(value_bytes: usize) -> CheckedBatch {
    batch_of(&[NOW.get()], value_bytes, Codec::None, None)
}

/// A batch as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    header: BatchHeader,
    bytes: Bytes,
    segment: Offset,
    position: usize,
    control: Option<ControlKind>,
}

/// Appends, and returns what the log must have now.
fn append(log: &mut Log, batch: &CheckedBatch, epoch: LeaderEpoch) -> Stored {
    let appended = log.append(batch, epoch, NOW).unwrap();
    let bytes = Bytes::from([&appended.header.to_bytes()[..], &batch.body()[..]].concat());
    let active = log.active();
    let position = usize::try_from(active.size_bytes).unwrap() - bytes.len();
    let control = control_of(&appended.header, batch.body());
    Stored { header: appended.header, bytes, segment: active.base_offset(), position, control }
}

/// Everything in the log, read as a follower would.
fn read_all(log: &Log) -> Vec<Bytes> {
    let mut batches = Vec::new();
    let mut from = log.start_offset();
    while from < log.end_offset() {
        let mut bytes = log.range(from, log.end_offset(), 1000, true).read().unwrap();
        let before = from;
        while let Ok(header) = BatchHeader::parse(&bytes)
            && header.size_bytes() <= bytes.len()
        {
            assert_eq!(header.check_crc(&bytes), Ok(()));
            batches.push(bytes.split_to(header.size_bytes()));
            from = header.next_offset();
        }
        assert!(from > before, "no whole batch at {from} of {}", log.end_offset());
    }
    batches
}

/// What DumpLogSegments asks of index files: entries rise, each names a batch, each timestamp is the largest so far.
fn check_index_files(disk: &dyn Disk, batches: &[Stored]) {
    for entry in disk.list(dir()).unwrap_or_default() {
        if let Some(base) = base_of(&entry.name, "index") {
            let bytes = disk.read(&dir().join(&entry.name)).unwrap();
            assert_eq!(bytes.len() % 8, 0);
            for entry in bytes.chunks(8) {
                let offset = i64::from(u32::from_be_bytes(entry[..4].try_into().unwrap())) + base.get();
                let position = u32::from_be_bytes(entry[4..].try_into().unwrap()) as usize;
                let named = batches.iter().find(|b| b.segment == base && b.position == position).unwrap();
                assert_eq!(named.header.last_offset().get(), offset);
            }
        }
        if let Some(base) = base_of(&entry.name, "timeindex") {
            let bytes = disk.read(&dir().join(&entry.name)).unwrap();
            assert_eq!(bytes.len() % 12, 0);
            let mut before = -1;
            for entry in bytes.chunks(12) {
                let timestamp = i64::from_be_bytes(entry[..8].try_into().unwrap());
                let offset = i64::from(u32::from_be_bytes(entry[8..].try_into().unwrap())) + base.get();
                assert!(timestamp > before);
                before = timestamp;
                let in_segment = batches.iter().filter(|b| b.segment == base);
                let upto = in_segment.filter(|b| b.header.last_offset().get() <= offset);
                let latest = upto.clone().map(|b| b.header.max_timestamp.get()).max().unwrap();
                assert_eq!(timestamp, latest);
                let named = upto.last().unwrap();
                assert_eq!(
                    (named.header.last_offset().get(), named.header.max_timestamp.get()),
                    (offset, timestamp)
                );
            }
        }
    }
}

/// What the producer table must be after these batches.
fn producers_of(batches: &[Stored]) -> ProducerTable {
    let mut table = ProducerTable::default();
    for batch in batches {
        table.note(&batch.header, batch.control);
    }
    table
}

/// The transactions that were aborted, as a plain look at the batches tells.
fn aborted_of(batches: &[Stored]) -> Vec<AbortedTransaction> {
    let mut open: Vec<(ProducerId, Offset)> = Vec::new();
    let mut aborted = Vec::new();
    for Stored { header, control, .. } in batches {
        let (id, offset) = (header.producer_id, header.base_offset);
        let began = open.iter().find(|(of, _)| *of == id).map(|(_, first)| *first);
        match control {
            None if header.attributes.is_transactional() && began.is_none() => open.push((id, offset)),
            Some(kind) => {
                open.retain(|(of, _)| *of != id);
                if let (Some(first_offset), ControlKind::Abort { .. }) = (began, kind) {
                    let last_stable_offset = open.first().map_or(offset.next(), |(_, first)| *first);
                    aborted.push(AbortedTransaction {
                        producer_id: id,
                        first_offset,
                        last_offset: offset,
                        last_stable_offset,
                    });
                }
            }
            None => {}
        }
    }
    aborted
}
