//! Metadata (key 3): the brokers, and for each topic its partitions and their leaders.
//!
//! v4 may create topics, v7 leader epochs (KIP-320), v8 authorized operations (KIP-430), v9 flexible, v10 topic ids
//! (KIP-516), v12 looks topics up by id, v13 refuses a client whose view is too old (KIP-1102).

use crate::{ErrorCode, Fields, Message, Text, Uuid};

/// Which topics to describe.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=13, flexible = 9)]
pub struct MetadataRequest {
    /// The topics; `None` for all (at version 0, where there is no null, an empty list).
    #[field(nullable = 1..)]
    pub topics: Option<Vec<MetadataRequestTopic>>,
    /// Whether a topic that does not exist is created, if the broker allows it.
    #[field(versions = 4.., default = true)]
    pub allow_auto_topic_creation: bool,
    /// Whether to say what the sender may do to the cluster.
    #[field(versions = 8..=10)]
    pub include_cluster_authorized_operations: bool,
    /// Whether to say what the sender may do to each topic.
    #[field(versions = 8..)]
    pub include_topic_authorized_operations: bool,
}

/// One topic to describe, by id or by name.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct MetadataRequestTopic {
    /// The topic's id.
    #[field(versions = 10.., ignorable)]
    pub topic_id: Uuid,
    /// The topic's name.
    #[field(nullable = 10..)]
    pub name: Option<Text>,
}

/// The cluster as a broker sees it.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=13, flexible = 9)]
pub struct MetadataResponse {
    /// How long a quota held the request back, in milliseconds.
    #[field(versions = 3.., ignorable)]
    pub throttle_time_ms: i32,
    /// The live brokers.
    pub brokers: Vec<MetadataResponseBroker>,
    /// The cluster's id.
    #[field(versions = 2.., ignorable)]
    pub cluster_id: Option<Text>,
    /// The controller's node id; -1 if unknown.
    #[field(versions = 1.., default = -1, ignorable)]
    pub controller_id: i32,
    /// The topics.
    pub topics: Vec<MetadataResponseTopic>,
    /// What the sender may do to the cluster, a bit for each operation; `i32::MIN` if not asked.
    #[field(versions = 8..=10, default = i32::MIN)]
    pub cluster_authorized_operations: i32,
    /// What was wrong with the request as a whole.
    #[field(versions = 13.., ignorable)]
    pub error_code: ErrorCode,
}

/// A live broker.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct MetadataResponseBroker {
    /// Its node id.
    pub node_id: i32,
    /// Its host.
    pub host: Text,
    /// Its port.
    pub port: i32,
    /// Its rack.
    #[field(versions = 1.., ignorable)]
    pub rack: Option<Text>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct MetadataResponseTopic {
    /// Why it is not described, if so.
    pub error_code: ErrorCode,
    /// Its name; null if it was asked for by an id that is unknown.
    #[field(nullable = 12..)]
    pub name: Option<Text>,
    /// Its id.
    #[field(versions = 10.., ignorable)]
    pub topic_id: Uuid,
    /// Whether it is one of the broker's own.
    #[field(versions = 1.., ignorable)]
    pub is_internal: bool,
    /// Its partitions.
    pub partitions: Vec<MetadataResponsePartition>,
    /// What the sender may do to it, a bit for each operation; `i32::MIN` if not asked.
    #[field(versions = 8.., default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct MetadataResponsePartition {
    /// What is wrong with it, if anything.
    pub error_code: ErrorCode,
    /// The partition.
    pub partition_index: i32,
    /// The leader's node id; -1 if there is none.
    pub leader_id: i32,
    /// The leader's epoch.
    #[field(versions = 7.., default = -1, ignorable)]
    pub leader_epoch: i32,
    /// The node ids of all replicas.
    pub replica_nodes: Vec<i32>,
    /// The node ids of those in sync.
    pub isr_nodes: Vec<i32>,
    /// The node ids of those offline.
    #[field(versions = 5.., ignorable)]
    pub offline_replicas: Vec<i32>,
}
