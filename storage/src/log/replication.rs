//! Putting a leader's batches at a follower's end, as they are (`UnifiedLog.appendAsFollower`).
//!
//! The log that results is the leader's: the same segments where both have the same settings, the same indexes, epochs and
//! producers. What was already checked is not checked again: neither sequences nor sizes are a follower's business, and
//! checksums were looked at where the bytes came from a file.

use std::{io::IoSlice, sync::Arc};

use super::Log;
use crate::{
    AppendError, LogError, TimestampMs,
    batch::{BatchError, StoredBatch, control_of},
};

/// What an append of a leader's batches did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendedReplicated {
    /// How many of them are in the log now. Fewer than were given if the disk was full, or failed, before all were: the next
    /// append says which.
    pub batches: usize,
    /// Whether a new segment was begun: those before it may be flushed.
    pub rolled: bool,
}

impl Log {
    /// Appends a leader's batches with the offsets and epochs they have, all that go to one segment in one write. The first
    /// lies at the log's end, or behind it where compaction left a hole; a log without batches may be
    /// [restarted](Self::restart_at) where they begin. `now` is the wall clock.
    ///
    /// # Errors
    /// Batches that do not follow the log's end, or each other, are refused and leave the log as it was; so does a full disk,
    /// if it was full before a first segment's share of them was written. A failed write poisons the log: nothing of that share
    /// is visible.
    pub fn append_replicated(
        &mut self,
        batches: &[StoredBatch],
        now: TimestampMs,
    ) -> Result<AppendedReplicated, AppendError> {
        if let Some(why) = &self.poisoned {
            return Err(AppendError::Poisoned(Arc::clone(why)));
        }
        batches
            .iter()
            .try_fold(self.end_offset(), |end_offset, batch| batch.follows(end_offset))
            .map_err(AppendError::Misplaced)?;
        let mut done = AppendedReplicated { batches: 0, rolled: false };
        while done.batches < batches.len() && self.poisoned.is_none() {
            match self.append_share(&batches[done.batches..], now) {
                Ok(share) => {
                    done.batches += share.batches;
                    done.rolled |= share.rolled;
                }
                Err(AppendError::Full(_)) if done.batches > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Appends those that go to one segment, one at least.
    fn append_share(
        &mut self,
        batches: &[StoredBatch],
        now: TimestampMs,
    ) -> Result<AppendedReplicated, AppendError> {
        let wrote = self.with_all_room(|log| log.write_share(batches, now));
        let share = wrote.map_err(|error| self.not_written(error))?;
        if share.batches == 0 {
            let (base_offset, expected_offset) = (batches[0].header.base_offset, self.end_offset());
            return Err(AppendError::Misplaced(BatchError::OutOfOrder { base_offset, expected_offset }));
        }
        for StoredBatch { header, body } in &batches[..share.batches] {
            self.note(header, control_of(header, body));
        }
        self.noted();
        Ok(share)
    }

    /// Makes files and rolls if need be, and writes what the segment takes. That is nothing if the first lies so far behind
    /// the end that no segment that begins there can tell of it.
    fn write_share(
        &mut self,
        batches: &[StoredBatch],
        now: TimestampMs,
    ) -> Result<AppendedReplicated, LogError> {
        self.be_born()?;
        let takes = |log: &Self| log.active().takes(batches, &log.config, now);
        let mut count = takes(self);
        if count == 0 && self.active().size_bytes > 0 {
            self.roll(now)?;
            count = takes(self);
        }
        let batches = &batches[..count];
        let heads: Vec<_> = batches.iter().map(|batch| batch.header.to_bytes()).collect();
        let mut parts = Vec::with_capacity(2 * count);
        for (head, batch) in heads.iter().zip(batches) {
            parts.extend([IoSlice::new(head), IoSlice::new(&batch.body)]);
        }
        let rolled = count > 0 && self.write_parts(&parts)?;
        Ok(AppendedReplicated { batches: count, rolled })
    }
}
