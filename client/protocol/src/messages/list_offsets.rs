//! ListOffsets (key 2): the offset of a point in time, or of one of a log's landmarks.
//!
//! v1 one offset per partition, v2 isolation levels (KIP-98), v4 leader epochs (KIP-320), v6 flexible, v7 the greatest
//! timestamp (KIP-734), v8 local log start (KIP-405), v9 last tiered offset (KIP-1005), v10 waits for remote storage
//! (KIP-1075), v11 earliest offset pending upload (KIP-1023).

use crate::{ErrorCode, Fields, Message, Text};

/// Which points of which logs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=11, flexible = 6)]
pub struct ListOffsetsRequest {
    /// The follower's node id; -1 for a consumer.
    pub replica_id: i32,
    /// 0 up to the high watermark (read uncommitted), 1 up to the last stable offset (read committed).
    #[field(versions = 2..)]
    pub isolation_level: i8,
    /// The partitions by topic.
    pub topics: Vec<ListOffsetsTopic>,
    /// How long to wait for remote storage, in milliseconds.
    #[field(versions = 10.., ignorable)]
    pub timeout_ms: i32,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ListOffsetsTopic {
    /// The topic's name.
    pub name: Text,
    /// The partitions.
    pub partitions: Vec<ListOffsetsPartition>,
}

/// One partition, and the point sought in it.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ListOffsetsPartition {
    /// The partition.
    pub partition_index: i32,
    /// The leader epoch the sender knows; -1 if none.
    #[field(versions = 4.., default = -1, ignorable)]
    pub current_leader_epoch: i32,
    /// A time in milliseconds since 1970, or a landmark: -1 latest, -2 earliest, -3 greatest timestamp, -4 earliest
    /// local, -5 latest tiered, -6 earliest pending upload.
    pub timestamp: i64,
}

/// The offsets found.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=11, flexible = 6)]
pub struct ListOffsetsResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 2.., ignorable)]
    pub throttle_time_ms: i32,
    /// The offsets by topic.
    pub topics: Vec<ListOffsetsTopicResponse>,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ListOffsetsTopicResponse {
    /// The topic's name.
    pub name: Text,
    /// The offsets by partition.
    pub partitions: Vec<ListOffsetsPartitionResponse>,
}

/// The offset found in one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ListOffsetsPartitionResponse {
    /// The partition.
    pub partition_index: i32,
    /// Why there is no answer, if so.
    pub error_code: ErrorCode,
    /// The time of the record found, in milliseconds since 1970; -1 if none.
    #[field(versions = 1.., default = -1)]
    pub timestamp: i64,
    /// The offset found; -1 if none.
    #[field(versions = 1.., default = -1)]
    pub offset: i64,
    /// The leader epoch of the record found; -1 if unknown.
    #[field(versions = 4.., default = -1)]
    pub leader_epoch: i32,
}
