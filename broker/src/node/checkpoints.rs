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

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_storage::checkpoint::{
    CLEANER_OFFSETS, HIGH_WATERMARKS, OffsetCheckpoint, RECOVERY_POINTS, START_OFFSETS,
};
use highwater_storage::disk::Disk;
use highwater_storage::{Log, LogError, Offset, Opening, StopKind, TopicId};
use parking_lot::Mutex;

use super::guessed_gaps::GuessedGaps;
use super::replica::Replica;
use super::{DiskWork, Effect, Effects, LocalTopic, Node, Reply, Ticket};
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

/// A checkpoint's file. Whoever writes it and in whatever order, the newest version stays.
#[derive(Debug)]
pub struct CheckpointFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    newest: Mutex<u64>,
}

impl CheckpointFile {
    /// Makes the file say this, unless it says what is newer.
    pub(super) fn write(&self, version: u64, checkpoint: &OffsetCheckpoint) -> Result<(), LogError> {
        let mut newest = self.newest.lock();
        if version >= *newest {
            checkpoint.write(self.disk.as_ref(), &self.path)?;
            *newest = version;
        }
        Ok(())
    }
}

/// When one checkpoint is written, and who waits for it. Versions count the changes of what it says.
#[derive(Debug)]
struct Schedule {
    file: Arc<CheckpointFile>,
    version: u64,
    written: u64,
    in_flight: Option<u64>,
    due: Option<Monotonic>,
    /// Answers that wait, each for a version.
    waiting: VecDeque<(u64, Ticket, Reply)>,
    /// Topics that are gone, or partitions of them, each with the version that does not speak of it any more.
    gone: Vec<(u64, TopicName)>,
    /// What is remembered of partitions that could not be opened.
    unopened: OffsetCheckpoint,
}

impl Schedule {
    fn new(disk: &Arc<dyn Disk>, path: PathBuf) -> Self {
        Self {
            file: Arc::new(CheckpointFile { disk: Arc::clone(disk), path, newest: Mutex::new(0) }),
            version: 0,
            written: 0,
            in_flight: None,
            due: None,
            waiting: VecDeque::new(),
            gone: Vec::new(),
            unopened: OffsetCheckpoint::default(),
        }
    }

    /// Whether the file says what is so.
    fn is_settled(&self) -> bool {
        self.written == self.version
    }

    /// The file says this version, or a newer one.
    fn wrote(&mut self, version: u64) {
        self.written = self.written.max(version);
        self.gone.retain(|(without, _)| *without > version);
    }

    /// The file may speak of a topic, or of partitions of it, that there are no more.
    fn outdated(&mut self, topic: &TopicName, now: Monotonic) {
        self.changed(now);
        self.gone.push((self.version, topic.clone()));
    }

    /// A topic is gone of which the file may speak.
    fn forget(&mut self, topic: &TopicName, now: Monotonic) {
        self.outdated(topic, now);
        let others = self.unopened.iter().filter(|(name, _, _)| *name != topic.as_str());
        let mut unopened = OffsetCheckpoint::default();
        others.for_each(|(name, partition, offset)| unopened.insert(name, partition, offset));
        self.unopened = unopened;
    }

    fn changed(&mut self, due: Monotonic) {
        self.version += 1;
        self.due = Some(self.due.map_or(due, |sooner| sooner.min(due)));
    }

    /// Whether it is to be written now.
    fn begin(&mut self, now: Monotonic) -> bool {
        let begins = self.in_flight.is_none() && self.due.is_some_and(|due| due <= now);
        if begins {
            self.due = None;
            self.in_flight = Some(self.version);
        }
        begins
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        self.due.filter(|_| self.in_flight.is_none())
    }
}

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

/// What the checkpoints said when the node was opened.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) stop: StopKind,
    recovery_points: OffsetCheckpoint,
    start_offsets: OffsetCheckpoint,
    cleaner_offsets: OffsetCheckpoint,
    high_watermarks: OffsetCheckpoint,
    /// Nothing of what was compacted is known, rather than that nothing was.
    are_cleaner_offsets_lost: bool,
}

impl Remembered {
    /// Nothing.
    pub(super) fn nothing() -> Self {
        Self {
            stop: StopKind::Clean,
            recovery_points: OffsetCheckpoint::default(),
            start_offsets: OffsetCheckpoint::default(),
            cleaner_offsets: OffsetCheckpoint::default(),
            high_watermarks: OffsetCheckpoint::default(),
            are_cleaner_offsets_lost: false,
        }
    }

    /// Reads all. Without recovery points everything is checked, without the cleaner's offsets compacted once more, and any
    /// gap in a compacted log is taken for compaction's; without the start offsets deleted records would come back.
    pub(super) fn read(disk: &dyn Disk, folder: &Path, stop: StopKind) -> Result<Self, LogError> {
        let read = |kind: CheckpointKind| OffsetCheckpoint::read(disk, &kind.path(folder));
        let or_nothing = |kind, without| {
            read(kind).inspect_err(|error| {
                tracing::warn!(refusal = %Refusal::storage(error), "{without}");
            })
        };
        let checked = "without its recovery points every log is checked as a whole";
        let dirty = "without the cleaner's offsets every compacted log is compacted as a whole";
        let unknown = "without the high watermarks it is learned anew how far logs are committed";
        let cleaner_offsets = or_nothing(CheckpointKind::CleanerOffsets, dirty);
        Ok(Self {
            stop,
            recovery_points: or_nothing(CheckpointKind::RecoveryPoints, checked).unwrap_or_default(),
            start_offsets: read(CheckpointKind::StartOffsets)?,
            are_cleaner_offsets_lost: cleaner_offsets.is_err(),
            cleaner_offsets: cleaner_offsets.unwrap_or_default(),
            high_watermarks: or_nothing(CheckpointKind::HighWatermarks, unknown).unwrap_or_default(),
        })
    }

    /// Whether anything is remembered of one partition.
    pub(super) fn speaks_of(&self, topic: &TopicName, partition: PartitionIndex) -> bool {
        let all = [&self.recovery_points, &self.start_offsets, &self.cleaner_offsets, &self.high_watermarks];
        all.into_iter().any(|checkpoint| checkpoint.get(topic.as_str(), partition.0).is_some())
    }

    /// How far one partition was known to be committed.
    pub(super) fn high_watermark(&self, topic: &TopicName, slot: usize) -> Offset {
        let partition = i32::try_from(slot).unwrap_or(i32::MAX);
        self.high_watermarks.get(topic.as_str(), partition).unwrap_or(Offset::ZERO)
    }

    /// How far one partition is compacted.
    pub(super) fn clean_upto(&self, topic: &TopicName, slot: usize) -> Option<Offset> {
        let partition = partition_of(slot);
        let clean_upto = self.cleaner_offsets.get(topic.as_str(), partition);
        clean_upto.filter(|upto| *upto > Offset::ZERO)
    }

    /// What is remembered of one partition. A compacted log may be of Kafka's making, whose passes leave gaps: where it is
    /// lost how far they came, every gap may be theirs.
    pub(super) fn of(&self, topic: &TopicName, slot: usize, id: TopicId, is_compacted: bool) -> Opening {
        let partition = partition_of(slot);
        let in_it = |checkpoint: &OffsetCheckpoint| checkpoint.get(topic.as_str(), partition);
        let clean_upto = self.clean_upto(topic, slot);
        let is_any_gap_theirs = is_compacted && self.are_cleaner_offsets_lost;
        Opening {
            stop: self.stop,
            topic_id: Some(id),
            start_offset: in_it(&self.start_offsets).unwrap_or(Offset::ZERO),
            recovery_point: in_it(&self.recovery_points).unwrap_or(Offset::ZERO),
            compacted_below: if is_any_gap_theirs { Offset::MAX } else { clean_upto.unwrap_or(Offset::ZERO) },
        }
    }
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
        } else if schedule.in_flight != Some(schedule.version) {
            schedule.due = Some(now.monotonic);
        }
        schedule.waiting.push_back((schedule.version, ticket, reply));
    }

    /// A topic is gone: what the checkpoints say of it is taken out at once, for the next topic of this name.
    pub(super) fn forget_checkpoints(&mut self, now: Now, name: &TopicName, topic: &LocalTopic) {
        self.checkpoints.guessed_gaps.forget(name);
        for kind in CheckpointKind::ALL {
            let speaks = topic.partitions.iter().any(|replica| match replica {
                Ok(replica) => kind.entry(replica).is_some(),
                Err(_) => true,
            });
            let schedule = self.checkpoints.of_mut(kind);
            if speaks || !schedule.is_settled() {
                schedule.forget(name, now.monotonic);
            }
        }
    }

    /// The same of one partition, which is held elsewhere from now on: for the log it has here when it comes back.
    pub(super) fn forget_checkpoints_of_one(
        &mut self,
        now: Now,
        (name, partition): (&TopicName, PartitionIndex),
        replica: &Replica,
    ) {
        self.checkpoints.guessed_gaps.forget_one(name, partition.0);
        for kind in CheckpointKind::ALL {
            let schedule = self.checkpoints.of_mut(kind);
            if kind.entry(replica).is_some() || !schedule.is_settled() {
                schedule.outdated(name, now.monotonic);
            }
        }
    }

    /// Logs were made anew of which the checkpoints speak as they were before: that is taken out before anything is written to
    /// them. Where it cannot be, the partition is refused.
    pub(super) fn settle_made_anew(&mut self, partitions: &[Watched]) {
        let names: BTreeSet<TopicName> =
            partitions.iter().filter_map(|(topic, _)| self.name_of(*topic).cloned()).collect();
        let Err(refusal) = self.settle_checkpoints(&names.iter().collect::<Vec<_>>()) else { return };
        tracing::error!(%refusal, "a checkpoint speaks of logs that there were once: their partitions are not kept here");
        for (topic, partition) in partitions {
            let local = self.topics.get_mut(topic);
            let slot = partition.slot().and_then(|slot| local?.partitions.get_mut(slot));
            slot.into_iter().for_each(|slot| *slot = Err(refusal.clone()));
        }
    }

    /// Sees to it that no checkpoint speaks of topics of these names any more, here and now: there are to be others.
    pub(super) fn settle_checkpoints(&mut self, names: &[&TopicName]) -> Result<(), Refusal> {
        for kind in CheckpointKind::ALL {
            let schedule = self.checkpoints.of(kind);
            if self.checkpoints.is_held_back(kind) {
                // What cannot be read speaks of nobody.
                continue;
            }
            if schedule.gone.iter().any(|(_, gone)| names.contains(&gone)) {
                let version = schedule.version;
                let written = schedule.file.write(version, &self.checkpoint(kind));
                written.map_err(|error| Refusal::storage(&error))?;
                self.checkpoints.of_mut(kind).wrote(version);
            }
        }
        Ok(())
    }

    /// A log is about to be cut: what comes in place of what goes is neither durable nor compacted. Written down before, here
    /// and now (`LogManager.truncateTo`, `LogCleanerManager.maybeTruncateCheckpoint`): else what a power cut takes of it passed
    /// for damage of what was durable, and a lost end for a gap that compaction left.
    pub(super) fn lower_checkpoints(
        &mut self,
        now: Now,
        partition: Watched,
        at: Offset,
    ) -> Result<(), Refusal> {
        self.lower(now, CheckpointKind::RecoveryPoints, partition, at)?;
        // One that cannot be read speaks of nobody.
        if self.checkpoints.is_held_back(CheckpointKind::CleanerOffsets) {
            return Ok(());
        }
        self.lower(now, CheckpointKind::CleanerOffsets, partition, at)
    }

    fn lower(
        &mut self,
        now: Now,
        kind: CheckpointKind,
        (topic, partition): Watched,
        at: Offset,
    ) -> Result<(), Refusal> {
        let Some(name) = self.name_of(topic).cloned() else { return Ok(()) };
        let mut checkpoint = self.checkpoint(kind);
        let point = checkpoint.get(name.as_str(), partition.0).filter(|point| *point > at);
        // The file may say more than is so where it was not written since.
        if point.is_none() && self.checkpoints.of(kind).is_settled() {
            return Ok(());
        }
        if point.is_some() {
            checkpoint.insert(name.as_str(), partition.0, at);
        }
        self.checkpoint_later(now, kind);
        let schedule = self.checkpoints.of(kind);
        schedule.file.write(schedule.version, &checkpoint).map_err(|error| Refusal::storage(&error))
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
            if !self.checkpoints.is_held_back(kind) && self.checkpoints.of_mut(kind).begin(now.monotonic) {
                let schedule = self.checkpoints.of(kind);
                let (file, version) = (Arc::clone(&schedule.file), schedule.version);
                let checkpoint = Box::new(self.checkpoint(kind));
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
        let Some(version) = schedule.in_flight.take() else { return };
        match &refusal {
            None => {
                schedule.wrote(version);
                if kind == CheckpointKind::RecoveryPoints {
                    self.checkpoints.guessed_gaps.wrote();
                }
            }
            Some(refusal) => {
                tracing::error!(?kind, %refusal, "a checkpoint could not be written");
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
