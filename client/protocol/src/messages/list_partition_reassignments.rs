//! ListPartitionReassignments (key 46, KIP-455): the partitions that are on their way to other nodes.
//!
//! Flexible from the start.

use crate::{ErrorCode, Fields, Message, Text};

/// Which to list.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=0, flexible = 0)]
pub struct ListPartitionReassignmentsRequest {
    /// How long to wait for the answer, in milliseconds.
    #[field(default = 60000)]
    pub timeout_ms: i32,
    /// The topics; `None` for all.
    pub topics: Option<Vec<ListPartitionReassignmentsTopics>>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ListPartitionReassignmentsTopics {
    /// The topic's name.
    pub name: Text,
    /// The partitions.
    pub partition_indexes: Vec<i32>,
}

/// Those of them that are on their way.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=0, flexible = 0)]
pub struct ListPartitionReassignmentsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The partitions by topic.
    pub topics: Vec<OngoingTopicReassignment>,
}

/// Partitions of one topic that are on their way.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OngoingTopicReassignment {
    /// The topic's name.
    pub name: Text,
    /// The partitions.
    pub partitions: Vec<OngoingPartitionReassignment>,
}

/// A partition that is on its way.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OngoingPartitionReassignment {
    /// The partition.
    pub partition_index: i32,
    /// The nodes that hold it now.
    pub replicas: Vec<i32>,
    /// Those of them that are new.
    pub adding_replicas: Vec<i32>,
    /// Those of them that are to go.
    pub removing_replicas: Vec<i32>,
}
