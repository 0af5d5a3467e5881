//! A node through its lives: how one begins and ends while the cluster runs.
//!
//! Always: a member has at most one life at a time, and a new one begins only when nothing of the one before is under way:
//! no write, no sync, no listener. Ports stay the same from life to life.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::disk::{Disk, PowerDisk, Unsynced};
use highwater_storage::{LogError, StopKind};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::controller_shell::ControllerShell;
use super::links::Links;
use super::listener::{Names, Sockets};
use super::node_shell::NodeShell;
use super::ports::Ports;
use crate::config::BrokerConfig;
use crate::controller::Started;
use crate::entropy::Entropy;
use crate::faults::Gate;
use crate::ids::NodeId;
use crate::message::Peer;
use crate::node::{Node, NodeOptions, OpenError, take_marker};
use crate::refusal::Refusal;

/// What every life of a node begins with.
pub(crate) struct Plan {
    pub(crate) id: NodeId,
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) disk: NodeDisk,
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) gate: Arc<Gate>,
    pub(crate) links: Arc<Links>,
    pub(crate) controller: Arc<ControllerShell>,
}

/// Where a node's files are.
pub(crate) enum NodeDisk {
    /// What is written stays, as far as the system keeps it.
    Safe(Arc<dyn Disk>),
    /// What is not durable can be taken away.
    ThatLosesPower(PowerDisk),
}

impl NodeDisk {
    /// As one life of the node has it.
    fn of_life(&self) -> Arc<dyn Disk> {
        match self {
            Self::Safe(disk) => Arc::clone(disk),
            Self::ThatLosesPower(disk) => disk.disk(),
        }
    }
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeLife {
    /// It begins a life.
    Starting,
    /// It works.
    Alive,
    /// It lives and does nothing, until it is resumed.
    Paused,
    /// Its life is about to be over.
    Ending,
    /// It ended on its own: its controller or its disk left it no other way.
    Failed,
    /// It was killed or stopped.
    Dead,
}

/// One node of a cluster, alive or not.
pub(crate) struct Member {
    plan: Plan,
    inside: Mutex<Inside>,
    /// Who begins or ends a life has this.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Inside {
    shell: Option<Arc<NodeShell>>,
    lives: u64,
    /// What runs for the present life.
    tasks: JoinSet<()>,
    /// Where every life listens.
    doors: Vec<(Arc<Ports>, Arc<Names>)>,
}

impl Member {
    /// A node that does not live yet.
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, inside: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.plan.id
    }

    /// Where it is, if that is known.
    pub(crate) fn rack(&self) -> Option<Arc<str>> {
        self.plan.config.rack_of(self.plan.id).map(Arc::from)
    }

    /// The present life.
    pub(crate) fn shell(&self) -> Option<Arc<NodeShell>> {
        self.inside.lock().shell.clone()
    }

    pub(crate) fn life(&self) -> NodeLife {
        let turns = self.turn.try_lock().is_err();
        match self.shell() {
            None if turns => NodeLife::Starting,
            None => NodeLife::Dead,
            Some(_) if turns => NodeLife::Ending,
            Some(shell) if !shell.is_alive() => NodeLife::Failed,
            Some(shell) if shell.is_paused() => NodeLife::Paused,
            Some(_) => NodeLife::Alive,
        }
    }

    /// Looks how the node was left, and takes the mark away.
    pub(crate) fn take_marker(&self) -> Result<StopKind, OpenError> {
        take_marker(self.plan.disk.of_life().as_ref(), &self.plan.folder, self.plan.id)
    }

    /// Begins a life, as the controller lets it.
    pub(crate) fn open(&self, stop: StopKind, started: Started) -> Result<(), OpenError> {
        let Plan { id, clock, .. } = self.plan;
        let lives = self.inside.lock().lives;
        let mut seeds = Entropy::from_seed(self.plan.seed.wrapping_add(lives.wrapping_mul(1 << 32)));
        let seed = (0..=id.0).map(|_| seeds.next_u64()).last().unwrap_or_default();
        let options = NodeOptions {
            config: Arc::clone(&self.plan.config),
            disk: self.plan.disk.of_life(),
            folder: self.plan.folder.clone(),
            entropy: Entropy::from_seed(seed),
            stop,
            cluster_id: Arc::clone(self.plan.controller.cluster_id()),
            started,
        };
        let mut opening = Vec::new();
        let node = Node::open(options, clock.now(), &mut opening)?;
        let shell = NodeShell::new(node, opening, clock, Arc::clone(&self.plan.gate), &self.plan.links);
        // From now on its silence counts, also where it cannot reach the controller.
        self.plan.controller.lives(id, shell.life());
        let mut inside = self.inside.lock();
        inside.tasks.spawn(Arc::clone(&shell).keep_deadlines());
        inside.shell = Some(shell);
        inside.lives += 1;
        Ok(())
    }

    /// Listens at these ports in this life, with these sockets, and in all that follow.
    pub(crate) async fn serve(&self, ports: Ports, sockets: Sockets, names: &Arc<Names>) {
        let _turn = self.turn.lock().await;
        let mut inside = self.inside.lock();
        inside.doors.push((Arc::new(ports), Arc::clone(names)));
        let Inside { shell, tasks, .. } = &mut *inside;
        if let Some(shell) = shell {
            tasks.spawn(sockets.serve(Arc::clone(shell), Arc::clone(names)));
        }
    }

    /// Ends the present life as a crash of its process would.
    pub(crate) async fn kill(&self) {
        let _turn = self.turn.lock().await;
        if let Some(shell) = self.shell() {
            shell.kill();
        }
        self.bury().await;
    }

    /// Ends the present life as the loss of its power would.
    pub(crate) async fn power_off(&self, unsynced: Unsynced) -> io::Result<()> {
        let NodeDisk::ThatLosesPower(disk) = &self.plan.disk else {
            let why = "the cluster was not started with nodes that may lose their power";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        };
        self.kill().await;
        let _turn = self.turn.lock().await;
        let disk = disk.clone();
        let lost = tokio::task::spawn_blocking(move || disk.power_off(unsynced)).await;
        let lost = lost.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        tracing::info!(node = %self.plan.id, ?lost, "the power went");
        Ok(())
    }

    /// Ends the present life in good order: others lead what it led, everything is on disk, and a mark says so.
    pub(crate) async fn stop(&self) -> Result<(), LogError> {
        let _turn = self.turn.lock().await;
        let Some(shell) = self.shell() else { return Ok(()) };
        // Nothing would come of what waits for a node that does nothing.
        shell.resume();
        let life = shell.life();
        self.plan.controller.leave(self.plan.id, life).await;
        let closed = close(shell, true).await;
        self.plan.controller.lost(self.plan.id, life);
        self.bury().await;
        closed
    }

    /// Takes no more requests: the whole cluster stops.
    pub(crate) fn end_connections(&self) {
        if let Some(shell) = self.shell() {
            shell.end_connections();
        }
    }

    /// The same when the whole cluster stops: nobody is to lead anything. `is_marked` says that the controller stopped in
    /// good order.
    pub(crate) async fn stop_with_all(&self, is_marked: bool) -> Result<(), LogError> {
        let _turn = self.turn.lock().await;
        let Some(shell) = self.shell() else { return Ok(()) };
        let closed = close(shell, is_marked).await;
        self.bury().await;
        closed
    }

    /// Begins another life, if there is none.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<(), NodeStartError> {
        let _turn = self.turn.lock().await;
        if self.shell().is_some_and(|shell| shell.is_alive()) {
            return Ok(());
        }
        if self.is_cut_from(Peer::Controller) {
            return Err(NodeStartError::CutOff);
        }
        // A life may have ended on its own.
        self.bury().await;
        let doors = self.inside.lock().doors.clone();
        let mut bound = Vec::with_capacity(doors.len());
        for (ports, names) in doors {
            bound.push((Sockets::listen(&ports).map_err(NodeStartError::Listen)?, names));
        }
        let stop = self.take_marker()?;
        let started =
            self.plan.controller.start(vec![(self.plan.id, stop)]).map_err(NodeStartError::NotStarted)?;
        let Some(started) = started.into_iter().next() else { return Err(NodeStartError::NoController) };
        let life = started.broker_epoch;
        let member = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || member.open(stop, started)).await;
        if let Err(error) = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            self.plan.controller.lost(self.plan.id, life);
            return Err(error.into());
        }
        let mut inside = self.inside.lock();
        let Inside { shell, tasks, .. } = &mut *inside;
        if let Some(shell) = shell {
            for (sockets, names) in bound {
                tasks.spawn(sockets.serve(Arc::clone(shell), names));
            }
        }
        Ok(())
    }

    /// Cuts all links of the node, or heals them.
    pub(crate) fn isolate(&self, is_isolated: bool) {
        let own = Peer::Node(self.plan.id);
        let others = self.plan.links.ids().filter(|id| *id != self.plan.id).map(Peer::Node);
        for other in others.chain([Peer::Controller]) {
            match is_isolated {
                true => self.plan.links.cut(own, other),
                false => self.plan.links.heal(own, other),
            }
        }
    }

    /// Whether nothing gets through between this node and another end.
    pub(crate) fn is_cut_from(&self, other: Peer) -> bool {
        self.plan.links.is_cut(Peer::Node(self.plan.id), other)
    }

    pub(crate) fn pause(&self) {
        if let Some(shell) = self.shell() {
            shell.pause();
        }
    }

    pub(crate) fn resume(&self) {
        if let Some(shell) = self.shell() {
            shell.resume();
        }
    }

    /// Nothing is appended from here on, whoever is still at it.
    pub(crate) fn drop_node(&self) {
        if let Some(shell) = self.shell() {
            shell.drop_node();
        }
    }

    /// Waits until nothing runs any more for a life that is over.
    async fn bury(&self) {
        let mut tasks = {
            let mut inside = self.inside.lock();
            inside.shell = None;
            std::mem::take(&mut inside.tasks)
        };
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
    }
}

/// Why a node does not begin another life.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeStartError {
    /// Its folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be registered.
    #[error("the cluster's log takes nothing more: {0}")]
    NotStarted(Refusal),
    /// There is nobody to register it.
    #[error("the cluster is over")]
    NoController,
    /// It cannot be registered over a link that is cut.
    #[error("it is isolated from the controller: let it rejoin first")]
    CutOff,
    /// A port that it had is taken.
    #[error("the node cannot listen where it did")]
    Listen(#[source] io::Error),
}

/// Does something that must not be left half done, whether or not it is awaited to the end.
pub(crate) async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

async fn close(shell: Arc<NodeShell>, is_marked: bool) -> Result<(), LogError> {
    shell.end_connections();
    let closed = tokio::task::spawn_blocking(move || shell.close(is_marked)).await;
    closed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
