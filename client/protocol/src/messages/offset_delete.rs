//! OffsetDelete (key 47, KIP-496): a group forgets how far it has read some partitions.

use crate::{ErrorCode, Fields, Message, Text};

/// Whose offsets of which partitions.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct OffsetDeleteRequest {
    /// The group.
    pub group_id: Text,
    /// The topics.
    pub topics: Vec<OffsetDeleteRequestTopic>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetDeleteRequestTopic {
    /// Its name.
    pub name: Text,
    /// Its partitions.
    pub partitions: Vec<OffsetDeleteRequestPartition>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetDeleteRequestPartition {
    /// Which.
    pub partition_index: i32,
}

/// What became of each offset.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct OffsetDeleteResponse {
    /// What was wrong with the request as a whole.
    pub error_code: ErrorCode,
    /// How long a quota held the request back, in milliseconds.
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    /// The outcomes by topic.
    pub topics: Vec<OffsetDeleteResponseTopic>,
}

/// The outcomes of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetDeleteResponseTopic {
    /// The topic's name.
    pub name: Text,
    /// The outcomes by partition.
    pub partitions: Vec<OffsetDeleteResponsePartition>,
}

/// The outcome of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetDeleteResponsePartition {
    /// The partition.
    pub partition_index: i32,
    /// Why its offset is still there, if so.
    pub error_code: ErrorCode,
}
