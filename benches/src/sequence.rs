//! What the verdict on a batch of an idempotent producer costs. It is passed within a node's step and has no door of its
//! own, so a step is measured: with a batch that is stored already, which ends at the verdict, and beside it with the same
//! batch of no producer, which has none and is appended. Both times among many producers the partition remembers.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use highwater::ensemble::{Ensemble, EnsembleEffects, EnsembleOptions};
use highwater::node::{
    ConnectionId, Effect, Event, ProducePartition, ProduceRequest, Reply, Request, Ticket, TopicRef,
};
use highwater::wire::{self, Incoming, TopicRules};
use highwater::{BrokerConfig, Monotonic, NodeId, Now, PartitionIndex};
use highwater_protocol::frame::{SIZE_BYTES, encode_request};
use highwater_protocol::messages::CreateTopicsRequest;
use highwater_protocol::messages::create_topics::CreatableTopic;
use highwater_storage::batch::{BatchBuilder, CheckedBatch};
use highwater_storage::disk::MemoryDisk;
use highwater_storage::{ProducerEpoch, ProducerId, Sequence, TopicId};

use crate::batches::NOW;
use crate::measure::{Bench, Case, Work};

const DUPLICATE: &str = "sequence/duplicate of the fifth last";
const APPENDED: &str = "sequence/no producer, appended";
/// How many producers write to the partition.
const PRODUCERS: i64 = 10_000;
const TIME: Now = Now { monotonic: Monotonic::from_micros(1), wall: NOW };

pub(crate) fn run(bench: &mut Bench) {
    if !bench.wants(DUPLICATE) && !bench.wants(APPENDED) {
        return;
    }
    let (mut node, topic) = node_with_a_topic();
    let producers = if bench.is_measuring() { PRODUCERS } else { 10 };
    for sequence in 0..5 {
        for id in 0..producers {
            produce(&mut node, topic, batch(Some(id), sequence));
        }
    }
    let mut next = 0;
    let mut prepare = || {
        // Far apart, so that no two in a row lie together.
        next = (next + 7919) % producers;
        batch(Some(next), 0)
    };
    bench.prepared(Case::new(DUPLICATE, Work::Items(1, "batches")), &mut prepare, |batch| {
        produce(&mut node, topic, batch)
    });
    bench.prepared(
        Case::new(APPENDED, Work::Items(1, "batches")),
        || batch(None, 0),
        |batch| produce(&mut node, topic, batch),
    );
}

/// One record of a producer whose batches have one each.
fn batch(producer: Option<i64>, sequence: i32) -> CheckedBatch {
    let mut builder = BatchBuilder::new();
    builder.append(NOW, None, Some(b"value"), &[]).expect("it fits");
    if let Some(id) = producer {
        builder.set_producer(ProducerId::new(id), ProducerEpoch::new(0), Sequence::new(sequence));
    }
    CheckedBatch::trusted(builder.build().expect("it has a record")).expect("our own")
}

fn produce(node: &mut Ensemble, topic: TopicId, batch: CheckedBatch) -> EnsembleEffects {
    let part = ProducePartition {
        topic: TopicRef::Id(topic),
        partition: PartitionIndex(0),
        checked_for: Some(topic),
        is_transactional: false,
        batch: Ok(batch),
    };
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, transaction: None, partitions: vec![part] };
    let mut effects = Vec::new();
    node.step(TIME, NodeId(0), Event::Request(TICKET, Request::Produce(request)), &mut effects);
    let stored =
        matches!(&effects[..], [(_, Effect::Reply(_, Reply::Produce(done)))] if done[0].outcome.is_ok());
    assert!(stored, "refused: {effects:?}");
    effects
}

const TICKET: Ticket = Ticket { connection: ConnectionId(0), request: 0 };

fn node_with_a_topic() -> (Ensemble, TopicId) {
    let options = EnsembleOptions {
        nodes: 1,
        config: Arc::new(BrokerConfig::default()),
        disk: Arc::new(MemoryDisk::new()),
        folder: PathBuf::from("data"),
        seed: 1,
    };
    let mut effects = Vec::new();
    let mut node = Ensemble::open(options, TIME, &mut effects).expect("memory opens");
    let Ok(Incoming::Request(_, request)) = wire::decode(create_topic(), &TopicRules::default(), NOW) else {
        panic!("a request of ours is one");
    };
    node.step(TIME, NodeId(0), Event::Request(TICKET, request), &mut effects);
    let made = effects.iter().find_map(|(_, effect)| match effect {
        Effect::TopicOpened { id, name, .. } if name.as_str() == "orders" => Some(*id),
        _ => None,
    });
    (node, made.expect("the topic was made"))
}

fn create_topic() -> Bytes {
    let topic = CreatableTopic {
        name: "orders".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    encode_request(&request, 7, 0, None).expect("our own").into_bytes().slice(SIZE_BYTES..)
}
