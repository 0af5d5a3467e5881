//! Where a row is played: a cluster that listens, a topic, and a producer made by hand that keeps to a way of producing.
//!
//! A row's test says which cluster, what goes wrong and when; the [`Hand`] does what a client's producer would and writes
//! down what it met. It asks the cluster for the leader each time it connects, so that a row is played the same way
//! whoever leads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use highwater::faults::{Fault, Step};
use highwater::{Cluster, NodeHandle, NodeId, Positions};
use highwater_protocol::ErrorCode;
use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponsePartition};
use highwater_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, MetadataRequest, ProduceRequest, ProduceResponse,
};

use super::judge::Run;
use super::words::{Acks, Sign, Told};
use super::{Row, Way};
use crate::batches::{ScriptedProducer, batch};
use crate::connection::{Connection, until};
use crate::requests::{PRODUCE, produce, produced};
use crate::server::{Home, Server};

/// The topic of every scene, of one partition.
pub const TOPIC: &str = "t";
/// Records of nobody's: they are there for what comes of appending them, and are left out of what is read.
const NOBODYS: [&str; 2] = ["the end", "spacer"];

/// A cluster, with [`TOPIC`], in the setting of a row and the durability of a way of producing.
pub struct Scene {
    /// Its folder; none where everything is in memory.
    home: Option<Home>,
    way: Way,
    nodes: u8,
    settings: Vec<(&'static str, &'static str)>,
    /// The cluster; none between a kill and the next start.
    server: Option<Server>,
    /// Where each node listens.
    addresses: Vec<SocketAddr>,
    /// A fault was ordered after which no answer comes, and nobody has noticed yet.
    is_to_be_silent: Cell<bool>,
    /// Nodes that do nothing now.
    paused: RefCell<BTreeSet<usize>>,
}

impl Scene {
    /// The setting of a row, for a way of producing.
    pub async fn of(row: &Row, way: Way) -> Self {
        Self::with(row, way, &[]).await
    }

    /// The same with further settings of the brokers.
    pub async fn with(row: &Row, way: Way, settings: &[(&'static str, &'static str)]) -> Self {
        Self::on(Some(Home::default()), row, way, settings).await
    }

    /// The same in memory, where nodes may lose their power and a busy disk makes nobody late.
    pub async fn in_memory(row: &Row, way: Way, settings: &[(&'static str, &'static str)]) -> Self {
        Self::on(None, row, way, settings).await
    }

    async fn on(home: Option<Home>, row: &Row, way: Way, settings: &[(&'static str, &'static str)]) -> Self {
        let mut scene = Self {
            home,
            way,
            nodes: row.replicas,
            settings: settings.to_vec(),
            server: None,
            addresses: Vec::new(),
            is_to_be_silent: Cell::new(false),
            paused: RefCell::default(),
        };
        scene.start().await;
        let min_isr = row.min_isr.to_string();
        let config = CreatableTopicConfig { name: "min.insync.replicas".into(), value: Some(min_isr.into()) };
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 1,
            replication_factor: i16::from(row.replicas),
            configs: vec![config],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let made = Connection::open(scene.addresses[0]).await.ask(&request, 7).await.topics.remove(0);
        assert_eq!(made.error_code, ErrorCode::None, "{:?}", made.error_message);
        scene
    }

    /// Starts the cluster where it was left.
    pub async fn start(&mut self) {
        let builder = self.home.as_ref().map_or_else(Cluster::builder, Home::builder);
        let builder = builder.nodes(self.nodes).set("highwater.durability", self.way.mode.word());
        let builder = self.settings.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
        let cluster = builder.start().await.unwrap();
        let listening = cluster.listen_at(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        self.addresses = listening.iter().map(|(_, addresses)| addresses[0]).collect();
        self.server = Some(Server { cluster, address: self.addresses[0] });
    }

    /// The process dies: all replicas at once, and the page cache stays.
    pub fn kill(&mut self) {
        self.server.take().expect("a cluster").kill();
    }

    /// The process ends in good order.
    pub async fn stop(&mut self) {
        self.server.take().expect("a cluster").stop().await;
    }

    /// The cluster.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("a cluster")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.home.as_ref().expect("a cluster in a folder").path()
    }

    /// One of its nodes.
    pub fn node(&self, place: usize) -> NodeHandle<'_> {
        self.server().cluster.node(place).expect("a node")
    }

    /// Lets a fault happen the next so many times that this step is reached.
    pub fn strike(&self, step: Step, fault: Fault, times: u32) {
        self.is_to_be_silent.set(fault == Fault::Lose);
        self.server().cluster.faults().on(step, fault, times);
    }

    /// Whether a message was lost, so that nobody needs to wait for what will not come.
    fn is_silent(&self) -> bool {
        self.is_to_be_silent.get() && self.server().cluster.faults().is_spent()
    }

    /// Awaits the fault. Whoever does knows of it.
    pub async fn struck(&self) {
        until("the fault", async || self.server().cluster.faults().is_spent().then_some(())).await;
        self.is_to_be_silent.set(false);
    }

    /// The place of the node that leads the partition, by the word of any that lives, once there is one.
    pub async fn leader(&self) -> usize {
        until("a leader", async || {
            let part = self.partition().await?;
            let leader = usize::try_from(part.leader_id).ok()?;
            self.node(leader).is_alive().then_some(leader)
        })
        .await
    }

    /// The partition, as the first node that lives sees it.
    pub async fn partition(&self) -> Option<MetadataResponsePartition> {
        let answers = |place: &usize| self.node(*place).is_alive() && !self.paused.borrow().contains(place);
        let place = (0..self.addresses.len()).find(answers)?;
        self.partition_as_told_by(place).await
    }

    /// The partition, as the node at this place sees it.
    pub async fn partition_as_told_by(&self, place: usize) -> Option<MetadataResponsePartition> {
        let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
        let topics = Some(vec![topic]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let known = Connection::open(self.addresses[place]).await.ask(&request, 9).await;
        known.topics.into_iter().next()?.partitions.into_iter().next()
    }

    /// The places of the other nodes.
    pub fn others(&self, place: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.addresses.len()).filter(move |other| *other != place)
    }

    /// From here on a node does nothing, and is not asked.
    pub fn pause(&self, place: usize) {
        self.node(place).pause();
        self.paused.borrow_mut().insert(place);
    }

    /// It goes on.
    pub fn resume(&self, place: usize) {
        self.paused.borrow_mut().remove(&place);
        self.node(place).resume();
    }

    /// Cuts a node off from the others; the controller and clients reach it.
    pub fn cut_off(&self, place: usize) {
        self.others(place).for_each(|other| self.server().cluster.cut(place, other));
    }

    /// Mends what [`cut_off`](Self::cut_off) cut.
    pub fn heal(&self, place: usize) {
        self.others(place).for_each(|other| self.server().cluster.heal(place, other));
    }

    /// Where the node at this place listens.
    pub fn address(&self, place: usize) -> SocketAddr {
        self.addresses[place]
    }

    /// Where the log of the node at this place ends.
    pub fn log_end(&self, place: usize) -> Option<i64> {
        Some(self.positions(place)?.log_end.get())
    }

    /// Up to where the node at this place knows its log to be committed.
    pub fn high_watermark(&self, place: usize) -> Option<i64> {
        Some(self.positions(place)?.high_watermark.get())
    }

    fn positions(&self, place: usize) -> Option<Positions> {
        let observed = self.server().cluster.observe().into_iter();
        let node = observed
            .filter(|seen| seen.id == NodeId(place.try_into().unwrap()))
            .find_map(|seen| seen.node)?;
        let topic = node.topics.into_iter().find(|topic| topic.name.as_str() == TOPIC)?;
        Some(topic.partitions.first()?.log?.positions)
    }

    /// Until the log of the node at this place ends there.
    pub async fn until_appended(&self, place: usize, end: i64) {
        until("the append", async || (self.log_end(place) == Some(end)).then_some(())).await;
    }

    /// Until so many replicas are in sync.
    pub async fn until_in_sync(&self, count: usize) {
        let there = async || (self.partition().await?.isr_nodes.len() == count).then_some(());
        until("replicas in sync", there).await;
    }

    /// The node at this place, which leads, appends a record of nobody's.
    pub async fn spacer(&self, leader: usize) {
        self.append_unheard(leader, "spacer").await;
    }

    /// The node at this place, which leads, appends a record, whoever else has it.
    pub async fn append_unheard(&self, leader: usize, value: &str) {
        let end = self.log_end(leader).expect("a log");
        let mut connection = Connection::open(self.addresses[leader]).await;
        connection.send(&produce(TOPIC, 0, 0, batch(&[value])), PRODUCE).await;
        self.until_appended(leader, end + 1).await;
    }

    /// The leader is cut off from its followers, until it is alone in sync.
    pub async fn leave_alone(&self, leader: usize) {
        self.cut_off(leader);
        // A follower lags only behind what it does not have.
        self.spacer(leader).await;
        self.until_in_sync(1).await;
    }

    /// Every node ends in good order and begins anew, so that all there is is synced.
    pub async fn sync_all(&self) {
        for place in 0..self.addresses.len() {
            self.node(place).stop().await.unwrap();
            self.node(place).start().await.unwrap();
            self.until_in_sync(self.addresses.len()).await;
        }
    }

    /// A connection to whoever leads the partition.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.addresses[self.leader().await]).await
    }

    /// Everything that can be read, once all that was appended can: a record of another producer, acknowledged by
    /// all, is behind it, and is left out.
    pub async fn values(&self) -> Vec<String> {
        let end = batch(&["the end"]);
        let mut connection = until("the end to be taken", async || {
            let mut connection = self.connect().await;
            let done = connection.produce(TOPIC, end.clone()).await.error_code;
            assert!(done.is_none() || done.is_retriable(), "{done}");
            done.is_none().then_some(connection)
        })
        .await;
        owned(connection.values(TOPIC).await)
    }

    /// What can be read now.
    pub async fn readable(&self) -> Vec<String> {
        owned(self.connect().await.values(TOPIC).await)
    }

    /// Until this can be read, and what can then.
    pub async fn until_readable(&self, value: &str) -> Vec<String> {
        until(value, async || {
            let values = self.readable().await;
            values.iter().any(|readable| readable == value).then_some(values)
        })
        .await
    }
}

fn owned(mut values: Vec<String>) -> Vec<String> {
    values.retain(|value| !NOBODYS.contains(&value.as_str()));
    values
}

/// What came of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The batch is at this offset.
    Stored(i64),
    /// Something else came, or nothing.
    Sign(Sign),
}

/// A producer made by hand: one batch of one record at a time.
pub struct Hand {
    way: Way,
    identity: Option<ScriptedProducer>,
    sequence: i32,
    connection: Connection,
    /// How long an answer may wait for others.
    timeout_ms: i32,
}

impl Hand {
    /// A producer that keeps to the scene's way.
    pub async fn of(scene: &Scene) -> Self {
        let mut connection = scene.connect().await;
        let identity = if scene.way.idempotence { Some(connection.new_producer().await) } else { None };
        Self { way: scene.way, identity, sequence: 0, connection, timeout_ms: 30_000 }
    }

    /// Lets answers wait for others so long.
    pub fn set_timeout_ms(&mut self, timeout_ms: i32) {
        self.timeout_ms = timeout_ms;
    }

    /// The next batch.
    pub fn next(&mut self, value: &str) -> Bytes {
        let Some(identity) = self.identity else { return batch(&[value]) };
        let next = identity.batch(self.sequence, value);
        self.sequence += 1;
        next
    }

    /// Who it says it is; none without idempotence.
    pub fn identity(&mut self) -> Option<&mut ScriptedProducer> {
        self.identity.as_mut()
    }

    /// Connects anew.
    pub async fn reconnect(&mut self, scene: &Scene) {
        self.connection = scene.connect().await;
    }

    /// Sends a batch, and waits for nothing.
    pub async fn begin(&mut self, batch: &Bytes) {
        let acks = match self.way.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        };
        let timeout_ms = self.timeout_ms;
        let request = ProduceRequest { timeout_ms, ..produce(TOPIC, 0, acks, batch.clone()) };
        self.connection.send(&request, PRODUCE).await;
    }

    /// What comes of what was sent. Whether no answer will come any more the test knows, as it lost it: `is_lost`.
    pub async fn end(&mut self, is_lost: impl Fn() -> bool) -> Answer {
        let lost = until("an answer or its loss", async || is_lost().then_some(()));
        tokio::select! {
            answer = answer(&mut self.connection, self.way.acks) => answer,
            () = lost => Answer::Sign(Sign::Silence),
        }
    }

    /// Sends a record that the fault does not meet.
    pub async fn sends(&mut self, scene: &Scene, value: &str, run: &mut Run) {
        let batch = self.next(value);
        let told = self.deliver(scene, &batch, run).await;
        run.sent(value, told);
    }

    /// Sends the record that the fault meets.
    pub async fn meets(&mut self, scene: &Scene, value: &str, run: &mut Run) {
        let batch = self.next(value);
        let told = self.deliver(scene, &batch, run).await;
        run.met(value, told);
    }

    /// Sends a batch until it is acknowledged, or once, as its way is; tells what it knows of it then.
    pub async fn deliver(&mut self, scene: &Scene, batch: &Bytes, run: &mut Run) -> Told {
        self.begin(batch).await;
        self.pursue(scene, batch, run).await
    }

    /// The same for a batch whose first attempt was begun.
    pub async fn pursue(&mut self, scene: &Scene, batch: &Bytes, run: &mut Run) -> Told {
        loop {
            let sign = match self.end(|| scene.is_silent()).await {
                Answer::Stored(_) => return Told::Acknowledged,
                Answer::Sign(sign) => sign,
            };
            if scene.is_silent() {
                scene.is_to_be_silent.set(false);
            }
            // With acks=0 silence is what there always is.
            if self.way.acks != Acks::None || sign != Sign::Silence {
                run.saw(sign);
            }
            if let Some(told) = verdict(self.way, sign) {
                return told;
            }
            self.reconnect(scene).await;
            self.begin(batch).await;
        }
    }
}

/// With acks=0 there is no answer: what was asked behind it is answered, or the connection is closed.
async fn answer(connection: &mut Connection, acks: Acks) -> Answer {
    if acks == Acks::None {
        connection.send(&ApiVersionsRequest::default(), 0).await;
        return match connection.frame().await {
            Some(_) => Answer::Sign(Sign::Silence),
            None => Answer::Sign(Sign::Disconnect),
        };
    }
    let Some(frame) = connection.frame().await else { return Answer::Sign(Sign::Disconnect) };
    let (_, response): (_, ProduceResponse) =
        highwater_protocol::frame::decode_response(frame, PRODUCE).unwrap();
    let done = produced(response);
    match done.error_code {
        ErrorCode::None => Answer::Stored(done.base_offset),
        code => Answer::Sign(Sign::Code(code)),
    }
}

/// What the producer knows of a batch after this; none where it tries again.
fn verdict(way: Way, sign: Sign) -> Option<Told> {
    match sign {
        _ if way.acks == Acks::None => Some(Told::Sent),
        Sign::Code(code) if !code.is_retriable() => Some(Told::Refused),
        _ if way.retries => None,
        Sign::Code(ErrorCode::NotEnoughReplicas) => Some(Told::Refused),
        _ => Some(Told::Unknown),
    }
}
