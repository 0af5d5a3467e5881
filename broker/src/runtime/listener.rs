//! A node's listener: takes connections, as many as the limit allows, until it is dropped or told to stop.

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

/// A socket that listens.
pub(crate) struct Listener {
    sockets: Vec<TcpListener>,
    shell: Arc<NodeShell>,
    advertised: Advertised,
}

impl Listener {
    /// Listens at all of `addresses`, which differ in host only.
    pub(crate) async fn bind(
        addresses: &[SocketAddr],
        shell: Arc<NodeShell>,
        advertised: Advertised,
    ) -> io::Result<Self> {
        let mut sockets: Vec<TcpListener> = Vec::new();
        for address in addresses {
            let mut address = *address;
            if let (0, Some(first)) = (address.port(), sockets.first()) {
                address.set_port(first.local_addr()?.port());
            }
            sockets.push(TcpListener::bind(address).await?);
        }
        Ok(Self { sockets, shell, advertised })
    }

    /// Where it listens.
    pub(crate) fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(TcpListener::local_addr).collect()
    }

    /// Takes connections until `shutdown` says stop; returns when the last of them has ended.
    pub(crate) async fn run(self, shutdown: watch::Receiver<bool>) {
        let Self { sockets, shell, advertised } = self;
        let open = Arc::new(AtomicUsize::new(0));
        let mut accepting = JoinSet::new();
        for socket in sockets {
            let door = Door {
                shell: Arc::clone(&shell),
                advertised: advertised.clone(),
                open: Arc::clone(&open),
                shutdown: shutdown.clone(),
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
    advertised: Advertised,
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
        let addresses = stream.set_nodelay(true).and_then(|()| self.addresses(&stream));
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

    fn addresses(&self, stream: &TcpStream) -> io::Result<Addresses> {
        let local = stream.local_addr()?;
        let host = match &self.advertised.host {
            Some(host) => Arc::clone(host),
            None => local.ip().to_canonical().to_string().into(),
        };
        let port = self.advertised.port.unwrap_or(local.port());
        let node: NodeId = self.shell.id();
        Ok(Addresses::new(vec![(node, Address { host, port })]))
    }
}
