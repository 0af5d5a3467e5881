//! DeleteRecords: records go because somebody asks for it (`ReplicaManager.deleteRecords`, semantics, section 5.4).
//!
//! The leader's log begins later at once, and its followers hear of it. It is answered when the logs of all live replicas
//! begin there (`DelayedDeleteRecords`): then no change of leaders brings back what was deleted. And it is written down by then,
//! so that no crash does.

use highwater_storage::Offset;

use super::{
    CheckpointKind, DeleteRecordsRequest, DeletedRecords, Effects, Node, RecordsToDelete, Reply, Ticket,
};
use crate::ids::Now;
use crate::partition::parked::{MAX_WAIT_MS, Watched};
use crate::refusal::Refusal;

/// What a request says for the high watermark (`DeleteRecordsRequest.HIGH_WATERMARK`).
const HIGH_WATERMARK: Offset = Offset::new(-1);

/// A request that waits for followers.
#[derive(Debug)]
pub(super) struct ParkedDeletion {
    pub(super) ticket: Ticket,
    parts: Vec<Part>,
}

/// What it asks of one partition, and how far that is.
#[derive(Debug)]
struct Part {
    asked: RecordsToDelete,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// The logs of all live replicas are to begin at an offset, as the leader's does.
    Waits {
        partition: Watched,
        below: Offset,
        /// Where the first of them began when it was asked for: who waits in vain is told that, as in Kafka.
        low_watermark: Option<Offset>,
    },
    /// Where they begin, or why they never will; it stays so, whatever becomes of the partition while others are waited for.
    Decided(Result<Offset, Refusal>),
}

impl Standing {
    fn is_decided(&self) -> bool {
        matches!(self, Self::Decided(_))
    }
}

impl Node {
    pub(super) fn delete_records(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: DeleteRecordsRequest,
        effects: &mut Effects,
    ) {
        let mut rose = false;
        let mut parts = Vec::with_capacity(request.partitions.len());
        for asked in request.partitions {
            let standing = match self.delete_below(now, &asked, &mut rose, effects) {
                Ok((partition, below)) => {
                    let low_watermark = self.low_watermark(partition).ok().flatten();
                    Standing::Waits { partition, below, low_watermark }
                }
                Err(refusal) => Standing::Decided(Err(refusal)),
            };
            parts.push(Part { asked, standing });
        }
        if rose {
            self.checkpoint_at_once(now, CheckpointKind::StartOffsets);
        }
        let is_decided = self.decide_deletions(&mut parts);
        let deletion = ParkedDeletion { ticket, parts };
        if is_decided {
            return self.answer_deletion(now, deletion, effects);
        }
        let deadline = now.monotonic.plus_ms(request.timeout_ms.clamp(0, MAX_WAIT_MS));
        let watched = |part: &Part| match part.standing {
            Standing::Waits { partition, .. } => Some(partition),
            Standing::Decided(_) => None,
        };
        let watches = deletion.parts.iter().filter_map(watched).collect();
        self.parked_deletions.park(deletion, deadline, watches);
    }

    /// In Kafka's order of checks; where the leader's log begins now, at the least.
    fn delete_below(
        &mut self,
        now: Now,
        asked: &RecordsToDelete,
        rose: &mut bool,
        effects: &mut Effects,
    ) -> Result<(Watched, Offset), Refusal> {
        let id = self.metadata.id_of(&asked.topic).ok_or(Refusal::UnknownTopicOrPartition)?;
        self.metadata.partition(id, asked.partition).ok_or(Refusal::UnknownTopicOrPartition)?;
        if asked.topic.is_internal() {
            return Err(Refusal::InternalTopic);
        }
        let partition = (id, asked.partition);
        let (replica, config) = self.replica_and_config(partition)?;
        replica.leader()?;
        if let Some(why) = replica.log.poisoned() {
            return Err(Refusal::Storage { message: why.to_owned() });
        }
        if config.compaction.is_some() && !config.is_deleted {
            let message = format!(
                "Records of partition {}-{} can not be deleted due to the configured policy",
                asked.topic, asked.partition
            );
            return Err(Refusal::PolicyViolation { message });
        }
        let high_watermark = replica.positions().high_watermark;
        let below = if asked.below == HIGH_WATERMARK { high_watermark } else { asked.below };
        if below < Offset::ZERO || below > high_watermark {
            return Err(Refusal::OffsetOutOfRange);
        }
        if replica.log.advance_start_offset(below, high_watermark) {
            *rose = true;
            self.began_later(now, partition, effects);
        }
        Ok((partition, below))
    }

    /// Looks at what is not decided yet; tells whether everything is then.
    fn decide_deletions(&self, parts: &mut [Part]) -> bool {
        for part in &mut *parts {
            let Standing::Waits { partition, below, .. } = part.standing else { continue };
            let reached = self.low_watermark(partition).map(|low| low.filter(|low| *low >= below));
            if let Some(decided) = reached.transpose() {
                part.standing = Standing::Decided(decided);
            }
        }
        parts.iter().all(|part| part.standing.is_decided())
    }

    /// Where the logs of all live replicas of a partition begin that this node leads; none while one of them has not said.
    fn low_watermark(&self, (topic, partition): Watched) -> Result<Option<Offset>, Refusal> {
        let (replica, leader) = self.led(topic, partition)?;
        match replica.log.poisoned() {
            Some(why) => Err(Refusal::Storage { message: why.to_owned() }),
            None => Ok(leader.low_watermark()),
        }
    }

    fn answer_deletion(&mut self, now: Now, deletion: ParkedDeletion, effects: &mut Effects) {
        let ParkedDeletion { ticket, parts } = deletion;
        let done = parts.into_iter().map(|Part { asked, standing }| {
            let (low_watermark, outcome) = match standing {
                Standing::Waits { low_watermark, .. } => (low_watermark, Err(Refusal::TimedOut)),
                Standing::Decided(Ok(low_watermark)) => (Some(low_watermark), Ok(())),
                Standing::Decided(Err(refusal)) => (None, Err(refusal)),
            };
            DeletedRecords { topic: asked.topic, partition: asked.partition, low_watermark, outcome }
        });
        let reply = Reply::DeleteRecords(done.collect());
        self.answer_when_starts_are_written(now, (ticket, reply), effects);
    }

    /// A replica of this partition begins later, or its leader is another one: whoever waits for that is looked at.
    pub(super) fn wake_deletions(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        for parked in self.parked_deletions.watching(partition) {
            let parts = self.parked_deletions.get_mut(parked).map(|deletion| &mut deletion.parts);
            let mut parts = parts.map(std::mem::take).unwrap_or_default();
            let is_decided = self.decide_deletions(&mut parts);
            if let Some(deletion) = self.parked_deletions.get_mut(parked) {
                deletion.parts = parts;
            }
            if is_decided && let Some(deletion) = self.parked_deletions.release(parked) {
                self.answer_deletion(now, deletion, effects);
            }
        }
    }

    /// Nodes came or went: who waits for one that is gone is looked at.
    pub(super) fn wake_all_deletions(&mut self, now: Now, effects: &mut Effects) {
        for partition in self.parked_deletions.watched() {
            self.wake_deletions(now, partition, effects);
        }
    }

    pub(super) fn release_due_deletions(&mut self, now: Now, effects: &mut Effects) {
        while let Some(deletion) = self.parked_deletions.release_due(now.monotonic) {
            self.answer_deletion(now, deletion, effects);
        }
    }
}
