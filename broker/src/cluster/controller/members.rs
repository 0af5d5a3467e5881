//! Nodes come and go, and with them who leads and who is in sync (`ClusterControlManager`,
//! `ReplicationControlManager.handleBrokerFenced` and its like).
//!
//! A node that stopped uncleanly may have lost what it had, and so is in sync with nothing and eligible for nothing when
//! it comes back (KIP-966). But where nobody else is left, those that start together keep their places, for nobody is
//! known to have more than they; and where only processes ended, they have everything. Kafka, which registers one node at
//! a time, takes the place of each away and at last elects who led before, as uncleanly elected.

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::{LeaderEpoch, Offset, StopKind, TopicId};

use super::Controller;
use super::target::{Election, Step, Target};
use crate::cluster::metadata::TopicMetadata;
use crate::cluster::partition::{PartitionChange, PartitionMetadata};
use crate::cluster::record::{MetadataRecord, NodeState};
use crate::config::ReplicaRules;
use crate::ids::{NodeId, PartitionIndex, TopicName};

/// What comes next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    /// To be written down together.
    pub(crate) records: Vec<MetadataRecord>,
    /// Which partitions may lose something by it.
    pub(crate) unclean: Vec<UncleanElection>,
}

/// A partition is led by one that may lack what is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UncleanElection {
    /// How many there were, with this one.
    pub number: u64,
    /// The topic,
    pub(crate) topic: TopicId,
    /// its name,
    pub name: TopicName,
    /// and the partition.
    pub partition: PartitionIndex,
    /// Who leads from then on; what it does not have is lost.
    pub leader: NodeId,
    /// The epoch that began with it: what is lost was written in earlier ones.
    pub epoch: LeaderEpoch,
    /// Who had everything that is committed, before.
    pub had_all: Vec<NodeId>,
    /// Who led last.
    pub last_leader: Option<NodeId>,
    /// Where the log of the new leader ended: what others had from there on is lost. None until it has said so.
    pub lost_from: Option<Offset>,
    /// What those had of it who are back, and have cut their logs to the leader's.
    pub cut: Vec<LostRange>,
}

/// Records that a node had and its leader does not have: they are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostRange {
    /// Who had them.
    pub node: NodeId,
    /// The first offset,
    pub from: Offset,
    /// and the one after the last.
    pub to: Offset,
    /// Below it they were committed, as far as the node knew: the high watermark, of which a node that was killed knows what
    /// it was up to five seconds earlier.
    pub committed: Offset,
}

impl UncleanElection {
    /// Where what is known to be lost ends; none before one is back who had it.
    pub fn lost_to(&self) -> Option<Offset> {
        self.cut.iter().map(|range| range.to).max()
    }

    /// Whether a node may have had something that is lost now.
    pub(crate) fn had(&self, node: NodeId) -> bool {
        self.had_all.contains(&node) || self.last_leader == Some(node)
    }

    /// A node cut this off, perhaps after more of it; false if that was known.
    pub(crate) fn note_cut(&mut self, range: LostRange) -> bool {
        let Some(known) = self.cut.iter_mut().find(|known| known.node == range.node) else {
            self.cut.push(range);
            return true;
        };
        let before = *known;
        known.from = known.from.min(range.from);
        known.to = known.to.max(range.to);
        known.committed = known.committed.max(range.committed);
        *known != before
    }
}

/// A partition that may change, and what its topic's replicas keep to.
pub(super) struct At<'a> {
    pub(super) id: TopicId,
    pub(super) topic: &'a TopicMetadata,
    pub(super) index: PartitionIndex,
    pub(super) partition: &'a PartitionMetadata,
    pub(super) rules: ReplicaRules,
}

impl<'a> At<'a> {
    /// The partition as it is, to be made another one.
    pub(super) fn target(&self, may_lead: &'a dyn Fn(NodeId) -> bool) -> Target<'a> {
        let mut target = Target::new(self.partition, self.rules.min_in_sync, may_lead);
        if self.rules.elects_uncleanly {
            target.election = Election::Unclean;
        }
        target
    }
}

impl Decided {
    /// A step of a partition. Those of one topic follow each other.
    pub(super) fn push(&mut self, at: &At<'_>, step: Step) {
        let Step { change, is_unclean } = step;
        if is_unclean {
            self.unclean.extend(unclean(at, &change));
        }
        match self.records.last_mut() {
            Some(MetadataRecord::PartitionsChanged { id, changes }) if *id == at.id.get() => {
                changes.push(change)
            }
            _ => {
                let id = at.id.get();
                self.records.push(MetadataRecord::PartitionsChanged { id, changes: vec![change] });
            }
        }
    }
}

impl Decided {
    /// Whether a partition is to change already.
    pub(super) fn names(&self, topic: TopicId, partition: PartitionIndex) -> bool {
        self.records.iter().any(|record| match record {
            MetadataRecord::PartitionsChanged { id, changes } => {
                *id == topic.get() && changes.iter().any(|change| change.partition == partition.0)
            }
            _ => false,
        })
    }
}

fn unclean(at: &At<'_>, change: &PartitionChange) -> Option<UncleanElection> {
    let leader = change.leader.node()?;
    Some(UncleanElection {
        number: 0,
        topic: at.id,
        name: at.topic.name.clone(),
        partition: at.index,
        leader,
        epoch: at.partition.leader_epoch.next(),
        had_all: at.partition.in_sync.iter().copied().chain(at.partition.eligible()).collect(),
        last_leader: at.partition.leader.or(at.partition.last_leader()),
        lost_from: None,
        cut: Vec::new(),
    })
}

impl Controller<'_> {
    /// Every partition.
    pub(super) fn every_partition(&self) -> impl Iterator<Item = At<'_>> {
        self.metadata.by_name().flat_map(|(id, topic)| {
            let rules = self.replica_rules(topic);
            let at =
                move |(index, partition)| At { id, topic, index: PartitionIndex(index), partition, rules };
            (0..).zip(&topic.partitions).map(at)
        })
    }

    pub(super) fn replica_rules(&self, topic: &TopicMetadata) -> ReplicaRules {
        crate::config::TopicConfig::replica_rules(&topic.configs, self.config)
    }

    /// Nodes come up together; `live` are those that are up.
    pub(crate) fn start(&self, starting: &BTreeMap<NodeId, StopKind>, live: &BTreeSet<NodeId>) -> Decided {
        let mut decided = Decided::default();
        let is_lost = |node: NodeId| {
            let is_known = self.metadata.node(node).is_some_and(|node| node.state != NodeState::Fenced);
            is_known && !live.contains(&node) && !starting.contains_key(&node)
        };
        let fenced = |node: NodeId| MetadataRecord::NodeChanged { node: node.0, state: NodeState::Fenced };
        let started = |node: &NodeId| MetadataRecord::NodeStarted { node: node.0 };
        decided.records.extend(self.metadata.nodes().filter(|node| is_lost(*node)).map(fenced));
        decided.records.extend(starting.keys().map(started));
        let is_damaged = |node: NodeId| starting.get(&node) == Some(&StopKind::Unclean);
        let may_lead =
            |node| starting.contains_key(&node) || (live.contains(&node) && self.metadata.serves(node));
        for at in self.every_partition() {
            let had_all = || at.partition.in_sync.iter().copied().chain(at.partition.eligible());
            let concerns = |node: NodeId| is_lost(node) || is_damaged(node);
            if at.partition.leader.is_some() && !had_all().any(concerns) {
                continue;
            }
            let mut target = at.target(&may_lead);
            if had_all().any(|node| !is_damaged(node)) {
                target.damaged = had_all().filter(|node| is_damaged(*node)).collect();
            }
            let damaged = &target.damaged;
            target.in_sync.retain(|node| !is_lost(*node) && !damaged.contains(node));
            if let Some(step) = target.step(at.index) {
                decided.push(&at, step);
            }
        }
        decided
    }

    /// A node is not there any more, or nobody hears from it.
    pub(crate) fn fence(&self, node: NodeId) -> Decided {
        self.take_out(node, NodeState::Fenced)
    }

    /// A node wants to stop.
    pub(crate) fn leave(&self, node: NodeId) -> Decided {
        self.take_out(node, NodeState::Leaving)
    }

    fn take_out(&self, node: NodeId, state: NodeState) -> Decided {
        let mut decided = Decided::default();
        if self
            .metadata
            .node(node)
            .is_none_or(|known| known.state == NodeState::Fenced || known.state == state)
        {
            return decided;
        }
        decided.records.push(MetadataRecord::NodeChanged { node: node.0, state });
        let may_lead = |other| other != node && self.metadata.serves(other);
        for at in self.every_partition().filter(|at| at.partition.in_sync.contains(&node)) {
            let mut target = at.target(&may_lead);
            target.in_sync.retain(|other| *other != node);
            if let Some(step) = target.step(at.index) {
                decided.push(&at, step);
            }
        }
        decided
    }

    /// Logs of a node failed (`handleDirectoriesOffline`). Where others are in sync one of them leads, and the node leaves the
    /// set; what it may have lost keeps it from being eligible. Left alone it stays what it is: what it has can be read.
    pub(crate) fn logs_failed(&self, node: NodeId, logs: &[(TopicId, PartitionIndex)]) -> Decided {
        let mut decided = Decided::default();
        let may_lead = |other| other != node && self.metadata.serves(other);
        for (id, index) in logs.iter().copied().collect::<BTreeSet<_>>() {
            let Some(at) = self.at(id, index) else { continue };
            let others = at.partition.in_sync.iter().filter(|other| may_lead(**other)).count();
            if !at.partition.in_sync.contains(&node) || others == 0 {
                continue;
            }
            let mut target = at.target(&may_lead);
            target.in_sync.retain(|other| *other != node);
            target.damaged.insert(node);
            if let Some(step) = target.step(at.index) {
                decided.push(&at, step);
            }
        }
        decided
    }

    fn at(&self, id: TopicId, index: PartitionIndex) -> Option<At<'_>> {
        let topic = self.metadata.topic(id)?;
        let partition = self.metadata.partition(id, index)?;
        Some(At { id, topic, index, partition, rules: self.replica_rules(topic) })
    }

    /// A node that was not heard is heard again.
    pub(crate) fn unfence(&self, node: NodeId) -> Decided {
        let mut decided = Decided::default();
        if self.metadata.node(node).is_none_or(|known| known.state != NodeState::Fenced) {
            return decided;
        }
        decided.records.push(MetadataRecord::NodeChanged { node: node.0, state: NodeState::Serving });
        let may_lead = |other| other == node || self.metadata.serves(other);
        for at in self.every_partition().filter(|at| at.partition.leader.is_none()) {
            if let Some(step) = at.target(&may_lead).step(at.index) {
                decided.push(&at, step);
            }
        }
        decided
    }
}
