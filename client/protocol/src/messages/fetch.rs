//! Fetch (key 1): record batches from an offset on, for consumers and for followers.
//!
//! v4 first with batches of format 2 and isolation levels (KIP-98), v7 sessions (KIP-227), v9 leader epochs (KIP-320),
//! v11 racks (KIP-392), v12 flexible and diverging epochs (KIP-595), v13 topic ids (KIP-516), v15 the follower's state
//! (KIP-903), v16 endpoints (KIP-951), v17 directory ids (KIP-853), v18 the follower's high watermark (KIP-1166).

use bytes::Bytes;

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// Which batches to send.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 4..=18, flexible = 12)]
pub struct FetchRequest {
    /// The cluster the sender believes it talks to.
    #[field(versions = 12.., tag = 0, ignorable)]
    pub cluster_id: Option<Text>,
    /// The follower's node id; -1 for a consumer.
    #[field(versions = 0..=14, default = -1)]
    pub replica_id: i32,
    /// The follower's node id and epoch.
    #[field(versions = 15.., tag = 1)]
    pub replica_state: ReplicaState,
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// How many bytes are worth an answer before that.
    pub min_bytes: i32,
    /// How many bytes the answer may have; a first batch larger than this is sent all the same.
    #[field(versions = 3.., default = i32::MAX, ignorable)]
    pub max_bytes: i32,
    /// 0 up to the high watermark (read uncommitted), 1 up to the last stable offset (read committed).
    #[field(versions = 4.., ignorable)]
    pub isolation_level: i8,
    /// The fetch session; 0 for none.
    #[field(versions = 7.., ignorable)]
    pub session_id: i32,
    /// The request's number within the session; 0 opens one, -1 closes it.
    #[field(versions = 7.., default = -1, ignorable)]
    pub session_epoch: i32,
    /// The partitions by topic: all of them, or in a session those that changed.
    pub topics: Vec<FetchTopic>,
    /// The partitions the session should forget.
    #[field(versions = 7..)]
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    /// The consumer's rack.
    #[field(versions = 11.., ignorable)]
    pub rack_id: Text,
}

/// A follower's identity.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ReplicaState {
    /// Its node id; -1 for a consumer.
    #[field(versions = 15.., default = -1)]
    pub replica_id: i32,
    /// Its broker epoch.
    #[field(versions = 15.., default = -1)]
    pub replica_epoch: i64,
}

/// The partitions of one topic to fetch.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct FetchTopic {
    /// The topic's name.
    #[field(versions = 0..=12, ignorable)]
    pub topic: Text,
    /// The topic's id.
    #[field(versions = 13.., ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<FetchPartition>,
}

/// One partition to fetch.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct FetchPartition {
    /// The partition.
    pub partition: i32,
    /// The leader epoch the sender knows; -1 if none.
    #[field(versions = 9.., default = -1, ignorable)]
    pub current_leader_epoch: i32,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// The epoch of the last record the sender has; -1 if none.
    #[field(versions = 12.., default = -1)]
    pub last_fetched_epoch: i32,
    /// The follower's first offset; -1 from a consumer.
    #[field(versions = 5.., default = -1, ignorable)]
    pub log_start_offset: i64,
    /// How many bytes of this partition the answer may have.
    pub partition_max_bytes: i32,
    /// The follower's directory.
    #[field(versions = 17.., tag = 0, ignorable)]
    pub replica_directory_id: Uuid,
    /// The high watermark the follower knows.
    #[field(versions = 18.., tag = 1, default = i64::MAX, ignorable)]
    pub high_watermark: i64,
}

/// The partitions of one topic to forget.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct ForgottenTopic {
    /// The topic's name.
    #[field(versions = 7..=12, ignorable)]
    pub topic: Text,
    /// The topic's id.
    #[field(versions = 13.., ignorable)]
    pub topic_id: Uuid,
    /// The partitions.
    #[field(versions = 7..)]
    pub partitions: Vec<i32>,
}

/// The batches found.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 4..=18, flexible = 12)]
pub struct FetchResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// What was wrong with the request as a whole.
    #[field(versions = 7.., ignorable)]
    pub error_code: ErrorCode,
    /// The fetch session; 0 for none.
    #[field(versions = 7..)]
    pub session_id: i32,
    /// The batches by topic.
    pub responses: Vec<FetchableTopicResponse>,
    /// Where the leaders named in `current_leader` are.
    #[field(versions = 16.., tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// The batches of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct FetchableTopicResponse {
    /// The topic's name.
    #[field(versions = 0..=12, ignorable)]
    pub topic: Text,
    /// The topic's id.
    #[field(versions = 13.., ignorable)]
    pub topic_id: Uuid,
    /// The batches by partition.
    pub partitions: Vec<PartitionData>,
}

/// The batches of one partition, and how far its log goes.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct PartitionData {
    /// The partition.
    pub partition_index: i32,
    /// Why there are no batches, if so.
    pub error_code: ErrorCode,
    /// The high watermark.
    pub high_watermark: i64,
    /// The last stable offset.
    #[field(versions = 4.., default = -1, ignorable)]
    pub last_stable_offset: i64,
    /// The first offset of the log.
    #[field(versions = 5.., default = -1, ignorable)]
    pub log_start_offset: i64,
    /// Where the sender's log parts from ours, if it does (KIP-595).
    #[field(versions = 12.., tag = 0)]
    pub diverging_epoch: EpochEndOffset,
    /// The leader, if the broker is not it.
    #[field(versions = 12.., tag = 1)]
    pub current_leader: LeaderIdAndEpoch,
    /// The snapshot to fetch instead, if the log no longer goes back so far.
    #[field(versions = 12.., tag = 2)]
    pub snapshot_id: SnapshotId,
    /// The aborted transactions among the batches, for a consumer that reads committed.
    #[field(versions = 4.., ignorable)]
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica the consumer should read from; -1 for this one.
    #[field(versions = 11.., default = -1)]
    pub preferred_read_replica: i32,
    /// The batches: a slice of the log, or of the frame they came in.
    #[field(records)]
    pub records: Option<Bytes>,
}

/// An epoch and where it ended; -1 for none.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct EpochEndOffset {
    /// The epoch.
    #[field(versions = 12.., default = -1)]
    pub epoch: i32,
    /// The offset after its last record.
    #[field(versions = 12.., default = -1)]
    pub end_offset: i64,
}

/// A leader and its epoch; -1 where unknown.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct LeaderIdAndEpoch {
    /// The leader's node id.
    #[field(versions = 12.., default = -1)]
    pub leader_id: i32,
    /// The leader's epoch.
    #[field(versions = 12.., default = -1)]
    pub leader_epoch: i32,
}

/// A snapshot of a log; -1 for none.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct SnapshotId {
    /// The offset after the last record in it.
    #[field(default = -1)]
    pub end_offset: i64,
    /// The epoch of that record.
    #[field(default = -1)]
    pub epoch: i32,
}

/// A transaction that was aborted.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct AbortedTransaction {
    /// Its producer.
    #[field(versions = 4..)]
    pub producer_id: i64,
    /// The offset of its first record.
    #[field(versions = 4..)]
    pub first_offset: i64,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct NodeEndpoint {
    /// The node's id.
    #[field(versions = 16..)]
    pub node_id: i32,
    /// Its host.
    #[field(versions = 16..)]
    pub host: Text,
    /// Its port.
    #[field(versions = 16..)]
    pub port: i32,
    /// Its rack.
    #[field(versions = 16..)]
    pub rack: Option<Text>,
}
