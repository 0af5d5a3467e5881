//! What becomes durable, when, and what a failure means.
//!
//! Appends sync nothing. Whoever promises durability takes a [`SyncHandle`], carries it out where it may block, and
//! brings back what it achieved. A failed write or sync poisons the log, for good: the kernel may have dropped the pages
//! it could not write, so that a later sync would succeed without them (Rebello et al., "Can Applications Recover from
//! fsync Failures?", 2020).

use std::{path::Path, sync::Arc};

use crate::{Log, LogError, SyncHandle, Synced, epochs};

impl Log {
    /// What it takes to make everything written so far durable.
    #[must_use]
    pub fn sync_handle(&self) -> SyncHandle {
        let unsynced = self.segments.iter().filter(|s| s.next_offset > self.synced.upto && s.size_bytes > 0);
        let files = unsynced.map(|segment| (Arc::clone(&segment.log), Arc::clone(&segment.path)));
        let mut dirs = Vec::new();
        if self.names_version > self.synced.names_version {
            dirs.push(self.dir.clone());
            if self.synced.names_version == 0 {
                dirs.extend(self.dir.parent().map(Path::to_owned));
            }
        }
        let epochs_changed =
            self.epochs_version > self.synced.epochs_version && !self.epochs.entries().is_empty();
        SyncHandle {
            disk: Arc::clone(&self.disk),
            files: files.collect(),
            dirs,
            epochs: epochs_changed.then(|| (self.dir.clone(), self.epochs.to_checkpoint())),
            synced: Synced {
                upto: self.end_offset(),
                names_version: self.names_version,
                epochs_version: self.epochs_version,
            },
        }
    }

    /// Takes note of a sync that came to its end.
    pub fn synced(&mut self, done: Synced) {
        self.synced.upto = self.synced.upto.max(done.upto);
        self.synced.names_version = self.synced.names_version.max(done.names_version);
        self.synced.epochs_version = self.synced.epochs_version.max(done.epochs_version);
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

    /// Leaves the log so that it may be opened as [`StopKind::Clean`](crate::StopKind::Clean): time indexes finished, batches, indexes and
    /// epochs durable.
    ///
    /// # Errors
    /// What the disk says, or that the log is poisoned; it is then to be opened as [`StopKind::Unclean`](crate::StopKind::Unclean).
    pub fn close_clean(mut self) -> Result<(), LogError> {
        self.refuse_if_poisoned()?;
        let disk = Arc::clone(&self.disk);
        self.segments.last_mut().expect("a log has a segment").seal(&*disk)?;
        for segment in self.segments.iter().filter(|s| s.next_offset > self.synced.upto) {
            segment.sync_all(&*disk)?;
        }
        if !self.epochs.entries().is_empty() {
            let path = self.dir.join(epochs::CHECKPOINT_NAME);
            disk.write_atomic(&path, self.epochs.to_checkpoint().as_bytes())
                .map_err(LogError::io("write", path))?;
        }
        disk.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))
    }
}
