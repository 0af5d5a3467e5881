//! Any files at all, checked once: the clean stop of that log is believed.

use proptest::prelude::*;

use super::{Log, NOW, config, dir};
use crate::{
    LeaderEpoch, Offset, Opening, ProducerBatch, ProducerEpoch, ProducerId, ProducerTable, Retention,
    Sequence, StopKind, TimestampMs,
    batch::{BatchBuilder, BatchHeader, CheckedBatch},
    disk::{Disk, MemoryDisk},
    segment::{base_of, file_name},
    snapshot::{self, SnapshotEntry},
};
use std::{fmt::Write as _, sync::Arc};

/// A batch as a folder may hold it, rotten header fields and all.
#[derive(Debug, Clone)]
struct Batch {
    gap: i64,
    records: usize,
    epoch: i32,
    timestamp: i64,
    producer: Producer,
    begins_segment: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Producer {
    Nobody,
    Idempotent,
    Transactional,
    Abort,
}

/// What a log is opened from.
#[derive(Debug, Clone)]
struct Folder {
    first_base: i64,
    batches: Vec<Batch>,
    checkpoint: Checkpoint,
    /// At the base of the first segment: where the last batch and the open transaction of a producer lie.
    snapshot: Option<(i64, i64)>,
}

/// Epochs and their starts.
#[derive(Debug, Clone)]
enum Checkpoint {
    Missing,
    Any(Vec<(i32, i64)>),
    /// As the batches have them, but so much further on.
    Shifted(i64),
}

/// What happens between an opening and a clean stop.
#[derive(Debug, Clone)]
struct Life {
    appends: usize,
    epoch_rises: bool,
    start_rises_by: i64,
    expires: bool,
}

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let producer =
        [Producer::Nobody, Producer::Idempotent, Producer::Transactional, Producer::Abort].as_slice();
    let parts = (
        prop_oneof![8 => Just(0), 1 => 1..4i64, 1 => -2..0i64],
        1..4usize,
        prop_oneof![9 => Just(2), 3 => Just(3), 2 => 0..6i32, 1 => Just(-1)],
        -1..6i64,
        proptest::sample::select(producer),
        proptest::bool::weighted(0.3),
    );
    let batch = parts.prop_map(|(gap, records, epoch, timestamp, producer, begins_segment)| Batch {
        gap,
        records,
        epoch,
        timestamp,
        producer,
        begins_segment,
    });
    proptest::collection::vec(batch, 0..12)
}

fn folders() -> impl Strategy<Value = Folder> {
    let entry = (1..5i32, 0..10i64);
    let any = proptest::collection::vec(entry, 0..4).prop_map(|mut entries| {
        entries.sort_unstable();
        Checkpoint::Any(entries)
    });
    let checkpoint =
        prop_oneof![1 => Just(Checkpoint::Missing), 3 => any, 3 => (-1..2i64).prop_map(Checkpoint::Shifted)];
    let snapshot = proptest::option::of((-1..8i64, -1..8i64));
    (0..3i64, batches(), checkpoint, snapshot).prop_map(|(first_base, batches, checkpoint, snapshot)| {
        Folder { first_base, batches, checkpoint, snapshot }
    })
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let parts = (0..3usize, any::<bool>(), 0..4i64, any::<bool>());
    let life = parts.prop_map(|(appends, epoch_rises, start_rises_by, expires)| Life {
        appends,
        epoch_rises,
        start_rises_by,
        expires,
    });
    proptest::collection::vec(life, 1..4)
}

fn built(batch: &Batch, offset: i64) -> Vec<u8> {
    let producer = batch.producer;
    let mut builder = BatchBuilder::new()
        .base_offset(Offset::new(offset))
        .leader_epoch(LeaderEpoch::new(batch.epoch))
        .control(producer == Producer::Abort)
        .transactional(matches!(producer, Producer::Transactional | Producer::Abort));
    if producer != Producer::Nobody {
        builder.set_producer(ProducerId::new(7), ProducerEpoch::new(0), Sequence::ZERO);
    }
    for _ in 0..batch.records {
        builder.append(TimestampMs::new(batch.timestamp), Some(&[0; 4]), Some(&[0; 6]), &[]).unwrap();
    }
    builder.build().unwrap().to_vec()
}

impl Folder {
    fn lay_out(&self) -> Arc<dyn Disk> {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        disk.create_dir(dir()).unwrap();
        let (mut base, mut end, mut bytes) = (self.first_base, self.first_base, Vec::new());
        let mut terms: Vec<(i32, i64)> = Vec::new();
        let put = |base: i64, bytes: &[u8]| {
            disk.put(&dir().join(file_name(Offset::new(base), "log")), bytes).unwrap();
        };
        for batch in &self.batches {
            let offset = end + batch.gap;
            if batch.begins_segment && !bytes.is_empty() && offset >= 0 {
                put(base, &bytes);
                (base, bytes) = (offset, Vec::new());
            }
            bytes.extend(built(batch, offset));
            if terms.last().is_none_or(|(latest, _)| *latest < batch.epoch) {
                terms.push((batch.epoch, offset));
            }
            end = offset + i64::try_from(batch.records).unwrap();
        }
        put(base, &bytes);
        let entries = match &self.checkpoint {
            Checkpoint::Missing => None,
            Checkpoint::Any(entries) => Some(entries.clone()),
            Checkpoint::Shifted(by) => {
                Some(terms.iter().map(|(epoch, start)| (*epoch, start + by)).collect())
            }
        };
        if let Some(entries) = entries {
            let mut text = format!("0\n{}\n", entries.len());
            entries.iter().for_each(|(epoch, start)| writeln!(text, "{epoch} {start}").unwrap());
            disk.put(&dir().join("leader-epoch-checkpoint"), text.as_bytes()).unwrap();
        }
        if let Some((last_offset, first_offset)) = self.snapshot {
            let entry = SnapshotEntry {
                producer_id: ProducerId::new(7),
                epoch: ProducerEpoch::new(0),
                last_sequence: Sequence::new(3),
                last_offset: Offset::new(last_offset),
                offset_delta: 0,
                timestamp: NOW,
                coordinator_epoch: 0,
                current_txn_first_offset: Some(Offset::new(first_offset)).filter(|first| first.get() >= 0),
            };
            let batch = ProducerBatch {
                last_sequence: entry.last_sequence,
                last_offset: entry.last_offset,
                offset_delta: 0,
                timestamp: NOW,
            };
            let mut table = ProducerTable::default();
            table.restore(&entry, Some(batch).filter(|batch| batch.last_offset >= Offset::ZERO));
            let name = file_name(Offset::new(self.first_base), "snapshot");
            disk.put(&dir().join(name), &snapshot::to_bytes(&table)).unwrap();
        }
        disk
    }
}

impl Life {
    fn live(&self, log: &mut Log) {
        for _ in 0..self.appends {
            let latest = log.epochs().latest().map_or(LeaderEpoch::new(0), |latest| latest.epoch);
            let epoch = if self.epoch_rises { latest.next() } else { latest };
            let mut builder = BatchBuilder::new();
            builder.append(NOW, None, None, &[]).unwrap();
            log.append(&CheckedBatch::trusted(builder.build().unwrap()).unwrap(), epoch, NOW).unwrap();
        }
        let end = log.end_offset();
        log.advance_start_offset(Offset::new(log.start_offset().get() + self.start_rises_by), end);
        if self.expires {
            log.expire(Retention::default(), end, NOW).unwrap();
        }
    }
}

/// Whether a batch from an offset on is of an earlier term than one before it.
fn epochs_go_back(disk: &dyn Disk, from: Offset) -> bool {
    let mut names: Vec<_> = disk.list(dir()).unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| base_of(name, "log").is_some());
    names.sort_unstable();
    let mut latest = LeaderEpoch::NONE;
    for name in names {
        let mut bytes = &disk.read(&dir().join(name)).unwrap()[..];
        while let Ok(header) = BatchHeader::parse(bytes) {
            let counts = header.last_offset() >= from && header.leader_epoch.is_some();
            if counts && header.leader_epoch < latest {
                return true;
            }
            latest = if counts { header.leader_epoch } else { latest };
            bytes = &bytes[header.size_bytes()..];
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_log_that_was_checked_is_believed(folder in folders(), start in 0..12i64, lives in lives()) {
        let disk = folder.lay_out();
        let mut opening = Opening { start_offset: Offset::new(start), ..Opening::after(StopKind::Unclean) };
        let (mut log, _) = Log::open(Arc::clone(&disk), dir(), config(), opening, NOW).unwrap();
        let go_back = epochs_go_back(&*disk, log.start_offset());
        for life in lives {
            life.live(&mut log);
            let (start_offset, end, producers) = (log.start_offset(), log.end_offset(), log.producers().clone());
            log.close_clean().unwrap();
            opening = Opening { start_offset, recovery_point: end, ..Opening::after(StopKind::Clean) };
            let recovered;
            (log, recovered) = Log::open(Arc::clone(&disk), dir(), config(), opening, NOW).unwrap();
            prop_assert!(!recovered.was_not_clean || go_back, "{:?}", recovered);
            prop_assert_eq!((log.start_offset(), log.end_offset()), (start_offset, end));
            prop_assert!(recovered.was_not_clean || *log.producers() == producers);
        }
    }
}
