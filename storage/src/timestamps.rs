//! Finding records by time (ListOffsets).

use std::sync::Arc;

use crate::{
    LeaderEpoch, LogError, Offset, TimestampMs,
    batch::{RecordError, RecordIter},
    disk::File,
    index::TimeEntry,
    scan::{Access, Found, Scan},
    segment::{Segment, SegmentName},
};

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundTimestamp {
    /// Its time.
    pub timestamp: TimestampMs,
    /// Where it is.
    pub offset: Offset,
    /// The epoch of the batch it is in.
    pub leader_epoch: LeaderEpoch,
}

/// A search prepared from memory. [`run`](Self::run) reads batches and decompresses them, so it is called outside
/// whatever guards the log.
#[derive(Debug, Clone)]
pub struct TimestampSearch {
    stretches: Vec<Stretch>,
    wanted: Wanted,
    start: Offset,
    bound: Offset,
    /// Everything there is, with the largest timestamp of each, if that is what is wanted; the latest first.
    all: Vec<(TimestampMs, Stretch)>,
}

#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// The first record at least this late.
    AtLeast(TimestampMs),
    /// The first record exactly this late.
    Exactly(TimestampMs),
}

/// Where in a segment a search goes through.
#[derive(Debug, Clone)]
struct Stretch {
    file: Arc<dyn File>,
    name: SegmentName,
    position: u64,
    end: u64,
}

impl Stretch {
    /// The batches of the segment that may reach `offset`.
    fn from(segment: &Segment, offset: Offset) -> Self {
        Self {
            file: Arc::clone(segment.file()),
            name: segment.name.clone(),
            position: segment.position_of(offset).at_least,
            end: segment.size_bytes,
        }
    }

    fn scan(&self) -> Scan<'_> {
        Scan::new(&*self.file, Access::Slice, self.position, self.end)
    }
}

impl TimestampSearch {
    /// The first record at or after `start` and below `bound` that is at least as late as `timestamp`.
    pub(crate) fn at_least<'a>(
        segments: impl Iterator<Item = &'a Segment>,
        timestamp: TimestampMs,
        start: Offset,
        bound: Offset,
    ) -> Self {
        let late =
            segments.filter(|segment| segment.latest.is_some_and(|latest| latest.timestamp >= timestamp));
        let stretches = late.map(|segment| {
            let before =
                segment.time_index.before(timestamp).map_or(segment.base_offset(), |e| segment.offset_of(e));
            Stretch::from(segment, before.max(start))
        });
        let (stretches, all) = (stretches.collect(), Vec::new());
        Self { stretches, wanted: Wanted::AtLeast(timestamp), start, bound, all }
    }

    /// The first record of those with the largest timestamp, if it lies below `bound`.
    pub(crate) fn latest<'a>(
        segments: impl Iterator<Item = &'a Segment>,
        start: Offset,
        bound: Offset,
    ) -> Option<Self> {
        let mut timed: Vec<_> = segments.filter_map(|segment| Some((segment, segment.latest?))).collect();
        // The first segment of those with the largest, as Kafka takes it.
        timed.sort_by_key(|(_, latest)| std::cmp::Reverse(latest.timestamp));
        let &(segment, latest) = timed.first()?;
        let stretch = Stretch::from(segment, segment.offset_of(latest));
        let whole =
            |&(segment, latest): &(&Segment, TimeEntry)| (latest.timestamp, Stretch::from(segment, start));
        let (wanted, all) = (Wanted::Exactly(latest.timestamp), timed.iter().map(whole).collect());
        Some(Self { stretches: vec![stretch], wanted, start, bound, all })
    }

    /// Searches.
    ///
    /// # Errors
    /// The disk's; [`LogError::Corrupt`] if the file is damaged, [`LogError::Malformed`] if the records of a batch are.
    pub fn run(&self) -> Result<Option<FoundTimestamp>, LogError> {
        let mut is_bare = false;
        for stretch in &self.stretches {
            let mut scan = stretch.scan();
            while let Some(batch) = scan.next().map_err(|error| stretch.name.scan_failed(error))? {
                if batch.header.base_offset >= self.bound {
                    return Ok(None);
                }
                if !self.may_hold(&batch) {
                    continue;
                }
                is_bare |= batch.header.record_count == 0;
                if let Some(found) = self.within(&scan, &batch, &stretch.name, self.wanted)? {
                    return Ok(Some(found).filter(|found| found.offset < self.bound));
                }
            }
        }
        if is_bare { self.latest_left() } else { Ok(None) }
    }

    /// The first record with the largest timestamp of those that compaction left: a batch without records keeps the time
    /// it had. (Kafka answers that there is none.)
    fn latest_left(&self) -> Result<Option<FoundTimestamp>, LogError> {
        let mut best: Option<(TimestampMs, &Stretch, Found)> = None;
        for (latest, stretch) in &self.all {
            if best.as_ref().is_some_and(|(best, ..)| best >= latest) {
                break;
            }
            let mut scan = stretch.scan();
            while let Some(batch) = scan.next().map_err(|error| stretch.name.scan_failed(error))? {
                let (header, timestamp) = (&batch.header, batch.header.max_timestamp);
                let is_later = best.as_ref().is_none_or(|(best, ..)| timestamp > *best);
                if is_later && header.record_count > 0 && header.last_offset() >= self.start {
                    best = Some((timestamp, stretch, batch));
                }
            }
        }
        let Some((timestamp, stretch, batch)) = best else { return Ok(None) };
        let found = self.within(&stretch.scan(), &batch, &stretch.name, Wanted::Exactly(timestamp))?;
        Ok(found.filter(|found| found.offset < self.bound))
    }

    fn may_hold(&self, batch: &Found) -> bool {
        let latest = batch.header.max_timestamp;
        let late = match self.wanted {
            Wanted::AtLeast(timestamp) => latest >= timestamp,
            Wanted::Exactly(timestamp) => latest == timestamp,
        };
        late && batch.header.last_offset() >= self.start
    }

    fn within(
        &self,
        scan: &Scan<'_>,
        batch: &Found,
        name: &SegmentName,
        wanted: Wanted,
    ) -> Result<Option<FoundTimestamp>, LogError> {
        let malformed = |error: RecordError| LogError::Malformed {
            path: name.log_path(),
            what: format!("batch at byte {}: {error}", batch.position),
        };
        let bytes = scan.bring(batch.position, batch.header.size_bytes());
        let bytes = bytes.map_err(|error| name.scan_failed(error))?;
        for record in RecordIter::new(bytes).map_err(malformed)? {
            let record = record.map_err(malformed)?;
            let matches = match wanted {
                Wanted::AtLeast(timestamp) => record.timestamp >= timestamp,
                Wanted::Exactly(timestamp) => record.timestamp == timestamp,
            };
            if matches && record.offset >= self.start {
                return Ok(Some(FoundTimestamp {
                    timestamp: record.timestamp,
                    offset: record.offset,
                    leader_epoch: batch.header.leader_epoch,
                }));
            }
        }
        Ok(None)
    }
}
