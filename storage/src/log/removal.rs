//! Taking records off the log's front: retention, DeleteRecords, and room for others.
//!
//! The start offset is raised first, in memory. Files are renamed `.deleted`, oldest segment first and the `.log` before
//! its companions, so that whatever part of that survives a crash leaves a log that begins later and has no hole. They
//! are unlinked by [`Removed::run`], which may wait for readers and take its time; opening the log unlinks what is left.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Log, LogError, Offset, Retention, SegmentFacts, TimestampMs, disk::Disk, retention, segment::Segment,
};

/// How many segments one call takes away: it is made where others wait.
const MAX_REMOVED: usize = 16;
/// What segment files end in until they are unlinked.
const DELETED_SUFFIX: &str = "deleted";

/// Segments that are no longer part of the log. Their files wait to be unlinked; ranges handed out stay readable.
#[derive(Debug)]
pub struct Removed {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    files: Vec<PathBuf>,
    segments: usize,
    bytes: u64,
    start_offset: Offset,
}

impl Removed {
    /// How many segments went.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// How much of the log they were.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where the log begins without them.
    #[must_use]
    pub fn start_offset(&self) -> Offset {
        self.start_offset
    }

    /// Nothing yet.
    pub(super) fn none_of(log: &Log) -> Self {
        Self {
            disk: Arc::clone(&log.disk),
            dir: Arc::clone(&log.dir),
            files: Vec::new(),
            segments: 0,
            bytes: 0,
            start_offset: log.start_offset,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Renames a file `.deleted`, if it is there.
    pub(super) fn rename_away(&mut self, path: PathBuf) -> Result<(), LogError> {
        let to = renamed(&path);
        match self.disk.rename(&path, &to) {
            Ok(()) => self.files.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("rename", path)(error)),
        }
        Ok(())
    }

    /// Unlinks the files (after `file.delete.delay.ms`); may take a while.
    ///
    /// # Errors
    /// What the disk says. A file that is gone already, with its log perhaps, is no error.
    pub fn run(self) -> Result<(), LogError> {
        for path in self.files {
            match self.disk.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Log {
    /// Removes the oldest segments that retention does not keep (Kafka's `deleteOldSegments`): those wholly below the
    /// start offset, those beyond the size, those beyond the time. None reaches past the high watermark. `now` is the
    /// wall clock. At most 16 go: where so many went there may be more.
    ///
    /// # Errors
    /// What the disk says; the log is then poisoned, unless the disk is only full.
    pub fn expire(
        &mut self,
        retention: Retention,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<Option<Removed>, LogError> {
        let facts: Vec<SegmentFacts> = self.facts().collect();
        let count = retention::removable(&facts, self.start_offset, high_watermark, retention, now);
        self.remove_first(count, now)
    }

    /// Raises the start offset (DeleteRecords). Segments wholly below it go when the log is [expired](Self::expire) next.
    /// Tells whether it rose: it never falls and never passes the high watermark, beyond which the caller refuses
    /// (OFFSET_OUT_OF_RANGE).
    pub fn advance_start_offset(&mut self, offset: Offset, high_watermark: Offset) -> bool {
        let rises = self.start_offset < offset && offset <= high_watermark.min(self.end_offset());
        if rises {
            self.raise_start(offset);
        }
        rises
    }

    /// Removes the oldest segment, whatever retention says: others need the room (`highwater.disk.max.bytes`). If it is
    /// the only one, the log rolls first. `None` if it reaches past the high watermark or holds nothing.
    ///
    /// # Errors
    /// As [`expire`](Self::expire).
    pub fn remove_oldest_segment(
        &mut self,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<Option<Removed>, LogError> {
        let oldest = self.oldest();
        let goes = oldest.size_bytes > 0 && oldest.end_offset <= high_watermark;
        self.remove_first(usize::from(goes), now)
    }

    /// The segment that [`Self::remove_oldest_segment`] would remove.
    #[must_use]
    pub fn oldest(&self) -> SegmentFacts {
        self.facts().next().expect("a log has a segment")
    }

    fn facts(&self) -> impl Iterator<Item = SegmentFacts> {
        let next_bases = self.segments[1..].iter().map(Segment::base_offset);
        let ends = next_bases.chain([self.end_offset()]);
        self.segments.iter().zip(ends).map(|(segment, end_offset)| SegmentFacts {
            base_offset: segment.base_offset(),
            end_offset,
            size_bytes: segment.size_bytes,
            latest: segment.latest_timestamp(),
        })
    }

    fn remove_first(&mut self, count: usize, now: TimestampMs) -> Result<Option<Removed>, LogError> {
        if count == 0 {
            return Ok(None);
        }
        self.refuse_if_poisoned()?;
        let count = self.behind_first(count.min(MAX_REMOVED), now).inspect_err(|error| {
            // Without room for a segment that is to follow, everything is as it was.
            if !error.is_full() {
                self.poison(&error.to_string());
            }
        })?;
        self.take_first(count).map(Some).inspect_err(|error| self.poison(&error.to_string()))
    }

    /// Sees to it that a segment follows the first `count`; says how many can go. On a full disk the last one stays: what
    /// goes before it makes room.
    fn behind_first(&mut self, count: usize, now: TimestampMs) -> Result<usize, LogError> {
        if count < self.segments.len() {
            return Ok(count);
        }
        match self.roll(now) {
            Ok(()) => Ok(count),
            Err(error) if error.is_full() && count > 1 => Ok(count - 1),
            Err(error) => Err(error),
        }
    }

    fn take_first(&mut self, count: usize) -> Result<Removed, LogError> {
        let first = self.segments[count].base_offset();
        self.sync_snapshot(first)?;
        self.raise_start(first);
        let mut removed = Removed { segments: count, ..Removed::none_of(self) };
        for _ in 0..count {
            if std::mem::replace(&mut self.removal_is_unsynced, true) {
                // A later name must not be gone before an earlier one: that would be a hole.
                self.disk.sync_dir(&self.dir).map_err(LogError::io("sync", &*self.dir))?;
            }
            for path in self.segments[0].name.paths() {
                removed.rename_away(path)?;
            }
            removed.bytes += self.segments.remove(0).size_bytes;
        }
        self.rename_snapshots_below(first, |path| removed.rename_away(path))?;
        self.names_version += 1;
        Ok(removed)
    }

    fn raise_start(&mut self, offset: Offset) {
        self.start_offset = self.start_offset.max(offset);
        if self.epochs.truncate_from_start(self.start_offset) {
            self.epochs_version += 1;
        }
    }
}

fn renamed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(DELETED_SUFFIX);
    PathBuf::from(name)
}
