//! TxnOffsetCommit (key 28, KIP-98): how far a group has read each partition, once a transaction commits.
//!
//! v2 leader epochs (KIP-320), v3 flexible, says which member commits (KIP-447), v4 may answer
//! [`TransactionAbortable`](crate::ErrorCode::TransactionAbortable) (KIP-890), v5 adds the group to the transaction by
//! itself (KIP-890); v1 is v0.

use crate::{ErrorCode, Fields, Message, Text};

/// Whose transaction commits what for which group.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 3)]
pub struct TxnOffsetCommitRequest {
    /// The transactional id.
    pub transactional_id: Text,
    /// The group.
    pub group_id: Text,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The member's generation, or its epoch in the consumer protocol; -1 from a committer that is no member.
    #[field(versions = 3.., default = -1)]
    pub generation_id: i32,
    /// The member's id; empty from a committer that is no member.
    #[field(versions = 3..)]
    pub member_id: Text,
    /// The name of a static member.
    #[field(versions = 3..)]
    pub group_instance_id: Option<Text>,
    /// The offsets by topic.
    pub topics: Vec<TxnOffsetCommitRequestTopic>,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TxnOffsetCommitRequestTopic {
    /// The topic's name.
    pub name: Text,
    /// The offsets by partition.
    pub partitions: Vec<TxnOffsetCommitRequestPartition>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TxnOffsetCommitRequestPartition {
    /// The partition.
    pub partition_index: i32,
    /// The first offset not read yet.
    pub committed_offset: i64,
    /// The leader epoch of the last record read; -1 if unknown.
    #[field(versions = 2.., default = -1, ignorable)]
    pub committed_leader_epoch: i32,
    /// What the committer wants to find again beside the offset.
    pub committed_metadata: Option<Text>,
}

/// What became of each offset.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=5, flexible = 3)]
pub struct TxnOffsetCommitResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// The outcomes by topic.
    pub topics: Vec<TxnOffsetCommitResponseTopic>,
}

/// The outcomes of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TxnOffsetCommitResponseTopic {
    /// The topic's name.
    pub name: Text,
    /// The outcomes by partition.
    pub partitions: Vec<TxnOffsetCommitResponsePartition>,
}

/// The outcome of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TxnOffsetCommitResponsePartition {
    /// The partition.
    pub partition_index: i32,
    /// Why its offset is not part of the transaction, if so.
    pub error_code: ErrorCode,
}
