//! Leaders propose who is in sync (`ReplicationControlManager.alterPartition`).

use std::collections::BTreeSet;

use highwater_storage::TopicId;

use super::Controller;
use super::members::{At, Decided};
use super::target::Step;
use crate::cluster::partition::{LeaderChange, PartitionChange, Unusual};
use crate::cluster::record::{MetadataRecord, NodeState};
use crate::ids::{BrokerEpoch, NodeId};
use crate::message::{InSyncProposal, InSyncRefused};
use crate::refusal::Refusal;

/// The life of a member whose leader does not know it.
const ANY_LIFE: BrokerEpoch = BrokerEpoch(-1);

impl Controller<'_> {
    /// Decides on proposals of a node. One that is taken changes its partition, also if only its version.
    pub(crate) fn alter_in_sync(
        &self,
        from: NodeId,
        proposals: &[InSyncProposal],
    ) -> (Decided, Vec<InSyncRefused>) {
        let (mut decided, mut refused) = (Decided::default(), Vec::new());
        let mut changed = BTreeSet::new();
        let serves = |node| self.metadata.serves(node);
        for proposal in proposals {
            let checked = self.check_proposal(from, proposal).and_then(|at| {
                match changed.insert((proposal.topic, proposal.partition)) {
                    true => Ok(at),
                    false => Err(Refusal::InvalidUpdateVersion),
                }
            });
            match checked {
                Ok(at) => {
                    let mut target = at.target(&serves);
                    target.in_sync = proposal.in_sync.iter().map(|(node, _)| *node).collect();
                    target.is_recovering &= !proposal.recovered;
                    let step = target.step(at.index).unwrap_or_else(|| only_version(&at));
                    decided.push(&at, step);
                }
                Err(why) => refused.push(proposal.refused(why)),
            }
        }
        (decided, refused)
    }

    /// What becomes of who is eligible when `min.insync.replicas` changes on these topics (Kafka's ClearElrRecord): what
    /// is committed from then on they may not have. Where nobody leads nothing is committed.
    pub(crate) fn forget_eligible(&self, is_meant: impl Fn(TopicId) -> bool) -> Vec<MetadataRecord> {
        let mut decided = Decided::default();
        let has_some =
            |at: &At<'_>| at.partition.leader.is_some() && at.partition.eligible().next().is_some();
        for at in self.every_partition().filter(|at| is_meant(at.id)).filter(has_some) {
            let unusual = Unusual { eligible: Vec::new(), ..at.partition.unusual().clone() };
            let Step { change, is_unclean } = only_version(&at);
            decided
                .push(&at, Step { change: PartitionChange { unusual: Some(unusual), ..change }, is_unclean });
        }
        decided.records
    }

    /// Kafka's checks in Kafka's order.
    fn check_proposal(&self, from: NodeId, proposal: &InSyncProposal) -> Result<At<'_>, Refusal> {
        let id = proposal.topic;
        let topic = self.metadata.topic(id).ok_or(Refusal::UnknownTopicId)?;
        let index = proposal.partition;
        let partition = self.metadata.partition(id, index).ok_or(Refusal::UnknownTopicOrPartition)?;
        if proposal.leader_epoch > partition.leader_epoch
            || proposal.partition_epoch > partition.partition_epoch
        {
            return Err(Refusal::NotController);
        }
        if proposal.leader_epoch < partition.leader_epoch {
            let epoch = partition.leader_epoch;
            return Err(Refusal::FencedLeaderEpoch { leader: partition.leader.unwrap_or(NodeId(-1)), epoch });
        }
        if partition.leader != Some(from) {
            return Err(Refusal::invalid_request("Another node leads the partition."));
        }
        if proposal.partition_epoch < partition.partition_epoch {
            return Err(Refusal::InvalidUpdateVersion);
        }
        let mut members = BTreeSet::new();
        let is_replica = |node: &NodeId| partition.replicas.contains(node);
        if !proposal.in_sync.iter().all(|(node, _)| is_replica(node) && members.insert(*node)) {
            return Err(Refusal::invalid_request("Only replicas are in sync, each once."));
        }
        if !members.contains(&from) {
            return Err(Refusal::invalid_request("The leader is always in sync."));
        }
        if partition.is_recovering() && !proposal.recovered && members.len() > 1 {
            return Err(Refusal::invalid_request("Nobody is in sync with a leader that recovers."));
        }
        if !proposal.in_sync.iter().all(|(node, life)| self.may_be_in_sync(*node, *life)) {
            return Err(Refusal::IneligibleReplica);
        }
        Ok(At { id, topic, index, partition, rules: self.replica_rules(topic) })
    }

    fn may_be_in_sync(&self, node: NodeId, life: BrokerEpoch) -> bool {
        self.metadata.node(node).is_some_and(|known| {
            known.state == NodeState::Serving && (life == ANY_LIFE || life == known.broker_epoch)
        })
    }
}

/// The leader waits for an answer, and that is a new version of the partition.
fn only_version(at: &At<'_>) -> Step {
    let change = PartitionChange {
        partition: at.index.0,
        leader: LeaderChange::None,
        in_sync: None,
        replicas: None,
        unusual: None,
    };
    Step { change, is_unclean: false }
}
