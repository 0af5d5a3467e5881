//! A node behind its shell, asked without a connection's codec.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use highwater_storage::batch::{BatchBuilder, BatchRules, CheckedBatch};
use highwater_storage::disk::{Disk, MemoryDisk};
use highwater_storage::{StopKind, TimestampMs};

use super::*;
use crate::config::BrokerConfig;
use crate::controller::{Controller, ControllerOptions};
use crate::entropy::Entropy;
use crate::faults::{Fault, Step};
use crate::ids::PartitionIndex;
use crate::node::{
    CreateTopicsRequest, NewTopic, NodeOptions, ProducePartition, ProduceRequest, Reply, Request, Ticket,
    TopicRef,
};
use crate::runtime::ControllerShell;

/// Long enough for anything that comes to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what comes, or dies of it.
struct Inbox {
    came: mpsc::Sender<Option<Reply>>,
    dies: bool,
}

impl Recipient for Inbox {
    fn deliver(&self, _: u64, reply: Reply) {
        assert!(!self.dies, "it dies of a reply");
        self.came.send(Some(reply)).unwrap();
    }

    fn close(&self, _: &str) {
        self.came.send(None).unwrap();
    }
}

struct Caller {
    connection: ConnectionId,
    asked: u64,
    came: mpsc::Receiver<Option<Reply>>,
}

impl Caller {
    fn of(shell: &NodeShell, dies: bool) -> Self {
        let (sender, came) = mpsc::channel();
        Self { connection: shell.connect(Arc::new(Inbox { came: sender, dies })), asked: 0, came }
    }

    fn ask(&mut self, shell: &NodeShell, request: Request) -> bool {
        self.asked += 1;
        let ticket = Ticket { connection: self.connection, request: self.asked };
        shell.bring(Event::Request(ticket, request))
    }

    /// The next reply; none when the connection is closed.
    fn reply(&self) -> Option<Reply> {
        self.came.recv_timeout(PATIENCE).expect("an answer comes")
    }
}

fn durable(settings: &[(&str, &str)]) -> (Arc<NodeShell>, Arc<ControllerShell>) {
    let mut config = BrokerConfig::default();
    config.set("highwater.durability", "leader").unwrap();
    settings.iter().for_each(|(name, value)| config.set(name, value).unwrap());
    let (clock, links, id) = (Clock::new(), Links::new([NodeId(0)]), NodeId(0));
    let (config, disk): (_, Arc<dyn Disk>) = (Arc::new(config), Arc::new(MemoryDisk::new()));
    let options = ControllerOptions {
        nodes: vec![id],
        config: Arc::clone(&config),
        disk: Arc::clone(&disk),
        folder: PathBuf::new(),
        entropy: Entropy::from_seed(1),
    };
    let mut opening = Vec::new();
    let controller = Controller::open(options, clock.now(), &mut opening).unwrap();
    let controller = ControllerShell::new(controller, opening, clock, &links);
    let started = controller.start(vec![(id, StopKind::Clean)]).unwrap().remove(0);
    let options = NodeOptions {
        config,
        disk,
        folder: PathBuf::new(),
        entropy: Entropy::from_seed(1),
        stop: StopKind::Clean,
        cluster_id: Arc::clone(controller.cluster_id()),
        started,
    };
    let mut opening = Vec::new();
    let node = Node::open(options, clock.now(), &mut opening).unwrap();
    (NodeShell::new(node, opening, clock, Arc::default(), &links), controller)
}

fn a_topic() -> Request {
    let topic = NewTopic {
        name: "t".into(),
        partitions: 1,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    Request::CreateTopics(CreateTopicsRequest { topics: vec![topic], validate_only: false })
}

fn batch(size_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    let value = vec![7; size_bytes];
    builder.append(TimestampMs::new(1_700_000_000_000), None, Some(&value), &[]).unwrap();
    builder.build().unwrap()
}

/// A produce of one batch to the topic that was created in `reply`.
fn a_produce(reply: &Reply, size_bytes: usize) -> Request {
    let Reply::CreateTopics(created) = reply else { panic!("{reply:?}") };
    let now = TimestampMs::new(1_700_000_000_000);
    let part = ProducePartition {
        topic: TopicRef::Name("t".into()),
        partition: PartitionIndex(0),
        checked_for: Some(created[0].outcome.as_ref().unwrap().id),
        is_transactional: false,
        batch: CheckedBatch::check(&batch(size_bytes), &BatchRules::default(), now),
    };
    Request::Produce(ProduceRequest {
        acks: -1,
        timeout_ms: 60_000,
        transaction: None,
        partitions: vec![part],
    })
}

fn offset(reply: Option<Reply>) -> i64 {
    let Some(Reply::Produce(parts)) = &reply else { panic!("{reply:?}") };
    parts[0].outcome.as_ref().unwrap().base_offset.get()
}

#[tokio::test]
async fn a_log_that_rolls_while_it_is_synced_is_flushed_and_everyone_is_answered() {
    let (shell, _controller) = durable(&[("log.segment.bytes", "1048576")]);
    let (mut first, mut second) = (Caller::of(&shell, false), Caller::of(&shell, false));
    first.ask(&shell, a_topic());
    let created = first.reply().unwrap();
    shell.gate.on(Step::Sync, Fault::Hold, 1);
    first.ask(&shell, a_produce(&created, 600_000));
    // It begins a segment, and the first one is flushed when its sync has come to its end: on the thread for syncs.
    second.ask(&shell, a_produce(&created, 600_000));
    shell.release_held();
    assert_eq!((offset(first.reply()), offset(second.reply())), (0, 1));
    for at in 2..20 {
        first.ask(&shell, a_produce(&created, 600_000));
        assert_eq!(offset(first.reply()), at);
    }
    shell.close(true).unwrap();
}

#[tokio::test]
async fn a_thread_for_syncs_that_dies_takes_the_node_with_it() {
    let (shell, _controller) = durable(&[]);
    let (mut deadly, mut other) = (Caller::of(&shell, true), Caller::of(&shell, false));
    other.ask(&shell, a_topic());
    let created = other.reply().unwrap();
    deadly.ask(&shell, a_produce(&created, 1));
    assert!(other.reply().is_none(), "its connection is closed");
    assert!(!other.ask(&shell, a_produce(&created, 1)), "the node is gone");
}
