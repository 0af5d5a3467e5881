//! Putting batches at the log's end.
//!
//! Order is everything: the batch's bytes first, then what memory knows of it, then the index files. A disk without room
//! refuses before memory has learnt anything; what a failed write left of the batch is cut off with the [room](super::room)
//! kept ahead, a roll that could not make its files is undone, and index entries that found no room are written with the next ones. Any other failure
//! poisons the log.

use std::{io::IoSlice, sync::Arc};

use super::Log;
use crate::{
    AppendError, LeaderEpoch, LogError, Offset, TimestampMs,
    batch::{BatchHeader, CheckedBatch, ControlKind, control_of},
    segment::Segment,
};

/// What an append did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The batch's time if the log set it; [`TimestampMs::NONE`] if the records carry their own.
    pub log_append_time: TimestampMs,
    /// Whether the batch is the first of a new segment: those before it may be flushed.
    pub rolled: bool,
    /// The header as written; [`CheckedBatch::body`] follows it.
    pub header: BatchHeader,
}

impl Log {
    /// Appends a batch at the log's end, in one write. `now` is the wall clock.
    ///
    /// # Errors
    /// A batch that cannot be appended, also for want of room, is refused and leaves the log as it was. A failed write
    /// poisons the log: nothing of the batch is visible, and whether it is there shows when the log is opened again.
    pub fn append(
        &mut self,
        batch: &CheckedBatch,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        if let Some(why) = &self.poisoned {
            return Err(AppendError::Poisoned(Arc::clone(why)));
        }
        let (size_bytes, limit_bytes) = (batch.size_bytes(), self.config.segment_bytes);
        if size_bytes > limit_bytes {
            return Err(AppendError::LargerThanSegment { size_bytes, limit_bytes });
        }
        let header = batch.stamped(self.end_offset(), leader_epoch, now);
        if header.check_offsets().is_err() {
            return Err(AppendError::OffsetsExhausted { end_offset: self.end_offset() });
        }
        let wrote = self.with_all_room(|log| log.write(&header, batch.body(), now));
        let rolled = wrote.map_err(|error| self.not_written(error))?;
        self.note(&header, control_of(&header, batch.body()));
        self.noted();
        let log_append_time =
            if batch.takes_append_time() { header.max_timestamp } else { TimestampMs::NONE };
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time,
            rolled,
            header,
        })
    }

    /// Writes; if there is no room on the disk, once more without what this log kept of it for later.
    pub(super) fn with_all_room<T>(
        &mut self,
        mut write: impl FnMut(&mut Self) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let had_room = self.active().has_room();
        match write(self) {
            Err(error) if error.is_full() && had_room => {
                self.give_room_back()?;
                write(self)
            }
            wrote => wrote,
        }
    }

    /// What a failed write means.
    pub(super) fn not_written(&mut self, error: LogError) -> AppendError {
        if error.is_full() {
            return AppendError::Full(error);
        }
        self.poison(&error.to_string());
        AppendError::Failed(error)
    }

    /// Makes files and rolls if need be, and writes; tells whether it began a segment other than the log's first.
    fn write(&mut self, header: &BatchHeader, body: &[u8], now: TimestampMs) -> Result<bool, LogError> {
        self.be_born()?;
        if self.active().is_full_for(header, &self.config, now) {
            self.roll(now)?;
        }
        let head = header.to_bytes();
        self.write_parts(&[IoSlice::new(&head), IoSlice::new(body)])
    }

    /// Writes to the active segment; tells whether it is the first that goes there, and the segment not the log's first.
    pub(super) fn write_parts(&mut self, parts: &[IoSlice<'_>]) -> Result<bool, LogError> {
        let active = self.segments.last_mut().expect("a log has a segment");
        active.write(parts)?;
        Ok(active.size_bytes == 0 && self.segments.len() > 1)
    }

    /// Learns of a batch that was just written, in the order of the batches. `control` is what it says if it is a control batch.
    pub(super) fn note(&mut self, header: &BatchHeader, control: Option<ControlKind>) {
        let active = self.segments.last_mut().expect("a log has a segment");
        active.note(header, &self.config);
        if header.leader_epoch.is_some() {
            self.epochs.assign(header.leader_epoch, header.base_offset);
            let begins = self.epochs.latest().is_some_and(|latest| latest.start_offset == header.base_offset);
            self.epochs_version += u32::from(begins);
        }
        if header.has_producer() {
            self.snapshot_is_current = false;
        }
        active.note_aborted(self.producers.note(header, control));
    }

    /// Brings the files up to what was noted.
    pub(super) fn noted(&mut self) {
        let active = self.segments.last_mut().expect("a log has a segment");
        match active.write_indexes(&*self.disk) {
            Ok(made) => self.names_version += u32::from(made),
            Err(error) if error.is_full() => {}
            // The batches are in the log, whole: the next one is refused.
            Err(error) => self.poison(&error.to_string()),
        }
        self.keep_room();
    }

    /// Goes on in a new segment, so that what is there now can go as a whole. A segment without a batch stays the last one.
    ///
    /// # Errors
    /// What the disk says; the log is then poisoned, unless the disk is only full.
    pub fn begin_segment(&mut self, now: TimestampMs) -> Result<(), LogError> {
        self.refuse_if_poisoned()?;
        if self.active().size_bytes == 0 {
            return Ok(());
        }
        self.with_all_room(|log| log.roll(now)).inspect_err(|error| {
            if !error.is_full() {
                self.poison(&error.to_string());
            }
        })
    }

    /// Goes on in a new segment. Whatever fails, the log stays as it was, but for its room.
    pub(super) fn roll(&mut self, now: TimestampMs) -> Result<(), LogError> {
        let active = self.segments.last_mut().expect("a log has a segment");
        active.cut_room()?;
        active.finish_indexes(&*self.disk)?;
        self.take_snapshot()?;
        let next = Segment::create(&*self.disk, &self.dir, self.end_offset(), now)?;
        self.names_version += 1;
        let active = self.segments.last_mut().expect("a log has a segment");
        active.retire(self.names_version);
        self.segments.push(next);
        Ok(())
    }
}
