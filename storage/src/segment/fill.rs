//! How full a segment is, also as it would be with batches that are not written yet: so that many of them can be written at
//! once and the segment is still left where it would be if they came one by one.

use super::Segment;
use crate::{
    LogConfig, Offset, TimestampMs,
    batch::{BatchHeader, StoredBatch},
    index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES},
};

/// What decides whether a batch goes to a new segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fill {
    base_offset: Offset,
    opened: TimestampMs,
    size_bytes: u64,
    first_timestamp: TimestampMs,
    latest: TimestampMs,
    bytes_since_index_entry: u64,
    offset_entries: usize,
    time_entries: usize,
    last_time_entry: TimestampMs,
}

impl Fill {
    /// Whether a batch must go to a new segment (`LogSegment.shouldRoll`).
    fn is_full_for(&self, header: &BatchHeader, config: &LogConfig, now: TimestampMs) -> bool {
        if self.size_bytes == 0 {
            return false;
        }
        let age_ms = if self.first_timestamp.is_some() {
            header.max_timestamp.since(self.first_timestamp)
        } else {
            now.since(self.opened)
        };
        let segment_ms = config.segment_ms.saturating_sub(config.segment_jitter_ms);
        let room = (config.segment_bytes as u64).saturating_sub(header.size_bytes() as u64);
        self.size_bytes > room
            || age_ms > segment_ms
            || self.offset_entries >= config.segment_index_bytes / OFFSET_ENTRY_BYTES
            || self.time_entries + 1 >= config.segment_index_bytes / TIME_ENTRY_BYTES
            || !self.reaches(header.last_offset())
    }

    /// Whether the segment's files can tell of an offset.
    fn reaches(&self, offset: Offset) -> bool {
        i32::try_from(offset.since(self.base_offset)).is_ok_and(|relative| relative >= 0)
    }

    /// With one more batch, as [`Segment::note`] would have it.
    fn add(&mut self, header: &BatchHeader, config: &LogConfig) {
        if self.size_bytes == 0 && header.max_timestamp.is_some() {
            self.first_timestamp = header.max_timestamp;
        }
        self.latest = self.latest.max(header.max_timestamp);
        if self.bytes_since_index_entry > config.index_interval_bytes as u64
            && u32::try_from(self.size_bytes).is_ok()
        {
            self.offset_entries += 1;
            self.time_entries += usize::from(self.latest > self.last_time_entry);
            self.last_time_entry = self.last_time_entry.max(self.latest);
            self.bytes_since_index_entry = 0;
        }
        self.bytes_since_index_entry += header.size_bytes() as u64;
        self.size_bytes += header.size_bytes() as u64;
    }
}

impl Segment {
    fn fill(&self) -> Fill {
        Fill {
            base_offset: self.base_offset(),
            opened: self.opened,
            size_bytes: self.size_bytes,
            first_timestamp: self.first_timestamp,
            latest: self.latest.map_or(TimestampMs::NONE, |latest| latest.timestamp),
            bytes_since_index_entry: self.bytes_since_index_entry,
            offset_entries: self.offset_index.len(),
            time_entries: self.time_index.len(),
            last_time_entry: self.time_index.last().map_or(TimestampMs::NONE, |last| last.timestamp),
        }
    }

    /// Whether a batch must go to a new segment.
    pub(crate) fn is_full_for(&self, header: &BatchHeader, config: &LogConfig, now: TimestampMs) -> bool {
        self.fill().is_full_for(header, config, now)
    }

    /// How many of these batches, which come one behind the other, go here before the segment is full.
    pub(crate) fn takes(&self, batches: &[StoredBatch], config: &LogConfig, now: TimestampMs) -> usize {
        let mut fill = self.fill();
        let goes_here = |batch: &&StoredBatch| {
            let goes =
                !fill.is_full_for(&batch.header, config, now) && fill.reaches(batch.header.last_offset());
            if goes {
                fill.add(&batch.header, config);
            }
            goes
        };
        batches.iter().take_while(goes_here).count()
    }
}
