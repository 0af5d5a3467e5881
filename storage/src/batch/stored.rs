//! A batch as a log holds it: with its offsets and its leader's epoch.

use bytes::Bytes;

use super::BatchHeader;

/// A batch that is in a log, and goes from it to the logs of followers as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// The header, as the leader's log wrote it.
    pub header: BatchHeader,
    /// The records: what follows the header.
    pub body: Bytes,
}

impl StoredBatch {
    /// Header and records.
    pub fn size_bytes(&self) -> usize {
        self.header.size_bytes()
    }
}
