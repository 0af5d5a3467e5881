//! Getting rid of a log.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Log, LogError, disk::Disk};

impl Log {
    /// Gives the log up for deletion. Ranges handed out stay readable; a sync that is still to be carried out fails rather than
    /// write where another log may be by then.
    #[must_use]
    pub fn into_deletion(self) -> LogDeletion {
        self.tenure.end();
        LogDeletion { disk: self.disk, dir: self.dir.to_path_buf(), is_there: self.unborn.is_none() }
    }
}

/// The files of a log that is to go.
#[derive(Debug)]
pub struct LogDeletion {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Whether the log was ever appended to.
    is_there: bool,
}

impl LogDeletion {
    /// The directory as it is named now.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives the directory another name, so that a log of the old name can be made at once (Kafka:
    /// `<topic>-<partition>.<uuid>-delete`).
    ///
    /// # Errors
    /// What the disk says.
    pub fn rename(&mut self, to: &Path) -> Result<(), LogError> {
        if self.is_there {
            self.disk.rename(&self.dir, to).map_err(LogError::io("rename", &self.dir))?;
        }
        to.clone_into(&mut self.dir);
        Ok(())
    }

    /// Unlinks everything; may take a while.
    ///
    /// # Errors
    /// What the disk says.
    pub fn run(self) -> Result<(), LogError> {
        if !self.is_there {
            return Ok(());
        }
        self.disk.remove_dir_all(&self.dir).map_err(LogError::io("remove", &self.dir))
    }
}
