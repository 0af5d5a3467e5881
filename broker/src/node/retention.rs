//! What goes from the front of the logs: by time and size, because somebody asks for it, and to make room.
//!
//! A log begins later at once, its files are renamed in the step and unlinked later (`file.delete.delay.ms`). A reader
//! that stood where nothing is any more is told so.

use std::collections::BTreeMap;

use highwater_storage::{Removed, TimestampMs};

use super::{CheckpointKind, DiskWork, Effect, Effects, LocalTopic, Node, Replica};
use crate::config::BrokerConfig;
use crate::ids::{Monotonic, Now, PartitionIndex, TopicName};
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

/// How many segments one turn takes away before others get theirs.
const TURN_SEGMENTS: usize = 64;
/// How many segments one batch may push out before others get their turn.
const TURN_ROOM_SEGMENTS: usize = 16;
/// How soon a pass goes on that gave way to others.
const NEXT_TURN_MICROS: u64 = 100;

/// When retention is looked at, and what waits to be unlinked.
#[derive(Debug)]
pub(super) struct Expiry {
    next_check: Monotonic,
    removals: BTreeMap<(Monotonic, u64), Removed>,
    /// Tells apart removals that are due at the same time.
    removed: u64,
    /// What the partitions hold on disk: as of the last count of each, and what was appended since.
    pub(super) used_bytes: u64,
    /// `highwater.disk.max.bytes`.
    pub(super) limit_bytes: Option<u64>,
}

impl Expiry {
    pub(super) fn new(config: &BrokerConfig, now: Monotonic) -> Self {
        Self {
            next_check: now.plus_micros(config.initial_task_delay_micros()),
            removals: BTreeMap::new(),
            removed: 0,
            used_bytes: 0,
            limit_bytes: config.disk_max_bytes(),
        }
    }

    pub(super) fn next_deadline(&self) -> Monotonic {
        self.removals.first_key_value().map_or(self.next_check, |((due, _), _)| self.next_check.min(*due))
    }

    /// Looks for old segments then, if not sooner.
    pub(super) fn check_at(&mut self, at: Monotonic) {
        self.next_check = self.next_check.min(at);
    }

    fn remove_at(&mut self, due: Monotonic, removed: Removed) {
        self.removed += 1;
        self.removals.insert((due, self.removed), removed);
    }
}

impl Node {
    /// Looks for what retention does not keep, if it is time, and unlinks what is due.
    pub(super) fn expire(&mut self, now: Now, effects: &mut Effects) {
        if now.monotonic >= self.expiry.next_check {
            let went = self.expire_logs(now, effects);
            let micros = self.config.retention_check_micros();
            let pause = if went < TURN_SEGMENTS { micros } else { NEXT_TURN_MICROS };
            self.expiry.next_check = now.monotonic.plus_micros(pause);
        }
        while let Some(entry) = self.expiry.removals.first_entry().filter(|e| e.key().0 <= now.monotonic) {
            effects.push(Effect::Disk(DiskWork::RemoveSegments(entry.remove())));
        }
    }

    /// Takes away what retention does not keep, at most about [`TURN_SEGMENTS`]; says how many.
    fn expire_logs(&mut self, now: Now, effects: &mut Effects) -> usize {
        let mut went = Vec::new();
        let mut count = 0;
        let mut entries_changed = false;
        'all: for (id, topic) in &mut self.topics {
            let config = &topic.config;
            for (index, replica) in (0..).zip(&mut topic.partitions) {
                let Ok(replica) = replica else { continue };
                let partition = (*id, PartitionIndex(index));
                if replica.log.poisoned().is_some() || self.compactions.hold_retention(partition) {
                    continue;
                }
                let high_watermark = replica.positions().high_watermark;
                let entry = CheckpointKind::StartOffsets.entry(replica);
                // A log gives some segments at a time.
                while count < TURN_SEGMENTS {
                    match replica.log.expire(config.retention, high_watermark, now.wall) {
                        Ok(None) => break,
                        Ok(Some(removed)) => {
                            count += removed.segments();
                            went.push((partition, removed, config.file_delete_delay_micros));
                        }
                        Err(error) => {
                            let (dir, refusal) = (replica.log.dir().display(), Refusal::storage(&error));
                            tracing::error!(log = %dir, %refusal, "old segments cannot be removed");
                            break;
                        }
                    }
                }
                entries_changed |= entry != CheckpointKind::StartOffsets.entry(replica);
                if count >= TURN_SEGMENTS {
                    break 'all;
                }
            }
        }
        if entries_changed {
            self.checkpoint_later(now, CheckpointKind::StartOffsets);
        }
        for (partition, removed, delay_micros) in went {
            self.began_later(now, partition, effects);
            self.say_removed(partition, &removed, "they are older, or more, than is kept");
            self.count(partition);
            self.remove_later(now, removed, delay_micros);
        }
        count
    }

    /// Unlinks what is no part of its log any more, when whoever reads it has had time.
    pub(super) fn remove_later(&mut self, now: Now, removed: Removed, delay_micros: u64) {
        // Where there is a limit, what waits to be unlinked would go beyond it.
        let delay_micros = if self.expiry.limit_bytes.is_some() { 0 } else { delay_micros };
        self.expiry.remove_at(now.monotonic.plus_micros(delay_micros), removed);
    }

    fn say_removed(&self, partition: Watched, removed: &Removed, why: &str) {
        let topic = self.name_of(partition.0).map_or("", TopicName::as_str);
        tracing::info!(
            topic,
            partition = %partition.1,
            segments = removed.segments(),
            bytes = removed.bytes(),
            start_offset = %removed.start_offset(),
            "removed the oldest segments: {why}"
        );
    }

    /// A partition's log begins later now: who follows it hears of that, and who leads it.
    pub(super) fn began_later(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        if let Ok(replica) = self.replica_mut(partition.0, partition.1) {
            replica.began_later();
            self.serving.began_later(partition);
            self.following.changed(partition);
            self.wake_fetches(now, partition, effects);
            self.wake_deletions(now, partition, effects);
        }
    }

    /// Whether `bytes` more fit below `highwater.disk.max.bytes`; takes away the oldest segments of the node where they
    /// do not: of what it leads and of what it follows alike, as Kafka's retention by size does.
    pub(super) fn make_room(
        &mut self,
        now: Now,
        bytes: usize,
        limit: u64,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let full =
            |why| Err(Refusal::DiskFull { message: format!("highwater.disk.max.bytes={limit}, and {why}") });
        if bytes > limit {
            return full("the batch alone is larger");
        }
        let mut gone = 0;
        while self.expiry.used_bytes.saturating_add(bytes) > limit {
            if gone == TURN_ROOM_SEGMENTS {
                return full("there is more to be removed before there is room");
            }
            let Some(partition) = self.oldest_partition() else { return full("no old segment may go") };
            let replica = self.replica_mut(partition.0, partition.1)?;
            let high_watermark = replica.positions().high_watermark;
            let entry = CheckpointKind::StartOffsets.entry(replica);
            let removed = replica.log.remove_oldest_segment(high_watermark, now.wall);
            if entry != CheckpointKind::StartOffsets.entry(replica) {
                self.checkpoint_later(now, CheckpointKind::StartOffsets);
            }
            let removed = removed.map_err(|error| Refusal::storage(&error))?;
            let Some(removed) = removed else { return full("no old segment may go") };
            gone += 1;
            self.compactions.stop_void(partition);
            self.count(partition);
            self.began_later(now, partition, effects);
            self.say_removed(partition, &removed, "highwater.disk.max.bytes is reached");
            effects.push(Effect::Disk(DiskWork::RemoveSegments(removed)));
        }
        Ok(())
    }

    /// Counts one partition's files anew: its log rolled, or lost segments. Between two counts only the batches appended are
    /// added, for a log may have thousands of files.
    pub(super) fn count(&mut self, partition: Watched) {
        let Ok(replica) = self.replica_mut(partition.0, partition.1) else { return };
        let counted = std::mem::replace(&mut replica.counted_bytes, replica.log.disk_bytes());
        let now = replica.counted_bytes;
        self.expiry.used_bytes = self.expiry.used_bytes.saturating_sub(counted).saturating_add(now);
    }

    /// Counts everything.
    pub(super) fn count_all(&mut self) {
        let partitions = self.topics.iter().flat_map(|(id, topic)| {
            (0..).zip(&topic.partitions).map(|(index, _)| (*id, PartitionIndex(index)))
        });
        for partition in partitions.collect::<Vec<_>>() {
            self.count(partition);
        }
    }

    /// A topic is gone, and its files are on their way out.
    pub(super) fn count_out(&mut self, topic: &LocalTopic) {
        let counted: u64 = topic.partitions.iter().flatten().map(|replica| replica.counted_bytes).sum();
        self.expiry.used_bytes = self.expiry.used_bytes.saturating_sub(counted);
    }

    /// The partition that holds the oldest segment of all that may go; first of those that nobody can read any more.
    fn oldest_partition(&self) -> Option<Watched> {
        let mut oldest = None::<((bool, TimestampMs), Watched)>;
        for (id, topic) in self.topics.iter().filter(|(_, topic)| topic.config.is_deleted) {
            for (index, replica) in (0..).zip(&topic.partitions) {
                let Ok(replica) = replica else { continue };
                let facts = replica.log.oldest();
                let may_go = facts.size_bytes > 0
                    && facts.end_offset <= replica.positions().high_watermark
                    && replica.log.poisoned().is_none();
                let rank = (facts.end_offset > replica.log.start_offset(), facts.latest);
                if may_go && oldest.is_none_or(|(first, _)| rank < first) {
                    oldest = Some((rank, (*id, PartitionIndex(index))));
                }
            }
        }
        oldest.map(|(_, partition)| partition)
    }

    /// Every replica there is, with its name.
    pub(super) fn replicas(&self) -> impl Iterator<Item = (&TopicName, PartitionIndex, &Replica)> {
        self.topics.iter().filter_map(|(id, topic)| Some((self.name_of(*id)?, topic))).flat_map(
            |(name, topic)| {
                let replicas = (0..).map(PartitionIndex).zip(&topic.partitions);
                replicas.filter_map(move |(index, replica)| Some((name, index, replica.as_ref().ok()?)))
            },
        )
    }
}
