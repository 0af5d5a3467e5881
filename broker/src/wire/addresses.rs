//! Where the nodes are, as one connection is told.

use std::sync::Arc;

use highwater_protocol::Text;

use crate::ids::NodeId;

/// A node's host, port and rack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// The rack, if it has one.
    pub rack: Option<Arc<str>>,
}

/// All nodes with their addresses, as seen by one client: unless one is advertised, the host is the address at which
/// that client reached us.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    nodes: Vec<(NodeId, Address)>,
}

impl Addresses {
    /// These nodes, at these places.
    pub fn new(nodes: Vec<(NodeId, Address)>) -> Self {
        Self { nodes }
    }

    /// Host and port of a node, as the protocol writes them; Kafka's "no node" for an unknown one.
    pub(super) fn of(&self, node: NodeId) -> (Text, i32) {
        match self.known(node) {
            Some(address) => (Text::from(address.host.as_ref()), i32::from(address.port)),
            None => (Text::default(), -1),
        }
    }

    /// The rack of a node, if it is known.
    pub(super) fn rack_of(&self, node: NodeId) -> Option<Text> {
        self.known(node)?.rack.as_deref().map(Text::from)
    }

    fn known(&self, node: NodeId) -> Option<&Address> {
        self.nodes.iter().find(|(id, _)| *id == node).map(|(_, address)| address)
    }
}
