//! A partition whose log this node holds: it leads it, or follows who does.

use std::sync::Arc;

use highwater_storage::{LeaderEpoch, Log, Offset, TopicId};

use super::{LocalTopic, Node};
use crate::cluster::metadata::{PartitionMetadata, TopicMetadata};
use crate::config::{BrokerConfig, Durability, TopicConfig};
use crate::ids::{Monotonic, NodeId, PartitionIndex};
use crate::partition::follower::{Follower, Held};
use crate::partition::leader::{Isolation, Leader, Positions, SyncEvery};
use crate::partition::parked::Watched;
use crate::partition::tail::Tail;
use crate::partition::term::{Rules, Term};
use crate::producer::verification::Verifications;
use crate::refusal::Refusal;

/// The leader of what nobody leads, as the protocol has it.
const NOBODY: NodeId = NodeId(-1);

/// Tells a log from those that the same partition had here before it, within a node's life. A partition that is moved away
/// and back has another log: what becomes of work on the old one says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Birth(u64);

impl Birth {
    /// The one after it.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A partition whose log this node holds.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) log: Log,
    pub(super) birth: Birth,
    pub(super) role: Role,
    /// As a follower: from here on not every transaction is decided for good. A leader knows it itself.
    undecided: Option<Offset>,
    /// What the coordinators of transactions are asked about producers of this partition.
    pub(super) asked: Verifications,
    /// When `flush.ms` is over, if it runs.
    pub(super) flush_due: Option<Monotonic>,
    /// What of it is in the node's count of used bytes.
    pub(super) counted_bytes: u64,
    /// Up to where it is compacted, as its checkpoint is to say.
    pub(super) clean_upto: Option<Offset>,
    /// Whether damage keeps it from being compacted, until the next start.
    pub(super) is_uncleanable: bool,
}

/// What a node does with a partition.
#[derive(Debug)]
pub(super) enum Role {
    /// It leads it; with what was appended last, for its followers, if it has any.
    Leads(Leader, Option<Box<Tail>>),
    /// Another one leads it, or nobody.
    Follows(Follower),
}

impl Replica {
    pub(super) fn new(log: Log, birth: Birth, role: Role, clean_upto: Option<Offset>) -> Self {
        Self {
            log,
            birth,
            role,
            undecided: None,
            asked: Verifications::default(),
            flush_due: None,
            counted_bytes: 0,
            clean_upto,
            is_uncleanable: false,
        }
    }

    /// Where the partition stands, as far as this node knows.
    pub(super) fn positions(&self) -> Positions {
        match &self.role {
            Role::Leads(leader, _) => leader.positions(),
            Role::Follows(follower) => {
                let high_watermark = follower.high_watermark();
                let (log_start, log_end) = (self.log.start_offset(), self.log.end_offset());
                let decided = self.undecided.map_or(high_watermark, |first| first.min(high_watermark));
                Positions { log_start, last_stable: decided.max(log_start), high_watermark, log_end }
            }
        }
    }

    /// The epoch of the partition as this node knows it.
    pub(super) fn epoch(&self) -> LeaderEpoch {
        match &self.role {
            Role::Leads(leader, _) => leader.epoch(),
            Role::Follows(follower) => follower.epoch(),
        }
    }

    /// Whether a caller that believes in `claimed` may be served (KIP-320); -1 is not checked.
    pub(super) fn check_epoch(&self, claimed: LeaderEpoch) -> Result<(), Refusal> {
        match &self.role {
            Role::Leads(leader, _) => leader.check_epoch(claimed),
            Role::Follows(follower) if claimed.is_none() || claimed == follower.epoch() => Ok(()),
            Role::Follows(follower) if claimed < follower.epoch() => {
                let leader = follower.leader().unwrap_or(NOBODY);
                Err(Refusal::FencedLeaderEpoch { leader, epoch: follower.epoch() })
            }
            Role::Follows(_) => Err(Refusal::UnknownLeaderEpoch),
        }
    }

    /// What a reader of this isolation may not reach.
    pub(super) fn bound(&self, isolation: Isolation) -> Offset {
        self.positions().bound(isolation)
    }

    pub(super) fn leader(&self) -> Result<&Leader, Refusal> {
        match &self.role {
            Role::Leads(leader, _) => Ok(leader),
            Role::Follows(follower) => Err(not_leader(follower)),
        }
    }

    pub(super) fn leader_mut(&mut self) -> Result<&mut Leader, Refusal> {
        match &mut self.role {
            Role::Leads(leader, _) => Ok(leader),
            Role::Follows(follower) => Err(not_leader(follower)),
        }
    }

    /// Whether other nodes hold it, too.
    pub(super) fn is_replicated(&self) -> bool {
        match &self.role {
            Role::Leads(leader, _) => leader.in_sync().is_some(),
            Role::Follows(_) => true,
        }
    }

    /// The log, as who follows with it looks at it.
    pub(super) fn held(&self) -> Held<'_> {
        held(&self.log)
    }

    /// A leader's log grew; whether that moved the high watermark.
    pub(super) fn grew(&mut self, now: Monotonic, rules: &Rules) -> bool {
        // Before it can be seen: it may begin a transaction.
        self.note_undecided();
        let log_end = self.log.end_offset();
        let Role::Leads(leader, _) = &mut self.role else { return false };
        let moved = leader.grew(now, log_end, rules);
        if moved {
            self.note_undecided();
        }
        moved
    }

    /// The log or the high watermark is another one: so may be what is decided of the transactions in it.
    pub(super) fn note_undecided(&mut self) {
        let first = self.log.first_unstable_offset(self.positions().high_watermark);
        match &mut self.role {
            Role::Leads(leader, _) => leader.undecided_from(first),
            Role::Follows(_) => self.undecided = first,
        }
    }

    /// The log begins later than it did.
    pub(super) fn began_later(&mut self) {
        if let Role::Leads(leader, _) = &mut self.role {
            leader.began_at(self.log.start_offset());
        }
    }
}

pub(super) fn held(log: &Log) -> Held<'_> {
    Held { log_start: log.start_offset(), log_end: log.end_offset(), epochs: log.epochs() }
}

fn not_leader(follower: &Follower) -> Refusal {
    Refusal::NotLeader { leader: follower.leader(), epoch: follower.epoch() }
}

/// A partition that other nodes hold, and this one does not. Who leads it is known when somebody asks.
pub(super) fn elsewhere() -> Refusal {
    Refusal::NotLeader { leader: None, epoch: LeaderEpoch::NONE }
}

pub(super) fn is_elsewhere(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NotLeader { .. })
}

/// What holds for a partition, as its leader takes it.
pub(super) fn term(partition: &PartitionMetadata) -> Term {
    Term {
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: Arc::clone(&partition.replicas),
        in_sync: Arc::clone(&partition.in_sync),
    }
}

/// What is set for the partitions of a topic.
pub(super) fn rules(topic: &TopicMetadata, config: &TopicConfig, broker: &BrokerConfig) -> Rules {
    let of_replicas = TopicConfig::replica_rules(&topic.configs, broker);
    // A topic that is synced at every record promises as much as the broker could.
    let all_synced = match broker.durability() {
        Durability::None => config.flush_messages == 1,
        Durability::Leader => false,
        Durability::InSync => true,
    };
    Rules {
        sync_every: SyncEvery(config.flush_messages),
        min_in_sync: of_replicas.min_in_sync,
        all_synced,
        lag_micros: broker.lag_micros(),
    }
}

/// How many records a follower appends before it syncs.
pub(super) fn follower_syncs_every(config: &TopicConfig, broker: &BrokerConfig) -> i64 {
    match broker.durability() {
        Durability::Leader => i64::MAX,
        Durability::None | Durability::InSync => config.flush_messages,
    }
}

impl LocalTopic {
    /// A partition of it, if its log is held here.
    pub(super) fn replica_mut(&mut self, partition: PartitionIndex) -> Result<&mut Replica, Refusal> {
        let slot = partition.slot().and_then(|slot| self.partitions.get_mut(slot));
        slot.ok_or(Refusal::UnknownTopicOrPartition)?.as_mut().map_err(|refusal| refusal.clone())
    }
}

impl Node {
    /// A partition of which this node holds the log.
    pub(super) fn replica(&self, id: TopicId, partition: PartitionIndex) -> Result<&Replica, Refusal> {
        let topic = self.topics.get(&id).ok_or(Refusal::UnknownTopicOrPartition)?;
        let slot = partition.slot().and_then(|slot| topic.partitions.get(slot));
        let replica = slot.ok_or(Refusal::UnknownTopicOrPartition)?;
        replica.as_ref().map_err(|refusal| self.with_leader((id, partition), refusal))
    }

    pub(super) fn replica_mut(
        &mut self,
        id: TopicId,
        partition: PartitionIndex,
    ) -> Result<&mut Replica, Refusal> {
        self.topics.get_mut(&id).ok_or(Refusal::UnknownTopicOrPartition)?.replica_mut(partition)
    }

    /// A partition, if its log is still the one that was meant.
    pub(super) fn replica_born(&self, (id, partition): Watched, birth: Birth) -> Option<&Replica> {
        self.replica(id, partition).ok().filter(|replica| replica.birth == birth)
    }

    /// A replica, with its topic's settings.
    pub(super) fn replica_and_config(
        &mut self,
        (id, partition): Watched,
    ) -> Result<(&mut Replica, &TopicConfig), Refusal> {
        let LocalTopic { config, partitions, .. } =
            self.topics.get_mut(&id).ok_or(Refusal::UnknownTopicOrPartition)?;
        let slot = partition.slot().and_then(|slot| partitions.get_mut(slot));
        let replica = slot.ok_or(Refusal::UnknownTopicOrPartition)?;
        replica.as_mut().map(|replica| (replica, &**config)).map_err(|refusal| refusal.clone())
    }

    /// A partition that this node leads.
    pub(super) fn led(&self, id: TopicId, partition: PartitionIndex) -> Result<(&Replica, &Leader), Refusal> {
        let replica = self.replica(id, partition)?;
        replica.leader().map(|leader| (replica, leader))
    }

    /// Whoever asks the wrong node is told the right one.
    fn with_leader(&self, (id, partition): Watched, refusal: &Refusal) -> Refusal {
        match self.metadata.partition(id, partition) {
            Some(known) if is_elsewhere(refusal) => {
                Refusal::NotLeader { leader: known.leader, epoch: known.leader_epoch }
            }
            _ => refusal.clone(),
        }
    }
}
