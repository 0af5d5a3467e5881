//! The verdict on a batch of an idempotent producer: append it, answer it as a duplicate, or refuse it.
//!
//! Kafka's order of checks (`UnifiedLog.analyzeAndValidateProducerState`, `ProducerAppendInfo`): a duplicate of one of
//! the last five batches first, then the epoch, then the sequence. An unknown producer may begin with any sequence.

use highwater_storage::batch::BatchHeader;
use highwater_storage::{Offset, ProducerEntry, ProducerEpoch, Sequence, TimestampMs};

use crate::refusal::Refusal;

/// What is to become of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Append,
    /// It is in the log already, here.
    Duplicate {
        /// Where its first record is.
        base_offset: Offset,
        /// Where its last record is.
        last_offset: Offset,
        /// The stored batch's time, which Kafka gives back even for CreateTime.
        timestamp: TimestampMs,
    },
}

/// Whether a batch is not of an epoch that was fenced (`ProducerAppendInfo.checkProducerEpoch`).
pub(super) fn check_epoch(known: &ProducerEntry, epoch: ProducerEpoch) -> Result<(), Refusal> {
    if epoch < known.epoch {
        let message = format!("epoch {epoch} is older than the last seen epoch {}", known.epoch);
        return Err(Refusal::InvalidProducerEpoch { message });
    }
    Ok(())
}

/// Whether a batch follows the last one, or begins an epoch.
pub(super) fn check_sequence(known: &ProducerEntry, batch: &BatchHeader) -> Result<(), Refusal> {
    let in_order = if batch.producer_epoch == known.epoch {
        // Of this epoch nothing may be cached (after a marker): then only 0 begins it.
        known.epoch == ProducerEpoch::NONE || batch.base_sequence == next_of(known.last_sequence())
    } else {
        batch.base_sequence == Sequence::ZERO || known.epoch == ProducerEpoch::NONE
    };
    if in_order { Ok(()) } else { Err(out_of_order(known, batch)) }
}

/// What a batch is a duplicate of, if it is.
pub(super) fn duplicate_of(known: &ProducerEntry, batch: &BatchHeader) -> Option<Verdict> {
    let same = known.duplicate_of(batch.base_sequence, batch.last_sequence());
    let same = same.filter(|_| batch.producer_epoch == known.epoch)?;
    Some(Verdict::Duplicate {
        base_offset: same.first_offset(),
        last_offset: same.last_offset,
        timestamp: same.timestamp,
    })
}

fn next_of(last: Sequence) -> Sequence {
    if last == Sequence::NONE { Sequence::ZERO } else { last.plus(1) }
}

fn out_of_order(known: &ProducerEntry, batch: &BatchHeader) -> Refusal {
    let last = known.last_sequence();
    let message = format!(
        "producer {} epoch {}: sequence {} came, the last one here is {last} of epoch {}",
        batch.producer_id, batch.producer_epoch, batch.base_sequence, known.epoch
    );
    Refusal::OutOfOrderSequence { message }
}

#[cfg(test)]
mod tests;
