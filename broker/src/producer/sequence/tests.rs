//! The verdict against a model that keeps everything, on a log that takes what the verdict lets in.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::disk::MemoryDisk;
use highwater_storage::{
    LeaderEpoch, Log, LogConfig, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};
use proptest::prelude::*;

use super::Verdict;
use crate::producer::admission::{Admission, Origin, admit};
use crate::refusal::Refusal;

const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);
const PRODUCER: ProducerId = ProducerId::new(7);

struct Partition {
    log: Log,
}

impl Partition {
    fn new() -> Self {
        let disk = Arc::new(MemoryDisk::new());
        Self { log: Log::create(disk, Path::new("t-0"), LogConfig::default(), None, NOW) }
    }

    fn send(&mut self, epoch: i16, first: i32, records: u32) -> Result<Verdict, Refusal> {
        let batch = batch(epoch, first, records);
        let known = self.log.producers().get(PRODUCER);
        let by = Admission { origin: Origin::Client, known, asked: None, guard: None, verifies: true };
        let verdict = admit(batch.header(), by)?;
        if verdict == Verdict::Append {
            self.log.append(&batch, LeaderEpoch::new(0), NOW).unwrap();
        }
        Ok(verdict)
    }
}

fn batch(epoch: i16, first: i32, records: u32) -> CheckedBatch {
    let mut builder = BatchBuilder::new();
    builder.set_producer(PRODUCER, ProducerEpoch::new(epoch), Sequence::new(first));
    for _ in 0..records {
        builder.append(NOW, None, Some(b"v"), &[]).unwrap();
    }
    CheckedBatch::trusted(builder.build().unwrap()).unwrap()
}

fn duplicate_at(offset: i64, records: u32) -> Verdict {
    let last_offset = Offset::new(offset + i64::from(records) - 1);
    Verdict::Duplicate { base_offset: Offset::new(offset), last_offset, timestamp: NOW }
}

fn is_gap(outcome: Result<Verdict, Refusal>) -> bool {
    matches!(outcome, Err(Refusal::OutOfOrderSequence { .. }))
}

fn is_fenced(outcome: Result<Verdict, Refusal>) -> bool {
    matches!(outcome, Err(Refusal::InvalidProducerEpoch { .. }))
}

#[test]
fn each_of_the_last_five_batches_is_known_and_the_sixth_is_not() {
    let mut partition = Partition::new();
    for place in 0..6 {
        assert_eq!(partition.send(0, place * 2, 2), Ok(Verdict::Append));
    }
    assert!(is_gap(partition.send(0, 0, 2)));
    for place in 1..6 {
        assert_eq!(partition.send(0, place * 2, 2), Ok(duplicate_at(i64::from(place) * 2, 2)));
    }
    assert_eq!(partition.log.end_offset(), Offset::new(12));
}

#[test]
fn a_batch_that_only_overlaps_is_no_duplicate() {
    let mut partition = Partition::new();
    partition.send(0, 0, 4).unwrap();
    assert!(is_gap(partition.send(0, 0, 3)));
    assert!(is_gap(partition.send(0, 1, 3)));
    assert!(is_gap(partition.send(0, 0, 5)));
}

#[test]
fn an_unknown_producer_may_begin_anywhere_and_then_has_to_go_on() {
    let mut partition = Partition::new();
    assert_eq!(partition.send(3, 41, 1), Ok(Verdict::Append));
    assert!(is_gap(partition.send(3, 43, 1)));
    assert_eq!(partition.send(3, 42, 1), Ok(Verdict::Append));
}

#[test]
fn an_older_epoch_is_fenced_and_a_newer_one_begins_at_zero() {
    let mut partition = Partition::new();
    partition.send(5, 0, 1).unwrap();
    assert!(is_fenced(partition.send(4, 1, 1)));
    // The older epoch's exact sequence is no duplicate either.
    assert!(is_fenced(partition.send(4, 0, 1)));
    assert!(is_gap(partition.send(6, 1, 1)));
    assert_eq!(partition.send(6, 0, 1), Ok(Verdict::Append));
    assert!(is_fenced(partition.send(5, 1, 1)));
}

#[test]
fn after_the_last_sequence_comes_zero() {
    let mut partition = Partition::new();
    assert_eq!(partition.send(0, i32::MAX - 1, 2), Ok(Verdict::Append));
    assert_eq!(partition.send(0, 0, 1), Ok(Verdict::Append));
    assert_eq!(partition.send(0, i32::MAX - 1, 2), Ok(duplicate_at(0, 2)));

    let mut partition = Partition::new();
    assert_eq!(partition.send(0, i32::MAX, 3), Ok(Verdict::Append));
    assert!(is_gap(partition.send(0, 1, 1)));
    assert_eq!(partition.send(0, 2, 1), Ok(Verdict::Append));
    assert_eq!(partition.send(0, i32::MAX, 3), Ok(duplicate_at(0, 3)));
}

#[derive(Debug, Clone)]
struct Stored {
    epoch: i16,
    first: i32,
    records: u32,
    offset: i64,
}

proptest! {
    /// The model keeps every batch of every epoch; the last five of the newest epoch are the window.
    #[test]
    fn the_verdict_is_that_of_a_model_that_forgets_nothing(
        sends in prop::collection::vec((0_i16..4, 0_i32..24, 1_u32..4), 1..80)
    ) {
        let mut partition = Partition::new();
        let mut stored: Vec<Stored> = Vec::new();
        for (epoch, first, records) in sends {
            let newest = stored.last().map(|batch| batch.epoch);
            let of_newest: Vec<_> = stored.iter().filter(|batch| Some(batch.epoch) == newest).collect();
            let window = &of_newest[of_newest.len().saturating_sub(5)..];
            let same = window.iter().find(|b| b.epoch == epoch && b.first == first && b.records == records);
            let next = of_newest.last().map(|batch| batch.first + i32::try_from(batch.records).unwrap());
            let outcome = partition.send(epoch, first, records);
            match (same, newest) {
                (Some(same), _) => {
                    prop_assert_eq!(outcome, Ok(duplicate_at(same.offset, records)));
                    continue;
                }
                (None, Some(newest)) if epoch < newest => prop_assert!(is_fenced(outcome)),
                (None, Some(newest)) if epoch > newest && first != 0 => prop_assert!(is_gap(outcome)),
                (None, Some(newest)) if epoch == newest && Some(first) != next => prop_assert!(is_gap(outcome)),
                _ => {
                    prop_assert_eq!(outcome, Ok(Verdict::Append));
                    let offset = stored.last().map_or(0, |b| b.offset + i64::from(b.records));
                    stored.push(Stored { epoch, first, records, offset });
                }
            }
            let end = stored.last().map_or(0, |b| b.offset + i64::from(b.records));
            prop_assert_eq!(partition.log.end_offset(), Offset::new(end));
        }
    }
}
