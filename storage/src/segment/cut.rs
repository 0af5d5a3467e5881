//! What a segment is when its last batches are cut off.

use crate::{
    LogConfig, LogError, Offset, TimestampMs,
    index::{OffsetIndex, TimeIndex},
    scan::{Access, Scan},
};

use super::Segment;

impl Segment {
    /// The segment with only those batches that end below `offset`, without files. The indexes tell of those before their
    /// last entry, the headers of those behind it.
    pub(crate) fn cut_at(&self, offset: Offset, config: &LogConfig) -> Result<Self, LogError> {
        let file = &**self.file();
        let keep_bytes = self.position_of(offset).resolve(file, &self.name, offset)?;
        let mut kept = Self::over(None, self.name.clone(), self.opened);
        let offsets = self.offset_index.before_position(keep_bytes);
        let times = self.time_index.told_with(&offsets);
        let first_timestamp = if keep_bytes > 0 { self.first_timestamp } else { TimestampMs::NONE };
        kept.resume(offsets, times, Vec::new(), first_timestamp);
        let mut scan = Scan::new(file, Access::Slice, kept.size_bytes, keep_bytes);
        while let Some(found) = scan.next().map_err(|error| self.name.scan_failed(error))? {
            kept.note(&found.header, config);
        }
        kept.aborted =
            self.aborted.iter().filter(|entry| entry.last_offset < kept.next_offset).copied().collect();
        // The files go with the batches, and are made anew.
        (kept.indexes_written, kept.aborted_written) = (None, 0);
        Ok(kept)
    }
}

impl OffsetIndex {
    /// The entries of the batches that begin before a position.
    fn before_position(&self, position: u64) -> Self {
        let before = self.entries().partition_point(|entry| u64::from(entry.position) < position);
        self.entries()[..before].iter().copied().collect()
    }
}

impl TimeIndex {
    /// The entries that were made with those of an offset index: a later one is about a batch behind its last.
    fn told_with(&self, offsets: &OffsetIndex) -> Self {
        let Some(last) = offsets.entries().last() else { return Self::default() };
        let told =
            self.entries().partition_point(|entry| entry.relative_last_offset <= last.relative_last_offset);
        self.entries()[..told].iter().copied().collect()
    }
}
