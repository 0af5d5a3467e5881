//! A cluster in this process: how it is built, reached and ended.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use highwater_client::Client;
use highwater_storage::LogError;
use highwater_storage::disk::{Disk, MemoryDisk, PowerDisk, Unsynced};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::cluster::controller::UncleanElection;
use crate::config::BrokerConfig;
use crate::controller::{Controller, ControllerEffect, ControllerOptions};
use crate::entropy::Entropy;
use crate::faults::Gate;
use crate::ids::NodeId;
use crate::message::Peer;
use crate::node::{DiskWork, OpenError};
use crate::observation::Observation;
use crate::refusal::Refusal;
use crate::runtime::{
    self, Advertised, Clock, ControllerShell, DataFolder, FolderError, InProcess, Links, Member, Named,
    Names, NodeDisk, NodeLife, NodeStartError, Plan, Ports, Pulse, Sockets, to_its_end,
};

/// Why a cluster does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A node does not come up.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The cluster's log takes nothing.
    #[error("the cluster's log: {0}")]
    ClusterLog(Refusal),
    /// A setting is wrong.
    #[error("{0}")]
    Config(String),
    /// The system has no thread for it.
    #[error("a thread cannot be begun")]
    Thread(#[source] io::Error),
}

/// Says what a cluster is to be. See [`Cluster::builder`].
#[derive(Debug, Default)]
pub struct ClusterBuilder {
    folder: Option<PathBuf>,
    config: BrokerConfig,
    wrong: Option<String>,
    seed: Option<u64>,
    nodes: u8,
    racks: Vec<String>,
    may_lose_power: bool,
    advertised: Advertised,
}

impl ClusterBuilder {
    /// Keeps everything in memory: no file is made, and nothing is left when the cluster is dropped. The default.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.folder = None;
        self
    }

    /// Keeps everything in this folder (on Linux and macOS), which is made if it does not exist and is found again by the next cluster.
    #[cfg(unix)]
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets one of the broker's settings, by Kafka's name or one that begins with `highwater.`
    /// ([`BrokerConfig::known`] lists them). A wrong one is told by [`start`](Self::start).
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        if let Err(wrong) = self.config.set(name, value) {
            self.wrong.get_or_insert(wrong);
        }
        self
    }

    /// Has the cluster begin at a level of a feature, as [`BrokerConfig::set_feature`]. A wrong one is told by
    /// [`start`](Self::start).
    #[must_use]
    pub fn feature(mut self, name: &str, level: i16) -> Self {
        if let Err(wrong) = self.config.set_feature(name, level) {
            self.wrong.get_or_insert(wrong);
        }
        self
    }

    /// Where topic, cluster and session ids come from; without one they differ from run to run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// What clients of a listener are told to connect to, in place of the address at which they reached it: behind a
    /// published container port, say. Without a port, the listener's own.
    #[must_use]
    pub fn advertise(mut self, host: &str, port: Option<u16>) -> Self {
        self.advertised = Advertised { host: Some(host.into()), port };
        self
    }

    /// How many nodes the cluster has; one unless told otherwise.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Where each node is (`broker.rack`), the first one's rack first: replicas of a partition go to different racks, and
    /// with `replica.selector.class` consumers that say where they are read from a replica there.
    ///
    /// ```
    /// # async fn example() -> Result<(), highwater::StartError> {
    /// let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    /// let builder = highwater::Cluster::builder().nodes(3).racks(["a", "b", "c"]);
    /// let cluster = builder.set("replica.selector.class", selector).start().await?;
    /// # drop(cluster);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn racks(mut self, racks: impl IntoIterator<Item = impl Into<String>>) -> Self {
        // As Kafka reads a setting (`ConfigDef.parseType`).
        self.racks = racks.into_iter().map(|rack| rack.into().trim().to_owned()).collect();
        self
    }

    /// Lets nodes lose their power ([`NodeHandle::power_off`]) also where everything is kept in a folder: what is not durable
    /// is kept account of, which takes some memory. In memory they always may.
    #[must_use]
    pub fn may_lose_power(mut self) -> Self {
        self.may_lose_power = true;
        self
    }

    /// Starts the cluster on the current tokio runtime.
    ///
    /// # Errors
    /// A wrong setting; a folder that is in use, or not ours, or that the operating system refuses; a log that cannot be
    /// opened.
    pub async fn start(self) -> Result<Cluster, StartError> {
        if let Some(wrong) = self.wrong {
            return Err(StartError::Config(wrong));
        }
        let nodes = usize::from(self.nodes.max(1));
        check_racks(&self.racks, nodes).map_err(StartError::Config)?;
        let seed = self.seed.unwrap_or_else(runtime::seed);
        let folder = self.folder.as_deref().map(DataFolder::take).transpose()?;
        let ids: Vec<_> = (0..i32::from(self.nodes.max(1))).map(NodeId).collect();
        let plans = Plans {
            config: Arc::new(self.config.of_cluster(nodes).with_racks(self.racks)),
            disk: folder.is_some().then(system_disk),
            may_lose_power: self.may_lose_power,
            folder: folder.as_ref().map_or_else(PathBuf::new, |folder| folder.path().to_owned()),
            seed,
            clock: Clock::new(),
            gate: Arc::default(),
            links: Links::new(ids.iter().copied()),
        };
        let controller = plans.controller(&ids)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&controller).keep_deadlines());
        let members: Vec<_> =
            ids.iter().map(|id| Arc::new(Member::new(plans.member(*id, &controller)))).collect();
        let stops: Vec<_> = members
            .iter()
            .map(|member| Ok((member.id(), member.take_marker()?)))
            .collect::<Result<_, OpenError>>()?;
        let started = controller.start(stops.clone()).map_err(StartError::ClusterLog)?;
        for ((member, (_, stop)), started) in members.iter().zip(stops).zip(started) {
            member.open(stop, started)?;
        }
        let beats_every = Duration::from_millis(plans.config.node_heartbeat_ms().unsigned_abs().into());
        let begin = || Pulse::begin(Arc::clone(&plans.links), beats_every);
        let pulse = (nodes > 1).then(begin).transpose().map_err(StartError::Thread)?;
        Ok(Cluster {
            controller,
            members,
            advertised: self.advertised,
            gate: plans.gate,
            links: plans.links,
            tasks: Mutex::new(tasks),
            _pulse: pulse,
            _folder: folder,
        })
    }
}

/// Each node has a rack of its own, or none has one.
fn check_racks(racks: &[String], nodes: usize) -> Result<(), String> {
    if racks.iter().any(String::is_empty) {
        return Err("racks: a rack has a name".to_owned());
    }
    match racks.len() {
        0 => Ok(()),
        told if told == nodes => Ok(()),
        told => Err(format!("racks: {nodes} nodes need as many of them, and there are {told}")),
    }
}

/// What controller and nodes are made of.
struct Plans {
    config: Arc<BrokerConfig>,
    /// None where everything is kept in memory, each node's apart.
    disk: Option<Arc<dyn Disk>>,
    may_lose_power: bool,
    folder: PathBuf,
    seed: u64,
    clock: Clock,
    gate: Arc<Gate>,
    links: Arc<Links>,
}

impl Plans {
    /// The disk of one of them.
    fn own_disk(&self) -> Arc<dyn Disk> {
        self.disk.clone().unwrap_or_else(|| Arc::new(MemoryDisk::new()))
    }

    fn controller(&self, nodes: &[NodeId]) -> Result<Arc<ControllerShell>, OpenError> {
        let options = ControllerOptions {
            nodes: nodes.to_vec(),
            config: Arc::clone(&self.config),
            disk: self.own_disk(),
            folder: self.folder.clone(),
            entropy: Entropy::from_seed(self.seed),
        };
        let mut opening = Vec::new();
        let controller = Controller::open(options, self.clock.now(), &mut opening)?;
        if self.disk.is_none() {
            // In memory nothing takes time: no thread is begun for it.
            let is_file = |effect: &mut ControllerEffect| {
                matches!(effect, ControllerEffect::Disk(DiskWork::MarkFormat { .. }))
            };
            for effect in opening.extract_if(.., is_file) {
                if let ControllerEffect::Disk(work) = effect {
                    work.run();
                }
            }
        }
        Ok(ControllerShell::new(controller, opening, self.clock, &self.links))
    }

    fn member(&self, id: NodeId, controller: &Arc<ControllerShell>) -> Plan {
        Plan {
            id,
            config: Arc::new(self.config.of_node(id)),
            disk: match self.may_lose_power || self.disk.is_none() {
                true => NodeDisk::ThatLosesPower(PowerDisk::new(self.own_disk())),
                false => NodeDisk::Safe(self.own_disk()),
            },
            folder: self.folder.clone(),
            seed: self.seed,
            clock: self.clock,
            gate: Arc::clone(&self.gate),
            links: Arc::clone(&self.links),
            controller: Arc::clone(controller),
        }
    }
}

#[cfg(unix)]
fn system_disk() -> Arc<dyn Disk> {
    Arc::new(highwater_storage::disk::OsDisk::new())
}

#[cfg(not(unix))]
fn system_disk() -> Arc<dyn Disk> {
    unreachable!("a cluster is kept in a folder on Unix only")
}

/// A running cluster. Dropped, it is gone: its listeners and connections end, and what it kept in memory is freed. What
/// it kept in a folder is found by the next one as after a crash; [`stop`](Self::stop) ends it in good order.
pub struct Cluster {
    controller: Arc<ControllerShell>,
    members: Vec<Arc<Member>>,
    links: Arc<Links>,
    advertised: Advertised,
    gate: Arc<Gate>,
    tasks: Mutex<JoinSet<()>>,
    _pulse: Option<Pulse>,
    /// Ours until nothing can write to it any more.
    _folder: Option<DataFolder>,
}

impl Drop for Cluster {
    /// Nothing is appended from here on, whoever is still at it: the folder may be opened anew at once.
    fn drop(&mut self) {
        self.members.iter().for_each(|member| member.drop_node());
        self.controller.kill();
    }
}

impl Cluster {
    /// Begins to say what a cluster is to be: in memory, with Kafka's defaults.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// A client of this cluster that needs no port.
    pub fn client(&self) -> Client {
        Client::embedded(Arc::new(InProcess::new(&self.members)))
    }

    /// Listens for Kafka clients at `address` (`host:port`) until the cluster ends; says where the first node does. Each
    /// further node listens at the next port; with port 0 each takes a free one. Any of them leads a client to all.
    ///
    /// # Errors
    /// An address that cannot be resolved, or that is taken.
    pub async fn listen(&self, address: &str) -> io::Result<SocketAddr> {
        let addresses: Vec<_> = tokio::net::lookup_host(address).await?.take(1).collect();
        let listening = self.listen_at(&addresses).await?;
        let first = listening.first().and_then(|(_, addresses)| addresses.first());
        first.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
    }

    /// Listens at several addresses as one, as [`listen`](Self::listen) does: a port of 0 becomes the port that the first
    /// of them got. Says where each node listens.
    ///
    /// # Errors
    /// The first address that is taken, or is not ours; a port past the last there is.
    pub async fn listen_at(&self, addresses: &[SocketAddr]) -> io::Result<Vec<(NodeId, Vec<SocketAddr>)>> {
        let mut bound = Vec::with_capacity(self.members.len());
        for place in 0..self.members.len() {
            let ports = Ports::take(&of_node(addresses, place)?)?;
            let sockets = Sockets::listen(&ports)?;
            bound.push((ports, sockets));
        }
        let of_member = |(member, (ports, _)): (&Arc<Member>, &(Ports, Sockets))| {
            (member.id(), ports.addresses().collect::<Vec<_>>())
        };
        let listening: Vec<_> = self.members.iter().zip(&bound).map(of_member).collect();
        let named = |(member, (id, places)): (&Arc<Member>, &(NodeId, Vec<SocketAddr>))| Named {
            id: *id,
            port: places.first().map_or(0, SocketAddr::port),
            rack: member.rack(),
        };
        let names = self.members.iter().zip(&listening).map(named).collect();
        let names = Arc::new(Names::new(&self.advertised, names));
        for (member, (ports, sockets)) in self.members.iter().zip(bound) {
            member.serve(ports, sockets, &names).await;
        }
        Ok(listening)
    }

    /// The cluster's id, as Kafka prints ids.
    pub fn id(&self) -> &str {
        self.controller.cluster_id()
    }

    /// What the cluster shows of itself now, for metrics: one entry a node that lives. Each node waits while it is looked
    /// at, which takes about as long as a short request.
    pub fn observe(&self) -> Vec<Observation> {
        self.members.iter().filter_map(|member| Some(member.shell()?.observe())).collect()
    }

    /// One of the nodes, counted from 0; none past the last.
    pub fn node(&self, place: usize) -> Option<NodeHandle<'_>> {
        self.members.get(place).map(NodeHandle)
    }

    /// Cuts the link between two nodes, by their places: neither hears of the other until it is [healed](Self::heal). The
    /// controller and clients reach both.
    pub fn cut(&self, one: usize, other: usize) {
        if let Some((one, other)) = self.ends(one, other) {
            self.links.cut(one, other);
        }
    }

    /// Mends the link between two nodes.
    pub fn heal(&self, one: usize, other: usize) {
        if let Some((one, other)) = self.ends(one, other) {
            self.links.heal(one, other);
        }
    }

    fn ends(&self, one: usize, other: usize) -> Option<(Peer, Peer)> {
        let end = |place: usize| self.members.get(place).map(|member| Peer::Node(member.id()));
        Some((end(one)?, end(other)?))
    }

    /// The last thousand unclean elections (`unclean.leader.election.enable`) of this cluster since it was started, the oldest
    /// first, each with what is lost by it, as far as that is known yet.
    pub fn unclean_elections(&self) -> Vec<UncleanElection> {
        self.controller.unclean_elections()
    }

    /// How many unclean elections there were since this cluster was started: those that are not told any more, too.
    pub fn unclean_election_count(&self) -> u64 {
        self.controller.unclean_election_count()
    }

    /// Where faults are ordered.
    pub fn faults(&self) -> &Gate {
        &self.gate
    }

    /// Lets go of what a fault holds back: answers, syncs, and what is to be replicated.
    pub fn release_held(&self) {
        for shell in self.members.iter().filter_map(|member| member.shell()) {
            shell.release_held();
        }
    }

    /// Ends the cluster in good order: no more requests, everything on disk, and a mark that says so.
    ///
    /// # Errors
    /// A log that could not be written to disk as a whole. The others are.
    pub async fn stop(self) -> Result<(), LogError> {
        self.members.iter().for_each(|member| member.end_connections());
        let controller = Arc::clone(&self.controller);
        let closed = tokio::task::spawn_blocking(move || controller.close()).await;
        let mut outcome = closed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let is_marked = outcome.is_ok();
        for member in &self.members {
            outcome = outcome.and(member.stop_with_all(is_marked).await);
        }
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        outcome
    }
}

/// A node of a running cluster: what can be done to it while the others go on. What was begun goes to its end, also where
/// nobody awaits it any more.
#[derive(Clone, Copy)]
pub struct NodeHandle<'a>(&'a Arc<Member>);

impl NodeHandle<'_> {
    /// Which node it is.
    pub fn id(&self) -> NodeId {
        self.0.id()
    }

    /// Whether it lives: it does until it is killed or stopped, also while it is paused.
    pub fn is_alive(&self) -> bool {
        self.0.shell().is_some_and(|shell| shell.is_alive())
    }

    /// How it is: alive, paused, dead, or on its way.
    pub fn life(&self) -> NodeLife {
        self.0.life()
    }

    /// Ends it as the death of its process would: what it had in memory is gone, its connections break, its files are as
    /// the page cache has them. The others hear of it at once. Returns when nothing of it is under way any more.
    pub async fn kill(&self) {
        let member = Arc::clone(self.0);
        to_its_end(async move { member.kill().await }).await;
    }

    /// Ends it as the loss of its power would: as [`kill`](Self::kill), and what was not made durable is gone. Of that the disk
    /// may have written parts on its own: with a seed, some that the seed picks are there.
    ///
    /// # Errors
    /// The cluster was not told that this [may be](ClusterBuilder::may_lose_power); or what the disk says.
    pub async fn power_off(&self, seed: Option<u64>) -> io::Result<()> {
        let member = Arc::clone(self.0);
        let unsynced = seed.map_or(Unsynced::Lost, Unsynced::Drawn);
        to_its_end(async move { member.power_off(unsynced).await }).await
    }

    /// Ends it in good order: others lead what it led, its files are durable, and a mark says so. One that is paused goes on
    /// first, and does what came meanwhile.
    ///
    /// # Errors
    /// A log that could not be written to disk as a whole. The others are.
    pub async fn stop(&self) -> Result<(), LogError> {
        let member = Arc::clone(self.0);
        to_its_end(async move { member.stop().await }).await
    }

    /// Begins another life of it, at the ports it had, if it does not live.
    ///
    /// # Errors
    /// What its folder, the cluster's log, or a port says; and it cannot while it is [isolated](Self::isolate).
    pub async fn start(&self) -> Result<(), NodeStartError> {
        let member = Arc::clone(self.0);
        to_its_end(async move { member.start().await }).await
    }

    /// Cuts it off from the other nodes and the controller; clients reach it. After `broker.session.timeout.ms` others lead what
    /// it led.
    pub fn isolate(&self) {
        self.0.isolate(true);
    }

    /// Ends an isolation.
    pub fn rejoin(&self) {
        self.0.isolate(false);
    }

    /// Whether its link to another node [is cut](Cluster::cut).
    pub fn is_cut_from(&self, other: NodeId) -> bool {
        self.0.is_cut_from(Peer::Node(other))
    }

    /// Whether the controller does not hear of it, as it is [isolated](Self::isolate).
    pub fn is_cut_from_controller(&self) -> bool {
        self.0.is_cut_from(Peer::Controller)
    }

    /// From here on it does nothing, as a process that is stopped: what comes for it waits, and the others do not hear of
    /// it, until they miss its heartbeats (`broker.session.timeout.ms`).
    pub fn pause(&self) {
        self.0.pause();
    }

    /// It goes on, and finds everything that came meanwhile.
    pub fn resume(&self) {
        self.0.resume();
    }
}

/// Where the node at this place listens.
fn of_node(addresses: &[SocketAddr], place: usize) -> io::Result<Vec<SocketAddr>> {
    let shifted = |address: &SocketAddr| {
        let mut address = *address;
        if address.port() != 0 {
            let port = u16::try_from(place).ok().and_then(|place| address.port().checked_add(place));
            let past =
                || io::Error::new(io::ErrorKind::InvalidInput, "the nodes need more ports than there are");
            address.set_port(port.ok_or_else(past)?);
        }
        Ok(address)
    };
    addresses.iter().map(shifted).collect()
}

#[cfg(test)]
mod tests;
