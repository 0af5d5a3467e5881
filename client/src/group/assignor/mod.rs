//! Who reads what: the leader of a group divides its partitions among the members.
//!
//! The same members and partitions give the same assignment, whoever leads. Range and round robin give what Kafka's
//! assignors of these names give, so that members in other languages see no difference; cooperative sticky promises the
//! same properties as Kafka's (as even as can be, moving as little as can be), not the same choice among equals. Range and
//! cooperative sticky bring partitions to members in the racks of their replicas as far as that leaves the rest as it is
//! (in `racks.rs`, KIP-881); Kafka's round robin does not look at racks either.

mod racks;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use highwater_protocol::Text;

use super::Generation;
use crate::metadata::TopicPartition;

/// How a group divides its partitions (`partition.assignment.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Of each topic, each member gets a run of neighbouring partitions (`RangeAssignor`).
    Range,
    /// All partitions of all topics are dealt out one by one (`RoundRobinAssignor`).
    RoundRobin,
    /// As even as can be, and each member keeps what it has as far as that allows; what moves is first given back by its
    /// owner while all others go on reading (`CooperativeStickyAssignor`, KIP-429).
    CooperativeSticky,
}

/// One member, as the leader of its group sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Its member id.
    pub member_id: Text,
    /// Its name, if it is a static member.
    pub instance_id: Option<Text>,
    /// Where it is, if it says so.
    pub rack: Option<Text>,
    /// The topics it wants to read.
    pub topics: BTreeSet<Text>,
    /// The partitions it has.
    pub owned: BTreeSet<TopicPartition>,
    /// The generation in which it got them.
    pub generation: Generation,
}

/// A topic that a group reads, as far as that matters to who divides it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupTopic {
    /// How many partitions it has.
    pub partitions: i32,
    /// Of each partition the racks in which its replicas are; less where that is not known.
    pub racks: Vec<BTreeSet<Text>>,
}

impl From<i32> for GroupTopic {
    /// So many partitions, of which nobody says where they are.
    fn from(partitions: i32) -> Self {
        Self { partitions, racks: Vec::new() }
    }
}

/// The topics that a group reads; one that does not exist is left out.
pub type GroupTopics = BTreeMap<Text, GroupTopic>;

/// What each member is to read, by member id.
pub type GroupAssignment = BTreeMap<Text, BTreeSet<TopicPartition>>;

impl Assignor {
    /// Kafka's name for it, by which members agree on one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Whether members may keep reading while the group rebalances.
    #[must_use]
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// Divides the partitions of the topics among the members that subscribe to them. Each member has an entry; with
    /// cooperative sticky what its owner is still to give back is nobody's for now.
    #[must_use]
    pub fn assign(self, topics: &GroupTopics, members: &[GroupMember]) -> GroupAssignment {
        match self {
            Self::Range => range::assign(topics, members),
            Self::RoundRobin => round_robin::assign(topics, members),
            Self::CooperativeSticky => {
                let mut assignment = sticky::assign(topics, members);
                sticky::withhold_what_moves(&mut assignment, members);
                assignment
            }
        }
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Kafka's order of members (`AbstractPartitionAssignor.MemberInfo`): static ones first, by name, then by member id.
fn in_kafkas_order(members: &[GroupMember]) -> Vec<&GroupMember> {
    let mut ordered: Vec<&GroupMember> = members.iter().collect();
    ordered.sort_by(|one, other| match (&one.instance_id, &other.instance_id) {
        (Some(one), Some(other)) => as_java_compares(one, other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => as_java_compares(&one.member_id, &other.member_id),
    });
    ordered
}

/// Java compares UTF-16 units, which differs from the order of characters beyond the first plane.
fn as_java_compares(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

/// An entry for each member, with nothing in it yet.
fn nothing_for_anyone(members: &[GroupMember]) -> GroupAssignment {
    members.iter().map(|member| (member.member_id.clone(), BTreeSet::new())).collect()
}

/// A topic's partitions.
fn partitions_of(topic: &Text, count: i32) -> impl Iterator<Item = TopicPartition> {
    (0..count).map(|partition| TopicPartition { topic: topic.clone(), partition })
}
