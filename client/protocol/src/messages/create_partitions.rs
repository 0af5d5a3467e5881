//! CreatePartitions (key 37, KIP-195): topics get more partitions.
//!
//! v2 flexible, v3 quotas (KIP-599); v1 is v0.

use crate::{ErrorCode, Fields, Message, Text};

/// The topics to enlarge.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=3, flexible = 2)]
pub struct CreatePartitionsRequest {
    /// The topics.
    pub topics: Vec<CreatePartitionsTopic>,
    /// How long to wait until they are enlarged, in milliseconds.
    pub timeout_ms: i32,
    /// Whether only to check that they could be.
    pub validate_only: bool,
}

/// A topic to enlarge.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CreatePartitionsTopic {
    /// Its name.
    pub name: Text,
    /// How many partitions it is to have in all.
    pub count: i32,
    /// Which brokers have which of the new partitions, if that is not left to the cluster.
    pub assignments: Option<Vec<CreatePartitionsAssignment>>,
}

/// The brokers of one new partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CreatePartitionsAssignment {
    /// The node ids of its replicas, the preferred leader first.
    pub broker_ids: Vec<i32>,
}

/// What became of each topic.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=3, flexible = 2)]
pub struct CreatePartitionsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcomes.
    pub results: Vec<CreatePartitionsTopicResult>,
}

/// The outcome of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CreatePartitionsTopicResult {
    /// Its name.
    pub name: Text,
    /// Why it is not enlarged, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
}
