//! DescribeTopicPartitions (key 75): topics a page at a time, with the replicas eligible to lead (KIP-966).

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// Which topics, and from where on.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct DescribeTopicPartitionsRequest {
    /// The topics; none for all.
    pub topics: Vec<TopicRequest>,
    /// How many partitions one answer may have.
    #[field(default = 2000)]
    pub response_partition_limit: i32,
    /// Where the answer before this one stopped.
    pub cursor: Option<Cursor>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicRequest {
    /// Its name.
    pub name: Text,
}

/// A place between two partitions: the next one.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct Cursor {
    /// The topic's name.
    pub topic_name: Text,
    /// The partition.
    pub partition_index: i32,
}

/// A page of topics.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct DescribeTopicPartitionsResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Where to go on; `None` at the end.
    pub next_cursor: Option<Cursor>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeTopicPartitionsResponseTopic {
    /// Why it is not described, if so.
    pub error_code: ErrorCode,
    /// Its name.
    pub name: Option<Text>,
    /// Its id.
    #[field(ignorable)]
    pub topic_id: Uuid,
    /// Whether it is one of the broker's own.
    #[field(ignorable)]
    pub is_internal: bool,
    /// Its partitions.
    pub partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    /// What the sender may do to it, a bit for each operation; `i32::MIN` if not asked.
    #[field(default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeTopicPartitionsResponsePartition {
    /// What is wrong with it, if anything.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition_index: i32,
    /// The leader's node id; -1 if there is none.
    pub leader_id: i32,
    /// The leader's epoch.
    #[field(default = -1, ignorable)]
    pub leader_epoch: i32,
    /// The node ids of all replicas.
    pub replica_nodes: Vec<i32>,
    /// The node ids of those in sync.
    pub isr_nodes: Vec<i32>,
    /// The node ids of those out of sync that may lead all the same.
    pub eligible_leader_replicas: Option<Vec<i32>>,
    /// The node ids of those that could lead when last known.
    pub last_known_elr: Option<Vec<i32>>,
    /// The node ids of those offline.
    #[field(ignorable)]
    pub offline_replicas: Vec<i32>,
}
