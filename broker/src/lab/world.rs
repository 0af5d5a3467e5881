//! Time, and everything that happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::disk::{MemoryDisk, PowerDisk};
use highwater_storage::{TimestampMs, TopicId};

use super::chance::Chance;
use super::checks::Checks;
use super::client::{Question, Told};
use super::conditions::Conditions;
use super::connections::Connections;
use super::links::{Link, Links};
use super::member::{Member, Now as Standing};
use super::roles::Role;
use crate::config::BrokerConfig;
use crate::controller::{
    Controller, ControllerEffect, ControllerEffects, ControllerEvent, ControllerOptions,
};
use crate::ids::{Monotonic, NodeId, Now, PartitionIndex};
use crate::message::{Message, Peer, Word};
use crate::node::{Birth, ConnectionId, DiskWork, Effect, Effects, Event, Ticket};
use crate::wire::{Address, Addresses};

/// How often nothing but the same deadline may be served.
const MAX_TURNS_AT_ONCE: u32 = 10_000;

/// At which port the first node is found, by those who need one.
pub(super) const PORT: u16 = 9_000;

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

pub(super) struct World {
    pub(super) now: u64,
    pub(super) chance: Chance,
    pub(super) conditions: Conditions,
    pub(super) config: Arc<BrokerConfig>,
    pub(super) addresses: Addresses,
    queue: BTreeMap<(u64, u64), Happening>,
    next_happening: u64,
    controller: Controller,
    controller_busy_until: u64,
    controller_life: u64,
    pub(super) controller_power: PowerDisk,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) links: Links,
    pub(super) clients: Vec<Role>,
    pub(super) wakes: BTreeSet<(u64, usize)>,
    pub(super) connections: Connections,
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
        let compacts = conditions.compacts;
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
            connections: Connections::default(),
            slow_disks: BTreeMap::new(),
            checks: Checks::new(compacts),
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

    pub(super) fn link_micros(&mut self) -> u64 {
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
            Happening::ClientLeft(connection) => self.client_left(connection),
            Happening::HungUp(connection) => self.hung_up(connection),
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

    pub(super) fn event_in_life(&mut self, node: NodeId, life: u64, event: Event) {
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
