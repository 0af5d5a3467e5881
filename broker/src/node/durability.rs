//! What is synced and when, and who is answered after it.
//!
//! Nothing waits in a step: a sync is an effect, its end an event. Where records are synced before they are
//! acknowledged (`highwater.durability`, `flush.messages`), the high watermark follows the syncs, so that nobody sees what
//! could still be lost. A failed sync poisons its log: whoever waits for it is told so.

use std::collections::BTreeSet;

use highwater_storage::{LogError, Synced};

use super::replica::{Birth, Replica, Role};
use super::{CheckpointKind, ConnectionId, DiskWork, Effect, Effects, Node};
use crate::ids::{Monotonic, Now};
use crate::partition::group_commit::GroupCommit;
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

/// What is to be synced.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    commit: GroupCommit,
    /// Partitions whose `flush.ms` runs, by the time at which it is over.
    due: BTreeSet<(Monotonic, Watched)>,
    /// Partitions that rolled and whose closed segments are to be flushed.
    rolled: BTreeSet<Watched>,
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
            let replica = self.replica(topic, index).ok();
            match replica.filter(|replica| replica.log.poisoned().is_none()) {
                Some(Replica { log, birth, .. }) => {
                    let (handle, birth) = (Box::new(log.sync_handle()), *birth);
                    let work = DiskWork::Sync { topic, partition: index, birth, handle };
                    effects.push(Effect::Disk(work));
                }
                None => {
                    self.syncs.commit.ended(now.monotonic, partition);
                    self.wake_produces(partition, effects);
                    self.wake_markers(partition, effects);
                    self.wake_coordinator(now, partition, effects);
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
                    let (handle, birth) = (Box::new(replica.log.flush_handle()), replica.birth);
                    effects.push(Effect::Disk(DiskWork::Flush { topic, partition, birth, handle }));
                }
                _ => self.syncs.commit.vacate((topic, partition)),
            }
        }
    }

    /// A flush came to its end: what it made durable counts as synced, and recovery need not look at it.
    pub(super) fn flushed(
        &mut self,
        now: Now,
        (partition, birth): (Watched, Birth),
        outcome: Result<Synced, LogError>,
        effects: &mut Effects,
    ) {
        self.syncs.commit.vacate(partition);
        let flushed = outcome.as_ref().ok().copied();
        self.note_synced(now, (partition, birth), outcome, effects);
        if flushed.is_some() {
            self.checkpoint_later(now, CheckpointKind::RecoveryPoints);
        }
        self.flushed_for_pass(now, partition, flushed, effects);
    }

    /// A sync came to its end.
    pub(super) fn synced(
        &mut self,
        now: Now,
        (partition, birth): (Watched, Birth),
        outcome: Result<Synced, LogError>,
        effects: &mut Effects,
    ) {
        self.syncs.commit.ended(now.monotonic, partition);
        self.note_synced(now, (partition, birth), outcome, effects);
    }

    fn note_synced(
        &mut self,
        now: Now,
        (partition, birth): (Watched, Birth),
        outcome: Result<Synced, LogError>,
        effects: &mut Effects,
    ) {
        let Some(topic) = self.topics.get_mut(&partition.0) else { return };
        let rules = topic.rules;
        let Ok(replica) = topic.replica_mut(partition.1) else { return };
        if replica.birth != birth {
            return;
        }
        let moved = match outcome {
            Ok(done) => {
                replica.log.synced(done);
                let synced = replica.log.synced_offset();
                match &mut replica.role {
                    Role::Leads(leader, _) => {
                        let moved = leader.became_durable(now.monotonic, synced, &rules);
                        replica.note_undecided();
                        moved
                    }
                    Role::Follows(_) => {
                        if rules.all_synced {
                            self.following.changed(partition);
                        }
                        false
                    }
                }
            }
            Err(error) => {
                let (dir, refusal) = (replica.log.dir().display(), Refusal::storage(&error));
                tracing::error!(log = %dir, %refusal, "a sync failed");
                replica.log.poison(&refusal.to_string());
                self.log_failed(partition);
                false
            }
        };
        if moved {
            return self.high_watermark_moved(now, partition, effects);
        }
        self.wake_produces(partition, effects);
        self.wake_markers(partition, effects);
        self.wake_coordinator(now, partition, effects);
    }
}
