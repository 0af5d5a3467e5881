//! Connections of clients to nodes, and who asked what over them: in order in both directions, each to one life of its node
//! and no other, its answers in the order of its requests.

use std::collections::{BTreeMap, BTreeSet};

use highwater_protocol::frame::SIZE_BYTES;
use highwater_storage::TopicId;

use super::client::{Question, To, Told};
use super::member::Member;
use super::world::{Happening, World};
use crate::ids::{NodeId, PartitionIndex};
use crate::node::{ConnectionId, Event, Reply, Request, Ticket};
use crate::wire::{self, Call, Incoming};

/// Who asked a client's request.
#[derive(Debug)]
struct Asker {
    client: usize,
    number: u64,
    /// A produce that is to be acknowledged, of these partitions; whether by all.
    produces: Vec<(TopicId, PartitionIndex)>,
    awaits_all: bool,
    /// How it is answered where it came in a frame.
    call: Option<Call>,
}

/// A connection of a client to one life of a node.
#[derive(Debug)]
struct Connection {
    client: usize,
    to: To,
    life: Option<u64>,
    next_request: u64,
    to_node_until: u64,
    to_client_until: u64,
    /// The request that is to be answered next, and answers to later ones.
    answered: u64,
    ready: BTreeMap<u64, Reply>,
    /// Something was lost: nothing behind it comes.
    is_broken: bool,
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    all: BTreeMap<ConnectionId, Connection>,
    /// Which of them a client uses.
    current: BTreeMap<(usize, To), ConnectionId>,
    next: u64,
    askers: BTreeMap<Ticket, Asker>,
    /// Clients whose way to a node is cut.
    cut: BTreeSet<(usize, NodeId)>,
}

impl Connections {
    /// What a client sends to a node is lost, and what it is sent.
    pub(super) fn cut(&mut self, client: usize, node: NodeId) {
        self.cut.insert((client, node));
    }

    /// No way is cut any more; what broke stays so.
    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    fn open(&mut self, client: usize, to: To, life: Option<u64>, now: u64) -> ConnectionId {
        let id = ConnectionId(self.next);
        self.next += 1;
        let connection = Connection {
            client,
            to,
            life,
            next_request: 0,
            to_node_until: now,
            to_client_until: now,
            answered: 0,
            ready: BTreeMap::new(),
            is_broken: false,
        };
        self.all.insert(id, connection);
        self.current.insert((client, to), id);
        id
    }

    /// A request leaves that would arrive at `at` if none was before it; gives its ticket and when it arrives.
    fn ask(&mut self, id: ConnectionId, number: u64, at: u64) -> Option<(Ticket, u64)> {
        let connection = self.all.get_mut(&id)?;
        let ticket = Ticket { connection: id, request: connection.next_request };
        connection.next_request += 1;
        connection.to_node_until = connection.to_node_until.max(at);
        let client = connection.client;
        let asker = Asker { client, number, produces: Vec::new(), awaits_all: false, call: None };
        self.askers.insert(ticket, asker);
        Some((ticket, connection.to_node_until))
    }

    /// The connection over which something comes, unless it broke, or breaks now.
    fn whole(&mut self, id: ConnectionId) -> Option<&Connection> {
        let connection = self.all.get_mut(&id)?;
        connection.is_broken |= self.cut.contains(&(connection.client, connection.to.node));
        (!connection.is_broken).then_some(connection)
    }

    /// The next answer that may leave.
    fn next_answer(&mut self, id: ConnectionId) -> Option<(Ticket, Reply)> {
        let connection = self.all.get_mut(&id)?;
        let request = connection.answered;
        let reply = connection.ready.remove(&request)?;
        connection.answered += 1;
        Some((Ticket { connection: id, request }, reply))
    }

    /// An answer leaves that would arrive at `at` if none was before it; gives when it arrives.
    fn answer(&mut self, id: ConnectionId, at: u64) -> Option<u64> {
        let connection = self.all.get_mut(&id)?;
        connection.to_client_until = connection.to_client_until.max(at);
        Some(connection.to_client_until)
    }

    /// The client uses it no more; gives when the node hears of it.
    fn hang_up(&mut self, client: usize, to: To) -> Option<(ConnectionId, u64)> {
        let id = self.current.remove(&(client, to))?;
        Some((id, self.all.get(&id)?.to_node_until))
    }

    fn forget(&mut self, id: ConnectionId) -> Option<Connection> {
        let all = |request| Ticket { connection: id, request };
        let asked: Vec<_> = self.askers.range(all(0)..=all(u64::MAX)).map(|(ticket, _)| *ticket).collect();
        for ticket in asked {
            self.askers.remove(&ticket);
        }
        self.all.remove(&id)
    }
}

impl World {
    /// Asks a node for something whose answer nobody waits for.
    pub(super) fn ask_for_nobody(&mut self, node: NodeId, request: Request) {
        self.ask(usize::MAX, node.into(), 0, Question::Words(Box::new(request)));
    }

    pub(super) fn ask(&mut self, client: usize, to: To, number: u64, question: Question) {
        let id = match self.connections.current.get(&(client, to)) {
            Some(id) => *id,
            None => self.connect(client, to),
        };
        let at = self.now + self.link_micros();
        if let Some((ticket, at)) = self.connections.ask(id, number, at) {
            self.happens(at, Happening::Asked(ticket, question));
        }
    }

    fn connect(&mut self, client: usize, to: To) -> ConnectionId {
        let life = self.members.get(&to.node).and_then(Member::life);
        let id = self.connections.open(client, to, life, self.now);
        if life.is_none() {
            let at = self.now + self.link_micros();
            self.happens(at, Happening::HungUp(id));
        }
        id
    }

    /// A client closes a connection.
    pub(super) fn hang_up(&mut self, client: usize, to: To) {
        if let Some((id, at)) = self.connections.hang_up(client, to) {
            self.happens(at, Happening::ClientLeft(id));
        }
    }

    pub(super) fn bring_request(&mut self, ticket: Ticket, question: Question) {
        let Some(connection) = self.connections.whole(ticket.connection) else { return };
        let (node, Some(life)) = (connection.to.node, connection.life) else { return };
        if self.members.get(&node).is_none_or(|member| member.life() != Some(life)) {
            return;
        }
        let (mut request, call) = match question {
            Question::Words(request) => (*request, None),
            Question::Frame(frame) => {
                let (rules, now) = (&self.members[&node].rules, self.clock().wall);
                match wire::decode(frame, rules, now) {
                    Ok(Incoming::Request(call, request)) => (request, Some(call)),
                    other => return self.checks.complain(format!("our client asks what is none: {other:?}")),
                }
            }
        };
        request.set_client_host(|| "/lab".into());
        if let Some(asker) = self.connections.askers.get_mut(&ticket) {
            asker.call = call;
            if let Request::Produce(produce) = &request
                && produce.acks != 0
            {
                let parts = produce.partitions.iter();
                asker.awaits_all = produce.acks == -1 || self.conditions.is_synced;
                asker.produces = parts.filter_map(|part| Some((part.checked_for?, part.partition))).collect();
            }
        }
        self.event_in_life(node, life, Event::Request(ticket, request));
    }

    /// A node answers.
    pub(super) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        // Who asked may be gone.
        let Some(connection) = self.connections.all.get_mut(&ticket.connection) else { return };
        let Some(asker) = self.connections.askers.get(&ticket) else {
            return self.checks.complain(format!("an answer to nobody: {ticket:?} {reply:?}"));
        };
        if let Reply::Produce(parts) = &reply {
            let node = self.members.get(&connection.to.node).and_then(Member::node);
            for (part, partition) in parts.iter().zip(&asker.produces) {
                match (&part.outcome, node.and_then(|node| node.known().partition(partition.0, partition.1)))
                {
                    (Ok(produced), _) if asker.awaits_all => {
                        self.checks.acknowledged(*partition, produced.base_offset);
                    }
                    (Ok(produced), Some(known)) => {
                        self.checks.told(*partition, produced.base_offset, known.leader_epoch);
                    }
                    _ => {}
                }
            }
        }
        connection.ready.insert(ticket.request, reply);
        while let Some((ticket, reply)) = self.connections.next_answer(ticket.connection) {
            self.send_answer(ticket, reply);
        }
    }

    fn send_answer(&mut self, ticket: Ticket, reply: Reply) {
        if let Some(asker) = self.connections.askers.get(&ticket).filter(|_| self.trace.is_some()) {
            let told = format!("  -> client {} {}: {reply:?}", asker.client, asker.number);
            self.note(|| told);
        }
        let Some(asker) = self.connections.askers.get(&ticket) else { return };
        let Some(connection) = self.connections.all.get(&ticket.connection) else { return };
        let told = match &asker.call {
            _ if matches!(reply, Reply::Nothing) => return,
            None => Told::Words { reply: Box::new(reply), by_leader: self.leads(connection.to.node, asker) },
            Some(call) => match wire::encode(call, reply, &self.addresses) {
                Ok(Some(segments)) => Told::Frame(segments.into_bytes().slice(SIZE_BYTES..)),
                Ok(None) => return,
                Err(error) => {
                    return self.checks.complain(format!("an answer that cannot be written: {error}"));
                }
            },
        };
        let at = self.now + self.link_micros();
        if let Some(at) = self.connections.answer(ticket.connection, at) {
            self.happens(at, Happening::Answered(ticket, told));
        }
    }

    /// Whether a node leads what it was asked about.
    fn leads(&self, node: NodeId, asker: &Asker) -> bool {
        let known = self.controller().known();
        asker.produces.iter().all(|(topic, partition)| {
            known.partition(*topic, *partition).is_some_and(|known| known.leader == Some(node))
        })
    }

    pub(super) fn bring_answer(&mut self, ticket: Ticket, told: Told) {
        let Some(asker) = self.connections.askers.remove(&ticket) else { return };
        let id = ticket.connection;
        let Some(to) = self.connections.whole(id).map(|connection| connection.to) else { return };
        if self.connections.current.get(&(asker.client, to)) == Some(&id) {
            self.with_client(asker.client, |client, desk| client.answered(desk, asker.number, told));
        }
    }

    /// The node hears that a client closed a connection.
    pub(super) fn client_left(&mut self, id: ConnectionId) {
        if let Some(gone) = self.connections.forget(id)
            && let Some(life) = gone.life
        {
            self.event_in_life(gone.to.node, life, Event::Disconnected(id));
        }
    }

    /// The client notices that its connection is gone.
    pub(super) fn hung_up(&mut self, id: ConnectionId) {
        let Some(gone) = self.connections.forget(id) else { return };
        let used = (gone.client, gone.to);
        if self.connections.current.get(&used) == Some(&id) {
            self.connections.current.remove(&used);
            self.with_client(gone.client, |client, desk| client.hung_up(desk, gone.to, gone.life.is_some()));
        }
    }

    /// The connections to a node break.
    pub(super) fn break_connections(&mut self, node: NodeId) {
        let broken = self.connections.all.iter().filter(|(_, connection)| connection.to.node == node);
        for connection in broken.map(|(id, _)| *id).collect::<Vec<_>>() {
            let at = self.now + self.link_micros();
            self.happens(at, Happening::HungUp(connection));
        }
    }
}
