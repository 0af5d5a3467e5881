//! Taking up a segment where its index files leave off.

use super::Segment;
use crate::{
    AbortedTransaction, TimestampMs,
    index::{OffsetIndex, TimeIndex},
};

impl Segment {
    /// Knows the batches before the last indexed one from the index files, and that one and those behind it not yet: they
    /// are to be noted, from `size_bytes` on.
    pub(crate) fn resume(
        &mut self,
        offset_index: OffsetIndex,
        time_index: TimeIndex,
        aborted: Vec<AbortedTransaction>,
        first_timestamp: TimestampMs,
    ) {
        self.size_bytes = offset_index.entries().last().map_or(0, |last| u64::from(last.position));
        self.latest = time_index.last();
        self.first_timestamp = first_timestamp.max(TimestampMs::NONE);
        self.indexes_written = Some((offset_index.len(), time_index.len()));
        (self.offset_index, self.time_index) = (offset_index, time_index);
        self.aborted_written = aborted.len();
        self.aborted = aborted;
    }
}
