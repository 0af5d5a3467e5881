//! The ports of a node, which stay its own while it is dead: whoever was told where it listens finds it there in its next life.
//!
//! Each is held by a socket that is bound and never listens. Connections to it are refused, as a dead node's are, and the
//! operating system gives the port to nobody who asks for any port or connects from one.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Where one node listens in each of its lives.
#[derive(Debug)]
pub(crate) struct Ports(Vec<Port>);

#[derive(Debug)]
struct Port {
    address: SocketAddr,
    /// Only Linux lets a second socket listen beside one that is bound.
    _held: Option<TcpSocket>,
}

impl Ports {
    /// Takes all of `addresses`, which differ in host only: a port of 0 becomes the one that the first of them got.
    pub(crate) fn take(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut taken: Vec<Port> = Vec::with_capacity(addresses.len());
        for address in addresses {
            let mut address = *address;
            if let (0, Some(first)) = (address.port(), taken.first()) {
                address.set_port(first.address.port());
            }
            let socket = bound(address)?;
            let address = socket.local_addr()?;
            taken.push(Port { address, _held: cfg!(target_os = "linux").then_some(socket) });
        }
        Ok(Self(taken))
    }

    /// Listens at all of them.
    pub(crate) fn listen(&self) -> io::Result<Vec<TcpListener>> {
        self.0.iter().map(|port| bound(port.address)?.listen(BACKLOG)).collect()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|port| port.address)
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Elsewhere it means that a port may be taken from its owner.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn any() -> [SocketAddr; 1] {
        [SocketAddr::from(([127, 0, 0, 1], 0))]
    }

    #[tokio::test]
    async fn a_port_is_nobody_elses_while_nobody_listens_there() {
        let ports = Ports::take(&any()).unwrap();
        let address = ports.addresses().next().unwrap();
        for _ in 0..2 {
            let listening = ports.listen().unwrap();
            tokio::net::TcpStream::connect(address).await.unwrap();
            drop(listening);
            let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let taken = TcpSocket::new_v4().unwrap().bind(address).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[tokio::test]
    async fn a_port_at_which_another_listens_is_not_taken() {
        let ports = Ports::take(&any()).unwrap();
        let _listening = ports.listen().unwrap();
        let address = ports.addresses().next().unwrap();
        assert_eq!(Ports::take(&[address]).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
