//! Connections without a socket: the client's frames are handled in the client's own thread.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};

use bytes::Buf;
use highwater_client::transport::embedded::{Endpoint, InProcessLink, RequestSink, Target};
use highwater_protocol::Segments;
use highwater_protocol::frame::SIZE_BYTES;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::mailbox::Recipient;
use super::member::Member;
use super::node_shell::NodeShell;
use crate::node::{ConnectionId, Event, Reply, Ticket};
use crate::wire::{self, Address, Addresses, Call, Incoming};

/// The host that nodes without a socket go by.
const HOST: &str = "in-process";
/// The same as the members of a group see it, in the form of Java's addresses.
const CLIENT_HOST: &str = "/in-process";
/// A node's id, from here on, stands for its port.
const FIRST_PORT: u16 = 1;

/// Opens in-process connections to the nodes of a cluster. Does not keep the cluster alive.
pub(crate) struct InProcess {
    nodes: Vec<Weak<Member>>,
    addresses: Addresses,
}

impl InProcess {
    pub(crate) fn new(nodes: &[Arc<Member>]) -> Self {
        let address = |(node, port): (&Arc<Member>, u16)| {
            (node.id(), Address { host: HOST.into(), port, rack: node.rack() })
        };
        let addresses = Addresses::new(nodes.iter().zip(FIRST_PORT..).map(address).collect());
        Self { nodes: nodes.iter().map(Arc::downgrade).collect(), addresses }
    }

    fn node(&self, target: &Target) -> Option<Arc<NodeShell>> {
        let place = match target {
            Target::Bootstrap { attempt } => usize::try_from(*attempt).ok()? % self.nodes.len(),
            Target::Broker(address) => usize::from(address.port.checked_sub(FIRST_PORT)?),
        };
        self.nodes.get(place)?.upgrade()?.shell()
    }
}

impl Endpoint for InProcess {
    fn open(&self, target: &Target) -> io::Result<InProcessLink> {
        let gone = || io::Error::new(io::ErrorKind::ConnectionRefused, "the node is gone");
        let shell = self.node(target).ok_or_else(gone)?;
        let (sender, responses) = mpsc::unbounded_channel();
        let desk =
            Arc::new(Desk { addresses: self.addresses.clone(), inside: Mutex::new(Inside::new(sender)) });
        let connection = shell.connect(Arc::clone(&desk) as _);
        let requests = Box::new(Requests { shell: Arc::downgrade(&shell), connection, desk });
        Ok(InProcessLink { requests, responses })
    }
}

struct Requests {
    shell: Weak<NodeShell>,
    connection: ConnectionId,
    desk: Arc<Desk>,
}

impl RequestSink for Requests {
    fn send(&mut self, frame: Segments) -> io::Result<()> {
        let closed = || io::Error::new(io::ErrorKind::ConnectionReset, "the node closed the connection");
        let shell = self.shell.upgrade().ok_or_else(closed)?;
        let incoming = wire::decode(frame, shell.rules(), shell.clock().now().wall).map_err(|bad| {
            tracing::warn!(%bad, "closed an in-process connection that sent a bad frame");
            self.desk.inside.lock().responses = None;
            io::Error::new(io::ErrorKind::InvalidData, bad)
        })?;
        shell.traffic().request(&incoming);
        match incoming {
            Incoming::Answer(segments) => self.desk.answer(segments),
            Incoming::Request(call, mut request) => {
                request.set_client_host(|| CLIENT_HOST.to_owned());
                let number = self.desk.expect(call).ok_or_else(closed)?;
                let ticket = Ticket { connection: self.connection, request: number };
                if !shell.bring(Event::Request(ticket, request)) {
                    return Err(closed());
                }
            }
        }
        Ok(())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        if let Some(shell) = self.shell.upgrade() {
            shell.disconnect(self.connection);
        }
    }
}

/// Where answers are put in order and handed to the client.
struct Desk {
    addresses: Addresses,
    inside: Mutex<Inside>,
}

struct Inside {
    /// None once the connection is closed.
    responses: Option<mpsc::UnboundedSender<Segments>>,
    pending: VecDeque<Pending>,
    first_pending: u64,
}

enum Pending {
    Waiting(Call),
    Ready(Option<Segments>),
}

impl Inside {
    fn new(responses: mpsc::UnboundedSender<Segments>) -> Self {
        Self { responses: Some(responses), pending: VecDeque::new(), first_pending: 0 }
    }

    fn send_ready(&mut self) {
        while let Some(Pending::Ready(answer)) = self.pending.front_mut() {
            if let (Some(mut answer), Some(responses)) = (answer.take(), &self.responses) {
                answer.advance(SIZE_BYTES);
                // A client that is gone needs no answer.
                let _ = responses.send(answer);
            }
            self.pending.pop_front();
            self.first_pending += 1;
        }
    }
}

impl Desk {
    fn expect(&self, call: Call) -> Option<u64> {
        let mut inside = self.inside.lock();
        inside.responses.as_ref()?;
        inside.pending.push_back(Pending::Waiting(call));
        Some(inside.first_pending + inside.pending.len() as u64 - 1)
    }

    fn answer(&self, segments: Segments) {
        let mut inside = self.inside.lock();
        inside.pending.push_back(Pending::Ready(Some(segments)));
        inside.send_ready();
    }
}

impl Recipient for Desk {
    fn deliver(&self, request: u64, reply: Reply) {
        let mut inside = self.inside.lock();
        let Ok(place) = usize::try_from(request - inside.first_pending) else { return };
        let Some(Pending::Waiting(call)) = inside.pending.get_mut(place) else { return };
        let call = *call;
        match wire::encode(&call, reply, &self.addresses) {
            Ok(answer) => inside.pending[place] = Pending::Ready(answer),
            Err(error) => {
                tracing::error!(%error, api = ?call.api(), "an answer cannot be written");
                inside.responses = None;
            }
        }
        inside.send_ready();
    }

    fn close(&self, why: &str) {
        tracing::info!(%why, "closing an in-process connection whose producer asked for no answers");
        self.inside.lock().responses = None;
    }
}
