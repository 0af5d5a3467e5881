//! ConsumerGroupDescribe (key 69, KIP-848): the state and the members of groups of the consumer protocol.
//!
//! v1 tells members of the classic protocol from the others (KIP-1099).

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// Which groups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 0)]
pub struct ConsumerGroupDescribeRequest {
    /// Their ids.
    pub group_ids: Vec<Text>,
    /// Whether to say what the sender may do to each.
    pub include_authorized_operations: bool,
}

/// The groups.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 0)]
pub struct ConsumerGroupDescribeResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The groups, in the order of the request.
    pub groups: Vec<DescribedGroup>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribedGroup {
    /// Why it is not described, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// Its id.
    pub group_id: Text,
    /// Its state, by Kafka's name.
    pub group_state: Text,
    /// Its epoch, which each change of members, wishes or topics moves on.
    pub group_epoch: i32,
    /// The epoch its target assignment was made for.
    pub assignment_epoch: i32,
    /// The assignor that made it.
    pub assignor_name: Text,
    /// Its members.
    pub members: Vec<Member>,
    /// What the sender may do to it, a bit for each operation; `i32::MIN` if not asked.
    #[field(default = i32::MIN)]
    pub authorized_operations: i32,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct Member {
    /// Its member id.
    pub member_id: Text,
    /// Its name, if it is a static member.
    pub instance_id: Option<Text>,
    /// Its rack.
    pub rack_id: Option<Text>,
    /// Its epoch.
    pub member_epoch: i32,
    /// The client id it joined with.
    pub client_id: Text,
    /// Where it joined from.
    pub client_host: Text,
    /// The topics it wants by name.
    pub subscribed_topic_names: Vec<Text>,
    /// The topics it wants by a regular expression.
    pub subscribed_topic_regex: Option<Text>,
    /// What it is assigned now.
    pub assignment: Assignment,
    /// What it is to be assigned once others have given it up.
    pub target_assignment: Assignment,
    /// Which protocol it speaks: 0 classic, 1 consumer; -1 if unknown.
    #[field(versions = 1.., default = -1, ignorable)]
    pub member_type: i8,
}

/// What a member is assigned.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct Assignment {
    /// The partitions by topic.
    pub topic_partitions: Vec<TopicPartitions>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The topic's name.
    pub topic_name: Text,
    /// The partitions.
    pub partitions: Vec<i32>,
}
