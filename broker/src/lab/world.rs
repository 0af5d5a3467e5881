//! Time, and everything that happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::disk::{Disk, MemoryDisk};
use highwater_storage::{TimestampMs, TopicId};

use super::chance::Chance;
use super::checks::Checks;
use super::client::{Act, Client, Desk};
use super::conditions::Conditions;
use super::links::{Link, Links};
use super::member::{Member, Now as Standing};
use super::producer::Producer;
use super::reader::Reader;
use crate::config::BrokerConfig;
use crate::controller::{
    Controller, ControllerEffect, ControllerEffects, ControllerEvent, ControllerOptions,
};
use crate::ids::{Monotonic, NodeId, Now, PartitionIndex};
use crate::message::{Message, Peer, Word};
use crate::node::{Birth, ConnectionId, DiskWork, Effect, Effects, Event, Reply, Request, Ticket};

/// How often nothing but the same deadline may be served.
const MAX_TURNS_AT_ONCE: u32 = 10_000;

/// Who asked a client's request.
#[derive(Debug, Clone, Copy)]
struct Asker {
    client: usize,
    number: u64,
    /// A produce that all are to acknowledge, of this partition.
    awaits_all: Option<(TopicId, PartitionIndex)>,
}

/// A connection of a client to one life of a node. In order in both directions.
#[derive(Debug)]
struct Connection {
    client: usize,
    node: NodeId,
    life: u64,
    next_request: u64,
    to_node_until: u64,
    to_client_until: u64,
    /// Something was lost: nothing behind it comes.
    is_broken: bool,
}

/// Something that happens at its time.
#[derive(Debug)]
pub(super) enum Happening {
    Arrives(Link, u64),
    Asked(Ticket, Box<Request>),
    Answered(Ticket, Box<Reply>),
    ClientLeft(ConnectionId),
    HungUp(ConnectionId),
    Continues(NodeId, u64, Box<Event>),
    Worked(NodeId, u64, Box<DiskWork>),
    ControllerWorked(Box<DiskWork>),
    Wakes(usize),
    Fault,
    Mends(super::faults::Mend),
    Looks,
}

/// Those who use the cluster.
#[derive(Debug)]
pub(super) enum Role {
    Produces(Box<Producer>),
    Reads(Reader),
}

impl Role {
    fn client(&mut self) -> &mut dyn Client {
        match self {
            Self::Produces(producer) => producer.as_mut(),
            Self::Reads(reader) => reader,
        }
    }
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) chance: Chance,
    pub(super) conditions: Conditions,
    pub(super) config: Arc<BrokerConfig>,
    queue: BTreeMap<(u64, u64), Happening>,
    next_happening: u64,
    controller: Controller,
    controller_busy_until: u64,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) links: Links,
    pub(super) clients: Vec<Role>,
    wakes: BTreeSet<(u64, usize)>,
    connections: BTreeMap<ConnectionId, Connection>,
    connected: BTreeMap<(usize, NodeId), ConnectionId>,
    next_connection: u64,
    askers: BTreeMap<Ticket, Asker>,
    /// Clients whose way to a node is cut.
    pub(super) cut_clients: BTreeSet<(usize, NodeId)>,
    /// Nodes whose disks are slow, and by how much.
    pub(super) slow_disks: BTreeMap<NodeId, u64>,
    pub(super) checks: Checks,
    pub(super) trace: Option<String>,
    pub(super) steps: u64,
    pub(super) fault_count: u64,
    pub(super) is_trouble: bool,
    /// A node lost what it did not sync, and nothing else is to go wrong before it has it again.
    pub(super) is_fragile: bool,
}

impl World {
    pub(super) fn open(seed: u64, is_traced: bool) -> Result<Self, String> {
        let mut chance = Chance::from_seed(seed);
        let conditions = Conditions::draw(&mut chance);
        let nodes: Vec<_> = (0..conditions.nodes).map(NodeId).collect();
        let config = Arc::new(conditions.config.clone().of_cluster(nodes.len()));
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let options = ControllerOptions {
            nodes: nodes.clone(),
            config: Arc::clone(&config),
            disk,
            folder: PathBuf::from("data"),
            entropy: chance.entropy(),
        };
        let mut said = ControllerEffects::new();
        let controller = Controller::open(options, at(0), &mut said).map_err(|error| error.to_string())?;
        let mut world = Self {
            now: 0,
            chance,
            conditions,
            config,
            queue: BTreeMap::new(),
            next_happening: 0,
            controller,
            controller_busy_until: 0,
            members: nodes.iter().map(|node| (*node, Member::new(*node))).collect(),
            links: Links::default(),
            clients: Vec::new(),
            wakes: BTreeSet::new(),
            connections: BTreeMap::new(),
            connected: BTreeMap::new(),
            next_connection: 0,
            askers: BTreeMap::new(),
            cut_clients: BTreeSet::new(),
            slow_disks: BTreeMap::new(),
            checks: Checks::default(),
            trace: is_traced.then(String::new),
            steps: 0,
            fault_count: 0,
            is_trouble: false,
            is_fragile: false,
        };
        let conditions = format!("{:?}", world.conditions);
        world.note(|| conditions);
        world.take_controller_effects(said);
        world.start(&nodes)?;
        Ok(world)
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            // Text takes all that is written to it.
            let _ = writeln!(trace, "{:>12} {}", self.now, what());
        }
    }

    pub(super) fn controller(&self) -> &Controller {
        &self.controller
    }

    pub(super) fn controller_mut(&mut self) -> &mut Controller {
        &mut self.controller
    }

    pub(super) fn clock(&self) -> Now {
        at(self.now)
    }

    pub(super) fn happens(&mut self, at: u64, what: Happening) {
        self.queue.insert((at.max(self.now), self.next_happening), what);
        self.next_happening += 1;
    }

    fn link_micros(&mut self) -> u64 {
        let range = self.conditions.link_micros.clone();
        let usual = self.chance.draw(range);
        if self.conditions.slow_percent > 0
            && self.is_trouble
            && self.chance.percent(self.conditions.slow_percent)
        {
            return usual + self.chance.draw(0..=self.conditions.slow_micros);
        }
        usual
    }

    /// Lets time pass until then, or until something does not hold.
    pub(super) fn run_until(&mut self, until: u64) {
        let mut turns = 0;
        while self.checks.complaint().is_none() {
            let timer = self.next_timer();
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let due = [timer.map(|(due, _)| due), next].into_iter().flatten().min();
            let Some(due) = due.map(|due| due.max(self.now)).filter(|due| *due <= until) else { break };
            turns = if due > self.now { 0 } else { turns + 1 };
            if turns > MAX_TURNS_AT_ONCE {
                return self.checks.complain("time does not pass: a deadline that no step serves".to_owned());
            }
            self.now = due;
            if next.is_some_and(|next| next <= due) {
                if let Some((_, what)) = self.queue.pop_first() {
                    self.let_happen(what);
                }
            } else if let Some((_, whose)) = timer {
                match whose {
                    Peer::Controller => self.step_controller(ControllerEvent::Tick),
                    Peer::Node(node) => self.step_node(node, Event::Tick),
                }
            }
        }
        if self.checks.complaint().is_none() {
            self.now = self.now.max(until);
        }
    }

    fn next_timer(&self) -> Option<(u64, Peer)> {
        let of_nodes =
            self.members.values().filter_map(|member| Some((member.deadline()?, Peer::Node(member.id))));
        let of_controller = self.controller.next_deadline().map(|at| (at.micros(), Peer::Controller));
        of_nodes.chain(of_controller).min()
    }

    fn let_happen(&mut self, what: Happening) {
        match what {
            Happening::Arrives(link, number) => self.arrive(link, number),
            Happening::Asked(ticket, request) => self.bring_request(ticket, *request),
            Happening::Answered(ticket, reply) => self.bring_answer(ticket, *reply),
            Happening::ClientLeft(connection) => {
                if let Some(gone) = self.forget_connection(connection) {
                    self.event_in_life(gone.node, gone.life, Event::Disconnected(connection));
                }
            }
            Happening::HungUp(connection) => {
                if let Some(gone) = self.forget_connection(connection)
                    && self.connected.get(&(gone.client, gone.node)) == Some(&connection)
                {
                    self.connected.remove(&(gone.client, gone.node));
                    self.with_client(gone.client, |client, desk| client.hung_up(desk, gone.node));
                }
            }
            Happening::Continues(node, life, event) => self.event_in_life(node, life, *event),
            Happening::Worked(node, life, work) => {
                let is_alive = self.members.get(&node).is_some_and(|member| member.life() == Some(life));
                // Work of a life that is over was never done.
                if is_alive && let Some(event) = work.run() {
                    self.event_in_life(node, life, event);
                }
            }
            Happening::ControllerWorked(work) => {
                if let Some(Event::Synced { outcome, .. }) = work.run() {
                    self.step_controller(ControllerEvent::Synced(outcome));
                }
            }
            Happening::Wakes(client) => {
                self.wakes.remove(&(self.now, client));
                self.with_client(client, |client, desk| client.wake(desk));
            }
            Happening::Fault => self.fault(),
            Happening::Mends(mend) => self.mend(mend),
            Happening::Looks => self.compare_all(),
        }
    }

    fn arrive(&mut self, link: Link, number: u64) {
        let Some(message) = self.links.arrive(link, number) else { return };
        match (link, message) {
            ((Peer::Node(from), Peer::Controller), Message(Word::ToController(message))) => {
                self.step_controller(ControllerEvent::Message { from, message });
            }
            ((from, Peer::Node(to)), message) => self.step_node(to, Event::Message { from, message }),
            ((from, Peer::Controller), message) => unreachable!("{message:?} from {from:?}"),
        }
    }

    fn event_in_life(&mut self, node: NodeId, life: u64, event: Event) {
        if self.members.get(&node).is_some_and(|member| member.life() == Some(life)) {
            self.step_node(node, event);
        }
    }

    pub(super) fn step_node(&mut self, id: NodeId, event: Event) {
        let clock = self.clock();
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(life) = member.life() else { return };
        let event = match &mut member.now {
            Standing::Paused(_, inbox) => {
                if !matches!(event, Event::Tick) {
                    inbox.push_back(event);
                }
                return;
            }
            _ => event,
        };
        self.steps += 1;
        if self.trace.is_some() {
            let told = told(&event);
            self.note(|| format!("node {id} <- {told}"));
        }
        let mut effects = Effects::new();
        if let Some(node) = self.members.get_mut(&id).and_then(Member::node_mut) {
            node.step(clock, event, &mut effects);
        }
        self.look(id, life);
        self.take_effects(id, life, effects);
    }

    pub(super) fn look(&mut self, id: NodeId, life: u64) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.set_deadline();
        if let Some(node) = member.node() {
            self.checks.look(node, life, self.controller.known());
        }
        self.checks.in_sync(self.controller.known());
    }

    /// Reads everything that is said to be committed.
    pub(super) fn look_at_all(&mut self) {
        for node in self.members.values().filter_map(Member::node) {
            self.checks.compare_all(node, self.controller.known());
        }
    }

    fn compare_all(&mut self) {
        self.look_at_all();
        self.happens(self.now + 3_000_000, Happening::Looks);
    }

    pub(super) fn step_controller(&mut self, event: ControllerEvent) {
        if self.trace.is_some() {
            let told = format!("{event:?}");
            self.note(|| format!("controller <- {told}"));
        }
        let mut said = ControllerEffects::new();
        self.controller.step(self.clock(), event, &mut said);
        self.checks.in_sync(self.controller.known());
        let started = self.take_controller_effects(said);
        assert!(started.is_empty(), "nodes that nobody started");
    }

    /// Gives those who may begin a life.
    pub(super) fn take_controller_effects(
        &mut self,
        said: ControllerEffects,
    ) -> Vec<crate::controller::Started> {
        let mut begun = Vec::new();
        for effect in said {
            match effect {
                ControllerEffect::Send { to, message } => {
                    let message = Message(Word::FromController(message));
                    self.send((Peer::Controller, Peer::Node(to)), message);
                }
                ControllerEffect::Sync(handle) => {
                    let (topic, partition) = (TopicId::METADATA, PartitionIndex(0));
                    self.controller_works(DiskWork::Sync {
                        topic,
                        partition,
                        birth: Birth::default(),
                        handle,
                    });
                }
                ControllerEffect::Disk(work) => self.controller_works(work),
                ControllerEffect::Started(life) => begun.push(*life),
                ControllerEffect::NotStarted { why, .. } => {
                    self.checks.complain(format!("nodes cannot start: {why}"));
                }
                ControllerEffect::Left { node } => self.leave(node),
            }
        }
        begun
    }

    fn controller_works(&mut self, work: DiskWork) {
        let range = self.conditions.disk_micros.clone();
        let at = self.controller_busy_until.max(self.now) + self.chance.draw(range);
        self.controller_busy_until = at;
        self.happens(at, Happening::ControllerWorked(Box::new(work)));
    }

    fn send(&mut self, link: Link, message: Message) {
        // What a message speaks of is read before it leaves.
        let message = message.read();
        let at = self.now + self.link_micros();
        if self.trace.is_some() {
            let said = format!("{message:?}");
            self.note(|| format!("  {link:?}: {said}"));
        }
        match self.links.send(link, at, message) {
            Some((number, at)) => self.happens(at, Happening::Arrives(link, number)),
            None => self.note(|| "  lost".to_owned()),
        }
    }

    pub(super) fn take_effects(&mut self, id: NodeId, life: u64, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Send(to, message) => self.send((Peer::Node(id), to), message),
                Effect::Reply(ticket, reply) => self.reply(ticket, reply),
                Effect::Continue(ticket, progress) => {
                    let event = Box::new(Event::Continue(ticket, progress));
                    self.happens(self.now, Happening::Continues(id, life, event));
                }
                Effect::Close(connection, why) => {
                    self.note(|| format!("  node {id} closes {connection:?}: {why}"));
                    let gone = Box::new(Event::Disconnected(connection));
                    self.happens(self.now, Happening::Continues(id, life, gone));
                    let at = self.now + self.link_micros();
                    self.happens(at, Happening::HungUp(connection));
                }
                Effect::Disk(work) => self.node_works(id, life, work),
                Effect::TopicOpened { .. } | Effect::TopicClosed { .. } | Effect::Configured(_) => {}
            }
        }
    }

    fn node_works(&mut self, id: NodeId, life: u64, work: DiskWork) {
        let range = self.conditions.disk_micros.clone();
        let takes = self.chance.draw(range) + self.slow_disks.get(&id).copied().unwrap_or(0);
        let mut at = self.now + takes;
        if work.is_urgent()
            && let Some(member) = self.members.get_mut(&id)
        {
            at = member.busy_until.max(self.now) + takes;
            member.busy_until = at;
        }
        self.happens(at, Happening::Worked(id, life, Box::new(work)));
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        // Who asked may be gone.
        if !self.connections.contains_key(&ticket.connection) {
            return;
        }
        let Some(asker) = self.askers.get(&ticket).copied() else {
            return self.checks.complain(format!("an answer to nobody: {ticket:?} {reply:?}"));
        };
        if let (Reply::Produce(parts), Some(partition)) = (&reply, asker.awaits_all) {
            for produced in parts.iter().filter_map(|part| part.outcome.as_ref().ok()) {
                self.checks.acknowledged(partition, produced.base_offset);
            }
        }
        if self.trace.is_some() {
            let said = format!("{reply:?}");
            self.note(|| format!("  -> client {} {}: {said}", asker.client, asker.number));
        }
        let delay = self.link_micros();
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        connection.to_client_until = connection.to_client_until.max(self.now + delay);
        let at = connection.to_client_until;
        self.happens(at, Happening::Answered(ticket, Box::new(reply)));
    }

    fn bring_answer(&mut self, ticket: Ticket, reply: Reply) {
        let Some(asker) = self.askers.remove(&ticket) else { return };
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        let node = connection.node;
        connection.is_broken |= self.cut_clients.contains(&(asker.client, node));
        let is_current = self.connected.get(&(asker.client, node)) == Some(&ticket.connection);
        if connection.is_broken || !is_current || matches!(reply, Reply::Nothing) {
            return;
        }
        self.with_client(asker.client, |client, desk| client.answered(desk, asker.number, reply));
    }

    fn bring_request(&mut self, ticket: Ticket, request: Request) {
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        connection.is_broken |= self.cut_clients.contains(&(connection.client, connection.node));
        let (node, life) = (connection.node, connection.life);
        if !connection.is_broken {
            self.event_in_life(node, life, Event::Request(ticket, request));
        }
    }

    /// The connections to a node break.
    pub(super) fn break_connections(&mut self, node: NodeId) {
        let broken = self.connections.iter().filter(|(_, connection)| connection.node == node);
        for connection in broken.map(|(id, _)| *id).collect::<Vec<_>>() {
            let at = self.now + self.link_micros();
            self.happens(at, Happening::HungUp(connection));
        }
    }

    fn forget_connection(&mut self, id: ConnectionId) -> Option<Connection> {
        let all = |request| Ticket { connection: id, request };
        let asked: Vec<_> = self.askers.range(all(0)..=all(u64::MAX)).map(|(ticket, _)| *ticket).collect();
        for ticket in asked {
            self.askers.remove(&ticket);
        }
        self.connections.remove(&id)
    }

    pub(super) fn with_client(&mut self, number: usize, act: impl FnOnce(&mut dyn Client, &mut Desk<'_>)) {
        let mut clients = std::mem::take(&mut self.clients);
        let mut desk = Desk { now: self.now, chance: &mut self.chance, acts: Vec::new() };
        if let Some(role) = clients.get_mut(number) {
            act(role.client(), &mut desk);
        }
        let acts = desk.acts;
        self.clients = clients;
        acts.into_iter().for_each(|what| self.act(number, what));
    }

    fn act(&mut self, client: usize, what: Act) {
        match what {
            Act::Send(node, number, request) => self.ask(client, node, number, request),
            Act::HangUp(node) => {
                if let Some(id) = self.connected.remove(&(client, node))
                    && let Some(connection) = self.connections.get(&id)
                {
                    let at = connection.to_node_until.max(self.now);
                    self.happens(at, Happening::ClientLeft(id));
                }
            }
            Act::Wake(at) => {
                let at = at.max(self.now);
                if self.wakes.insert((at, client)) {
                    self.happens(at, Happening::Wakes(client));
                }
            }
            Act::Saw(partition, batches) => {
                if let Some(topic) = self.controller.known().id_of(&super::client::TOPIC.into()) {
                    self.checks.saw((topic, partition), &batches);
                }
            }
            Act::Complain(what) => self.checks.complain(what),
        }
    }

    /// Asks a node for something whose answer nobody waits for.
    pub(super) fn ask_for_nobody(&mut self, node: NodeId, request: Request) {
        self.ask(usize::MAX, node, 0, request);
    }

    fn ask(&mut self, client: usize, node: NodeId, number: u64, request: Request) {
        let id = match self.connected.get(&(client, node)) {
            Some(id) => *id,
            None => self.connect(client, node),
        };
        let delay = self.link_micros();
        let awaits_all = match &request {
            Request::Produce(produce) if produce.acks == -1 => {
                produce.partitions.first().and_then(|part| Some((part.checked_for?, part.partition)))
            }
            _ => None,
        };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let ticket = Ticket { connection: id, request: connection.next_request };
        connection.next_request += 1;
        connection.to_node_until = connection.to_node_until.max(self.now + delay);
        let at = connection.to_node_until;
        self.askers.insert(ticket, Asker { client, number, awaits_all });
        self.happens(at, Happening::Asked(ticket, Box::new(request)));
    }

    fn connect(&mut self, client: usize, node: NodeId) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let life = self.members.get(&node).and_then(Member::life);
        let connection = Connection {
            client,
            node,
            life: life.unwrap_or(u64::MAX),
            next_request: 0,
            to_node_until: self.now,
            to_client_until: self.now,
            is_broken: false,
        };
        self.connections.insert(id, connection);
        self.connected.insert((client, node), id);
        if life.is_none() {
            let at = self.now + self.link_micros();
            self.happens(at, Happening::HungUp(id));
        }
        id
    }
}

fn at(micros: u64) -> Now {
    let elapsed_ms = i64::try_from(micros / 1000).unwrap_or(i64::MAX);
    Now {
        monotonic: Monotonic::from_micros(micros),
        wall: TimestampMs::new(super::BEGINNING_MS + elapsed_ms),
    }
}

fn told(event: &Event) -> String {
    match event {
        Event::Request(ticket, request) => format!("{ticket:?} {request:?}"),
        Event::Message { from, message } => format!("{from:?} {message:?}"),
        other => format!("{other:?}"),
    }
}
