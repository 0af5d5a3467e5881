//! Where a row is played: a cluster that listens, a topic, and a producer made by hand that keeps to a way of producing.
//!
//! A row's test says which cluster, what goes wrong and when; the [`Hand`] does what a client's producer would and writes
//! down what it met. It asks the cluster for the leader each time it connects, so that a row is played the same way
//! whoever leads.

use std::cell::Cell;
use std::net::SocketAddr;

use bytes::Bytes;
use highwater::NodeHandle;
use highwater::faults::{Fault, Step};
use highwater_protocol::ErrorCode;
use highwater_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use highwater_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponsePartition};
use highwater_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, MetadataRequest, ProduceResponse,
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

/// A cluster on a folder, with [`TOPIC`], in the setting of a row and the durability of a way of producing.
pub struct Scene {
    home: Home,
    way: Way,
    nodes: u8,
    settings: Vec<(&'static str, &'static str)>,
    /// The cluster; none between a kill and the next start.
    server: Option<Server>,
    /// Where each node listens.
    addresses: Vec<SocketAddr>,
    /// A fault was ordered after which no answer comes, and nobody has noticed yet.
    is_to_be_silent: Cell<bool>,
}

impl Scene {
    /// The setting of a row, for a way of producing.
    pub async fn of(row: &Row, way: Way) -> Self {
        Self::with(row, way, &[]).await
    }

    /// The same with further settings of the brokers.
    pub async fn with(row: &Row, way: Way, settings: &[(&'static str, &'static str)]) -> Self {
        let mut scene = Self {
            home: Home::default(),
            way,
            nodes: row.replicas,
            settings: settings.to_vec(),
            server: None,
            addresses: Vec::new(),
            is_to_be_silent: Cell::new(false),
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
        let builder = self.home.builder().nodes(self.nodes).set("highwater.durability", self.way.mode.word());
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

    /// The cluster.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("a cluster")
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
        let place = (0..self.addresses.len()).find(|place| self.node(*place).is_alive())?;
        let topic = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
        let topics = Some(vec![topic]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let known = Connection::open(self.addresses[place]).await.ask(&request, 9).await;
        known.topics.into_iter().next()?.partitions.into_iter().next()
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
        let mut values = connection.values(TOPIC).await;
        values.retain(|value| value != "the end");
        values
    }
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
}

impl Hand {
    /// A producer that keeps to the scene's way.
    pub async fn of(scene: &Scene) -> Self {
        let mut connection = scene.connect().await;
        let identity = if scene.way.idempotence { Some(connection.new_producer().await) } else { None };
        Self { way: scene.way, identity, sequence: 0, connection }
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
        self.connection.send(&produce(TOPIC, 0, acks, batch.clone()), PRODUCE).await;
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
