//! A node driven by hand: no runtime, and the time is what the test says it is.

use bytes::Bytes;
use highwater_storage::batch::{BatchBuilder, BatchRules, CheckedBatch};
use highwater_storage::disk::{FaultDisk, FaultKind, MemoryDisk};
use highwater_storage::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::*;
use crate::controller::{Controller, ControllerEffect, ControllerEvent, ControllerOptions};
use crate::ids::PartitionIndex;
use crate::message::Word;

mod altering;
mod checkpoints;
mod closing;
mod compaction;
mod durability;
mod enlarging;
mod followers;
mod groups;
mod marking;
mod racks;
mod replicas;
mod retention;
mod transactional_offsets;
mod transactions;
mod transactions_on_nodes;
mod verifying;

use crate::partition::leader::Isolation;

struct World {
    config: Arc<BrokerConfig>,
    disk: Arc<dyn Disk>,
    controller: Controller,
    node: Node,
    now: Now,
    asked: u64,
}

impl World {
    fn new() -> Self {
        Self::on(Arc::new(MemoryDisk::new()))
    }

    fn on(disk: Arc<dyn Disk>) -> Self {
        Self::configured(disk, BrokerConfig::default())
    }

    fn configured(disk: Arc<dyn Disk>, config: BrokerConfig) -> Self {
        let config = Arc::new(config);
        let now = Now { monotonic: Monotonic::from_micros(1), wall: TimestampMs::new(1_700_000_000_000) };
        let (controller, node) = open(&disk, &config, now);
        Self { config, disk, controller, node, now, asked: 0 }
    }

    fn bring(&mut self, event: Event) -> Effects {
        bring(&mut self.controller, &mut self.node, self.now, event)
    }

    fn ask(&mut self, request: Request) -> Effects {
        self.asked += 1;
        let ticket = Ticket { connection: ConnectionId(1), request: self.asked };
        self.bring(Event::Request(ticket, request))
    }

    fn create_effects(&mut self, name: &str) -> Effects {
        let topic = NewTopic {
            name: name.into(),
            partitions: 2,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        self.ask(Request::CreateTopics(CreateTopicsRequest { topics: vec![topic], validate_only: false }))
    }

    fn create(&mut self, name: &str) -> TopicId {
        match self.create_effects(name).last() {
            Some(Effect::Reply(_, Reply::CreateTopics(created))) => created[0].outcome.as_ref().unwrap().id,
            other => panic!("{other:?}"),
        }
    }

    fn produce(&mut self, batches: Vec<(i32, Bytes)>) -> Effects {
        self.produce_with(-1, batches)
    }

    fn produce_with(&mut self, acks: i16, batches: Vec<(i32, Bytes)>) -> Effects {
        let partitions = batches.into_iter().map(|(partition, bytes)| ProducePartition {
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(partition),
            checked_for: self.node.metadata.id_of(&"t".into()),
            is_transactional: false,
            batch: CheckedBatch::check(&bytes, &BatchRules::default(), self.now.wall),
        });
        let partitions = partitions.collect();
        let request = ProduceRequest { acks, timeout_ms: 1000, transaction: None, partitions };
        self.ask(Request::Produce(request))
    }

    fn fetch(&mut self, max_wait_ms: i32, min_bytes: i32, from: i64) -> Effects {
        let partition = |index| FetchPartition {
            topic: TopicRef::Name("t".into()),
            partition: PartitionIndex(index),
            current_leader_epoch: LeaderEpoch::NONE,
            fetch_offset: Offset::new(from),
            last_fetched_epoch: LeaderEpoch::NONE,
            max_bytes: 1 << 20,
        };
        self.ask(Request::Fetch(FetchRequest {
            rack: Some(String::new()),
            replica: -1,
            max_wait_ms,
            min_bytes,
            max_bytes: 1 << 20,
            isolation: Isolation::ReadUncommitted,
            session_id: 0,
            session_epoch: -1,
            by_topic_id: false,
            partitions: vec![partition(0), partition(1)],
            forgotten: Vec::new(),
        }))
    }

    fn producer_id(&mut self) -> ProducerId {
        let mut effects = self.ask(Request::InitProducerId(no_producer()));
        let turn = durability::work(&mut effects);
        effects.extend(self.work_off(turn));
        match effects.pop() {
            Some(Effect::Reply(_, Reply::InitProducerId(outcome))) => outcome.unwrap().0,
            other => panic!("{other:?}"),
        }
    }

    /// Ends everything in good order.
    fn close(self) -> Result<(), highwater_storage::LogError> {
        let closed = self.controller.close();
        let is_marked = closed.is_ok();
        closed.and(self.node.close(is_marked))
    }

    fn restart(self) -> Self {
        let Self { config, disk, now, asked, .. } = self;
        let (controller, node) = open(&disk, &config, now);
        Self { config, disk, controller, node, now, asked }
    }

    fn wait_ms(&mut self, ms: i32) {
        self.now.monotonic = self.now.monotonic.plus_ms(ms);
    }
}

fn open(disk: &Arc<dyn Disk>, config: &Arc<BrokerConfig>, now: Now) -> (Controller, Node) {
    let mut effects = Effects::new();
    let (mut controller, mut node) = only_open(disk, config, now, &mut effects).unwrap();
    for event in durability::work(&mut effects).into_iter().filter_map(DiskWork::run) {
        bring(&mut controller, &mut node, now, event);
    }
    (controller, node)
}

/// Leaves the work that waits for the disk undone.
fn only_open(
    disk: &Arc<dyn Disk>,
    config: &Arc<BrokerConfig>,
    now: Now,
    effects: &mut Effects,
) -> Result<(Controller, Node), OpenError> {
    let (folder, id) = (PathBuf::from("data"), NodeId(0));
    let options = ControllerOptions {
        nodes: vec![id],
        config: Arc::clone(config),
        disk: Arc::clone(disk),
        folder: folder.clone(),
        entropy: Entropy::from_seed(9),
    };
    let mut said = Vec::new();
    let mut controller = Controller::open(options, now, &mut said)?;
    let stop = take_marker(disk.as_ref(), &folder, id)?;
    controller.step(now, ControllerEvent::Start { nodes: vec![(id, stop)] }, &mut said);
    let started = said.into_iter().filter_map(|said| match said {
        ControllerEffect::Started(started) => Some(*started),
        ControllerEffect::Disk(work) => {
            effects.push(Effect::Disk(work));
            None
        }
        other => panic!("{other:?}"),
    });
    let started = started.last().expect("it may start");
    let options = NodeOptions {
        config: Arc::clone(config),
        disk: Arc::clone(disk),
        folder,
        entropy: Entropy::from_seed(10),
        stop,
        cluster_id: Arc::clone(controller.cluster_id()),
        started,
    };
    Node::open(options, now, effects).map(|node| (controller, node))
}

/// Brings an event to the node, or to the controller what its disk did, and delivers what they tell each other.
fn bring(controller: &mut Controller, node: &mut Node, now: Now, event: Event) -> Effects {
    let (mut all, mut events) = (Effects::new(), std::collections::VecDeque::from([event]));
    while let Some(event) = events.pop_front() {
        let (mut effects, mut told) = (Effects::new(), Vec::new());
        match event {
            Event::Synced { topic: TopicId::METADATA, .. } | Event::Snapshotted(_) => {
                told.extend(ControllerEvent::worked(event));
            }
            event => node.step(now, event, &mut effects),
        }
        for effect in effects {
            match effect {
                Effect::Send(Peer::Controller, Message(Word::ToController(message))) => {
                    told.push(ControllerEvent::Message { from: NodeId(0), message });
                }
                other => all.push(other),
            }
        }
        for event in told {
            let mut said = Vec::new();
            controller.step(now, event, &mut said);
            for effect in said {
                match effect {
                    ControllerEffect::Send { message, .. } => events.push_back(Event::Message {
                        from: Peer::Controller,
                        message: Message(Word::FromController(message)),
                    }),
                    ControllerEffect::Sync(handle) => {
                        let (topic, partition) = (TopicId::METADATA, PartitionIndex(0));
                        all.push(Effect::Disk(DiskWork::Sync {
                            topic,
                            partition,
                            birth: Birth::default(),
                            handle,
                        }));
                    }
                    ControllerEffect::Disk(work) => all.push(Effect::Disk(work)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    all
}

fn batch(value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(TimestampMs::new(1_700_000_000_000), None, Some(value), &[]).unwrap();
    builder.build().unwrap()
}

fn of_producer(sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.set_producer(ProducerId::new(0), ProducerEpoch::new(0), Sequence::new(sequence));
    builder.append(TimestampMs::new(1_700_000_000_000), None, Some(b"v"), &[]).unwrap();
    builder.build().unwrap()
}

fn no_producer() -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: None,
        timeout_ms: 0,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
    }
}

fn produced(effects: &Effects) -> Vec<Result<i64, Refusal>> {
    let parts = effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Produce(parts)) => Some(parts),
        _ => None,
    });
    let offset = |part: &ProducedPartition| part.outcome.clone().map(|at| at.base_offset.get());
    parts.expect("an answer").iter().map(offset).collect()
}

/// What each partition of the fetch's answer carries.
fn read(effects: &Effects) -> Option<Vec<Result<usize, Refusal>>> {
    let reply = effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Reply::Fetch(reply)) => Some(reply),
        _ => None,
    })?;
    let bytes = |part: &FetchedPartition| {
        let fetched = part.outcome.as_ref().map_err(Clone::clone)?;
        let range = fetched.range.clone().map(|range| range.limited(1 << 20, true));
        Ok(range.map_or(0, |range| range.read().unwrap().len()))
    };
    Some(reply.partitions.iter().map(bytes).collect())
}

#[test]
fn what_was_produced_is_fetched() {
    let mut world = World::new();
    world.create("t");
    let (small, large) = (batch(b"v"), batch(&[7; 5000]));
    assert_eq!(produced(&world.produce(vec![(0, small.clone()), (1, large.clone())])), [Ok(0), Ok(0)]);
    assert_eq!(produced(&world.produce(vec![(0, small.clone())])), [Ok(1)]);
    let read = read(&world.fetch(0, 1, 0)).unwrap();
    assert_eq!(read, [Ok(2 * small.len()), Ok(large.len())]);
}

#[test]
fn a_fetch_waits_for_its_bytes_or_its_time() {
    let mut world = World::new();
    world.create("t");
    let one = batch(b"v");
    let enough = i32::try_from(2 * one.len()).unwrap();
    assert!(read(&world.fetch(500, enough, 0)).is_none());
    assert_eq!(world.node.next_deadline(), Some(world.now.monotonic.plus_ms(500)));
    assert!(read(&world.produce(vec![(0, one.clone())])).is_none());
    // The second one is in another partition: what counts is the sum.
    let woken = read(&world.produce(vec![(1, one.clone())])).unwrap();
    assert_eq!(woken, [Ok(one.len()), Ok(one.len())]);
    assert!(world.node.next_deadline() > Some(world.now.monotonic.plus_ms(500)));

    assert!(read(&world.fetch(500, enough, 1)).is_none());
    world.wait_ms(499);
    assert!(read(&world.bring(Event::Tick)).is_none());
    world.wait_ms(1);
    assert_eq!(read(&world.bring(Event::Tick)).unwrap(), [Ok(0), Ok(0)]);
}

#[test]
fn a_fetch_whose_connection_is_gone_is_forgotten() {
    let mut world = World::new();
    world.create("t");
    world.fetch(500, 1, 0);
    world.bring(Event::Disconnected(ConnectionId(1)));
    assert!(world.node.next_deadline() > Some(world.now.monotonic.plus_ms(500)));
}

#[test]
fn a_large_request_lets_others_between_its_batches() {
    let mut world = World::new();
    world.create("t");
    let large = batch(&vec![0; 1_048_510]);
    let mut effects = world.produce(vec![(0, large.clone()), (1, large)]);
    let Some(Effect::Continue(ticket, progress)) = effects.pop() else { panic!("{effects:?}") };
    // Somebody else's turn, on a partition of the same request.
    assert_eq!(produced(&world.produce(vec![(1, batch(b"v"))])), [Ok(0)]);
    let rest = world.bring(Event::Continue(ticket, progress));
    assert_eq!(produced(&rest), [Ok(0), Ok(1)]);
}

#[test]
fn a_deleted_topic_answers_who_waits_and_may_come_back() {
    let mut world = World::new();
    let old = world.create("t");
    world.produce(vec![(0, batch(b"v"))]);
    assert!(read(&world.fetch(500, 1000, 0)).is_none());
    let effects =
        world.ask(Request::DeleteTopics(vec![TopicToDelete { name: Some("t".into()), id: TopicId::ZERO }]));
    let gone = Err(Refusal::UnknownTopicOrPartition);
    assert_eq!(read(&effects).unwrap(), [gone.clone(), gone.clone()]);
    let folders = effects.iter().map(|effect| match effect {
        Effect::Disk(DiskWork::RemoveFolders { folders, .. }) => folders.len(),
        _ => 0,
    });
    assert_eq!(folders.sum::<usize>(), 1, "the one that was written to");
    assert_eq!(produced(&world.produce(vec![(0, batch(b"v"))])), [Err(Refusal::UnknownTopicOrPartition)]);

    assert_ne!(world.create("t"), old);
    assert_eq!(produced(&world.produce(vec![(0, batch(b"v"))])), [Ok(0)]);
}

#[test]
fn a_node_that_starts_again_knows_what_it_knew_and_leads_in_a_new_epoch() {
    let mut world = World::new();
    let id = world.create("t");
    assert_eq!(world.producer_id(), ProducerId::new(0));
    for sequence in 0..3 {
        world.produce(vec![(0, of_producer(sequence))]);
    }
    let cluster_id = Arc::clone(world.node.cluster_id());
    let epoch = |world: &World| world.node.replica(id, PartitionIndex(0)).unwrap().epoch();
    let before = epoch(&world);

    let mut world = world.restart();
    assert_eq!(world.node.cluster_id(), &cluster_id);
    assert_eq!(epoch(&world), before.next());
    // The whole window of the producer is known again, and the next batch goes on.
    let again = [0, 1, 2, 3].map(|sequence| produced(&world.produce(vec![(0, of_producer(sequence))])));
    assert_eq!(again, [[Ok(0)], [Ok(1)], [Ok(2)], [Ok(3)]].map(Vec::from));
    assert_eq!(world.node.replica(id, PartitionIndex(0)).unwrap().log.end_offset(), Offset::new(4));
    // No producer id is given twice: the rest of the block that was begun is skipped.
    assert_eq!(world.producer_id(), ProducerId::new(1000));

    let (disk, config, now) = (Arc::clone(&world.disk), Arc::clone(&world.config), world.now);
    world.close().unwrap();
    let (_, node) = open(&disk, &config, now);
    assert_eq!(node.replica(id, PartitionIndex(0)).unwrap().log.end_offset(), Offset::new(4));
}

#[test]
fn a_partition_that_is_gone_does_not_keep_a_fetch_from_waiting_for_the_others() {
    let mut world = World::new();
    world.create("t");
    let partition = |index| FetchPartition {
        topic: TopicRef::Name("t".into()),
        partition: PartitionIndex(index),
        current_leader_epoch: LeaderEpoch::NONE,
        fetch_offset: Offset::ZERO,
        last_fetched_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    };
    let mut fetch = |partitions: &[i32]| {
        let partitions = partitions.iter().map(|index| partition(*index)).collect();
        read(&world.ask(Request::Fetch(FetchRequest {
            rack: Some(String::new()),
            replica: -1,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation: Isolation::ReadUncommitted,
            session_id: 0,
            session_epoch: -1,
            by_topic_id: false,
            partitions,
            forgotten: Vec::new(),
        })))
    };
    assert_eq!(fetch(&[7]), Some(vec![Err(Refusal::UnknownTopicOrPartition)]));
    assert_eq!(fetch(&[7, 0]), None);
    let woken = read(&world.produce(vec![(0, batch(b"v"))])).unwrap();
    assert_eq!(woken, [Err(Refusal::UnknownTopicOrPartition), Ok(batch(b"v").len())]);
}

#[test]
fn a_batch_checked_for_another_topic_is_sent_back() {
    let mut world = World::new();
    world.create("t");
    let stale = |checked_for| ProducePartition {
        topic: TopicRef::Name("t".into()),
        partition: PartitionIndex(0),
        checked_for,
        is_transactional: false,
        batch: CheckedBatch::check(&batch(b"v"), &BatchRules::default(), TimestampMs::new(1_700_000_000_000)),
    };
    for checked_for in [None, Some(TopicId::new([9; 16]))] {
        let request = ProduceRequest {
            acks: 1,
            timeout_ms: 1000,
            transaction: None,
            partitions: vec![stale(checked_for)],
        };
        let effects = world.ask(Request::Produce(request));
        assert_eq!(produced(&effects), [Err(Refusal::UnknownTopicOrPartition)]);
    }
}

#[test]
fn a_producer_that_is_silent_for_a_day_is_forgotten() {
    let mut world = World::new();
    let id = world.create("t");
    let mut builder = BatchBuilder::new();
    builder.set_producer(ProducerId::new(5), ProducerEpoch::new(0), Sequence::ZERO);
    builder.append(world.now.wall, None, Some(b"v"), &[]).unwrap();
    world.produce(vec![(0, builder.build().unwrap())]);
    let known = |world: &World| world.node.replica(id, PartitionIndex(0)).unwrap().log.producers().len();
    assert_eq!(known(&world), 1);
    world.now.wall = world.now.wall.saturating_add(86_400_000 + 1);
    world.bring(Event::Tick);
    assert_eq!(known(&world), 1, "looked for every ten minutes only");
    world.wait_ms(600_000);
    world.bring(Event::Tick);
    assert_eq!(known(&world), 0);
}

#[test]
fn asking_for_topics_makes_no_more_than_a_request_may() {
    let mut world = World::new();
    let names = (0..10_001).map(|n| TopicRef::Name(format!("t{n}").as_str().into())).collect();
    let request = MetadataRequest { topics: Some(names), allow_auto_creation: true };
    let effects = world.ask(Request::Metadata(request));
    let Some(Effect::Reply(_, Reply::Metadata(reply))) = effects.last() else { panic!("no answer") };
    let refused = |topic: &DescribedTopic| matches!(topic.refusal, Some(Refusal::PolicyViolation { .. }));
    assert!(reply.topics.iter().all(refused));
    assert_eq!(world.node.metadata.by_name().count(), 0);
}

#[test]
fn a_failed_write_fails_its_partition_and_no_other() {
    let disk = Arc::new(FaultDisk::in_memory());
    let mut world = World::on(Arc::clone(&disk) as _);
    world.create("t");
    world.produce(vec![(0, batch(b"v")), (1, batch(b"v"))]);
    disk.fail_at(disk.calls(), FaultKind::Error(std::io::ErrorKind::Other));
    let failed = produced(&world.produce(vec![(0, batch(b"w"))]));
    assert!(matches!(failed[..], [Err(Refusal::Storage { .. })]), "{failed:?}");
    let after = produced(&world.produce(vec![(0, batch(b"w")), (1, batch(b"w"))]));
    assert!(matches!(after[..], [Err(Refusal::Storage { .. }), Ok(1)]), "{after:?}");
    // What was acknowledged can still be read.
    let one = batch(b"v").len();
    assert_eq!(read(&world.fetch(0, 1, 0)).unwrap(), [Ok(one), Ok(2 * one)]);
}
