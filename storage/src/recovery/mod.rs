//! Opening a log: from its files to what is known of them in memory (`LogLoader`).
//!
//! Segments are *trusted* or *checked*. After a clean stop all are trusted; after an unclean one those wholly below the
//! recovery point. Of a [trusted](trusted) one the indexes are read and the few batches behind their last entry are walked;
//! the producers come from a snapshot. Of a [checked](checked) one every batch is held against its checksum, and indexes,
//! aborted transactions, epochs and producers are built anew; the log ends before the first batch that is not whole, and
//! later segments go. Whatever does not add up where files are trusted ends the trust: the log is then checked from its
//! first byte. But what lies below the recovery point was durable once and no stop has left it like this: damage there is
//! neither cut nor followed by a removal, it keeps the log from opening; checksums there are for readers to look at, as in
//! Kafka, and a hole is one that a removal of old segments left. Nothing is mapped meanwhile, so files may be cut. A crash while opening leaves a log that opens as well.

mod checked;
mod epochs;
mod leftovers;
mod producers;
mod trusted;
mod walk;

use std::{path::Path, sync::Arc};

use self::{epochs::Epochs, leftovers::Names};
pub(crate) use self::{
    leftovers::{read_if_there, remove_if_there},
    walk::CONTROL_BATCH_LIMIT_BYTES,
};
use crate::{
    LeaderEpochs, LogConfig, LogError, Offset, Opening, Recovered, StopKind, TimestampMs,
    disk::Disk,
    epochs::CHECKPOINT_NAME,
    log::snapshots::SnapshotFile,
    producers::ProducerState,
    segment::{Segment, SegmentName, file_name},
};

/// A log's files, read.
pub(crate) struct Loaded {
    pub(crate) segments: Vec<Segment>,
    pub(crate) start_offset: Offset,
    /// Below it batches are durable.
    pub(crate) recovery_point: Offset,
    /// Below it index files and snapshots are, too.
    pub(crate) flushed_below: Offset,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: ProducerState,
    /// Those on disk, oldest first.
    pub(crate) snapshots: Vec<SnapshotFile>,
    pub(crate) recovered: Recovered,
}

/// Why an attempt at opening ended.
enum Stopped {
    /// Files that were to be trusted do not add up.
    Distrust,
    Failed(LogError),
}

impl From<LogError> for Stopped {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

pub(crate) fn load(
    disk: &dyn Disk,
    dir: &Arc<Path>,
    config: &LogConfig,
    opening: Opening,
    now: TimestampMs,
) -> Result<Loaded, LogError> {
    let (durable_below, compacted_below) = (opening.recovery_point, opening.compacted_below);
    let place = Place { disk, dir, config, durable_below, compacted_below, now };
    match place.load_as(opening) {
        Ok(loaded) => Ok(loaded),
        Err(Stopped::Failed(error)) => Err(error),
        Err(Stopped::Distrust) => {
            let distrustful = Opening { stop: StopKind::Unclean, recovery_point: Offset::ZERO, ..opening };
            let mut loaded = place.load_as(distrustful).map_err(|stopped| match stopped {
                Stopped::Failed(error) => error,
                Stopped::Distrust => unreachable!("nothing was trusted"),
            })?;
            loaded.recovered.was_not_clean = opening.stop == StopKind::Clean;
            Ok(loaded)
        }
    }
}

/// Where a log is opened, and how.
#[derive(Clone, Copy)]
struct Place<'a> {
    disk: &'a dyn Disk,
    dir: &'a Arc<Path>,
    config: &'a LogConfig,
    /// The recovery point as it was remembered, also when nothing else is trusted.
    durable_below: Offset,
    compacted_below: Offset,
    now: TimestampMs,
}

/// What has been read so far.
struct Reading {
    segments: Vec<Segment>,
    epochs: Epochs,
    producers: ProducerState,
    /// Where snapshots were written that had no name here.
    new_snapshots: Vec<Offset>,
    /// Where the batch is that was checked last, if it begins further on than was due.
    last_jump: Option<Due>,
    recovered: Recovered,
}

/// A place in the files, and the offset that was due there.
#[derive(Clone, Copy)]
struct Due {
    segment: Offset,
    position: u64,
    offset: Offset,
}

impl Reading {
    /// Where the next segment is due.
    fn end(&self) -> Option<Offset> {
        self.segments.last().map(|last| last.next_offset)
    }
}

impl Place<'_> {
    /// Whether there may be a hole before a segment of this base.
    fn may_follow_hole(self, base: Offset) -> bool {
        base <= self.compacted_below.max(self.durable_below)
    }

    fn load_as(self, opening: Opening) -> Result<Loaded, Stopped> {
        let names = Names::tidied(self.disk, self.dir)?;
        let bases = names.bases("log");
        let trusted = match opening.stop {
            StopKind::Clean => bases.len(),
            StopKind::Unclean => {
                bases.iter().skip(1).take_while(|next| **next <= opening.recovery_point).count()
            }
        };
        let (epochs, epochs_malformed) =
            Epochs::read(self.disk, self.dir, trusted == 0, opening.start_offset)?;
        if epochs_malformed.is_some() && trusted > 0 {
            return Err(Stopped::Distrust);
        }
        let mut reading = Reading {
            segments: Vec::with_capacity(bases.len()),
            epochs,
            producers: ProducerState::default(),
            new_snapshots: Vec::new(),
            last_jump: None,
            recovered: Recovered { epochs_malformed, ..Recovered::default() },
        };
        for base in &bases[..trusted] {
            self.read_trusted(*base, &names, opening.stop, &mut reading)?;
        }
        // Which of the two is right shows when every batch is looked at.
        if trusted > 0 && bases.get(trusted).is_some_and(|next| Some(*next) < reading.end()) {
            return Err(Stopped::Distrust);
        }
        reading.producers = match bases.get(trusted) {
            None if opening.stop == StopKind::Clean => self.producers_at_end(&reading, &names)?,
            next => self.producers_at(next.copied(), &reading, &names)?,
        };
        self.check_from(&bases[trusted..], &names, &mut reading)?;
        if reading.epochs.are_contradicted() && trusted > 0 {
            return Err(Stopped::Distrust);
        }
        // The index files of what was checked are written anew, and not durable.
        let checked_from = reading.segments.get(trusted).map(Segment::base_offset);
        self.begin_at(opening.start_offset, &names, &mut reading)?;
        Ok(self.finish(reading, &names, opening, checked_from)?)
    }

    /// A log that ends before the offset it is to begin at has lost its files: what is left of it is no part of what
    /// was promised since.
    fn begin_at(self, start_offset: Offset, names: &Names, reading: &mut Reading) -> Result<(), LogError> {
        if reading.end().is_none_or(|end| end >= start_offset) {
            return Ok(());
        }
        for segment in std::mem::take(&mut reading.segments).iter().rev() {
            for path in segment.name.paths() {
                remove_if_there(self.disk, &path)?;
            }
            reading.recovered.truncated_bytes += segment.size_bytes;
            reading.recovered.removed_segments += 1;
        }
        reading.producers = ProducerState::default();
        let written = std::mem::take(&mut reading.new_snapshots);
        for offset in names.bases("snapshot").into_iter().chain(written) {
            remove_if_there(self.disk, &self.dir.join(file_name(offset, "snapshot")))?;
        }
        self.clear(start_offset)?;
        reading.segments.push(Segment::create(self.disk, self.dir, start_offset, self.now)?);
        Ok(())
    }

    /// Removes what a segment that is gone left behind at a base where another is to begin.
    fn clear(self, base: Offset) -> Result<(), LogError> {
        for path in SegmentName::new(self.dir, base).paths() {
            remove_if_there(self.disk, &path)?;
        }
        Ok(())
    }

    fn finish(
        self,
        mut reading: Reading,
        names: &Names,
        opening: Opening,
        checked_from: Option<Offset>,
    ) -> Result<Loaded, LogError> {
        if reading.segments.is_empty() {
            self.clear(opening.start_offset)?;
            let name = SegmentName::new(self.dir, opening.start_offset);
            reading.segments.push(Segment::over(None, name, self.now));
        }
        let Reading { mut segments, epochs, producers, new_snapshots, recovered, .. } = reading;
        let (active, sealed) = segments.split_last_mut().expect("a log has a segment");
        for segment in &mut *sealed {
            segment.finish_indexes(self.disk)?;
            segment.retire(0);
        }
        let start_offset = sealed.first().unwrap_or(active).base_offset().max(opening.start_offset);
        let mut epochs = epochs.concluded();
        epochs.truncate_from_start(start_offset);
        // Terms without records go, too, as in Kafka: nobody can have read anything of them.
        epochs.truncate_from_end(active.next_offset);
        if recovered.epochs_malformed.is_some() {
            // Where no batch tells a term none is written in its place, and no stop would ever be believed.
            remove_if_there(self.disk, &self.dir.join(CHECKPOINT_NAME))?;
        }
        let end_offset = active.next_offset;
        let (recovery_point, flushed_below) = match opening.stop {
            StopKind::Clean => (end_offset, end_offset),
            StopKind::Unclean => {
                let recovery_point = opening.recovery_point.min(end_offset);
                (recovery_point, recovery_point.min(checked_from.unwrap_or_else(|| active.base_offset())))
            }
        };
        names.remove_orphans(self.disk, self.dir, &segments)?;
        let snapshots = names.keep_snapshots(self.disk, self.dir, &segments, new_snapshots)?;
        Ok(Loaded {
            segments,
            start_offset,
            recovery_point,
            flushed_below,
            epochs,
            producers,
            snapshots,
            recovered,
        })
    }
}

#[cfg(test)]
mod tests;
