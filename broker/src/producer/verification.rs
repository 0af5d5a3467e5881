//! Asking whether a partition is part of a transaction, before the first batch of it (KIP-890; `VerificationGuard`,
//! `VerificationStateEntry`, `ProducerStateManager`).
//!
//! The answer may come late: when the transaction has ended here and another has begun. So a question carries a guard that
//! nobody else ever had, and the answer counts only while that guard is still the one that is registered. Whatever of the
//! producer's transaction is written here takes it away.

use std::collections::BTreeMap;

use highwater_storage::batch::BatchHeader;
use highwater_storage::{ProducerEntry, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::refusal::Refusal;

/// One question, told from every other: two of them are never the same, whoever they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guard(u64);

/// The guards of a node.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    given: u64,
}

impl Guards {
    fn next(&mut self) -> Guard {
        self.given += 1;
        Guard(self.given)
    }
}

/// What is being asked about one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verification {
    pub(super) guard: Guard,
    /// The epoch, and the lowest sequence that came in it: a batch behind it must not be let in before it.
    epoch: ProducerEpoch,
    pub(super) lowest_sequence: Sequence,
    /// Whether the transaction runs by the rules of version 2: each has an epoch of its own.
    pub(super) bumps_epoch: bool,
    since: TimestampMs,
}

/// What came of a transaction: a batch, or offsets that are to become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    /// The first sequence; none where it has none.
    pub(crate) sequence: Sequence,
}

impl From<&BatchHeader> for Came {
    fn from(batch: &BatchHeader) -> Self {
        Self { producer_id: batch.producer_id, epoch: batch.producer_epoch, sequence: batch.base_sequence }
    }
}

/// The questions about the producers of a partition.
#[derive(Debug, Default)]
pub(crate) struct Verifications {
    by_producer: BTreeMap<ProducerId, Verification>,
}

/// Whether a producer has a transaction open here, in just this epoch (`UnifiedLog.hasOngoingTransaction`).
pub(crate) fn is_open(known: Option<&ProducerEntry>, epoch: ProducerEpoch) -> bool {
    known.is_some_and(|known| known.current_txn_first_offset.is_some() && known.epoch == epoch)
}

impl Verifications {
    /// Something of a transaction came: the guard to ask with; none where the transaction is open here and nothing need be
    /// asked (`UnifiedLog.maybeStartTransactionVerification`).
    ///
    /// # Errors
    /// An epoch that was fenced is not even asked about.
    pub(crate) fn begin(
        &mut self,
        known: Option<&ProducerEntry>,
        came: Came,
        bumps_epoch: bool,
        now: TimestampMs,
        guards: &mut Guards,
    ) -> Result<Option<Guard>, Refusal> {
        if let Some(known) = known {
            super::sequence::check_epoch(known, came.epoch)?;
        }
        let Came { producer_id, epoch, sequence } = came;
        if is_open(known, epoch) {
            return Ok(None);
        }
        let new = || Verification {
            guard: guards.next(),
            epoch,
            lowest_sequence: sequence,
            bumps_epoch,
            since: now,
        };
        let entry = self.by_producer.entry(producer_id).or_insert_with(new);
        entry.note(epoch, sequence);
        Ok(Some(entry.guard))
    }

    /// What is being asked about a producer.
    pub(crate) fn get(&self, producer: ProducerId) -> Option<&Verification> {
        self.by_producer.get(&producer)
    }

    /// A batch is in the log, or a marker (`UnifiedLog.updateProducers`).
    pub(crate) fn written(&mut self, batch: &BatchHeader) {
        if !batch.attributes.is_transactional() {
            return;
        }
        // By the rules of version 2 a marker of this very epoch ended the transaction before, and the question is
        // about the next one.
        let is_next = |entry: &Verification| {
            entry.bumps_epoch && batch.attributes.is_control() && batch.producer_epoch == entry.epoch
        };
        if !self.get(batch.producer_id).is_some_and(is_next) {
            self.by_producer.remove(&batch.producer_id);
        }
    }

    /// Forgets what was asked before `time` and never came to a write (`producer.id.expiration.ms`).
    pub(crate) fn expire_before(&mut self, time: TimestampMs) {
        self.by_producer.retain(|_, entry| entry.since > time);
    }

    /// Whether nothing is being asked.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }
}

impl Verification {
    /// One more batch waits for the answer.
    fn note(&mut self, epoch: ProducerEpoch, sequence: Sequence) {
        if epoch > self.epoch {
            (self.epoch, self.lowest_sequence) = (epoch, sequence);
        } else if epoch == self.epoch {
            self.lowest_sequence = self.lowest_sequence.min(sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_storage::batch::BatchBuilder;

    use super::*;

    const NOW: TimestampMs = TimestampMs::new(1_000_000);

    fn header(id: i64, epoch: i16, sequence: i32, control: bool) -> BatchHeader {
        let mut builder = BatchBuilder::new().transactional(true).control(control);
        builder.set_producer(ProducerId::new(id), ProducerEpoch::new(epoch), Sequence::new(sequence));
        builder.append(NOW, None, None, &[]).unwrap();
        BatchHeader::parse(&builder.build().unwrap()).unwrap()
    }

    #[derive(Default)]
    struct Bench {
        asked: Verifications,
        guards: Guards,
    }

    impl Bench {
        fn begin(&mut self, id: i64, epoch: i16, sequence: i32, bumps_epoch: bool) -> Guard {
            let batch = header(id, epoch, sequence, false);
            self.asked.begin(None, (&batch).into(), bumps_epoch, NOW, &mut self.guards).unwrap().unwrap()
        }

        fn lowest(&self, id: i64) -> Option<(i16, i32)> {
            let entry = self.asked.get(ProducerId::new(id))?;
            Some((entry.epoch.get(), entry.lowest_sequence.get()))
        }
    }

    #[test]
    fn batches_that_wait_together_share_a_guard_and_the_lowest_sequence() {
        let mut bench = Bench::default();
        let first = bench.begin(7, 3, 5, true);
        assert_eq!(bench.begin(7, 3, 2, true), first);
        assert_eq!(bench.begin(7, 3, 9, true), first);
        assert_eq!(bench.lowest(7), Some((3, 2)));
        // An older epoch changes nothing, a newer one begins anew.
        bench.begin(7, 2, 0, true);
        assert_eq!(bench.lowest(7), Some((3, 2)));
        bench.begin(7, 4, 6, true);
        assert_eq!(bench.lowest(7), Some((4, 6)));
        assert_ne!(bench.begin(8, 3, 0, true), first);
    }

    #[test]
    fn what_is_written_of_a_transaction_takes_the_guard_away() {
        let mut bench = Bench::default();
        let first = bench.begin(7, 3, 0, false);
        bench.begin(8, 0, 0, false);
        bench.asked.written(&header(7, 3, 0, false));
        assert_eq!((bench.lowest(7), bench.lowest(8)), (None, Some((0, 0))));
        let second = bench.begin(7, 3, 1, false);
        assert_ne!(first, second, "the same producer, and another question");
        bench.asked.written(&header(7, 3, -1, true));
        assert_eq!(bench.lowest(7), None);
        assert_ne!(bench.begin(7, 3, 1, false), second);
    }

    #[test]
    fn by_version_2_a_marker_of_the_next_epoch_leaves_the_question_about_it() {
        let mut bench = Bench::default();
        let next = bench.begin(7, 4, 0, true);
        bench.asked.written(&header(7, 4, -1, true));
        assert_eq!(bench.begin(7, 4, 0, true), next);
        // One of another epoch takes it away all the same.
        bench.asked.written(&header(7, 5, -1, true));
        assert_eq!(bench.lowest(7), None);
    }

    #[test]
    fn what_never_came_to_a_write_is_forgotten() {
        let mut bench = Bench::default();
        bench.begin(7, 0, 0, true);
        bench.asked.expire_before(TimestampMs::new(NOW.get() - 1));
        assert!(!bench.asked.is_empty());
        bench.asked.expire_before(NOW);
        assert!(bench.asked.is_empty());
    }
}
