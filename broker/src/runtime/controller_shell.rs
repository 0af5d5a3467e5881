//! The shell around the controller: brings events under its lock, carries out the effects outside of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use highwater_storage::{LogError, StopKind, TopicId};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::clock::Clock;
use super::disk_worker::{DiskWorker, Owner};
use super::links::{Inbox, Links, Touched};
use super::timer::Timer;
use crate::cluster::controller::UncleanElection;
use crate::controller::{Controller, ControllerEffect, ControllerEvent, Started};
use crate::ids::{BrokerEpoch, NodeId, PartitionIndex};
use crate::message::{Message, Peer, Word};
use crate::node::{Birth, DiskWork, Event};
use crate::refusal::Refusal;

/// By how much the controller is late before it takes the fault for its own.
const OVERSLEPT_MS: i32 = 1_000;

/// The controller of a cluster that runs.
pub(crate) struct ControllerShell {
    controller: Mutex<Option<Box<Controller>>>,
    cluster_id: Arc<str>,
    clock: Clock,
    disk_worker: DiskWorker,
    timer: Timer,
    inbox: Inbox,
    links: Arc<Links>,
    /// Who waits until a node may stop.
    leaving: Mutex<BTreeMap<NodeId, (BrokerEpoch, oneshot::Sender<()>)>>,
}

impl ControllerShell {
    /// Takes an opened controller; `opening` are the effects of opening it.
    pub(crate) fn new(
        controller: Controller,
        opening: Vec<ControllerEffect>,
        clock: Clock,
        links: &Arc<Links>,
    ) -> Arc<Self> {
        let shell = Arc::new_cyclic(|shell: &Weak<Self>| Self {
            cluster_id: Arc::clone(controller.cluster_id()),
            controller: Mutex::new(Some(Box::new(controller))),
            clock,
            disk_worker: DiskWorker::new(Weak::clone(shell) as _, clock),
            timer: Timer::default(),
            inbox: Inbox::default(),
            links: Arc::clone(links),
            leaving: Mutex::default(),
        });
        links.set_controller(Arc::downgrade(&shell));
        let mut touched = Touched::new();
        let opening = shell.send(opening, &mut touched);
        opening.into_iter().for_each(|effect| shell.carry_out(effect));
        links.settle(touched);
        shell
    }

    pub(crate) fn cluster_id(&self) -> &Arc<str> {
        &self.cluster_id
    }

    /// The last unclean elections, the oldest first.
    pub(crate) fn unclean_elections(&self) -> Vec<UncleanElection> {
        let controller = self.controller.lock();
        controller.as_ref().map(|known| known.unclean_elections().cloned().collect()).unwrap_or_default()
    }

    /// How many there were.
    pub(crate) fn unclean_election_count(&self) -> u64 {
        let controller = self.controller.lock();
        let last = controller.as_ref().and_then(|known| known.unclean_elections().last());
        last.map_or(0, |election| election.number)
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Lets nodes begin a life, all at once; nothing is told where there is no controller any more.
    pub(crate) fn start(&self, nodes: Vec<(NodeId, StopKind)>) -> Result<Vec<Started>, Refusal> {
        let mut touched = Touched::new();
        let (mut started, mut refused) = (Vec::new(), None);
        self.step_with(ControllerEvent::Start { nodes }, &mut touched, |effect| match effect {
            ControllerEffect::Started(life) => started.push(*life),
            ControllerEffect::NotStarted { why, .. } => refused = Some(why),
            other => self.carry_out(other),
        });
        self.links.settle(touched);
        refused.map_or(Ok(started), Err)
    }

    /// Sees to it that a node leads nothing and nobody waits for it; it is about to be closed.
    pub(crate) async fn leave(&self, node: NodeId, life: BrokerEpoch) {
        let (sender, left) = oneshot::channel();
        self.leaving.lock().insert(node, (life, sender));
        if self.bring(ControllerEvent::Leaving { node }) {
            // It may die meanwhile.
            let _ = left.await;
        }
        // Without a controller there is nobody to take over.
        self.leaving.lock().remove(&node);
    }

    /// A life of a node is over.
    pub(crate) fn lost(&self, node: NodeId, life: BrokerEpoch) {
        self.bring(ControllerEvent::Gone { node, life });
        let mut leaving = self.leaving.lock();
        if leaving.get(&node).is_some_and(|(leaves, _)| *leaves == life) {
            leaving.remove(&node);
        }
    }

    /// A node has come up, or is busy: it lives, although it may say nothing.
    pub(super) fn lives(&self, node: NodeId, life: BrokerEpoch) {
        if let Some(controller) = self.controller.lock().as_mut() {
            controller.lives(self.clock.now(), node, life);
        }
    }

    /// When each node was there last.
    #[cfg(test)]
    pub(crate) fn heard_at(&self) -> Vec<(NodeId, crate::ids::Monotonic)> {
        self.controller.lock().as_ref().map(|controller| controller.heard_at().collect()).unwrap_or_default()
    }

    /// Steps the controller with an event, and nodes with what follows from it. False when it is closed.
    fn bring(&self, event: ControllerEvent) -> bool {
        let mut touched = Touched::new();
        let lives = self.step(event, &mut touched);
        self.links.settle(touched);
        lives
    }

    /// Steps the controller with what nodes told it.
    pub(super) fn work_off(&self, touched: &mut Touched) {
        let Some(working) = self.inbox.work_off() else { return };
        while let Some((from, message)) = working.next() {
            let (Peer::Node(from), Word::ToController(message)) = (from, message.0) else {
                unreachable!("only nodes speak to the controller");
            };
            self.step(ControllerEvent::Message { from, message }, touched);
        }
    }

    fn step(&self, event: ControllerEvent, touched: &mut Touched) -> bool {
        self.step_with(event, touched, |effect| self.carry_out(effect))
    }

    fn step_with(
        &self,
        event: ControllerEvent,
        touched: &mut Touched,
        carry_out: impl FnMut(ControllerEffect),
    ) -> bool {
        let mut effects = Vec::new();
        let deadline = {
            let mut place = self.controller.lock();
            let Some(mut controller) = place.take() else { return false };
            let now = self.clock.now();
            // The process was stopped, or every thread of it was busy.
            if controller.next_deadline().is_some_and(|due| due.plus_ms(OVERSLEPT_MS) <= now.monotonic) {
                controller.overslept(now);
            }
            controller.step(now, event, &mut effects);
            effects = self.send(effects, touched);
            let deadline = controller.next_deadline();
            *place = Some(controller);
            deadline
        };
        self.timer.arm(deadline);
        effects.into_iter().for_each(carry_out);
        true
    }

    /// Before the next step, so that links keep their order.
    fn send(&self, effects: Vec<ControllerEffect>, touched: &mut Touched) -> Vec<ControllerEffect> {
        let mut others = Vec::new();
        for effect in effects {
            match effect {
                ControllerEffect::Send { to, message } => {
                    let message = Message(Word::FromController(message));
                    self.links.put(Peer::Controller, Peer::Node(to), message, touched);
                }
                other => others.push(other),
            }
        }
        others
    }

    fn carry_out(&self, effect: ControllerEffect) {
        match effect {
            // Done while the controller was locked.
            ControllerEffect::Send { .. } => {}
            ControllerEffect::Sync(handle) => {
                let (topic, partition) = (TopicId::METADATA, PartitionIndex(0));
                self.disk_worker.take(DiskWork::Sync { topic, partition, birth: Birth::default(), handle });
            }
            ControllerEffect::Disk(work) => self.disk_worker.take(work),
            // Told at once to who asked.
            ControllerEffect::Started(_) | ControllerEffect::NotStarted { .. } => {}
            ControllerEffect::Left { node } => {
                if let Some((_, waits)) = self.leaving.lock().remove(&node) {
                    let _ = waits.send(());
                }
            }
        }
    }

    /// Steps the controller at its deadlines, until the task is dropped or it is closed.
    pub(crate) async fn keep_deadlines(self: Arc<Self>) {
        self.timer.keep(&self.clock, || self.bring(ControllerEvent::Tick)).await;
    }

    /// Takes the controller away as a crash would.
    pub(crate) fn kill(&self) {
        drop(self.take_away());
    }

    fn take_away(&self) -> Option<Box<Controller>> {
        let controller = self.controller.lock().take();
        self.disk_worker.stop();
        controller
    }

    /// Closes the cluster's log.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        self.take_away().map_or(Ok(()), |controller| controller.close())
    }
}

impl Owner for ControllerShell {
    fn bring(&self, event: Event) {
        self.bring(ControllerEvent::worked(event).unwrap_or(ControllerEvent::Tick));
    }

    fn fail(&self, why: &str) {
        tracing::error!(why, "the controller is gone");
        self.kill();
    }
}
