//! The node's checkpoints: from where its logs must be checked after an unclean stop, and where they begin.
//!
//! Both are Kafka's files beside the partitions. One is written when something it says has changed: soon after
//! (`log.flush.offset.checkpoint.interval.ms`, `log.flush.start.offset.checkpoint.interval.ms`), at once when somebody
//! waits for it, and at a clean stop. A deletion of records that was answered is therefore never undone by a crash.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_storage::checkpoint::{OffsetCheckpoint, RECOVERY_POINTS, START_OFFSETS};
use highwater_storage::disk::Disk;
use highwater_storage::{Log, LogError, Offset, Opening, StopKind, TopicId};

use super::{DiskWork, Effect, Effects, LocalTopic, Node, Reply, Ticket};
use crate::ids::{Monotonic, Now, PartitionIndex, TopicName};
use crate::refusal::Refusal;

/// One of a node's checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKind {
    /// Below these offsets nothing need be checked after an unclean stop.
    RecoveryPoints,
    /// Where the logs begin that begin within a segment.
    StartOffsets,
}

impl CheckpointKind {
    fn path(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::RecoveryPoints => RECOVERY_POINTS,
            Self::StartOffsets => START_OFFSETS,
        })
    }

    fn entry(self, log: &Log) -> Option<Offset> {
        match self {
            Self::RecoveryPoints => Some(log.recovery_point()).filter(|point| *point > Offset::ZERO),
            Self::StartOffsets => Some(log.start_offset()).filter(|start| *start > log.oldest().base_offset),
        }
    }
}

/// When one checkpoint is written, and who waits for it. Versions count the changes of what it says.
#[derive(Debug, Default)]
struct Schedule {
    version: u64,
    written: u64,
    in_flight: Option<u64>,
    due: Option<Monotonic>,
    /// Answers that wait, each for a version.
    waiting: VecDeque<(u64, Ticket, Reply)>,
}

impl Schedule {
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

/// Both checkpoints of a node.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    recovery_points: Schedule,
    start_offsets: Schedule,
}

impl Checkpoints {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let both = [&self.recovery_points, &self.start_offsets];
        both.into_iter().filter_map(Schedule::next_deadline).min()
    }

    fn of(&mut self, kind: CheckpointKind) -> &mut Schedule {
        match kind {
            CheckpointKind::RecoveryPoints => &mut self.recovery_points,
            CheckpointKind::StartOffsets => &mut self.start_offsets,
        }
    }
}

/// What the checkpoints said when the node was opened.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) stop: StopKind,
    recovery_points: OffsetCheckpoint,
    start_offsets: OffsetCheckpoint,
}

impl Remembered {
    /// Nothing.
    pub(super) fn nothing() -> Self {
        Self {
            stop: StopKind::Clean,
            recovery_points: OffsetCheckpoint::default(),
            start_offsets: OffsetCheckpoint::default(),
        }
    }

    /// Reads both. Without recovery points everything is checked; without the start offsets deleted records would come
    /// back.
    pub(super) fn read(disk: &dyn Disk, folder: &Path, stop: StopKind) -> Result<Self, LogError> {
        let recovery_points = OffsetCheckpoint::read(disk, &CheckpointKind::RecoveryPoints.path(folder))
            .unwrap_or_else(|error| {
                let refusal = Refusal::storage(&error);
                tracing::warn!(%refusal, "without its recovery points every log is checked as a whole");
                OffsetCheckpoint::default()
            });
        let start_offsets = OffsetCheckpoint::read(disk, &CheckpointKind::StartOffsets.path(folder))?;
        Ok(Self { stop, recovery_points, start_offsets })
    }

    /// What is remembered of one partition.
    pub(super) fn of(&self, topic: &TopicName, slot: usize, id: TopicId) -> Opening {
        let partition = i32::try_from(slot).unwrap_or(i32::MAX);
        let in_it = |checkpoint: &OffsetCheckpoint| checkpoint.get(topic.as_str(), partition);
        Opening {
            stop: self.stop,
            topic_id: Some(id),
            start_offset: in_it(&self.start_offsets).unwrap_or(Offset::ZERO),
            recovery_point: in_it(&self.recovery_points).unwrap_or(Offset::ZERO),
        }
    }
}

impl Node {
    /// Something that a checkpoint says has changed: it is written in its time.
    pub(super) fn checkpoint_later(&mut self, now: Now, kind: CheckpointKind) {
        let interval_ms = match kind {
            CheckpointKind::RecoveryPoints => self.config.recovery_point_interval_ms(),
            CheckpointKind::StartOffsets => self.config.start_offset_interval_ms(),
        };
        self.checkpoints.of(kind).changed(now.monotonic.plus_ms(interval_ms));
    }

    /// Something that a checkpoint says has changed: it is written at once, and this answered then.
    pub(super) fn checkpoint_and_answer(
        &mut self,
        now: Now,
        kind: CheckpointKind,
        ticket: Ticket,
        reply: Reply,
    ) {
        let schedule = self.checkpoints.of(kind);
        schedule.changed(now.monotonic);
        schedule.waiting.push_back((schedule.version, ticket, reply));
    }

    /// A topic is gone: what the checkpoints say of it is taken out at once, for the next topic of this name.
    pub(super) fn forget_checkpoints(&mut self, now: Now, topic: &LocalTopic) {
        for kind in [CheckpointKind::RecoveryPoints, CheckpointKind::StartOffsets] {
            if topic.partitions.iter().flatten().any(|replica| kind.entry(&replica.log).is_some()) {
                self.checkpoints.of(kind).changed(now.monotonic);
            }
        }
    }

    /// What the checkpoints say of partitions that there are not is taken out: a crash came before that was done.
    pub(super) fn forget_remembered(&mut self, now: Now, remembered: &Remembered) {
        let stray = |checkpoint: &OffsetCheckpoint| {
            let is_here = |topic: &str, index| {
                let id = self.metadata.id_of(&TopicName::from(topic));
                id.is_some_and(|id| self.metadata.partition(id, PartitionIndex(index)).is_some())
            };
            checkpoint.iter().any(|(topic, index, _)| !is_here(topic, index))
        };
        let strays = [stray(&remembered.recovery_points), stray(&remembered.start_offsets)];
        let kinds = [CheckpointKind::RecoveryPoints, CheckpointKind::StartOffsets];
        for (kind, _) in kinds.into_iter().zip(strays).filter(|(_, stray)| *stray) {
            self.checkpoints.of(kind).changed(now.monotonic);
        }
    }

    /// Begins to write what is due.
    pub(super) fn begin_checkpoints(&mut self, now: Now, effects: &mut Effects) {
        for kind in [CheckpointKind::RecoveryPoints, CheckpointKind::StartOffsets] {
            if self.checkpoints.of(kind).begin(now.monotonic) {
                let (disk, path) = (Arc::clone(&self.disk), kind.path(&self.folder));
                let checkpoint = Box::new(self.checkpoint(kind));
                effects.push(Effect::Disk(DiskWork::Checkpoint { kind, disk, path, checkpoint }));
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
        if let Some(refusal) = &refusal {
            tracing::error!(?kind, %refusal, "a checkpoint could not be written");
            // What it was to say is still to be said.
            self.checkpoint_later(now, kind);
        }
        let schedule = self.checkpoints.of(kind);
        let Some(version) = schedule.in_flight.take() else { return };
        schedule.written = schedule.written.max(version);
        while schedule.waiting.front().is_some_and(|(needs, _, _)| *needs <= version) {
            let Some((_, ticket, mut reply)) = schedule.waiting.pop_front() else { break };
            if let Some(refusal) = &refusal {
                reply.refuse(refusal);
            }
            effects.push(Effect::Reply(ticket, reply));
        }
    }

    pub(super) fn checkpoint(&self, kind: CheckpointKind) -> OffsetCheckpoint {
        let mut checkpoint = OffsetCheckpoint::default();
        for (name, partition, log) in self.logs() {
            if let Some(offset) = kind.entry(log) {
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
