//! Produce (key 0): record batches to append, and where they ended up.
//!
//! v3 first with batches of format 2 (KIP-98), v9 flexible, v10 names the new leader with a refusal (KIP-951), v12
//! adds partitions to transactions implicitly (KIP-890), v13 names topics by id (KIP-516).

use bytes::Bytes;

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// Batches to append, by topic and partition.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 3..=13, flexible = 9)]
pub struct ProduceRequest {
    /// The producer's transactional id, if it has one.
    #[field(versions = 3..)]
    pub transactional_id: Option<Text>,
    /// How many replicas must have the batches before the answer: 0 (no answer), 1 (the leader), -1 (all in sync).
    pub acks: i16,
    /// How long to wait for the replicas, in milliseconds.
    pub timeout_ms: i32,
    /// The batches by topic.
    pub topic_data: Vec<TopicProduceData>,
}

/// The batches for one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicProduceData {
    /// The topic's name.
    #[field(versions = 0..=12, ignorable)]
    pub name: Text,
    /// The topic's id.
    #[field(versions = 13.., ignorable)]
    pub topic_id: Uuid,
    /// The batches by partition.
    pub partition_data: Vec<PartitionProduceData>,
}

/// The batches for one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct PartitionProduceData {
    /// The partition.
    pub index: i32,
    /// The batches: a slice of the frame.
    #[field(records)]
    pub records: Option<Bytes>,
}

/// What became of each partition's batches.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 3..=13, flexible = 9)]
pub struct ProduceResponse {
    /// The results by topic.
    pub responses: Vec<TopicProduceResponse>,
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    /// Where the leaders named in `current_leader` are.
    #[field(versions = 10.., tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// The results for one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct TopicProduceResponse {
    /// The topic's name.
    #[field(versions = 0..=12, ignorable)]
    pub name: Text,
    /// The topic's id.
    #[field(versions = 13.., ignorable)]
    pub topic_id: Uuid,
    /// The results by partition.
    pub partition_responses: Vec<PartitionProduceResponse>,
}

/// The result for one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct PartitionProduceResponse {
    /// The partition.
    pub index: i32,
    /// Why nothing was appended, if so.
    pub error_code: ErrorCode,
    /// The offset of the first record.
    pub base_offset: i64,
    /// The time the broker gave the records, in milliseconds since 1970; -1 if they kept the producer's.
    #[field(versions = 2.., default = -1, ignorable)]
    pub log_append_time_ms: i64,
    /// The first offset of the log.
    #[field(versions = 5.., default = -1, ignorable)]
    pub log_start_offset: i64,
    /// The records that caused a batch to be refused (KIP-467).
    #[field(versions = 8.., ignorable)]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    /// What their refusals have in common.
    #[field(versions = 8.., ignorable)]
    pub error_message: Option<Text>,
    /// The leader, if the broker is not it.
    #[field(versions = 10.., tag = 0)]
    pub current_leader: LeaderIdAndEpoch,
}

/// A record that was refused.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct BatchIndexAndErrorMessage {
    /// The record's place in its batch.
    #[field(versions = 8..)]
    pub batch_index: i32,
    /// Why.
    #[field(versions = 8..)]
    pub batch_index_error_message: Option<Text>,
}

/// A leader and its epoch; -1 where unknown.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct LeaderIdAndEpoch {
    /// The leader's node id.
    #[field(versions = 10.., default = -1)]
    pub leader_id: i32,
    /// The leader's epoch.
    #[field(versions = 10.., default = -1)]
    pub leader_epoch: i32,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct NodeEndpoint {
    /// The node's id.
    #[field(versions = 10..)]
    pub node_id: i32,
    /// Its host.
    #[field(versions = 10..)]
    pub host: Text,
    /// Its port.
    #[field(versions = 10..)]
    pub port: i32,
    /// Its rack.
    #[field(versions = 10..)]
    pub rack: Option<Text>,
}
