//! OffsetFetch (key 9): how far a group has read each partition.
//!
//! v2 all partitions at once and an error for the group, v3 throttle time, v5 leader epochs (KIP-320), v6 flexible,
//! v7 may insist on stable offsets (KIP-447), v8 many groups at once (KIP-709), v9 members of the consumer protocol
//! (KIP-848), v10 topics by id (KIP-848); v4 is v3.

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// Whose offsets of which partitions: one group in the message itself before version 8, a list from then on.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=10, flexible = 6)]
pub struct OffsetFetchRequest {
    /// The one group, before version 8.
    #[field(versions = 0..=7)]
    pub group_id: Text,
    /// Its topics, before version 8; `None` for all.
    #[field(versions = 0..=7, nullable = 2..=7)]
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    /// The groups, from version 8 on.
    #[field(versions = 8..)]
    pub groups: Vec<OffsetFetchRequestGroup>,
    /// Whether a partition with an offset pending in a transaction is refused instead of answered with the older one.
    #[field(versions = 7..)]
    pub require_stable: bool,
}

/// One topic of the one group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetFetchRequestTopic {
    /// The topic's name.
    #[field(versions = 0..=7)]
    pub name: Text,
    /// The partitions.
    #[field(versions = 0..=7)]
    pub partition_indexes: Vec<i32>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetFetchRequestGroup {
    /// The group.
    #[field(versions = 8..)]
    pub group_id: Text,
    /// The member that asks, in the consumer protocol.
    #[field(versions = 9.., ignorable)]
    pub member_id: Option<Text>,
    /// Its epoch; -1 where it is no member.
    #[field(versions = 9.., default = -1, ignorable)]
    pub member_epoch: i32,
    /// The topics; `None` for all.
    #[field(versions = 8..)]
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
}

/// One topic of a group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetFetchRequestTopics {
    /// The topic's name, before version 10.
    #[field(versions = 8..=9, ignorable)]
    pub name: Text,
    /// The topic's id, from version 10 on.
    #[field(versions = 10.., ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    #[field(versions = 8..)]
    pub partition_indexes: Vec<i32>,
}

/// The offsets: of one group in the message itself before version 8, of a list from then on.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 1..=10, flexible = 6)]
pub struct OffsetFetchResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 3.., ignorable)]
    pub throttle_time_ms: i32,
    /// The one group's offsets by topic, before version 8.
    #[field(versions = 0..=7)]
    pub topics: Vec<OffsetFetchResponseTopic>,
    /// What was wrong with the one group, before version 8.
    #[field(versions = 2..=7, ignorable)]
    pub error_code: ErrorCode,
    /// The offsets by group, from version 8 on.
    #[field(versions = 8..)]
    pub groups: Vec<OffsetFetchResponseGroup>,
}

/// One topic of the one group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetFetchResponseTopic {
    /// The topic's name.
    #[field(versions = 0..=7)]
    pub name: Text,
    /// The offsets by partition.
    #[field(versions = 0..=7)]
    pub partitions: Vec<OffsetFetchResponsePartition>,
}

/// The offset of one partition of the one group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetFetchResponsePartition {
    /// The partition.
    #[field(versions = 0..=7)]
    pub partition_index: i32,
    /// The first offset not read yet; -1 if nothing was committed.
    #[field(versions = 0..=7)]
    pub committed_offset: i64,
    /// The leader epoch of the last record read; -1 if unknown.
    #[field(versions = 5..=7, default = -1, ignorable)]
    pub committed_leader_epoch: i32,
    /// What the committer left beside it.
    #[field(versions = 0..=7)]
    pub metadata: Option<Text>,
    /// Why there is no offset, if so.
    #[field(versions = 0..=7)]
    pub error_code: ErrorCode,
}

/// The offsets of one group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetFetchResponseGroup {
    /// The group.
    #[field(versions = 8..)]
    pub group_id: Text,
    /// Its offsets by topic.
    #[field(versions = 8..)]
    pub topics: Vec<OffsetFetchResponseTopics>,
    /// Why there are none, if so.
    #[field(versions = 8..)]
    pub error_code: ErrorCode,
}

/// One topic of a group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetFetchResponseTopics {
    /// The topic's name, before version 10.
    #[field(versions = 8..=9, ignorable)]
    pub name: Text,
    /// The topic's id, from version 10 on.
    #[field(versions = 10.., ignorable)]
    pub topic_id: Uuid,
    /// The offsets by partition.
    #[field(versions = 8..)]
    pub partitions: Vec<OffsetFetchResponsePartitions>,
}

/// The offset of one partition of a group.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct OffsetFetchResponsePartitions {
    /// The partition.
    #[field(versions = 8..)]
    pub partition_index: i32,
    /// The first offset not read yet; -1 if nothing was committed.
    #[field(versions = 8..)]
    pub committed_offset: i64,
    /// The leader epoch of the last record read; -1 if unknown.
    #[field(versions = 8.., default = -1, ignorable)]
    pub committed_leader_epoch: i32,
    /// What the committer left beside it.
    #[field(versions = 8..)]
    pub metadata: Option<Text>,
    /// Why there is no offset, if so.
    #[field(versions = 8..)]
    pub error_code: ErrorCode,
}
