//! What a checkpoint says of a log is out of it before another log takes that one's place: a topic of the same name, a
//! replica that comes back, the records that follow a cut.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_storage::Offset;
use highwater_storage::checkpoint::OffsetCheckpoint;

use super::CheckpointKind;
use crate::ids::{Now, PartitionIndex, TopicName};
use crate::node::replica::Replica;
use crate::node::{LocalTopic, Node};
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

impl Node {
    /// A topic is gone: what the checkpoints say of it is taken out at once, for the next topic of this name.
    pub(in crate::node) fn forget_checkpoints(&mut self, now: Now, name: &TopicName, topic: &LocalTopic) {
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
    pub(in crate::node) fn forget_checkpoints_of_one(
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
    pub(in crate::node) fn settle_made_anew(&mut self, partitions: &[Watched]) {
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
    pub(in crate::node) fn settle_checkpoints(&mut self, names: &[&TopicName]) -> Result<(), Refusal> {
        for kind in CheckpointKind::ALL {
            let schedule = self.checkpoints.of(kind);
            if self.checkpoints.is_held_back(kind) {
                // What cannot be read speaks of nobody.
                continue;
            }
            if schedule.gone.iter().any(|(_, gone)| names.contains(&gone)) {
                self.write_at_once(kind, self.checkpoint(kind))?;
            }
        }
        Ok(())
    }

    fn write_at_once(&mut self, kind: CheckpointKind, checkpoint: OffsetCheckpoint) -> Result<(), Refusal> {
        let schedule = self.checkpoints.of_mut(kind);
        let version = schedule.version;
        match schedule.file.write(version, &checkpoint) {
            Ok(()) => {
                schedule.wrote(version, Arc::new(checkpoint));
                Ok(())
            }
            Err(error) => {
                schedule.not_written();
                Err(Refusal::storage(&error))
            }
        }
    }

    /// Logs are about to be cut: what comes in place of what goes is neither durable nor compacted. Written down before, here
    /// and now (`LogManager.truncateTo`, `LogCleanerManager.maybeTruncateCheckpoint`): else what a power cut takes of it passed
    /// for damage of what was durable, and a lost end for a gap that compaction left.
    pub(in crate::node) fn lower_checkpoints(
        &mut self,
        now: Now,
        cuts: &[(Watched, Offset)],
    ) -> Result<(), Refusal> {
        self.lower(now, CheckpointKind::RecoveryPoints, cuts)?;
        // One that cannot be read speaks of nobody.
        if self.checkpoints.is_held_back(CheckpointKind::CleanerOffsets) {
            return Ok(());
        }
        self.lower(now, CheckpointKind::CleanerOffsets, cuts)
    }

    /// One file for all of them, and none where it says no more of them than is left.
    fn lower(&mut self, now: Now, kind: CheckpointKind, cuts: &[(Watched, Offset)]) -> Result<(), Refusal> {
        let schedule = self.checkpoints.of(kind);
        let exceeds = |((topic, partition), at): &(Watched, Offset)| {
            self.name_of(*topic).is_some_and(|name| schedule.may_exceed(name, *partition, *at))
        };
        if !cuts.iter().any(exceeds) {
            return Ok(());
        }
        let mut checkpoint = self.checkpoint(kind);
        for ((topic, partition), at) in cuts {
            let Some(name) = self.name_of(*topic) else { continue };
            if checkpoint.get(name.as_str(), partition.0).is_some_and(|point| point > *at) {
                checkpoint.insert(name.as_str(), partition.0, *at);
            }
        }
        self.checkpoint_later(now, kind);
        self.write_at_once(kind, checkpoint)
    }
}
