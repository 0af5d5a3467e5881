//! The coordinators of transactions: where they write, when they hear what is committed and what time it is, and when their
//! answers go out.
//!
//! Always: a coordinator has its turn when something is asked of it, and at the end of a step in which something happened to
//! its log or to who leads; never within another's turn. An answer leaves when the record it rests on is below the high
//! watermark; who waits when the partition is lost is sent to find who leads it.

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::{LeaderEpoch, Offset, ProducerId, TopicId};

use super::transactions::Asks;
use super::{ConnectionId, Effects, Node};
use crate::ids::{Monotonic, NodeId, Now, PartitionIndex, TRANSACTION_STATE};
use crate::message::Word;
use crate::partition::parked::{Parked, Watched};
use crate::refusal::Refusal;
use crate::transaction::coordinator::Coordinator;
use crate::transaction::record::Record;
use crate::transaction::turn::{Answer, Leader, Limits, Surroundings, Turn};
use crate::transaction::{Asker, MarkerWritten, MarkersToWrite, TopicPartition, TransactionReply};

/// The coordinators of a node, by their partition of `__transaction_state`.
#[derive(Debug)]
pub(super) struct Transacting {
    pub(super) limits: Limits,
    /// Those that keep anything, and those whose log could not be read.
    slots: BTreeMap<PartitionIndex, Slot>,
    deadlines: BTreeSet<(Monotonic, PartitionIndex)>,
    parked: Parked<ParkedAnswer>,
    /// Who has a turn at the end of the step, and when that was known.
    due: BTreeMap<PartitionIndex, Monotonic>,
    /// What else is to be told then to those who wait for markers.
    news: News,
    /// When to look for ids that nobody uses; none while there is nothing.
    next_check: Option<Monotonic>,
    pub(super) asks: Asks,
}

#[derive(Debug)]
struct Slot {
    coordinator: Result<Coordinator, Refusal>,
    deadline: Option<Monotonic>,
    /// Its log was just read.
    is_new: bool,
}

/// What happened in the cluster that markers on their way rest on.
#[derive(Debug, Default)]
struct News {
    leaders_changed: bool,
    /// What was on its way to these is lost.
    lost_contact: BTreeSet<NodeId>,
}

/// An answer that waits until what it rests on is committed.
#[derive(Debug)]
struct ParkedAnswer {
    asker: Asker,
    reply: TransactionReply,
    /// The record.
    at: Offset,
}

impl Transacting {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            parked: Parked::default(),
            due: BTreeMap::new(),
            news: News::default(),
            next_check: None,
            asks: Asks::default(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        let due = self.due.values().min().copied();
        [first, due, self.parked.next_deadline(), self.next_check].into_iter().flatten().min()
    }

    #[cfg(test)]
    pub(super) fn next_check(&self) -> Option<Monotonic> {
        self.next_check
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        let is_gone =
            |asker: Asker| matches!(asker, Asker::Client(ticket) if ticket.connection == connection);
        self.parked.release_where(|answer| is_gone(answer.asker));
        self.asks.forget(connection);
        let coordinators = self.slots.values_mut().filter_map(|slot| slot.coordinator.as_mut().ok());
        coordinators.for_each(|coordinator| coordinator.forget(connection));
    }

    /// The coordinator of a partition; none where it keeps nothing.
    pub(super) fn get(&self, partition: PartitionIndex) -> Option<&Coordinator> {
        self.slots.get(&partition)?.coordinator.as_ref().ok()
    }

    /// All that keep anything.
    pub(super) fn coordinators(&self) -> impl Iterator<Item = &Coordinator> {
        self.slots.values().filter_map(|slot| slot.coordinator.as_ref().ok())
    }

    /// Partitions have other leaders, or are gone.
    pub(super) fn leaders_changed(&mut self) {
        self.news.leaders_changed = true;
    }

    /// What was on its way to a node is lost.
    pub(super) fn lost_contact(&mut self, node: NodeId) {
        self.news.lost_contact.insert(node);
    }

    fn take(&mut self, partition: PartitionIndex) -> Option<(Coordinator, bool)> {
        let slot = self.slots.remove(&partition)?;
        if let Some(at) = slot.deadline {
            self.deadlines.remove(&(at, partition));
        }
        Some((slot.coordinator.ok()?, slot.is_new))
    }

    fn put(&mut self, partition: PartitionIndex, coordinator: Result<Coordinator, Refusal>, is_new: bool) {
        let deadline = match &coordinator {
            Ok(coordinator) if coordinator.is_empty() => return,
            Ok(coordinator) => coordinator.next_deadline(),
            Err(_) => None,
        };
        self.deadlines.extend(deadline.map(|at| (at, partition)));
        self.slots.insert(partition, Slot { coordinator, deadline, is_new });
    }
}

/// A coordinator's partition, as it writes to it, and the rest of the node.
struct Around<'a> {
    node: &'a mut Node,
    now: Now,
    partition: Watched,
    effects: &'a mut Effects,
}

impl Surroundings for Around<'_> {
    fn append(&mut self, records: &[Record]) -> Result<Offset, Refusal> {
        let batch = self.batch(records).map_err(|why| Refusal::Unexpected { message: why.to_string() })?;
        let (topic, partition) = self.partition;
        let rules = self.node.topics.get(&topic).ok_or(Refusal::UnknownTopicOrPartition)?;
        let max_bytes = rules.config.max_message_bytes;
        if batch.size_bytes() > max_bytes {
            let message = format!("{} bytes of a transaction, of at most {max_bytes}", batch.size_bytes());
            return Err(Refusal::MessageTooLarge { message });
        }
        let (_, leader) = self.node.led(topic, partition)?;
        if leader.is_under_min(&rules.rules) {
            return Err(Refusal::NotEnoughReplicas);
        }
        let appended = self.node.append_batch(self.now, self.partition, &batch, None, self.effects);
        appended.map(|appended| appended.base_offset)
    }

    fn producer_id(&mut self) -> Option<ProducerId> {
        let taken = self.node.producer_ids.take();
        if taken.is_none() {
            self.node.want_producer_ids(self.effects);
        }
        taken
    }

    fn leader_of(&self, partition: &TopicPartition) -> Leader {
        let metadata = &self.node.metadata;
        let id = metadata.id_of(&partition.topic);
        match id.and_then(|id| metadata.partition(id, partition.partition)) {
            None => Leader::Gone,
            Some(known) => known.leader.map_or(Leader::Nobody, Leader::Is),
        }
    }
}

impl Around<'_> {
    fn batch(&self, records: &[Record]) -> Result<CheckedBatch, Box<dyn std::error::Error>> {
        let version = self.node.transacting.limits.version;
        let mut builder = BatchBuilder::new();
        for record in records {
            let (key, value) = record.encode(version)?;
            builder.append(self.now.wall, Some(&key), value.as_deref(), &[])?;
        }
        Ok(CheckedBatch::trusted(builder.build()?)?)
    }
}

impl Node {
    pub(super) fn transactions_topic(&self) -> Option<TopicId> {
        self.metadata.id_of_name(TRANSACTION_STATE)
    }

    /// A coordinator serves as long as its log does.
    pub(super) fn check_transacting(&self, (topic, partition): Watched) -> Result<LeaderEpoch, Refusal> {
        let (replica, leader) = self.led(topic, partition).map_err(|_| Refusal::NotCoordinator)?;
        let slot = self.transacting.slots.get(&partition).map(|slot| &slot.coordinator);
        match slot {
            Some(Err(refusal)) => Err(refusal.clone()),
            _ if replica.log.poisoned().is_some() => Err(Refusal::NotCoordinator),
            _ => Ok(leader.epoch()),
        }
    }

    /// Gives a coordinator its turn, and tells it what is committed.
    pub(super) fn in_transaction_turn<R>(
        &mut self,
        now: Now,
        partition: Watched,
        effects: &mut Effects,
        ask: impl FnOnce(&mut Coordinator, &mut Turn<'_>) -> R,
    ) -> Result<R, Refusal> {
        let epoch = self.check_transacting(partition)?;
        let (mut coordinator, is_new) =
            self.transacting.take(partition.1).unwrap_or_else(|| (Coordinator::new(epoch), false));
        let limits = self.transacting.limits.clone();
        let (mut answers, mut markers) = (Vec::new(), Vec::new());
        let mut around = Around { node: self, now, partition, effects };
        let mut turn = Turn {
            now,
            limits: &limits,
            surroundings: &mut around,
            answers: &mut answers,
            markers: &mut markers,
        };
        if is_new {
            coordinator.begin(&mut turn);
        }
        let asked = ask(&mut coordinator, &mut turn);
        coordinator.tick(&mut turn);
        self.tell_committed(now, partition, &mut coordinator, (&mut answers, &mut markers), effects);
        let is_poisoned =
            self.replica(partition.0, partition.1).map_or(true, |replica| replica.log.poisoned().is_some());
        let is_kept = !is_poisoned;
        if is_kept {
            self.transacting.put(partition.1, Ok(coordinator), false);
        } else {
            answers.extend(coordinator.abandon().into_iter().map(at_once));
            self.transacting.put(partition.1, Err(Refusal::NotCoordinator), false);
        }
        if self.transacting.next_check.is_none() && !self.transacting.slots.is_empty() {
            let every_ms = self.config.transactional_ids_check_ms();
            self.transacting.next_check = Some(now.monotonic.plus_ms(every_ms));
        }
        for answer in answers {
            self.answer_or_park(now, partition, answer, effects);
        }
        self.send_markers(markers, effects);
        Ok(asked)
    }

    /// What a coordinator writes may be committed as soon as it is written, and have it write more.
    fn tell_committed(
        &mut self,
        now: Now,
        partition: Watched,
        coordinator: &mut Coordinator,
        (answers, markers): (&mut Vec<Answer>, &mut Vec<(NodeId, MarkersToWrite)>),
        effects: &mut Effects,
    ) {
        let limits = self.transacting.limits.clone();
        while let Ok((replica, _)) = self.led(partition.0, partition.1) {
            let positions = replica.positions();
            let mut around = Around { node: self, now, partition, effects };
            let mut turn = Turn { now, limits: &limits, surroundings: &mut around, answers, markers };
            coordinator.committed(&mut turn, positions.high_watermark);
            let log_end = self.replica(partition.0, partition.1).map(|replica| replica.log.end_offset());
            if log_end != Ok(positions.log_end) {
                continue;
            }
            break;
        }
    }

    fn send_markers(&mut self, markers: Vec<(NodeId, MarkersToWrite)>, effects: &mut Effects) {
        let mut by_node = BTreeMap::<_, Vec<_>>::new();
        for (node, one) in markers {
            by_node.entry(node).or_default().push(one);
        }
        for (node, markers) in by_node {
            let word = Word::Markers { broker_epoch: self.broker_epoch, markers };
            self.tell_node(node, word, effects);
        }
    }

    fn answer_or_park(&mut self, now: Now, partition: Watched, answer: Answer, effects: &mut Effects) {
        let Answer { asker, reply, rests_on } = answer;
        match rests_on {
            Some((at, within_ms)) if !self.is_committed(partition, at) => {
                let deadline = now.monotonic.plus_ms(within_ms);
                let parked = ParkedAnswer { asker, reply, at };
                self.transacting.parked.park(parked, deadline, vec![partition]);
            }
            _ => self.answer_transaction(asker, reply, effects),
        }
    }

    fn is_committed(&self, (topic, partition): Watched, at: Offset) -> bool {
        self.replica(topic, partition).is_ok_and(|replica| at < replica.positions().high_watermark)
    }

    /// Something happened to a partition: its coordinator has a turn at the end of the step.
    pub(super) fn wake_transactions(&mut self, now: Now, partition: Watched) {
        if self.transactions_topic() == Some(partition.0) {
            self.transacting.due.entry(partition.1).or_insert(now.monotonic);
        }
    }

    /// This node leads a partition of the topic that keeps transactions, in a new epoch: it coordinates those of its log.
    pub(super) fn begin_transacting(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        if self.transactions_topic() != Some(partition.0) {
            return;
        }
        self.stop_transacting(partition, effects);
        if let Some(replayed) = self.replayed_transactions(partition) {
            self.transacting.put(partition.1, replayed, true);
            self.wake_transactions(now, partition);
        }
    }

    /// This node leads it no more: who waits is sent to find who does.
    pub(super) fn stop_transacting(&mut self, partition: Watched, effects: &mut Effects) {
        if self.transactions_topic().is_some_and(|topic| topic != partition.0) {
            return;
        }
        let lost = self.transacting.take(partition.1);
        let waiting = lost.map(|(coordinator, _)| coordinator.abandon()).unwrap_or_default();
        for (asker, reply) in waiting {
            self.answer_transaction(asker, reply, effects);
        }
        for parked in self.transacting.parked.watching(partition) {
            let Some(ParkedAnswer { asker, mut reply, .. }) = self.transacting.parked.release(parked) else {
                continue;
            };
            reply.refuse(Refusal::NotCoordinator);
            self.answer_transaction(asker, reply, effects);
        }
        self.transacting.due.remove(&partition.1);
    }

    /// The topic that keeps transactions is gone, and all of them with it.
    pub(super) fn forget_transactions(&mut self, gone: TopicId, effects: &mut Effects) {
        let kept = self.transacting.slots.keys().copied();
        for partition in kept.collect::<Vec<_>>() {
            self.stop_transacting((gone, partition), effects);
        }
        self.transacting.next_check = None;
    }

    /// Leaders say what became of markers.
    pub(super) fn markers_written(&mut self, now: Now, written: Vec<MarkerWritten>, effects: &mut Effects) {
        let mut by_partition = BTreeMap::<_, Vec<_>>::new();
        for one in written {
            if let Ok(partition) = self.transactions_of(&one.id) {
                by_partition.entry(partition).or_default().push(one);
            }
        }
        for (partition, written) in by_partition {
            // It may have another coordinator meanwhile, who sends its own.
            let _ = self.in_transaction_turn(now, partition, effects, |coordinator, turn| {
                written.iter().for_each(|one| coordinator.marked(turn, one));
            });
        }
    }

    /// Does what is due for transactions, and hears what the node has to tell itself about them, until all is said.
    pub(super) fn settle_transactions(&mut self, now: Now, effects: &mut Effects) {
        loop {
            self.spread_news(now);
            self.tick_transactions(now, effects);
            if self.own_words.is_empty() {
                return;
            }
            self.hear_own_words(now, effects);
        }
    }

    /// Who waits for markers hears of other leaders.
    fn spread_news(&mut self, now: Now) {
        let news = &self.transacting.news;
        if !news.leaders_changed && news.lost_contact.is_empty() {
            return;
        }
        let waits = |(_, slot): &(&PartitionIndex, &Slot)| {
            slot.coordinator.as_ref().is_ok_and(Coordinator::waits_for_markers)
        };
        let waiting = self.transacting.slots.iter().filter(waits).map(|(at, _)| *at);
        for partition in waiting.collect::<Vec<_>>() {
            self.transacting.due.entry(partition).or_insert(now.monotonic);
        }
        if self.transacting.due.is_empty() {
            self.transacting.news = News::default();
        }
    }

    fn tick_transactions(&mut self, now: Now, effects: &mut Effects) {
        while let Some(ParkedAnswer { asker, mut reply, .. }) =
            self.transacting.parked.release_due(now.monotonic)
        {
            reply.refuse(Refusal::CoordinatorNotAvailable);
            self.answer_transaction(asker, reply, effects);
        }
        let Some(topic) = self.transactions_topic() else { return };
        while let Some(&(at, partition)) = self.transacting.deadlines.first()
            && at <= now.monotonic
        {
            if self.in_transaction_turn(now, (topic, partition), effects, |_, _| ()).is_err() {
                self.stop_transacting((topic, partition), effects);
            }
        }
        let due = std::mem::take(&mut self.transacting.due);
        let news = std::mem::take(&mut self.transacting.news);
        for partition in due.into_keys() {
            self.take_due_turn(now, (topic, partition), &news, effects);
        }
        if self.transacting.next_check.is_some_and(|at| at <= now.monotonic) {
            self.forget_old_transactions(now, topic, effects);
        }
    }

    fn take_due_turn(&mut self, now: Now, partition: Watched, news: &News, effects: &mut Effects) {
        if self.check_transacting(partition).is_err() {
            // Also of a log that failed nobody is to wait.
            let is_broken = self.transacting.slots.get(&partition.1).is_some_and(|s| s.coordinator.is_err());
            self.stop_transacting(partition, effects);
            if is_broken {
                self.transacting.put(partition.1, Err(Refusal::NotCoordinator), false);
            }
            return;
        }
        if self.transacting.get(partition.1).is_some() {
            let _ = self.in_transaction_turn(now, partition, effects, |coordinator, turn| {
                if news.leaders_changed {
                    coordinator.leaders_changed(turn);
                }
                news.lost_contact.iter().for_each(|node| coordinator.lost_contact(turn, *node));
            });
        }
        for id in self.transacting.parked.watching(partition) {
            let is_told =
                self.transacting.parked.get(id).is_some_and(|answer| self.is_committed(partition, answer.at));
            if is_told && let Some(ParkedAnswer { asker, reply, .. }) = self.transacting.parked.release(id) {
                self.answer_transaction(asker, reply, effects);
            }
        }
    }

    fn forget_old_transactions(&mut self, now: Now, topic: TopicId, effects: &mut Effects) {
        self.transacting.next_check = None;
        for partition in self.transacting.slots.keys().copied().collect::<Vec<_>>() {
            let forgotten =
                self.in_transaction_turn(now, (topic, partition), effects, Coordinator::forget_old);
            if let Ok(Err(refusal)) = forgotten {
                tracing::warn!(%partition, %refusal, "old transactional ids could not be forgotten");
            }
        }
        let every_ms = self.config.transactional_ids_check_ms();
        let more = !self.transacting.slots.is_empty();
        self.transacting.next_check = more.then(|| now.monotonic.plus_ms(every_ms));
    }
}

fn at_once((asker, reply): (Asker, TransactionReply)) -> Answer {
    Answer { asker, reply, rests_on: None }
}
