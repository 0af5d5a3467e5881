//! A follower's side of replication: whom it follows, what it asks for, and what it does with what it gets.
//!
//! There is one conversation with each node that leads something this one follows: a fetch names the partitions of which
//! there is news, the leader keeps the rest. It is said again from the beginning when the leader begins another life, or
//! when nothing came for long.

mod cuts;

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::batch::StoredBatch;
use highwater_storage::{AppendError, LeaderEpoch, Offset};

use self::cuts::{Cut, How};
use super::replica::{Replica, Role, follower_syncs_every, held};
use super::{CheckpointKind, Effect, Effects, Node};
use crate::ids::{BrokerEpoch, Monotonic, NodeId, Now};
use crate::message::{
    Message, Peer, ReplicaAt, ReplicaData, ReplicaFetch, ReplicaFetched, ReplicaNews, Word,
};
use crate::partition::follower::{Offered, Told, Verdict};
use crate::partition::parked::Watched;
use crate::refusal::Refusal;

/// After how long without an answer everything is said again: a fetch may have been lost, and one that waits for news is
/// none (`replica.socket.timeout.ms`).
const SILENCE_MS: i32 = 30_000;

/// Whom a node follows.
#[derive(Debug, Default)]
pub(super) struct Following {
    leaders: BTreeMap<NodeId, Conversation>,
    leader_of: BTreeMap<Watched, NodeId>,
    /// Partitions that are asked for again later.
    pauses: BTreeSet<(Monotonic, Watched)>,
    /// Those whose logs are to be cut before anything is fetched for them.
    cuts: BTreeMap<Watched, Offset>,
}

/// Why a follower did not write what it fetched.
enum NotWritten {
    /// The disk is full, or what may be used of it.
    NoRoom(Refusal),
    /// Its log takes no more.
    Failed(Refusal),
}

impl NotWritten {
    fn of(error: AppendError) -> Self {
        match error {
            AppendError::Full(error) => Self::NoRoom(Refusal::disk_full(&error)),
            error => Self::Failed(Refusal::storage(&error)),
        }
    }
}

/// What is said to one leader.
#[derive(Debug)]
struct Conversation {
    /// The leader's life.
    broker_epoch: BrokerEpoch,
    number: u64,
    has_begun: bool,
    /// The fetch with which it began, and how many answers came since.
    began: u64,
    heard: u64,
    /// Since when its answer is awaited.
    awaited_since: Option<Monotonic>,
    partitions: BTreeSet<Watched>,
    /// Those of which there is news.
    changed: BTreeSet<Watched>,
    gone: BTreeSet<Watched>,
}

impl Conversation {
    fn new(broker_epoch: BrokerEpoch) -> Self {
        Self {
            broker_epoch,
            number: 0,
            has_begun: false,
            began: 0,
            heard: 0,
            awaited_since: None,
            partitions: BTreeSet::new(),
            changed: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    fn begin_anew(&mut self) {
        self.has_begun = false;
        self.awaited_since = None;
        self.changed.clone_from(&self.partitions);
        self.gone.clear();
    }

    /// An answer came. If it shows that one before it did not, all is said anew: the leader goes by what it sent.
    fn heard(&mut self, fetched: &ReplicaFetched) {
        if fetched.number == self.number {
            self.awaited_since = None;
        }
        if fetched.number < self.began || fetched.place <= self.heard {
            return;
        }
        let is_next = fetched.place == self.heard + 1;
        self.heard = fetched.place;
        if !is_next {
            self.begin_anew();
        }
    }

    fn has_something_to_say(&self) -> bool {
        !self.partitions.is_empty()
            && (self.awaited_since.is_none() || !self.changed.is_empty() || !self.gone.is_empty())
    }
}

impl Following {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let silent = self.leaders.values().filter_map(|leader| leader.awaited_since);
        let silent = silent.map(|since| since.plus_ms(SILENCE_MS)).min();
        self.pauses.first().map(|(at, _)| *at).into_iter().chain(silent).min()
    }

    /// From now on a partition is fetched from this node; none for from nobody.
    pub(super) fn follow(&mut self, partition: Watched, leader: Option<(NodeId, BrokerEpoch)>) {
        self.cuts.remove(&partition);
        if let Some(before) = self.leader_of.remove(&partition)
            && let Some(conversation) = self.leaders.get_mut(&before)
        {
            conversation.partitions.remove(&partition);
            conversation.changed.remove(&partition);
            if conversation.has_begun {
                conversation.gone.insert(partition);
            }
        }
        let Some((leader, broker_epoch)) = leader else { return };
        let conversation = self.leaders.entry(leader).or_insert_with(|| Conversation::new(broker_epoch));
        conversation.partitions.insert(partition);
        conversation.gone.remove(&partition);
        conversation.changed.insert(partition);
        self.leader_of.insert(partition, leader);
    }

    /// Before anything is fetched for it a partition's log is cut here, if anywhere.
    pub(super) fn cut_first(&mut self, partition: Watched, at: Option<Offset>) {
        self.cuts.extend(at.map(|at| (partition, at)));
    }

    /// There is news of a partition for whoever leads it.
    pub(super) fn changed(&mut self, partition: Watched) {
        if let Some(leader) = self.leader_of.get(&partition)
            && let Some(conversation) = self.leaders.get_mut(leader)
        {
            conversation.changed.insert(partition);
        }
    }

    /// What was said to a leader may be lost.
    pub(super) fn say_again(&mut self, leader: NodeId) {
        if let Some(conversation) = self.leaders.get_mut(&leader) {
            conversation.begin_anew();
        }
    }

    /// Nodes came, went, or began another life. Who leads nothing now may do so again: as long as it lives it knows the number
    /// that was said last, and takes no lower one.
    pub(super) fn lives_changed(&mut self, life_of: impl Fn(NodeId) -> BrokerEpoch) {
        for (node, conversation) in &mut self.leaders {
            let present = life_of(*node);
            if conversation.broker_epoch != present {
                conversation.broker_epoch = present;
                conversation.number = 0;
                conversation.begin_anew();
            }
        }
    }
}

impl Node {
    /// Says to leaders what there is to say.
    pub(super) fn send_fetches(&mut self, now: Now, effects: &mut Effects) {
        let cuts = std::mem::take(&mut self.following.cuts).into_iter();
        self.cut_back(now, cuts.map(|(partition, at)| Cut { partition, at, how: How::Truncate }).collect());
        while let Some(&(at, partition)) = self.following.pauses.first()
            && at <= now.monotonic
        {
            self.following.pauses.pop_first();
            self.following.changed(partition);
        }
        for leader in self.following.leaders.keys().copied().collect::<Vec<_>>() {
            let Some(mut conversation) = self.following.leaders.remove(&leader) else { continue };
            let silence = conversation.awaited_since.map(|since| since.plus_ms(SILENCE_MS));
            if silence.is_some_and(|until| until <= now.monotonic) {
                conversation.begin_anew();
            }
            if conversation.has_something_to_say() {
                effects.push(self.fetch_from(now, leader, &mut conversation));
            }
            self.following.leaders.insert(leader, conversation);
        }
    }

    fn fetch_from(&self, now: Now, leader: NodeId, conversation: &mut Conversation) -> Effect {
        let changed = std::mem::take(&mut conversation.changed);
        let wanted = changed.into_iter().filter_map(|partition| self.wanted(now, partition));
        let partitions: Vec<_> = wanted.collect();
        conversation.number += 1;
        conversation.awaited_since = Some(now.monotonic);
        let begins = !std::mem::replace(&mut conversation.has_begun, true);
        if begins {
            (conversation.began, conversation.heard) = (conversation.number, 0);
        }
        let fetch = ReplicaFetch {
            broker_epoch: self.broker_epoch,
            leader_broker_epoch: conversation.broker_epoch,
            number: conversation.number,
            begins,
            partitions,
            gone: std::mem::take(&mut conversation.gone).into_iter().collect(),
        };
        Effect::Send(Peer::Node(leader), Message(Word::Fetch(fetch)))
    }

    fn wanted(&self, now: Now, (topic, partition): Watched) -> Option<ReplicaAt> {
        let replica = self.replica(topic, partition).ok()?;
        let Role::Follows(follower) = &replica.role else { return None };
        let wanted = follower.wants(now.monotonic, replica.held())?;
        Some(ReplicaAt {
            topic,
            partition,
            leader_epoch: wanted.leader_epoch,
            fetch_offset: wanted.fetch_offset,
            last_epoch: wanted.last_epoch,
            synced: replica.log.synced_offset(),
            log_start: replica.log.start_offset(),
        })
    }

    /// A leader answers.
    pub(super) fn fetched(&mut self, now: Now, from: NodeId, fetched: ReplicaFetched, effects: &mut Effects) {
        if fetched.broker_epoch != self.broker_epoch {
            return;
        }
        if let Some(conversation) = self.following.leaders.get_mut(&from) {
            conversation.heard(&fetched);
        }
        let mut cuts = Vec::new();
        for news in fetched.partitions {
            let partition = (news.topic, news.partition);
            if self.following.leader_of.get(&partition) == Some(&from) {
                cuts.extend(self.take_news(now, partition, news, effects));
            }
        }
        self.cut_back(now, cuts);
    }

    /// Does what a leader says of a partition, but for a cut of its log, which it gives.
    fn take_news(
        &mut self,
        now: Now,
        partition: Watched,
        news: ReplicaNews,
        effects: &mut Effects,
    ) -> Option<Cut> {
        let pause_ms = self.config.fetch_backoff_ms();
        let Ok(replica) = self.replica_mut(partition.0, partition.1) else { return None };
        let Replica { log, role: Role::Follows(follower), .. } = replica else { return None };
        let committed = follower.high_watermark();
        let outcome = match &news.outcome {
            Ok(ReplicaData::Batches(batches)) => {
                Ok(Offered::Batches(batches.first().map(|batch| batch.header.base_offset)))
            }
            Ok(ReplicaData::Diverging { epoch, end }) => Ok(Offered::Diverging(*epoch, *end)),
            Ok(ReplicaData::Range { .. }) => unreachable!("who carries a message reads what it speaks of"),
            Err(refusal) => Err(refusal),
        };
        let told = Told {
            leader_epoch: news.leader_epoch,
            fetch_offset: news.fetch_offset,
            outcome,
            log_start: news.log_start,
        };
        let verdict = follower.told(now.monotonic, told, held(log), pause_ms);
        let paused_until = follower.next_deadline();
        match verdict {
            Verdict::Ignore => {}
            Verdict::Append | Verdict::RestartAndAppend(_) => {
                let restart = match verdict {
                    Verdict::RestartAndAppend(at) => Some(at),
                    _ => None,
                };
                self.append_fetched(now, partition, restart, news, effects);
            }
            Verdict::Truncate(at) | Verdict::RestartDiverged { from: at, .. } => {
                let wrote = log.epochs().latest().map_or(LeaderEpoch::NONE, |latest| latest.epoch);
                let restarts_at = match verdict {
                    Verdict::RestartDiverged { at, .. } => Some(at),
                    _ => None,
                };
                return Some(Cut { partition, at, how: How::Diverges { wrote, committed, restarts_at } });
            }
            Verdict::RestartAt(at) => return Some(Cut { partition, at, how: How::Restart }),
            Verdict::BackOff => {
                if let Err(refusal) = &news.outcome {
                    tracing::debug!(%refusal, partition = %partition.1, "a leader has nothing for its follower");
                }
                self.following.pauses.extend(paused_until.map(|until| (until, partition)));
            }
            Verdict::Fail => self.say_failed(partition, "it does not fit its leader's log"),
        }
        None
    }

    fn append_fetched(
        &mut self,
        now: Now,
        partition: Watched,
        restart: Option<Offset>,
        news: ReplicaNews,
        effects: &mut Effects,
    ) {
        let Ok(ReplicaData::Batches(batches)) = &news.outcome else { return };
        let is_new = !batches.is_empty();
        let written = self.make_room_for(now, partition, &news, effects);
        let written = written.and_then(|()| self.write_fetched(now, partition, restart, batches));
        if let Err(why) = written {
            return self.not_written(now, partition, why);
        }
        let Ok(replica) = self.replica_mut(partition.0, partition.1) else { return };
        let Replica { log, role: Role::Follows(follower), .. } = replica else { return };
        match follower.appended(held(log), news.high_watermark, news.log_start) {
            Ok(followed) => {
                let begins = followed.log_start;
                let rose = begins.is_some_and(|start| log.advance_start_offset(start, news.high_watermark));
                replica.note_undecided();
                if rose {
                    self.checkpoint_later(now, CheckpointKind::StartOffsets);
                    self.following.changed(partition);
                }
                if followed.moved {
                    self.checkpoint_high_watermark(now, partition);
                    self.wake_fetches(now, partition, effects);
                }
            }
            Err(refusal) => self.say_failed(partition, &refusal.to_string()),
        }
        if is_new {
            self.following.changed(partition);
        }
    }

    /// Sees to it that what was fetched fits below `highwater.disk.max.bytes`. What its leader has not any more goes first.
    fn make_room_for(
        &mut self,
        now: Now,
        partition: Watched,
        news: &ReplicaNews,
        effects: &mut Effects,
    ) -> Result<(), NotWritten> {
        let Ok(ReplicaData::Batches(batches)) = &news.outcome else { return Ok(()) };
        let Some(limit_bytes) = self.expiry.limit_bytes.filter(|_| !batches.is_empty()) else {
            return Ok(());
        };
        let size_bytes = batches.iter().map(StoredBatch::size_bytes).sum();
        if let Ok(replica) = self.replica_mut(partition.0, partition.1)
            && let known = replica.positions().high_watermark
            && replica.log.advance_start_offset(news.log_start, known)
        {
            self.checkpoint_later(now, CheckpointKind::StartOffsets);
            self.following.changed(partition);
        }
        self.make_room(now, size_bytes, limit_bytes, effects).map_err(NotWritten::NoRoom)
    }

    /// What was fetched could not be written: for want of room it is asked for again, else not before the next epoch. A full
    /// disk is said once until something is taken again.
    fn not_written(&mut self, now: Now, partition: Watched, why: NotWritten) {
        let pause_ms = self.config.fetch_backoff_ms();
        let Ok(replica) = self.replica_mut(partition.0, partition.1) else { return };
        let Role::Follows(follower) = &mut replica.role else { return };
        let refusal = match why {
            NotWritten::NoRoom(refusal) => refusal,
            NotWritten::Failed(refusal) => return self.fail_to_follow(partition, &refusal),
        };
        follower.back_off(now.monotonic, pause_ms);
        let until = follower.next_deadline();
        self.following.pauses.extend(until.map(|until| (until, partition)));
        if !std::mem::replace(&mut self.is_disk_full, true) {
            let topic = self.name_of(partition.0).map_or("", |name| name.as_str());
            tracing::error!(topic, partition = %partition.1, %refusal, "a follower has no room, and falls behind");
        }
    }

    /// Nothing more is fetched for it before the next epoch.
    fn fail_to_follow(&mut self, partition: Watched, refusal: &Refusal) {
        if let Ok(replica) = self.replica_mut(partition.0, partition.1)
            && let Role::Follows(follower) = &mut replica.role
        {
            follower.fail();
            if replica.log.poisoned().is_some() {
                self.log_failed(partition);
            }
        }
        self.say_failed(partition, &refusal.to_string());
    }

    /// Writes what was fetched, and sees to everything that follows from it.
    fn write_fetched(
        &mut self,
        now: Now,
        partition: Watched,
        restart: Option<Offset>,
        batches: &[StoredBatch],
    ) -> Result<(), NotWritten> {
        if batches.is_empty() {
            return Ok(());
        }
        if let Some(at) = restart {
            self.lower_checkpoints(now, &[(partition, at)]).map_err(NotWritten::Failed)?;
        }
        let Some(topic) = self.topics.get_mut(&partition.0) else { return Ok(()) };
        let syncs_every = follower_syncs_every(&topic.config, &self.config);
        let flush_ms = topic.config.flush_ms;
        let Ok(replica) = topic.replica_mut(partition.1) else { return Ok(()) };
        if let Some(at) = restart {
            let failed = |error| NotWritten::Failed(Refusal::storage(&error));
            replica.log.restart_at(at, now.wall).map_err(failed)?;
        }
        let appended = replica.log.append_replicated(batches, now.wall).map_err(NotWritten::of)?;
        batches[..appended.batches].iter().for_each(|batch| replica.asked.written(&batch.header));
        let size_bytes: usize = batches[..appended.batches].iter().map(StoredBatch::size_bytes).sum();
        self.is_disk_full = false;
        replica.counted_bytes += size_bytes as u64;
        self.expiry.used_bytes = self.expiry.used_bytes.saturating_add(size_bytes as u64);
        let wants_sync = replica.log.end_offset().since(replica.log.synced_offset()) >= syncs_every;
        if appended.rolled {
            self.flush_closed_segments(partition);
            self.compact_later(now, partition.0);
            self.count(partition);
        }
        if wants_sync {
            self.want_sync(partition, None);
        }
        if let Some(flush_ms) = flush_ms {
            self.sync_within(now, partition, flush_ms);
        }
        Ok(())
    }

    fn say_failed(&self, partition: Watched, why: &str) {
        let topic = self.name_of(partition.0).map_or("", |name| name.as_str());
        tracing::error!(topic, partition = %partition.1, why, "a follower follows no more until it has another leader");
    }

    /// More of a log, or less, is known to be committed: that is written down in its time, where it cannot be told from
    /// the log itself.
    pub(super) fn checkpoint_high_watermark(&mut self, now: Now, (topic, partition): Watched) {
        let is_replicated = self.replica(topic, partition).is_ok_and(Replica::is_replicated);
        if is_replicated {
            self.checkpoint_later(now, CheckpointKind::HighWatermarks);
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_storage::TopicId;

    use super::*;
    use crate::ids::PartitionIndex;

    #[test]
    fn who_leads_nothing_for_a_while_is_told_no_number_twice() {
        let (leader, life) = (NodeId(1), BrokerEpoch(7));
        let partition = (TopicId::new([1; 16]), PartitionIndex(0));
        let mut following = Following::default();
        following.follow(partition, Some((leader, life)));
        following.leaders.get_mut(&leader).unwrap().number = 5;
        following.follow(partition, None);
        following.lives_changed(|_| life);
        following.follow(partition, Some((leader, life)));
        assert_eq!(following.leaders[&leader].number, 5);
        following.lives_changed(|_| BrokerEpoch(8));
        assert_eq!(following.leaders[&leader].number, 0, "another life knows of none");
    }
}
