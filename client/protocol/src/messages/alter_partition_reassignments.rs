//! AlterPartitionReassignments (key 45, KIP-455): partitions move to other nodes.
//!
//! Flexible from the start; v1 may keep the number of replicas from changing (KIP-860).

use crate::{ErrorCode, Fields, Message, Text};

/// Which partitions, and where to.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 0)]
pub struct AlterPartitionReassignmentsRequest {
    /// How long to wait until it is decided, in milliseconds.
    #[field(default = 60000)]
    pub timeout_ms: i32,
    /// Whether a partition may get more replicas or fewer.
    #[field(versions = 1.., default = true)]
    pub allow_replication_factor_change: bool,
    /// The topics.
    pub topics: Vec<ReassignableTopic>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ReassignableTopic {
    /// The topic's name.
    pub name: Text,
    /// The partitions.
    pub partitions: Vec<ReassignablePartition>,
}

/// Where one partition is to be.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ReassignablePartition {
    /// The partition.
    pub partition_index: i32,
    /// The nodes that are to hold it, preferred leader first; `None` to take back a move that is not done.
    pub replicas: Option<Vec<i32>>,
}

/// What became of each.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 0)]
pub struct AlterPartitionReassignmentsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Whether a partition could get more replicas or fewer.
    #[field(versions = 1.., default = true, ignorable)]
    pub allow_replication_factor_change: bool,
    /// What was wrong with the request as a whole.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The outcomes by topic.
    pub responses: Vec<ReassignableTopicResponse>,
}

/// The outcomes of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ReassignableTopicResponse {
    /// The topic's name.
    pub name: Text,
    /// The outcomes by partition.
    pub partitions: Vec<ReassignablePartitionResponse>,
}

/// The outcome of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ReassignablePartitionResponse {
    /// The partition.
    pub partition_index: i32,
    /// Why it stays where it is, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
}
