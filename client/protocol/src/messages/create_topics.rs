//! CreateTopics (key 19).
//!
//! v4 takes the broker's default number of partitions and replicas (KIP-464), v5 flexible and answers with the
//! topic's configuration (KIP-525), v6 quotas (KIP-599), v7 answers with the topic's id (KIP-516).

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// The topics to create.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 2..=7, flexible = 5)]
pub struct CreateTopicsRequest {
    /// The topics.
    pub topics: Vec<CreatableTopic>,
    /// How long to wait until they are created, in milliseconds.
    #[field(default = 60_000)]
    pub timeout_ms: i32,
    /// Whether only to check that they could be created.
    #[field(versions = 1..)]
    pub validate_only: bool,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CreatableTopic {
    /// Its name.
    pub name: Text,
    /// How many partitions; -1 for the broker's default or with `assignments`.
    pub num_partitions: i32,
    /// How many replicas of each; -1 for the broker's default or with `assignments`.
    pub replication_factor: i16,
    /// Which brokers have which partition, if that is not left to the cluster.
    pub assignments: Vec<CreatableReplicaAssignment>,
    /// Its configuration, where it differs from the broker's.
    pub configs: Vec<CreatableTopicConfig>,
}

/// The brokers of one partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CreatableReplicaAssignment {
    /// The partition.
    pub partition_index: i32,
    /// The node ids of its replicas, the preferred leader first.
    pub broker_ids: Vec<i32>,
}

/// A setting of a topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CreatableTopicConfig {
    /// Its name.
    pub name: Text,
    /// Its value.
    pub value: Option<Text>,
}

/// What became of each topic.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 2..=7, flexible = 5)]
pub struct CreateTopicsResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 2.., ignorable)]
    pub throttle_time_ms: i32,
    /// The results.
    pub topics: Vec<CreatableTopicResult>,
}

/// What became of one topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CreatableTopicResult {
    /// Its name.
    pub name: Text,
    /// Its id.
    #[field(versions = 7.., ignorable)]
    pub topic_id: Uuid,
    /// Why it was not created, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    #[field(versions = 1.., ignorable)]
    pub error_message: Option<Text>,
    /// Why its configuration is not shown, if so.
    #[field(versions = 5.., tag = 0, ignorable)]
    pub topic_config_error_code: ErrorCode,
    /// How many partitions it has; -1 if not shown.
    #[field(versions = 5.., default = -1, ignorable)]
    pub num_partitions: i32,
    /// How many replicas each has; -1 if not shown.
    #[field(versions = 5.., default = -1, ignorable)]
    pub replication_factor: i16,
    /// Its configuration.
    #[field(versions = 5.., ignorable)]
    pub configs: Option<Vec<CreatableTopicConfigs>>,
}

/// A setting of a topic, and where it comes from.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct CreatableTopicConfigs {
    /// Its name.
    #[field(versions = 5..)]
    pub name: Text,
    /// Its value.
    #[field(versions = 5..)]
    pub value: Option<Text>,
    /// Whether it cannot be changed.
    #[field(versions = 5..)]
    pub read_only: bool,
    /// Where it was set, by the numbers of DescribeConfigs; -1 if unknown.
    #[field(versions = 5.., default = -1, ignorable)]
    pub config_source: i8,
    /// Whether its value is secret.
    #[field(versions = 5..)]
    pub is_sensitive: bool,
}
