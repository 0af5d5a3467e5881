//! What becomes durable, when, and what a failure means.
//!
//! Appends sync nothing. Whoever promises durability takes a [`SyncHandle`], carries it out where it may block, and
//! brings back what it achieved. A failed write or sync poisons the log, for good: the kernel may have dropped the pages
//! it could not write, so that a later sync would succeed without them (Rebello et al., "Can Applications Recover from
//! fsync Failures?", 2020).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Log, LogError, Offset, SyncHandle, Synced, partition_metadata, segment::Segment};

impl Log {
    /// What it takes to make every record written so far durable: what an acknowledgement waits for.
    #[must_use]
    pub fn sync_handle(&self) -> SyncHandle {
        self.handle_for(self.segments.len(), Vec::new(), None)
    }

    /// What it takes to make everything of the segments that are no longer written to durable, their indexes too: the
    /// recovery point then moves to the active one. Asked for after a roll and carried out in the background.
    #[must_use]
    pub fn flush_handle(&self) -> SyncHandle {
        self.handle_with_sealed(self.segments.len() - 1)
    }

    /// What it takes to make everything durable that is known now: what both of the others do.
    pub(super) fn sync_all_handle(&self) -> SyncHandle {
        self.handle_with_sealed(self.segments.len())
    }

    /// A handle about the first `count` segments, and all that belongs to those which are no longer written to.
    fn handle_with_sealed(&self, count: usize) -> SyncHandle {
        let mut closed_files = self.unflushed_companions(&self.segments[..self.segments.len() - 1]);
        closed_files.extend(self.unflushed_snapshots());
        self.handle_for(count, closed_files, Some(self.active().base_offset()))
    }

    /// Index files that may not be durable.
    fn unflushed_companions(&self, segments: &[Segment]) -> Vec<PathBuf> {
        let unflushed = segments.iter().filter(|segment| segment.next_offset > self.flushed_below);
        unflushed.flat_map(|segment| segment.name.companion_paths()).collect()
    }

    fn unflushed_snapshots(&self) -> impl Iterator<Item = PathBuf> {
        let unflushed = self.snapshots.iter().filter(|file| file.offset > self.flushed_below);
        unflushed.map(|file| self.snapshot_path(file.offset))
    }

    /// A handle about the first `count` segments.
    fn handle_for(
        &self,
        count: usize,
        mut closed_files: Vec<PathBuf>,
        recovery_point: Option<Offset>,
    ) -> SyncHandle {
        let unsynced = self.segments[..count].iter().filter(|s| {
            let length_is_unsynced = s.left_at_version > self.synced.names_version;
            (s.next_offset > self.synced.upto || length_is_unsynced) && s.size_bytes > 0
        });
        let files = unsynced.map(|segment| (Arc::clone(segment.file()), segment.name.clone()));
        let epochs_changed = self.epochs_version > self.synced.epochs_version
            && !self.epochs.entries().is_empty()
            && self.unborn.is_none();
        let names_changed = self.names_version > self.synced.names_version;
        let mut dirs = Vec::new();
        if names_changed || epochs_changed {
            dirs.push(self.dir.to_path_buf());
        }
        if names_changed && self.synced.names_version == 0 {
            closed_files.push(self.dir.join(partition_metadata::FILE_NAME));
            dirs.extend(self.dir.parent().map(Path::to_owned));
        }
        SyncHandle {
            disk: Arc::clone(&self.disk),
            files: files.collect(),
            closed_files,
            dirs,
            tenure: Arc::clone(&self.tenure),
            is_last: false,
            epochs: epochs_changed.then(|| (self.dir.to_path_buf(), self.epochs.to_checkpoint())),
            synced: Synced {
                upto: self.segments[..count].last().map_or(self.start_offset, |last| last.next_offset),
                recovery_point,
                names_version: self.names_version,
                epochs_version: self.epochs_version,
                cuts: self.synced.cuts,
            },
        }
    }

    /// Takes note of a sync that came to its end. One prepared before the log was cut tells nothing any more.
    pub fn synced(&mut self, done: Synced) {
        let known = &mut self.synced;
        if done.cuts != known.cuts {
            return;
        }
        let covered = (known.upto, done.upto);
        known.upto = known.upto.max(done.upto);
        known.names_version = known.names_version.max(done.names_version);
        known.epochs_version = known.epochs_version.max(done.epochs_version);
        match done.recovery_point {
            Some(recovery_point) => {
                self.recovery_point = self.recovery_point.max(recovery_point);
                self.flushed_below = self.flushed_below.max(recovery_point);
            }
            None => self.note_sync_of(self.available_bytes(covered.0, covered.1).at_most),
        }
    }

    /// Below this offset every batch is durable, and so are the indexes of segments that end there or before: where recovery
    /// after an unclean stop begins, with the segment in which it lies. For the node's
    /// [checkpoint](crate::checkpoint::RECOVERY_POINTS); after a clean close it is the log's end. A checkpoint must not
    /// outlive a [cut](Self::truncate_to) below it.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        // The next start believes the index files of a segment that ends there, and checks any that goes on.
        let is_believed_up_to = || self.segments.iter().any(|next| next.base_offset() == self.recovery_point);
        if self.flushed_below < self.recovery_point && is_believed_up_to() {
            return self.flushed_below;
        }
        self.recovery_point
    }

    /// Makes everything written so far durable, here and now.
    ///
    /// # Errors
    /// What the disk says; the log is then poisoned.
    pub fn flush(&mut self) -> Result<(), LogError> {
        self.refuse_if_poisoned()?;
        match self.sync_handle().sync() {
            Ok(done) => {
                self.synced(done);
                Ok(())
            }
            Err(error) => {
                self.poison(&error.to_string());
                Err(error)
            }
        }
    }

    /// Refuses every append from now on: a write or a sync failed. The first reason stays.
    pub fn poison(&mut self, why: &str) {
        self.poisoned.get_or_insert_with(|| Arc::from(why));
    }

    /// Why the log refuses appends, if it does.
    #[must_use]
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    pub(super) fn refuse_if_poisoned(&self) -> Result<(), LogError> {
        self.poisoned.as_ref().map_or(Ok(()), |why| Err(LogError::Poisoned(Arc::clone(why))))
    }

    /// Leaves the log so that it may be opened as [`StopKind::Clean`](crate::StopKind::Clean): indexes finished,
    /// everything durable but the name of its directory in the one above. The recovery point is then the log's end.
    ///
    /// # Errors
    /// What the disk says, or that the log is poisoned; it is then to be opened as
    /// [`StopKind::Unclean`](crate::StopKind::Unclean).
    pub fn close_clean(self) -> Result<(), LogError> {
        self.finish()?.map_or(Ok(()), |handle| handle.sync().map(drop))
    }

    /// The first half of [`close_clean`](Self::close_clean), for who closes many logs: everything is written but nothing
    /// synced. The log is left cleanly once the handle was [carried out](SyncHandle::sync), or once it
    /// [wrote](SyncHandle::write_unsynced) and the whole disk was [synced](crate::disk::Disk::sync_all). `None`: there is
    /// nothing to do.
    ///
    /// # Errors
    /// As `close_clean`.
    pub fn finish(mut self) -> Result<Option<SyncHandle>, LogError> {
        self.refuse_if_poisoned()?;
        if self.unborn.is_some() {
            return Ok(None);
        }
        let active = self.segments.last_mut().expect("a log has a segment");
        let had_room = active.has_room();
        active.cut_room()?;
        self.names_version += u32::from(active.finish_indexes(&*self.disk)?);
        self.take_snapshot()?;
        let mut closed_files = self.unflushed_companions(&self.segments);
        closed_files.extend(self.unflushed_snapshots());
        if self.names_version > self.synced.names_version {
            // It may have been written anew at an offset that is durable otherwise.
            closed_files.push(self.snapshot_path(self.end_offset()));
        }
        let active = self.active();
        if had_room && active.next_offset <= self.synced.upto {
            closed_files.push(active.name.log_path());
        }
        let mut handle = self.handle_for(self.segments.len(), closed_files, None);
        // The name of the log's own directory is for whoever closes many logs to sync once.
        handle.dirs.truncate(1);
        Ok(Some(SyncHandle { is_last: true, ..handle }))
    }
}
