//! What a look at a log's files can find.

use std::{fmt, path::PathBuf};

use crate::{
    LeaderEpoch, Offset, ProducerId, TimestampMs,
    batch::{BatchError, RecordError},
};

/// Something about a file that is not as it is in a log that was closed cleanly.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The byte it is about, if it is about one.
    pub position: Option<u64>,
    /// What was found.
    pub problem: Problem,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// Bytes after the last whole batch of the last segment: room kept ahead, being written at this moment, or left by an
    /// unclean stop. The next start cuts them off. Zeros may also stand at the end of a segment that another follows
    /// without a gap: its room, if power failed when it had just been left.
    UnfinishedTail {
        /// How many.
        len: u64,
        /// They are all zeros: room that was not written to yet.
        is_zeros: bool,
    },
    /// No batch where one must begin. What follows in this segment cannot be read.
    NoBatch {
        /// How many bytes are lost to it.
        len: u64,
        /// Why it is none.
        why: BatchError,
    },
    /// The batch's checksum does not match, or it does not follow the one before.
    DamagedBatch {
        /// What is wrong.
        why: BatchError,
    },
    /// The records of a batch whose checksum matches cannot be read.
    UnreadableRecords {
        /// The batch's first offset.
        base_offset: Offset,
        /// What is wrong.
        why: RecordError,
    },
    /// The segment begins below the end of the one before.
    OverlappingSegment {
        /// Where the one before ends.
        expected_offset: Offset,
    },
    /// Offsets are missing before this segment: compacted away, or a file is gone.
    GapBeforeSegment {
        /// Where the one before ends.
        expected_offset: Offset,
    },
    /// An index entry names a byte where no batch begins, or another batch than that one.
    WrongOffsetEntry {
        /// The offset it says the batch ends with.
        offset: Offset,
        /// Where it says the batch begins.
        position: u64,
    },
    /// A time entry says another largest timestamp than the batches up to its offset have, or another place of it.
    WrongTimeEntry {
        /// What it says.
        timestamp: TimestampMs,
        /// Up to which offset.
        offset: Offset,
        /// What the batches say.
        found: TimestampMs,
        /// The last offset of the first batch that has it.
        found_at: Offset,
    },
    /// An aborted transaction is not in the index, or one is that the batches do not know.
    WrongTransactions {
        /// How many entries the batches ask for.
        expected: usize,
        /// How many of them the file has, from its beginning.
        agreeing: usize,
        /// How many it has in all.
        found: usize,
    },
    /// A segment that is no longer written to lacks an index; the next start builds it.
    MissingIndex,
    /// The snapshot and the batches disagree about a producer.
    WrongProducer {
        /// Which.
        producer_id: ProducerId,
    },
    /// The checkpoint gives another term than a batch of it carries. The batches are right; the next start sees to it.
    WrongEpoch {
        /// The batch's first offset.
        base_offset: Offset,
        /// The batch's term.
        epoch: LeaderEpoch,
    },
    /// The file does not have its form.
    Malformed {
        /// What is wrong.
        what: String,
        /// It can be made again from the batches.
        replaceable: bool,
    },
    /// An index without its `.log`; the next start removes it.
    Orphan,
    /// Left by an operation that did not come to its end, or waiting to be removed.
    Leftover,
}

impl Finding {
    /// Whether nothing that was written is lost or wrong: the next start puts it right by itself. Everything else is
    /// damage.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        match &self.problem {
            Problem::UnfinishedTail { .. }
            | Problem::GapBeforeSegment { .. }
            | Problem::MissingIndex
            | Problem::WrongEpoch { .. }
            | Problem::Orphan
            | Problem::Leftover => true,
            Problem::Malformed { replaceable, .. } => *replaceable,
            Problem::NoBatch { .. }
            | Problem::DamagedBatch { .. }
            | Problem::UnreadableRecords { .. }
            | Problem::OverlappingSegment { .. }
            | Problem::WrongOffsetEntry { .. }
            | Problem::WrongTimeEntry { .. }
            | Problem::WrongTransactions { .. }
            | Problem::WrongProducer { .. } => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(position) = self.position {
            write!(f, " at byte {position}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnfinishedTail { len, is_zeros: true } => {
                write!(
                    f,
                    "{len} zeros after the last whole batch: room kept ahead, cut off by the next start"
                )
            }
            Self::UnfinishedTail { len, is_zeros: false } => {
                write!(f, "{len} bytes after the last whole batch, being written or left by an unclean stop")
            }
            Self::NoBatch { len, why } => write!(f, "no batch, and {len} bytes that cannot be read: {why}"),
            Self::DamagedBatch { why } => write!(f, "damaged: {why}"),
            Self::UnreadableRecords { base_offset, why } => {
                write!(f, "the records of the batch at offset {base_offset} cannot be read: {why}")
            }
            Self::OverlappingSegment { expected_offset } => {
                write!(f, "begins below offset {expected_offset}, where the segment before ends")
            }
            Self::GapBeforeSegment { expected_offset } => {
                write!(f, "offsets from {expected_offset} up to this segment are missing: compacted, or lost")
            }
            Self::WrongOffsetEntry { offset, position } => {
                write!(
                    f,
                    "the entry for a batch at byte {position} that ends with offset {offset}: there is none"
                )
            }
            Self::WrongTimeEntry { timestamp, offset, found, found_at } => write!(
                f,
                "the entry says {timestamp} up to offset {offset}, the batches say {found} up to offset {found_at}"
            ),
            Self::WrongTransactions { expected, agreeing, found } => {
                write!(f, "{agreeing} of {expected} aborted transactions, {found} entries in all")
            }
            Self::MissingIndex => f.write_str("is missing; the next start builds it"),
            Self::WrongProducer { producer_id } => {
                write!(f, "the batches say otherwise of producer {producer_id}")
            }
            Self::WrongEpoch { base_offset, epoch } => {
                write!(
                    f,
                    "the batch at offset {base_offset} is of leader epoch {epoch}, which is not in the file"
                )
            }
            Self::Malformed { what, .. } => write!(f, "malformed: {what}"),
            Self::Orphan => f.write_str("belongs to no segment; the next start removes it"),
            Self::Leftover => f.write_str("waits to be removed, or was left by what did not come to its end"),
        }
    }
}
