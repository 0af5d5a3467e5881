//! Making a log durable, outside whatever guards it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    LogError, Offset,
    disk::{Disk, File},
    epochs,
    segment::SegmentName,
};

/// What has to reach the medium for a part of the log to be durable. Taken from a log by
/// [`Log::sync_handle`](crate::Log::sync_handle) or [`Log::flush_handle`](crate::Log::flush_handle), carried out wherever
/// blocking is allowed, and reported back by [`Log::synced`](crate::Log::synced) or
/// [`Log::poison`](crate::Log::poison): after a failed fsync the kernel may have dropped the pages, so a second try
/// proves nothing.
#[derive(Debug, Clone)]
pub struct SyncHandle {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) files: Vec<(Arc<dyn File>, SegmentName)>,
    /// Files nobody holds open. One that is gone, or was never made, needs no sync.
    pub(crate) closed_files: Vec<PathBuf>,
    /// Directories whose names changed.
    pub(crate) dirs: Vec<PathBuf>,
    /// The epochs' checkpoint, if it changed: where it goes and what it says.
    pub(crate) epochs: Option<(PathBuf, String)>,
    /// Whether the directory still is the log's.
    pub(crate) tenure: Arc<Tenure>,
    /// The log is closed with this: what is not written now is lost.
    pub(crate) is_last: bool,
    pub(crate) synced: Synced,
}

/// Whether a directory still is a log's own: one of the same name may be made in its place, and what was prepared before is
/// not to write there.
#[derive(Debug, Default)]
pub(crate) struct Tenure(Mutex<IsOver>);

#[derive(Debug, Default, PartialEq, Eq)]
enum IsOver {
    #[default]
    No,
    Yes,
}

impl Tenure {
    /// From now on nothing is written there; what is being written is waited for.
    pub(crate) fn end(&self) {
        *self.0.lock() = IsOver::Yes;
    }
}

/// What a sync made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    pub(crate) upto: Offset,
    /// Below it everything is durable, indexes and all; `None` if the sync was not about that.
    pub(crate) recovery_point: Option<Offset>,
    pub(crate) names_version: u32,
    pub(crate) epochs_version: u32,
    /// How often the log had been cut when the sync was prepared: what it says of offsets holds for that log only.
    pub(crate) cuts: u32,
}

impl Synced {
    /// Every record below this offset is durable.
    #[must_use]
    pub fn upto(&self) -> Offset {
        self.upto
    }
}

impl SyncHandle {
    /// The offset up to which [`sync`](Self::sync) makes the log durable.
    #[must_use]
    pub fn upto(&self) -> Offset {
        self.synced.upto
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.files.is_empty() && self.closed_files.is_empty() && self.dirs.is_empty() && self.epochs.is_none()
    }

    /// Syncs files, names and the epochs' checkpoint.
    ///
    /// # Errors
    /// The first failure; the log is then to be poisoned.
    pub fn sync(&self) -> Result<Synced, LogError> {
        for (file, name) in &self.files {
            file.sync().map_err(|source| name.failed("sync", source))?;
        }
        for path in &self.closed_files {
            match self.disk.open(path) {
                Ok(file) => file.sync().map_err(LogError::io("sync", path))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io("open", path)(error)),
            }
        }
        let synced = self.replace_epochs(|path, text| self.disk.replace(path, text))?;
        for dir in &self.dirs {
            self.disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        }
        Ok(synced)
    }

    /// Writes what is still to be written and syncs nothing: for who makes everything on the disk durable at once
    /// ([`Disk::sync_all`]).
    ///
    /// # Errors
    /// The first failure.
    pub fn write_unsynced(&self) -> Result<(), LogError> {
        self.replace_epochs(|path, text| self.disk.replace_unsynced(path, text)).map(drop)
    }

    fn replace_epochs(&self, replace: impl Fn(&Path, &[u8]) -> io::Result<()>) -> Result<Synced, LogError> {
        let Some((dir, text)) = &self.epochs else { return Ok(self.synced) };
        let path = dir.join(epochs::CHECKPOINT_NAME);
        let is_over = self.tenure.0.lock();
        if *is_over == IsOver::Yes {
            return Err(LogError::Poisoned("it was given up".into()));
        }
        match replace(&path, text.as_bytes()).map_err(LogError::io("write", path)) {
            Ok(()) => Ok(self.synced),
            // The batches tell the epochs, too, where they are checked: above the recovery point, which waits.
            Err(error) if error.is_full() && !self.is_last => {
                Ok(Synced { recovery_point: None, epochs_version: 0, ..self.synced })
            }
            Err(error) => Err(error),
        }
    }
}
