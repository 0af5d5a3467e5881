//! The coordinators of groups: where they write, when they are told the time, and when their answers go out.
//!
//! Always: an answer of a coordinator leaves when everything that its log held at that moment is committed; one whose
//! log failed answers nobody but with a refusal. A group that is quiet costs its state and its timers, nothing else.

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::{Offset, TopicId};

use super::replica::is_elsewhere;
use super::{ConnectionId, CoordinatorKey, Effect, Effects, Node, Reply, Ticket};
use crate::cluster::metadata::ClusterMetadata;
use crate::group::coordinator::Coordinator;
use crate::group::record::Record;
use crate::group::turn::{Journal, Limits, Turn};
use crate::group::{GroupId, GroupReply, ObservedGroups};
use crate::ids::{Monotonic, NodeId, Now, PartitionIndex, TopicName};
use crate::partition::parked::{Parked, Watched};
use crate::refusal::Refusal;

/// Kafka's number for the coordinator of a group.
const GROUP: i8 = 0;
/// Kafka's number for the coordinator of a transactional id.
const TRANSACTION: i8 = 1;

/// The coordinators of a node, by their partition of `__consumer_offsets`.
#[derive(Debug)]
pub(super) struct Coordinated {
    limits: Limits,
    /// Those that keep anything, and those whose log could not be read.
    slots: BTreeMap<PartitionIndex, Slot>,
    deadlines: BTreeSet<(Monotonic, PartitionIndex)>,
    /// When to look for what is to be forgotten; none while there is nothing.
    next_check: Option<Monotonic>,
    parked: Parked<ParkedAnswer>,
}

#[derive(Debug)]
struct Slot {
    coordinator: Result<Coordinator, Refusal>,
    deadline: Option<Monotonic>,
}

/// An answer that waits until what it may rest on is committed.
#[derive(Debug)]
struct ParkedAnswer {
    ticket: Ticket,
    reply: GroupReply,
    awaited: Vec<Awaited>,
}

/// What one part of an answer waits for.
#[derive(Debug)]
pub(super) struct Awaited {
    /// Its place in the answer.
    pub(super) place: usize,
    pub(super) partition: Watched,
    /// The high watermark to be reached.
    pub(super) end: Offset,
}

impl Coordinated {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next_check: None,
            parked: Parked::default(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// From the next turn on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        [first, self.next_check, self.parked.next_deadline()].into_iter().flatten().min()
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.parked.release_where(|answer| answer.ticket.connection == connection);
    }

    /// The coordinator of a partition; none where it keeps nothing.
    pub(super) fn get(&self, partition: PartitionIndex) -> Option<&Coordinator> {
        self.slots.get(&partition)?.coordinator.as_ref().ok()
    }

    /// The partitions whose coordinators keep anything.
    pub(super) fn partitions(&self) -> Vec<PartitionIndex> {
        self.slots.iter().filter(|(_, slot)| slot.coordinator.is_ok()).map(|(at, _)| *at).collect()
    }

    /// What there is in groups.
    pub(super) fn observe(&self) -> ObservedGroups {
        let mut groups = ObservedGroups::default();
        let kept = self.slots.values().filter_map(|slot| slot.coordinator.as_ref().ok());
        kept.for_each(|coordinator| coordinator.tally(&mut groups));
        groups
    }

    fn take(&mut self, partition: PartitionIndex) -> Coordinator {
        let Some(slot) = self.slots.remove(&partition) else { return Coordinator::default() };
        if let Some(at) = slot.deadline {
            self.deadlines.remove(&(at, partition));
        }
        slot.coordinator.unwrap_or_default()
    }

    pub(super) fn put(&mut self, partition: PartitionIndex, coordinator: Result<Coordinator, Refusal>) {
        let deadline = match &coordinator {
            Ok(coordinator) if coordinator.is_empty() => return,
            Ok(coordinator) => coordinator.next_deadline(),
            Err(_) => None,
        };
        self.deadlines.extend(deadline.map(|at| (at, partition)));
        self.slots.insert(partition, Slot { coordinator, deadline });
    }
}

/// A coordinator's partition, as it writes to it.
struct LogOf<'a> {
    node: &'a mut Node,
    now: Now,
    partition: Watched,
    effects: &'a mut Effects,
}

impl Journal for LogOf<'_> {
    fn append(&mut self, records: &[Record]) -> Result<Offset, Refusal> {
        let batch = self.batch(records).map_err(|why| Refusal::Unexpected { message: why.to_string() })?;
        self.node.check_group_batch(self.partition, &batch)?;
        let appended = self.node.append_batch(self.now, self.partition, &batch, None, self.effects);
        let base_offset = appended.map(|appended| appended.base_offset).map_err(as_coordinator)?;
        self.node.tally.coordinated(records);
        Ok(base_offset)
    }

    fn topics(&self) -> &ClusterMetadata {
        &self.node.metadata
    }
}

impl LogOf<'_> {
    fn batch(&self, records: &[Record]) -> Result<CheckedBatch, Box<dyn std::error::Error>> {
        let mut builder = BatchBuilder::new();
        for record in records {
            let (key, value) = record.encode()?;
            builder.append(self.now.wall, Some(&key), value.as_deref(), &[])?;
        }
        Ok(CheckedBatch::trusted(builder.build()?)?)
    }
}

/// A refusal of the log as a group's members are told of it (`CoordinatorOperationExceptionHelper`).
pub(super) fn as_coordinator(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Storage { .. } | Refusal::DiskFull { .. } | Refusal::NotLeader { .. } => {
            Refusal::NotCoordinator
        }
        Refusal::UnknownTopicOrPartition | Refusal::TimedOut => Refusal::CoordinatorNotAvailable,
        Refusal::RecordListTooLarge => {
            Refusal::Unexpected { message: "a batch larger than a segment".into() }
        }
        other => other,
    }
}

impl Node {
    /// Whether what is to be written of groups at once is small enough.
    pub(super) fn check_group_batch(&self, (topic, _): Watched, batch: &CheckedBatch) -> Result<(), Refusal> {
        let max_bytes = self.topics.get(&topic).map_or(0, |topic| topic.config.max_message_bytes);
        if batch.size_bytes() > max_bytes {
            let message = format!("{} bytes of group metadata, of at most {max_bytes}", batch.size_bytes());
            return Err(Refusal::Unexpected { message });
        }
        Ok(())
    }

    /// Tells who coordinates. The first who asks for a group, or a transaction, has the topic made that keeps them.
    pub(super) fn find_coordinator(
        &mut self,
        ticket: Ticket,
        keys: Vec<CoordinatorKey>,
        effects: &mut Effects,
    ) {
        let is_asked = |kind| keys.iter().any(|key| key.kind == kind);
        let offsets = TopicName::consumer_offsets();
        let own = [(GROUP, offsets), (TRANSACTION, TopicName::transaction_state())];
        let missing =
            own.into_iter().filter(|(kind, name)| is_asked(*kind) && self.metadata.id_of(name).is_none());
        let missing: Vec<_> = missing.map(|(_, name)| name).collect();
        if !missing.is_empty() {
            return self.make_then_find(ticket, keys, missing, effects);
        }
        let found = self.find_coordinators(keys);
        effects.push(Effect::Reply(ticket, Reply::FindCoordinator(found)));
    }

    pub(super) fn find_coordinators(
        &self,
        keys: Vec<CoordinatorKey>,
    ) -> Vec<(String, Result<NodeId, Refusal>)> {
        let one = |key: CoordinatorKey| {
            let outcome = match key.kind {
                GROUP => self.find_group_coordinator(&GroupId::from(key.key.as_str())),
                TRANSACTION => self.find_transaction_coordinator(&key.key.as_str().into()),
                2 if key.share_allowed => Err(Refusal::unsupported("share groups are not served here")),
                2 => Err(Refusal::invalid_request("")),
                kind => Err(Refusal::invalid_request(format!("Unknown coordinator type {kind}"))),
            };
            (key.key, outcome)
        };
        keys.into_iter().map(one).collect()
    }

    fn find_group_coordinator(&self, group: &GroupId) -> Result<NodeId, Refusal> {
        let topic = self.offsets_topic().ok_or(Refusal::CoordinatorNotAvailable)?;
        let known = self.metadata.topic(topic).ok_or(Refusal::CoordinatorNotAvailable)?;
        self.coordinating_node((topic, group.partition(known.partitions.len())))
    }

    /// Who leads a partition that groups or transactions are kept in.
    pub(super) fn coordinating_node(&self, (topic, partition): Watched) -> Result<NodeId, Refusal> {
        let leader = self.metadata.partition(topic, partition).and_then(|partition| partition.leader);
        let leader = leader.ok_or(Refusal::CoordinatorNotAvailable)?;
        match self.replica(topic, partition) {
            Err(refusal) if leader == self.id && !is_elsewhere(&refusal) => {
                Err(Refusal::CoordinatorNotAvailable)
            }
            _ => Ok(leader),
        }
    }

    /// The partition that keeps a group, if this node can ask its coordinator.
    pub(super) fn coordinator_of(&self, group: &GroupId) -> Result<Watched, Refusal> {
        let topic = self.offsets_topic().ok_or(Refusal::NotCoordinator)?;
        let partitions = self.topics.get(&topic).map_or(0, |topic| topic.partitions.len());
        let partition = group.partition(partitions);
        self.check_coordinator((topic, partition)).map(|()| (topic, partition))
    }

    pub(super) fn offsets_topic(&self) -> Option<TopicId> {
        self.metadata.id_of(&TopicName::consumer_offsets())
    }

    /// A coordinator serves as long as its log does.
    pub(super) fn check_coordinator(&self, (topic, partition): Watched) -> Result<(), Refusal> {
        let (replica, _) = self.led(topic, partition).map_err(|_| Refusal::NotCoordinator)?;
        let slot = self.coordinated.slots.get(&partition).map(|slot| &slot.coordinator);
        match slot {
            Some(Err(refusal)) => Err(refusal.clone()),
            _ if replica.log.poisoned().is_some() => Err(Refusal::NotCoordinator),
            _ => Ok(()),
        }
    }

    /// Gives a coordinator its turn.
    pub(super) fn in_turn<R>(
        &mut self,
        now: Now,
        partition: Watched,
        effects: &mut Effects,
        ask: impl FnOnce(&mut Coordinator, &mut Turn<'_>) -> R,
    ) -> R {
        let mut coordinator = self.coordinated.take(partition.1);
        let limits = self.coordinated.limits.clone();
        let mut answers = Vec::new();
        let mut journal = LogOf { node: self, now, partition, effects };
        let mut turn = Turn { now, limits: &limits, journal: &mut journal, answers: &mut answers };
        let asked = ask(&mut coordinator, &mut turn);
        coordinator.tick(&mut turn);
        let is_poisoned =
            self.replica(partition.0, partition.1).map_or(true, |replica| replica.log.poisoned().is_some());
        let kept = match is_poisoned {
            true => {
                answers.extend(coordinator.abandon());
                Err(Refusal::NotCoordinator)
            }
            false => Ok(coordinator),
        };
        self.coordinated.put(partition.1, kept);
        if self.coordinated.next_check.is_none() && !self.coordinated.slots.is_empty() {
            self.coordinated.next_check = Some(now.monotonic.plus_micros(self.config.offsets_check_micros()));
        }
        for (ticket, reply) in answers {
            let awaited = self.uncommitted(0, partition).into_iter().collect();
            self.answer_group(now, ticket, reply, awaited, effects);
        }
        asked
    }

    /// What an answer that rests on this partition waits for, if it does.
    pub(super) fn uncommitted(&self, place: usize, partition: Watched) -> Option<Awaited> {
        let positions = self.replica(partition.0, partition.1).ok()?.positions();
        let end = positions.log_end;
        (positions.high_watermark < end).then_some(Awaited { place, partition, end })
    }

    /// Answers when what is awaited has come.
    pub(super) fn answer_group(
        &mut self,
        now: Now,
        ticket: Ticket,
        reply: GroupReply,
        awaited: Vec<Awaited>,
        effects: &mut Effects,
    ) {
        if awaited.is_empty() {
            return effects.push(Effect::Reply(ticket, Reply::Group(reply)));
        }
        let deadline = now.monotonic.plus_ms(self.config.offsets_commit_timeout_ms());
        let watches = awaited.iter().map(|awaited| awaited.partition).collect();
        self.coordinated.parked.park(ParkedAnswer { ticket, reply, awaited }, deadline, watches);
    }

    /// Something happened to a partition: if it keeps groups or transactions, who waits for it hears of it.
    pub(super) fn wake_coordinator(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        self.wake_group_answers(partition, effects);
        self.wake_transactions(now, partition);
    }

    /// Something happened to a partition: looks at the answers that wait for it.
    fn wake_group_answers(&mut self, partition: Watched, effects: &mut Effects) {
        for id in self.coordinated.parked.watching(partition) {
            let is_open = |awaited: &Awaited| self.fate(awaited).is_none();
            let parked = self.coordinated.parked.get(id);
            let decided = parked.is_some_and(|answer| !answer.awaited.iter().any(is_open));
            if decided && let Some(answer) = self.coordinated.parked.release(id) {
                self.release_answer(answer, effects);
            }
        }
        let failed =
            self.replica(partition.0, partition.1).map_or(true, |replica| replica.log.poisoned().is_some());
        if failed && self.offsets_topic().is_none_or(|topic| topic == partition.0) {
            self.abandon_coordinator(partition, effects);
        }
    }

    /// This node leads a partition of the topic that keeps groups: it coordinates those of its log.
    pub(super) fn begin_coordinating(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        if self.offsets_topic() == Some(partition.0) && self.led(partition.0, partition.1).is_ok() {
            // In a new epoch it begins anew, also where it led before.
            self.stop_coordinating(partition, effects);
            self.replay_coordinator(now, partition, effects);
        }
    }

    /// This node leads it no more: who waits is sent to find who does.
    pub(super) fn stop_coordinating(&mut self, partition: Watched, effects: &mut Effects) {
        if self.offsets_topic() == Some(partition.0) {
            self.abandon_coordinator(partition, effects);
            self.coordinated.take(partition.1);
        }
    }

    /// The log of a coordinator is lost to it: who waits is sent to find another.
    fn abandon_coordinator(&mut self, (topic, partition): Watched, effects: &mut Effects) {
        if self.coordinated.get(partition).is_none() {
            return;
        }
        for (ticket, reply) in self.coordinated.take(partition).abandon() {
            effects.push(Effect::Reply(ticket, Reply::Group(reply)));
        }
        if self.metadata.topic(topic).is_some() {
            self.coordinated.put(partition, Err(Refusal::NotCoordinator));
        }
    }

    /// Whether what is awaited has come, or never will; none while that is open.
    fn fate(&self, awaited: &Awaited) -> Option<Result<(), Refusal>> {
        let (topic, partition) = awaited.partition;
        let Ok((replica, _)) = self.led(topic, partition) else { return Some(Err(Refusal::NotCoordinator)) };
        if replica.positions().high_watermark >= awaited.end {
            return Some(Ok(()));
        }
        replica.log.poisoned().map(|_| Err(Refusal::NotCoordinator))
    }

    fn release_answer(&self, answer: ParkedAnswer, effects: &mut Effects) {
        let ParkedAnswer { ticket, mut reply, awaited } = answer;
        for awaited in awaited {
            match self.fate(&awaited) {
                Some(Ok(())) => {}
                Some(Err(refusal)) => reply.refuse(awaited.place, &refusal),
                None => reply.refuse(awaited.place, &Refusal::CoordinatorNotAvailable),
            }
        }
        effects.push(Effect::Reply(ticket, Reply::Group(reply)));
    }

    /// Does what is due for groups.
    pub(super) fn tick_coordinators(&mut self, now: Now, effects: &mut Effects) {
        while let Some(answer) = self.coordinated.parked.release_due(now.monotonic) {
            self.release_answer(answer, effects);
        }
        while let Some(&(at, partition)) = self.coordinated.deadlines.first() {
            let Some(topic) = self.offsets_topic().filter(|_| at <= now.monotonic) else { break };
            self.in_turn(now, (topic, partition), effects, |_, _| ());
        }
        if self.coordinated.next_check.is_some_and(|at| at <= now.monotonic) {
            self.forget_old_groups(now, effects);
        }
    }

    fn forget_old_groups(&mut self, now: Now, effects: &mut Effects) {
        self.coordinated.next_check = None;
        let every = self.config.offsets_check_micros();
        let Some(topic) = self.offsets_topic() else { return };
        for partition in self.coordinated.partitions() {
            let forgotten = self.in_turn(now, (topic, partition), effects, Coordinator::forget_old);
            if let Err(refusal) = forgotten {
                tracing::warn!(%partition, %refusal, "old offsets could not be forgotten");
            }
        }
        let more = !self.coordinated.slots.is_empty();
        self.coordinated.next_check = more.then(|| now.monotonic.plus_micros(every));
    }

    /// Topics are gone: what groups read of them is forgotten. With `__consumer_offsets` all groups are.
    pub(super) fn forget_topics_in_groups(
        &mut self,
        now: Now,
        gone: &BTreeMap<TopicName, TopicId>,
        effects: &mut Effects,
    ) {
        if let Some(id) = gone.get(&TopicName::consumer_offsets()) {
            for partition in self.coordinated.partitions() {
                self.abandon_coordinator((*id, partition), effects);
            }
            self.coordinated.slots.clear();
        }
        let Some(topic) = self.offsets_topic().filter(|_| !gone.is_empty()) else { return };
        for partition in self.coordinated.partitions() {
            let forgotten = self.in_turn(now, (topic, partition), effects, |coordinator, turn| {
                coordinator.forget_topics(turn, gone)
            });
            if let Err(refusal) = forgotten {
                tracing::warn!(%partition, %refusal, "offsets of deleted topics could not be forgotten");
            }
        }
    }
}
