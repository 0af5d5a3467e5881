//! The folder of a cluster: ours alone while the process lives, and no other program's.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Held locked while the folder is in use.
const LOCK_FILE: &str = "highwater.lock";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// Another process, or another cluster of this one, works in it.
    #[error("the folder {} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// It holds files that are not ours.
    #[error(
        "the folder {} holds files but no Highwater data (no {LOCK_FILE}); name an empty or a new one",
        path.display()
    )]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("the folder {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Closing it lets go of the lock.
    _lock: File,
}

impl DataFolder {
    /// Takes the folder, or makes it.
    pub(crate) fn take(path: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock_path = path.join(LOCK_FILE);
        let ours = lock_path.try_exists().map_err(failed)?;
        if !ours && fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(FolderError::NotOurs { path: path.to_owned() });
        }
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = open.map_err(failed)?;
        match lock.try_lock() {
            // Whoever asks where its logs are is told so from wherever they are.
            Ok(()) => Ok(Self { path: std::path::absolute(path).map_err(failed)?, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
