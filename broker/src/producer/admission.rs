//! The verdict on a batch that may be part of a transaction: what [`sequence`](super::sequence) says of any batch, and
//! whether the transaction is one that its coordinator knows of here.
//!
//! Kafka's order of checks (`UnifiedLog.analyzeAndValidateProducerState`, `ProducerAppendInfo.appendDataBatch`): a duplicate,
//! then the transaction, then the epoch, the sequence, and last whether a transaction is open that the batch is no part of.

use highwater_storage::batch::BatchHeader;
use highwater_storage::{ProducerEntry, Sequence};

use super::sequence::{Verdict, check_epoch, check_sequence, duplicate_of};
use super::verification::{Guard, Verification, is_open};
use crate::refusal::Refusal;

/// Who writes a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client, which numbers its batches.
    Client,
    /// A coordinator of groups, for a client: its batches have no sequence.
    Coordinator,
}

/// What a batch is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admission<'a> {
    pub(crate) origin: Origin,
    /// What is known of its producer here.
    pub(crate) known: Option<&'a ProducerEntry>,
    /// What is being asked about its producer.
    pub(crate) asked: Option<&'a Verification>,
    /// The guard that was asked with, once the coordinator agreed.
    pub(crate) guard: Option<Guard>,
    /// `transaction.partition.verification.enable`.
    pub(crate) verifies: bool,
}

/// Judges a batch that is no control batch. One without a producer id is always appended.
pub(crate) fn admit(batch: &BatchHeader, by: Admission<'_>) -> Result<Verdict, Refusal> {
    if batch.producer_id.is_none() {
        return Ok(Verdict::Append);
    }
    let of_client = by.origin == Origin::Client;
    if let Some(duplicate) = by.known.filter(|_| of_client).and_then(|known| duplicate_of(known, batch)) {
        return Ok(duplicate);
    }
    if let Some(known) = by.known {
        check_epoch(known, batch.producer_epoch)?;
    }
    let is_transactional = batch.attributes.is_transactional();
    if is_transactional && by.verifies && !is_open(by.known, batch.producer_epoch) && !is_verified(by) {
        return Err(Refusal::InvalidTransactionState {
            message: "Record was not part of an ongoing transaction".to_owned(),
        });
    }
    if of_client {
        check_against_asked(batch, by)?;
        by.known.map_or(Ok(()), |known| check_sequence(known, batch))?;
    }
    let opened = by.known.and_then(|known| known.current_txn_first_offset);
    match opened.filter(|_| !is_transactional) {
        Some(first) => Err(Refusal::InvalidTransactionState {
            message: format!("producer {} has a transaction open since {first}", batch.producer_id),
        }),
        None => Ok(Verdict::Append),
    }
}

fn is_verified(by: Admission<'_>) -> bool {
    by.guard.is_some() && by.guard == by.asked.map(|asked| asked.guard)
}

/// A batch must not overtake one that waits for an answer, and begins at 0 what nothing is known of.
fn check_against_asked(batch: &BatchHeader, by: Admission<'_>) -> Result<(), Refusal> {
    let Some(asked) = by.asked else { return Ok(()) };
    let first = batch.base_sequence;
    let is_new = by.known.is_none_or(|known| known.batches().len() == 0);
    let begins_midway = asked.bumps_epoch && is_new && first != Sequence::ZERO;
    if begins_midway || first > asked.lowest_sequence {
        let message = format!(
            "producer {} epoch {}: sequence {first} came, and {} was seen and is not written",
            batch.producer_id, batch.producer_epoch, asked.lowest_sequence
        );
        return Err(Refusal::OutOfOrderSequence { message });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use highwater_storage::batch::{BatchBuilder, CheckedBatch};
    use highwater_storage::disk::MemoryDisk;
    use highwater_storage::{LeaderEpoch, Log, LogConfig, ProducerEpoch, ProducerId, TimestampMs};

    use super::super::marker;
    use super::super::verification::{Guards, Verifications};
    use super::*;
    use crate::transaction::{End, Marker, TransactionVersion};

    const NOW: TimestampMs = TimestampMs::new(1_700_000_000_000);
    const PRODUCER: ProducerId = ProducerId::new(7);

    struct Partition {
        log: Log,
        asked: Verifications,
        guards: Guards,
        bumps_epoch: bool,
    }

    fn batch(epoch: i16, sequence: i32, transactional: bool) -> CheckedBatch {
        let mut builder = BatchBuilder::new().transactional(transactional);
        builder.set_producer(PRODUCER, ProducerEpoch::new(epoch), Sequence::new(sequence));
        builder.append(NOW, None, Some(b"v"), &[]).unwrap();
        CheckedBatch::trusted(builder.build().unwrap()).unwrap()
    }

    impl Partition {
        fn new(bumps_epoch: bool) -> Self {
            let disk = Arc::new(MemoryDisk::new());
            let log = Log::create(disk, Path::new("t-0"), LogConfig::default(), None, NOW);
            Self { log, asked: Verifications::default(), guards: Guards::default(), bumps_epoch }
        }

        fn begin(&mut self, epoch: i16, sequence: i32) -> Result<Option<Guard>, Refusal> {
            let batch = batch(epoch, sequence, true);
            let known = self.log.producers().get(PRODUCER);
            self.asked.begin(known, batch.header().into(), self.bumps_epoch, NOW, &mut self.guards)
        }

        fn admit(
            &mut self,
            batch: &CheckedBatch,
            guard: Option<Guard>,
            origin: Origin,
        ) -> Result<Verdict, Refusal> {
            let known = self.log.producers().get(PRODUCER);
            let asked = self.asked.get(PRODUCER);
            let by = Admission { origin, known, asked, guard, verifies: true };
            let verdict = admit(batch.header(), by)?;
            if verdict == Verdict::Append {
                let appended = self.log.append(batch, LeaderEpoch::new(0), NOW).unwrap();
                self.asked.written(&appended.header);
            }
            Ok(verdict)
        }

        fn send(&mut self, epoch: i16, sequence: i32, guard: Option<Guard>) -> Result<Verdict, Refusal> {
            self.admit(&batch(epoch, sequence, true), guard, Origin::Client)
        }

        fn mark(&mut self, epoch: i16) {
            let marker = Marker {
                producer: (PRODUCER, ProducerEpoch::new(epoch)),
                end: End::Abort,
                coordinator_epoch: 0,
                version: TransactionVersion::V0,
            };
            let appended = self.log.append(&marker::batch(&marker, NOW), LeaderEpoch::new(0), NOW).unwrap();
            self.asked.written(&appended.header);
        }
    }

    fn code(outcome: &Result<Verdict, Refusal>) -> i16 {
        match outcome {
            Ok(Verdict::Append) => 0,
            Ok(Verdict::Duplicate { .. }) => 1,
            Err(Refusal::OutOfOrderSequence { .. }) => 45,
            Err(Refusal::InvalidProducerEpoch { .. }) => 47,
            Err(Refusal::InvalidTransactionState { .. }) => 48,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_batch_of_a_transaction_needs_the_guard_and_the_others_do_not() {
        let mut partition = Partition::new(true);
        assert_eq!(code(&partition.send(0, 0, None)), 48);
        let guard = partition.begin(0, 0).unwrap();
        assert_eq!(code(&partition.send(0, 0, None)), 48);
        assert_eq!(code(&partition.send(0, 0, guard)), 0);
        assert_eq!(partition.begin(0, 1), Ok(None), "it is open");
        assert_eq!(code(&partition.send(0, 1, None)), 0);
        // Sent once more it is a duplicate, whatever became of the transaction.
        partition.mark(0);
        assert_eq!(code(&partition.send(0, 1, None)), 1);
        assert_eq!(code(&partition.send(0, 2, guard)), 48, "a guard counts once");
    }

    /// Semantics 3.5 and guarantees, mutant: the guard is compared by itself, not by its producer.
    #[test]
    fn an_answer_that_comes_after_the_marker_lets_nothing_in() {
        let mut partition = Partition::new(false);
        let late = partition.begin(0, 0).unwrap();
        partition.mark(0);
        assert_eq!(code(&partition.send(0, 0, late)), 48);
        // Nor after the next transaction asked, and was answered.
        let next = partition.begin(0, 0).unwrap();
        assert_ne!(late, next);
        assert_eq!(code(&partition.send(0, 0, late)), 48);
        assert_eq!(code(&partition.send(0, 0, next)), 0);
    }

    #[test]
    fn a_fenced_epoch_comes_before_a_missing_guard() {
        let mut partition = Partition::new(true);
        let guard = partition.begin(3, 0).unwrap();
        partition.send(3, 0, guard).unwrap();
        partition.mark(4);
        assert_eq!(code(&partition.send(3, 1, None)), 47);
        assert!(matches!(partition.begin(3, 1), Err(Refusal::InvalidProducerEpoch { .. })));
        assert_eq!(code(&partition.send(4, 0, None)), 48);
    }

    #[test]
    fn a_batch_does_not_overtake_one_that_waits_for_its_answer() {
        for bumps_epoch in [false, true] {
            let mut partition = Partition::new(bumps_epoch);
            partition.begin(0, 0).unwrap();
            let guard = partition.begin(0, 1).unwrap();
            assert_eq!(code(&partition.send(0, 1, guard)), 45);
            assert_eq!(code(&partition.send(0, 0, guard)), 0);
            assert_eq!(code(&partition.send(0, 1, None)), 0);
        }
        // By version 2 what nothing is known of begins at 0; before it may begin anywhere.
        for (bumps_epoch, expected) in [(false, 0), (true, 45)] {
            let mut partition = Partition::new(bumps_epoch);
            let guard = partition.begin(0, 5).unwrap();
            assert_eq!(code(&partition.send(0, 5, guard)), expected);
        }
    }

    #[test]
    fn while_a_transaction_is_open_nothing_else_of_its_producer_comes_in() {
        let mut partition = Partition::new(true);
        let guard = partition.begin(0, 0).unwrap();
        partition.send(0, 0, guard).unwrap();
        let plain = |epoch, sequence| batch(epoch, sequence, false);
        assert_eq!(code(&partition.admit(&plain(0, 1), None, Origin::Client)), 48);
        assert_eq!(
            code(&partition.admit(&plain(0, 7), None, Origin::Client)),
            45,
            "the sequence comes first"
        );
        assert_eq!(code(&partition.admit(&plain(1, 0), None, Origin::Client)), 48);
        partition.mark(1);
        assert_eq!(code(&partition.admit(&plain(1, 0), None, Origin::Client)), 0);
    }

    /// `AppendOrigin.COORDINATOR`: offsets in a transaction have no sequence, and need the guard all the same.
    #[test]
    fn offsets_are_let_in_without_a_sequence() {
        let mut partition = Partition::new(true);
        let offsets = |epoch| batch(epoch, -1, true);
        assert_eq!(code(&partition.admit(&offsets(0), None, Origin::Coordinator)), 48);
        let guard = partition.begin(0, -1).unwrap();
        assert_eq!(code(&partition.admit(&offsets(0), guard, Origin::Coordinator)), 0);
        assert_eq!(code(&partition.admit(&offsets(0), None, Origin::Coordinator)), 0, "no duplicate");
        partition.mark(1);
        assert_eq!(code(&partition.admit(&offsets(0), None, Origin::Coordinator)), 47);
    }

    #[test]
    fn without_verification_no_guard_is_asked_for() {
        let first = batch(0, 3, true);
        let by = Admission { origin: Origin::Client, known: None, asked: None, guard: None, verifies: false };
        assert_eq!(admit(first.header(), by), Ok(Verdict::Append));
    }
}
