//! DeleteRecords (key 21, KIP-107).
//!
//! v2 flexible; v1 is v0.

use crate::{ErrorCode, Fields, Message, Text};

/// Up to where records are to be deleted.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 2)]
pub struct DeleteRecordsRequest {
    /// The topics.
    pub topics: Vec<DeleteRecordsTopic>,
    /// How long to wait until they are deleted, in milliseconds.
    pub timeout_ms: i32,
}

/// One topic of the request.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeleteRecordsTopic {
    /// Its name.
    pub name: Text,
    /// Its partitions.
    pub partitions: Vec<DeleteRecordsPartition>,
}

/// One partition of the request.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeleteRecordsPartition {
    /// Which.
    pub partition_index: i32,
    /// The first offset that stays; -1 for the high watermark.
    pub offset: i64,
}

/// Where the partitions begin now.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 2)]
pub struct DeleteRecordsResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<DeleteRecordsTopicResult>,
}

/// One topic of the answer.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeleteRecordsTopicResult {
    /// Its name.
    pub name: Text,
    /// Its partitions.
    pub partitions: Vec<DeleteRecordsPartitionResult>,
}

/// One partition of the answer.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DeleteRecordsPartitionResult {
    /// Which.
    pub partition_index: i32,
    /// The smallest start offset of its replicas; -1 with an error.
    pub low_watermark: i64,
    /// Why nothing was deleted, if so.
    pub error_code: ErrorCode,
}
