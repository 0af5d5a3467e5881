//! The small files, entry by entry.

use std::{io, path::Path};

use super::FileKind;
use crate::{
    AbortedTransaction, EpochEntry, LeaderEpochs, LogError, Offset, SnapshotEntry, TimestampMs, TopicId,
    checkpoint::OffsetCheckpoint, disk::Disk, index, partition_metadata, snapshot, transactions,
};

/// An entry of an offset index: the batch that begins at `position` ends with `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedOffset {
    /// The last offset of the batch.
    pub offset: Offset,
    /// Where the batch begins in the `.log`.
    pub position: u32,
}

/// An entry of a time index: no record up to `offset` is later than `timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedTime {
    /// The largest timestamp up to there.
    pub timestamp: TimestampMs,
    /// The last offset of the batch that holds it.
    pub offset: Offset,
}

/// What a small file says. Where a list is followed by bytes that do not belong to it, the error says so; what precedes
/// them is still told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Of a `.index`. Room that was never filled is left out.
    OffsetIndex(Vec<IndexedOffset>),
    /// Of a `.timeindex`.
    TimeIndex(Vec<IndexedTime>),
    /// Of a `.txnindex`.
    TransactionIndex(Vec<AbortedTransaction>),
    /// Of a `.snapshot`.
    ProducerSnapshot(Vec<SnapshotEntry>),
    /// Of `leader-epoch-checkpoint`.
    LeaderEpochs(Vec<EpochEntry>),
    /// Of `partition.metadata`.
    PartitionMetadata(TopicId),
    /// Of a node's offset checkpoint.
    OffsetCheckpoint(OffsetCheckpoint),
}

/// Reads a file other than a `.log`.
///
/// # Errors
/// What the disk says; [`LogError::Malformed`].
pub fn read_file(disk: &dyn Disk, path: &Path, kind: FileKind) -> Result<Contents, LogError> {
    let bytes = read_bytes(disk, path)?;
    let malformed = |what: String| LogError::Malformed { path: path.to_owned(), what };
    Ok(match kind {
        FileKind::Log(_) => return Err(malformed("a .log is walked, not read".to_owned())),
        FileKind::OffsetIndex(base) => Contents::OffsetIndex(offset_index(&bytes, base).map_err(malformed)?),
        FileKind::TimeIndex(base) => Contents::TimeIndex(time_index(&bytes, base).map_err(malformed)?),
        FileKind::TransactionIndex(base) => match transactions::parse_aborted(&bytes, base) {
            (entries, None) => Contents::TransactionIndex(entries),
            (_, Some(what)) => return Err(malformed(what)),
        },
        FileKind::ProducerSnapshot(_) => {
            snapshot::parse(&bytes).map_err(malformed)?;
            Contents::ProducerSnapshot(snapshot::entries(&bytes).map_err(malformed)?.collect())
        }
        FileKind::LeaderEpochs => {
            let epochs = LeaderEpochs::from_checkpoint(&bytes).map_err(malformed)?;
            Contents::LeaderEpochs(epochs.entries().to_vec())
        }
        FileKind::PartitionMetadata => {
            Contents::PartitionMetadata(partition_metadata::parse(&bytes).map_err(malformed)?)
        }
        FileKind::OffsetCheckpoint => {
            let parsed = OffsetCheckpoint::parse(&bytes);
            Contents::OffsetCheckpoint(parsed.map_err(|error| malformed(error.to_string()))?)
        }
    })
}

fn read_bytes(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, LogError> {
    let bytes = snapshot::read(disk, path)?;
    bytes.ok_or_else(|| LogError::io("open", path)(io::Error::from(io::ErrorKind::NotFound)))
}

fn offset_index(bytes: &[u8], base: Offset) -> Result<Vec<IndexedOffset>, String> {
    let index =
        index::OffsetIndex::parse(bytes, u64::MAX).ok_or("entries that do not rise, or a torn one")?;
    let entry = |entry: &index::OffsetEntry| IndexedOffset {
        offset: above(base, entry.relative_last_offset),
        position: entry.position,
    };
    Ok(index.entries().iter().map(entry).collect())
}

fn time_index(bytes: &[u8], base: Offset) -> Result<Vec<IndexedTime>, String> {
    let index = index::TimeIndex::parse(bytes).ok_or("entries that do not rise, or a torn one")?;
    let entry = |entry: &index::TimeEntry| IndexedTime {
        timestamp: entry.timestamp,
        offset: above(base, entry.relative_last_offset),
    };
    Ok(index.entries().iter().map(entry).collect())
}

fn above(base: Offset, relative: u32) -> Offset {
    Offset::new(base.get().saturating_add(i64::from(relative)))
}
