//! Time, and everything that happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_protocol::frame::SIZE_BYTES;
use highwater_storage::disk::{MemoryDisk, PowerDisk};
use highwater_storage::{TimestampMs, TopicId};

use super::chance::Chance;
use super::checks::Checks;
use super::client::{Act, Client, Desk, Question, To, Told};
use super::conditions::Conditions;
use super::links::{Link, Links};
use super::member::{Member, Now as Standing};
use super::ours::{self, OurProducer, OurReader};
use super::producer::Producer;
use super::reader::Reader;
use crate::config::BrokerConfig;
use crate::controller::{
    Controller, ControllerEffect, ControllerEffects, ControllerEvent, ControllerOptions,
};
use crate::ids::{Monotonic, NodeId, Now, PartitionIndex};
use crate::message::{Message, Peer, Word};
use crate::node::{Birth, ConnectionId, DiskWork, Effect, Effects, Event, Reply, Request, Ticket};
use crate::wire::{self, Address, Addresses, Call, Incoming};

/// How often nothing but the same deadline may be served.
const MAX_TURNS_AT_ONCE: u32 = 10_000;

/// At which port the first node is found, by those who need one.
pub(super) const PORT: u16 = 9_000;

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

/// A connection of a client to one life of a node. In order in both directions.
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

/// Something that happens at its time.
#[derive(Debug)]
pub(super) enum Happening {
    Arrives(Link, u64),
    Asked(Ticket, Question),
    Answered(Ticket, Told),
    ClientLeft(ConnectionId),
    HungUp(ConnectionId),
    Continues(NodeId, u64, Box<Event>),
    Worked(NodeId, u64, Box<DiskWork>),
    ControllerWorked(u64, Box<DiskWork>),
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
    ProducesOurs(Box<OurProducer>),
    ReadsOurs(Box<OurReader>),
    IsMember(Box<ours::Member>),
}

impl Role {
    fn client(&mut self) -> &mut dyn Client {
        match self {
            Self::Produces(producer) => producer.as_mut(),
            Self::Reads(reader) => reader,
            Self::ProducesOurs(producer) => producer.as_mut(),
            Self::ReadsOurs(reader) => reader.as_mut(),
            Self::IsMember(member) => member.as_mut(),
        }
    }
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) chance: Chance,
    pub(super) conditions: Conditions,
    pub(super) config: Arc<BrokerConfig>,
    addresses: Addresses,
    queue: BTreeMap<(u64, u64), Happening>,
    next_happening: u64,
    controller: Controller,
    controller_busy_until: u64,
    controller_life: u64,
    pub(super) controller_power: PowerDisk,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) links: Links,
    pub(super) clients: Vec<Role>,
    wakes: BTreeSet<(u64, usize)>,
    connections: BTreeMap<ConnectionId, Connection>,
    connected: BTreeMap<(usize, To), ConnectionId>,
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
    pub(super) fn open(seed: u64, is_wide: bool, is_traced: bool) -> Result<Self, String> {
        let mut chance = Chance::from_seed(seed);
        let conditions = Conditions::of(seed, is_wide, &mut chance);
        let nodes: Vec<_> = (0..conditions.nodes).map(NodeId).collect();
        let addresses = (PORT..)
            .zip(&nodes)
            .map(|(port, node)| (*node, Address { host: "lab".into(), port, rack: None }));
        let config = Arc::new(conditions.config.clone().of_cluster(nodes.len()));
        let power = PowerDisk::new(Arc::new(MemoryDisk::new()));
        let options = ControllerOptions {
            nodes: nodes.clone(),
            config: Arc::clone(&config),
            disk: power.disk(),
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
            addresses: Addresses::new(addresses.collect()),
            queue: BTreeMap::new(),
            next_happening: 0,
            controller,
            controller_busy_until: 0,
            controller_life: 0,
            controller_power: power,
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

    /// Another life of it begins: what the one before had under way is void.
    pub(super) fn replace_controller(&mut self, controller: Controller) {
        self.controller = controller;
        self.controller_life += 1;
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
            Happening::Asked(ticket, question) => self.bring_request(ticket, question),
            Happening::Answered(ticket, told) => self.bring_answer(ticket, told),
            Happening::ClientLeft(connection) => {
                if let Some(gone) = self.forget_connection(connection)
                    && let Some(life) = gone.life
                {
                    self.event_in_life(gone.to.node, life, Event::Disconnected(connection));
                }
            }
            Happening::HungUp(connection) => {
                if let Some(gone) = self.forget_connection(connection)
                    && self.connected.get(&(gone.client, gone.to)) == Some(&connection)
                {
                    self.connected.remove(&(gone.client, gone.to));
                    let was_open = gone.life.is_some();
                    self.with_client(gone.client, |client, desk| client.hung_up(desk, gone.to, was_open));
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
            Happening::ControllerWorked(life, work) => {
                if life == self.controller_life
                    && let Some(event) = work.run().and_then(ControllerEvent::worked)
                {
                    self.step_controller(event);
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
        self.happens(at, Happening::ControllerWorked(self.controller_life, Box::new(work)));
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
                Effect::TopicOpened { id: topic, name, config } => {
                    self.members[&id].rules.open(topic, name, &config);
                }
                Effect::TopicClosed { id: topic, name } => self.members[&id].rules.close(topic, &name),
                Effect::Configured(_) => {}
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
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        let Some(asker) = self.askers.get(&ticket) else {
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
        // They leave in the order of the requests.
        while let Some(connection) = self.connections.get_mut(&ticket.connection)
            && let Some(reply) = connection.ready.remove(&connection.answered)
        {
            let ticket = Ticket { connection: ticket.connection, request: connection.answered };
            connection.answered += 1;
            self.send_answer(ticket, reply);
        }
    }

    fn send_answer(&mut self, ticket: Ticket, reply: Reply) {
        let Some(asker) = self.askers.get(&ticket) else { return };
        let Some(node) = self.connections.get(&ticket.connection).map(|connection| connection.to.node) else {
            return;
        };
        if let Some(trace) = &mut self.trace {
            // Text takes all that is written to it.
            let _ =
                writeln!(trace, "{:>12}   -> client {} {}: {reply:?}", self.now, asker.client, asker.number);
        }
        let told = match &asker.call {
            _ if matches!(reply, Reply::Nothing) => return,
            None => {
                Told::Words { reply: Box::new(reply), by_leader: by_leader(&self.controller, asker, node) }
            }
            Some(call) => match wire::encode(call, reply, &self.addresses) {
                Ok(Some(segments)) => Told::Frame(segments.into_bytes().slice(SIZE_BYTES..)),
                Ok(None) => return,
                Err(error) => {
                    return self.checks.complain(format!("an answer that cannot be written: {error}"));
                }
            },
        };
        let delay = self.link_micros();
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        connection.to_client_until = connection.to_client_until.max(self.now + delay);
        let at = connection.to_client_until;
        self.happens(at, Happening::Answered(ticket, told));
    }

    fn bring_answer(&mut self, ticket: Ticket, told: Told) {
        let Some(asker) = self.askers.remove(&ticket) else { return };
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        let to = connection.to;
        connection.is_broken |= self.cut_clients.contains(&(asker.client, to.node));
        let is_current = self.connected.get(&(asker.client, to)) == Some(&ticket.connection);
        if !connection.is_broken && is_current {
            self.with_client(asker.client, |client, desk| client.answered(desk, asker.number, told));
        }
    }

    fn bring_request(&mut self, ticket: Ticket, question: Question) {
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        let node = connection.to.node;
        connection.is_broken |= self.cut_clients.contains(&(connection.client, node));
        let Some(life) = connection.life.filter(|_| !connection.is_broken) else { return };
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
        if let Some(asker) = self.askers.get_mut(&ticket) {
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

    /// The connections to a node break.
    pub(super) fn break_connections(&mut self, node: NodeId) {
        let broken = self.connections.iter().filter(|(_, connection)| connection.to.node == node);
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
        let mut desk = Desk {
            now: self.now,
            chance: &mut self.chance,
            is_trouble: self.is_trouble,
            starts: self.checks.starts(),
            acts: Vec::new(),
        };
        if let Some(role) = clients.get_mut(number) {
            act(role.client(), &mut desk);
        }
        let acts = desk.acts;
        self.clients = clients;
        acts.into_iter().for_each(|what| self.act(number, what));
    }

    fn act(&mut self, client: usize, what: Act) {
        match what {
            Act::Send(to, number, question) => self.ask(client, to, number, question),
            Act::HangUp(to) => {
                if let Some(id) = self.connected.remove(&(client, to))
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
            Act::OutOfRange(partition, at) => {
                if at >= self.checks.start_of(partition) {
                    self.checks.complain(format!("a reader of {partition} at {at} is out of range"));
                }
            }
            Act::Got(partition, at, key) => {
                if let Some(topic) = self.controller.known().id_of(&super::client::TOPIC.into()) {
                    self.checks.got((topic, partition), at, &key);
                }
            }
            Act::Delivered { group, partition, at, resumes } => {
                self.checks.delivered((group, partition), at, resumes);
            }
            Act::Committed { group, partition, upto } => {
                self.checks.group_committed((group, partition), upto)
            }
            Act::Complain(what) => self.checks.complain(what),
        }
    }

    /// Asks a node for something whose answer nobody waits for.
    pub(super) fn ask_for_nobody(&mut self, node: NodeId, request: Request) {
        self.ask(usize::MAX, node.into(), 0, Question::Words(Box::new(request)));
    }

    fn ask(&mut self, client: usize, to: To, number: u64, question: Question) {
        let id = match self.connected.get(&(client, to)) {
            Some(id) => *id,
            None => self.connect(client, to),
        };
        let delay = self.link_micros();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let ticket = Ticket { connection: id, request: connection.next_request };
        connection.next_request += 1;
        connection.to_node_until = connection.to_node_until.max(self.now + delay);
        let at = connection.to_node_until;
        self.askers
            .insert(ticket, Asker { client, number, produces: Vec::new(), awaits_all: false, call: None });
        self.happens(at, Happening::Asked(ticket, question));
    }

    fn connect(&mut self, client: usize, to: To) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let life = self.members.get(&to.node).and_then(Member::life);
        let connection = Connection {
            client,
            to,
            life,
            next_request: 0,
            to_node_until: self.now,
            to_client_until: self.now,
            answered: 0,
            ready: BTreeMap::new(),
            is_broken: false,
        };
        self.connections.insert(id, connection);
        self.connected.insert((client, to), id);
        if life.is_none() {
            let at = self.now + self.link_micros();
            self.happens(at, Happening::HungUp(id));
        }
        id
    }
}

/// Whether a node leads what it was asked about.
fn by_leader(controller: &Controller, asker: &Asker, node: NodeId) -> bool {
    let leads = |(topic, partition): &(TopicId, PartitionIndex)| {
        controller.known().partition(*topic, *partition).is_some_and(|known| known.leader == Some(node))
    };
    asker.produces.iter().all(leads)
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
