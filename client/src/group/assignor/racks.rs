//! Whether racks are looked at (`AbstractPartitionAssignor.useRackAwareAssignment`, KIP-881): some member is in a rack where
//! there are replicas, and not all partitions have replicas in the same racks. All replicas count, in sync or not.

use std::collections::BTreeSet;

use highwater_protocol::Text;

use super::{GroupMember, GroupTopics};
use crate::metadata::TopicPartition;

/// A member's rack, if it is anywhere.
pub(super) fn rack_of(member: &GroupMember) -> Option<&Text> {
    member.rack.as_ref().filter(|rack| !rack.is_empty())
}

/// Whether these members and partitions, given by the racks of their replicas, are to be brought together.
pub(super) fn matter<'a>(
    mut members: impl Iterator<Item = &'a GroupMember>,
    mut partitions: impl Iterator<Item = &'a BTreeSet<Text>> + Clone,
) -> bool {
    let everywhere: BTreeSet<&Text> = partitions.clone().flatten().collect();
    let is_near = |member| rack_of(member).is_some_and(|rack| everywhere.contains(rack));
    members.any(is_near) && partitions.any(|racks| racks.len() < everywhere.len())
}

/// Whether a partition has a replica where a member is, or the member is nowhere.
pub(super) fn is_near(member: &GroupMember, racks: Option<&BTreeSet<Text>>) -> bool {
    rack_of(member).is_none_or(|rack| racks.is_some_and(|racks| racks.contains(rack)))
}

/// The racks of a partition's replicas.
pub(super) fn racks_of<'a>(topics: &'a GroupTopics, at: &TopicPartition) -> Option<&'a BTreeSet<Text>> {
    topics.get(&at.topic)?.racks.get(usize::try_from(at.partition).ok()?)
}
