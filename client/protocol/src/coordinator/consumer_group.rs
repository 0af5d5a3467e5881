//! What a group of the consumer protocol (KIP-848) is, and who its members are: types 3 to 5.

use bytes::Bytes;

use super::Value;
use crate::{Fields, Message, Text, Uuid};

/// Which group.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct ConsumerGroupMetadataKey {
    /// The group.
    pub group_id: Text,
}

/// The group's epoch.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct ConsumerGroupMetadataValue {
    /// The epoch, which each change of members, wishes or topics moves on.
    pub epoch: i32,
    /// A hash of the topics its members want, by which a change of these is noticed (KIP-1101); 0 if unknown.
    #[field(tag = 0)]
    pub metadata_hash: i64,
}

/// Which group's topics.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct ConsumerGroupPartitionMetadataKey {
    /// The group.
    pub group_id: Text,
}

/// The topics its members want, as brokers before Kafka 4.1 kept them instead of a hash.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct ConsumerGroupPartitionMetadataValue {
    /// The topics.
    pub topics: Vec<TopicMetadata>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicMetadata {
    /// Its id.
    pub topic_id: Uuid,
    /// Its name.
    pub topic_name: Text,
    /// How many partitions it has.
    pub num_partitions: i32,
    /// Where its partitions are; empty where no broker has a rack, and since Kafka 4.0.
    pub partition_metadata: Vec<PartitionMetadata>,
}

/// Where one partition is.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct PartitionMetadata {
    /// The partition.
    pub partition: i32,
    /// The racks of its replicas.
    pub racks: Vec<Text>,
}

/// Which member.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct ConsumerGroupMemberMetadataKey {
    /// The group.
    pub group_id: Text,
    /// The member's id.
    pub member_id: Text,
}

/// A member, and what it wants.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct ConsumerGroupMemberMetadataValue {
    /// Its name, if it is a static member.
    pub instance_id: Option<Text>,
    /// Its rack.
    pub rack_id: Option<Text>,
    /// The client id it joined with.
    pub client_id: Text,
    /// Where it joined from.
    pub client_host: Text,
    /// The topics it wants by name.
    pub subscribed_topic_names: Vec<Text>,
    /// The topics it wants by a regular expression.
    pub subscribed_topic_regex: Option<Text>,
    /// How long the group waits for it to give partitions up, in milliseconds; -1 if unknown.
    #[field(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// The assignor it would like.
    pub server_assignor: Option<Text>,
    /// What more is known of a member that speaks the classic protocol; `None` of one that speaks the consumer protocol.
    #[field(tag = 0, absent_is_empty)]
    pub classic_member_metadata: Option<ClassicMemberMetadata>,
}

/// A member that speaks the classic protocol.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ClassicMemberMetadata {
    /// After how long without a heartbeat it counts as gone, in milliseconds.
    pub session_timeout_ms: i32,
    /// The protocols it supports, those it likes best first.
    pub supported_protocols: Vec<ClassicProtocol>,
}

/// One protocol.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ClassicProtocol {
    /// Its name.
    pub name: Text,
    /// What the member said of itself for it.
    pub metadata: Bytes,
}

impl Value for ConsumerGroupMetadataValue {}

impl Value for ConsumerGroupPartitionMetadataValue {}

impl Value for ConsumerGroupMemberMetadataValue {}
