//! A partition's log.
//!
//! It owns its segments, its producer table and its leader epochs; one owner calls it, in turn. What always holds: every
//! offset below the end lies in exactly one batch of one segment (or in a gap compaction left); memory changes only after
//! a write succeeded; after a failed write or sync the log refuses everything until it is opened again, because what
//! the files hold is unknown.

mod config;
mod deletion;
mod durability;
mod removal;
pub(crate) mod truncation;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::{config::LogConfig, deletion::LogDeletion, removal::Removed};
use crate::{
    AppendError, LeaderEpoch, LeaderEpochs, LogError, LogRange, Offset, Opening, ProducerTable, Recovered,
    StopKind, Synced, TimestampMs, TimestampSearch,
    batch::{BatchHeader, CheckedBatch, ControlKind, RecordViews, control_record},
    disk::Disk,
    recovery::{self, Loaded},
    segment::{Position, Segment},
};

/// What an append did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The batch's time if the log set it; [`TimestampMs::NONE`] if the records carry their own.
    pub log_append_time: TimestampMs,
    /// Whether the batch went to a new segment.
    pub rolled: bool,
    /// The header as written; [`CheckedBatch::body`] follows it.
    pub header: BatchHeader,
}

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
    dir: PathBuf,
    config: LogConfig,
    /// Oldest first, never empty; the last is appended to.
    segments: Vec<Segment>,
    start_offset: Offset,
    epochs: LeaderEpochs,
    producers: ProducerTable,
    poisoned: Option<Arc<str>>,
    synced: Synced,
    recovery_point: Offset,
    /// Rises with every name made in the directory, and with every change of the epochs.
    names_version: u64,
    epochs_version: u64,
}

impl Log {
    /// Makes the log of a new partition: a directory and one empty file, nothing synced.
    ///
    /// # Errors
    /// What the disk says, also that the log is there already.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        disk.create_dir(dir).map_err(LogError::io("create", dir))?;
        let first = Segment::create(&*disk, dir, Offset::ZERO, now)?;
        Ok(Self::over(disk, dir, config, vec![first]))
    }

    /// Opens the log in a directory; an empty directory is an empty log.
    ///
    /// # Errors
    /// What the disk says. Damage is no error after an unclean stop: the log ends before it; and
    /// one that ends before its start offset begins there anew.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        opening: Opening,
        now: TimestampMs,
    ) -> Result<(Self, Recovered), LogError> {
        let Loaded { segments, start_offset, recovery_point, epochs, producers, recovered } =
            recovery::load(&*disk, dir, &config, opening, now)?;
        let mut log = Self::over(disk, dir, config, segments);
        (log.epochs, log.producers) = (epochs, producers);
        (log.start_offset, log.recovery_point) = (start_offset, recovery_point);
        log.synced.upto = recovery_point.max(start_offset);
        if opening.stop == StopKind::Clean && !recovered.was_not_clean {
            log.synced.names_version = log.names_version;
            log.synced.epochs_version = log.epochs_version;
        }
        Ok((log, recovered))
    }

    fn over(disk: Arc<dyn Disk>, dir: &Path, config: LogConfig, segments: Vec<Segment>) -> Self {
        let start_offset = segments[0].base_offset;
        Self {
            disk,
            dir: dir.to_owned(),
            config,
            segments,
            start_offset,
            epochs: LeaderEpochs::default(),
            producers: ProducerTable::default(),
            poisoned: None,
            synced: Synced {
                upto: start_offset,
                recovery_point: None,
                names_version: 0,
                epochs_version: 0,
                cuts: 0,
            },
            recovery_point: start_offset,
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
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
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

    /// Begins a leader's term at an offset. In memory; the next [`SyncHandle`](crate::SyncHandle) or a clean close writes it down.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        if self.epochs.assign(epoch, start_offset) {
            self.epochs_version += 1;
        }
    }

    /// [`LeaderEpochs::end_offset_for`] this log.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.end_offset())
    }

    /// What the log remembers of its producers.
    #[must_use]
    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// Forgets the producers that have written nothing since `time` and have no transaction open
    /// (`producer.id.expiration.ms`).
    pub fn expire_producers_before(&mut self, time: TimestampMs) {
        self.producers.expire_before(time);
    }

    /// Appends a batch at the log's end, in one write. `now` is the wall clock.
    ///
    /// # Errors
    /// A batch that cannot be appended is refused and leaves the log as it was. A failed write poisons the log: nothing
    /// of the batch is visible, and whether it is there shows when the log is opened again.
    pub fn append(
        &mut self,
        batch: &CheckedBatch,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        if let Some(why) = &self.poisoned {
            return Err(AppendError::Poisoned(Arc::clone(why)));
        }
        let (size_bytes, limit_bytes) = (batch.size_bytes(), self.config.segment_bytes);
        if size_bytes > limit_bytes {
            return Err(AppendError::LargerThanSegment { size_bytes, limit_bytes });
        }
        let header = batch.stamped(self.end_offset(), leader_epoch, now);
        if header.check_offsets().is_err() {
            return Err(AppendError::OffsetsExhausted { end_offset: self.end_offset() });
        }
        let rolled = self.write(&header, batch.body(), now).map_err(|error| {
            self.poison(&error.to_string());
            AppendError::Failed(error)
        })?;
        if leader_epoch.is_some() {
            self.assign_epoch(leader_epoch, header.base_offset);
        }
        self.producers.note(&header, control_of(batch));
        let log_append_time =
            if batch.takes_append_time() { header.max_timestamp } else { TimestampMs::NONE };
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time,
            rolled,
            header,
        })
    }

    /// Rolls if need be and writes; tells whether it rolled.
    fn write(&mut self, header: &BatchHeader, body: &[u8], now: TimestampMs) -> Result<bool, LogError> {
        let rolls = self.active().is_full_for(header, header.last_offset(), &self.config, now);
        if rolls {
            self.roll(now)?;
        }
        let first = self.active().size_bytes == 0;
        let active = self.segments.last_mut().expect("a log has a segment");
        active.append(&*self.disk, header, body, &self.config)?;
        self.names_version += u64::from(first);
        Ok(rolls)
    }

    fn roll(&mut self, now: TimestampMs) -> Result<(), LogError> {
        let next = Segment::create(&*self.disk, &self.dir, self.end_offset(), now)?;
        let active = self.segments.last_mut().expect("a log has a segment");
        active.seal(&*self.disk)?;
        self.segments.push(next);
        self.names_version += 1;
        Ok(())
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
        LogRange::new(&self.segments[self.segment_of(from)], from, bound, max_bytes, at_least_one)
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
            position.resolve(&*segment.log, &segment.path, offset)
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

fn control_of(batch: &CheckedBatch) -> Option<ControlKind> {
    if !batch.header().attributes.is_control() {
        return None;
    }
    let mut records = RecordViews::new(batch.body(), batch.header().record_count).ok()?;
    let record = records.next()?.ok()?;
    control_record(record.key, record.value)
}

#[cfg(test)]
mod tests;
