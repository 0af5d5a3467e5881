//! The node's checkpoints: from where its logs must be checked after an unclean stop, where they begin, and how far they
//! are compacted.
//!
//! They are Kafka's files beside the partitions. One is written when something it says has changed: soon after
//! (`log.flush.offset.checkpoint.interval.ms`, `log.flush.start.offset.checkpoint.interval.ms`), at once when somebody
//! waits for it, and at a clean stop. A deletion of records that was answered is therefore never undone by a crash.
//!
//! Always: what a checkpoint says of a topic that is gone is out of it before there is another topic of that name. What it
//! says of a partition that could not be opened stays in it. What cannot be read of how far the logs are compacted is not
//! replaced while a [gap](super::guessed_gaps) rests on that.

mod outdated;
mod remembered;
mod schedule;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_storage::checkpoint::{
    CLEANER_OFFSETS, HIGH_WATERMARKS, OffsetCheckpoint, RECOVERY_POINTS, START_OFFSETS,
};
use highwater_storage::disk::Disk;
use highwater_storage::{Log, LogError, Offset, Opening};

pub(super) use self::remembered::Remembered;
pub use self::schedule::CheckpointFile;
use self::schedule::Schedule;
use super::guessed_gaps::GuessedGaps;
use super::replica::Replica;
use super::{DiskWork, Effect, Effects, Node, Reply, Ticket};
use crate::ids::{Monotonic, Now, PartitionIndex, TopicName};
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

/// One of a node's checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKind {
    /// Below these offsets nothing need be checked after an unclean stop.
    RecoveryPoints,
    /// Where the logs begin that begin within a segment.
    StartOffsets,
    /// Up to where the logs are compacted.
    CleanerOffsets,
    /// Up to where logs that other nodes hold, too, are known to be committed.
    HighWatermarks,
}

impl CheckpointKind {
    pub(super) fn path(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::RecoveryPoints => RECOVERY_POINTS,
            Self::StartOffsets => START_OFFSETS,
            Self::CleanerOffsets => CLEANER_OFFSETS,
            Self::HighWatermarks => HIGH_WATERMARKS,
        })
    }

    pub(super) const ALL: [Self; 4] =
        [Self::RecoveryPoints, Self::StartOffsets, Self::CleanerOffsets, Self::HighWatermarks];

    pub(super) fn entry(self, replica: &Replica) -> Option<Offset> {
        let log = &replica.log;
        match self {
            Self::RecoveryPoints => Some(log.recovery_point()).filter(|point| *point > Offset::ZERO),
            Self::StartOffsets => Some(log.start_offset()).filter(|start| *start > log.oldest().base_offset),
            Self::CleanerOffsets => replica.clean_upto,
            Self::HighWatermarks if replica.is_replicated() => {
                Some(replica.positions().high_watermark).filter(|upto| *upto > Offset::ZERO)
            }
            Self::HighWatermarks => None,
        }
    }
}

/// The soonest that a checkpoint is tried again which could not be written.
const RETRY_MS: i32 = 1_000;

/// The checkpoints of a node.
#[derive(Debug)]
pub(super) struct Checkpoints {
    recovery_points: Schedule,
    start_offsets: Schedule,
    cleaner_offsets: Schedule,
    high_watermarks: Schedule,
    guessed_gaps: GuessedGaps,
}

impl Checkpoints {
    /// Those of a node's folder.
    pub(super) fn new(disk: &Arc<dyn Disk>, folder: &Path) -> Self {
        let schedule = |kind: CheckpointKind| Schedule::new(disk, kind.path(folder));
        Self {
            recovery_points: schedule(CheckpointKind::RecoveryPoints),
            start_offsets: schedule(CheckpointKind::StartOffsets),
            cleaner_offsets: schedule(CheckpointKind::CleanerOffsets),
            high_watermarks: schedule(CheckpointKind::HighWatermarks),
            guessed_gaps: GuessedGaps::default(),
        }
    }

    /// A partition was opened, perhaps with gaps that nobody can explain.
    pub(super) fn note_opened(&mut self, topic: &TopicName, slot: usize, opening: Opening, log: &Log) {
        let last = log.last_base_offset();
        if is_any_gap_accepted(opening) && log.segment_count() > 1 && opening.recovery_point < last {
            self.guessed_gaps.note(topic, partition_of(slot), last);
        }
    }

    /// A partition could not be opened: what is remembered of it stays so.
    pub(super) fn keep_unopened(
        &mut self,
        topic: &TopicName,
        slot: usize,
        opening: Opening,
        clean_upto: Option<Offset>,
    ) {
        let partition = partition_of(slot);
        if is_any_gap_accepted(opening) {
            self.guessed_gaps.note(topic, partition, Offset::MAX);
        }
        let remembered = [
            (CheckpointKind::RecoveryPoints, opening.recovery_point),
            (CheckpointKind::StartOffsets, opening.start_offset),
            (CheckpointKind::CleanerOffsets, clean_upto.unwrap_or(Offset::ZERO)),
        ];
        for (kind, offset) in remembered.into_iter().filter(|(_, offset)| *offset > Offset::ZERO) {
            self.of_mut(kind).unopened.insert(topic.as_str(), partition, offset);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let may_begin = CheckpointKind::ALL.into_iter().filter(|kind| !self.is_held_back(*kind));
        may_begin.filter_map(|kind| self.of(kind).next_deadline()).min()
    }

    /// Whether its file is to stay as it is for now: it cannot be read, and something rests on that.
    fn is_held_back(&self, kind: CheckpointKind) -> bool {
        kind == CheckpointKind::CleanerOffsets && !self.guessed_gaps.is_empty()
    }

    /// Whether nothing rests on it any more when these recovery points are on disk.
    pub(super) fn are_gaps_covered_by(&self, points: &OffsetCheckpoint) -> bool {
        self.guessed_gaps.are_covered_by(points)
    }

    fn of(&self, kind: CheckpointKind) -> &Schedule {
        match kind {
            CheckpointKind::RecoveryPoints => &self.recovery_points,
            CheckpointKind::StartOffsets => &self.start_offsets,
            CheckpointKind::CleanerOffsets => &self.cleaner_offsets,
            CheckpointKind::HighWatermarks => &self.high_watermarks,
        }
    }

    fn of_mut(&mut self, kind: CheckpointKind) -> &mut Schedule {
        match kind {
            CheckpointKind::RecoveryPoints => &mut self.recovery_points,
            CheckpointKind::StartOffsets => &mut self.start_offsets,
            CheckpointKind::CleanerOffsets => &mut self.cleaner_offsets,
            CheckpointKind::HighWatermarks => &mut self.high_watermarks,
        }
    }
}

fn partition_of(slot: usize) -> i32 {
    i32::try_from(slot).unwrap_or(i32::MAX)
}

/// Whether the log is opened without anybody knowing which gaps compaction has left.
fn is_any_gap_accepted(opening: Opening) -> bool {
    opening.compacted_below == Offset::MAX
}

impl Node {
    /// Something that a checkpoint says has changed: it is written in its time.
    pub(super) fn checkpoint_later(&mut self, now: Now, kind: CheckpointKind) {
        let interval_ms = self.checkpoint_interval_ms(kind);
        self.checkpoints.of_mut(kind).changed(now.monotonic.plus_ms(interval_ms));
    }

    fn checkpoint_interval_ms(&self, kind: CheckpointKind) -> i32 {
        match kind {
            CheckpointKind::RecoveryPoints => self.config.recovery_point_interval_ms(),
            CheckpointKind::StartOffsets => self.config.start_offset_interval_ms(),
            CheckpointKind::CleanerOffsets => 0,
            CheckpointKind::HighWatermarks => self.config.high_watermark_interval_ms(),
        }
    }

    /// The same, and somebody waits for it.
    pub(super) fn checkpoint_at_once(&mut self, now: Now, kind: CheckpointKind) {
        self.checkpoints.of_mut(kind).changed(now.monotonic);
    }

    /// Answers once the start offsets are written down as they are now.
    pub(super) fn answer_when_starts_are_written(
        &mut self,
        now: Now,
        (ticket, reply): (Ticket, Reply),
        effects: &mut Effects,
    ) {
        let schedule = self.checkpoints.of_mut(CheckpointKind::StartOffsets);
        if schedule.is_settled() {
            return effects.push(Effect::Reply(ticket, reply));
        } else if !schedule.is_being_settled() {
            schedule.due = Some(now.monotonic);
        }
        schedule.waiting.push_back((schedule.version, ticket, reply));
    }

    /// The logs were opened: what the checkpoints say otherwise is put right. A crash came before that was done, or left
    /// less of a log than was remembered; or nothing, where it is `made_anew`.
    pub(super) fn correct_checkpoints(&mut self, now: Now, remembered: &Remembered, made_anew: &[Watched]) {
        for kind in CheckpointKind::ALL {
            let said = match kind {
                CheckpointKind::RecoveryPoints => &remembered.recovery_points,
                CheckpointKind::StartOffsets => &remembered.start_offsets,
                CheckpointKind::CleanerOffsets => &remembered.cleaner_offsets,
                CheckpointKind::HighWatermarks => &remembered.high_watermarks,
            };
            self.checkpoints.of_mut(kind).found(said);
            if self.checkpoint(kind) == *said {
                continue;
            }
            // Of a topic, or only of some of its partitions.
            let is_gone = |(topic, partition, _): &(&str, i32, Offset)| {
                let Some(id) = self.metadata.id_of(&TopicName::from(*topic)) else { return true };
                let index = PartitionIndex(*partition);
                let known = self.metadata.partition(id, index);
                made_anew.contains(&(id, index))
                    || !known.is_some_and(|part| part.replicas.contains(&self.id))
            };
            let gone: BTreeSet<_> =
                said.iter().filter(is_gone).map(|(topic, _, _)| TopicName::from(topic)).collect();
            let schedule = self.checkpoints.of_mut(kind);
            schedule.changed(now.monotonic);
            gone.iter().for_each(|name| schedule.outdated(name, now.monotonic));
        }
    }

    /// Begins to write what is due.
    pub(super) fn begin_checkpoints(&mut self, now: Now, effects: &mut Effects) {
        for kind in CheckpointKind::ALL {
            if !self.checkpoints.is_held_back(kind) && self.checkpoints.of(kind).is_due(now.monotonic) {
                let checkpoint = Arc::new(self.checkpoint(kind));
                let schedule = self.checkpoints.of_mut(kind);
                let (version, file) = (schedule.begin(&checkpoint), Arc::clone(&schedule.file));
                if kind == CheckpointKind::RecoveryPoints {
                    self.checkpoints.guessed_gaps.begin(&checkpoint);
                }
                effects.push(Effect::Disk(DiskWork::Checkpoint { kind, file, version, checkpoint }));
            }
        }
    }

    /// A checkpoint was written, or not: who waits for it is told.
    pub(super) fn checkpointed(
        &mut self,
        now: Now,
        kind: CheckpointKind,
        outcome: Result<(), LogError>,
        effects: &mut Effects,
    ) {
        let refusal = outcome.err().map(|error| Refusal::storage(&error));
        let retry_ms = self.checkpoint_interval_ms(kind).max(RETRY_MS);
        let schedule = self.checkpoints.of_mut(kind);
        let Some((version, checkpoint)) = schedule.end() else { return };
        match &refusal {
            None => {
                schedule.wrote(version, checkpoint);
                if kind == CheckpointKind::RecoveryPoints {
                    self.checkpoints.guessed_gaps.wrote();
                }
            }
            Some(refusal) => {
                tracing::error!(?kind, %refusal, "a checkpoint could not be written");
                schedule.not_written();
                // What it was to say is still to be said.
                let retry = now.monotonic.plus_ms(retry_ms);
                schedule.due = Some(schedule.due.map_or(retry, |sooner| sooner.min(retry)));
            }
        }
        let schedule = self.checkpoints.of_mut(kind);
        while schedule.waiting.front().is_some_and(|(needs, _, _)| *needs <= version) {
            let Some((_, ticket, mut reply)) = schedule.waiting.pop_front() else { break };
            if let Some(refusal) = &refusal {
                reply.refuse(refusal);
            }
            effects.push(Effect::Reply(ticket, reply));
        }
    }

    pub(super) fn checkpoint(&self, kind: CheckpointKind) -> OffsetCheckpoint {
        let mut checkpoint = self.checkpoints.of(kind).unopened.clone();
        for (name, partition, replica) in self.replicas() {
            if let Some(offset) = kind.entry(replica) {
                checkpoint.insert(name.as_str(), partition.0, offset);
            }
        }
        checkpoint
    }

    /// Writes a checkpoint here and now, unless it says nothing and never did.
    pub(super) fn write_at_stop(
        &self,
        kind: CheckpointKind,
        checkpoint: &OffsetCheckpoint,
    ) -> Result<(), LogError> {
        let path = kind.path(&self.folder);
        if checkpoint.is_empty() && self.disk.open(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            return Ok(());
        }
        checkpoint.write(self.disk.as_ref(), &path)
    }
}
