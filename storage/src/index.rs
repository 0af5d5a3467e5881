//! The two sparse indexes of a segment, in memory and in their files' bytes (`OffsetIndex`, `TimeIndex`).
//!
//! Both hold one entry in about `index.interval.bytes` of log, eight or twelve bytes each, so a gigabyte of log costs
//! about two megabytes each at most. Offsets are relative to the segment's base.

use crate::TimestampMs;

/// {relative offset i32, position i32}.
pub(crate) const OFFSET_ENTRY_BYTES: usize = 8;
/// {timestamp i64, relative offset i32}.
pub(crate) const TIME_ENTRY_BYTES: usize = 12;

/// A batch that begins at `position` and ends with this offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_last_offset: u32,
    pub(crate) position: u32,
}

impl OffsetEntry {
    pub(crate) fn to_bytes(self) -> [u8; OFFSET_ENTRY_BYTES] {
        (u64::from(self.relative_last_offset) << 32 | u64::from(self.position)).to_be_bytes()
    }
}

/// No record up to `relative_last_offset` is later than `timestamp`, which a record of the batch ending there has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: TimestampMs,
    pub(crate) relative_last_offset: u32,
}

impl TimeEntry {
    pub(crate) fn to_bytes(self) -> [u8; TIME_ENTRY_BYTES] {
        let mut bytes = [0; TIME_ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.timestamp.get().to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_last_offset.to_be_bytes());
        bytes
    }
}

fn entries<const N: usize>(bytes: &[u8]) -> Option<&[[u8; N]]> {
    let (entries, rest) = bytes.as_chunks();
    rest.is_empty().then_some(entries)
}

fn field(bytes: &[u8]) -> Option<u32> {
    let value = u32::from_be_bytes(bytes.try_into().ok()?);
    i32::try_from(value).is_ok().then_some(value)
}

/// Where batches begin, by their last offset. Both columns rise strictly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OffsetIndex {
    entries: Vec<OffsetEntry>,
}

impl OffsetIndex {
    /// The index in a file's bytes; `None` if they are no index of a log file of this length. Zeros at the end are
    /// room that was never filled.
    pub(crate) fn parse(bytes: &[u8], log_len: u64) -> Option<Self> {
        let mut index = Self::default();
        for bytes in entries::<OFFSET_ENTRY_BYTES>(bytes)? {
            let entry =
                OffsetEntry { relative_last_offset: field(&bytes[..4])?, position: field(&bytes[4..])? };
            if entry.position == 0 && entry.relative_last_offset == 0 {
                return Some(index);
            }
            let rises = index.entries.last().is_none_or(|last| {
                last.relative_last_offset < entry.relative_last_offset && last.position < entry.position
            });
            if !rises || entry.position == 0 || u64::from(entry.position) >= log_len {
                return None;
            }
            index.entries.push(entry);
        }
        Some(index)
    }

    pub(crate) fn push(&mut self, entry: OffsetEntry) {
        debug_assert!(self.entries.last().is_none_or(|last| last.position < entry.position));
        self.entries.push(entry);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entries(&self) -> &[OffsetEntry] {
        &self.entries
    }

    /// The entries from the `first`-th on, as they stand in the file.
    pub(crate) fn to_bytes_from(&self, first: usize) -> Vec<u8> {
        self.entries[first..].iter().flat_map(|entry| entry.to_bytes()).collect()
    }

    /// The last entry at or below the offset and the first above: between them lies the batch that contains it.
    pub(crate) fn around(&self, relative_offset: u32) -> (Option<OffsetEntry>, Option<OffsetEntry>) {
        let above = self.entries.partition_point(|entry| entry.relative_last_offset <= relative_offset);
        (above.checked_sub(1).map(|floor| self.entries[floor]), self.entries.get(above).copied())
    }

    /// The first entry that lies past a position.
    pub(crate) fn beyond(&self, position: u64) -> Option<OffsetEntry> {
        let at = self.entries.partition_point(|entry| u64::from(entry.position) <= position);
        self.entries.get(at).copied()
    }

    /// Gives back what growing took beyond need.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }
}

impl FromIterator<OffsetEntry> for OffsetIndex {
    fn from_iter<I: IntoIterator<Item = OffsetEntry>>(entries: I) -> Self {
        Self { entries: Vec::from_iter(entries) }
    }
}

/// How late the records are up to an offset. Timestamps rise strictly, offsets never fall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TimeIndex {
    entries: Vec<TimeEntry>,
}

impl TimeIndex {
    /// The index in a file's bytes; `None` if they are none.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut index = Self::default();
        if bytes.len() > TIME_ENTRY_BYTES && bytes.iter().all(|&byte| byte == 0) {
            return Some(index);
        }
        for bytes in entries::<TIME_ENTRY_BYTES>(bytes)? {
            let timestamp = TimestampMs::new(i64::from_be_bytes(bytes[..8].try_into().ok()?));
            let entry = TimeEntry { timestamp, relative_last_offset: field(&bytes[8..])? };
            if entry.timestamp.get() == 0 && entry.relative_last_offset == 0 && !index.entries.is_empty() {
                return Some(index);
            }
            if index.entries.last().is_some_and(|last| {
                last.timestamp >= entry.timestamp || last.relative_last_offset > entry.relative_last_offset
            }) {
                return None;
            }
            index.entries.push(entry);
        }
        Some(index)
    }

    /// Adds the entry if it is later than the last one; tells whether it was.
    pub(crate) fn push_later(&mut self, entry: TimeEntry) -> bool {
        let last = self.entries.last().map_or(TimestampMs::NONE, |last| last.timestamp);
        if entry.timestamp > last {
            self.entries.push(entry);
            return true;
        }
        false
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries from the `first`-th on, as they stand in the file.
    pub(crate) fn to_bytes_from(&self, first: usize) -> Vec<u8> {
        self.entries[first..].iter().flat_map(|entry| entry.to_bytes()).collect()
    }

    pub(crate) fn entries(&self) -> &[TimeEntry] {
        &self.entries
    }

    pub(crate) fn last(&self) -> Option<TimeEntry> {
        self.entries.last().copied()
    }

    /// An offset up to which no record is as late as `timestamp`: where a search for it may begin.
    pub(crate) fn before(&self, timestamp: TimestampMs) -> Option<TimeEntry> {
        let at = self.entries.partition_point(|entry| entry.timestamp < timestamp);
        at.checked_sub(1).map(|floor| self.entries[floor])
    }

    /// Gives back what growing took beyond need.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }
}

impl FromIterator<TimeEntry> for TimeIndex {
    fn from_iter<I: IntoIterator<Item = TimeEntry>>(entries: I) -> Self {
        Self { entries: Vec::from_iter(entries) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_an_index_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200), log_len in any::<u64>()) {
            if let Some(index) = OffsetIndex::parse(&bytes, log_len) {
                let again = index.to_bytes_from(0);
                prop_assert_eq!(&again[..], &bytes[..again.len()]);
            }
            if let Some(index) = TimeIndex::parse(&bytes) {
                let again = index.to_bytes_from(0);
                prop_assert_eq!(&again[..], &bytes[..again.len()]);
            }
        }

        #[test]
        fn around_agrees_with_a_scan(steps in proptest::collection::vec((1u32..50, 1u32..5000), 0..40), wanted in 0u32..2000) {
            let (mut index, mut offset, mut position) = (OffsetIndex::default(), 0, 0);
            for (more_offsets, more_bytes) in steps {
                offset += more_offsets;
                position += more_bytes;
                index.push(OffsetEntry { relative_last_offset: offset, position });
            }
            let (floor, above) = index.around(wanted);
            prop_assert_eq!(floor, index.entries.iter().copied().rfind(|e| e.relative_last_offset <= wanted));
            prop_assert_eq!(above, index.entries.iter().copied().find(|e| e.relative_last_offset > wanted));
            prop_assert_eq!(OffsetIndex::parse(&index.to_bytes_from(0), u64::from(position) + 1), Some(index));
        }
    }
}
