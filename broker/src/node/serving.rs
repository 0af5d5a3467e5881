//! A leader's side of replication: what followers have said, what they are sent, and who is proposed to be in sync.
//!
//! A follower node says where its logs stand, each partition once and again when that changes, and is answered when there is
//! something for it: at once if it lacks records, later if only the high watermark moved. Everything is sent at the end of a
//! step, so that one message carries what a request appended to many partitions.
//!
//! Always: a partition is sent to a follower only if its last word on it was not answered with records yet; so what is on
//! its way to a follower is bounded, whatever it does with it.

mod answers;

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::Offset;

use super::replica::Role;
use super::{Effects, Node};
use crate::ids::{BrokerEpoch, Monotonic, NodeId, Now};
use crate::message::{Ask, InSyncProposal, InSyncRefused, ReplicaAt, ReplicaData, ReplicaFetch};
use crate::partition::in_sync::{FollowerAt, NotChanged};
use crate::partition::leader::Heard;
use crate::partition::parked::Watched;
use crate::partition::tail::{MAX_PROCESS_BYTES, TailAccount};
use crate::refusal::Refusal;

/// How soon a follower hears of a high watermark when there is nothing else for it (`replica.fetch.wait.max.ms`).
const HIGH_WATERMARK_MS: i32 = 500;

/// What a node knows of those who follow it.
#[derive(Debug)]
pub(super) struct Serving {
    followers: BTreeMap<NodeId, Session>,
    /// What the tails of all partitions hold together.
    pub(super) tails: TailAccount,
    /// Led partitions of which something changed: whether a change of the in-sync set is to be proposed is looked at.
    touched: BTreeSet<Watched>,
    /// When led partitions are to be looked at again even if nothing happens.
    deadlines: BTreeSet<(Monotonic, Watched)>,
    deadline_of: BTreeMap<Watched, Monotonic>,
    /// Whether consumers are sent to followers in their racks.
    sends_to_racks: bool,
}

impl Serving {
    pub(super) fn new(sends_to_racks: bool) -> Self {
        Self {
            sends_to_racks,
            followers: BTreeMap::new(),
            tails: TailAccount::new(MAX_PROCESS_BYTES),
            touched: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            deadline_of: BTreeMap::new(),
        }
    }

    pub(super) fn sends_to_racks(&self) -> bool {
        self.sends_to_racks
    }

    /// When followers hear of a new high watermark at the latest: at once where consumers that wait may be theirs.
    fn high_watermark_due(&self, now: Now) -> Monotonic {
        if self.sends_to_racks { now.monotonic } else { now.monotonic.plus_ms(HIGH_WATERMARK_MS) }
    }
}

/// One life of a follower node.
#[derive(Debug)]
struct Session {
    broker_epoch: BrokerEpoch,
    /// Its last fetch, and whether that was answered.
    number: u64,
    is_answered: bool,
    /// How often it was answered.
    answers: u64,
    partitions: BTreeMap<Watched, Standing>,
    /// Partitions with something that is told at once.
    news: BTreeSet<Watched>,
    /// Partitions whose high watermark moved, and when that is told at the latest.
    moved: BTreeSet<Watched>,
    moved_due: Option<Monotonic>,
    /// What it said of partitions that this node does not know itself to lead yet: it learned of that first.
    early: BTreeMap<Watched, ReplicaAt>,
}

/// What a follower said of a partition.
#[derive(Debug)]
struct Standing {
    at: ReplicaAt,
    /// It was sent something since.
    is_sent: bool,
    /// Told instead of records.
    verdict: Option<Result<ReplicaData, Refusal>>,
    told_high_watermark: Option<Offset>,
}

impl Serving {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let told = self.followers.values().filter(|session| !session.is_answered);
        let told = told.filter_map(|session| session.moved_due).min();
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(told).min()
    }

    /// Something happened to a partition that this node leads.
    pub(super) fn touch(&mut self, partition: Watched) {
        self.touched.insert(partition);
    }

    /// There is more to send.
    pub(super) fn grew(&mut self, partition: Watched) {
        self.touched.insert(partition);
        for session in self.followers.values_mut() {
            if session.partitions.get(&partition).is_some_and(|standing| !standing.is_sent) {
                session.news.insert(partition);
            }
        }
    }

    /// The log begins later: followers hear of it at once, so that what was deleted does not come back with another leader.
    pub(super) fn began_later(&mut self, partition: Watched) {
        for session in self.followers.values_mut() {
            if session.partitions.contains_key(&partition) {
                session.moved.insert(partition);
                session.moved_due = Some(Monotonic::default());
            }
        }
    }

    /// There is a new high watermark to tell.
    pub(super) fn moved(&mut self, now: Now, partition: Watched) {
        let due = self.high_watermark_due(now);
        for session in self.followers.values_mut() {
            if session.partitions.contains_key(&partition) {
                session.moved.insert(partition);
                session.moved_due.get_or_insert(due);
            }
        }
    }

    /// The partition is not led any more, or in another epoch: what followers said is void.
    pub(super) fn forget(&mut self, partition: Watched) {
        for session in self.followers.values_mut() {
            session.forget(partition);
        }
        self.touched.remove(&partition);
        self.set_deadline(partition, None);
    }

    /// A node is not there any more, or in another life.
    pub(super) fn forget_nodes_but(&mut self, lives: impl Fn(NodeId) -> Option<BrokerEpoch>) {
        self.followers.retain(|node, session| lives(*node) == Some(session.broker_epoch));
    }

    fn set_deadline(&mut self, partition: Watched, at: Option<Monotonic>) {
        let before = match at {
            Some(at) => self.deadline_of.insert(partition, at),
            None => self.deadline_of.remove(&partition),
        };
        if before != at {
            if let Some(before) = before {
                self.deadlines.remove(&(before, partition));
            }
            self.deadlines.extend(at.map(|at| (at, partition)));
        }
    }
}

impl Session {
    fn begin(fetch: &ReplicaFetch) -> Self {
        Self {
            broker_epoch: fetch.broker_epoch,
            number: fetch.number,
            is_answered: true,
            answers: 0,
            partitions: BTreeMap::new(),
            news: BTreeSet::new(),
            moved: BTreeSet::new(),
            moved_due: None,
            early: BTreeMap::new(),
        }
    }

    fn forget(&mut self, partition: Watched) {
        self.partitions.remove(&partition);
        self.news.remove(&partition);
        self.moved.remove(&partition);
    }

    fn is_due(&self, now: Monotonic) -> bool {
        !self.is_answered && (!self.news.is_empty() || self.moved_due.is_some_and(|due| due <= now))
    }
}

impl Node {
    /// Where the log of a partition ends, if it is held here.
    pub(crate) fn log_end(&self, (topic, partition): Watched) -> Option<Offset> {
        Some(self.replica(topic, partition).ok()?.log.end_offset())
    }

    /// Who fetches a partition from this node, each with its present life.
    pub(crate) fn followers_of(
        &self,
        (topic, partition): Watched,
    ) -> impl Iterator<Item = (NodeId, BrokerEpoch)> {
        let replicas = self.metadata.partition(topic, partition).map(|known| &known.replicas[..]);
        let follows = |(node, life): &(NodeId, BrokerEpoch)| {
            self.serving.followers.get(node).is_some_and(|session| session.broker_epoch == *life)
        };
        let lives =
            replicas.unwrap_or_default().iter().filter_map(|node| Some((*node, self.lives.of(*node)?)));
        lives.filter(follows)
    }

    /// A follower says where it stands.
    pub(super) fn followed(&mut self, now: Now, from: NodeId, fetch: ReplicaFetch, effects: &mut Effects) {
        let is_of_now = fetch.leader_broker_epoch == self.broker_epoch;
        if !is_of_now {
            return;
        }
        let session = self.serving.followers.get(&from);
        let is_late = session.is_some_and(|known| {
            fetch.broker_epoch < known.broker_epoch
                || (fetch.broker_epoch == known.broker_epoch && fetch.number <= known.number)
        });
        let is_new = session.is_none_or(|known| known.broker_epoch != fetch.broker_epoch);
        // One that goes on from what is not known here begins anew when it hears nothing.
        if is_late || (is_new && !fetch.begins) {
            return;
        }
        if fetch.begins {
            self.serving.followers.insert(from, Session::begin(&fetch));
        }
        let Some(session) = self.serving.followers.get_mut(&from) else { return };
        // Something it said did not come. It is told as if an answer had been lost: it begins anew.
        session.answers += u64::from(!fetch.begins && session.number + 1 != fetch.number);
        session.number = fetch.number;
        session.is_answered = false;
        for partition in fetch.gone {
            session.forget(partition);
            session.early.remove(&partition);
        }
        for at in fetch.partitions {
            self.follower_stands(now, (from, fetch.broker_epoch), at, effects);
        }
    }

    fn follower_stands(
        &mut self,
        now: Now,
        (from, broker_epoch): (NodeId, BrokerEpoch),
        at: ReplicaAt,
        effects: &mut Effects,
    ) {
        let partition = (at.topic, at.partition);
        let is_early = self.is_early(&at);
        if let Some(session) = self.serving.followers.get_mut(&from) {
            session.early.remove(&partition);
            if is_early {
                session.early.insert(partition, at);
                return;
            }
        }
        let said = FollowerAt {
            broker_epoch,
            log_start: at.log_start,
            log_end: at.fetch_offset,
            last_epoch: at.last_epoch,
            synced: at.synced,
        };
        let heard = self.hear(now, from, &at, said);
        let (verdict, moved, is_behind) = match heard {
            Ok((Heard::Follows { moved }, log_end)) => (None, moved, at.fetch_offset < log_end),
            Ok((Heard::Diverges { epoch, end }, _)) => {
                (Some(Ok(ReplicaData::Diverging { epoch, end })), false, true)
            }
            Err(refusal) => (Some(Err(refusal)), false, true),
        };
        let high_watermark =
            self.replica(at.topic, at.partition).ok().map(|replica| replica.positions().high_watermark);
        let due = self.serving.high_watermark_due(now);
        if let Some(session) = self.serving.followers.get_mut(&from) {
            let told_high_watermark =
                session.partitions.get(&partition).and_then(|standing| standing.told_high_watermark);
            if told_high_watermark != high_watermark && verdict.is_none() {
                session.moved.insert(partition);
                session.moved_due.get_or_insert(due);
            }
            let standing = Standing { at, is_sent: false, verdict, told_high_watermark };
            session.partitions.insert(partition, standing);
            if is_behind {
                session.news.insert(partition);
            }
        }
        self.serving.touch(partition);
        if moved {
            self.high_watermark_moved(now, partition, effects);
        }
        self.wake_deletions(now, partition, effects);
    }

    /// Whether a follower knows more of who leads a partition than this node, which is about to learn it.
    fn is_early(&self, at: &ReplicaAt) -> bool {
        let known = self.metadata.partition(at.topic, at.partition);
        known.is_none_or(|known| known.leader_epoch < at.leader_epoch)
    }

    /// This node knows more: what followers said that knew it before counts from now on.
    pub(super) fn hear_early(&mut self, now: Now, effects: &mut Effects) {
        for (from, broker_epoch, at) in self.take_early() {
            self.follower_stands(now, (from, broker_epoch), at, effects);
        }
    }

    fn take_early(&mut self) -> Vec<(NodeId, BrokerEpoch, ReplicaAt)> {
        let mut early = Vec::new();
        for (from, session) in &mut self.serving.followers {
            let said = std::mem::take(&mut session.early).into_values();
            early.extend(said.map(|at| (*from, session.broker_epoch, at)));
        }
        early
    }

    /// What the partition's leader makes of it, and where its log ends.
    fn hear(
        &mut self,
        now: Now,
        from: NodeId,
        at: &ReplicaAt,
        said: FollowerAt,
    ) -> Result<(Heard, Offset), Refusal> {
        let topic = self.topics.get_mut(&at.topic).ok_or(Refusal::UnknownTopicOrPartition)?;
        let rules = topic.rules;
        let replica = topic.replica_mut(at.partition)?;
        let end_of_last = replica.log.end_offset_for(at.last_epoch);
        let log_end = replica.log.end_offset();
        let leader = replica.leader_mut()?;
        leader.check_epoch(at.leader_epoch)?;
        let heard = leader.fetched(now.monotonic, from, said, end_of_last, &rules)?;
        let sent_to_all = leader.sent_to_all();
        if heard == (Heard::Follows { moved: true }) {
            replica.note_undecided();
        }
        if let Role::Leads(_, Some(tail)) = &mut replica.role {
            tail.drop_below(sent_to_all, &mut self.serving.tails);
        }
        Ok((heard, log_end))
    }

    /// A partition's high watermark moved: whoever waits for that is looked at.
    pub(super) fn high_watermark_moved(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        self.serving.moved(now, partition);
        self.checkpoint_high_watermark(now, partition);
        self.wake_everyone(now, partition, effects);
    }

    /// Sends followers what there is for them, and proposes who is to be in sync.
    pub(super) fn serve_followers(&mut self, now: Now, effects: &mut Effects) {
        while let Some(&(at, partition)) = self.serving.deadlines.first()
            && at <= now.monotonic
        {
            self.serving.set_deadline(partition, None);
            self.tick_leader(now, partition, effects);
        }
        self.propose(now, effects);
        let due = self.serving.followers.iter().filter(|(_, session)| session.is_due(now.monotonic));
        for follower in due.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.answer_follower(follower, effects);
        }
    }

    fn tick_leader(&mut self, now: Now, partition: Watched, effects: &mut Effects) {
        let Some(topic) = self.topics.get_mut(&partition.0) else { return };
        let rules = topic.rules;
        let Ok(replica) = topic.replica_mut(partition.1) else { return };
        let Ok(leader) = replica.leader_mut() else { return };
        let moved = leader.tick(now.monotonic, &rules);
        replica.note_undecided();
        self.serving.touch(partition);
        if moved {
            self.high_watermark_moved(now, partition, effects);
        }
    }

    /// Proposes changes of in-sync sets, where there are any to propose.
    fn propose(&mut self, now: Now, effects: &mut Effects) {
        let mut proposals = Vec::new();
        for partition in std::mem::take(&mut self.serving.touched) {
            let Some(topic) = self.topics.get_mut(&partition.0) else { continue };
            let rules = topic.rules;
            let Ok(replica) = topic.replica_mut(partition.1) else { continue };
            let Role::Leads(leader, _) = &mut replica.role else { continue };
            let proposal = leader.proposal(now.monotonic, &self.lives, &rules);
            let deadline = leader.next_deadline(now.monotonic, &rules);
            self.serving.set_deadline(partition, deadline);
            if let Some(proposal) = proposal {
                let none = BrokerEpoch(-1);
                let member = |(node, life): (NodeId, Option<BrokerEpoch>)| (node, life.unwrap_or(none));
                proposals.push(InSyncProposal {
                    topic: partition.0,
                    partition: partition.1,
                    leader_epoch: proposal.leader_epoch,
                    partition_epoch: proposal.partition_epoch,
                    attempt: proposal.attempt,
                    in_sync: proposal.in_sync.into_iter().map(member).collect(),
                    recovered: true,
                });
            }
        }
        if !proposals.is_empty() {
            self.tell_controller(Ask::AlterPartitions(proposals), effects);
        }
    }

    /// Changes that were proposed are not made.
    pub(super) fn not_in_sync(&mut self, now: Now, refused: Vec<InSyncRefused>) {
        for InSyncRefused { topic, partition, leader_epoch, attempt, why, .. } in refused {
            let Ok(replica) = self.replica_mut(topic, partition) else { continue };
            let Ok(leader) = replica.leader_mut() else { continue };
            if leader.epoch() != leader_epoch {
                continue;
            }
            let why = match why {
                Refusal::IneligibleReplica => NotChanged::Ineligible,
                Refusal::Storage { .. } | Refusal::NotController => NotChanged::Failed,
                _ => NotChanged::Outdated,
            };
            leader.refused(now.monotonic, attempt, why);
            self.serving.touch((topic, partition));
        }
    }
}
