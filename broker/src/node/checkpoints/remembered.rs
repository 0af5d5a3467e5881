//! What the checkpoints said when the node was opened.

use std::path::Path;

use highwater_storage::checkpoint::OffsetCheckpoint;
use highwater_storage::disk::Disk;
use highwater_storage::{LogError, Offset, Opening, StopKind, TopicId};

use super::{CheckpointKind, partition_of};
use crate::ids::{PartitionIndex, TopicName};
use crate::refusal::Refusal;

/// What the checkpoints said when the node was opened.
#[derive(Debug)]
pub(in crate::node) struct Remembered {
    pub(in crate::node) stop: StopKind,
    pub(super) recovery_points: OffsetCheckpoint,
    pub(super) start_offsets: OffsetCheckpoint,
    pub(super) cleaner_offsets: OffsetCheckpoint,
    pub(super) high_watermarks: OffsetCheckpoint,
    /// Nothing of what was compacted is known, rather than that nothing was.
    are_cleaner_offsets_lost: bool,
}

impl Remembered {
    /// Nothing.
    pub(in crate::node) fn nothing() -> Self {
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
    pub(in crate::node) fn read(disk: &dyn Disk, folder: &Path, stop: StopKind) -> Result<Self, LogError> {
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
    pub(in crate::node) fn speaks_of(&self, topic: &TopicName, partition: PartitionIndex) -> bool {
        let all = [&self.recovery_points, &self.start_offsets, &self.cleaner_offsets, &self.high_watermarks];
        all.into_iter().any(|checkpoint| checkpoint.get(topic.as_str(), partition.0).is_some())
    }

    /// How far one partition was known to be committed.
    pub(in crate::node) fn high_watermark(&self, topic: &TopicName, slot: usize) -> Offset {
        let partition = i32::try_from(slot).unwrap_or(i32::MAX);
        self.high_watermarks.get(topic.as_str(), partition).unwrap_or(Offset::ZERO)
    }

    /// How far one partition is compacted.
    pub(in crate::node) fn clean_upto(&self, topic: &TopicName, slot: usize) -> Option<Offset> {
        let partition = partition_of(slot);
        let clean_upto = self.cleaner_offsets.get(topic.as_str(), partition);
        clean_upto.filter(|upto| *upto > Offset::ZERO)
    }

    /// What is remembered of one partition. A compacted log may be of Kafka's making, whose passes leave gaps: where it is
    /// lost how far they came, every gap may be theirs.
    pub(in crate::node) fn of(
        &self,
        topic: &TopicName,
        slot: usize,
        id: TopicId,
        is_compacted: bool,
    ) -> Opening {
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
