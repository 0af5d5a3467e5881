//! What is synced and when, and who is answered after it.
//!
//! Nothing waits in a step: a sync is an effect, its end an event. Where records are synced before they are
//! acknowledged (`highwater.durability`, `flush.messages`), the high watermark follows the syncs, so that nobody sees what
//! could still be lost. A failed sync poisons its log: whoever waits for it is told so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use highwater_storage::{LogError, Offset, Synced, TopicId};

use super::{CheckpointKind, ConnectionId, DiskWork, Effect, Effects, Node, Reply, Ticket};
use crate::ids::{Monotonic, Now, PartitionIndex};
use crate::partition::group_commit::GroupCommit;
use crate::partition::leader::SyncEvery;
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

/// The cluster's log among the partitions that are synced.
const CLUSTER: Watched = (TopicId::METADATA, PartitionIndex(0));

/// What is to be synced.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    commit: GroupCommit,
    /// Partitions whose `flush.ms` runs, by the time at which it is over.
    due: BTreeSet<(Monotonic, Watched)>,
    /// Partitions that rolled and whose closed segments are to be flushed.
    rolled: BTreeSet<Watched>,
    /// Answers that wait for the cluster's log to be durable below an offset, in order.
    replies: VecDeque<(Offset, Ticket, Reply)>,
    /// Topics that are not durable yet where they must be, with where the cluster's log ended after them.
    young_topics: BTreeMap<TopicId, Offset>,
}

impl Syncs {
    /// When `flush.ms` is over for a partition.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.due.first().map(|(at, _)| *at)
    }

    #[cfg(test)]
    pub(super) fn timers(&self) -> usize {
        self.due.len()
    }

    pub(super) fn next_turn(&self) -> Option<Monotonic> {
        self.commit.deadline()
    }

    /// Takes a partition for a sync of its own; false while another one of it is under way.
    pub(super) fn occupy(&mut self, partition: Watched) -> bool {
        self.commit.occupy(partition)
    }

    /// That sync has come to its end, or will not be made.
    pub(super) fn vacate(&mut self, partition: Watched) {
        self.commit.vacate(partition);
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.commit.forget(connection);
        self.replies.retain(|(_, ticket, _)| ticket.connection != connection);
    }
}

impl Node {
    /// Something was appended to a partition of a topic with `flush.ms`: it runs now, if it does not yet.
    pub(super) fn sync_within(&mut self, now: Now, partition: Watched, flush_ms: i64) {
        let Ok(replica) = self.replica_mut(partition.0, partition.1) else { return };
        if replica.flush_due.is_none() {
            let micros = u64::try_from(flush_ms).unwrap_or(0).saturating_mul(1_000);
            let due = now.monotonic.plus_micros(micros);
            replica.flush_due = Some(due);
            self.syncs.due.insert((due, partition));
        }
    }

    /// `flush.ms` does not run for a partition any more, until it is said again.
    pub(super) fn stop_sync_timer(&mut self, partition: Watched) {
        let Ok(replica) = self.replica_mut(partition.0, partition.1) else { return };
        if let Some(due) = replica.flush_due.take() {
            self.syncs.due.remove(&(due, partition));
        }
    }

    /// A partition's records are to be synced, and `who` waits for it.
    pub(super) fn want_sync(&mut self, partition: Watched, who: Option<ConnectionId>) {
        self.syncs.commit.want(partition, who);
    }

    /// Begins the next turn of syncs if it is time.
    pub(super) fn begin_syncs(&mut self, now: Now, effects: &mut Effects) {
        while let Some(&(at, partition)) = self.syncs.due.first() {
            if at > now.monotonic {
                break;
            }
            self.syncs.due.pop_first();
            if let Ok(replica) = self.replica_mut(partition.0, partition.1) {
                replica.flush_due = None;
                self.syncs.commit.want(partition, None);
            }
        }
        self.begin_flushes(effects);
        for partition in self.syncs.commit.begin(now.monotonic) {
            let (topic, index) = partition;
            let log = if partition == CLUSTER {
                Some(&self.cluster_log)
            } else {
                self.replica(topic, index).ok().map(|replica| &replica.log)
            };
            match log.filter(|log| log.poisoned().is_none()) {
                Some(log) => {
                    let handle = Box::new(log.sync_handle());
                    let work = DiskWork::Sync { topic, partition: index, handle };
                    effects.push(Effect::Disk(work));
                }
                None => {
                    self.syncs.commit.ended(now.monotonic, partition);
                    self.wake_produces(partition, effects);
                    self.wake_group_answers(partition, effects);
                }
            }
        }
    }

    /// A partition began a new segment: those before it are flushed in the background.
    pub(super) fn flush_closed_segments(&mut self, partition: Watched) {
        self.syncs.rolled.insert(partition);
    }

    fn begin_flushes(&mut self, effects: &mut Effects) {
        if self.syncs.rolled.is_empty() {
            return;
        }
        let rolled = std::mem::take(&mut self.syncs.rolled);
        let (free, busy) = rolled.into_iter().partition(|partition| self.syncs.commit.occupy(*partition));
        self.syncs.rolled = busy;
        let free: BTreeSet<Watched> = free;
        for (topic, partition) in free {
            match self.replica(topic, partition) {
                Ok(replica) if replica.log.poisoned().is_none() => {
                    let handle = Box::new(replica.log.flush_handle());
                    effects.push(Effect::Disk(DiskWork::Flush { topic, partition, handle }));
                }
                _ => self.syncs.commit.vacate((topic, partition)),
            }
        }
    }

    /// A flush came to its end: what it made durable counts as synced, and recovery need not look at it.
    pub(super) fn flushed(
        &mut self,
        now: Now,
        partition: Watched,
        outcome: Result<Synced, LogError>,
        effects: &mut Effects,
    ) {
        self.syncs.commit.vacate(partition);
        let flushed = outcome.as_ref().ok().copied();
        self.note_synced(now, partition, outcome, effects);
        if flushed.is_some() {
            self.checkpoint_later(now, CheckpointKind::RecoveryPoints);
        }
        self.flushed_for_pass(now, partition, flushed, effects);
    }

    /// A sync came to its end.
    pub(super) fn synced(
        &mut self,
        now: Now,
        partition: Watched,
        outcome: Result<Synced, LogError>,
        effects: &mut Effects,
    ) {
        self.syncs.commit.ended(now.monotonic, partition);
        if partition == CLUSTER {
            return self.cluster_synced(now, outcome, effects);
        }
        self.note_synced(now, partition, outcome, effects);
    }

    fn note_synced(
        &mut self,
        now: Now,
        partition: Watched,
        outcome: Result<Synced, LogError>,
        effects: &mut Effects,
    ) {
        let Ok((replica, config)) = self.replica_and_config(partition) else { return };
        let every = SyncEvery(config.flush_messages);
        let moved = match outcome {
            Ok(done) => {
                replica.log.synced(done);
                replica.leader.synced(replica.log.synced_offset(), every)
            }
            Err(error) => {
                let (dir, refusal) = (replica.log.dir().display(), Refusal::storage(&error));
                tracing::error!(log = %dir, %refusal, "a sync failed");
                replica.log.poison(&refusal.to_string());
                false
            }
        };
        if moved {
            self.wake_fetches(now, partition, effects);
        }
        self.wake_produces(partition, effects);
        self.wake_group_answers(partition, effects);
    }

    fn cluster_synced(&mut self, now: Now, outcome: Result<Synced, LogError>, effects: &mut Effects) {
        let refusal = match outcome {
            Ok(done) => {
                self.cluster_log.synced(done);
                self.make_durable_changes(now, effects);
                None
            }
            Err(error) => {
                let refusal = Refusal::storage(&error);
                tracing::error!(%refusal, "a sync of the cluster's log failed");
                self.cluster_log.poison(&refusal.to_string());
                self.changes.give_up();
                Some(refusal)
            }
        };
        let durable = self.cluster_log.synced_offset();
        self.syncs.young_topics.retain(|_, needs| *needs > durable);
        while let Some((needs, _, _)) = self.syncs.replies.front() {
            if refusal.is_none() && *needs > durable {
                break;
            }
            let Some((_, ticket, mut reply)) = self.syncs.replies.pop_front() else { break };
            if let Some(refusal) = &refusal {
                self.refuse_in_doubt(&mut reply, refusal);
            }
            effects.push(Effect::Reply(ticket, reply));
        }
    }

    /// A topic was made: where that is promised, nothing is taken for it and nobody told of it before it is durable.
    pub(super) fn not_durable_yet(&mut self, id: TopicId) {
        if self.config.is_durable() {
            self.syncs.young_topics.insert(id, self.cluster_log.end_offset());
        }
    }

    /// Refuses a topic that nobody has been told of, or ever will.
    pub(super) fn check_is_durable(&self, id: TopicId) -> Result<(), Refusal> {
        match (self.syncs.young_topics.contains_key(&id), self.cluster_log.poisoned()) {
            (false, _) => Ok(()),
            (true, None) => Err(Refusal::UnknownTopicOrPartition),
            (true, Some(why)) => Err(Refusal::Storage { message: why.to_owned() }),
        }
    }

    /// The cluster's log failed: what the answer rests on and may be lost is refused.
    fn refuse_in_doubt(&self, reply: &mut Reply, refusal: &Refusal) {
        let Some(topics) = reply.told_topics() else { return reply.refuse(refusal) };
        let in_doubt = topics.iter_mut().filter(|topic| self.syncs.young_topics.contains_key(&topic.id));
        in_doubt.for_each(|topic| topic.refusal = Some(refusal.clone()));
    }

    /// Answers a request that rests on the cluster's log below `needs`, once that is durable.
    pub(super) fn answer_when_durable(
        &mut self,
        ticket: Ticket,
        mut reply: Reply,
        needs: Offset,
        effects: &mut Effects,
    ) {
        if self.cluster_log.synced_offset() >= needs {
            return effects.push(Effect::Reply(ticket, reply));
        }
        if let Some(why) = self.cluster_log.poisoned() {
            self.refuse_in_doubt(&mut reply, &Refusal::Storage { message: why.to_owned() });
            return effects.push(Effect::Reply(ticket, reply));
        }
        self.syncs.commit.want(CLUSTER, Some(ticket.connection));
        self.syncs.replies.push_back((needs, ticket, reply));
    }
}
