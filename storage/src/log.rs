//! A partition's log.
//!
//! It owns its segments, its producer table and its leader epochs; one owner calls it, in turn. What always holds: every
//! offset below the end lies in exactly one batch of one segment (or in a gap compaction left); memory changes only after
//! a write succeeded; after a failed write or sync the log refuses everything until it is opened again, because what
//! the files hold is unknown.

mod append;
mod birth;
mod compaction;
mod config;
mod deletion;
mod durability;
mod removal;
mod replication;
mod room;
pub(crate) mod snapshots;
pub(crate) mod truncation;

use std::{path::Path, sync::Arc};

pub use self::{
    append::Appended,
    compaction::{Replaced, Settled},
    config::LogConfig,
    deletion::LogDeletion,
    removal::Removed,
    replication::AppendedReplicated,
};
use self::{birth::Unborn, room::Room, snapshots::SnapshotFile};
use crate::{
    LeaderEpoch, LeaderEpochs, LogError, LogRange, Offset, Opening, Recovered, StopKind, Synced, TimestampMs,
    TimestampSearch, TopicId,
    disk::Disk,
    producers::ProducerState,
    recovery::{self, Loaded},
    segment::{Position, Segment, SegmentName},
    sync::Tenure,
};

/// How many bytes lie between two offsets, as far as memory tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteRange {
    /// No fewer.
    pub at_least: u64,
    /// No more.
    pub at_most: u64,
}

/// A partition's log. See the [crate's front page](crate) for an example.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    config: Arc<LogConfig>,
    /// What is still to be made before the first append.
    unborn: Option<Box<Unborn>>,
    /// Oldest first, never empty; the last is appended to.
    segments: Vec<Segment>,
    start_offset: Offset,
    epochs: LeaderEpochs,
    producers: ProducerState,
    /// The snapshots on disk, oldest first, and whether the last one says what is known now.
    snapshots: Vec<SnapshotFile>,
    snapshot_is_current: bool,
    poisoned: Option<Arc<str>>,
    tenure: Arc<Tenure>,
    synced: Synced,
    recovery_point: Offset,
    /// Below it index files and snapshots are durable; never past the recovery point.
    flushed_below: Offset,
    /// Where there may be gaps between segments.
    compacted_below: Offset,
    /// What is kept ahead of the end.
    room: Room,
    /// The last segment removed may still be there after a power cut.
    removal_is_unsynced: bool,
    /// Rises with every name made in the directory, and with every change of the epochs.
    names_version: u32,
    epochs_version: u32,
}

impl Log {
    /// The log of a new partition. Nothing is made on the disk before the first append, which makes the directory,
    /// `partition.metadata` if a topic id is given, and the first segment's file.
    #[must_use]
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: impl Into<Arc<LogConfig>>,
        topic_id: Option<TopicId>,
        now: TimestampMs,
    ) -> Self {
        let dir = Arc::from(dir);
        let first = Segment::over(None, SegmentName::new(&dir, Offset::ZERO), now);
        let mut log = Self::over(disk, dir, config.into(), vec![first]);
        (log.unborn, log.names_version) = (Some(Box::new(Unborn { topic_id })), 0);
        log
    }

    /// Opens the log in a directory; an empty directory, or none, is an empty log.
    ///
    /// # Errors
    /// What the disk says. Damage is no error after an unclean stop: the log ends before it; and
    /// one that ends before its start offset begins there anew.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: impl Into<Arc<LogConfig>>,
        opening: Opening,
        now: TimestampMs,
    ) -> Result<(Self, Recovered), LogError> {
        let (dir, config) = (Arc::from(dir), config.into());
        let loaded = recovery::load(&*disk, &dir, &config, opening, now)?;
        let Loaded {
            segments,
            start_offset,
            recovery_point,
            flushed_below,
            epochs,
            producers,
            snapshots,
            recovered,
        } = loaded;
        let mut log = Self::over(disk, dir, config, segments);
        if !log.active().has_file() {
            (log.unborn, log.names_version) = (Some(Box::new(Unborn { topic_id: opening.topic_id })), 0);
        }
        (log.epochs, log.producers, log.snapshots) = (epochs, producers, snapshots);
        log.start_offset = start_offset;
        (log.recovery_point, log.flushed_below) = (recovery_point, flushed_below);
        log.compacted_below = opening.compacted_below;
        log.synced.upto = recovery_point.max(start_offset);
        if opening.stop == StopKind::Clean && !recovered.was_not_clean {
            log.synced.names_version = log.names_version;
            log.synced.epochs_version = log.epochs_version;
            log.snapshot_is_current =
                log.snapshots.last().is_some_and(|last| last.offset == log.end_offset());
        }
        Ok((log, recovered))
    }

    fn over(disk: Arc<dyn Disk>, dir: Arc<Path>, config: Arc<LogConfig>, segments: Vec<Segment>) -> Self {
        let start_offset = segments[0].base_offset();
        Self {
            disk,
            dir,
            config,
            unborn: None,
            segments,
            start_offset,
            epochs: LeaderEpochs::default(),
            producers: ProducerState::default(),
            snapshots: Vec::new(),
            snapshot_is_current: false,
            poisoned: None,
            tenure: Arc::default(),
            synced: Synced {
                upto: start_offset,
                recovery_point: None,
                names_version: 0,
                epochs_version: 0,
                cuts: 0,
            },
            recovery_point: start_offset,
            flushed_below: start_offset,
            compacted_below: Offset::ZERO,
            room: Room::default(),
            removal_is_unsynced: false,
            names_version: 1,
            epochs_version: 1,
        }
    }

    /// The log's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Sets other settings; they hold from the next append on.
    pub fn set_config(&mut self, config: impl Into<Arc<LogConfig>>) {
        self.config = config.into();
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn start_offset(&self) -> Offset {
        self.start_offset
    }

    /// The offset the next record gets.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.active().next_offset
    }

    /// Every record below this offset is known to be durable.
    #[must_use]
    pub fn synced_offset(&self) -> Offset {
        self.synced.upto
    }

    /// The bytes of all segments, indexes aside.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size_bytes).sum()
    }

    /// How many segments there are.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The terms of the log's leaders.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// Begins a leader's term at an offset. In memory; once a record was written in it, the next
    /// [`SyncHandle`](crate::SyncHandle) or a clean close writes it down: a term without records is forgotten.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        let below_end = start_offset < self.end_offset();
        if self.epochs.assign(epoch, start_offset) && below_end {
            self.epochs_version += 1;
        }
    }

    /// [`LeaderEpochs::end_offset_for`] this log.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.end_offset())
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    /// The segment that holds the first batch ending at or after `offset`; the active one past the end.
    fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.next_offset <= offset).min(self.segments.len() - 1)
    }

    /// What a reader at `from` may have: batches from the one containing that offset, all ending below `bound` (a high
    /// watermark or last stable offset), at most `max_bytes` of one segment; the first batch even if larger when
    /// `at_least_one`. Decided from memory. Whether `from` lies within the log is for the caller to say; outside it, or
    /// at the bound, the range is empty.
    #[must_use]
    pub fn range(&self, from: Offset, bound: Offset, max_bytes: usize, at_least_one: bool) -> LogRange {
        if from < self.start_offset || from >= bound.min(self.end_offset()) {
            return LogRange::EMPTY;
        }
        // Kafka's compaction leaves segments with nothing in them: what a reader is to have next is behind those.
        let next = &self.segments[self.segment_of(from)..];
        let segment = next.iter().find(|segment| segment.size_bytes > 0).unwrap_or(&next[0]);
        LogRange::new(segment, from, bound, max_bytes, at_least_one)
    }

    /// How many bytes a reader at `from` has before it, from memory: exact near the end of the log, elsewhere to within
    /// the index interval.
    #[must_use]
    pub fn available_bytes(&self, from: Offset, bound: Offset) -> ByteRange {
        let Some(stretch) = self.stretch(from, bound) else { return ByteRange::default() };
        ByteRange {
            at_least: (stretch.before_end + stretch.end.at_least).saturating_sub(stretch.start.at_most),
            at_most: stretch.before_end + stretch.end.at_most - stretch.start.at_least,
        }
    }

    /// How many bytes a reader at `from` has before it; may read headers.
    ///
    /// # Errors
    /// The disk's; [`LogError::Corrupt`] if the file is damaged.
    pub fn exact_bytes(&self, from: Offset, bound: Offset) -> Result<u64, LogError> {
        let Some(stretch) = self.stretch(from, bound) else { return Ok(0) };
        let resolve = |position: Position, at: usize, offset: Offset| {
            let segment = &self.segments[at];
            if segment.size_bytes == 0 {
                return Ok(0);
            }
            position.resolve(&**segment.file(), &segment.name, offset)
        };
        let start = resolve(stretch.start, stretch.first, from)?;
        let end = resolve(stretch.end, stretch.last, bound)?;
        Ok((stretch.before_end + end).saturating_sub(start))
    }

    fn stretch(&self, from: Offset, bound: Offset) -> Option<Stretch> {
        if from >= bound {
            return None;
        }
        let (first, last) = (self.segment_of(from), self.segment_of(bound));
        let (start, end) = (self.segments[first].position_of(from), self.segments[last].position_of(bound));
        let before_end = self.segments[first..last].iter().map(|segment| segment.size_bytes).sum();
        Some(Stretch { first, last, start, end, before_end })
    }

    /// A search for the first record below `bound` that is at least as late as `timestamp`.
    #[must_use]
    pub fn offset_for_timestamp(&self, timestamp: TimestampMs, bound: Offset) -> TimestampSearch {
        TimestampSearch::at_least(self.readable(), timestamp, self.start_offset, bound)
    }

    /// A search for the first record with the log's largest timestamp, if it is below `bound`; `None` if no record has
    /// a timestamp.
    #[must_use]
    pub fn max_timestamp_record(&self, bound: Offset) -> Option<TimestampSearch> {
        TimestampSearch::latest(self.readable(), self.start_offset, bound)
    }

    fn readable(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.next_offset > self.start_offset)
    }
}

/// Two positions in the log, and what lies before the second one's segment from the first one's on.
struct Stretch {
    first: usize,
    last: usize,
    start: Position,
    end: Position,
    before_end: u64,
}

#[cfg(test)]
mod tests;
