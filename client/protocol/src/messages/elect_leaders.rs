//! ElectLeaders (key 43, KIP-183): partitions choose their leaders anew.
//!
//! v1 may elect a replica that is not in sync (KIP-460), v2 flexible.

use crate::{ErrorCode, Fields, Message, Text};

/// Which partitions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 2)]
pub struct ElectLeadersRequest {
    /// Who may be elected: 0 the preferred replica, 1 where nobody is in sync any that lives.
    #[field(versions = 1..)]
    pub election_type: i8,
    /// The partitions by topic; `None` for all.
    pub topic_partitions: Option<Vec<TopicPartitions>>,
    /// How long to wait until they are elected, in milliseconds.
    #[field(default = 60000)]
    pub timeout_ms: i32,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicPartitions {
    /// The topic's name.
    pub topic: Text,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// What became of each election.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 2)]
pub struct ElectLeadersResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole.
    #[field(versions = 1..)]
    pub error_code: ErrorCode,
    /// The outcomes by topic.
    pub replica_election_results: Vec<ReplicaElectionResult>,
}

/// The outcomes of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ReplicaElectionResult {
    /// The topic's name.
    pub topic: Text,
    /// The outcomes by partition.
    pub partition_result: Vec<PartitionResult>,
}

/// The outcome of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct PartitionResult {
    /// The partition.
    pub partition_id: i32,
    /// Why its leader is as it was, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
}
