//! DescribeCluster (key 60): the brokers and the controller, without topics (KIP-700).
//!
//! v1 brokers or controllers (KIP-919), v2 fenced brokers (KIP-1073).

use crate::{ErrorCode, Fields, Message, Text};

/// What to describe.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 0)]
pub struct DescribeClusterRequest {
    /// Whether to say what the sender may do to the cluster.
    pub include_cluster_authorized_operations: bool,
    /// 1 for brokers, 2 for controllers.
    #[field(versions = 1.., default = 1)]
    pub endpoint_type: i8,
    /// Whether to list brokers that are fenced.
    #[field(versions = 2..)]
    pub include_fenced_brokers: bool,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(versions = 0..=2, flexible = 0)]
pub struct DescribeClusterResponse {
    /// How long a quota held the request back, in milliseconds.
    pub throttle_time_ms: i32,
    /// Why it is not described, if so.
    pub error_code: ErrorCode,
    /// The same in words.
    pub error_message: Option<Text>,
    /// What is described: 1 brokers, 2 controllers.
    #[field(versions = 1.., default = 1)]
    pub endpoint_type: i8,
    /// The cluster's id.
    pub cluster_id: Text,
    /// The controller's node id; -1 if unknown.
    #[field(default = -1)]
    pub controller_id: i32,
    /// The brokers.
    pub brokers: Vec<DescribeClusterBroker>,
    /// What the sender may do to the cluster, a bit for each operation; `i32::MIN` if not asked.
    #[field(default = i32::MIN)]
    pub cluster_authorized_operations: i32,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Fields)]
pub struct DescribeClusterBroker {
    /// Its node id.
    pub broker_id: i32,
    /// Its host.
    pub host: Text,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<Text>,
    /// Whether it is fenced.
    #[field(versions = 2..)]
    pub is_fenced: bool,
}
