//! DescribeProducers (key 61, KIP-664): the producers that partitions know, and their open transactions.

use crate::{ErrorCode, Fields, Message, Text};

/// Which partitions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct DescribeProducersRequest {
    /// The partitions by topic.
    pub topics: Vec<TopicRequest>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicRequest {
    /// The topic's name.
    pub name: Text,
    /// The partitions.
    pub partition_indexes: Vec<i32>,
}

/// The producers.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0, flexible = 0)]
pub struct DescribeProducersResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The producers by topic.
    pub topics: Vec<TopicResponse>,
}

/// The producers of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicResponse {
    /// The topic's name.
    pub name: Text,
    /// The producers by partition.
    pub partitions: Vec<PartitionResponse>,
}

/// The producers of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct PartitionResponse {
    /// The partition.
    pub partition_index: i32,
    /// Why they are not told, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The producers.
    pub active_producers: Vec<ProducerState>,
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ProducerState {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i32,
    /// The sequence number of its last record; -1 if unknown.
    #[field(default = -1)]
    pub last_sequence: i32,
    /// The timestamp of its last batch, in milliseconds since 1970; -1 if unknown.
    #[field(default = -1)]
    pub last_timestamp: i64,
    /// The coordinator's epoch of its last marker.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins; -1 if there is none.
    #[field(default = -1)]
    pub current_txn_start_offset: i64,
}
