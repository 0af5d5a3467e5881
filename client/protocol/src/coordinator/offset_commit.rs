//! How far a group has read one partition: type 1, and type 0 as it was once.
//!
//! v1 expiry, v2 none of its own any more, v3 leader epochs (KIP-320), v4 flexible, topic ids (KIP-848).

use super::Value;
use crate::{Message, Text, Uuid};

/// Whose offset of which partition.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct OffsetCommitKey {
    /// The group.
    pub group: Text,
    /// The topic's name.
    pub topic: Text,
    /// The partition.
    pub partition: i32,
}

/// An offset that was committed.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=4, flexible = 4)]
pub struct OffsetCommitValue {
    /// The first offset not read yet.
    pub offset: i64,
    /// The leader epoch of the last record read; -1 if unknown.
    #[field(versions = 3.., default = -1, ignorable)]
    pub leader_epoch: i32,
    /// What the committer left beside it.
    pub metadata: Text,
    /// When it was committed, in milliseconds since 1970.
    pub commit_timestamp: i64,
    /// When it expires, in milliseconds since 1970, if the committer said so (with a request before version 5);
    /// -1 where the broker decides.
    #[field(versions = 1, default = -1, ignorable)]
    pub expire_timestamp: i64,
    /// The topic's id; zero if unknown.
    #[field(versions = 4.., tag = 0, ignorable)]
    pub topic_id: Uuid,
}

/// Whose offset of which partition, as it was once.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct LegacyOffsetCommitKey {
    /// The group.
    pub group: Text,
    /// The topic's name.
    pub topic: Text,
    /// The partition.
    pub partition: i32,
}

/// An offset that was committed, as it was once.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0)]
pub struct LegacyOffsetCommitValue {
    /// The first offset not read yet.
    pub offset: i64,
    /// What the committer left beside it.
    pub metadata: Text,
    /// When it was committed, in milliseconds since 1970.
    pub commit_timestamp: i64,
}

impl Value for OffsetCommitValue {
    /// The newest, unless the committer said when the offset expires: only version 1 has a place for that, and none for
    /// the leader epoch.
    fn written_at(&self) -> i16 {
        if self.expire_timestamp == Self::default().expire_timestamp { Self::VERSIONS.last } else { 1 }
    }
}

impl Value for LegacyOffsetCommitValue {}
