//! OffsetForLeaderEpoch (key 23): where an epoch ended, by which a log learns how far it agrees with its leader's.
//!
//! v2 the sender's epoch (KIP-320), v3 tells followers from consumers (KIP-392), v4 flexible.

use crate::{ErrorCode, Fields, Message, Text};

/// Which epochs of which logs.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 2..=4, flexible = 4)]
pub struct OffsetForLeaderEpochRequest {
    /// The follower's node id; -1 for a consumer, -2 where it does not say.
    #[field(versions = 3.., default = -2, ignorable)]
    pub replica_id: i32,
    /// The partitions by topic.
    pub topics: Vec<OffsetForLeaderTopic>,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetForLeaderTopic {
    /// The topic's name.
    pub topic: Text,
    /// The partitions.
    pub partitions: Vec<OffsetForLeaderPartition>,
}

/// One partition, and the epoch sought in it.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetForLeaderPartition {
    /// The partition.
    pub partition: i32,
    /// The leader epoch the sender knows; -1 if none.
    #[field(versions = 2.., default = -1, ignorable)]
    pub current_leader_epoch: i32,
    /// The epoch whose end is sought.
    pub leader_epoch: i32,
}

/// Where the epochs ended.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 2..=4, flexible = 4)]
pub struct OffsetForLeaderEpochResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 2.., ignorable)]
    pub throttle_time_ms: i32,
    /// The answers by topic.
    pub topics: Vec<OffsetForLeaderTopicResult>,
}

/// The answers for one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetForLeaderTopicResult {
    /// The topic's name.
    pub topic: Text,
    /// The answers by partition.
    pub partitions: Vec<EpochEndOffset>,
}

/// The answer for one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct EpochEndOffset {
    /// Why there is none, if so.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition: i32,
    /// The greatest epoch of the log that is not above the one sought; -1 if none.
    #[field(versions = 1.., default = -1, ignorable)]
    pub leader_epoch: i32,
    /// The offset after that epoch's last record; -1 if none.
    #[field(default = -1)]
    pub end_offset: i64,
}
