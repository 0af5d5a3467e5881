//! Groups of the consumer protocol (KIP-848): members say what they want to read, the coordinator says who reads what, and
//! each member comes to its part step by step, in heartbeats (`ConsumerGroup`).
//!
//! Three epochs grow together: the group's with every change of what its members want; the target's when the coordinator
//! has decided who is to read what; each member's when it has given up what it is not to read any more.
//!
//! Always: a partition is held by one member at most, also while it is being given up; a member's epoch never passes the
//! target's, nor the target's the group's. A change is made on a copy and takes effect when the records that tell the
//! difference ([`change`]) are in the log.

mod assignor;
mod change;
mod commit;
mod current;
mod describe;
mod epochs;
mod heartbeat;
mod leave;
mod member;
mod records;
mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_storage::{TimestampMs, TopicId};

pub(crate) use assignor::Assignor;
pub(super) use change::ConsumerRecord;
pub use epochs::MemberEpoch;
pub(super) use records::{read, write};
pub(super) use subscription::Resolved;

use self::member::Member;
use super::consumer_words::Partitions;
use super::ids::{InstanceId, MemberId};
use crate::ids::PartitionIndex;

/// Who leaves for good sends this epoch.
const LEAVES: MemberEpoch = MemberEpoch(-1);
/// A static member that will come back sends this epoch, and keeps its place.
const LEAVES_FOR_A_WHILE: MemberEpoch = MemberEpoch(-2);

/// A group of the consumer protocol. See the [module](self).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Consumer {
    pub(super) epoch: MemberEpoch,
    /// What the topics that are read looked like when the epoch began.
    pub(super) topics_hash: i64,
    /// The epoch of the target.
    pub(super) target_epoch: MemberEpoch,
    /// When the target was decided; 0 for never.
    pub(super) target_since: TimestampMs,
    pub(super) members: BTreeMap<MemberId, Arc<Member>>,
    /// Who is to read what.
    pub(super) target: BTreeMap<MemberId, Arc<Partitions>>,
    /// The topics that members' regular expressions stand for.
    pub(super) regexes: BTreeMap<String, Arc<Resolved>>,
    /// The state of the cluster's topics that was looked at last; not written down.
    pub(super) seen_topics: Option<u64>,
}

impl Consumer {
    /// Kafka's word for its state.
    pub(super) fn state(&self) -> &'static str {
        let is_done = |member: &Arc<Member>| member.current.is_at(self.target_epoch);
        match () {
            () if self.members.is_empty() => "Empty",
            () if self.epoch > self.target_epoch => "Assigning",
            () if self.members.values().all(is_done) => "Stable",
            () => "Reconciling",
        }
    }

    /// Who goes by the name of this static member.
    fn static_member(&self, instance: &InstanceId) -> Option<&MemberId> {
        let is_it = |member: &Member| member.facts.instance.as_ref() == Some(instance);
        self.members.iter().find(|(_, member)| is_it(member)).map(|(id, _)| id)
    }

    /// What somebody holds, or is about to give up.
    fn held(&self) -> BTreeSet<(TopicId, PartitionIndex)> {
        let held = self.members.values().flat_map(|member| {
            [&member.current.assigned, &member.current.revoking]
                .into_iter()
                .flatten()
                .flat_map(|(topic, partitions)| partitions.keys().map(|partition| (*topic, *partition)))
        });
        held.collect()
    }
}
