//! The same for groups of the consumer protocol (KIP-848).

use std::collections::{BTreeMap, BTreeSet};

use highwater_storage::TopicId;

use super::consumer::MemberEpoch;
use super::ids::{GroupId, InstanceId, MemberId};
use crate::ids::{PartitionIndex, TopicName};

/// Partitions by topic.
pub type Partitions = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// See Kafka's ConsumerGroupHeartbeatRequest (KIP-848).
#[derive(Debug, Clone)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: GroupId,
    /// Who asks; empty for a member that has no name yet.
    pub member: MemberId,
    /// Whether members make up their own names, so that an empty one is none.
    pub names_itself: bool,
    /// The epoch it is in: 0 joins, -1 leaves, -2 leaves for a while.
    pub epoch: MemberEpoch,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
    /// Its rack.
    pub rack: Option<String>,
    /// How long it may take to give up partitions; none where that did not change.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics it wants to read; none where they did not change.
    pub names: Option<Vec<TopicName>>,
    /// A regular expression for more of them; none where it did not change.
    pub regex: Option<String>,
    /// How it likes work to be shared; none where that did not change.
    pub assignor: Option<String>,
    /// What it has; none where that did not change.
    pub owned: Option<Partitions>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
}

/// What a member of the consumer protocol hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerPart {
    /// Its id.
    pub member: MemberId,
    /// The epoch it is in.
    pub epoch: MemberEpoch,
    /// When it is to come again.
    pub interval_ms: i32,
    /// What it is to have; none where that did not change.
    pub assignment: Option<Partitions>,
}

/// One group of the consumer protocol, told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumers {
    /// Kafka's word for its state.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: MemberEpoch,
    /// The epoch of the target.
    pub target_epoch: MemberEpoch,
    /// How work is shared.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

/// One member of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub member: MemberId,
    /// Its name, if it is a static member.
    pub instance: Option<InstanceId>,
    /// Its rack.
    pub rack: Option<String>,
    /// The epoch it is in.
    pub epoch: MemberEpoch,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// The topics it wants to read.
    pub names: Vec<TopicName>,
    /// A regular expression for more of them, or empty.
    pub regex: String,
    /// What it has, also what it is about to give up.
    pub assignment: Vec<NamedPartitions>,
    /// What it is to have.
    pub target: Vec<NamedPartitions>,
    /// Whether it speaks the classic protocol.
    pub is_classic: bool,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPartitions {
    /// The topic's id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}
