//! What a running cluster shows of itself, for metrics.

use crate::ids::NodeId;
use crate::node::NodeObservation;

/// One node at one moment. Counts begin with the node.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Which node.
    pub id: NodeId,
    /// What the node itself knows; none once it has failed, or was stopped.
    pub node: Option<NodeObservation>,
    /// Connections that are open, those in process among them.
    pub connections: usize,
    /// Connections there have been.
    pub connections_total: u64,
    /// Requests for the node by Kafka's name of their API, of those that were asked for at all.
    pub requests: Vec<(&'static str, u64)>,
    /// Bytes that came over sockets.
    pub received_bytes: u64,
    /// Bytes that went out over sockets.
    pub sent_bytes: u64,
}
