//! ConsumerGroupHeartbeat (key 68, KIP-848): how a member of a consumer group joins, stays, says what it wants and has,
//! hears what it is assigned, and leaves.
//!
//! v1 subscribes by a regular expression of the broker's, and the member makes up its own id (KIP-1082).

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// Who is alive, and what changed since it last said so.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 0)]
pub struct ConsumerGroupHeartbeatRequest {
    /// The group.
    pub group_id: Text,
    /// The member's id, the same for as long as its process lives; empty at version 0 where it has none yet.
    pub member_id: Text,
    /// The member's epoch; 0 to join, -1 to leave, -2 to leave as a static member that comes back.
    pub member_epoch: i32,
    /// The name of a static member; `None` if it has none, or said it before.
    pub instance_id: Option<Text>,
    /// The member's rack; `None` if it has none, or said it before.
    pub rack_id: Option<Text>,
    /// How long the group waits for the member to give partitions up, in milliseconds; -1 as said before.
    #[field(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// The topics it wants by name; `None` as said before.
    pub subscribed_topic_names: Option<Vec<Text>>,
    /// The topics it wants by a regular expression; `None` as said before.
    #[field(versions = 1..)]
    pub subscribed_topic_regex: Option<Text>,
    /// The assignor it would like; `None` for none, or as said before.
    pub server_assignor: Option<Text>,
    /// The partitions it has; `None` as said before.
    pub topic_partitions: Option<Vec<TopicPartitions>>,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicPartitions {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// The member's epoch, and its assignment if that changed.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=1, flexible = 0)]
pub struct ConsumerGroupHeartbeatResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why the member is not part of the group, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// The member's id.
    pub member_id: Option<Text>,
    /// Its epoch.
    pub member_epoch: i32,
    /// How soon the next heartbeat is expected, in milliseconds.
    pub heartbeat_interval_ms: i32,
    /// What it is assigned; `None` as said before.
    pub assignment: Option<Assignment>,
}

/// What a member may read.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct Assignment {
    /// The partitions, which nobody else has any more.
    pub topic_partitions: Vec<TopicPartitions>,
}
