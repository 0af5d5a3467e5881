//! Work that waits for the disk: decided in a step, done off the node's lock.

use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::disk::Disk;
use highwater_storage::{SyncHandle, TopicId};

use super::Event;
use crate::ids::PartitionIndex;

/// Something to be done on the disk that takes its time. What comes of it, if the node is to know, is an event.
#[derive(Debug)]
pub enum DiskWork {
    /// Make a log durable; somebody waits for it.
    Sync {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// What to make durable.
        handle: Box<SyncHandle>,
    },
    /// Remove the files of a log that is in nobody's way any more.
    RemoveFolder {
        /// The disk they are on.
        disk: Arc<dyn Disk>,
        /// The folder they are in.
        folder: PathBuf,
    },
}

impl DiskWork {
    /// Whether somebody waits for it.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Self::Sync { .. })
    }

    /// Does it, here and now.
    pub fn run(self) -> Option<Event> {
        match self {
            Self::Sync { topic, partition, handle } => {
                Some(Event::Synced { topic, partition, outcome: handle.sync() })
            }
            Self::RemoveFolder { disk, folder } => {
                if let Err(error) = disk.remove_dir_all(&folder) {
                    tracing::error!(path = %folder.display(), %error, "a deleted partition stays on disk");
                }
                None
            }
        }
    }
}
