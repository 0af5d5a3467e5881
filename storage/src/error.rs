//! What can go wrong with a log as a whole.

use std::{io, path::PathBuf, sync::Arc};

use crate::{Offset, batch::BatchError};

/// A log that cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused.
    #[error("{what} {}", path.display())]
    Io {
        /// The step that failed, as a verb: "open", "read".
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Bytes that were checked before are now no batch: the file was damaged while it was open, or below what an
    /// unclean start checks.
    #[error("corrupt batch at byte {position} of {}", path.display())]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong with the bytes there.
        #[source]
        source: BatchError,
    },
    /// A log that is not opened, because bytes are damaged that were durable once: no stop leaves them so, and cutting the
    /// log there would lose what follows. `highwater log verify` shows all of the damage.
    #[error(
        "damage at byte {position} of {}, below the recovery point {recovery_point}: the log is not cut there; \
         to open it as far as it is whole, remove the node's recovery-point-offset-checkpoint", path.display()
    )]
    DamagedBelow {
        /// The segment file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// Below this offset everything was durable.
        recovery_point: Offset,
        /// What is wrong with the bytes there.
        #[source]
        source: BatchError,
    },
    /// A file whose contents do not have their form.
    #[error("malformed {}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// An earlier write or sync failed, so what the files hold is unknown until the log is opened again.
    #[error("the log is poisoned by an earlier failure: {0}")]
    Poisoned(Arc<str>),
}

impl LogError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// Whether bytes are not what was written: trying again finds the same.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::DamagedBelow { .. } | Self::Malformed { .. })
    }

    /// Whether the disk refused for want of room: nothing is unknown then, and there may be room again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// A batch that was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Larger than a whole segment may be (Kafka's RECORD_LIST_TOO_LARGE, 18). Nothing was written.
    #[error("batch of {size_bytes} bytes exceeds the segment size of {limit_bytes} bytes")]
    LargerThanSegment {
        /// The batch as it would be written.
        size_bytes: usize,
        /// `segment.bytes`.
        limit_bytes: usize,
    },
    /// The log has no offsets left for the batch. Nothing was written.
    #[error("no offsets left after {end_offset}")]
    OffsetsExhausted {
        /// The log's end.
        end_offset: Offset,
    },
    /// A batch from a leader that cannot stand behind this log's end (`UnexpectedAppendOffsetException`). Nothing was written.
    #[error("a batch from the leader does not follow the log")]
    Misplaced(#[source] BatchError),
    /// The disk is full (Kafka's KAFKA_STORAGE_ERROR, 56). Nothing of the batch is in the log, which goes on when there is
    /// room.
    #[error("no room for the batch")]
    Full(#[source] LogError),
    /// The disk failed (56). The log is poisoned: what reached the file is unknown.
    #[error("append failed")]
    Failed(#[source] LogError),
    /// An earlier failure poisoned the log (56). Nothing was written.
    #[error("the log is poisoned by an earlier failure: {0}")]
    Poisoned(Arc<str>),
}
