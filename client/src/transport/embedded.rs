//! The in-process transport: the contract between this client and an embedded cluster.
//!
//! The broker implements [`Endpoint`]; the client opens links through it. No socket, no port, and no copy of a record:
//! a frame is handed over in the pieces it was written in. Joined, they are exactly what a socket would carry, without
//! the four bytes of their size.

use std::io;

use highwater_protocol::Segments;
use tokio::sync::mpsc;

use crate::metadata::BrokerAddress;

/// Which node a link should lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Any node of the cluster; `attempt` counts up, so that a client whose last choice was dead gets another.
    Bootstrap {
        /// How many times this client has asked for a first contact.
        attempt: u32,
    },
    /// The node that names itself so in its Metadata responses.
    Broker(BrokerAddress),
}

/// Opens in-process connections to the nodes of an embedded cluster.
pub trait Endpoint: Send + Sync + 'static {
    /// Opens a connection.
    ///
    /// # Errors
    /// When no such node exists or it takes no connections, as a refused TCP connection would say.
    fn open(&self, target: &Target) -> io::Result<InProcessLink>;
}

/// Both directions of an open in-process connection.
pub struct InProcessLink {
    /// Takes requests; dropping it closes the connection.
    pub requests: Box<dyn RequestSink>,
    /// Gives the responses in request order; its end means that the broker closed the connection.
    pub responses: mpsc::UnboundedReceiver<Segments>,
}

/// The requests' direction of a link.
pub trait RequestSink: Send {
    /// Hands over one request frame. It must not block for longer than handling the request takes, and may answer
    /// before it returns.
    ///
    /// # Errors
    /// When the connection is closed.
    fn send(&mut self, frame: Segments) -> io::Result<()>;
}
