//! What the lab's checks look at in a node, and clients never see.

use highwater_storage::{LeaderEpoch, Log, TopicId};

use super::Node;
use super::replica::Role;
use crate::cluster::metadata::ClusterMetadata;
use crate::ids::PartitionIndex;
use crate::partition::leader::Positions;

/// A partition whose log the node holds.
pub(crate) struct ReplicaView<'a> {
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
    /// Whether the node believes that it leads it.
    pub(crate) leads: bool,
    /// In which epoch somebody does.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) positions: Positions,
    pub(crate) log: &'a Log,
}

impl Node {
    /// The partitions whose logs it holds.
    pub(crate) fn views(&self) -> impl Iterator<Item = ReplicaView<'_>> {
        self.topics.iter().flat_map(|(topic, local)| {
            let slots = (0..).map(PartitionIndex).zip(&local.partitions);
            slots.filter_map(|(partition, slot)| {
                let replica = slot.as_ref().ok()?;
                Some(ReplicaView {
                    topic: *topic,
                    partition,
                    leads: matches!(replica.role, Role::Leads(..)),
                    epoch: replica.epoch(),
                    positions: replica.positions(),
                    log: &replica.log,
                })
            })
        })
    }

    /// Whether it has a replica of this partition.
    pub(crate) fn holds(&self, (topic, partition): (TopicId, PartitionIndex)) -> bool {
        let slot = self.topics.get(&topic).zip(partition.slot());
        slot.is_some_and(|(local, slot)| local.partitions.get(slot).is_some_and(Result::is_ok))
    }

    /// What it knows of the cluster.
    pub(crate) fn known(&self) -> &ClusterMetadata {
        &self.metadata
    }
}
