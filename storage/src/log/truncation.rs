//! Cutting a log back, as a follower does that has what its leader has not.
//!
//! A file that may be mapped is not cut in place: the part that stays is copied into a new file, which takes the old
//! one's name when it is durable. Later segments go first, the newest before the others, so that a crash in between
//! leaves a prefix. What is known in memory is then read from the files again.

use std::io;

use crate::{
    Log, LogError, Offset, Opening, StopKind, TimestampMs,
    disk::Disk,
    producers::ProducerState,
    recovery::{self, Loaded, remove_if_there},
    segment::{Segment, SegmentName},
};

/// Bytes copied at a time.
const COPY_STEP_BYTES: u64 = 1 << 20;

impl Log {
    /// Removes every batch that reaches `offset` or lies beyond. Below the log's first segment nothing is left, and the
    /// log goes on at `offset`. Ranges handed out stay readable.
    ///
    /// # Errors
    /// What the disk says; the log is then poisoned.
    pub fn truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.refuse_if_poisoned()?;
        if offset >= self.end_offset() {
            if self.epochs.truncate_from_end(offset) {
                self.epochs_version += 1;
            }
            return Ok(());
        }
        let truncated = if offset < self.segments[0].base_offset() {
            self.restart_files(offset, now)
        } else {
            self.truncate_files(offset, now)
        };
        truncated.inspect_err(|error| self.poison(&error.to_string()))
    }

    /// Removes everything and goes on at `offset`, wherever that is.
    ///
    /// # Errors
    /// What the disk says; the log is then poisoned.
    pub fn restart_at(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.refuse_if_poisoned()?;
        self.restart_files(offset, now).inspect_err(|error| self.poison(&error.to_string()))
    }

    fn restart_files(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.remove_snapshots_above(Offset::new(-1))?;
        let first = if self.unborn.is_some() {
            Segment::over(None, SegmentName::new(&self.dir, offset), now)
        } else {
            for segment in self.segments.iter().rev() {
                remove_segment(&*self.disk, segment)?;
            }
            // Before the new file is there, a crash leaves an empty log, which begins at 0.
            Segment::create(&*self.disk, &self.dir, offset, now)?
        };
        self.segments = vec![first];
        self.producers = ProducerState::default();
        self.snapshot_is_current = false;
        self.cut_to(offset);
        self.start_offset = offset;
        self.epochs.truncate_from_start(offset);
        Ok(())
    }

    fn truncate_files(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        let at = self.segment_of(offset);
        // Before the segments: a snapshot is true of the log it was taken of only.
        self.remove_snapshots_above(offset)?;
        for segment in self.segments[at + 1..].iter().rev() {
            remove_segment(&*self.disk, segment)?;
        }
        let cut = &self.segments[at];
        let recovery_point = cut.base_offset();
        let keep_bytes = cut.position_of(offset).resolve(&**cut.file(), &cut.name, offset)?;
        shorten(&*self.disk, cut, keep_bytes)?;
        // What lies before the segment that was cut is as it was.
        let compacted_below = self.compacted_below;
        let opening = Opening { recovery_point, compacted_below, ..Opening::after(StopKind::Unclean) };
        let loaded = recovery::load(&*self.disk, &self.dir, &self.config, opening, now)?;
        let Loaded { segments, producers, snapshots, .. } = loaded;
        (self.segments, self.producers, self.snapshots) = (segments, producers, snapshots);
        self.snapshot_is_current = false;
        self.cut_to(self.end_offset());
        Ok(())
    }

    fn cut_to(&mut self, end_offset: Offset) {
        self.start_offset = self.start_offset.min(end_offset);
        self.synced.upto = self.synced.upto.min(end_offset);
        self.synced.cuts += 1;
        self.recovery_point = self.recovery_point.min(self.active().base_offset());
        self.names_version += u32::from(self.unborn.is_none());
        if self.epochs.truncate_from_end(end_offset) {
            self.epochs_version += 1;
        }
    }
}

/// Puts a file with only the first bytes in the place of a segment's, without indexes.
pub(crate) fn shorten(disk: &dyn Disk, segment: &Segment, keep_bytes: u64) -> Result<(), LogError> {
    for path in segment.name.companion_paths() {
        remove_if_there(disk, &path)?;
    }
    // Not `.swap`: those are whole, and taken for the segment's when the log is opened.
    let swap = segment.name.path("log.tmp");
    remove_if_there(disk, &swap)?;
    let file = disk.create(&swap).map_err(LogError::io("create", &swap))?;
    let mut position = 0;
    while position < keep_bytes {
        let step = usize::try_from(COPY_STEP_BYTES.min(keep_bytes - position)).unwrap_or(usize::MAX);
        let bytes = segment.file().slice(position, step);
        let bytes = bytes.map_err(|source| segment.name.failed("read", source))?;
        file.write_at(position, &[io::IoSlice::new(&bytes)]).map_err(LogError::io("write", &swap))?;
        position += step as u64;
    }
    file.sync().map_err(LogError::io("sync", &swap))?;
    disk.rename(&swap, &segment.name.log_path()).map_err(LogError::io("rename", &swap))?;
    let dir = &*segment.name.dir;
    disk.sync_dir(dir).map_err(LogError::io("sync", dir))
}

fn remove_segment(disk: &dyn Disk, segment: &Segment) -> Result<(), LogError> {
    for path in segment.name.paths() {
        remove_if_there(disk, &path)?;
    }
    Ok(())
}
