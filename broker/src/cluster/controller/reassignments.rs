//! Partitions get other replicas (KIP-455, `ReplicationControlManager.alterPartitionReassignments`).
//!
//! All of the old and the new replicas hold the partition until the new ones are in sync; then the old ones go.

use std::collections::BTreeSet;

use super::Controller;
use super::members::{At, Decided};
use super::target::{Election, Step};
use crate::cluster::partition::PartitionMetadata;
use crate::controller::{Reassignment, ReassignmentOutcome, ReassignmentsRequest, TopicReassignments};
use crate::ids::{NodeId, PartitionIndex, TopicName};
use crate::refusal::Refusal;

impl Controller<'_> {
    /// Decides on new replicas.
    pub(crate) fn reassign(&self, request: &ReassignmentsRequest) -> (Decided, Vec<ReassignmentOutcome>) {
        let mut decided = Decided::default();
        let outcomes = request
            .topics
            .iter()
            .map(|(name, partitions)| {
                let mut one = |(index, replicas): &(PartitionIndex, Option<Vec<i32>>)| {
                    let may_change = request.may_change_factor;
                    (*index, self.reassign_one(name, *index, replicas.as_deref(), may_change, &mut decided))
                };
                ReassignmentOutcome {
                    name: name.clone(),
                    partitions: partitions.iter().map(&mut one).collect(),
                }
            })
            .collect();
        (decided, outcomes)
    }

    fn reassign_one(
        &self,
        name: &TopicName,
        index: PartitionIndex,
        replicas: Option<&[i32]>,
        may_change_factor: bool,
        decided: &mut Decided,
    ) -> Result<(), Refusal> {
        let found = self.metadata.id_of(name).and_then(|id| Some((id, self.metadata.topic(id)?)));
        let (id, topic) = found.ok_or_else(|| Refusal::NoSuchPartition {
            // The words are told with every partition: what cannot be a name is not repeated.
            message: match name.check() {
                Ok(()) => format!("Unable to find a topic named {name}."),
                Err(_) => "Unable to find the topic.".to_owned(),
            },
        })?;
        let partition = self.metadata.partition(id, index).ok_or_else(|| Refusal::NoSuchPartition {
            message: format!("Unable to find partition {name}:{index}."),
        })?;
        if decided.names(id, index) {
            return Err(Refusal::invalid_request("The partition is named twice."));
        }
        let at = At { id, topic, index, partition, rules: self.replica_rules(topic) };
        let step = match replicas {
            None => self.revert(&at)?,
            Some(replicas) => self.change_replicas(&at, replicas, may_change_factor)?,
        };
        if let Some(step) = step {
            decided.push(&at, step);
        }
        Ok(())
    }

    /// Back to the replicas that there were (`PartitionReassignmentRevert`).
    fn revert(&self, at: &At<'_>) -> Result<Option<Step>, Refusal> {
        if !at.partition.is_reassigned() {
            return Err(Refusal::NoReassignment);
        }
        let adding: BTreeSet<NodeId> = at.partition.unusual().adding.iter().copied().map(NodeId).collect();
        let stay = |of: &[NodeId]| -> Vec<NodeId> {
            of.iter().copied().filter(|node| !adding.contains(node)).collect()
        };
        let serves = |node: NodeId| self.metadata.serves(node);
        let mut target = at.target(&serves);
        (target.replicas, target.in_sync) = (stay(&at.partition.replicas), stay(&at.partition.in_sync));
        (target.adding, target.removing) = (Vec::new(), Vec::new());
        if target.in_sync.is_empty() && !at.rules.elects_uncleanly {
            let (name, index) = (&at.topic.name, at.index);
            return Err(Refusal::InvalidReplicaAssignment {
                message: format!(
                    "Unable to revert partition assignment for {name}:{index} because it would require an unclean \
                     leader election."
                ),
            });
        }
        Ok(target.step(at.index))
    }

    fn change_replicas(
        &self,
        at: &At<'_>,
        wanted: &[i32],
        may_change_factor: bool,
    ) -> Result<Option<Step>, Refusal> {
        let refuse = |message| Refusal::InvalidReplicaAssignment { message };
        self.check_assignment(wanted, None).map_err(refuse)?;
        let wanted: Vec<NodeId> = wanted.iter().copied().map(NodeId).collect();
        let factor = final_factor(at.partition);
        if !may_change_factor && factor != wanted.len() {
            let message = format!("The replication factor is changed from {factor} to {}", wanted.len());
            return Err(Refusal::InvalidReplicationFactor { message });
        }
        let present = &at.partition.replicas;
        let was_added = |node: &NodeId| at.partition.unusual().adding.contains(&node.0);
        let serves = |node: NodeId| self.metadata.serves(node);
        let mut target = at.target(&serves);
        target.election = Election::Online;
        // What was under way is over: only what is wanted now counts. (Kafka leaves those marked that were on their way in
        // and are not wanted any more, and does not come to an end.)
        target.adding =
            wanted.iter().copied().filter(|node| !present.contains(node) || was_added(node)).collect();
        target.removing = present.iter().copied().filter(|node| !wanted.contains(node)).collect();
        target.replicas = wanted.iter().chain(&target.removing).copied().collect();
        Ok(target.step(at.index))
    }

    /// Partitions that are on their way to other replicas; none for all.
    pub(crate) fn list_reassignments(
        &self,
        asked: Option<&[(TopicName, Vec<PartitionIndex>)]>,
    ) -> Vec<TopicReassignments> {
        let of_topic = |name: &TopicName, chosen: Option<&[PartitionIndex]>| {
            let topic = self.metadata.topic(self.metadata.id_of(name)?)?;
            let partitions: Vec<_> = match chosen {
                Some(chosen) => {
                    chosen.iter().filter_map(|at| under_way(*at, topic.partitions.get(at.slot()?)?)).collect()
                }
                None => (0..)
                    .map(PartitionIndex)
                    .zip(&topic.partitions)
                    .filter_map(|(at, partition)| under_way(at, partition))
                    .collect(),
            };
            (!partitions.is_empty()).then(|| TopicReassignments { name: name.clone(), partitions })
        };
        match asked {
            Some(topics) => topics.iter().filter_map(|(name, at)| of_topic(name, Some(at))).collect(),
            None => self.metadata.by_name().filter_map(|(_, topic)| of_topic(&topic.name, None)).collect(),
        }
    }
}

fn under_way(index: PartitionIndex, partition: &PartitionMetadata) -> Option<Reassignment> {
    let nodes = |of: &[i32]| of.iter().copied().map(NodeId).collect();
    partition.is_reassigned().then(|| Reassignment {
        index,
        replicas: partition.replicas.to_vec(),
        adding: nodes(&partition.unusual().adding),
        removing: nodes(&partition.unusual().removing),
    })
}

/// How many replicas there are, or will be when what is under way is done.
fn final_factor(partition: &PartitionMetadata) -> usize {
    let going = |node: &&NodeId| partition.unusual().removing.contains(&node.0);
    partition.replicas.iter().filter(|node| !going(node)).count()
}
