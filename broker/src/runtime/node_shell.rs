//! The shell around one node: brings events under the node's lock, carries out the effects outside of it.
//!
//! Order: effects are carried out in the order the node gave them, by the thread that stepped it. Two threads may carry
//! out the effects of two steps at once; replies to one connection are put in order by their request's number.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use highwater_storage::LogError;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::clock::Clock;
use super::disk_worker::{DiskWorker, Owner};
use super::mailbox::Recipient;
use super::traffic::Traffic;
use crate::config::BrokerConfig;
use crate::faults::Gate;
use crate::ids::{Monotonic, NodeId};
use crate::node::{ConnectionId, Effect, Event, Node};
use crate::observation::Observation;
use crate::wire::TopicRules;

/// A node that runs.
pub(crate) struct NodeShell {
    id: NodeId,
    /// None while it is stepped and once it is closed: a step that panics leaves no half-changed node behind.
    node: Mutex<Option<Box<Node>>>,
    gate: Arc<Gate>,
    rules: TopicRules,
    config: RwLock<Arc<BrokerConfig>>,
    clock: Clock,
    disk_worker: DiskWorker,
    recipients: Mutex<BTreeMap<ConnectionId, Arc<dyn Recipient>>>,
    next_connection: AtomicU64,
    traffic: Traffic,
    timer: Timer,
}

/// When the node wants to be stepped next.
#[derive(Default)]
struct Timer {
    /// Microseconds of the monotonic clock; `u64::MAX` for never.
    armed_micros: AtomicU64,
    sooner: Notify,
}

impl NodeShell {
    /// Takes an opened node; `opening` are the effects of opening it.
    pub(crate) fn new(node: Node, opening: Vec<Effect>, clock: Clock, gate: Arc<Gate>) -> Arc<Self> {
        let shell = Arc::new_cyclic(|shell| Self {
            id: node.id(),
            node: Mutex::new(Some(Box::new(node))),
            gate,
            rules: TopicRules::default(),
            config: RwLock::default(),
            clock,
            disk_worker: DiskWorker::new(Weak::clone(shell) as _, clock),
            recipients: Mutex::default(),
            next_connection: AtomicU64::new(0),
            traffic: Traffic::default(),
            timer: Timer { armed_micros: AtomicU64::new(u64::MAX), sooner: Notify::new() },
        });
        shell.keep_rules(&opening);
        shell.carry_out(opening, &mut VecDeque::new());
        shell
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn rules(&self) -> &TopicRules {
        &self.rules
    }

    /// The settings in force.
    pub(crate) fn config(&self) -> Arc<BrokerConfig> {
        Arc::clone(&self.config.read())
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Looks at the node and at what goes through it. The node waits for as long as it takes to look at every partition.
    pub(crate) fn observe(&self) -> Observation {
        Observation {
            id: self.id,
            node: self.node.lock().as_ref().map(|node| node.observe()),
            connections: self.recipients.lock().len(),
            connections_total: self.next_connection.load(Ordering::Relaxed),
            requests: self.traffic.requests(),
            received_bytes: self.traffic.received_bytes(),
            sent_bytes: self.traffic.sent_bytes(),
        }
    }

    /// Begins a connection whose replies go to `recipient`.
    pub(crate) fn connect(&self, recipient: Arc<dyn Recipient>) -> ConnectionId {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        self.recipients.lock().insert(id, recipient);
        id
    }

    /// Ends a connection.
    pub(crate) fn disconnect(&self, id: ConnectionId) {
        self.recipients.lock().remove(&id);
        self.bring(Event::Disconnected(id));
    }

    /// Steps the node with an event, and with what follows from it. False when the node is closed.
    pub(crate) fn bring(&self, event: Event) -> bool {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let event = match self.gate.event(event) {
                Ok(event) => event,
                Err(instead) => {
                    self.carry_out(instead.into_iter().collect(), &mut events);
                    continue;
                }
            };
            let mut effects = Vec::new();
            let (timer, turn) = {
                let mut place = self.node.lock();
                let Some(mut node) = place.take() else { return false };
                node.step(self.clock.now(), event, &mut effects);
                self.keep_rules(&effects);
                let deadlines = (node.next_timer(), node.next_sync_turn());
                *place = Some(node);
                deadlines
            };
            // Said anew after every step, and forgotten by either clock only right before it brings one.
            self.timer.arm(timer);
            if let Some(at) = turn {
                self.disk_worker.wake_at(at);
            }
            self.carry_out(effects, &mut events);
        }
        true
    }

    /// Before the next step, so that rules and settings change in the order of the steps.
    fn keep_rules(&self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::TopicOpened { id, name, config } => self.rules.open(*id, name.clone(), config),
                Effect::TopicClosed { id, name } => self.rules.close(*id, name),
                Effect::Configured(config) => *self.config.write() = Arc::clone(config),
                _ => {}
            }
        }
    }

    fn carry_out(&self, effects: Vec<Effect>, events: &mut VecDeque<Event>) {
        for effect in effects {
            if let Some(effect) = self.gate.effect(effect) {
                self.carry_out_one(effect, events);
            }
        }
    }

    fn carry_out_one(&self, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Reply(ticket, reply) => {
                if let Some(recipient) = self.recipient(ticket.connection) {
                    recipient.deliver(ticket.request, reply);
                }
            }
            Effect::Continue(ticket, progress) => events.push_back(Event::Continue(ticket, progress)),
            Effect::Close(connection, why) => {
                if let Some(recipient) = self.recipient(connection) {
                    recipient.close(&why);
                }
            }
            // Done while the node was locked.
            Effect::TopicOpened { .. } | Effect::TopicClosed { .. } | Effect::Configured(_) => {}
            Effect::Disk(work) => self.disk_worker.take(work),
        }
    }

    fn recipient(&self, connection: ConnectionId) -> Option<Arc<dyn Recipient>> {
        self.recipients.lock().get(&connection).cloned()
    }

    /// Carries out the effects that the gate held back.
    pub(crate) fn release_held(&self) {
        let mut events = VecDeque::new();
        for effect in self.gate.take_held() {
            self.carry_out_one(effect, &mut events);
        }
        for event in events {
            self.bring(event);
        }
    }

    /// Steps the node at its deadlines, until the task is dropped or the node is closed.
    pub(crate) async fn keep_deadlines(self: Arc<Self>) {
        loop {
            let sooner = self.timer.sooner.notified();
            match self.timer.armed() {
                None => sooner.await,
                Some(at) => {
                    let due = tokio::time::sleep_until(self.clock.instant(at).into());
                    tokio::select! {
                        () = due => {
                            self.timer.disarm();
                            if !self.bring(Event::Tick) {
                                return;
                            }
                        }
                        () = sooner => {}
                    }
                }
            }
        }
    }

    /// Takes the node away as a crash would: a step that runs is waited for, later events find it gone.
    pub(crate) fn kill(&self) {
        drop(self.take_away());
    }

    /// The node, of which nothing is under way any more.
    fn take_away(&self) -> Option<Box<Node>> {
        let node = self.node.lock().take();
        if let Some(node) = &node {
            node.stop_compaction();
        }
        self.disk_worker.stop();
        node
    }

    /// Kills the node, and everyone who waits for it is sent away.
    fn fail_now(&self, why: &str) {
        tracing::error!(node = %self.id, why, "the node is gone");
        self.kill();
        let recipients = std::mem::take(&mut *self.recipients.lock());
        recipients.values().for_each(|recipient| recipient.close(why));
    }

    /// Closes the node and says that it was closed: later events find it gone.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        self.take_away().map_or(Ok(()), |node| node.close())
    }
}

impl Owner for NodeShell {
    fn bring(&self, event: Event) {
        self.bring(event);
    }

    fn fail(&self, why: &str) {
        self.fail_now(why);
    }
}

impl Timer {
    fn armed(&self) -> Option<Monotonic> {
        let micros = self.armed_micros.load(Ordering::Acquire);
        (micros != u64::MAX).then_some(Monotonic::from_micros(micros))
    }

    fn disarm(&self) {
        self.armed_micros.store(u64::MAX, Ordering::Release);
    }

    /// A deadline that is later than the one waited for needs no word: the tick in between finds it.
    fn arm(&self, deadline: Option<Monotonic>) {
        let Some(deadline) = deadline else { return };
        if self.armed_micros.fetch_min(deadline.micros(), Ordering::AcqRel) > deadline.micros() {
            self.sooner.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
