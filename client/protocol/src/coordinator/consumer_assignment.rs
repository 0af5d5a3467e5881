//! What the members of a group of the consumer protocol (KIP-848) are to have, and what they have: types 6 to 8.

use super::Value;
use crate::{Fields, Message, Text, Uuid};

/// Which group.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct ConsumerGroupTargetAssignmentMetadataKey {
    /// The group.
    pub group_id: Text,
}

/// The target assignment as a whole.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct ConsumerGroupTargetAssignmentMetadataValue {
    /// The group's epoch that it was made for.
    pub assignment_epoch: i32,
    /// When it was made, in milliseconds since 1970 (KIP-1263); 0 if unknown.
    #[field(tag = 0, ignorable)]
    pub assignment_timestamp: i64,
}

/// Which member's target.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct ConsumerGroupTargetAssignmentMemberKey {
    /// The group.
    pub group_id: Text,
    /// The member's id.
    pub member_id: Text,
}

/// What a member is to have.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct ConsumerGroupTargetAssignmentMemberValue {
    /// The partitions by topic.
    pub topic_partitions: Vec<TopicPartition>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicPartition {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// Which member's present assignment.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct ConsumerGroupCurrentMemberAssignmentKey {
    /// The group.
    pub group_id: Text,
    /// The member's id.
    pub member_id: Text,
}

/// How far a member has come towards its target.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct ConsumerGroupCurrentMemberAssignmentValue {
    /// The epoch it is expected to say.
    pub member_epoch: i32,
    /// The epoch before, which it says if the answer with the new one was lost.
    pub previous_member_epoch: i32,
    /// Where it stands: 0 stable, 1 it has partitions to give up, 2 it waits for others to give partitions up.
    pub state: i8,
    /// The partitions it has.
    pub assigned_partitions: Vec<TopicPartitions>,
    /// The partitions it has to give up.
    pub partitions_pending_revocation: Vec<TopicPartitions>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<i32>,
    /// The member's epoch when it got each, by which late commits are told; in the order of the partitions. Empty or
    /// `None` if unknown.
    #[field(tag = 0, absent_is_empty)]
    pub assignment_epochs: Option<Vec<i32>>,
}

impl Value for ConsumerGroupTargetAssignmentMetadataValue {}

impl Value for ConsumerGroupTargetAssignmentMemberValue {}

impl Value for ConsumerGroupCurrentMemberAssignmentValue {}
