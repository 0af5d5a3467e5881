//! What goes wrong, and how it is mended.

use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::disk::{Disk, Unsynced};

use super::conditions::FaultKind;
use super::world::{Happening, World};
use crate::controller::{ControllerEffects, ControllerEvent};
use crate::ids::{BrokerEpoch, NodeId, PartitionIndex};
use crate::message::Peer;
use crate::node::{Effects, ElectLeadersRequest, ElectionKind, NodeOptions, Request, take_marker};

/// How something is mended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mend {
    Start(NodeId),
    StartAll,
    Resume(NodeId, u64),
    Heal,
    HealClients,
    SpeedUp(NodeId),
}

impl World {
    /// Something goes wrong, and the next fault has its time.
    pub(super) fn fault(&mut self) {
        if !self.is_trouble {
            return;
        }
        let wait = self.chance.draw(0..=2 * self.conditions.fault_every_micros);
        self.happens(self.now + wait, Happening::Fault);
        let sum: u64 = self.conditions.faults.iter().map(|(_, weight)| weight).sum();
        if sum == 0 || (self.is_fragile && !self.is_whole()) {
            return;
        }
        self.is_fragile = false;
        let mut drawn = self.chance.draw(0..=sum - 1);
        let found = self.conditions.faults.iter().find(|(_, weight)| {
            let is_it = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_it
        });
        let Some((kind, _)) = found.copied() else { return };
        let at = self.now + self.chance.draw(self.conditions.mend_micros.clone());
        if let Some(mend) = self.happen(kind) {
            self.fault_count += 1;
            self.happens(at, Happening::Mends(mend));
        }
    }

    fn happen(&mut self, kind: FaultKind) -> Option<Mend> {
        let ids: Vec<_> = self.members.keys().copied().collect();
        let node = self.chance.pick(&ids);
        let is_alive = self.members.get(&node)?.life().is_some();
        let runs = self.members.get(&node)?.runs();
        self.note(|| format!("fault {kind:?} (node {node})"));
        match kind {
            FaultKind::Kill if is_alive => self.kill(node).then_some(Mend::Start(node)),
            FaultKind::KillLeader => {
                let leader = self.any_leader()?;
                self.kill(leader).then_some(Mend::Start(leader))
            }
            FaultKind::KillAll => {
                for node in ids {
                    self.kill(node);
                }
                Some(Mend::StartAll)
            }
            FaultKind::PowerOff if is_alive && (self.conditions.is_synced || self.is_whole()) => {
                self.is_fragile = !self.conditions.is_synced;
                self.power_off(node);
                Some(Mend::Start(node))
            }
            FaultKind::Stop if runs => {
                if let Some(member) = self.members.get_mut(&node) {
                    member.is_stopping = true;
                }
                self.step_controller(ControllerEvent::Leaving { node });
                Some(Mend::Start(node))
            }
            FaultKind::Pause if runs => {
                let member = self.members.get_mut(&node)?;
                if member.is_stopping {
                    return None;
                }
                member.pause();
                Some(Mend::Resume(node, member.life()?))
            }
            FaultKind::CutLink | FaultKind::HalfCut => {
                let mut ends: Vec<_> = ids.iter().copied().map(Peer::Node).collect();
                ends.push(Peer::Controller);
                let (one, other) = (Peer::Node(node), self.chance.pick(&ends));
                if one == other {
                    return None;
                }
                let way = self.chance.percent(50);
                if kind == FaultKind::CutLink || way {
                    self.links.cut((one, other));
                }
                if kind == FaultKind::CutLink || !way {
                    self.links.cut((other, one));
                }
                Some(Mend::Heal)
            }
            FaultKind::Isolate => {
                let others = ids.iter().copied().filter(|other| *other != node).map(Peer::Node);
                for other in others.chain([Peer::Controller]) {
                    self.links.cut((Peer::Node(node), other));
                    self.links.cut((other, Peer::Node(node)));
                }
                Some(Mend::Heal)
            }
            FaultKind::CutClient => {
                let client = self.chance.below(self.clients.len());
                self.connections.cut(client, node);
                Some(Mend::HealClients)
            }
            FaultKind::SlowDisk => {
                let micros = self.chance.draw(10_000..=3_000_000);
                self.slow_disks.insert(node, micros);
                Some(Mend::SpeedUp(node))
            }
            FaultKind::RestartProcess => self.restarts(false),
            FaultKind::PowerOffAll if self.conditions.is_synced => self.restarts(true),
            FaultKind::Reassign => {
                self.reassign(node);
                Some(Mend::HealClients)
            }
            FaultKind::Rot if is_alive && self.is_whole() => {
                self.is_fragile = true;
                self.kill(node);
                if let Err(error) = self.rot(node) {
                    self.checks.complain(format!("what is to rot: {error}"));
                }
                self.checks.lost_power(node);
                Some(Mend::Start(node))
            }
            FaultKind::DeleteRecords => {
                self.delete_records();
                Some(Mend::HealClients)
            }
            FaultKind::ElectPreferred => {
                let request = ElectLeadersRequest { kind: ElectionKind::Preferred, topics: None };
                self.ask_for_nobody(node, Request::ElectLeaders(request));
                Some(Mend::HealClients)
            }
            _ => None,
        }
    }

    fn restarts(&mut self, loses_power: bool) -> Option<Mend> {
        if let Err(what) = self.restart_process(loses_power) {
            self.checks.complain(format!("the process does not begin anew: {what}"));
        }
        Some(Mend::HealClients)
    }

    pub(super) fn mend(&mut self, mend: Mend) {
        self.note(|| format!("mend {mend:?}"));
        match mend {
            Mend::Start(node) if self.chance.percent(80) => self.start_those(&[node]),
            Mend::Start(_) | Mend::StartAll => {
                let all: Vec<_> = self.members.keys().copied().collect();
                self.start_those(&all);
            }
            Mend::Resume(node, life) => self.resume(node, life),
            Mend::Heal => self.links.heal(),
            Mend::HealClients => self.connections.heal(),
            Mend::SpeedUp(node) => drop(self.slow_disks.remove(&node)),
        }
    }

    /// Everything is mended, and nothing goes wrong any more.
    pub(super) fn end_trouble(&mut self) {
        self.note(|| "trouble is over".to_owned());
        self.is_trouble = false;
        self.links.heal();
        self.connections.heal();
        self.slow_disks.clear();
        for node in self.members.keys().copied().collect::<Vec<_>>() {
            if let Some(life) = self.members.get(&node).and_then(super::member::Member::life) {
                self.resume(node, life);
            }
        }
    }

    /// Starts those that are down.
    pub(super) fn start_those(&mut self, nodes: &[NodeId]) {
        let is_down = |node: &NodeId| self.members.get(node).is_some_and(|member| member.life().is_none());
        let down: Vec<_> = nodes.iter().copied().filter(is_down).collect();
        if !down.is_empty()
            && let Err(what) = self.start(&down)
        {
            self.checks.complain(format!("nodes {down:?} do not start: {what}"));
        }
    }

    pub(super) fn start(&mut self, nodes: &[NodeId]) -> Result<(), String> {
        self.note(|| format!("nodes {nodes:?} start"));
        let folder = PathBuf::from("data");
        let mut stops = Vec::new();
        for node in nodes {
            let disk = self.disk_of(*node);
            let stop = take_marker(disk.as_ref(), &folder, *node).map_err(|error| error.to_string())?;
            stops.push((*node, stop));
        }
        let mut said = ControllerEffects::new();
        let (clock, event) = (self.clock(), ControllerEvent::Start { nodes: stops.clone() });
        self.controller_mut().step(clock, event, &mut said);
        for started in self.take_controller_effects(said) {
            let id = started.node;
            let stop = stops.iter().find(|(node, _)| *node == id).map(|(_, stop)| *stop);
            let options = NodeOptions {
                config: Arc::clone(&self.config),
                disk: self.disk_of(id),
                folder: folder.clone(),
                entropy: self.chance.entropy(),
                stop: stop.ok_or("nobody asked for it")?,
                cluster_id: Arc::clone(self.controller().cluster_id()),
                started,
            };
            let mut effects = Effects::new();
            let node = crate::node::Node::open(options, clock, &mut effects)
                .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?;
            let broker_epoch = node.broker_epoch();
            self.controller_mut().lives(clock, id, broker_epoch);
            let life = self.members.get_mut(&id).ok_or("no such node")?.begin(node);
            self.look(id, life);
            self.take_effects(id, life, effects);
        }
        Ok(())
    }

    fn disk_of(&self, node: NodeId) -> Arc<dyn Disk> {
        self.members[&node].power.disk()
    }

    pub(super) fn kill(&mut self, node: NodeId) -> bool {
        let Some(member) = self.members.get_mut(&node) else { return false };
        let Some(ended) = member.end() else { return false };
        member.power.kill();
        self.is_gone(node, ended.broker_epoch());
        true
    }

    fn power_off(&mut self, node: NodeId) {
        let seed = self.chance.seed();
        let Some(member) = self.members.get_mut(&node) else { return };
        let ended = member.end().map(|ended| ended.broker_epoch());
        let loss = member.power.power_off(Unsynced::Drawn(seed));
        self.checks.lost_power(node);
        self.note(|| format!("node {node} lost {loss:?}"));
        if let Some(life) = ended {
            self.is_gone(node, life);
        }
    }

    /// A node may stop.
    pub(super) fn leave(&mut self, node: NodeId) {
        let Some(member) = self.members.get_mut(&node) else { return };
        if !member.is_stopping {
            return;
        }
        member.is_stopping = false;
        let Some(ended) = member.end() else { return };
        let life = ended.broker_epoch();
        let closed = ended.close(true);
        member.power.kill();
        if let Err(error) = closed {
            self.checks.complain(format!("node {node} does not close: {error}"));
        }
        self.note(|| format!("node {node} stopped"));
        self.is_gone(node, life);
    }

    fn is_gone(&mut self, node: NodeId, life: BrokerEpoch) {
        let loses = self.chance.percent(50);
        self.links.end_of(node, loses);
        self.break_connections(node);
        self.step_controller(ControllerEvent::Gone { node, life });
    }

    fn resume(&mut self, node: NodeId, life: u64) {
        let Some(member) = self.members.get_mut(&node).filter(|member| member.life() == Some(life)) else {
            return;
        };
        for event in member.resume() {
            self.step_node(node, event);
        }
    }

    fn any_leader(&mut self) -> Option<NodeId> {
        let partition = PartitionIndex(i32::try_from(self.chance.below(3)).ok()?);
        let known = self.controller().known();
        known.partition(known.id_of(&super::client::TOPIC.into())?, partition)?.leader
    }

    /// Whether everybody is there and in sync with everything.
    pub(super) fn is_whole(&self) -> bool {
        let known = self.controller().known();
        let mut partitions = known.by_name().flat_map(|(_, topic)| &topic.partitions);
        self.members.values().all(super::member::Member::runs)
            && !self.links.are_cut()
            && partitions.all(|partition| {
                partition.leader.is_some() && partition.in_sync.len() == partition.replicas.len()
            })
    }
}
