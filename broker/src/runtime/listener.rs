//! A node's listener: takes connections, as many as the limit allows, for as long as the node lives.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::node_shell::NodeShell;
use super::ports::Ports;
use crate::ids::NodeId;
use crate::wire::{Address, Addresses};

/// How long to wait when the process has no more file descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// What clients are told to connect to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Advertised {
    /// The host; none for the address at which the client reached us.
    pub(crate) host: Option<Arc<str>>,
    /// The port; none for the listener's own.
    pub(crate) port: Option<u16>,
}

impl Advertised {
    fn port(&self, port: u16, place: usize) -> u16 {
        let first = self.port.map(|first| first.saturating_add(u16::try_from(place).unwrap_or(u16::MAX)));
        first.unwrap_or(port)
    }
}

/// How the nodes of a cluster are called by who reaches one of them: all by the same host, each by its port.
#[derive(Debug)]
pub(crate) struct Names {
    host: Option<Arc<str>>,
    nodes: Vec<Named>,
}

/// What clients are told of a node beside its host.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) id: NodeId,
    pub(crate) port: u16,
    pub(crate) rack: Option<Arc<str>>,
}

impl Names {
    /// Nodes that listen at these ports, in order.
    pub(crate) fn new(advertised: &Advertised, mut nodes: Vec<Named>) -> Self {
        for (place, node) in nodes.iter_mut().enumerate() {
            node.port = advertised.port(node.port, place);
        }
        Self { host: advertised.host.clone(), nodes }
    }

    fn seen_from(&self, stream: &TcpStream) -> io::Result<Addresses> {
        let host = match &self.host {
            Some(host) => Arc::clone(host),
            None => stream.local_addr()?.ip().to_canonical().to_string().into(),
        };
        let address = |Named { id, port, rack }: &Named| {
            (*id, Address { host: Arc::clone(&host), port: *port, rack: rack.clone() })
        };
        Ok(Addresses::new(self.nodes.iter().map(address).collect()))
    }
}

/// Sockets that listen for one life of a node.
pub(crate) struct Sockets(Vec<TcpListener>);

impl Sockets {
    /// Listens at all of a node's ports.
    pub(crate) fn listen(ports: &Ports) -> io::Result<Self> {
        ports.listen().map(Self)
    }

    /// Takes connections for as long as the node lives; returns when the last of them has ended.
    pub(crate) async fn serve(self, shell: Arc<NodeShell>, names: Arc<Names>) {
        let open = Arc::new(AtomicUsize::new(0));
        let mut accepting = JoinSet::new();
        for socket in self.0 {
            let door = Door {
                shutdown: shell.end(),
                shell: Arc::clone(&shell),
                names: Arc::clone(&names),
                open: Arc::clone(&open),
            };
            accepting.spawn(door.accept_all(socket));
        }
        accepting.join_all().await;
    }
}

/// One of the connections that may be open, free again however the connection ends.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One socket's part of the listener.
struct Door {
    shell: Arc<NodeShell>,
    names: Arc<Names>,
    open: Arc<AtomicUsize>,
    shutdown: watch::Receiver<bool>,
}

impl Door {
    async fn accept_all(mut self, socket: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                _ = self.shutdown.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Some(connection) = self.admit(stream, peer) {
                        connections.spawn(connection);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
                }
            }
        }
        drop(socket);
        connections.join_all().await;
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<impl Future<Output = ()> + Send + use<>> {
        let config = self.shell.config();
        if self.open.load(Ordering::Relaxed) >= config.max_connections() {
            tracing::warn!(%peer, limit = config.max_connections(), "max.connections reached: refused");
            return None;
        }
        // Small answers must not wait for more to send.
        let addresses = stream.set_nodelay(true).and_then(|()| self.names.seen_from(&stream));
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::debug!(%peer, %error, "a connection was gone before it began");
                return None;
            }
        };
        let connection = Connection::new(stream, Arc::clone(&self.shell), addresses, &config);
        let (place, shutdown) = (Place::take(&self.open), self.shutdown.clone());
        Some(async move {
            connection.serve(shutdown).await;
            drop(place);
        })
    }
}
