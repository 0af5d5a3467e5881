//! The end of a transaction, in one of its partitions (`EndTransactionMarker`, `ProducerAppendInfo.appendEndTxnMarker`).

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::{ProducerEntry, ProducerEpoch, Sequence, TimestampMs};

use crate::refusal::Refusal;
use crate::transaction::{End, Marker};

/// Whether a marker may be written, by what is known here of its producer. A follower writes what its leader has.
///
/// One that is of the producer's epoch already and ends nothing was written before and its answer lost, or another coordinator
/// sends it again: it is written once more, which changes nothing (KAFKA-19999).
pub(crate) fn check(known: Option<&ProducerEntry>, marker: &Marker) -> Result<(), Refusal> {
    let Some(known) = known else { return Ok(()) };
    check_epoch(known, marker)?;
    if known.coordinator_epoch > marker.coordinator_epoch {
        let message = format!(
            "coordinator epoch {} is older than the last seen epoch {}",
            marker.coordinator_epoch, known.coordinator_epoch
        );
        return Err(Refusal::TransactionCoordinatorFenced { message });
    }
    Ok(())
}

/// Before version 2 a marker has the epoch of what it ends. From then on it has the next one: of the same epoch may be what is
/// open already, and is not meant (KIP-1228).
fn check_epoch(known: &ProducerEntry, marker: &Marker) -> Result<(), Refusal> {
    let (_, epoch) = marker.producer;
    let is_strict = marker.version.bumps_epoch();
    let ends_nothing = known.current_txn_first_offset.is_none() || epoch.get() == i16::MAX;
    if epoch > known.epoch || (epoch == known.epoch && (!is_strict || ends_nothing)) {
        return Ok(());
    }
    let than = if is_strict { "not newer" } else { "older" };
    let message =
        format!("a marker of epoch {epoch}, which is {than} than the last seen epoch {}", known.epoch);
    Err(Refusal::InvalidProducerEpoch { message })
}

/// The marker as it stands in the log: a control batch of one record.
pub(crate) fn batch(marker: &Marker, now: TimestampMs) -> CheckedBatch {
    let (producer_id, epoch): (_, ProducerEpoch) = marker.producer;
    let kind: u8 = match marker.end {
        End::Abort => 0,
        End::Commit => 1,
    };
    // Version and type; version and coordinator epoch.
    let key = [0, 0, 0, kind];
    let mut value = [0; 6];
    value[2..].copy_from_slice(&marker.coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::new().transactional(true).control(true);
    builder.set_producer(producer_id, epoch, Sequence::NONE);
    builder.append(now, Some(&key), Some(&value), &[]).expect("ten bytes fit");
    let bytes = builder.build().expect("a record, and no codec");
    CheckedBatch::trusted(bytes).expect("it was built as a batch")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use highwater_storage::batch::{ControlKind, RecordIter, control_record};
    use highwater_storage::disk::MemoryDisk;
    use highwater_storage::{LeaderEpoch, Log, LogConfig, Offset, ProducerId};

    use super::*;
    use crate::transaction::TransactionVersion;

    const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);

    fn marker(epoch: i16, coordinator_epoch: i32, version: TransactionVersion, end: End) -> Marker {
        let producer = (ProducerId::new(1000), ProducerEpoch::new(epoch));
        Marker { producer, end, coordinator_epoch, version }
    }

    /// `MemoryRecords.withEndTransactionMarker` of Apache Kafka 4.3.1.
    #[test]
    fn a_marker_is_what_kafka_writes() {
        for (end, expected) in [
            (
                End::Abort,
                "000000000000000000000042ffffffff02c8f3fa510030000000000000018bcfe568000000018bcfe5680000000000000003e80007ffffffff000000012000000008000000000c00000000000500",
            ),
            (
                End::Commit,
                "000000000000000000000042ffffffff023ccd2c190030000000000000018bcfe568000000018bcfe5680000000000000003e80007ffffffff000000012000000008000000010c00000000000500",
            ),
        ] {
            let batch = batch(&marker(7, 5, TransactionVersion::V2, end), NOW);
            let header = batch.header().to_bytes();
            let written = header.iter().chain(batch.body().iter()).map(|byte| format!("{byte:02x}"));
            assert_eq!(written.collect::<String>(), expected);
            assert_eq!(batch.size_bytes(), 78);
            let bytes = [&header[..], batch.body()].concat();
            let record = RecordIter::new(bytes.into()).unwrap().next().unwrap().unwrap();
            let kind = control_record(record.key.as_deref(), record.value.as_deref());
            let expected = match end {
                End::Abort => ControlKind::Abort { coordinator_epoch: 5 },
                End::Commit => ControlKind::Commit { coordinator_epoch: 5 },
            };
            assert_eq!(kind, Some(expected));
        }
    }

    struct Partition {
        log: Log,
    }

    impl Partition {
        fn new() -> Self {
            let disk = Arc::new(MemoryDisk::new());
            Self { log: Log::create(disk, Path::new("t-0"), LogConfig::default(), None, NOW) }
        }

        fn write(&mut self, epoch: i16) {
            let mut builder = BatchBuilder::new().transactional(true);
            builder.set_producer(ProducerId::new(1000), ProducerEpoch::new(epoch), Sequence::ZERO);
            builder.append(NOW, None, Some(b"v"), &[]).unwrap();
            let batch = CheckedBatch::trusted(builder.build().unwrap()).unwrap();
            self.log.append(&batch, LeaderEpoch::new(0), NOW).unwrap();
        }

        fn mark(&mut self, marker: &Marker) -> i16 {
            match check(self.log.producers().get(ProducerId::new(1000)), marker) {
                Ok(()) => {
                    self.log.append(&batch(marker, NOW), LeaderEpoch::new(0), NOW).unwrap();
                    0
                }
                Err(Refusal::InvalidProducerEpoch { .. }) => 47,
                Err(Refusal::TransactionCoordinatorFenced { .. }) => 52,
                Err(other) => panic!("{other:?}"),
            }
        }

        fn is_open(&mut self) -> bool {
            self.log.first_unstable_offset(Offset::MAX).is_some()
        }
    }

    #[test]
    fn before_version_2_a_marker_has_the_epoch_of_what_it_ends() {
        let of = |epoch| marker(epoch, 1, TransactionVersion::V0, End::Commit);
        let mut partition = Partition::new();
        partition.write(3);
        assert_eq!(partition.mark(&of(2)), 47);
        assert!(partition.is_open());
        assert_eq!(partition.mark(&of(3)), 0);
        assert!(!partition.is_open());
        // Written twice it changes nothing, of a fenced producer it comes first.
        assert_eq!((partition.mark(&of(3)), partition.mark(&of(4)), partition.mark(&of(3))), (0, 0, 47));
    }

    /// KIP-1228, and guarantees, mutant: a marker that comes again closes no new transaction.
    #[test]
    fn by_version_2_a_marker_has_the_epoch_after_and_ends_no_later_transaction() {
        let of = |epoch| marker(epoch, 1, TransactionVersion::V2, End::Commit);
        let mut partition = Partition::new();
        partition.write(3);
        assert_eq!(partition.mark(&of(3)), 47);
        assert!(partition.is_open());
        assert_eq!(partition.mark(&of(4)), 0);
        assert!(!partition.is_open());
        // Its answer was lost, or another coordinator sends it again.
        assert_eq!(partition.mark(&of(4)), 0);
        partition.write(4);
        assert_eq!(partition.mark(&of(4)), 47);
        assert!(partition.is_open(), "the next transaction goes on");
        assert_eq!(partition.mark(&of(5)), 0);
    }

    #[test]
    fn what_is_open_in_the_very_last_epoch_can_be_ended() {
        let mut partition = Partition::new();
        partition.write(i16::MAX);
        assert_eq!(partition.mark(&marker(i16::MAX, 1, TransactionVersion::V2, End::Abort)), 0);
        assert!(!partition.is_open());
    }

    #[test]
    fn a_coordinator_that_another_took_over_from_is_fenced() {
        for version in [TransactionVersion::V0, TransactionVersion::V2] {
            let mut partition = Partition::new();
            assert_eq!(partition.mark(&marker(3, 5, version, End::Abort)), 0);
            assert_eq!(partition.mark(&marker(4, 4, version, End::Abort)), 52);
            assert_eq!(partition.mark(&marker(2, 4, version, End::Abort)), 47, "the epoch comes first");
            assert_eq!(partition.mark(&marker(4, 5, version, End::Abort)), 0);
        }
    }
}
