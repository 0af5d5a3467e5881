//! The shell around one node: brings events under the node's lock, carries out the effects outside of it.
//!
//! Order: effects are carried out in the order the node gave them, by the thread that stepped it. Two threads may carry
//! out the effects of two steps at once; replies to one connection are put in order by their request's number.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use highwater_storage::LogError;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::clock::Clock;
use super::disk_worker::{DiskWorker, Owner};
use super::links::{Inbox, Links, Touched};
use super::mailbox::Recipient;
use super::timer::Timer;
use super::traffic::Traffic;
use crate::config::BrokerConfig;
use crate::faults::Gate;
use crate::ids::{BrokerEpoch, NodeId};
use crate::message::Peer;
use crate::node::{ConnectionId, Effect, Event, Node};
use crate::observation::Observation;
use crate::wire::TopicRules;

/// A node that runs.
pub(crate) struct NodeShell {
    id: NodeId,
    /// Which of its lives this is.
    life: BrokerEpoch,
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
    inbox: Inbox,
    links: Arc<Links>,
    /// What came while the node was paused; none while it is not.
    paused: Mutex<Option<Vec<Event>>>,
    is_paused: AtomicBool,
    /// True once this life is over.
    end: watch::Sender<bool>,
}

impl NodeShell {
    /// Takes an opened node; `opening` are the effects of opening it.
    pub(crate) fn new(
        node: Node,
        opening: Vec<Effect>,
        clock: Clock,
        gate: Arc<Gate>,
        links: &Arc<Links>,
    ) -> Arc<Self> {
        let shell = Arc::new_cyclic(|shell| Self {
            id: node.id(),
            life: node.broker_epoch(),
            node: Mutex::new(Some(Box::new(node))),
            gate,
            rules: TopicRules::default(),
            config: RwLock::default(),
            clock,
            disk_worker: DiskWorker::new(Weak::clone(shell) as _, clock),
            recipients: Mutex::default(),
            next_connection: AtomicU64::new(0),
            traffic: Traffic::default(),
            timer: Timer::default(),
            inbox: Inbox::default(),
            links: Arc::clone(links),
            paused: Mutex::default(),
            is_paused: AtomicBool::new(false),
            end: watch::Sender::new(false),
        });
        links.set_node(shell.id, Arc::downgrade(&shell));
        shell.keep_rules(&opening);
        let mut touched = Touched::new();
        let opening = shell.send(opening, &mut touched);
        shell.carry_out(opening, &mut VecDeque::new());
        links.settle(touched);
        links.connected(shell.id);
        // Says when it is to be stepped next, and that it is there.
        shell.bring(Event::Tick);
        shell
    }

    /// Which life of the node this is.
    pub(crate) fn life(&self) -> BrokerEpoch {
        self.life
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.node.lock().is_some()
    }

    /// Whether it lives and is not paused, as far as can be told without waiting for it.
    pub(super) fn has_pulse(&self) -> bool {
        !self.is_paused() && !*self.end.borrow()
    }

    /// Keeps the node as busy as one long step does, until what is given is dropped.
    #[cfg(test)]
    pub(crate) fn keep_busy(&self) -> impl Drop {
        self.node.lock()
    }

    /// Becomes true when this life is over: who serves for it ends.
    pub(crate) fn end(&self) -> watch::Receiver<bool> {
        self.end.subscribe()
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

    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Steps the node with an event, and with what follows from it, on other nodes, too. False when the node is closed.
    pub(crate) fn bring(&self, event: Event) -> bool {
        self.unless_paused(event).is_none_or(|event| self.bring_at_once(event))
    }

    fn bring_at_once(&self, event: Event) -> bool {
        let mut touched = Touched::new();
        let lives = self.step(event, &mut touched);
        self.links.settle(touched);
        lives
    }

    /// Steps the node with what others told it.
    pub(super) fn work_off(&self, touched: &mut Touched) {
        let Some(working) = self.inbox.work_off() else { return };
        while let Some((from, message)) = working.next() {
            if !self.step(Event::Message { from, message: message.read() }, touched) {
                self.inbox.clear();
            }
        }
    }

    fn step(&self, event: Event, touched: &mut Touched) -> bool {
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
                if self.gate.kills_before(&event) {
                    drop(place);
                    node.stop_compaction();
                    self.kill();
                    return false;
                }
                let moment = self.gate.moment(&event, &node);
                node.tells_itself_over_links(self.gate.is_armed());
                node.step(self.clock.now(), event, &mut effects);
                if self.gate.weigh(&moment, &node, &mut effects) {
                    drop(place);
                    node.stop_compaction();
                    self.kill();
                    return false;
                }
                self.keep_rules(&effects);
                effects = self.send(effects, touched);
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

    /// Before the next step, so that links keep their order.
    fn send(&self, effects: Vec<Effect>, touched: &mut Touched) -> Vec<Effect> {
        if !effects.iter().any(|effect| matches!(effect, Effect::Send(..))) {
            return effects;
        }
        let mut others = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect {
                Effect::Send(to, message) => self.links.put(Peer::Node(self.id), to, message, touched),
                other => others.push(other),
            }
        }
        others
    }

    /// Keeps an event for later while the node is paused. What may come then is bounded by what its connections may ask
    /// and its disk was given to do.
    fn unless_paused(&self, event: Event) -> Option<Event> {
        if !self.is_paused.load(Ordering::Acquire) {
            return Some(event);
        }
        match &mut *self.paused.lock() {
            Some(kept) => {
                kept.push(event);
                None
            }
            None => Some(event),
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }

    /// The node does nothing from here on, as a process that is stopped: what comes for it waits.
    pub(crate) fn pause(&self) {
        self.paused.lock().get_or_insert_default();
        self.is_paused.store(true, Ordering::Release);
        self.inbox.hold(true);
    }

    /// The node goes on, and finds everything that came meanwhile.
    pub(crate) fn resume(&self) {
        // What comes while that is worked off is kept behind it: nothing overtakes.
        while let Some(kept) = self.take_kept() {
            for event in kept {
                self.bring_at_once(event);
            }
        }
        self.inbox.hold(false);
        self.links.settle(Touched::from([Peer::Node(self.id)]));
        self.bring(Event::Tick);
    }

    /// What was kept; none when nothing is left, and the node is not paused any more.
    fn take_kept(&self) -> Option<Vec<Event>> {
        let mut paused = self.paused.lock();
        let kept = paused.as_mut().map(std::mem::take).filter(|kept| !kept.is_empty());
        if kept.is_none() {
            *paused = None;
            self.is_paused.store(false, Ordering::Release);
        }
        kept
    }

    /// Before the next step, so that rules and settings change in the order of the steps.
    fn keep_rules(&self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::TopicOpened { id, name, config } => self.rules.open(*id, name.clone(), config),
                Effect::TopicClosed { id, name } => self.rules.close(*id, name),
                Effect::Configured(config) => {
                    self.rules.configured(config);
                    *self.config.write() = Arc::clone(config);
                }
                _ => {}
            }
        }
    }

    fn carry_out(&self, effects: Vec<Effect>, events: &mut VecDeque<Event>) {
        for effect in effects {
            if let Some(effect) = self.gate.effect((self.id, self.life), effect) {
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
            Effect::Send(..)
            | Effect::TopicOpened { .. }
            | Effect::TopicClosed { .. }
            | Effect::Configured(_) => {}
            Effect::Disk(work) => self.disk_worker.take(work),
        }
    }

    fn recipient(&self, connection: ConnectionId) -> Option<Arc<dyn Recipient>> {
        self.recipients.lock().get(&connection).cloned()
    }

    /// Carries out the effects that the gate held back.
    pub(crate) fn release_held(&self) {
        let (mut events, mut touched) = (VecDeque::new(), Touched::new());
        let held = {
            // What goes to others keeps its place before what the node says next.
            let _node = self.node.lock();
            self.send(self.gate.take_held(self.id, self.life), &mut touched)
        };
        self.links.settle(touched);
        for effect in held {
            self.carry_out_one(effect, &mut events);
        }
        for event in events {
            self.bring(event);
        }
    }

    /// Steps the node at its deadlines, until the task is dropped or the node is closed.
    pub(crate) async fn keep_deadlines(self: Arc<Self>) {
        self.timer.keep(&self.clock, || self.bring(Event::Tick)).await;
    }

    /// Takes the node away as a crash would: a step that runs is waited for, later events find it gone. Its connections
    /// break, and the controller hears of it.
    pub(crate) fn kill(&self) {
        drop(self.take_away());
        self.break_connections("the node was killed");
        if let Some(controller) = self.links.controller() {
            controller.lost(self.id, self.life);
        }
    }

    /// The same when nobody is to hear of it: the whole cluster goes.
    pub(crate) fn drop_node(&self) {
        drop(self.take_away());
    }

    /// The node, of which nothing is under way any more.
    fn take_away(&self) -> Option<Box<Node>> {
        let node = self.node.lock().take();
        if let Some(node) = &node {
            node.stop_compaction();
        }
        self.disk_worker.stop();
        self.inbox.clear();
        self.gate.forget(self.id, self.life);
        node
    }

    fn break_connections(&self, why: &str) {
        self.end.send_replace(true);
        let recipients = std::mem::take(&mut *self.recipients.lock());
        recipients.values().for_each(|recipient| recipient.close(why));
    }

    /// Takes no more requests; those that came are answered.
    pub(crate) fn end_connections(&self) {
        self.end.send_replace(true);
    }

    /// Closes the node and says that it was closed: later events find it gone, and who still waits is told so.
    pub(crate) fn close(&self, is_marked: bool) -> Result<(), LogError> {
        let closed = self.take_away().map_or(Ok(()), |node| node.close(is_marked));
        self.break_connections("the node was stopped");
        closed
    }
}

impl Owner for NodeShell {
    fn bring(&self, event: Event) {
        self.bring(event);
    }

    fn fail(&self, why: &str) {
        tracing::error!(node = %self.id, why, "the node is gone");
        self.kill();
    }
}

#[cfg(test)]
mod tests;
