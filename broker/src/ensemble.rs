//! A whole cluster in one hand: the controller and its nodes, without threads, sockets or a clock.
//!
//! Who has it brings events and the time, and carries out what comes back; what nodes and the controller tell each other is
//! delivered at once, in order. The same events at the same times with the same seed and disk give the same effects.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::disk::Disk;
use highwater_storage::{LogError, StopKind, TopicId};

use crate::config::BrokerConfig;
use crate::controller::{
    Controller, ControllerEffect, ControllerEffects, ControllerEvent, ControllerOptions, Started,
};
use crate::entropy::Entropy;
use crate::ids::{Monotonic, NodeId, Now, PartitionIndex};
use crate::message::{Message, Peer, Word};
use crate::node::{Birth, DiskWork, Effect, Effects, Event, Node, NodeOptions, OpenError, take_marker};

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct EnsembleOptions {
    /// How many nodes it has.
    pub nodes: i32,
    /// The settings of all of them.
    pub config: Arc<BrokerConfig>,
    /// Where its files are.
    pub disk: Arc<dyn Disk>,
    /// The folder on that disk.
    pub folder: PathBuf,
    /// Where ids come from.
    pub seed: u64,
}

/// A cluster that is stepped by hand.
#[derive(Debug)]
pub struct Ensemble {
    controller: Controller,
    nodes: BTreeMap<NodeId, Node>,
    mail: VecDeque<(Peer, Peer, Message)>,
    /// Who is cut off: what they say and are told is lost.
    #[cfg(test)]
    pub(crate) cut_off: Vec<NodeId>,
}

/// What an ensemble wants done, in order, each with whose it is.
pub type EnsembleEffects = Vec<(Peer, Effect)>;

impl Ensemble {
    /// Opens a cluster's folder, or begins one.
    ///
    /// # Errors
    /// What the disk says, or what it holds.
    pub fn open(
        options: EnsembleOptions,
        now: Now,
        effects: &mut EnsembleEffects,
    ) -> Result<Self, OpenError> {
        let EnsembleOptions { nodes, config, disk, folder, seed } = options;
        let config = Arc::new(BrokerConfig::clone(&config).of_cluster(usize::try_from(nodes).unwrap_or(1)));
        let mut seeds = Entropy::from_seed(seed);
        let mut chance = || Entropy::from_seed(seeds.next_u64());
        let ids: Vec<_> = (0..nodes.max(1)).map(NodeId).collect();
        let of_controller = ControllerOptions {
            nodes: ids.clone(),
            config: Arc::clone(&config),
            disk: Arc::clone(&disk),
            folder: folder.clone(),
            entropy: chance(),
        };
        let mut said = ControllerEffects::new();
        let mut controller = Controller::open(of_controller, now, &mut said)?;
        let stop_of = |id| Ok((id, take_marker(disk.as_ref(), &folder, id)?));
        let stops = ids.into_iter().map(stop_of).collect::<Result<Vec<(_, StopKind)>, OpenError>>()?;
        controller.step(now, ControllerEvent::Start { nodes: stops.clone() }, &mut said);
        let mut ensemble = Self {
            controller,
            nodes: BTreeMap::new(),
            mail: VecDeque::new(),
            #[cfg(test)]
            cut_off: Vec::new(),
        };
        for started in ensemble.take(said, effects)? {
            let id = started.node;
            let stop =
                stops.iter().find(|(node, _)| *node == id).map_or(StopKind::Unclean, |(_, stop)| *stop);
            let (config, disk, folder) = (Arc::clone(&config), Arc::clone(&disk), folder.clone());
            let cluster_id = Arc::clone(ensemble.controller.cluster_id());
            let options = NodeOptions { config, disk, folder, entropy: chance(), stop, cluster_id, started };
            let mut opening = Effects::new();
            let node = Node::open(options, now, &mut opening)?;
            ensemble.nodes.insert(id, node);
            ensemble.post(id, opening, effects);
        }
        // Who has said nothing yet is told nothing.
        for id in ensemble.nodes.keys().copied().collect::<Vec<_>>() {
            ensemble.step_node(now, id, Event::Tick, effects);
        }
        ensemble.deliver(now, effects);
        Ok(ensemble)
    }

    /// Brings something to a node, and all that follows from it to the others. What becomes of the controller's work for
    /// the disk is brought to any of them.
    pub fn step(&mut self, now: Now, node: NodeId, event: Event, effects: &mut EnsembleEffects) {
        match event {
            Event::Synced { topic: TopicId::METADATA, .. } | Event::Snapshotted(_) => {
                let event = ControllerEvent::worked(event).unwrap_or(ControllerEvent::Tick);
                self.step_controller(now, event, effects);
            }
            event => self.step_node(now, node, event, effects),
        }
        self.deliver(now, effects);
    }

    /// Lets everyone see what time it is.
    pub fn tick(&mut self, now: Now, effects: &mut EnsembleEffects) {
        self.step_controller(now, ControllerEvent::Tick, effects);
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.step_node(now, id, Event::Tick, effects);
        }
        self.deliver(now, effects);
    }

    /// One of the nodes.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// When somebody is to be told the time even if nothing happens.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let nodes = self.nodes.values().filter_map(Node::next_deadline);
        nodes.chain(self.controller.next_deadline()).min()
    }

    /// Stops everyone in good order.
    ///
    /// # Errors
    /// The first log that could not be written to disk as a whole. The others are.
    pub fn close(self) -> Result<(), LogError> {
        let closed = self.controller.close();
        let is_marked = closed.is_ok();
        self.nodes.into_values().map(|node| node.close(is_marked)).fold(closed, Result::and)
    }

    fn step_node(&mut self, now: Now, id: NodeId, event: Event, effects: &mut EnsembleEffects) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let mut said = Effects::new();
        node.step(now, event, &mut said);
        self.post(id, said, effects);
    }

    fn step_controller(&mut self, now: Now, event: ControllerEvent, effects: &mut EnsembleEffects) {
        let mut said = ControllerEffects::new();
        self.controller.step(now, event, &mut said);
        // Nodes are started when all is opened.
        let _ = self.take(said, effects);
    }

    fn deliver(&mut self, now: Now, effects: &mut EnsembleEffects) {
        while let Some((from, to, message)) = self.mail.pop_front() {
            #[cfg(test)]
            if [from, to].iter().any(|peer| matches!(peer, Peer::Node(node) if self.cut_off.contains(node))) {
                continue;
            }
            match (from, to, message.read()) {
                (Peer::Node(from), Peer::Controller, Message(Word::ToController(message))) => {
                    self.step_controller(now, ControllerEvent::Message { from, message }, effects);
                }
                (from, Peer::Node(to), message) => {
                    self.step_node(now, to, Event::Message { from, message }, effects);
                }
                (from, Peer::Controller, message) => unreachable!("{message:?} from {from:?}"),
            }
        }
    }

    fn post(&mut self, id: NodeId, said: Effects, effects: &mut EnsembleEffects) {
        for effect in said {
            match effect {
                Effect::Send(to, message) => self.mail.push_back((Peer::Node(id), to, message)),
                other => effects.push((Peer::Node(id), other)),
            }
        }
    }

    /// Gives the nodes that may start.
    fn take(
        &mut self,
        said: ControllerEffects,
        effects: &mut EnsembleEffects,
    ) -> Result<Vec<Started>, OpenError> {
        let mut started = Vec::new();
        for effect in said {
            match effect {
                ControllerEffect::Send { to, message } => {
                    let message = Message(Word::FromController(message));
                    self.mail.push_back((Peer::Controller, Peer::Node(to), message));
                }
                ControllerEffect::Sync(handle) => {
                    let (topic, partition) = (TopicId::METADATA, PartitionIndex(0));
                    let work = DiskWork::Sync { topic, partition, birth: Birth::default(), handle };
                    effects.push((Peer::Controller, Effect::Disk(work)));
                }
                ControllerEffect::Disk(work) => effects.push((Peer::Controller, Effect::Disk(work))),
                ControllerEffect::Started(life) => started.push(*life),
                ControllerEffect::NotStarted { why, .. } => {
                    return Err(OpenError::ClusterRecord { path: PathBuf::new(), message: why.to_string() });
                }
                ControllerEffect::Left { .. } => {}
            }
        }
        Ok(started)
    }
}
