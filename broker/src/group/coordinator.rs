//! The coordinator of all groups that one partition of `__consumer_offsets` keeps.

use std::collections::BTreeMap;

use highwater_storage::{Offset, ProducerId, TimestampMs};

use super::classic::Classic;
use super::consumer::{Consumer, ConsumerRecord};
use super::ids::GroupId;
use super::offsets::{Offsets, Pending};
use super::rebalance::Acting;
use super::record::Record;
use super::timers::{Timer, Timers};
use super::turn::Turn;
use super::words::GroupReply;
use crate::ids::{Monotonic, PartitionIndex, TopicName};
use crate::node::Ticket;
use crate::refusal::Refusal;

/// How many records are written as one batch where they need not come together.
const RECORDS_AT_ONCE: usize = 1_000;

/// One group: its members, and how far they have read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) kind: Kind,
    pub(super) offsets: Offsets,
}

/// The protocol that a group's members speak. One that nobody is in is of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Classic(Classic),
    Consumer(Consumer),
}

impl Kind {
    /// Whether nobody is in the group.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.members.is_empty(),
        }
    }

    /// Whether members read a topic, or may.
    pub(super) fn is_subscribed(&self, topic: &TopicName) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed(topic),
            Self::Consumer(group) => group.is_subscribed(topic),
        }
    }

    /// The records after which nothing is left of a group without members.
    pub(super) fn tombstones(&self, id: &GroupId) -> Vec<Record> {
        match self {
            Self::Classic(_) => vec![Record::Group(id.clone(), None)],
            Self::Consumer(group) => group.tombstones(id),
        }
    }
}

/// See the [module](super) for what always holds.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    groups: BTreeMap<GroupId, Group>,
    pending: Pending,
    timers: Timers,
}

impl Coordinator {
    /// When [`Coordinator::tick`] is due.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    /// Whether it keeps nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.pending.is_empty()
    }

    /// Ends: who waits is told to find another coordinator.
    pub(crate) fn abandon(self) -> Vec<(Ticket, GroupReply)> {
        let answers = self.groups.values().flat_map(|group| match &group.kind {
            Kind::Classic(group) => group.waiting(&Refusal::NotCoordinator),
            Kind::Consumer(_) => Vec::new(),
        });
        answers.collect()
    }

    pub(super) fn take_due(&mut self, now: Monotonic) -> Option<Timer> {
        self.timers.take_due(now)
    }

    pub(super) fn set(&mut self, timer: Timer, at: Monotonic) {
        self.timers.set(timer, at);
    }

    /// The same for one that is not set.
    pub(super) fn set_if_absent(&mut self, timer: Timer, at: Monotonic) {
        if !self.timers.is_set(&timer) {
            self.timers.set(timer, at);
        }
    }

    pub(super) fn cancel(&mut self, timer: &Timer) {
        self.timers.cancel(timer);
    }

    /// The cluster's topics were looked at for a consumer group.
    pub(super) fn note_seen_topics(&mut self, id: &GroupId, seen: Option<u64>) {
        if let Some(Group { kind: Kind::Consumer(group), .. }) = self.groups.get_mut(id) {
            group.seen_topics = seen;
        }
    }

    pub(super) fn group(&self, id: &GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.groups.iter()
    }

    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// The partitions of which a transaction has commits of this group.
    pub(super) fn pending_of(&self, id: &GroupId) -> impl Iterator<Item = (&TopicName, PartitionIndex)> {
        let keys = self.pending.values().flat_map(BTreeMap::keys);
        keys.filter(move |key| key.group == *id).map(|key| (&key.topic, key.partition))
    }

    pub(super) fn has_pending(&self, id: &GroupId) -> bool {
        self.pending_of(id).next().is_some()
    }

    pub(super) fn is_pending(&self, id: &GroupId, topic: &TopicName, partition: PartitionIndex) -> bool {
        self.pending_of(id).any(|pending| pending == (topic, partition))
    }

    /// A classic group, to be changed in this turn.
    pub(super) fn act<'a, 't>(
        &'a mut self,
        id: &'a GroupId,
        turn: &'a mut Turn<'t>,
    ) -> Option<Acting<'a, 't>> {
        let Kind::Classic(group) = &mut self.groups.get_mut(id)?.kind else { return None };
        Some(Acting { id, group, timers: &mut self.timers, turn })
    }

    /// Writes records down together, and makes what they say so.
    pub(super) fn write(&mut self, turn: &mut Turn<'_>, records: &[Record]) -> Result<(), Refusal> {
        if records.is_empty() {
            return Ok(());
        }
        let base = turn.journal.append(records)?;
        for (at, record) in (base.get()..).zip(records) {
            self.apply(Offset::new(at), ProducerId::NONE, record.clone());
        }
        Ok(())
    }

    /// The same with many, each of which makes sense alone.
    pub(super) fn write_in_parts(&mut self, turn: &mut Turn<'_>, records: &[Record]) -> Result<(), Refusal> {
        records.chunks(RECORDS_AT_ONCE).try_for_each(|part| self.write(turn, part))
    }

    /// Makes what a record says so: when it was written, and when the log is replayed. `producer` is who wrote it in a
    /// transaction, or none.
    pub(crate) fn apply(&mut self, at: Offset, producer: ProducerId, record: Record) {
        match record {
            Record::Group(id, Some(metadata)) => {
                let classic = Classic::restored(metadata);
                self.group_or_new(id, TimestampMs::NONE).kind = Kind::Classic(classic);
            }
            Record::Group(id, None) => self.remove(&id),
            Record::Consumer(id, record) => self.apply_to_consumer(id, record),
            Record::Offset(key, Some(commit)) => {
                let group = self.group_or_new(key.group.clone(), commit.committed_at);
                if producer == ProducerId::NONE {
                    group.offsets.put(key.topic, key.partition, at, commit);
                } else {
                    self.pending.entry(producer).or_default().insert(key, (at, commit));
                }
            }
            Record::Offset(key, None) => {
                if let Some(group) = self.groups.get_mut(&key.group) {
                    group.offsets.remove(&key.topic, key.partition);
                }
                self.pending.retain(|_, commits| {
                    commits.remove(&key);
                    !commits.is_empty()
                });
            }
        }
    }

    fn apply_to_consumer(&mut self, id: GroupId, record: ConsumerRecord) {
        if record == ConsumerRecord::Epoch(None) {
            // Only if it is still one: compaction may leave this record behind what came after it.
            let is_consumer = |group: &Group| matches!(group.kind, Kind::Consumer(_));
            if self.groups.get(&id).is_some_and(is_consumer) {
                self.remove(&id);
            }
            return;
        }
        if record.is_tombstone() && !self.groups.contains_key(&id) {
            return;
        }
        let group = self.group_or_new(id, TimestampMs::NONE);
        match &mut group.kind {
            Kind::Consumer(group) => group.apply(record),
            Kind::Classic(_) if record.is_tombstone() => {}
            Kind::Classic(_) => {
                let mut consumer = Consumer::default();
                consumer.apply(record);
                group.kind = Kind::Consumer(consumer);
            }
        }
    }

    /// A transaction came to its end. Of its commits those count that are newer than what else was committed.
    pub(crate) fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        let commits = self.pending.remove(&producer).unwrap_or_default();
        for (key, (at, commit)) in commits.into_iter().filter(|_| committed) {
            let group = self.group_or_new(key.group, commit.committed_at);
            let newer = group.offsets.get(&key.topic, key.partition).is_none_or(|(known, _)| *known < at);
            if newer {
                group.offsets.put(key.topic, key.partition, at, commit);
            }
        }
    }

    /// A group that only has offsets is there with its first commit.
    fn group_or_new(&mut self, id: GroupId, since: TimestampMs) -> &mut Group {
        let new = || Group { kind: Kind::Classic(Classic::empty(since)), offsets: Offsets::default() };
        self.groups.entry(id).or_insert_with(new)
    }

    fn remove(&mut self, id: &GroupId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if group.offsets.is_empty() {
            self.groups.remove(id);
        } else {
            group.kind = Kind::Classic(Classic::empty(TimestampMs::NONE));
        }
    }
}
