//! Reading a log's files without opening the log: for tools that show and judge them.
//!
//! Nothing here changes a byte, and all of it works beside a running broker: use [`OsDisk::read_only`], which could not
//! write if it wanted to. What a broker is just writing may be seen half: a batch that is not whole at the end of the last
//! segment is [being written](Finding::is_harmless) or left from an unclean stop, and no damage either way.
//!
//! - [`FileKind::of`] says what a file is by its name.
//! - [`Batches`] walks a `.log`; [`read_file`] reads the small files, entry by entry.
//! - [`verify`] judges a partition's directory and names every finding by file and position.
//!
//! [`OsDisk::read_only`]: crate::disk::OsDisk::read_only

mod batches;
mod contents;
mod finding;
mod indexes;
#[cfg(test)]
mod tests;
mod verify;

pub use batches::{Batches, InspectedBatch, Tail};
pub use contents::{Contents, IndexedOffset, IndexedTime, read_file};
pub use finding::{Finding, Problem};
pub use verify::{Progress, Report, verify};

use crate::{Offset, checkpoint, epochs, partition_metadata, segment::base_of};

/// What a file in a log's directory, or beside it, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A segment's batches; the offset is the segment's base.
    Log(Offset),
    /// A segment's offset index.
    OffsetIndex(Offset),
    /// A segment's time index.
    TimeIndex(Offset),
    /// A segment's index of aborted transactions.
    TransactionIndex(Offset),
    /// What was known of the producers where the log ended at this offset.
    ProducerSnapshot(Offset),
    /// The terms of the leaders.
    LeaderEpochs,
    /// Which topic the directory belongs to.
    PartitionMetadata,
    /// Offsets of a node's partitions.
    OffsetCheckpoint,
}

impl FileKind {
    /// What a file is by its name; `None` for any other.
    ///
    /// ```
    /// # use highwater_storage::{Offset, inspect::FileKind};
    /// assert_eq!(FileKind::of("00000000000000000012.log"), Some(FileKind::Log(Offset::new(12))));
    /// assert_eq!(FileKind::of("00000000000000000012.log.deleted"), None);
    /// ```
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let base = |extension: &str| base_of(name, extension);
        let with_offset = base("log")
            .map(Self::Log)
            .or_else(|| base("index").map(Self::OffsetIndex))
            .or_else(|| base("timeindex").map(Self::TimeIndex))
            .or_else(|| base("txnindex").map(Self::TransactionIndex))
            .or_else(|| base("snapshot").map(Self::ProducerSnapshot));
        if with_offset.is_some() {
            return with_offset;
        }
        match name {
            epochs::CHECKPOINT_NAME => Some(Self::LeaderEpochs),
            partition_metadata::FILE_NAME => Some(Self::PartitionMetadata),
            checkpoint::RECOVERY_POINTS
            | checkpoint::START_OFFSETS
            | checkpoint::HIGH_WATERMARKS
            | checkpoint::CLEANER_OFFSETS => Some(Self::OffsetCheckpoint),
            _ => None,
        }
    }
}
