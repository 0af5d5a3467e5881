//! OffsetCommit (key 8): how far a group has read each partition.
//!
//! v3 throttle time, v5 no retention of its own (KIP-211), v6 leader epochs (KIP-320), v7 static members (KIP-345),
//! v8 flexible, v9 members of the consumer protocol (KIP-848), v10 topics by id (KIP-848); v4 is v3.

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// Who commits what.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 2..=10, flexible = 8)]
pub struct OffsetCommitRequest {
    /// The group.
    pub group_id: Text,
    /// The member's generation, or its epoch in the consumer protocol; -1 from a committer that is no member.
    #[field(versions = 1.., default = -1, ignorable)]
    pub generation_id_or_member_epoch: i32,
    /// The member's id; empty from a committer that is no member.
    #[field(versions = 1.., ignorable)]
    pub member_id: Text,
    /// The name of a static member.
    #[field(versions = 7..)]
    pub group_instance_id: Option<Text>,
    /// How long to keep the offsets, in milliseconds, before version 5; -1 for as long as the broker does.
    #[field(versions = 2..=4, default = -1, ignorable)]
    pub retention_time_ms: i64,
    /// The offsets by topic.
    pub topics: Vec<OffsetCommitRequestTopic>,
}

/// The offsets of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetCommitRequestTopic {
    /// The topic's name, before version 10.
    #[field(versions = 0..=9, ignorable)]
    pub name: Text,
    /// The topic's id, from version 10 on.
    #[field(versions = 10.., ignorable)]
    pub topic_id: Uuid,
    /// The offsets by partition.
    pub partitions: Vec<OffsetCommitRequestPartition>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetCommitRequestPartition {
    /// The partition.
    pub partition_index: i32,
    /// The first offset not read yet.
    pub committed_offset: i64,
    /// The leader epoch of the last record read; -1 if unknown.
    #[field(versions = 6.., default = -1, ignorable)]
    pub committed_leader_epoch: i32,
    /// What the committer wants to find again beside the offset.
    pub committed_metadata: Option<Text>,
}

/// What became of each offset.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 2..=10, flexible = 8)]
pub struct OffsetCommitResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 3.., ignorable)]
    pub throttle_time_ms: i32,
    /// The outcomes by topic.
    pub topics: Vec<OffsetCommitResponseTopic>,
}

/// The outcomes of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetCommitResponseTopic {
    /// The topic's name, before version 10.
    #[field(versions = 0..=9, ignorable)]
    pub name: Text,
    /// The topic's id, from version 10 on.
    #[field(versions = 10.., ignorable)]
    pub topic_id: Uuid,
    /// The outcomes by partition.
    pub partitions: Vec<OffsetCommitResponsePartition>,
}

/// The outcome of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetCommitResponsePartition {
    /// The partition.
    pub partition_index: i32,
    /// Why its offset is not committed, if so.
    pub error_code: ErrorCode,
}
