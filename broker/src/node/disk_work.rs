//! Work that waits for the disk: decided in a step, done off the node's lock.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use highwater_storage::checkpoint::OffsetCheckpoint;
use highwater_storage::compaction::{Compacted, Compaction};
use highwater_storage::disk::Disk;
use highwater_storage::{Removed, Replaced, SyncHandle, Synced, TopicId};

use super::{Birth, CheckpointFile, CheckpointKind, Event};
use crate::controller::{FormatFile, SnapshotWork};
use crate::ids::PartitionIndex;
use crate::refusal::Refusal;

/// Something to be done on the disk that takes its time. What comes of it, if the node is to know, is an event.
#[derive(Debug)]
pub enum DiskWork {
    /// Make a log durable; somebody waits for it.
    Sync {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// Which of the logs it has had.
        birth: Birth,
        /// What to make durable.
        handle: Box<SyncHandle>,
    },
    /// Make durable what a log does not write to any more, so that recovery need not look at it.
    Flush {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// Which of the logs it has had.
        birth: Birth,
        /// What to make durable.
        handle: Box<SyncHandle>,
    },
    /// Write one of the node's checkpoints.
    Checkpoint {
        /// Which.
        kind: CheckpointKind,
        /// Its file.
        file: Arc<CheckpointFile>,
        /// Which version of it.
        version: u64,
        /// What it says.
        checkpoint: Arc<OffsetCheckpoint>,
    },
    /// Write of which version the data folder is; nobody waits for it.
    MarkFormat {
        /// The file that says so.
        file: Arc<FormatFile>,
        /// The version.
        version: u32,
    },
    /// Write a snapshot of the cluster, beside its log.
    Snapshot(Box<SnapshotWork>),
    /// Write what stays of a log beside it; takes its time.
    Compact {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// What is to be done.
        compaction: Box<Compaction>,
        /// What was made durable for it.
        synced: Synced,
        /// Becomes true when it is to end before its end.
        stop: Arc<AtomicBool>,
    },
    /// Unlink what was written beside a log, and is not swapped in. It ends as a pass that came to nothing.
    DiscardCompaction {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// What was written.
        compacted: Box<Compacted>,
    },
    /// Make durable what was swapped in.
    SettleCompaction {
        /// The topic of the partition.
        topic: TopicId,
        /// The partition.
        partition: PartitionIndex,
        /// What was.
        replaced: Box<Replaced>,
    },
    /// Unlink segments that are no part of their log any more.
    RemoveSegments(Removed),
    /// Remove the files of logs that are in nobody's way any more.
    RemoveFolders {
        /// The disk they are on.
        disk: Arc<dyn Disk>,
        /// The folders they are in.
        folders: Vec<PathBuf>,
    },
}

impl DiskWork {
    /// Whether somebody waits for it, or may. What is urgent is done one after the other, in order.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Self::Sync { .. } | Self::Checkpoint { .. })
    }

    /// Does it, here and now.
    pub fn run(self) -> Option<Event> {
        match self {
            Self::Sync { topic, partition, birth, handle } => {
                Some(Event::Synced { topic, partition, birth, outcome: handle.sync() })
            }
            Self::Flush { topic, partition, birth, handle } => {
                Some(Event::Flushed { topic, partition, birth, outcome: handle.sync() })
            }
            Self::Compact { topic, partition, compaction, synced, stop } => {
                let outcome = compaction.run(synced, &stop).map(|compacted| compacted.map(Box::new));
                Some(Event::Compacted { topic, partition, outcome })
            }
            Self::DiscardCompaction { topic, partition, compacted } => {
                // What cannot be removed now goes with the next pass, or when the log is opened.
                let _ = compacted.discard();
                Some(Event::Compacted { topic, partition, outcome: Ok(None) })
            }
            Self::SettleCompaction { topic, partition, replaced } => {
                let cuts = replaced.cuts();
                let outcome = replaced.sync().map(|(settled, removed)| (Box::new(settled), removed));
                Some(Event::CompactionSettled { topic, partition, cuts, outcome })
            }
            Self::Checkpoint { kind, file, version, checkpoint } => {
                Some(Event::Checkpointed { kind, outcome: file.write(version, &checkpoint) })
            }
            Self::MarkFormat { file, version } => {
                if let Err(error) = file.raise(version) {
                    tracing::error!(%error, "the data folder's version could not be written");
                }
                None
            }
            Self::Snapshot(work) => Some(Event::Snapshotted(work.run())),
            Self::RemoveSegments(removed) => {
                if let Err(error) = removed.run() {
                    let refusal = Refusal::storage(&error);
                    tracing::error!(%refusal, "old segments stay on disk until the next start");
                }
                None
            }
            Self::RemoveFolders { disk, folders } => {
                for folder in folders {
                    remove_folder(disk.as_ref(), &folder);
                }
                None
            }
        }
    }
}

/// Removes what is left of a deleted partition. Whoever was at it before the last stop may be at it still.
fn remove_folder(disk: &dyn Disk, folder: &Path) {
    match disk.remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "a deleted partition stays on disk");
        }
        _ => {}
    }
}
