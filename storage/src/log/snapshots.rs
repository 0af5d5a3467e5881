//! The snapshots of what is known of the producers: when they are taken and when they go.
//!
//! One at each roll, named by the new segment's base, unsynced as the batches are; one at a clean close, named by the
//! log's end. They carry producers whose batches retention has taken, so the one at the first segment's base stays.

use std::{io, path::PathBuf};

use super::Log;
use crate::{
    AbortedTransaction, LogError, Offset, ProducerTable, TimestampMs,
    recovery::remove_if_there,
    segment::{Segment, file_name},
    snapshot,
};

/// A snapshot file in the log's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    pub(crate) offset: Offset,
    pub(crate) len_bytes: u64,
}

impl Log {
    /// What the log remembers of its producers.
    #[must_use]
    pub fn producers(&self) -> &ProducerTable {
        &self.producers.table
    }

    /// Forgets the producers that have written nothing since `time` and have no transaction open
    /// (`producer.id.expiration.ms`).
    pub fn expire_producers_before(&mut self, time: TimestampMs) {
        if self.producers.table.expire_before(time) {
            self.snapshot_is_current = false;
        }
    }

    /// The first offset whose transaction is not decided for good, if there is one: it is open, or its marker is not below
    /// the high watermark. The last stable offset is this or the high watermark, whichever is less.
    pub fn first_unstable_offset(&mut self, high_watermark: Offset) -> Option<Offset> {
        let first = self.producers.transactions.first_unstable(high_watermark)?;
        Some(first.max(self.start_offset))
    }

    /// The aborted transactions a reader of the offsets from `from` up to `to` has to know, and perhaps some more
    /// (`UnifiedLog.collectAbortedTransactions`).
    #[must_use]
    pub fn aborted_in(&self, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        let mut found = Vec::new();
        let later = self.segments[self.segment_of(from)..].iter();
        let ended =
            |aborted: &[_]| aborted.partition_point(|one: &AbortedTransaction| one.last_offset < from);
        for aborted in later.map(Segment::aborted).flat_map(|aborted| &aborted[ended(aborted)..]) {
            if aborted.first_offset < to {
                found.push(*aborted);
            }
            if aborted.last_stable_offset >= to {
                break;
            }
        }
        found
    }

    /// The same for a reader of what [`range`](Self::range) gives at these bounds, decided from memory: no more of them
    /// than so many bytes can be of.
    #[must_use]
    pub fn aborted_within(&self, from: Offset, bound: Offset, max_bytes: usize) -> Vec<AbortedTransaction> {
        let first = self.segment_of(from);
        let holds = |at: &usize| self.segments[*at].size_bytes > 0;
        let at = (first..self.segments.len()).find(holds).unwrap_or(first);
        let by_bytes = self.segments[at].reach(from, max_bytes);
        let by_segment = self.segments.get(at + 1).map(Segment::base_offset);
        self.aborted_in(from, by_bytes.or(by_segment).map_or(bound, |reach| reach.min(bound)))
    }

    /// All files together, as far as memory tells: batches and the room kept ahead of them, indexes, snapshots.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|segment| segment.file_bytes() + segment.index_bytes());
        segments.sum::<u64>() + self.snapshots.iter().map(|file| file.len_bytes).sum::<u64>()
    }

    pub(super) fn snapshot_path(&self, offset: Offset) -> PathBuf {
        self.dir.join(file_name(offset, "snapshot"))
    }

    /// Writes down what is known of the producers, unless that has been done since it last changed.
    pub(super) fn take_snapshot(&mut self) -> Result<(), LogError> {
        let offset = self.end_offset();
        let is_there = self.snapshots.last().is_some_and(|last| last.offset == offset);
        if is_there && self.snapshot_is_current {
            return Ok(());
        }
        let (path, bytes) = (self.snapshot_path(offset), snapshot::to_bytes(&self.producers.table));
        self.snapshots.retain(|file| file.offset != offset);
        if let Err(error) = self.disk.put(&path, &bytes) {
            // A torn one would be passed over, but it need not lie about.
            let _ = self.disk.remove_file(&path);
            return Err(LogError::io("write", path)(error));
        }
        self.snapshots.push(SnapshotFile { offset, len_bytes: bytes.len() as u64 });
        self.snapshot_is_current = true;
        self.names_version += 1;
        Ok(())
    }

    /// Makes the snapshot at a segment's base durable, if it may not be yet: the segments before it, which tell of the
    /// producers as well, are about to go.
    pub(super) fn sync_snapshot(&self, base: Offset) -> Result<(), LogError> {
        if base <= self.flushed_below || self.snapshots.iter().all(|file| file.offset != base) {
            return Ok(());
        }
        let path = self.snapshot_path(base);
        let synced = self.disk.open(&path).and_then(|file| file.sync());
        synced.map_err(LogError::io("sync", path))?;
        self.disk.sync_dir(&self.dir).map_err(LogError::io("sync", &*self.dir))
    }

    /// Renames the snapshots below the log's first segment, which nothing asks for any more.
    pub(super) fn rename_snapshots_below(
        &mut self,
        offset: Offset,
        mut rename: impl FnMut(PathBuf) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        while let Some(first) = self.snapshots.first().filter(|first| first.offset < offset) {
            rename(self.snapshot_path(first.offset))?;
            self.snapshots.remove(0);
        }
        Ok(())
    }

    /// Removes the snapshots of a log that was longer.
    pub(super) fn remove_snapshots_above(&mut self, offset: Offset) -> Result<(), LogError> {
        while let Some(last) = self.snapshots.last().filter(|last| last.offset > offset) {
            remove_if_there(&*self.disk, &self.snapshot_path(last.offset))?;
            self.snapshots.pop();
        }
        Ok(())
    }
}

/// The snapshots among the names in a log's directory, oldest first.
pub(crate) fn find(
    disk: &dyn crate::disk::Disk,
    dir: &std::path::Path,
    offsets: impl Iterator<Item = Offset>,
) -> Result<Vec<SnapshotFile>, LogError> {
    let mut files = Vec::new();
    for offset in offsets {
        let path = dir.join(file_name(offset, "snapshot"));
        match disk.open(&path) {
            Ok(file) => files.push(SnapshotFile { offset, len_bytes: file.len() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("open", path)(error)),
        }
    }
    files.sort_unstable_by_key(|file| file.offset);
    Ok(files)
}
